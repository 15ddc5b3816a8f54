--- The digest of what is to be deployed: by it an unchanged manifest is known.
--
-- It covers the manifest in normal form, the content of files that count as part of it (the
-- blueprint's program), and the values of secrets. It is keyed with the store's key, so that
-- nothing can be learned from it.
--
-- @module moonport.engine.fingerprint
local canonical = require "moonport.canonical"
local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local secret = require "moonport.secret"

local M = {}

-- A copy of the manifest in which each secret stands with the digest of its value.
local function with_secret_digests(value, key)
  if type(value) ~= "table" then
    return value
  elseif value["$secret"] then
    local resolved = secret.resolve(value["$secret"])
    return { ["$secret"] = value["$secret"], digest = secret.digest(resolved, key) }
  end
  local copy = {}
  for name, element in pairs(value) do
    copy[name] = with_secret_digests(element, key)
  end
  return copy
end

local function hash(input)
  local sha256, why = try(crypto.hash_file, "sha256", input.path)
  if sha256 then return sha256 end
  if not errors.is(why, "fs") then error(why, 0) end
  errors.raise {
    kind = why.kind, code = why.code, cause = why.cause,
    message = ("`%s` of the manifest: %s"):format(input.field, why.message),
  }
end

--- Hashes the files that count as part of a manifest. Of one that is `sensitive` the digest is
-- keyed, so that it tells nothing of what is in it.
-- @tparam recipe recipe
-- @tparam table data the manifest's
-- @tparam state state
-- @treturn table field -> {path, sha256}
function M.inputs(recipe, data, state)
  local inputs = {}
  for _, input in ipairs(recipe.inputs and recipe.inputs(data) or {}) do
    local sha256 = hash(input)
    inputs[input.field] = {
      path = input.path,
      sha256 = input.sensitive and state:digest(sha256) or sha256,
    }
  end
  return inputs
end

--- The digest.
-- @tparam state state
-- @tparam table data the manifest's
-- @tparam table inputs of `inputs`
-- @treturn string hex
function M.digest(state, data, inputs)
  local hashes = {}
  for field, input in pairs(inputs) do
    hashes[field] = input.sha256
  end
  local whole = { manifest = with_secret_digests(data, state.key), inputs = hashes }
  return state:digest(canonical.encode(whole))
end

return M
