-- The native target: a blueprint's program on the host, under moonport-shim.
--
-- What it takes to do each thing is in the stdlib (moonport.native.*, moonport.shim,
-- moonport.ready, moonport.logs); this file says what happens, in which order, and what is undone.

local native = require "moonport.native"

local function check(ctx)
  native.account.check(ctx)
  native.program.check(ctx)
  native.storage.check_keystore(ctx)
  native.service.check(ctx)
end

local steps = {
  recipe.step("check", {
    summary = "Program, account and keystore are as they must be",
    plan = check,
    apply = check,
  }),

  recipe.step("storage", {
    summary = "Directories for data, logs and the supervisor",
    scope = "deployment",
    allocate = native.storage.allocate,
    plan = native.storage.plan,
    apply = native.storage.make,
  }),

  recipe.step("limits", {
    summary = "A control group with the limits",
    allocate = native.limits.allocate,
    plan = native.limits.plan,
    apply = native.limits.apply,
    undo = native.limits.remove,
  }),

  recipe.step("service", {
    summary = "The service, under its supervisor",
    takes_over = true,
    allocate = native.service.allocate,
    plan = native.service.plan,
    apply = native.service.start,
    undo = native.service.stop,
  }),

  recipe.step("ready", {
    summary = "The service does its work",
    plan = native.service.plan_ready,
    apply = native.service.wait_until_ready,
  }),
}

return recipe.define {
  name = "targets.native",
  summary = "Run a blueprint's program on the host",
  steps = steps,
  manifest = native.manifest,
  inputs = native.program.inputs,
  diagnose = native.service.diagnose,
  status = native.service.status,
  logs = native.service.logs,
  exec = native.service.exec,
  start = native.service.restart_ended,
  stop = native.service.stop_running,
  wait = native.service.wait,
  forward = native.service.forward,
  events = native.service.events,
  restore = native.service.restore,
}
