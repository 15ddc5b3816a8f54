#!/bin/bash
# A site wraps, inserts and vetoes steps of the native target.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/native/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p "$MOONPORT_SITE/recipes/targets"
cat >"$MOONPORT_SITE/recipes/targets/native.lua" <<'LUA'
local base = recipe.shipped "targets.native"

base:after("service", recipe.step("announce", {
  summary = "Tell the load balancer",
  allocate = function(ctx) return { path = ctx.dir .. "/announced" } end,
  plan = function() return { { action = "create", what = "announcement" } } end,
  apply = function(ctx, intent)
    ctx:record("file", { path = intent.path })
    mp.fs.write(intent.path, ctx.name .. "\n")
  end,
}))

base:wrap("ready", function(original, ctx, intent)
  ctx:progress("warming up")
  local result = original(ctx, intent)
  mp.fs.write(ctx.dir .. "/warm", "yes\n")
  return result
end)

return base
LUA
cat >"$MOONPORT_SITE/hooks.lua" <<'LUA'
on("deploy.before", function(event)
  if event.manifest.limits.memory == nil then
    error("the house rule: every service has a memory limit", 0)
  end
end)
LUA

manifest svc "command = { '/bin/sh', '-c', 'echo runs; exec sleep 1000' }, ready = { log = 'runs' },
  limits = { memory = '32MiB' }"
dir=$MOONPORT_STATE/deployments/svc

it "recipe show tells what the site did, and where"
moonport recipe show targets.native >show.out
check_matches show.out '^announce +.*recipes/targets/native.lua:[0-9]+'
check_matches show.out '^ready +.*wrap at .*recipes/targets/native.lua:[0-9]+'

it "plan shows the inserted step, and changes nothing"
check_exit 10 moonport plan svc.lua >plan.out
check_matches plan.out 'announce +announcement'
[[ ! -e $dir ]] || check_failed "plan made $dir"

it "deploy runs the site's steps"
deploy svc.lua
check_equal "the announcement" "$(cat "$dir/announced")" svc
check_equal "what the wrapper left" "$(cat "$dir/warm")" yes
check_state svc running

it "what was deployed stays as it was when the site's recipe changes or breaks"
echo 'this is no Lua' >"$MOONPORT_SITE/recipes/targets/native.lua"
moonport restart svc >restart.out 2>&1 || check_failed "$(<restart.out)"
check_state svc running
moonport rm svc >rm.out 2>&1 || check_failed "$(<rm.out)"
[[ ! -e $dir ]] || check_failed "rm left $dir"
check_exit 1 moonport deploy svc.lua 2>broken.err
check_matches broken.err 'recipes/targets/native.lua:1'
rm "$MOONPORT_SITE/recipes/targets/native.lua"

it "a hook's veto stops a deployment before anything is made, and shows while planning"
manifest greedy "command = { '/bin/sleep', '1000' }"
check_exit 4 moonport deploy greedy.lua 2>veto.err
check_matches veto.err 'every service has a memory limit'
check_exit 4 moonport plan greedy.lua 2>veto.err
check_matches veto.err 'every service has a memory limit'
check_exit 3 moonport status greedy 2>/dev/null
[[ ! -e $MOONPORT_STATE/deployments/greedy ]] || check_failed "the vetoed deployment left a directory"

it "an unknown hook is an error with the nearest name"
echo 'on("deploy.befor", function() end)' >"$MOONPORT_SITE/hooks.lua"
code=0
moonport deploy svc.lua >unknown.err 2>&1 || code=$?
((code != 0)) || check_failed "it was taken"
check_matches unknown.err 'deploy.before'
rm "$MOONPORT_SITE/hooks.lua"

it "a site that others can write to is refused"
chmod 777 "$MOONPORT_SITE"
code=0
moonport deploy svc.lua >others.err 2>&1 || code=$?
((code == 4)) || check_failed "exit code $code"
check_matches others.err 'can be written to by everyone'
chmod 700 "$MOONPORT_SITE"
echo 'return {}' >"$MOONPORT_SITE/config.lua"
chmod 666 "$MOONPORT_SITE/config.lua"
code=0
moonport deploy svc.lua >others.err 2>&1 || code=$?
((code == 4)) || check_failed "exit code $code for a file of it"
rm -f "$MOONPORT_SITE/config.lua"

it "the site's defaults apply, and explain says so"
printf 'return { defaults = { limits = { memory = "48MiB" } } }\n' >"$MOONPORT_SITE/config.lua"
chmod 600 "$MOONPORT_SITE/config.lua"
deploy greedy.lua
moonport explain greedy limits.memory >explain.out
check_matches explain.out 'config.lua:1'
moonport rm greedy >rm.out 2>&1 || check_failed "$(<rm.out)"
check_nothing_left
done_testing
