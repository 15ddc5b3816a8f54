#!/bin/bash
# What a pod finds inside: its account and rights, its variables, and a keystore that arrives byte by byte and cannot
# be written.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

token=Xyzzy-plugh-4217-plover
printf '%s\n' "$token" >token
mkdir -p keys/ecdsa/deep
head -c 100000 /dev/urandom >keys/binary
printf 'no newline at the end' >keys/ecdsa/1
printf '\n\0\n' >'keys/ecdsa/deep/a key=%41'
: >keys/.hidden
chmod -R go-rwx keys token

# sums DIRECTORY...: of the files below, as a shell in a pod makes them too.
sums() { (cd "$1" && find . -type f | sort | while read -r file; do sha256sum "$file"; done); }

manifest inside "$IDLE keystore = '$PWD/keys', chain = 'local', args = { ignored = true },
  env = { LITERAL = '\$(HOME) \$\$ \$(CHAIN)', SPACED = ' a  b ', TOKEN = secret.file('$PWD/token') },
  limits = { memory = '64MiB', cpus = 0.5 }," "requests = { cpus = 0.01 },"

it "has an ordinary account without any right"
deploy inside.lua
check_state inside running
check_equal "account" "$(in_pod inside 'id -u; id -g; id -G' | paste -sd' ')" "1000 1000 1000"
in_pod inside 'cat /proc/self/status' >status
check_matches status '^NoNewPrivs:.1$'
check_matches status '^CapEff:.0+$'
check_matches status '^CapBnd:.0+$'
check_matches status '^Seccomp:.2$'
check_equal "a token of the cluster" "$(in_pod inside 'ls /var/run/secrets 2>/dev/null | wc -l')" 0

it "has the limits"
check_equal "resources" "$(pod inside .spec.containers[0].resources | jq -c)" \
  '{"limits":{"cpu":"500m","memory":"64Mi"},"requests":{"cpu":"10m","memory":"64Mi"}}'

it "has its variables literally, and secrets by reference alone"
in_pod inside env >variables
check_matches variables '^LITERAL=\$\(HOME\) \$\$ \$\(CHAIN\)$'
check_matches variables '^SPACED= a  b $'
check_matches variables "^TOKEN=$token\$"
check_matches variables '^KEYSTORE_URI=/mnt/keystore$'
check_matches variables '^DATA_DIR=/mnt/data$'
check_equal "the secret in the pod" "$(kubectl get pods -o yaml | grep -c "$token" || true)" 0
check_equal "files of the store with the secret" "$(grep -rlaF "$token" "$MOONPORT_STATE" || true)" ''

it "has the keystore, byte by byte, readable and not to be written"
in_pod inside 'cd /mnt/keystore && find . -type f -follow | grep -v "/\.\." | sort | while read -r f; do sha256sum "$f"; done' >there
check_equal "files" "$(<there)" "$(sums keys)"
in_pod inside 'echo x >/mnt/keystore/x' >written || true
check_matches written 'Read-only file system'
check_equal "keys in the store" "$(grep -rlaF 'no newline at the end' "$MOONPORT_STATE" || true)" ''

it "can write its data"
check_equal "what it wrote" "$(in_pod inside 'echo x >/mnt/data/x && cat /mnt/data/x')" x

secrets() { kubectl get secrets -l "moonport/store=$(store)" -o name | sort; }

it "keeps its Secrets while they are as they were, and gets others when they change"
before=$(secrets)
check_equal "Secrets" "$(wc -l <<<"$before")" 2
sed -i 's/ignored = true/ignored = 1/' inside.lua
deploy inside.lua
check_equal "Secrets" "$(secrets)" "$before"
echo changed >keys/ecdsa/1
deploy inside.lua
check_equal "the key" "$(in_pod inside 'cat /mnt/keystore/ecdsa/1')" changed
after=$(secrets)
check_equal "Secrets that stay" "$(comm -12 <(echo "$before") <(echo "$after") | sed 's/.*-\(env\|keystore\)-.*/\1/')" env
check_equal "Secrets" "$(wc -l <<<"$after")" 2

it "refuses a keystore that no Secret can hold, by name"
manifest bad "$IDLE keystore = '$PWD/keys',"
ln -s 1 keys/ecdsa/link
refused 4 'keys/ecdsa/link` is a symbolic link' plan bad.lua
rm keys/ecdsa/link
head -c 1000000 /dev/zero >keys/large
chmod 600 keys/large
refused 4 'a Secret holds 1 MiB; its largest file is `large`' plan bad.lua
check_matches refused.err 'container.keystore = "host"'

it "takes the node's own directory where that is asked for, of any size"
chmod 755 . keys
manifest host "$IDLE keystore = '$PWD/keys'," "keystore = 'host',"
if ((EUID == 0)); then chown -R 1000:1000 keys; fi
chmod 700 keys
deploy host.lua
check_equal "files" "$(in_pod host 'cd /mnt/keystore && find . -type f | sort | while read -r f; do sha256sum "$f"; done')" "$(sums keys)"
check_matches <(in_pod host 'echo x >/mnt/keystore/x') 'Read-only file system'

it "has other rights where the manifest says so"
manifest rights "$IDLE" "security = { run_as_user = 0, run_as_group = 0, fs_group = 7, run_as_non_root = false,
  read_only_root = true, capabilities = { 'NET_BIND_SERVICE' }, seccomp = 'Unconfined' }, service_account_token = true"
deploy rights.lua
check_equal "account" "$(in_pod rights 'id -u; id -g; id -G' | paste -sd' ')" "0 0 0 7"
in_pod rights 'cat /proc/self/status' >status
check_matches status '^CapEff:.0+400$'
check_matches status '^Seccomp:.0$'
check_matches <(in_pod rights 'echo x >/x') 'Read-only file system'
check_equal "scratch space" "$(in_pod rights 'echo x >/tmp/x && cat /tmp/x')" x
check_equal "a token of the cluster" "$(in_pod rights 'test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo there')" there

it "does not run as root unless that is said"
sed 's/run_as_non_root = false,//' rights.lua >root.lua
refused 1 '`container.security.run_as_user` is root' plan root.lua

it "is ready once it has said so, and reaches a port of this host by name"
mkdir www
echo 'hello from the host' >www/index.html
port=$((20000 + $$ % 10000))
"$MP_TEST_CACHE/cluster-busybox/busybox" httpd -f -p "$port" -h www &
asks="until timeout 5 wget -qO- http://blueprint-service:$port/; do sleep 1; done"
waits='trap \"exit 0\" TERM; while :; do sleep 1 & wait $!; done'
manifest said "command = { 'sh', '-c', \"$asks; $waits\" }, ready = { log = '^hello from' }," "host_ports = { $port },"
deploy said.lua
check_matches <(moonport logs said) '^hello from the host$'

it "registers, and gives back what it has written"
manifest register "command = { 'sh', '-c', 'echo \"{}\" >\$REGISTRATION_OUTPUT_PATH' },
  registration = { output = '$PWD/registered' },"
deploy register.lua
check_state register completed
check_equal "what it wrote" "$(<registered)" '{}'
for reached in ready running; do
  check_equal "waited until it was $reached, it is" "$(moonport run "$CONTAINER/../wait.lua" register "$reached" 2>&1)" completed
done
manifest failing "command = { 'sh', '-c', 'exit 3' }, registration = { output = '$PWD/never' },"
refused 1 'exited with 3|exit code 3|ended with 3' deploy failing.lua

it "leaves nothing"
moonport rm --quiet inside host rights said register
check_nothing_left

done_testing
