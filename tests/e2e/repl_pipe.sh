#!/bin/bash
# The prompt without a terminal: input from a pipe or a file.
set -uo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"

# run INPUT: gives the input to the prompt; leaves out, err and code.
run() {
  printf '%s' "$1" | "$MOONPORT" repl >out 2>err
  code=$?
}

it "prints what expressions give, without a prompt and without escape codes"
run $'1 + 1\nx = 3\nx, {a = x}\nprint("hello")\n= "old habit"'
check_equal "the output" "$(cat out)" $'2\n3\n{ a = 3 }\nhello\n"old habit"'
check_equal "the exit code" "$code" 0
check_equal "the error output" "$(cat err)" ""

it "runs pieces of several lines when they are complete"
run $'for i = 1, 2 do\n  print(i)\nend\nlocal t = {\n  1,\n  2,\n}\nprint("last")'
check_equal "the output" "$(cat out)" $'1\n2\nlast'

it "stops at the first error, names its line and exits with 1"
run $'print(1)\nx = nil\nx.y = 1\nprint(2)\n'
check_equal "the output" "$(cat out)" 1
check_matches err '^moonport: stdin:3: attempt to index a nil value'
check_equal "the exit code" "$code" 1
run $'print(1)\nthis is not Lua\nprint(2)\n'
check_equal "the output" "$(cat out)" 1
check_matches err '^moonport: stdin:2: syntax error near'

it "does not take half an input for a whole one"
run $'x = {\n1,'
check_matches err 'stdin:1: the input ends within what begins here'
check_equal "the exit code" "$code" 1

it "knows its commands, and fails on others"
run $'.type "text"\n'
check_matches out '^string'
run $'.nosuch\nprint("not reached")\n'
check_equal "the exit code" "$code" 2
check_equal "the output" "$(cat out)" ""
run $'.quit\nprint("not reached")\n'
check_equal "the exit code" "$code" 0
check_equal "the output" "$(cat out)" ""

it "waits for calls that wait, and for what was spawned"
run $'task.spawn(function() task.sleep(0.05) print("behind") end)\ntask.sleep(0.01)\nprint("ahead")\n'
check_equal "the output" "$(grep -v task: out | grep -v '<')" $'ahead\nbehind'

it "fails when a background task fails"
run $'h = task.spawn(function() task.sleep(0.01) error("broken") end)\n'
check_equal "the exit code" "$code" 1
check_matches err 'broken'

it "leaves the rest of the input to whoever reads it"
run $'io.read()\nthis line is data\nio.read("l") == nil\n'
check_equal "the output" "$(cat out)" $'"this line is data"\ntrue'

it "takes the input from a file too"
printf '#!/usr/bin/env moonport\n6 * 7\nio.read()\nrest\n' >script
"$MOONPORT" repl <script >out
check_equal "the output" "$(cat out)" $'42\n"rest"'

it "ends with an empty input"
run ''
check_equal "the exit code" "$code" 0
check_equal "the output" "$(cat out)" ""
"$MOONPORT" repl </dev/null || check_failed "it exits with $?"

it "keeps no history of a pipe and runs no init.lua"
mkdir -p "$XDG_CONFIG_HOME/moonport"
echo 'print("init")' >"$XDG_CONFIG_HOME/moonport/init.lua"
run $'1\n'
check_equal "the output" "$(cat out)" 1
[[ ! -e $XDG_STATE_HOME/moonport/history ]] || check_failed "there is a history"

it "exits with os.exit's status"
run $'os.exit(5)\nprint("not reached")\n'
check_equal "the exit code" "$code" 5

it "can be interrupted"
mkfifo input
env --default-signal=INT "$MOONPORT" repl <input >out 2>err &
pid=$!
exec 7>input
echo 'print("started") task.sleep(60)' >&7
wait_for_line out started
kill -INT "$pid"
wait "$pid"
check_equal "the exit code" "$?" 130
exec 7>&-

it "refuses words that it does not know"
"$MOONPORT" repl --loud </dev/null 2>err
check_equal "the exit code" "$?" 2
check_matches err 'loud'

done_testing
