#!/bin/bash
# shellcheck disable=SC2016
# What operators do with services that run, from the command line.
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tests/e2e/check.sh
. "$here/check.sh"
# shellcheck source=tests/e2e/terminal.sh
. "$here/terminal.sh"

need tmux jq

# Whatever happens, no service stays.
# shellcheck disable=SC2317 # called by the trap
leave() {
  "$MOONPORT" rm --all --yes --force --quiet >/dev/null 2>&1
  terminal_end
}
trap leave EXIT

# manifest NAME MEMORY: a service that says its name, something in colour, and then waits. Each word
# in the fifo comes out as a line.
manifest() {
  mkfifo "$1.fifo"
  cat >"$1.lua" <<END
return {
  name = "$1", target = "native", user = "$(id -un)",
  command = { "/bin/sh", "-c", [[
    echo "\$0 begins"; printf '\033[32mgreen\033[0m \033[2Jbell\007\n'; sleep 0.2; echo "on stderr" >&2
    while true; do cat "\$1"; done]], "$1", "$PWD/$1.fifo" },
  env = { GREETING = "hello", API_TOKEN = "not-to-be-seen" },
  limits = { memory = "$2" },
  stop = { grace = "2s" },
  ready = { log = "on stderr" },
}
END
}
manifest web 64MiB
manifest db 32MiB

it "plans several manifests in units that people write, and exits with 10"
check_exit 10 "$MOONPORT" plan web.lua db.lua >planned 2>err
check_equal "what plan says to standard error" "$(cat err)" ""
check_matches planned '^web will be created$'
check_matches planned '^db will be created$'
check_matches planned '^2 services: 2 to create$'
check_matches planned 'memory 64MiB'
check_equal "secrets in the plan" "$(grep -c not-to-be-seen planned)" 0
check_exit 10 "$MOONPORT" deploy --dry-run -o json web.lua >plan.json
check_equal "the plan's outcome" "$(jq -r '.[0].outcome, (.[0].fields | length), .[0].changes' plan.json | xargs)" \
  "create 0 true"

it "deploys: results on standard output, progress on standard error"
check_exit 0 "$MOONPORT" deploy web.lua db.lua >out 2>err
check_equal "standard output" "$(cat out)" $'web: deployed as revision 1\ndb: deployed as revision 1'
check_matches err '^web +service +done +[0-9.]+ m?s$'
check_exit 0 "$MOONPORT" plan web.lua db.lua >planned
check_matches planned '^2 services: 2 unchanged$'

it "lists what runs, as a table, as names and as JSON"
check_exit 0 "$MOONPORT" ps >listed
check_matches listed '^NAME +TARGET +STATE +SINCE +PID +RESTARTS +MEMORY +REV +LAST EXIT$'
check_matches listed '^web +native +running +(just now|[0-9]+ seconds? ago) +[0-9]+ +0 +[0-9.]+[KM]?i?B +1 +-$'
check_equal "the names" "$("$MOONPORT" ps -q)" $'db\nweb'
check_equal "the names by -o" "$("$MOONPORT" ps -o names)" $'db\nweb'
check_equal "one alone" "$("$MOONPORT" ps -q web)" web
"$MOONPORT" ps -o json >ps.json
check_equal "types of what JSON holds" \
  "$(jq -r '.[1] | [.pid, .memory, .restarts, .revision, .name] | map(type) | join(" ")' ps.json)" \
  "number number number number string"
check_equal "times that are not RFC 3339" \
  "$(jq -r '.[] | .created, .updated, .since' ps.json |
    grep -cvE '^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]+Z$')" 0
check_exit 0 "$MOONPORT" status web db >told
check_matches told '^name: +db$'
check_equal "several in JSON" "$("$MOONPORT" status web db -o json | jq -r '.[].name' | xargs)" "web db"
check_equal "one in JSON" "$("$MOONPORT" status web -o json | jq -r '.state')" running

it "shows output: merged by time with prefixes, the last lines, one stream, since, as JSON"
check_equal "all of it" "$("$MOONPORT" logs web)" $'web begins\n\033[32mgreen\033[0m \033[2Jbell\007\non stderr'
check_equal "the first words with prefixes" "$("$MOONPORT" logs web db | grep begins | sort)" \
  $'db  | db begins\nweb | web begins'
check_equal "the last line" "$("$MOONPORT" logs --tail 1 web)" "on stderr"
check_equal "the last line of a stream" "$("$MOONPORT" logs -n 1 --stream stdout web | tr -d '\033\007')" \
  "[32mgreen[0m [2Jbell"
check_equal "nothing" "$("$MOONPORT" logs --tail 0 web)" ""
for since in 10m 1h30m 2020-01-01 2020-01-01T00:00:00+02:00 0; do
  check_equal "since $since" "$("$MOONPORT" logs --since "$since" --stream stderr web)" "on stderr"
done
for since in 0s 2999-01-01T00:00:00Z 99999999999; do
  check_equal "since $since" "$("$MOONPORT" logs --since "$since" web)" ""
done
check_exit 2 "$MOONPORT" logs --since yesterday web 2>err
check_matches err 'is no time; write how long ago'
check_matches <("$MOONPORT" logs -t --tail 1 web) '^[0-9T:-]+\.[0-9]+Z on stderr$'
check_equal "JSON lines" "$("$MOONPORT" logs -o json --tail 1 web | jq -r '[.name, .stream, .text] | join("|")')" \
  "web|stderr|on stderr"

it "ends quietly when the reader of output has gone"
yes "$(printf 'x%.0s' {1..100})" | head -n 20000 >web.fifo
wait_for_line <("$MOONPORT" logs -f web) '^x{100}$'
check_equal "what \`logs | head\` leaves on standard error, and its status" \
  "$({ "$MOONPORT" logs web 2>&1 >&3 || echo "status $?" >&2; } 3>&1 2>err | head -n 1; cat err)" \
  $'web begins\nstatus 141'

it "follows over restarts and new revisions until it is stopped"
"$MOONPORT" logs -f --tail 1 web >followed 2>followed.err &
follower=$!
wait_for_line followed '^x+$'
echo "one" >web.fifo
wait_for_line followed '^one$'
check_exit 0 "$MOONPORT" restart web >/dev/null
echo "two" >web.fifo
wait_for_line followed '^two$'
sed -i 's/64MiB/96MiB/' web.lua
check_exit 10 "$MOONPORT" plan web.lua >planned
check_matches planned '^  ~ limits\.memory: 64MiB -> 96MiB$'
check_exit 0 "$MOONPORT" deploy -q web.lua >out 2>err
check_equal "what a quiet deploy says to standard error" "$(cat err)" ""
echo "three" >web.fifo
wait_for_line followed '^three$'
check_exit 0 "$MOONPORT" stop web >out
wait "$follower"
check_equal "how following ended" "$? $(cat followed.err)" "0 "
check_equal "the lines in their order" "$(grep -cE '^(one|two|three)$' followed) $(grep -c begins followed)" "3 2"

it "stops and starts several, and says what was so already"
check_equal "a second stop" "$("$MOONPORT" stop web)" "web: was stopped already"
check_equal "a start" "$("$MOONPORT" start web db | sort)" $'db: was running already\nweb: started'
check_exit 3 "$MOONPORT" stop web nothing >out 2>err
check_equal "what was stopped" "$(cat out)" "web: stopped"
check_matches err '^moonport: nothing: there is no deployment `nothing`$'
check_exit 2 "$MOONPORT" stop --all web 2>err
check_exit 2 "$MOONPORT" stop --grace soon web 2>err
check_matches err 'is no length of time'
check_exit 0 "$MOONPORT" start --all >out
check_equal "states" "$("$MOONPORT" ps -o json | jq -r '.[].state' | xargs)" "running running"

it "tells in JSON what became of each"
check_equal "a stop" "$("$MOONPORT" stop -o json web | jq -c .)" '[{"action":"stopped","name":"web"}]'
check_equal "a start" "$("$MOONPORT" start -o json web db | jq -c 'map([.name, .action])')" '[["web","started"],["db","unchanged"]]'
check_equal "a restart" "$("$MOONPORT" restart -o json db | jq -c 'map(.action)')" '["restarted"]'
check_exit 3 "$MOONPORT" stop -o json nothing db >out 2>err
check_equal "a failure beside it" "$(jq -c 'map([.name, .action, .error.code])' out)" \
  '[["nothing","failed","not_found"],["db","stopped",null]]'
check_exit 3 "$MOONPORT" stop -o json nothing >out 2>err
check_equal "a failure alone" "$(jq -r '.[].error.message' out)" 'there is no deployment `nothing`'
check_matches err 'there is no deployment `nothing`$'
check_exit 0 "$MOONPORT" start -q db >out
check_equal "a restore of what runs" "$("$MOONPORT" restore -o json | jq -c 'map([.name, .action])')" \
  '[["db","unchanged"],["web","unchanged"]]'

it "runs commands beside a service: input, output, environment, status"
check_equal "piped input" "$(echo hi | "$MOONPORT" exec web -- cat)" hi
check_equal "a variable" "$("$MOONPORT" exec -e MORE=1 web -- sh -c 'echo $GREETING $MORE')" "hello 1"
check_exit 7 "$MOONPORT" exec web -- sh -c 'exit 7'
check_exit 127 "$MOONPORT" exec web -- nothing-of-the-sort 2>err
check_exit 126 "$MOONPORT" exec web -- "$PWD" 2>err
check_exit 137 "$MOONPORT" exec web -- sh -c 'kill -9 $$' 2>err
check_matches err '^`sh` was ended by SIGKILL$'
check_exit 2 "$MOONPORT" exec web ls -l 2>err
check_matches err '^  hint: put `--` before the command'
check_exit 2 "$MOONPORT" exec -t web -- sh 2>err

it "gives a command a terminal of its own, to which every key goes"
terminal_start 80 24 'stty -g >before; "$MOONPORT" exec web -- sh -i; echo left with $?; stty -g >after; exec cat'
see '[#$]'
enter 'stty size'
see '24 80'
enter 'sleep 1000'
press C-c
enter 'echo interrupted with $?'
see 'interrupted with 130'
"${TERMINAL[@]}" resize-window -x 100 -y 30
enter 'until [ "$(stty size)" = "30 100" ]; do :; done; echo resized'
see 'resized'
enter 'exit 5'
see 'left with 5'
wait_until test -s after
check_equal "the terminal's settings afterwards" "$(cat after)" "$(cat before)"
terminal_end

it "makes control characters visible on a terminal, and leaves with Ctrl-C without a word"
NO_COLOR='' terminal_start 80 24 '"$MOONPORT" logs -f --since 1h --stream stderr web; echo left with $?; NO_COLOR=1 "$MOONPORT" logs web | head -n 2; "$MOONPORT" logs --stream stdout web | cat -v | grep -m1 bell; script -qec "$MOONPORT logs --stream stdout web" /dev/null | grep -m1 -o "bell.*"; exec cat'
see 'on stderr'
press C-c
see '\^Cleft with 130'
see '.*\^\[\[2Jbell\^G'
see 'bell\\x07.*'
terminal_end

it "tells where a value comes from"
check_matches <("$MOONPORT" explain web limits.memory) '^96MiB  \(manifest, .*web\.lua:[0-9]+\)'
check_equal "a value in JSON" "$("$MOONPORT" explain -o json web limits.memory | jq '.[0].value')" 100663296
check_exit 2 "$MOONPORT" explain web limits.memry 2>err
check_matches err 'did you mean `limits.memory`'

it "lists revisions, and goes back to one"
check_matches <("$MOONPORT" history web) '^ *2 +active .* limits\.memory '
check_exit 3 "$MOONPORT" rollback web 9 2>err
check_exit 0 "$MOONPORT" rollback web 1 >out 2>err
check_matches out '^web: .*revision 3'
check_equal "revisions in JSON" "$("$MOONPORT" history -o json web | jq -r '.[] | "\(.number) \(.serving)"' | xargs)" \
  "3 true 2 false 1 false"

it "completes the names of services and the numbers of revisions"
check_equal "services" "$("$MOONPORT" __complete logs '' | cut -f1 | xargs)" "db web"
check_equal "services that are not there yet" "$("$MOONPORT" __complete logs web '' | cut -f1 | xargs)" "db"
check_equal "revisions" "$("$MOONPORT" __complete rollback web '' | cut -f1 | xargs)" "3 2 1"

it "asks before it removes all, and removes several"
check_exit 2 "$MOONPORT" rm --all 2>err
check_matches err '^  hint: pass --yes'
check_equal "services that are left" "$("$MOONPORT" ps -q | xargs)" "db web"
check_equal "a removal in JSON" "$("$MOONPORT" rm -o json db 2>err | jq -c 'map([.name, .action])')" '[["db","removed"]]'
check_exit 0 "$MOONPORT" rm -q web 2>err
check_equal "what a quiet rm says" "$(cat err)" ""
check_equal "services that are left" "$("$MOONPORT" ps -q)" ""
check_exit 3 "$MOONPORT" rm web 2>err
check_exit 0 "$MOONPORT" rm --force web 2>err

done_testing
