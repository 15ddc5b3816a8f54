--- A keystore as a Secret: it works on any node, and no pod can write to it.
--
-- A Secret's keys know no directories. So each file has a key that its path is written into, and
-- the volume's `items` put it back where it was. What the files hold stays in secrets all the way.
-- @module moonport.container.keystore

local core = require "moonport.core.secret"
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local keystore = require "moonport.keystore"
local names = require "moonport.container.names"
local secret = require "moonport.secret"
local secret_object = require "moonport.container.secret_object"
local text = require "moonport.text"
local units = require "moonport.units"

local M = {
  --- What a Secret can hold, in bytes.
  LIMIT = 1 << 20,
}

local KEY_LIMIT = 253

local function refuse(message, hint)
  errors.raise { kind = "keystore", code = "refused", message = message, hint = hint }
end

local function escaped_byte(byte)
  return byte == "/" and "__" or ("_%02x"):format(byte:byte())
end

--- The key of a file, which no other path has.
-- @tparam string path relative to the keystore
-- @treturn string letters, digits, `-`, `.` and `_`: `/` is `__`, other bytes are `_` and their
-- hexadecimal digits
function M.key(path)
  local key = path:gsub("[^%w.-]", escaped_byte):gsub("^%.", "_2e")
  if #key <= KEY_LIMIT then return key end
  -- The digest tells it from every other path.
  return key:sub(1, KEY_LIMIT - 66) .. "_x" .. crypto.hash("sha256", path)
end

-- Kubernetes takes no path that begins so, whatever follows.
local function check_path(entry)
  if entry.relative:sub(1, 2) == ".." then
    local problem = "`%s`: in a pod, no name at the top of a keystore begins with `..`"
    refuse(problem:format(entry.path), "rename it")
  elseif not utf8.len(entry.relative) then
    refuse(("%s: the name is not UTF-8"):format(text.quote(entry.path)), "rename it")
  end
end

local function check_type(entry)
  if entry.type == "file" or entry.type == "directory" then return end
  local link = entry.type == "link"
  local problem = "`%s` is a %s: a keystore for pods holds files and directories"
  refuse(problem:format(entry.path, link and "symbolic link" or entry.type),
    link and "put the file itself there" or "remove it")
end

local function list_files(path)
  local files, total, largest = {}, 0, nil
  for entry in fs.walk(path) do
    check_type(entry)
    if entry.type == "file" then
      check_path(entry)
      local size = fs.stat(entry.path).size
      local file = { path = entry.relative, from = entry.path, size = size }
      files[#files + 1], total = file, total + size
      if not largest or size > largest.size then largest = file end
    end
  end
  return files, total, largest
end

local function check_size(path, total, largest)
  if total <= M.LIMIT then return end
  local problem =
    "the keystore `%s` has %s, and a Secret holds 1 MiB; its largest file is `%s` with %s"
  refuse(problem:format(path, units.short_size(total), largest.path,
      units.short_size(largest.size)),
    "keep only keys there, or have the node's own directory: `container.keystore = \"host\"`")
end

--- The files of a keystore, without what they hold.
-- @tparam string path
-- @treturn {{path,from,size},...} by path; `from` is where the file is on this host
-- @raise {kind="keystore"} naming the first file that cannot be given to a pod, or that others can
--   read
function M.list(path)
  keystore.check_there(path)
  local files, total, largest = list_files(path)
  keystore.check(path)
  check_size(path, total, largest)
  table.sort(files, function(a, b) return a.path < b.path end)
  return files
end

--- The files of a keystore with what they hold.
-- @tparam string path
-- @treturn {{path,from,size,key,value},...} by path; `value` is a secret
-- @raise as `list`
function M.read(path)
  local files = M.list(path)
  for _, file in ipairs(files) do
    file.key = M.key(file.path)
    -- All bytes count, also a final newline.
    file.value = core.new(fs.read(file.from, { limit = M.LIMIT }), { file = file.from })
  end
  return files
end

--- The files that count as part of the manifest: a changed key is a changed service.
-- @tparam string path of the keystore
-- @treturn {{field,path},...}
function M.inputs(path)
  local inputs = {}
  for index, file in ipairs(M.list(path)) do
    inputs[index] = { field = "keystore/" .. file.path, path = file.from }
  end
  return inputs
end

--- The `items` of the volume: which key goes where.
-- @tparam table files of `read`
-- @treturn {{key,path},...}
function M.items(files)
  local items = {}
  for index, file in ipairs(files) do items[index] = { key = file.key, path = file.path } end
  return items
end

local function digest(files, key)
  local lines = {}
  for index, file in ipairs(files) do
    lines[index] = file.key .. " " .. secret.digest(file.value, key)
  end
  return crypto.hmac("sha256", key, table.concat(lines, "\n"))
end

--- The name of the Secret: an unchanged keystore keeps it.
-- @tparam context ctx
-- @tparam table files of `read`
-- @tparam string key of the store, without which the name tells nothing of the keys
-- @treturn string
function M.secret_name(ctx, files, key)
  return names.secret(ctx, "keystore", digest(files, key))
end

--- The Secret itself. Its values stay secrets: encode it with `secrets = true`.
-- @tparam context ctx
-- @tparam table files of `read`
-- @tparam string name of `secret_name`
-- @tparam string namespace
-- @treturn table object
function M.secret(ctx, files, name, namespace)
  local values = {}
  for _, file in ipairs(files) do values[file.key] = file.value end
  return secret_object.new(ctx, name, namespace, values)
end

return M
