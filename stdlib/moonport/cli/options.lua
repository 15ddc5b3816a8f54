--- Options that several commands share.
-- @module moonport.cli.options

local errors = require "moonport.errors"

local M = {}

-- Each is evaluated in a process of its own.
local LOADED_AT_ONCE = 8

--- Adds `-o` for a listing.
-- @tparam Parser parser
function M.output(parser)
  parser:option("-o --output", "How to print: table, json or names.")
    :argname("FORMAT"):choices({ "table", "json", "names" }):default("table")
end

--- Adds `-o` for what is no listing.
-- @tparam Parser parser
function M.output_json(parser)
  parser:option("-o --output", "How to print: text or json.")
    :argname("FORMAT"):choices({ "text", "json" }):default("text")
end

--- Adds the names of services.
-- @tparam Parser parser
function M.names(parser)
  parser:argument("name", "Names of services."):args("+")
end

--- Adds what a command takes that does one thing to several services.
-- @tparam Parser parser
function M.several(parser)
  parser:argument("name", "Names of services."):args("*")
  parser:flag("-a --all", "All services.")
  M.parallel(parser)
  parser:flag("-q --quiet", "Say nothing but what goes wrong.")
  M.output_json(parser)
end

--- Adds `--parallel`.
-- @tparam Parser parser
function M.parallel(parser)
  parser:option("--parallel", "How many at the same time."):argname("N"):default("8")
    :convert(M.count)
end

--- Adds what loading manifests takes.
-- @tparam Parser parser
function M.manifests(parser)
  parser:argument("manifest", "Manifests, in Lua or JSON."):args("+")
  parser:option("--target", "Where it runs, in place of the manifest's target.")
    :choices({ "native", "container", "hypervisor" }):argname("TARGET")
  parser:option("--set", "Sets a field, as in --set limits.memory=1GiB."):argname("FIELD=VALUE")
    :count("*")
  parser:flag("--replace", "Deploy anew also what is unchanged.")
end

--- Reads a whole number, for lua-argparse.
-- @tparam string text
-- @treturn integer|nil
-- @treturn string what was expected
function M.integer(text)
  local number = math.tointeger(tonumber(text))
  if number and number >= 0 then return number end
  return nil, ("`%s` is no whole number"):format(text)
end

--- Reads a count of one or more, for lua-argparse.
-- @tparam string text
-- @treturn integer|nil
-- @treturn string what was expected
function M.count(text)
  local number = M.integer(text)
  if number and number >= 1 then return number end
  return nil, ("`%s` is no whole number from 1"):format(text)
end

--- Reads a length of time, for lua-argparse: `30s`, or a number of seconds.
-- @tparam string text
-- @treturn number|nil seconds
-- @treturn string what was expected
function M.duration(text)
  return require("moonport.cli.times").duration(text)
end

local function plain_value(text)
  if text == "true" or text == "false" then return text == "true" end
  return math.tointeger(tonumber(text)) or tonumber(text) or text
end

local function set_field(flags, assignment)
  local path, text = assignment:match("^([^=]+)=(.*)$")
  if not path then
    errors.raise {
      kind = "cli", code = "usage", message = ("`--set %s` is no assignment"):format(assignment),
      hint = "write --set FIELD=VALUE", where = "",
    }
  end
  local at, key = flags, nil
  for part in path:gmatch("[^.]+") do
    if key then
      at[key] = type(at[key]) == "table" and at[key] or {}
      at = at[key]
    end
    key = part
  end
  at[key] = plain_value(text)
end

--- Loads a manifest.
-- @tparam string path
-- @tparam table options as for `manifest.load`
-- @treturn manifest
-- @raise {kind="manifest", code="not_found"} where there is no such file
function M.load_manifest(path, options)
  local loaded, err = try(require("moonport.manifest").load, path, options)
  if errors.is(err, "fs", "ENOENT") and not require("moonport.fs").exists(path) then
    errors.raise {
      kind = "manifest", code = "not_found", message = ("there is no manifest `%s`"):format(path),
      where = "",
    }
  elseif err then
    error(err, 0)
  end
  return loaded
end

--- Begins to read the manifests that were named: children evaluate them while the rest of what a
-- command needs is loaded.
-- @tparam table args
-- @treturn table reading for `load_manifests`
function M.read_manifests(args)
  local task = require "moonport.task"
  local reading = {}
  for index = 1, math.min(#args.manifest, LOADED_AT_ONCE) do
    local path = args.manifest[index]
    reading[path] = reading[path] or task.contained(function()
      return require("moonport.manifest.source").read(path)
    end)
  end
  task.sleep(0) -- for them to start
  return reading
end

--- Loads the manifests that were named.
-- @tparam table args
-- @tparam env env
-- @tparam[opt] table reading of `read_manifests`
-- @treturn {manifest,...}
function M.load_manifests(args, env, reading)
  local flags = { target = args.target }
  for _, assignment in ipairs(args.set) do set_field(flags, assignment) end
  return require("moonport.task").map(args.manifest, LOADED_AT_ONCE, function(path)
    return M.load_manifest(path, {
      site = env.site, flags = flags, reading = reading and reading[path],
    })
  end)
end

return M
