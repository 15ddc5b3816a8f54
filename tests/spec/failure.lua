--- What specs of calls that must fail share: `failure(kind, code, fn, ...)` calls, and returns the
-- error raised, which must be of that kind and code.
local assert = require "luassert"
local errors = require "moonport.errors"

return function(kind, code, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err, kind, code), tostring(err))
  return err
end
