-- How people name resources, and which resource they mean by it: as kubectl has it.
--
-- Of several with one name the first counts: the core group, then the groups in the server's order;
-- within a group the version that it prefers. A full name comes before a short one.

local catalog = require "moonport.kube.catalog"
local options_of = require "moonport.kube.options"

local M = {}

local function is_version(text) return text:find("^v%d+$") or text:find("^v%d+%a+%d+$") end

local function of_object(resource)
  local api_version, kind = resource.apiVersion, resource.kind
  if type(api_version) ~= "string" or type(kind) ~= "string" then
    options_of.bad("kube: a resource is a string, or a table with `apiVersion` and `kind`")
  end
  local group, version = api_version:match("^([^/]+)/([^/]+)$")
  if not group then group, version = "", api_version end
  return {
    kind = kind, group = group, version = version, text = kind .. " of " .. api_version,
    key = api_version .. "/" .. kind,
  }
end

-- What a name asks for: {text=, key=, name= (small letters) or kind=, group=, version=}, and
-- `other`, the same with the rest taken for a group where it can be read in two ways.
function M.parse(resource)
  if type(resource) == "table" then return of_object(resource) end
  if type(resource) ~= "string" or resource == "" then
    options_of.bad("kube: a resource is named by a string or a table, got %s",
      resource == "" and "an empty string" or "a " .. type(resource))
  end
  local wanted = { text = resource, key = resource }
  local name, rest = resource:match("^([^.]*)%.(.*)$")
  wanted.name = (name or resource):lower()
  if not rest then return wanted end
  local version, group = rest:match("^([^.]+)%.(.*)$")
  if version and is_version(version) then
    wanted.version, wanted.group = version, group
    wanted.other = { name = wanted.name, group = rest }
  elseif is_version(rest) then
    wanted.version, wanted.group = rest, ""
  else
    wanted.group = rest
  end
  return wanted
end

local function is_full_name(resource, name)
  return resource.name == name or resource.singular == name or resource.kind:lower() == name
end

local function is_short_name(resource, name)
  for _, short in ipairs(resource.short_names) do
    if short == name then return true end
  end
  return false
end

local function is_kind(resource, kind) return resource.kind == kind end

local function first_in(known, wanted, what, fits)
  for _, group in ipairs(known.groups) do
    if wanted.group == nil or wanted.group == group.name then
      for _, version in ipairs(group.versions) do
        if wanted.version == nil or wanted.version == version then
          for _, resource in ipairs(catalog.of(known, group.name, version)) do
            if fits(resource, what) then return resource end
          end
        end
      end
    end
  end
end

-- What can be said while some groups are not known: what a version is named for, or a full name
-- of the core group, which comes before all others.
local function match_early(known, wanted)
  if wanted.version then
    return first_in(known, wanted, wanted.name, is_full_name) or
      first_in(known, wanted, wanted.name, is_short_name)
  end
  if wanted.group == nil then
    return first_in(known, { group = "" }, wanted.name, is_full_name)
  end
end

-- The resource that is meant; nil when it is not known.
function M.match(known, wanted)
  if wanted.kind then return first_in(known, wanted, wanted.kind, is_kind) end
  local found
  if known.complete then
    found = first_in(known, wanted, wanted.name, is_full_name) or
      first_in(known, wanted, wanted.name, is_short_name)
  else
    found = match_early(known, wanted)
  end
  if not found and wanted.other then return M.match(known, wanted.other) end
  return found
end

-- A hint for a name that nothing has.
function M.nearest(known, wanted)
  if wanted.text:find("/", 1, true) and not wanted.kind then
    return "name the object by an argument of its own, a subresource by the option `subresource`"
  end
  local near = require "moonport.nearest"
  local all = {}
  for _, resource in ipairs(catalog.list(known)) do
    all[#all + 1] = wanted.kind and resource.kind or resource.name
    if not wanted.kind then all[#all + 1] = resource.singular end
    local same = (wanted.kind or wanted.name) == (wanted.kind and resource.kind or resource.name)
    if same then
      return ("it is there as `%s` of `%s`"):format(resource.name, resource.group_version)
    end
  end
  local found = near.find(wanted.kind or wanted.name, all)
  return found and ("did you mean `%s`?"):format(found) or nil
end

return M
