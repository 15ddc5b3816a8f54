#!/bin/bash
# Deploying 100 native services with one command: milliseconds a service, beside bare posix_spawn of the same
# program, and beside systemd-run and podman where this machine can run them.
# A service here has limits, a log, a journal, and a supervisor that outlives the command.
set -euo pipefail

count=100
here=$MP_SOURCE_DIR/tests/bench
user=
if ((EUID == 0)); then user='user = "root",'; fi

cc -O2 -o deploy_time "$here/deploy_time.c"
names=()
for ((i = 1; i <= count; i++)); do
  printf 'return { name = "s%d", target = "native", %s command = { "/bin/sleep", "1000" }, limits = { pids = 16 } }\n' \
    "$i" "$user" >"s$i.lua"
  names+=("s$i")
done

# ms_each COMMAND...: its wall time in milliseconds, divided by the count.
ms_each() {
  local began ended
  began=$(date +%s%N)
  "$@" >out 2>&1 || { cat out >&2 && return 1; }
  ended=$(date +%s%N)
  awk -v ns=$((ended - began)) -v count="$count" 'BEGIN { printf "%.2f", ns / 1e6 / count }'
}

with_systemd() {
  for ((i = 1; i <= count; i++)); do systemd-run --quiet --collect --unit "mp-bench-$i" /bin/sleep 1000; done
}
with_podman() {
  for ((i = 1; i <= count; i++)); do
    podman run --quiet --detach --rm --rootfs --name "mp-bench-$i" / /bin/sleep 1000
  done
}

trap '"$MOONPORT" rm --quiet --force "${names[@]}" >/dev/null 2>&1 || true' EXIT
bare=$(./deploy_time "$count")
deploy=$(ms_each "$MOONPORT" deploy --quiet --parallel 16 "${names[@]/%/.lua}")
remove=$(ms_each "$MOONPORT" rm --quiet "${names[@]}")
line="deploy-$count  moonport $deploy ms/service  posix_spawn $bare ms"
line+="  ratio $(awk -v a="$deploy" -v b="$bare" 'BEGIN { printf "%.1f", a / b }')  rm $remove ms"
if [[ -d /run/systemd/system ]] && systemd-run --quiet --collect /bin/true 2>/dev/null; then
  line+="  systemd-run $(ms_each with_systemd) ms"
  systemctl stop 'mp-bench-*.service' || true
fi
if command -v podman >/dev/null && podman run --rm --rootfs / /bin/true >/dev/null 2>&1; then
  line+="  podman $(ms_each with_podman) ms"
  podman rm --force --all --filter name=mp-bench- >/dev/null || true
fi
echo "$line"
