#!/bin/bash
# Many services at once, and one service many times: nothing leaks.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

count=${1:-200} cycles=${2:-1000} commands=${3:-50}
mkdir many
names=()
for ((i = 1; i <= count; i++)); do
  name=$(printf 's%03d' "$i")
  names+=("$name")
  manifest "many/$name" "command = { '/bin/sh', '-c', 'echo runs; exec sleep 1000' },
    limits = { pids = 4 }, ready = { log = 'runs' }"
  sed -i "s|name = \"many/|name = \"|" "many/$name.lua"
done

it "deploys $count services with one command"
moonport deploy --quiet --parallel 16 many/*.lua >deploy.out 2>deploy.err || check_failed "$(tail deploy.err)"
check_equal "deployed" "$(grep -c 'deployed as revision 1' deploy.out)" "$count"
check_equal "running" "$(moonport ps -o json | jq '[.[] | select(.state == "running")] | length')" "$count"
check_equal "supervisors" "$(pgrep -fc "moonport-shim run --dir $MOONPORT_STATE")" "$count"

it "finds them unchanged with one command"
moonport deploy --quiet --parallel 16 many/*.lua >deploy.out 2>deploy.err || check_failed "$(tail deploy.err)"
check_equal "unchanged" "$(grep -c 'unchanged' deploy.out)" "$count"

it "removes them with one command"
moonport rm --quiet "${names[@]}" >rm.out 2>&1 || check_failed "$(tail rm.out)"
check_equal "supervisors" "$(pgrep -fc "moonport-shim run --dir $MOONPORT_STATE" || true)" 0
check_nothing_left

it "deploys and removes one service $cycles times in one process, which grows by nothing"
manifest one "command = { '/bin/sleep', '1000' }, limits = { pids = 4 }"
moonport run "$NATIVE/cycles.lua" one.lua "$cycles" >cycles.out 2>&1 || check_failed "$(tail cycles.out)"
cat cycles.out
check_nothing_left

it "and $commands times by commands"
for ((i = 1; i <= commands; i++)); do
  deploy one.lua || break
  moonport rm --quiet one >rm.out 2>&1 || { check_failed "$(<rm.out)"; break; }
done
check_nothing_left
done_testing
