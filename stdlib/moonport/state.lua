--- State: what moonport knows about its deployments, on disk.
--
--    <state>/store.json            who this store is: its UUID (in every mark) and digest key
--    <state>/state.db              SQLite: deployments, revisions, journal, resources, leases,
--    events
--    <state>/locks/NAME.lock       held while a command changes NAME; dies with its holder
--    <state>/deployments/NAME/     0700: record.json, recipe copies, logs, data
--
-- The database can be rebuilt: each deployment's record.json holds its rows. A database that fails
-- its check is moved aside and rebuilt, and a notice says so. One that is empty is rebuilt too: it
-- is a new store's only where there are no deployments.
--
-- @module moonport.state
local crypto = require "moonport.crypto"
local deployments = require "moonport.state.deployments"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local leases = require "moonport.state.leases"
local manifest = require "moonport.manifest"
local migrations = require "moonport.state.migrations"
local rebuild = require "moonport.state.rebuild"
local store = require "moonport.store"
local sys = require "moonport.sys"

local M = {}

local PRIVATE = "0700"
local PRIVATE_FILE = "0600"

local State = {}
State.__index = State
State.__name = "moonport.state"

for _, part in ipairs { deployments.methods, leases.methods } do
  for name, method in pairs(part) do
    State[name] = method
  end
end

local function environment(name)
  local value = not sys.secure and os.getenv(name) or nil
  return value ~= "" and value or nil
end

--- The state directory that applies: what --state named, $MOONPORT_STATE, /var/lib/moonport for
-- root, else $XDG_STATE_HOME/moonport.
-- @tparam ?string dir what --state named
-- @treturn string absolute
function M.locate(dir)
  dir = dir or environment "MOONPORT_STATE"
  if not dir and sys.euid() == 0 then
    dir = "/var/lib/moonport"
  elseif not dir then
    local base = environment "XDG_STATE_HOME"
    base = base or environment "HOME" and environment "HOME" .. "/.local/state"
    if not base then
      errors.raise {
        kind = "state",
        code = "usage",
        message = "there is no directory for state: neither XDG_STATE_HOME nor HOME is set",
        hint = "name one with --state DIR",
      }
    end
    dir = base .. "/moonport"
  end
  return fs.absolute(dir)
end

local function new_identity()
  return { version = 1, uuid = crypto.uuid(), key = crypto.hex(crypto.random(32)) }
end

-- Reads who the store is from store.json; nil where that is missing or no such thing.
local function read_identity(dir)
  local path = dir .. "/store.json"
  local who = fs.exists(path) and try(json.decode, fs.read(path)) or nil
  if type(who) ~= "table" or type(who.uuid) ~= "string" or type(who.key) ~= "string" then
    return nil
  elseif who.version ~= 1 then
    errors.raise {
      kind = "state",
      code = "newer",
      message = ("the state in `%s` was written by a newer moonport"):format(dir),
      hint = "use that one, or another --state",
    }
  end
  return who
end

local function write_identity(dir, who)
  fs.write(dir .. "/store.json", json.encode(who, { sort_keys = true }) .. "\n", {
    mode = PRIVATE_FILE,
  })
end

local function open_database(path)
  return store.open { path = path, migrations = migrations.list }
end

-- Opens the database; one that is damaged is moved aside, and a new one made.
local function open_or_replace(path, notice)
  local db, why = try(open_database, path)
  if not why then
    return db
  elseif not errors.is(why, "store", "corrupt") then
    error(why, 0)
  end
  local aside = rebuild.move_aside(path)
  notice(("the state database was damaged (%s); it is kept as `%s`"):format(why.message, aside))
  return open_database(path)
end

-- Fills a new database from the records. That it has been filled is written last; so a rebuilding
-- that was interrupted is done again.
local function fill(db, dir, who, notice)
  local count, lost = rebuild.from_records(db, dir)
  if count > 0 then
    notice(("the state database was rebuilt from the records of %d deployments"):format(count))
  end
  for _, name in ipairs(lost) do
    notice(("%s: %s"):format(rebuild.describe_lost(name)))
  end
  local sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('identity', ?)"
  db:run(sql, json.encode(who, { sort_keys = true }))
end

-- Who the store is, where neither store.json nor the database tells.
local function find_identity(dir, notice)
  local who = new_identity()
  local uuid = rebuild.store_of_records(dir)
  if uuid then
    notice("who this store is was lost, and is taken from the records of its deployments: each is "
      .. "deployed anew when it is deployed the next time")
  end
  who.uuid = uuid or who.uuid
  return who
end

-- Opens the database and settles who the store is: store.json and the database each know, so that
-- either can be lost. The lock keeps two first commands from deciding differently.
local function open_store(dir, notice)
  local _ <close> = fs.lock(dir .. "/locks/.store", { wait = 60 })
  local who = read_identity(dir)
  local db = open_or_replace(dir .. "/state.db", notice)
  local kept = db:row "SELECT value FROM meta WHERE key = 'identity'"
  local ok, why = pcall(function()
    if not who then
      who = kept and json.decode(kept.value) or find_identity(dir, notice)
      write_identity(dir, who)
    end
    if not kept then
      fill(db, dir, who, notice)
    end
  end)
  if not ok then
    db:close()
    error(why, 0)
  end
  return who, db
end

local function refuse_to_write()
  errors.raise {
    kind = "state",
    code = "refused",
    message = "this store was opened for reading, and there is nothing in it",
  }
end

-- Stands for the database of a store that does not exist: asking must not make one.
local NO_DATABASE = {
  row = function() end,
  rows = function()
    return {}
  end,
  run = refuse_to_write,
  transaction = refuse_to_write,
  batch = refuse_to_write,
  close = function() end,
}

-- True where no store is, nor the remains of one.
local function is_nowhere(dir)
  for _, name in ipairs { "store.json", "state.db", "deployments" } do
    if fs.exists(("%s/%s"):format(dir, name)) then
      return false
    end
  end
  return true
end

--- Opens a store.
-- @tparam ?table options `dir` (what --state named); `notice` (function(text): told what an
-- operator should know, such as a rebuilt database); `read_only` (for commands that only ask: a
-- store that does not exist is not made, and reads as an empty one)
-- @treturn state {dir, uuid, key, db}; close it with `:close()` or a `<close>` variable
-- @raise {kind = "state"}, {kind = "store"}, {kind = "fs"}
function M.open(options)
  options = options or {}
  local dir = M.locate(options.dir)
  local fields = { dir = dir, boot_id = sys.boot_id() }
  if options.read_only and is_nowhere(dir) then
    fields.uuid, fields.key, fields.db = "none", "none", NO_DATABASE
    return setmetatable(fields, State)
  end
  for _, path in ipairs { dir, dir .. "/locks", dir .. "/deployments" } do
    fs.mkdirs(path, PRIVATE)
  end
  local who, db = open_store(dir, options.notice or function() end)
  fields.uuid, fields.key, fields.db = who.uuid, who.key, db
  return setmetatable(fields, State)
end

--- True for the empty store that stands for one that does not exist: it has no UUID and no key.
-- @treturn boolean
function State:is_none()
  return self.db == NO_DATABASE
end

--- Closes the store.
function State:close()
  if self.db then
    self.db:close()
    self.db = nil
  end
end

State.__close = State.close

--- The directory of a deployment.
-- @tparam string name
-- @treturn string
function State:deployment_dir(name)
  return self.dir .. "/deployments/" .. manifest.check_name(name)
end

-- A command that only asks whether somebody is at work (`is_locked`) is itself a holder for an
-- instant, and must not turn another away.
local ASKING_SECONDS = 0.5

local function lock_path(state, name)
  return ("%s/locks/%s.lock"):format(state.dir, manifest.check_name(name))
end

--- Takes the lock of a deployment, so that two commands on it exclude each other. It is dropped by
-- `lock:release()`, by `<close>`, and by the kernel when this process ends.
-- @tparam string name
-- @tparam ?table options `wait`: seconds to wait for another command (default: half a second)
-- @treturn lock
-- @raise {kind = "state", code = "busy"}
function State:lock(name, options)
  local wait = options and options.wait or ASKING_SECONDS
  local lock, why = try(fs.lock, lock_path(self, name), { wait = wait })
  if errors.is(why, nil, "held") then
    errors.raise {
      kind = "state",
      code = "busy",
      message = ("another command is working on `%s`"):format(name),
      hint = "wait for it to end, or interrupt it",
      cause = why,
    }
  elseif why then
    error(why, 0)
  end
  return lock
end

--- True while some command holds the lock of a deployment.
-- @tparam string name
-- @treturn boolean
function State:is_locked(name)
  local path = lock_path(self, name)
  if not fs.exists(path) then
    return false
  end
  local lock, why = try(fs.lock, path, { wait = 0, shared = true })
  if lock then
    lock:release()
  end
  return errors.is(why, nil, "held")
end

--- Removes the file of a deployment's lock, when there is no such deployment any more. The lock
-- must be held: whoever waits for it sees that the file is gone, and makes a new one.
-- @tparam string name
function State:remove_lock(name)
  if not self:deployment(name) then
    fs.remove(lock_path(self, name), { if_exists = true })
  end
end

--- A keyed digest of plain text: equal texts give equal digests in one store, and nothing else can
-- be learned from it.
-- @tparam string text
-- @treturn string hex
function State:digest(text)
  return crypto.hmac("sha256", self.key, text)
end

return M
