--- The native target's parts: what its recipe puts in order.
-- @module moonport.native

local ready = require "moonport.ready"
local schema = require "moonport.schema"

local M = {
  account = require "moonport.native.account",
  program = require "moonport.native.program",
  storage = require "moonport.native.storage",
  limits = require "moonport.native.limits",
  service = require "moonport.native.service",
}

local function check_whole(data, report)
  ready.check(data, report)
  if data.command or data.binary then return end
  report("binary", "a native service needs `binary` or `command`",
    "`binary` is the blueprint's program, `command` an exact argv in its place")
end

--- The schema of a manifest's `native` table.
M.manifest = schema.record({
  working_dir = schema.path { doc = "where it runs; without it, the data directory" },
  nice = schema.integer { min = -20, max = 19, doc = "scheduling priority, as for nice(1)" },
  oom_score_adj = schema.integer {
    min = -1000, max = 1000, doc = "how readily the kernel kills it when memory is short",
  },
  no_new_privs = schema.boolean {
    default = true, doc = "what it executes gains no privileges (setuid)",
  },
}, { default = {}, doc = "what belongs to the native target alone" })
M.manifest.manifest = check_whole

return M
