-- The container target: a blueprint as a pod on a Kubernetes cluster.
--
-- What it takes to do each thing is in the stdlib (moonport.container.*, on the client
-- moonport.kube); this file says what happens, in which order, and what is undone. What several
-- deployments share (the namespace, the service that leads to this host) goes with the last one.

local container = require "moonport.container"

local steps = {
  recipe.step("check", {
    summary = "The cluster answers, and the account may do what is needed",
    plan = container.check.plan,
    apply = container.check.run,
  }),

  recipe.step("isolation", {
    summary = "The RuntimeClass that gives the isolation asked for",
    allocate = container.boundary.allocate,
    plan = container.boundary.plan,
    apply = container.boundary.apply,
  }),

  recipe.step("namespace", {
    summary = "The namespace, which others may use as well",
    scope = "deployment",
    allocate = container.namespace.allocate,
    plan = container.namespace.plan,
    apply = container.namespace.apply,
  }),

  recipe.step("host", {
    summary = "A service that leads from pods to this host",
    allocate = container.host.allocate,
    plan = container.host.plan,
    apply = container.host.apply,
  }),

  recipe.step("keystore", {
    summary = "The keystore, as a Secret",
    allocate = container.secrets.keystore.allocate,
    plan = container.secrets.keystore.plan,
    apply = container.secrets.keystore.apply,
    undo = container.secrets.keystore.undo,
  }),

  recipe.step("environment", {
    summary = "The variables that are secrets, as a Secret",
    allocate = container.secrets.environment.allocate,
    plan = container.secrets.environment.plan,
    apply = container.secrets.environment.apply,
    undo = container.secrets.environment.undo,
  }),

  recipe.step("data", {
    summary = "The volume with its data",
    scope = "deployment",
    allocate = container.claims.allocate,
    plan = container.claims.plan,
    apply = container.claims.apply,
    undo = container.claims.undo,
  }),

  recipe.step("pod", {
    summary = "The pod, or a StatefulSet of several",
    takes_over = true,
    allocate = container.pod.allocate,
    plan = container.pod.plan,
    objects = container.pod.objects,
    apply = container.pod.apply,
    undo = container.pod.undo,
  }),

  recipe.step("ready", {
    summary = "The service does its work",
    plan = container.service.plan_ready,
    apply = container.service.wait_until_ready,
  }),
}

return recipe.define {
  name = "targets.container",
  summary = "Run a blueprint as a pod on Kubernetes",
  steps = steps,
  manifest = container.manifest,
  inputs = container.inputs,
  diagnose = container.service.diagnose,
  status = container.service.status,
  logs = container.service.logs,
  exec = container.service.exec,
  start = container.service.start,
  drift = container.service.drift,
  stop = container.service.stop,
  restart = container.service.restart,
  wait = container.service.wait,
  forward = container.service.forward,
  events = container.service.events,
  restore = container.service.restore,
}
