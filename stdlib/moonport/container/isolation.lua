--- Choosing the RuntimeClass that gives a pod what the manifest's `isolation` asks for.
--
-- A class is taken for a VM boundary when its handler is one of Kata's, when the site says so, or
-- when its name says Kata and its handler is not known to be something else.
-- @module moonport.container.isolation

local errors = require "moonport.errors"
local nearest = require "moonport.nearest"

local M = {
  --- The annotation that names the handler to containerd.
  HANDLER = "io.containerd.cri.runtime-handler",
}

-- Handlers that run containers on the node's own kernel, or beside it in a process.
local CONTAINERS = {
  runc = true, crun = true, youki = true, runsc = true, gvisor = true, nvidia = true,
  ["nvidia-cdi"] = true, ["nvidia-legacy"] = true, runhcs = true, wasm = true, spin = true,
  wasmtime = true, wasmedge = true, sysbox = true, ["sysbox-runc"] = true, oci = true,
}

-- In what order to prefer; what stands here is Kata with one of its common monitors. What needs
-- special hardware (tdx, sev, snp, nvidia, remote) comes last.
local ORDER = { "kata", "kata-qemu", "kata-clh", "kata-fc", "kata-dragonball" }
local RANK = {}
for rank, name in ipairs(ORDER) do RANK[name] = rank end
local SPECIAL = {
  "tdx", "sev", "snp", "se$", "nvidia", "gpu", "remote", "coco", "cca", "%-cc", "cc$",
}

-- `kata` as a word of its own: also `io.containerd.kata.v2`, `kata2`, `my-kata-runtime`.
local function says_kata(text)
  return (" " .. text:lower() .. " "):find("[^%a]kata[^%a]") ~= nil
end

local function rank_of(text)
  text = text:lower()
  if RANK[text] then return RANK[text] end
  for _, pattern in ipairs(SPECIAL) do
    if text:find(pattern) then return #ORDER + 2 end
  end
  return #ORDER + 1
end

local function site_position(site, name)
  for index, known in ipairs(site and site.runtime_classes or {}) do
    if known == name then return index end
  end
end

-- How well a class serves as a VM boundary: a list to compare by, or nil when it is none.
local function merit(class, site)
  local name, handler = class.metadata.name, class.handler
  local position = site_position(site, name)
  if position then return { 0, position } end
  if says_kata(handler) then
    return { 1, rank_of(handler), says_kata(name) and rank_of(name) or #ORDER + 3 }
  end
  if says_kata(name) and not CONTAINERS[handler:lower()] then return { 2, rank_of(name) } end
end

local function better(a, b)
  for index = 1, 3 do
    local left, right = a.merit[index] or 0, b.merit[index] or 0
    if left ~= right then return left < right end
  end
  return a.name < b.name
end

--- The classes that give a VM boundary, the best first.
-- @tparam {RuntimeClass,...} classes
-- @tparam[opt] table site the site's `kube`: `runtime_classes` names classes that do
-- @treturn {{name,handler},...}
function M.virtual(classes, site)
  local found = {}
  for _, class in ipairs(classes) do
    local value = merit(class, site)
    if value then
      found[#found + 1] = { name = class.metadata.name, handler = class.handler, merit = value }
    end
  end
  table.sort(found, better)
  for _, class in ipairs(found) do class.merit = nil end
  return found
end

local function refuse(code, message, hint)
  errors.raise { kind = "container", code = code, message = message, hint = hint }
end

local function describe(classes)
  local parts = {}
  for index, class in ipairs(classes) do
    parts[index] = ("`%s` (handler `%s`)"):format(class.metadata.name, class.handler)
  end
  table.sort(parts)
  return #parts > 0 and "it has " .. table.concat(parts, ", ") or "it has no RuntimeClass at all"
end

local HOW = "install Kata Containers; if a class gives a VM under another name, list it in the "
  .. "site's config.lua: kube = { runtime_classes = { \"NAME\" } }"

local function names_of(classes)
  local names = {}
  for index, class in ipairs(classes) do names[index] = class.metadata.name end
  return names
end

local function choose_explicit(wanted, name, classes, site)
  local found
  for _, class in ipairs(classes) do
    if class.metadata.name == name then found = class end
  end
  if not found then
    refuse("not_found", ("the cluster has no RuntimeClass `%s`"):format(name),
      nearest.hint(name, names_of(classes)) or describe(classes))
  end
  if wanted == "required" and not merit(found, site) then
    refuse("refused",
      ("`isolation` is `required`, and the RuntimeClass `%s` (handler `%s`) gives no VM boundary")
        :format(name, found.handler), HOW)
  end
  return { name = name, handler = found.handler }
end

--- Chooses a class.
-- @tparam string wanted the manifest's `isolation`
-- @tparam {RuntimeClass,...} classes all that the cluster has
-- @tparam[opt] table site the site's `kube`: `runtime_classes` names classes that give a VM
-- @tparam[opt] string explicit the manifest's `container.runtime_class`
-- @treturn {name,handler}|nil nil: the cluster's default runtime
-- @raise {kind="container", code="refused"} when a VM is required and no class gives one,
--   code "not_found" when there is no class of the explicit name
function M.choose(wanted, classes, site, explicit)
  if explicit then return choose_explicit(wanted, explicit, classes, site) end
  if wanted == "any" then return nil end
  local best = M.virtual(classes, site)[1]
  if best then return best end
  if wanted == "required" then
    refuse("refused",
      "`isolation` is `required`, and no RuntimeClass of the cluster gives a VM boundary",
      describe(classes) .. "; " .. HOW)
  end
  return nil
end

return M
