#!/bin/bash
# Hostile values in names, environment and arguments: they arrive as they are, or are refused by name. None
# becomes code, and none leads out of the deployment's directory.
# shellcheck disable=SC2016 # nothing here is to be expanded, which is the point
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The service copies what it was given, as it got it, and lives on.
cat >dump <<'PERL'
#!/usr/bin/perl
open my $argv, '>', "$ENV{DATA_DIR}/argv"; print $argv map { "$_\0" } @ARGV; close $argv;
open my $environ, '<', '/proc/self/environ'; local $/; my $all = <$environ>;
open my $copy, '>', "$ENV{DATA_DIR}/environ"; print $copy $all; close $copy;
open my $done, '>', "$ENV{DATA_DIR}/done"; close $done; sleep 1000;
PERL
chmod +x dump

# Values in files, since a shell would lose some of them.
mkdir values
printf '%s' "it's \"quoted\" \\ and \\\\ more" >values/quotes
printf 'line one\nline two\r\n\n' >values/newlines
printf '%s' '$(touch pwned) `touch pwned` ${HOME} $HOME ; touch pwned & | > pwned < /etc/passwd' >values/shell
printf '%s' 'naïve 日本語 🜁 ‮reversed' >values/utf8
printf '\001\033[31m\177 \302\205' >values/control
printf '%s' '../../../../etc/passwd' >values/path
printf '%s' '-rf' >values/dash
printf '%s' '%s%n%d %%' >values/format
printf '%s' '' >values/empty
head -c 100000 /dev/zero | tr '\0' x >values/large
printf '%s' '${env.X} {{template}} <%= erb %> $$secret' >values/template

cat >hostile.lua.in <<'LUA'
return { name = "hostile", target = "native", USER
  command = { "DUMP", ARGS },
  env = { ENV },
  ready = { file = "done" } }
LUA
# lua_string FILE: the bytes as a Lua string.
lua_string() { printf '"'; od -An -v -tu1 "$1" | awk '{ for (i = 1; i <= NF; i++) printf "\\%03d", $i }'; printf '"'; }
for file in values/*; do
  printf '%s, ' "$(lua_string "$file")" >>arguments
  printf 'HOSTILE_%s = %s, ' "${file#values/}" "$(lua_string "$file")" >>environment
done
awk -v user="$MP_USER" -v dump="$PWD/dump" '
  { sub(/USER/, user); sub(/DUMP/, dump) }
  /ARGS/ { getline args <"arguments"; i = index($0, "ARGS"); print substr($0, 1, i - 1) args substr($0, i + 4); next }
  /ENV/ { getline env <"environment"; i = index($0, "ENV"); print substr($0, 1, i - 1) env substr($0, i + 3); next }
  { print }' hostile.lua.in >hostile.lua

it "arguments and environment arrive byte by byte"
deploy hostile.lua || give_up "it cannot be deployed"
data=$MOONPORT_STATE/deployments/hostile/data
for file in values/*; do cat "$file"; printf '\0'; done >argv
cmp argv "$data/argv" || check_failed "the arguments differ"
tr '\n\0' '\001\n' <"$data/environ" >environ
for file in values/*; do
  name=HOSTILE_${file#values/}
  { printf '%s=' "$name"; tr '\n' '\001' <"$file"; echo; } >expected
  grep -a "^$name=" environ >actual || true
  cmp expected actual || check_failed "$name differs"
done

it "none became code"
check_equal "what they would have made" "$(find "$SANDBOX" -name 'pwned*')" ''

it "they survive a restart, a rollback and the rebuilding of the database"
moonport stop hostile >/dev/null
rm "$data/done" "$data/argv"
rm -f "$MOONPORT_STATE"/state.db*
moonport start hostile >start.out 2>&1 || check_failed "$(<start.out)"
cmp argv "$data/argv" || check_failed "the arguments differ"

it "what is listed stays in its line, and on a terminal without control characters"
moonport status -o json hostile | jq -e .name >/dev/null || check_failed "the status is no JSON"
check_equal "lines of ps" "$(moonport ps | wc -l)" 2
moonport rm hostile >rm.out 2>&1 || check_failed "$(<rm.out)"

it "names that are none are refused, each by name"
for name in '../evil' '/etc/evil' '.' '..' '' 'a b' 'a/b' 'a;b' '$(touch pwned)' 'UPPER' '-rf' $'new\nline' \
  'ünï' "$(printf 'x%.0s' {1..200})" '.hidden' 'a..b/../c'; do
  jq -n --arg name "$name" '{name: $name, target: "native", user: "root", command: ["/bin/true"]}' >evil.json
  code=0
  moonport deploy evil.json >evil.out 2>&1 || code=$?
  if ((code == 0)); then
    check_failed "the name \`$name\` was taken"
    continue
  fi
  grep -q 'name' evil.out || check_failed "\`$name\` was not refused by name:" "$(<evil.out)"
done
for verb in status logs stop start rm history rollback; do
  code=0
  moonport "$verb" '../../etc' >evil.out 2>&1 || code=$?
  ((code != 0)) || check_failed "$verb took a path for a name"
done
check_equal "deployments" "$(ls "$MOONPORT_STATE/deployments")" ''
check_equal "what they would have made" "$(find "$SANDBOX" -name 'pwned*')" ''

it "environment names and values that there cannot be are refused, with the field"
refused() {
  code=0
  moonport deploy evil.lua >evil.out 2>&1 || code=$?
  ((code != 0)) || check_failed "it was deployed: $1"
  check_matches evil.out "$2"
}
manifest evil 'command = { "/bin/true" }, env = { ["A=B"] = "x" }'
refused 'a name with =' 'env'
manifest evil 'command = { "/bin/true" }, env = { [""] = "x" }'
refused 'an empty name' 'env'
manifest evil 'command = { "/bin/true" }, env = { A = "x\0y" }'
refused 'a value with NUL' 'env'
manifest evil 'command = { "/bin/true", "x\0y" }'
refused 'an argument with NUL' 'command'
manifest evil 'command = { "/bin/true" }, env = { DATA_DIR = "/etc" }'
refused 'a name of the contract' 'DATA_DIR'
manifest evil 'command = { "/bin/true" }, env = { A = "\255\254" }'
refused 'bytes that are no UTF-8' 'env'
manifest evil 'command = {}'
refused 'no program' 'command'
manifest evil 'command = { "" }'
refused 'an empty program' 'command|program'

it "more than the kernel takes fails with its reason, and leaves nothing"
head -c 3000000 /dev/zero | tr '\0' y >big
jq -n --rawfile big big '{name: "evil", target: "native", user: "root", command: ["/bin/true", $big]}' >evil.json
code=0
moonport deploy evil.json >evil.out 2>&1 || code=$?
((code != 0)) || check_failed "it was deployed"
check_matches evil.out 'the spec is longer than 2097152 bytes'
moonport rm --force evil >/dev/null 2>&1 || true
check_nothing_left
done_testing
