#!/bin/bash
# A site that puts a container beside the service, by wrapping the step `pod`: whatever brings pods back brings them back
# so, as they were deployed, also when the site has other plans by then.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

RECIPE=$MOONPORT_SITE/recipes/targets/container.lua

# site NAME: from now on a container NAME runs beside the service, and each time that the step applies is noted.
site() {
  mkdir -p "${RECIPE%/*}"
  chmod -R go-w "$MOONPORT_SITE"
  cat >"$RECIPE" <<RECIPE
local base = recipe.shipped "targets.container"

local function pod_of(object) return object.kind == "StatefulSet" and object.spec.template or object end

base:wrap("pod", {
  objects = function(original, ctx, intent)
    local objects = original(ctx, intent)
    local containers = pod_of(objects[#objects]).spec.containers
    containers[#containers + 1] = {
      name = "$1", image = ctx.manifest.image, command = containers[1].command,
      securityContext = containers[1].securityContext,
    }
    return objects
  end,
  apply = function(original, ctx, intent)
    mp.fs.append(ctx.dir .. "/applied", ctx.revision .. "\n")
    return original(ctx, intent)
  end,
})

return base
RECIPE
}
# Names of the containers in the pods of a deployment, each set of them once.
containers() {
  kubectl get pods -l "app.kubernetes.io/name=$1" -o json |
    jq -r '.items[] | select(.metadata.deletionTimestamp == null) | [.spec.containers[].name] | join(" ")' | sort -u
}
applied() { paste -sd' ' "$MOONPORT_STATE/deployments/$1/applied"; }
ok() { moonport "$@" >ok.out 2>&1 || check_failed "\`moonport $*\`:" "$(<ok.out)"; }

site beside
manifest single "$IDLE env = { WORD = 'one' },"
manifest several "$IDLE env = { WORD = 'one' }," "replicas = 2,"

it "runs what a site has put beside a service"
deploy single.lua several.lua
check_equal "containers" "$(containers single)" "blueprint beside"
check_equal "containers" "$(containers several)" "blueprint beside"
check_exit 0 moonport plan single.lua several.lua >plan.out

it "has it back by start, after the pod was deleted and after it was stopped"
kubectl delete pod "$(pods single)" >/dev/null
ok start single
check_equal "containers" "$(containers single)" "blueprint beside"
ok stop single several
ok start single several
check_equal "containers" "$(containers single)" "blueprint beside"
check_equal "containers" "$(containers several)" "blueprint beside"

it "has it back by restart"
ok restart single several
check_equal "containers" "$(containers single)" "blueprint beside"
check_equal "containers" "$(containers several)" "blueprint beside"
check_equal "how often the step was applied" "$(applied single)" "1 1 1 1"
check_equal "how often the step was applied" "$(applied several)" "1 1 1"

it "tells in the plan what the site would have instead"
site instead
# second NAME FIELDS: its next manifest.
second() { manifest "$1" "$IDLE env = { WORD = 'two' }, $2" "$([[ $1 == single ]] || echo replicas = 2,)"; }
for name in single several; do
  second "$name" ''
  check_exit 10 moonport plan "$name.lua" >plan.out
  check_matches plan.out "- pod +containers\[beside\]\.image: $IMAGE"
  check_matches plan.out "\+ pod +containers\[instead\]\.image: $IMAGE"
done

it "has the revision that serves back as it was deployed, when one that was to replace it has failed"
for name in single several; do
  second "$name" "ready = { tcp = '127.0.0.1:1', timeout = '2s' },"
  refused 1 'revision 1 serves as before' deploy --quiet "$name.lua"
  check_state "$name" running
  check_equal "containers of $name" "$(containers $name)" "blueprint beside"
done

it "rolls back to what it was, by the recipe of its time"
for name in single several; do second "$name" ''; done
deploy single.lua several.lua
check_equal "containers" "$(containers single)" "blueprint instead"
check_equal "containers" "$(containers several)" "blueprint instead"
rm "$RECIPE"
ok rollback single
ok rollback several
check_equal "containers" "$(containers single)" "blueprint beside"
check_equal "containers" "$(containers several)" "blueprint beside"

moonport rm --quiet single several
check_nothing_left

done_testing
