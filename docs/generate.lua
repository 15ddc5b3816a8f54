#!/usr/bin/env -S moonport run
-- Writes what the documents say of fields and hooks, from the schemas that check them.
--
--     moonport run docs/generate.lua            rewrites the sections in place
--     moonport run docs/generate.lua --check    fails, and names what is not up to date
--
-- A section stands between `<!-- begin: NAME -->` and `<!-- end -->`.
local definition = require "moonport.recipe.definition"
local deploy = require "moonport.deploy"
local fs = require "moonport.fs"
local hooks = require "moonport.site.hooks"
local manifest = require "moonport.manifest"
local resources = require "moonport.resources"
local schema = require "moonport.schema"
local site = require "moonport.site"

local HERE = fs.dirname(fs.absolute(arg[0]))

local function cell(text)
  return (tostring(text):gsub("|", "\\|"):gsub("<", "&lt;"))
end

local function code(text)
  return "`" .. cell(text) .. "`"
end

local function markdown(titles, rows)
  local lines = { "| " .. table.concat(titles, " | ") .. " |" }
  lines[2] = "|" .. (" --- |"):rep(#titles)
  for _, row in ipairs(rows) do lines[#lines + 1] = "| " .. table.concat(row, " | ") .. " |" end
  return table.concat(lines, "\n")
end

local function default_of(row)
  if row.required then return "required" end
  return row.default ~= nil and code(row.default) or ""
end

local function field_row(row)
  return { code(row.path), cell(row.type), default_of(row), cell(row.doc) }
end

-- The fields of a schema that `wanted` picks.
local function fields(whole, wanted)
  local rows = {}
  for _, row in ipairs(schema.describe(whole)) do
    if not wanted or wanted(row.path) then rows[#rows + 1] = field_row(row) end
  end
  return markdown({ "Field", "Type", "Default", "What it is" }, rows)
end

local function sorted(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function of_target(path)
  local first = path:match "^[^.]+"
  for _, target in ipairs(manifest.TARGETS) do
    if first == target then return target end
  end
end

local sections = {}

function sections.manifest()
  return fields(manifest.schema(), function(path) return not of_target(path) end)
end

local function target_fields(target)
  return fields(manifest.schema(), function(path)
    return of_target(path) == target and path ~= target
  end)
end

function sections.native() return target_fields "native" end

function sections.container() return target_fields "container" end
function sections.hypervisor() return target_fields "hypervisor" end

function sections.config()
  local rows = {}
  for _, row in ipairs(require "moonport.site.config".describe()) do
    if row.doc ~= "" then rows[#rows + 1] = field_row(row) end
  end
  return markdown({ "Field", "Type", "Default", "What it is" }, rows)
end

function sections.hooks()
  local rows = {}
  for _, name in ipairs(sorted(hooks.NAMES)) do
    local hook = hooks.NAMES[name]
    rows[#rows + 1] = { code(name), hook.veto and "yes" or "", cell(hook.doc) }
  end
  return markdown({ "Hook", "Can refuse", "When" }, rows)
end

local function definitions(known)
  local rows = {}
  for _, name in ipairs(sorted(known)) do
    rows[#rows + 1] = { code(name), known[name][1], cell(known[name][2]) }
  end
  return markdown({ "Field", "Type", "What it is" }, rows)
end

function sections.recipe() return definitions(definition.FIELDS) end

function sections.step() return definitions(definition.STEP_FIELDS) end

function sections.resources()
  local names = {}
  for index, kind in ipairs(resources.kinds()) do names[index] = "`" .. kind .. "`" end
  return table.concat(names, ", ")
end

local function generate(text, path)
  local pattern = "(<!%-%- begin: (%w+) %-%->\n).-(<!%-%- end %-%->)"
  return (text:gsub(pattern, function(head, name, tail)
    local section = sections[name] or error(("%s: there is no section `%s`"):format(path, name), 0)
    return head .. section() .. "\n" .. tail
  end))
end

deploy.register_targets { site = site.none() }
local stale = {}
for _, entry in ipairs(fs.list(HERE)) do
  if entry.name:find "%.md$" then
    local path = fs.join(HERE, entry.name)
    local before = fs.read(path)
    local after = generate(before, path)
    if after ~= before and arg[1] == "--check" then
      stale[#stale + 1] = "docs/" .. entry.name
    elseif after ~= before then
      fs.write(path, after)
    end
  end
end
if #stale > 0 then
  error(("not up to date: %s; run docs/generate.lua"):format(table.concat(stale, ", ")), 0)
end
