--- Manifests: what an operator wants to run.
--
-- A manifest is a Lua table or the same in JSON. It is read without trusting it (a Lua manifest is
-- evaluated in a limited child process), checked against one schema, and merged from layers:
-- built-in defaults, the site's `config.lua`, the manifest, flags. For every value the loaded
-- manifest knows which layer set it, where, and what it replaced.
--
--    local m = manifest.load("squaring.lua", { site = site, flags = { target = "native" } })
--    m.data.limits.memory                     --> 536870912
--    m:explain("limits.memory")[1]            --> { layer = "manifest", file = ..., line = 9, ... }
--
-- @module moonport.manifest
local canonical = require "moonport.canonical"
local diff = require "moonport.manifest.diff"
local errors = require "moonport.errors"
local fields = require "moonport.manifest.fields"
local layers = require "moonport.manifest.layers"
local nearest = require "moonport.nearest"
local schema = require "moonport.schema"

local M = {}

local _state = { targets = {} }

--- Registers the schema of a target's own table (`native = {...}`).
-- @tparam string target
-- @tparam table field a record of `moonport.schema`; its `whole` check is given the target's table.
-- A field `manifest` beside `fields` (function(data, report, given)) checks the whole manifest;
-- `given(path)` is true where a layer, and not a default, has set the field.
function M.register_target(target, field)
  _state.targets[target] = field
  if field then field.stray = field.stray or fields.stray_of(target) end
end

--- The schema of a manifest, with what targets have registered.
-- @treturn table a record of `moonport.schema`
function M.schema()
  return fields.schema(_state.targets)
end

--- The targets that a manifest can name.
M.TARGETS = fields.TARGETS

--- True when `name` can name a deployment.
M.is_name = fields.is_name

--- Refuses a name that cannot name a deployment; so no name becomes a path of its own making.
-- @param name
-- @treturn string name
-- @raise {kind = "manifest", code = "usage"}
function M.check_name(name)
  if not fields.is_name(name) then
    errors.raise {
      kind = "manifest",
      code = "usage",
      message = ("%s cannot name a deployment"):format(("%q"):format(tostring(name)):sub(1, 80)),
      hint = "a name has " .. fields.NAME_RULE,
    }
  end
  return name
end

--- Tells where a value comes from.
-- @tparam table origins of a manifest
-- @tparam string path such as `limits.memory`
-- @tparam ?table whole the schema that it was checked with (default: the present one)
-- @treturn table list of {layer, file, line, value}: what holds first, then what it replaced.
-- Layers are `flag`, `manifest`, `site`, `default`. Empty when nothing sets the field.
-- @raise {kind = "manifest", code = "usage"} when the path names no field
function M.explain(origins, path, whole)
  whole = whole or M.schema()
  local field, near = schema.find(whole, path)
  if not field then
    errors.raise {
      kind = "manifest",
      code = "usage",
      message = ("a manifest has no field `%s`"):format(path),
      hint = near and ("did you mean `%s`?"):format(near) or nearest.hint(path, whole.fields),
    }
  end
  return origins[path] or {}
end

local Manifest = {}
Manifest.__index = Manifest

--- Tells where a value comes from; see `explain`.
-- @tparam string path
-- @treturn table
function Manifest:explain(path)
  return M.explain(self.origins, path, self.schema)
end

local function check_layer(whole, layer, problems)
  local found
  layer.data, found = schema.check(whole, layer.raw, { locate = layer.locate, base = layer.base })
  table.move(found, 1, #found, #problems + 1, problems)
  for _, duplicate in ipairs(layer.duplicates or {}) do
    problems[#problems + 1] = {
      path = duplicate.path,
      file = layer.file,
      line = duplicate.line,
      message = ("`%s` is given twice"):format(duplicate.path),
      order = #problems,
    }
  end
end

-- The place of a path: where the highest layer that knows it has written it.
local function locate_in(stack)
  return function(path)
    for index = #stack, 1, -1 do
      local layer = stack[index]
      if layer.locate and layer.name == "manifest" then
        return layer.locate(path)
      end
    end
  end
end

local function check_target(data, locate, origins)
  local own = _state.targets[data.target]
  local problems = {}
  if own and own.manifest then
    own.manifest(data, function(path, message, hint)
      local file, line = locate(path or "")
      problems[#problems + 1] =
        { path = path or "", file = file, line = line, message = message, hint = hint, order = 0 }
    end, function(path) return origins[path] ~= nil end)
  end
  return problems
end

--- Builds a manifest from layers of raw data.
-- @tparam table stack list of {name, file, base, raw, locate, duplicates}, lowest first
-- @treturn table manifest {name, target, data, origins, schema, file}
-- @raise {kind = "schema", code = "invalid", problems = {...}} with all problems
function M.build(stack)
  local whole, problems = M.schema(), {}
  for _, layer in ipairs(stack) do
    check_layer(whole, layer, problems)
  end
  schema.refuse(problems, "manifest")
  local data, origins = layers.merge(whole, stack)
  local locate = locate_in(stack)
  data, problems = schema.fill(whole, data, { locate = locate })
  schema.refuse(problems, "manifest")
  schema.refuse(check_target(data, locate, origins), "manifest")
  layers.add_defaults(whole, origins, data)
  return setmetatable({
    name = data.name,
    target = data.target,
    data = data,
    origins = origins,
    schema = whole,
  }, Manifest)
end

--- Loads a manifest file.
-- @tparam string path
-- @tparam ?table options `site` (a site of `moonport.site`, for its defaults), `flags` (raw fields
-- given on the command line), `reading` (a task that reads it already with
-- `moonport.manifest.source`)
-- @treturn table manifest, see `build`; `file` is its path, `base` the directory of relative paths
-- @raise {kind = "schema", code = "invalid"}; {kind = "manifest", code = "invalid"} when it cannot
-- be read as a manifest at all; and what reading the file raises
function M.load(path, options)
  options = options or {}
  -- What reads files is needed here alone; checking data that is at hand goes without.
  local source = require "moonport.manifest.source"
  local read = options.reading and options.reading:await() or source.read(path)
  local stack = {}
  local defaults = options.site and options.site:manifest_defaults()
  if defaults then
    stack[#stack + 1] = defaults
  end
  stack[#stack + 1] = read
  if options.flags and next(options.flags) then
    stack[#stack + 1] = { name = "flag", raw = options.flags, base = source.here() }
  end
  local loaded = M.build(stack)
  loaded.file, loaded.base = read.file, read.base
  return loaded
end

--- The text that a manifest's digest is taken of: equal manifests give equal text.
-- @tparam table data normal form
-- @treturn string
function M.canonical(data)
  return canonical.encode(data)
end

--- Lists what differs between two manifests' data: {path, from, to}.
M.changes = diff.changes

--- Visits every secret reference in a manifest.
-- @tparam table data
-- @tparam function visit function(path, reference), reference is {file = ...} and so on
function M.each_secret(data, visit)
  diff.each_secret(data, visit)
end

return M
