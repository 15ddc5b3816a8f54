--- The directories of a native service.
--
--    <deployment>/service/   the supervisor's record and the logs, the operator's alone
--    <deployment>/data/      DATA_DIR, the service's own; unless the manifest names another
-- @module moonport.native.storage

local account = require "moonport.native.account"
local fs = require "moonport.fs"
local keystore = require "moonport.keystore"

local M = {}

local PRIVATE = 448 -- 0700
local PASS = 457 -- 0711: the service's account gets through to its data, and lists nothing

--- Checks the keystore, where the manifest names one.
-- @tparam context ctx
function M.check_keystore(ctx)
  local path = ctx.manifest.keystore
  if path then keystore.check(path, account.of(ctx)) end
end

--- Chooses the directories.
-- @tparam context ctx
-- @treturn table intent {service, data, own}: `own` when the data goes with the deployment
-- @treturn table resources
function M.allocate(ctx)
  local own = ctx.manifest.data_dir == nil
  local intent = {
    service = fs.join(ctx.dir, "service"),
    data = own and fs.join(ctx.dir, "data") or ctx.manifest.data_dir,
    own = own,
  }
  local resources = { { "directory", { path = intent.service } } }
  if own then resources[2] = { "directory", { path = intent.data } } end
  return intent, resources
end

local function change(path)
  return { action = fs.exists(path) and "keep" or "create", what = "directory " .. path }
end

--- Tells which directories would be made.
-- @tparam context ctx
-- @treturn {change,...}
function M.plan(ctx)
  local intent = M.allocate(ctx)
  return { change(intent.service), change(intent.data) }
end

-- Every directory of the state above the data must let the service's account through. All files in
-- them are the operator's alone.
local function let_through(ctx, user)
  if user.uid == fs.stat(ctx.dir).uid then return end
  for _, dir in ipairs { ctx.state.dir, fs.dirname(ctx.dir), ctx.dir } do fs.chmod(dir, PASS) end
end

--- Makes the directories.
-- @tparam context ctx
-- @tparam table intent
function M.make(ctx, intent)
  local user = account.of(ctx)
  fs.mkdirs(intent.service, PRIVATE)
  if intent.own then let_through(ctx, user) end
  if fs.exists(intent.data) then return end
  fs.mkdirs(intent.data, PRIVATE)
  fs.chown(intent.data, user.uid, user.gid)
end

return M
