#!/bin/bash
# Isolation: each mode without a class that gives a VM boundary, with one whose name says Kata, and with one whose
# handler alone does. The pod really runs under the handler that was chosen.
#
# The node has no Kata: its handler `kata-standin` is another name for crun, and stands in for one of Kata's.
# Runs alone, since every RuntimeClass of the cluster counts.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

# class NAME HANDLER: makes a RuntimeClass, $SPACE-NAME.
class() {
  kubectl create -f - >/dev/null <<CLASS
{ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": "$SPACE-$1" }, "handler": "$2" }
CLASS
}

no_classes() {
  kubectl get runtimeclasses -o name | grep "/$SPACE" | xargs -r "$MP_CLUSTER" kubectl delete >/dev/null
}

# isolated NAME MODE [CONTAINER-FIELDS]: writes its manifest.
isolated() { manifest "$1" "$IDLE isolation = '$2'," "${3-}"; }

# runs_under NAME CLASS HANDLER: the class is the one that the pod names, the handler who really runs it.
runs_under() {
  check_equal "class of $1" "$(pod "$1" .spec.runtimeClassName)" "$2"
  check_equal "who runs $1" "$("$MP_CLUSTER" handler "$SPACE" "$(pods "$1")")" "$3"
  if [[ $2 != null ]]; then
    check_equal "handler that $1 names" \
      "$(pod "$1" '.metadata.annotations["io.containerd.cri.runtime-handler"]')" "$3"
  fi
}

check_equal "classes that others have, with which this cannot be shown" \
  "$(kubectl get runtimeclasses -o name | grep -i kata || true)" ''

it "any and preferred run plain where no class gives a VM boundary"
class fast crun
class kata-by-name-only runc
isolated any any
isolated preferred preferred
deploy any.lua preferred.lua
runs_under any null runc
runs_under preferred null runc

it "required is refused there, before anything is made, with what there is and what to do"
isolated required required
sed -i "s/$SPACE/$SPACE-none/" required.lua
for verb in plan deploy; do
  refused 4 'no RuntimeClass of the cluster gives a VM boundary' "$verb" required.lua
  check_matches refused.err "\`$SPACE-fast\` \(handler \`crun\`\), \`$SPACE-kata-by-name-only\` \(handler \`runc\`\)"
  check_matches refused.err 'runtime_classes = \{ "NAME" \}'
done
check_equal "namespaces made" "$(kubectl get namespace "$SPACE-none" --ignore-not-found)" ''

it "the site can name a class that does"
mkdir -p "$MOONPORT_SITE"
chmod 755 "$MOONPORT_SITE"
echo "return { kube = { runtime_classes = { '$SPACE-fast' } } }" >"$MOONPORT_SITE/config.lua"
isolated site required
deploy site.lua
runs_under site "$SPACE-fast" crun
rm "$MOONPORT_SITE/config.lua"

it "a class of any kind can be asked for by name"
isolated explicit any "runtime_class = '$SPACE-fast',"
deploy explicit.lua
runs_under explicit "$SPACE-fast" crun
isolated wrong any "runtime_class = '$SPACE-fsat',"
refused 3 "has no RuntimeClass \`$SPACE-fsat\`" plan wrong.lua
check_matches refused.err "did you mean \`$SPACE-fast\`"
isolated weak required "runtime_class = '$SPACE-fast',"
refused 4 'gives no VM boundary' plan weak.lua

for by in name handler; do
  no_classes
  if [[ $by == name ]]; then class my-kata kata-standin; else class sandboxed kata-standin; fi
  chosen=$(kubectl get runtimeclasses -o name | grep "/$SPACE" | sed 's|.*/||')
  it "any runs plain beside a class that is Kata's by its $by; preferred and required run under it"
  for mode in any preferred required; do isolated "$by-$mode" "$mode"; done
  deploy "$by-any.lua" "$by-preferred.lua" "$by-required.lua"
  runs_under "$by-any" null runc
  runs_under "$by-preferred" "$chosen" kata-standin
  runs_under "$by-required" "$chosen" kata-standin
done

it "leaves nothing"
mapfile -t names < <(moonport ps -o names)
moonport rm --quiet "${names[@]}"
check_nothing_left

done_testing
