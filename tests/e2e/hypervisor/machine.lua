-- machine.lua NAME VERB: asks the VMM of a deployed service directly, past moonport's own verbs.
local env = require("moonport.env").default()
local job = require "moonport.engine.job"
local vmm = require "moonport.hypervisor.vmm"

local name, verb = arg[1], arg[2]
local deployment = env.state:need_deployment(name)
local work = job.open(env, deployment, env.state:revision(deployment.id, deployment.revision or 1))
local machine <close> = vmm.connect(work.ctx.intents.vmm)
local found = machine[verb](machine)
if found then print(mp and mp.json.encode(found) or tostring(found)) end
