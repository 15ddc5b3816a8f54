# shellcheck shell=bash
# What the benches of the Kubernetes client share: a control plane of their own, and what moonport is
# measured beside.
# shellcheck disable=SC2034 # what is set here is for them

cluster=$MP_SOURCE_DIR/tests/fixtures/cluster/cluster
scripts=$MP_SOURCE_DIR/tests/bench/kube
export MP_CLUSTER_DIR=$PWD/cluster MOONPORT_CACHE=$PWD/cache

# start_cluster [OPTION...]: those of `cluster up`.
start_cluster() {
  trap '"$cluster" down' EXIT
  kubectl=$("$cluster" build)/kubectl
  "$cluster" up "$@" 2>cluster.log || { cat cluster.log >&2 && return 1; }
  KUBECONFIG=$("$cluster" kubeconfig)
  export KUBECONFIG
}

# use_namespace NAME: makes it, and a kubeconfig that leads there.
use_namespace() {
  KUBECONFIG=$("$cluster" kubeconfig)
  "$kubectl" create namespace "$1" >/dev/null
  cp "$KUBECONFIG" "kubeconfig-$1"
  KUBECONFIG=$PWD/kubeconfig-$1
  "$kubectl" config set-context --current --namespace "$1" >/dev/null
}

# get_peer: sets $peer, the program on kube-rs, which is built once for its sources; fails where it cannot be.
get_peer() {
  local source=$MP_SOURCE_DIR/tests/bench/kube-rs part home
  peer=$MP_TEST_CACHE/kube-rs-$(cat "$source"/Cargo.toml "$source"/src/main.rs | sha256sum | cut -c1-16)
  [[ ! -x $peer ]] || return 0
  command -v cargo >/dev/null || return
  # Where people's toolchains and crates are.
  home=$(getent passwd "$EUID" | cut -d: -f6)
  part=$(mktemp -d "$MP_TEST_CACHE/.kube-rs-XXXXXX")
  cp -r "$source"/. "$part"
  echo "building the program on kube-rs, once" >&2
  if (cd "$part" && HOME=$home nice cargo build --quiet --release) >cargo.log 2>&1; then
    mv "$part/target/release/kube-rs-peer" "$peer"
  else
    tail -n 3 cargo.log >&2
  fi
  rm -rf -- "$part"
  [[ -x $peer ]]
}

# timed COMMAND...: runs it without its output and sets $ms and $kib, its wall time and its peak of memory.
timed() {
  local began=${EPOCHREALTIME/./} ended
  /usr/bin/time -qf '%M' -o kib "$@" >/dev/null 2>errors || { cat errors >&2 && return 1; }
  ended=${EPOCHREALTIME/./}
  ms=$(((ended - began) / 1000))
  kib=$(<kib)
}

# ratio A B: their quotient; less A B: whether A is below B.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }

# keep_less NAME VALUE: sets the variable where it is empty or above the value. keep_more: or below it.
keep_less() { if [[ -z ${!1} ]] || less "$2" "${!1}"; then printf -v "$1" %s "$2"; fi; }
keep_more() { if [[ -z ${!1} ]] || less "${!1}" "$2"; then printf -v "$1" %s "$2"; fi; }
