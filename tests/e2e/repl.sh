#!/bin/bash
# The prompt in a real terminal.
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tests/e2e/check.sh
. "$here/check.sh"
# shellcheck source=tests/e2e/terminal.sh
. "$here/terminal.sh"

need tmux

# What readline itself loses when odd keys break off what it was doing is not ours to free.
echo 'leak:libreadline.so' >leaks
export LSAN_OPTIONS=suppressions=$PWD/leaks:print_suppressions=0

start() {
  rm -f before after
  terminal_start "${COLUMNS_WANTED:-80}" 50 \
    "stty -g >before; \"\$MOONPORT\" repl $*; echo left with \$?; stty -g >after; exec cat"
  see 'mp>'
}

# line TEXT: enters a line and waits for the next prompt, so that what is typed then is not echoed by
# the terminal itself.
line() {
  enter "$1"
  see_last 'mp>'
}

leave() {
  press C-d
  see 'left with 0'
  wait_until test -s after
  check_equal "the terminal's settings afterwards" "$(cat after)" "$(cat before)"
  terminal_end
}

HISTORY=$XDG_STATE_HOME/moonport/history

start
it "prints what expressions give"
line '6*7'
see '42'
line '=_ + 1'
see '43'
line '{1, {a = "x", b = false}}, nil'
see '\{ 1, \{ a = "x", b = false \} \}'
check_below 'mp> {1, {a = "x", b = false}}, nil' '{ 1, { a = "x", b = false } }' 'nil' 'mp>'
enter 'x = 5'
see_last 'mp>'
check_below 'mp> x = 5' 'mp>'

it "goes on in the next line until the input is complete"
enter 'for i = 1, 2 do'
see_last ' >>'
enter 'print("turn " .. i)'
line 'end'
see 'turn 2'
check_below ' >> end' 'turn 1' 'turn 2' 'mp>'

it "waits for calls that wait"
line 'task.sleep(0.01) print("slept")'
see 'slept'

it "tells of an error with its hint and goes on"
line 'require("moonport.errors").raise{kind="k", code="c", message="it broke", hint="fix it"}'
see '  hint: fix it'
see 'error: it broke'
line 'error("plain")'
see 'error: prompt:1: plain'
enter 'x +* 2'
see "error: prompt:1: .* near '\\+'"
line '.trace'
see 'stack traceback:'

it "says that a local is gone after its line"
line 'local y = 1'
see '.y. is gone now: .*'

it "masks a secret that was revealed"
enter 's = require("moonport.core.secret").new("tiger-s3cret", {file = "/t"})'
line 's, "has " .. "tiger-" .. "s3cret"'
see '<secret file:/t>'
see '"has \*\*\*"'
line 'print("tiger-" .. "s3cret")'
see '\*\*\*'

it "completes globals, fields, methods, modules and files"
clear_screen
type_text 'tas'
press Tab
see_last 'mp> task'
type_text '.sle'
press Tab
see_last 'mp> task.sleep'
press C-u
type_text 'mp.ta'
press Tab
see_last 'mp> mp.task'
press C-u
line 'thing = {alpha = 1, run = print}'
type_text 'thing:'
press Tab
see_last 'mp> thing:run'
press C-u
type_text 'x = ("y"):up'
press C-u
line 'str = "text"'
type_text 'str:uppe'
press Tab
see_last 'mp> str:upper'
press C-u
type_text 'task.s'
press Tab
see 'scope +shield +sleep +spawn'
see_last 'mp> task.s'
press C-u
type_text 'require "moonport.insp'
press Tab
see_last 'mp> require "moonport.inspect"'
press C-u
mkdir -p directory
touch directory/file-one.lua
type_text '.load dire'
press Tab
see_last 'mp> .load directory/'
press Tab
see_last 'mp> .load directory/file-one.lua'
press C-u
type_text 'fs.read("directory/fi'
press Tab
see_last 'mp> fs.read("directory/file-one.lua"'
press C-u
type_text '.ty'
press Tab
type_text 'x'
see_last 'mp> .type x'
press C-u

it "knows its commands"
line '.type task'
see 'table'
line '.doc task.sleep'
see 'task.sleep\(seconds\)'
line '.doc slep'
see '.*did you mean.*'
line '.time task.sleep(0.02)'
see 'took [0-9]+ ms, .* of them computing'
echo 'loaded = 77' >directory/file-one.lua
enter '.load directory/file-one.lua'
line 'loaded'
see '77'
line '.nosuch'
see 'error: there is no ..nosuch.'
clear_screen
line '.help'
see '  \.doc \[NAME\] .*'

it "cancels what is running with Ctrl-C and stays"
enter 'task.sleep(60)'
see_last 'mp> task.sleep(60)'
press C-c
see '\^Cinterrupted'
see_last 'mp>'
clear_screen
enter 'while true do end'
see_last 'mp> while true do end'
press C-c
see '\^Cinterrupted'
see_last 'mp>'
clear_screen
enter 'do local c <close> = setmetatable({}, {__close = function() print("closed") end}) task.sleep(60) end'
wait_until grep -q 'task.sleep(60) end' "$HISTORY"
press C-c
see '\^Cclosed'
see 'interrupted'

it "ends a __close handler early at the second Ctrl-C"
enter 'do local c <close> = setmetatable({}, {__close = function() print("tidying") task.sleep(60) end}) task.sleep(60) end'
wait_until grep -q 'tidying.*task.sleep(60) end' "$HISTORY"
press C-c
see '\^Ctidying'
sleep 0.3 # what follows a Ctrl-C at once is taken for its echo
press C-c
see_last 'mp>'
enter 'do local c <close> = setmetatable({}, {__close = function() print("loops") while true do end end}) task.sleep(60) end'
wait_until grep -q 'loops.*task.sleep(60) end' "$HISTORY"
press C-c
see '\^Cloops'
sleep 0.3
press C-c
see_last 'mp>'

it "clears what is typed with Ctrl-C, also in the middle of a chunk, and says how to leave"
clear_screen
type_text 'half a line'
see_last 'mp> half a line'
press C-c
see 'mp> half a line\^C'
see_last 'mp>'
enter 'function f('
see_last ' >>'
press C-c
see_last 'mp>'
press C-c
see 'Ctrl-D leaves'
line '1 + 1'
see '2'

it "keeps what is typed whole while background tasks print"
clear_screen
enter 'go = task.event() t = task.spawn(function() go:wait() print("from behind") io.write("and more\n") end)'
enter 'u = task.spawn(function() go:wait() error("behind broke", 0) end)'
line 'task.spawn(function() task.sleep(0.3) go:set() end)'
see 'task: .*|<.*task.*>'
type_text 'print("whole ", "line")'
see 'from behind'
see 'and more'
see 'a background task failed:'
see 'error: behind broke'
see_last 'mp> print("whole ", "line")'
press Enter
see 'whole	line|whole +line'
line 't:status()'
see '"done"'

it "interrupts a background task that never stops computing"
enter 'task.spawn(function() while true do end end)'
press C-c
see 'error: it computed without a pause and was interrupted'
see_last 'mp>'
line '"still " .. "here"'
see '"still here"'

it "shows the prompt again after the window has changed"
"${TERMINAL[@]}" resize-window -x 60 -y 40
type_text '"resized"'
see_last 'mp> "resized"'
press Enter
see '"resized"'

it "takes pasted lines as one piece"
clear_screen
"${TERMINAL[@]}" set-buffer $'a1 = 1\na2 = 2\nreturn a1 + a2'
"${TERMINAL[@]}" paste-buffer -p
press Enter
see '3'

it "remembers lines, and not those that begin with a space"
enter ' hidden = 1'
line '"remembered"'
see '"remembered"'

it "gives the terminal back as it was"
leave
check_equal "the history's permissions" "$(stat -c %a "$HISTORY")" 600
check_equal "hidden lines in the history" "$(grep -c hidden "$HISTORY")" 0

it "finds the lines of the last session"
start
press Up
see_last 'mp> "remembered"'
press C-c
see_last 'mp>'
press C-r
type_text 'print("turn'
see '.*for i = 1, 2 do'
press C-c
see_last 'mp>'

it "ends background tasks and runs their __close handlers on the way out"
enter 'task.spawn(function() local c <close> = setmetatable({}, {__close = function() print("tidied") end}) task.sleep(60) end)'
see 'task.*|<.*task.*>'
press C-d
see 'cancelling a background task'
see 'tidied'
see 'left with 0'
terminal_end

it "runs init.lua first"
mkdir -p "$XDG_CONFIG_HOME/moonport"
echo 'greeting = "from init"' >"$XDG_CONFIG_HOME/moonport/init.lua"
start
line 'greeting'
see '"from init"'
leave
start --no-init
line 'greeting'
see 'nil'
leave

it "does not run an init.lua that others can write to"
chmod 666 "$XDG_CONFIG_HOME/moonport/init.lua"
start
see '.*others.*|.*writable.*|.*init.lua.*'
line 'greeting'
see 'nil'
leave
rm "$XDG_CONFIG_HOME/moonport/init.lua"

it "exits with os.exit's status, from a background task too"
start
enter 'os.exit(7)'
see 'left with 7'
wait_until test -s after
check_equal "the terminal's settings afterwards" "$(cat after)" "$(cat before)"
terminal_end
start
enter 'task.spawn(os.exit, 8)'
see 'left with 8'
terminal_end

it "stops with Ctrl-Z and comes back with its prompt"
terminal_start 80 50 "PS1='shell> ' exec bash --norc --noprofile -i"
see_last 'shell>'
# shellcheck disable=SC2016 # for the shell in the terminal
enter 'stty -g >before; "$MOONPORT" repl'
see 'mp>'
type_text 'half'
see_last 'mp> half'
press C-z
see '.*Stopped.*'
see_last 'shell>'
enter 'stty -g >during'
wait_until test -s during
see_last 'shell>'
check_equal "the terminal's settings meanwhile" "$(cat during)" "$(cat before)"
enter 'fg'
see_last 'mp> half'
press C-c
see 'mp> half\^C'
see_last 'mp>'
line '6*7'
see '42'
press C-d
see_last 'shell>'
# shellcheck disable=SC2016
enter 'echo left with $?'
see 'left with 0'
terminal_end

for signal in TERM HUP; do
  it "leaves on SIG$signal with the terminal as it was"
  start
  line 'fs.write("pid", tostring(io.open("/proc/self/stat"):read("n")))'
  wait_until test -s pid
  type_text 'half'
  see_last 'mp> half'
  kill -s "$signal" "$(cat pid)"
  see 'left with 1(43|29)'
  wait_until test -s after
  check_equal "the terminal's settings afterwards" "$(cat after)" "$(cat before)"
  rm pid
  terminal_end
done

it "withstands whatever bytes are typed"
start
# All but what ends lines, and Ctrl-C, Ctrl-D, Ctrl-Z, Ctrl-\ and flow control.
mapfile -t bytes < <(awk 'BEGIN {
  srand(7)
  while (n < 3000) {
    byte = int(rand() * 256)
    if (byte != 3 && byte != 4 && byte != 10 && byte != 13 && byte != 15 && byte != 17 &&
        byte != 19 && byte != 26 && byte != 28) { printf "%02x\n", byte; n++ }
  }
}')
"${TERMINAL[@]}" send-keys -H "${bytes[@]}"
type_text 'the end of it'
see '.*end of it.*' # all of it has arrived
press C-c
press C-l # the terminal and readline need not agree on how wide all that was
see_last 'mp>'
line '"unharmed"'
see '"unharmed"'
leave
rm "$HISTORY"

it "gives the terminal back also when it dies of a fault"
start
line 'fs.write("pid", tostring(io.open("/proc/self/stat"):read("n")))'
wait_until test -s pid
kill -s ABRT "$(cat pid)"
see 'left with 134'
wait_until test -s after
check_equal "the terminal's settings afterwards" "$(cat after)" "$(cat before)"
terminal_end

done_testing
