--- What the specs of a target's pure parts share: manifests of that target, and contexts of them.
--
--     local M = dofile(".../target_helper.lua")("container", schema, { image = "squaring:1.2" })
local assert = require "luassert"
local manifest = require "moonport.manifest"
local schema = require "moonport.schema"

local STORE = "0c5a3ad2-57cb-4d87-9a51-5f4f7bd4d0b1"

local function merged(base, fields)
  for key, value in pairs(fields) do base[key] = value end
  return base
end

return function(target, target_schema, needed)
  local M = { STORE = STORE }

  --- The data of a manifest with the fields given.
  function M.manifest(fields)
    manifest.register_target(target, target_schema)
    local raw = merged(merged({ name = "squaring", target = target }, needed), fields)
    return manifest.build({ { name = "manifest", raw = raw, base = "/srv" } }).data
  end

  --- The problems of a manifest: a list of {path, message, hint}.
  function M.problems(fields)
    local ok, err = pcall(M.manifest, fields)
    return ok and {} or err.problems or error(err, 0)
  end

  --- The only problem of a manifest has this path, and this part in what it says.
  function M.only(path, part, fields)
    local problems = M.problems(fields)
    assert.equal(1, #problems, #problems > 1 and problems[2].message or "nothing was refused")
    assert.equal(path, problems[1].path)
    local text = schema.problem_text(problems[1])
    assert.truthy(text:find(part, 1, true), ("`%s` is not in: %s"):format(part, text))
    return problems[1]
  end

  --- A manifest has no problem.
  function M.fine(fields)
    assert.same({}, M.problems(fields))
  end

  --- A context as a step gets it.
  function M.context(fields, more)
    local data = M.manifest(fields or {})
    return merged({
      name = data.name, id = "4f3c2b1a", store = STORE, revision = 3, tag = "4f3c2b1a-3",
      manifest = data, config = {},
    }, more or {})
  end

  return M
end
