#!/bin/bash
# shellcheck disable=SC2016
# The command line as such: help, wrong words, exit codes, streams, completion. No service runs.
set -uo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"

# says EXIT STDERR-REGEX ARGS...: moonport exits so, says so, and prints nothing to standard output.
says() {
  local code=$1 regex=$2
  shift 2
  check_exit "$code" "$MOONPORT" "$@" >out 2>err
  check_equal "standard output of \`moonport $*\`" "$(cat out)" ""
  check_matches err "$regex"
}

it "prints help without a command, with help, and for every command"
check_exit 0 "$MOONPORT" >none 2>err
check_exit 0 "$MOONPORT" --help >help 2>>err
check_exit 0 "$MOONPORT" help >help2 2>>err
check_equal "help without a command" "$(cat none)" "$(cat help)"
check_equal "the command \`help\`" "$(cat help2)" "$(cat help)"
commands=$("$MOONPORT" __complete '' | cut -f1)
for command in $commands; do
  check_matches help "^  $command +[A-Z]"
  check_exit 0 "$MOONPORT" "$command" --help >one 2>>err
  check_matches one "^Usage: moonport $command"
  check_matches one '^Examples?:'
  check_equal "long lines of $command's help" "$(grep -cE '.{91}' one)" 0
  check_equal "escapes in $command's help" "$(grep -c $'\033' one)" 0
done
check_equal "what help says to standard error" "$(cat err)" ""
check_exit 0 "$MOONPORT" --version >version
check_matches version '^moonport [0-9]+\.[0-9]+'

it "does not show what is not for people"
check_equal "lines with __" "$(grep -c __ help)" 0

it "names the nearest command and option, and exits with 2"
says 2 '^moonport: there is no command `deplo`$' deplo
check_matches err '^  hint: did you mean `deploy`\?$'
says 2 '^moonport: unknown option `--folow`$' logs --folow web
check_matches err '^  hint: did you mean `--follow`\?$'
says 2 '^  hint: did you mean `--state`\?$' --stat DIR ps
says 2 '^moonport: argument for option `-o` must be one of `table`, `json`, `names`$' ps -o yaml

it "speaks of run as of the others"
says 2 '^moonport: unknown option `--nope`$' run --nope
says 2 '^moonport: `moonport run` wants a FILE, `-`, or `-e` with code$' run
says 2 '^  hint: usage: moonport run ' run -e

it "says which word is missing"
says 2 '^moonport: `moonport deploy` wants a MANIFEST$' deploy
check_matches err '^  hint: usage: moonport deploy \[OPTIONS\] MANIFEST\.\.\.;'
says 2 '^moonport: `moonport rm` wants a NAME$' rm
says 2 '^moonport: `moonport recipe` wants one of: `list`, `show`, `eject`$' recipe
says 2 '^moonport: `--state` wants a directory$' --state

it "exits with 3 for what is not there, and with 2 for a name that cannot be one"
says 3 '^moonport: there is no deployment `web`$' status web
says 3 '.*' logs web
says 2 'cannot name a deployment' status ../etc
says 3 '.*' recipe show targets.nothing
says 3 '.*nowhere' --site nowhere ps
says 3 '^moonport: there is no manifest `no.lua`$' deploy no.lua
says 3 'no\.lua' run no.lua

it "takes --state and --site before and behind the command, and from the environment"
mkdir -m 700 elsewhere
for order in "--state elsewhere ps" "ps --state elsewhere" "--state=elsewhere ps" "ps --state=elsewhere"; do
  # shellcheck disable=SC2086
  check_exit 0 "$MOONPORT" $order -o json >out
  check_equal "\`$order\`" "$(cat out)" "[]"
done
MOONPORT_SITE=nowhere check_exit 3 "$MOONPORT" ps 2>err
check_matches err 'nowhere'

it "makes no store where it only asks"
check_exit 0 "$MOONPORT" --state new ps >out
check_exit 3 "$MOONPORT" --state new status web 2>err
check_equal "the state directory that was asked" "$(ls new 2>/dev/null)" ""

it "tells every problem of a manifest, each with its line"
cat >bad.lua <<'END'
return {
  name = "Bad Name",
  target = "nativ",
  limits = { memry = "1GiB", cpus = "two" },
}
END
says 1 'the manifest is not valid:' plan bad.lua
check_matches err '^  .*bad\.lua:2: .*name'
check_matches err '^  .*bad\.lua:3: .*did you mean `native`'
check_matches err '^  .*bad\.lua:4: .*did you mean `memory`'
check_equal "lines about cpus" "$(grep -c 'bad\.lua:4: `limits.cpus` must be' err)" 1

it "shows the traceback only when asked"
check_equal "tracebacks" "$(grep -c 'stack traceback' err)" 0
check_exit 1 "$MOONPORT" plan --trace bad.lua 2>err
check_matches err 'stack traceback'

it "completes commands, options, and what stands for arguments"
offers() { "$MOONPORT" __complete "$@" | cut -f1 | tr '\n' ' '; }
check_equal "offer for \`de\`" "$(offers de)" "deploy "
check_equal "offer for \`deploy --re\`" "$(offers deploy --re)" "--replace "
check_equal "offer for \`recipe sh\`" "$(offers recipe sh)" "show "
check_equal "offer for \`recipe show targets.n\`" "$(offers recipe show targets.n)" "targets.native "
check_equal "offer for \`logs --stream s\`" "$(offers logs --stream s)" "stdout stderr "
check_equal "offer for \`deploy\`" "$(offers deploy '')" ":files "
check_equal "offer for \`ps --state\`" "$(offers ps --state '')" ":dirs "
check_equal "offer for \`plan --set limits.m\`" "$(offers plan --set limits.m)" "limits.memory= "
check_equal "offer for what does not exist" "$(offers nothing '')" ""

it "prints completion scripts that their shells take"
for shell in bash zsh fish; do
  check_exit 0 "$MOONPORT" completion "$shell" >"completion.$shell"
  if command -v "$shell" >/dev/null; then check_exit 0 "$shell" -n "completion.$shell"; fi
done
if command -v shellcheck >/dev/null; then check_exit 0 shellcheck -s bash completion.bash; fi
ln -s "$MOONPORT" moonport
# shellcheck disable=SC2016
found=$(PATH=$PWD:$PATH bash -c '. ./completion.bash
  COMP_WORDS=(moonport recipe sh); COMP_CWORD=2; _moonport 2>/dev/null; echo "${COMPREPLY[*]}"')
check_equal "what bash completes" "$found" "show"
if command -v fish >/dev/null; then
  found=$(PATH=$PWD:$PATH fish -c 'source completion.fish; complete -C "moonport recipe sh"' | cut -f1)
  check_equal "what fish completes" "$found" "show"
fi

it "ends without a word when nobody reads its output"
check_equal "statuses of \`help | true\`" "$({
  "$MOONPORT" --help 2>err
  echo $? >status
} | true; cat status err)" "141"

it "tells of a full disk behind standard output"
check_exit 1 "$MOONPORT" --help 2>err >/dev/full
check_matches err '^moonport: could not write to standard output: '

done_testing
