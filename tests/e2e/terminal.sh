# shellcheck shell=bash
# A terminal for end-to-end tests: tmux, so that what is checked is what a person would see.
# Sourced after check.sh.

TERMINAL=()
terminals=0

# terminal_start COLUMNS ROWS COMMAND: runs a shell command in a new terminal.
terminal_start() {
  # A server that was told to end still takes connections for a moment.
  TERMINAL=(tmux -S "$SANDBOX/run/tmux$((terminals++))" -f /dev/null)
  "${TERMINAL[@]}" new-session -d -x "$1" -y "$2" "$3"
  "${TERMINAL[@]}" set-option -g remain-on-exit on
}

terminal_end() { ((!terminals)) || "${TERMINAL[@]}" kill-server 2>/dev/null; }
trap terminal_end EXIT

# type_text TEXT: as if typed. press KEY...: by tmux's names (Enter, Tab, C-c, Up, ...).
type_text() { "${TERMINAL[@]}" send-keys -l -- "$1"; }
press() { "${TERMINAL[@]}" send-keys -- "$@"; }

# enter TEXT: types a line and ends it.
enter() {
  type_text "$1"
  press Enter
}

# screen: the text on the screen, and above it as far as tmux remembers.
screen() { "${TERMINAL[@]}" capture-pane -p -S - | sed -e 's/ *$//' -e '/^$/d'; }

# last_line: the last line that is not empty.
last_line() { screen | tail -n 1; }

# wait_until COMMAND...: until it succeeds; after 20 s, says what was on the screen, and ends the test.
wait_until() {
  local start=$SECONDS
  until "$@"; do
    if ((SECONDS - start > 20)); then give_up "waited in vain for: $*" "$(screen)"; fi
    sleep 0.02
  done
}

screen_has() { screen | grep -qxE -- "$1"; }
last_line_is() { [[ $(last_line) == "$1" ]]; }

# screen_count NUMBER REGEX [LINES]: so many lines match, of the last LINES or of all.
screen_count() { [[ $(screen | tail -n "${3:-+1}" | grep -cE -- "$2") == "$1" ]]; }

# see REGEX: waits for a whole line on the screen that matches. see_last TEXT: for the last line.
see() { wait_until screen_has "$1"; }
see_last() { wait_until last_line_is "$1"; }

# check_below LINE TEXT...: below the last line that is exactly LINE stand these.
check_below() {
  local line=$1 expected actual
  shift
  expected=$(printf '%s\n' "$@")
  actual=$(screen | tac | awk -v line="$line" '$0 == line { exit } { print }' | tac | head -n $#)
  check_equal "what stands below \`$line\`" "$actual" "$expected"
}

clear_screen() { press C-l && "${TERMINAL[@]}" clear-history; }
