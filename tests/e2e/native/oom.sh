#!/bin/bash
# A service that takes more memory than it may: the kernel kills it, and moonport says so.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

manifest greedy "command = { '/usr/bin/perl', '-e', [[
    print \"taking\\n\"; \$| = 1; sleep 1000 unless -e 'greed'; my \$x = 'x' x (200 << 20); sleep 1000]] },
  limits = { memory = '32MiB' }, restart = { policy = 'no' }"
deploy greedy.lua
if [[ -z $(cgroups '/*') ]] || grep -q 'cannot be limited' deploy.err; then skip "memory cannot be limited here"; fi

it "records an exit for want of memory, with the peak"
touch "$MOONPORT_STATE/deployments/greedy/data/greed"
moonport restart greedy >/dev/null
await greedy "status.state == 'failed'"
check_equal "exit" "$(field greedy '.exit | "\(.signal) \(.oom)"')" 'KILL true'
peak=$(field greedy .exit.peak)
((peak > 24 << 20 && peak <= 33 << 20)) || check_failed "the peak is $peak"
moonport ps >ps.out
check_matches ps.out '^greedy +native +failed .* OOM$'
moonport status greedy >status.out
check_matches status.out 'out of memory, peak memory [23][0-9.]+MiB'

it "stops restarting what runs out of memory again and again, and says so"
manifest greedy "command = { '/usr/bin/perl', '-e', 'my \$x = q(x) x (200 << 20); sleep 1000' },
  limits = { memory = '32MiB' }, restart = { policy = 'on-failure', max = 2, backoff = '10ms' },
  ready = { file = 'never' }"
check_exit 1 moonport deploy greedy.lua >deploy.out 2>deploy.err
check_matches deploy.err 'out of memory'
check_matches deploy.err 'exit: killed by the kernel: out of memory, peak memory [23][0-9.]+MiB'

it "does not call another kill an exit for want of memory"
manifest victim "command = { '/bin/sleep', '1000' }, limits = { memory = '32MiB' }, restart = { policy = 'no' }"
deploy victim.lua
kill -KILL "$(field victim .pid)"
await victim "status.state == 'failed'"
check_equal "exit" "$(field victim '.exit | "\(.signal) \(.oom)"')" 'KILL false'

moonport rm greedy victim >/dev/null 2>&1
check_nothing_left
done_testing
