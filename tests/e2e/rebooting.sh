# shellcheck shell=bash
# What a reboot does to services of ours; for tests of targets that have a shim on this host.

OLD_BOOT=00000000-0000-4000-8000-000000000000

# reboot: what a reboot does to our services, and to nobody else's.
reboot() {
  local record
  for record in "$MOONPORT_STATE"/deployments/*/service/state.json; do
    if [[ $(jq -r .state "$record") =~ ^(running|starting|backoff)$ ]]; then
      kill -KILL "$(jq .shim.pid "$record")"
      process_ended "$(jq .service.pid "$record")"
    fi
    jq -c --arg boot "$OLD_BOOT" '.shim.boot_id = $boot | if .service then .service.boot_id = $boot else . end' \
      "$record" >changed
    cp changed "$record"
  done
  sqlite3 "$MOONPORT_STATE/state.db" "UPDATE deployments SET boot_id = '$OLD_BOOT'"
  rm -rf "$(runtime_dir)"
  cgroups '/*' | sort -r | xargs -r rmdir
  cgroups '*' | sort -r | xargs -r rmdir
}
