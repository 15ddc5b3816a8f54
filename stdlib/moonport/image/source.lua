--- Where an image comes from: a name that is known, a URL, or a file of this host.
-- @module moonport.image.source

local catalog = require "moonport.image.catalog"
local errors = require "moonport.errors"
local fs = require "moonport.fs"

local M = {}

local function invalid(message, hint)
  errors.raise { kind = "image", code = "invalid", message = message, hint = hint }
end

-- The mirror for what a URL begins with, of several the most exact. Mirrors are written without
-- `https://`, or with the scheme that they speak.
local function mirrored(url, mirrors)
  local rest = url:match "^https?://(.*)$"
  local best
  for prefix in pairs(mirrors or {}) do
    local bare = prefix:gsub("^https?://", ""):gsub("/$", "")
    if rest:sub(1, #bare + 1) == bare .. "/" and (not best or #bare > #best.bare) then
      best = { bare = bare, mirror = mirrors[prefix]:gsub("/$", "") }
    end
  end
  if not best then return url end
  local base = best.mirror:find "^https?://" and best.mirror or "https://" .. best.mirror
  return base .. rest:sub(#best.bare + 1)
end

local function check_checksum(wanted)
  local sha256 = wanted.sha256
  if sha256 == nil then return nil end
  if type(sha256) ~= "string" or not sha256:lower():match("^" .. ("%x"):rep(64) .. "$") then
    invalid("a SHA-256 has 64 hexadecimal digits")
  end
  return sha256:lower()
end

local function of_name(wanted, mirrors)
  local found = catalog.find(wanted.name, wanted.arch)
  local function place(url) return mirrored(url, mirrors) end
  local unpacked = found.unpacked
  return {
    kind = "name", key = "name " .. found.name .. " " .. found.arch, label = found.name,
    arch = found.arch, url = place(found.url), file = found.file, list_required = true,
    lists = { { url = place(found.list), algorithm = found.algorithm } },
    unpacked = unpacked and {
      list = place(unpacked.list), algorithm = unpacked.algorithm,
      kernel = { url = place(unpacked.kernel.url), file = unpacked.kernel.file },
      initrd = { url = place(unpacked.initrd.url), file = unpacked.initrd.file },
    },
  }
end

local function is_loopback(url)
  local host = url:match "^http://%[([^%]]*)%]" or url:match "^http://([^/:]*)"
  return host == "localhost" or host == "::1" or host ~= nil and host:find "^127%." ~= nil
end

local function of_url(wanted, mirrors)
  local url = mirrored(wanted.url, mirrors)
  local file = url:gsub("[?#].*$", ""):match "([^/]+)$"
  if not url:find "^https?://[^/]+/" or not file then
    invalid(("`%s` is no URL of an image"):format(wanted.url))
  end
  local dir = url:gsub("[?#].*$", ""):match "^(.*/)"
  return {
    kind = "url", key = "url " .. wanted.url, label = wanted.url, url = url, file = file,
    arch = wanted.arch or catalog.host_arch(),
    -- Whoever is on the way could put another image in its place.
    insecure = url:find "^http:" ~= nil and not is_loopback(url),
    lists = {
      { url = dir .. "SHA256SUMS", algorithm = "sha256" },
      { url = dir .. "SHA512SUMS", algorithm = "sha512" },
    },
  }
end

local function of_path(wanted)
  local path = fs.absolute(wanted.path)
  local stat, why = try(fs.stat, path)
  if errors.is(why, nil, "ENOENT") then
    errors.raise {
      kind = "image", code = "not_found", message = ("there is no image `%s`"):format(path),
    }
  elseif why then
    error(why, 0)
  end
  if stat.type ~= "file" then invalid(("`%s` is a %s, not an image"):format(path, stat.type)) end
  return {
    kind = "path", path = path, label = path, arch = wanted.arch or catalog.host_arch(),
    -- Another file in its place is another image.
    key = ("path %s %d %d %.6f"):format(path, stat.ino, stat.size, stat.mtime),
  }
end

--- Reads what is wanted the way people write it on a command line.
-- @tparam string text a name, a URL or a path
-- @treturn table {name=}, {url=} or {path=}
function M.parse(text)
  if text:find "^https?://" then return { url = text } end
  if text:find "/" or text:find "^%." then return { path = text } end
  return { name = text }
end

--- Finds out where an image comes from.
-- @tparam table wanted {name} or {url} or {path}; `arch`; `sha256`
-- @tparam[opt] table mirrors from the beginning of a URL to what stands for it
-- @treturn table `kind`, `key` (the same for the same source), `label` for people, `arch`,
--   `sha256`; `url`, `file`, `lists` and `unpacked` of what is downloaded, `path` of a file
-- @raise {kind="image"} "not_found" or "invalid"
function M.resolve(wanted, mirrors)
  local source
  if wanted.path then
    source = of_path(wanted)
  elseif wanted.url then
    source = of_url(wanted, mirrors)
  else
    source = of_name({ name = wanted.name or catalog.DEFAULT, arch = wanted.arch }, mirrors)
  end
  source.sha256 = check_checksum(wanted)
  return source
end

return M
