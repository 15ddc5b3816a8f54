-- The hypervisor target: a blueprint in a virtual machine of its own.
--
-- What it takes to do each thing is in the stdlib (moonport.hypervisor.*, on moonport.vm,
-- moonport.netlink, moonport.nft and moonport.image); this file says what happens, in which order,
-- and what is undone. Revisions hand on the disk with the data, which belongs to the deployment;
-- all else is a revision's own.

local hypervisor = require "moonport.hypervisor"

local steps = {
  recipe.step("prerequisites", {
    summary = "Files, tools, rights and the host's firewall are as they must be",
    plan = hypervisor.prerequisites.plan,
    apply = hypervisor.prerequisites.run,
  }),

  recipe.step("image", {
    summary = "The image, downloaded, verified and converted once",
    plan = hypervisor.image.plan,
    apply = hypervisor.image.apply,
  }),

  recipe.step("lease", {
    summary = "A subnet of its own",
    allocate = hypervisor.lease.allocate,
    plan = hypervisor.lease.plan,
    apply = hypervisor.lease.apply,
    undo = hypervisor.lease.undo,
  }),

  recipe.step("data", {
    summary = "The disk with the data, and the VMM's account",
    scope = "deployment",
    allocate = hypervisor.data.allocate,
    plan = hypervisor.data.plan,
    apply = hypervisor.data.apply,
    undo = hypervisor.data.undo,
  }),

  recipe.step("tap", {
    summary = "The network interface that the guest is reached by",
    allocate = hypervisor.tap.allocate,
    plan = hypervisor.tap.plan,
    apply = hypervisor.tap.apply,
    undo = hypervisor.tap.undo,
  }),

  recipe.step("disks", {
    summary = "Root disk, cloud-init's and the service's",
    allocate = hypervisor.disks.allocate,
    plan = hypervisor.disks.plan,
    apply = hypervisor.disks.apply,
    undo = hypervisor.disks.undo,
  }),

  recipe.step("firewall", {
    summary = "Rules for what it reaches, and who reaches it",
    allocate = hypervisor.network.allocate,
    plan = hypervisor.network.plan,
    apply = hypervisor.network.apply,
    undo = hypervisor.network.undo,
  }),

  recipe.step("vmm", {
    summary = "The virtual machine, under its supervisor",
    takes_over = true,
    allocate = hypervisor.vmm.allocate,
    plan = hypervisor.vmm.plan,
    apply = hypervisor.vmm.apply,
    undo = hypervisor.vmm.undo,
  }),

  recipe.step("boot", {
    summary = "The guest answers, and has its network",
    plan = hypervisor.boot.plan,
    apply = hypervisor.boot.apply,
  }),

  recipe.step("ready", {
    summary = "The service does its work",
    plan = hypervisor.ready.plan,
    apply = hypervisor.ready.apply,
  }),
}

return recipe.define {
  name = "targets.hypervisor",
  summary = "Run a blueprint in a virtual machine",
  steps = steps,
  manifest = hypervisor.manifest,
  inputs = hypervisor.inputs,
  diagnose = hypervisor.service.diagnose,
  status = hypervisor.service.status,
  logs = hypervisor.service.logs,
  exec = hypervisor.service.exec,
  console = hypervisor.service.console,
  start = hypervisor.service.start,
  stop = hypervisor.service.stop,
  wait = hypervisor.service.wait,
  forward = hypervisor.service.forward,
  events = hypervisor.service.events,
  restore = hypervisor.service.restore,
}
