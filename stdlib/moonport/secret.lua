--- Secrets by reference.
--
-- A secret stands for a value that must not be shown. Joining it with `..` gives a secret; turning
-- it into plain text raises. Only parameters meant for it take the value: an environment variable,
-- a header, a file's body. What was used so is masked in moonport's own output from then on.
-- @module moonport.secret

local core = require "moonport.core.secret"
local errors = require "moonport.errors"

local M = {
  is = core.is,
  reference = core.reference,
  digest = core.digest,
  scrub = core.scrub,
}

--- Tells whether a value is a secret.
-- @function is
-- @param value
-- @treturn boolean

--- What may be stored of a secret: where its value comes from.
-- @function reference
-- @tparam secret secret
-- @treturn table such as `{file="/etc/token"}`

--- A keyed digest (HMAC-SHA-256, hex), by which a changed value is noticed without keeping it.
-- @function digest
-- @tparam secret secret
-- @tparam string key
-- @treturn string

--- Masks all secrets used so far in a text.
-- @function scrub
-- @tparam string text
-- @treturn string

local LIMIT = 1024 * 1024

local function refuse(message, hint, cause)
  errors.raise { kind = "secret", code = "invalid", message = message, hint = hint, cause = cause }
end

local function without_final_newline(text)
  return (text:gsub("\r?\n$", "", 1))
end

--- A secret kept in a file. A final newline does not belong to it.
-- @tparam string path
-- @treturn secret
-- @raise {kind="secret"} when it cannot be read, or holds more than 1 MiB
function M.file(path)
  if type(path) ~= "string" then refuse("secret.file wants a path, got a " .. type(path)) end
  local file, reason = io.open(path, "rb")
  if not file then
    refuse("could not read the secret: " .. reason, "who runs moonport needs to read it")
  end
  local text = file:read(LIMIT + 1) or ""
  file:close()
  if #text > LIMIT then refuse("the secret in `" .. path .. "` is larger than 1 MiB") end
  return core.new(without_final_newline(text), { file = path })
end

--- A secret in a variable of moonport's own environment.
-- @tparam string name
-- @treturn secret
-- @raise {kind="secret"} when it is not set
function M.env(name)
  if type(name) ~= "string" then refuse("secret.env wants a name, got a " .. type(name)) end
  local value = os.getenv(name)
  if not value then
    refuse("the environment variable `" .. name .. "` is not set", "export it first")
  end
  return core.new(value, { env = name })
end

--- A secret that a program prints, such as `secret.command{"pass", "show", "rpc"}`. A final newline
-- does not belong to it.
-- @tparam {string,...} argv
-- @treturn secret
-- @raise {kind="secret"} when the program fails
function M.command(argv)
  if type(argv) ~= "table" or type(argv[1]) ~= "string" then
    refuse("secret.command wants the program and its arguments as a list")
  end
  local process = require "moonport.process"
  local call = { purpose = "credential", limit = LIMIT }
  table.move(argv, 1, #argv, 1, call)
  local result, err = try(process.run, call)
  if not result then refuse("the program that gives the secret failed", nil, err) end
  return core.new(without_final_newline(result.stdout), { command = argv })
end

local makers = { file = M.file, env = M.env, command = M.command }

--- Makes the secret that a stored reference stands for.
-- @tparam table reference as `reference` gives it
-- @treturn secret
function M.resolve(reference)
  if type(reference) ~= "table" then refuse("a reference is a table, got a " .. type(reference)) end
  if reference.text then return reference.text end
  if reference.concat then
    return M.resolve(reference.concat[1]) .. M.resolve(reference.concat[2])
  end
  for kind, make in pairs(makers) do
    if reference[kind] ~= nil then return make(reference[kind]) end
  end
  local kind = next(reference)
  refuse("unknown kind of secret `" .. tostring(kind) .. "`", "one of: file, env, command")
end

--- Describes a secret for people, without its value.
-- @tparam secret secret
-- @treturn string such as `<secret file:/etc/token>`
function M.describe(secret)
  local reference = core.reference(secret)
  if reference.file then return "<secret file:" .. reference.file .. ">" end
  if reference.env then return "<secret env:" .. reference.env .. ">" end
  if reference.command then return "<secret command:" .. reference.command[1] .. ">" end
  return "<secret>"
end

return M
