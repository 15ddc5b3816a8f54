--- The step that makes what lives as long as the deployment: the VMM's account, the supervisor's
-- directory and the disk with the data. Revisions hand them on.
-- @module moonport.hypervisor.data

local account = require "moonport.hypervisor.account"
local fs = require "moonport.fs"
local places = require "moonport.hypervisor.places"
local spec = require "moonport.hypervisor.spec"
local units = require "moonport.units"

local M = {}

local PRIVATE = 448 -- 0700

--- Chooses account and places. Nothing in it changes with the revision.
-- @tparam context ctx
-- @treturn table intent {supervisor, dir, disk, keep, user}
-- @treturn table resources
function M.allocate(ctx)
  local keep = ctx.manifest.hypervisor.data.keep
  local intent = {
    supervisor = places.supervisor(ctx), dir = places.data_dir(ctx), disk = places.data_disk(ctx),
    keep = keep, user = account.choose(ctx),
  }
  local resources = { { "directory", { path = intent.supervisor } } }
  if not keep then resources[2] = { "directory", { path = intent.dir } } end
  return intent, resources
end

--- Tells whether there is a data disk already.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local there = fs.exists(places.data_disk(ctx))
  local size = units.format_size(spec.data_size(ctx.manifest))
  return {
    {
      action = there and "keep" or "create", what = "data disk",
      to = not there and size .. ", which it takes as it is written" or nil,
    },
  }
end

--- Makes the directories and the disk. One that is there keeps its data, and grows if it is to.
-- @tparam context ctx
-- @tparam table intent
function M.apply(ctx, intent)
  fs.mkdirs(intent.supervisor, PRIVATE)
  account.let_through(ctx, intent.user)
  fs.mkdirs(intent.dir, PRIVATE)
  if intent.keep and intent.user then account.let_pass(fs.dirname(intent.dir)) end
  require("moonport.hypervisor.data_disk").make(intent.disk, spec.data_size(ctx.manifest))
  account.give(intent.dir, intent.user)
  account.give(intent.disk, intent.user)
end

--- Removes them; a disk that is to be kept stays.
-- @tparam context _
-- @tparam table intent
function M.undo(_, intent)
  fs.remove_tree(intent.supervisor)
  if not intent.keep then fs.remove_tree(intent.dir) end
end

return M
