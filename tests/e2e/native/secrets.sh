#!/bin/bash
# Secrets enter by reference: the service sees the value, and nobody else does.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

secret=Xyzzy-plugh-4217-plover
printf '%s\n' "$secret" >token
chmod 600 token

# found_in FILE...: the files, of those that there are, that hold the secret or a simple disguise of it.
found_in() {
  local disguise
  for disguise in "$secret" "$(printf %s "$secret" | base64)" "$(printf %s "$secret" | rev)"; do
    grep -rlaF -- "$disguise" "$@" 2>/dev/null || true
  done
}

cat >check <<'SH'
#!/bin/sh
printf %s "$TOKEN" | sha256sum | grep -q "$SUM" && echo 'has it'
exec sleep 1000
SH
chmod +x check
sum=$(printf %s "$secret" | sha256sum | cut -d' ' -f1)
manifest svc "command = { '$PWD/check' }, ready = { log = 'has it' },
  env = { TOKEN = secret.file('$PWD/token'), SUM = '$sum' }"

it "the service has the value"
moonport --trace deploy svc.lua >told 2>&1 || give_up "it could not be deployed:" "$(<told)"
check_state svc running
grep -qzaF "TOKEN=$secret" "/proc/$(field svc .pid)/environ" || check_failed "it is not in its environment"

it "nothing that moonport writes or says has it"
{
  moonport --trace status svc
  moonport status -o json svc
  moonport ps -o json
  moonport plan svc.lua
  moonport explain svc env.TOKEN
  moonport history -o json svc
  moonport logs svc
} >>told 2>&1 || true
check_matches told 'token' # the reference may be shown
check_equal "files with the secret" "$(found_in "$MOONPORT_STATE" told)" ''
cat /proc/[0-9]*/cmdline >cmdlines 2>/dev/null || true
check_equal "arguments with the secret" "$(grep -caF -- "$secret" cmdlines)" 0
check_equal "environments of supervisors with the secret" \
  "$(for pid in $(pgrep -f "moonport-shim run --dir $MOONPORT_STATE"); do
    grep -laF -- "$secret" "/proc/$pid/environ" || true; done)" ''

it "exec gives it to the command, and no one else"
check_equal "the value" "$(moonport exec svc -- /bin/sh -c 'printf %s "$TOKEN"')" "$secret"

it "a failure does not tell it either, even when the service prints it"
manifest bad "command = { '/bin/sh', '-c', 'echo \"my token is \$TOKEN\"; exit 3' }, restart = { policy = 'no' },
  ready = { file = 'never' }, env = { TOKEN = secret.file('$PWD/token') }"
moonport --trace deploy bad.lua >told 2>&1 || true
check_matches told 'exited with 3'
check_equal "files with the secret" "$(found_in told "$MOONPORT_STATE"/deployments/*/{record,failure}.* "$MOONPORT_STATE"/state.db*)" ''
moonport rm --force bad >/dev/null 2>&1

it "a changed value is noticed, and the service replaced"
check_exit 0 moonport plan svc.lua >plan.out 2>&1
secret=another-Value-9981
printf '%s\n' "$secret" >token
check_exit 10 moonport plan svc.lua >plan.out 2>&1
check_matches plan.out 'svc will be replaced'
sed -i "s/SUM = '[0-9a-f]*'/SUM = '$(printf %s "$secret" | sha256sum | cut -d' ' -f1)'/" svc.lua
deploy svc.lua
grep -qzaF "TOKEN=$secret" "/proc/$(field svc .pid)/environ" || check_failed "it still has the old value"
check_equal "files with the secret" "$(found_in "$MOONPORT_STATE" plan.out deploy.out deploy.err)" ''

it "a secret that others can read, or that is not there, is refused by name"
rm token
code=0
moonport deploy svc.lua >told 2>&1 || code=$?
((code != 0)) || check_failed "it was deployed without its secret"
check_matches told 'token'
check_state svc running

moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
check_nothing_left
done_testing
