#!/bin/bash
# The console of a real guest, in a real terminal.
# shellcheck disable=SC2016,SC2317 # the guest's shell fills in what is quoted; a trap calls stop_machine
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/../check.sh"
# shellcheck source=tests/e2e/terminal.sh
. "$(dirname "${BASH_SOURCE[0]}")/../terminal.sh"
need tmux qemu-system-x86_64

# shellcheck disable=SC2016 # what is typed is for the shell in the terminal
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export here

cat >start.lua <<'LUA'
local machine = dofile(os.getenv "here" .. "/guest_machine.lua").start {}
local guest <close> = machine:wait()
print(machine.machine:info().console)
LUA
cat >attach.lua <<'LUA'
local path, escape = ...
require("moonport.hypervisor.console").attach {
  path = path, lock = os.getenv "SANDBOX" .. "/console.lock", name = "guest", escape = escape,
}
LUA
stop_machine() {
  "$MOONPORT" run -e 'require("moonport.shim").stop({ id = "guest1", dir = os.getenv "SANDBOX" .. "/m1/shim",
    socket = os.getenv "SANDBOX" .. "/m1/shim.sock" }, { grace = 0 })'
}
trap 'stop_machine || true; terminal_end; mp_end_jobs' EXIT

console=$("$MOONPORT" run start.lua)
shows() { screen | grep -qE -- "$1"; }

it "has every key go to the guest, and what it says on the screen, until the key that leaves"
terminal_start 90 25 bash
enter 'PS1="host> "; stty -a >before'
enter "$MOONPORT run attach.lua $console"
wait_until shows 'at the console of `guest`; Ctrl-\] leaves it'
press Enter
enter 'echo "in $(hostname), job $((40 + 2))"'
wait_until shows '^in microvm, job 42'
enter "sh -c 'echo it sleeps; exec sleep 1000'"
wait_until shows '^it sleeps'
press C-c
enter 'echo "Ctrl-C came to $(hostname)"'
wait_until shows '^Ctrl-C came to microvm'

it "refuses a second one there, and names the first"
check_exit 1 "$MOONPORT" run attach.lua "$console" >out 2>err
check_matches err 'somebody is at the console of `guest` already'
check_matches err 'process [0-9]+'

it "leaves the terminal as it was"
press 'C-]'
wait_until shows 'left the console'
enter 'stty -a >after; echo "back on the host: $?"'
wait_until shows '^back on the host: 0'
check_equal "the terminal's settings" "$(<after)" "$(<before)"

it "leaves by the key that was asked for, and passes the usual one on"
enter "clear; $MOONPORT run attach.lua $console \$'\\001'"
wait_until shows 'Ctrl-A leaves it'
press C-a
wait_until shows 'left the console'
enter 'echo "twice $((1 + 1))"'
wait_until shows '^twice 2'

it "leaves the terminal as it was when it is killed"
enter "clear; $MOONPORT run attach.lua $console"
wait_until shows 'Ctrl-\] leaves it'
pid=$(pgrep -f "attach.lua $console" | head -n 1)
kill -TERM "$pid"
wait_until shows '^moonport: interrupted'
enter 'stty -a >after; echo "killed, and back: $?"'
wait_until shows '^killed, and back: 0'
check_equal "the terminal's settings" "$(<after)" "$(<before)"

it "copies plainly where there is no terminal"
{
  echo
  echo 'echo "plain $((2 + 3))"'
} | timeout 60 "$MOONPORT" run attach.lua "$console" >plain 2>err &
copier=$!
wait_for_line plain '^plain 5'

it "ends with the machine"
stop_machine
code=0
wait "$copier" || code=$?
check_equal "exit code" "$code" 0

done_testing
