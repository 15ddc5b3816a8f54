--- Runs one busted spec inside moonport.
--
--     moonport run tests/spec/run.lua FILE [NAME-PATTERN]
--
-- Raises, and so exits with 1, when a test failed or when there was none. MP_COLLECTOR
-- (incremental or generational) has the collector run all the time: what C holds too loosely is
-- then gone.

local file, pattern = ...
local collector = os.getenv "MP_COLLECTOR"
if collector == "incremental" then
  collectgarbage("incremental", 10, 1000, 4)
elseif collector == "generational" then
  collectgarbage("generational", 5, 10)
end
local busted = require "busted.core"()
require "busted"(busted)

local counts = { success = 0, pending = 0, failure = 0, error = 0 }
busted.subscribe({ "test", "end" }, function(_, _, status)
  counts[status] = counts[status] + 1
  return nil, true
end)
-- An error outside of any test: in a describe block, or while the file is loaded.
local broken = 0
busted.subscribe({ "error" }, function(element)
  if element.descriptor ~= "it" then broken = broken + 1 end
  return nil, true
end)

require "busted.modules.output_handler_loader"()(busted, "plainTerminal", {
  defaultOutput = "plainTerminal",
  verbose = true,
  language = "en",
  deferPrint = false,
})
require "busted.modules.filter_loader"()(busted, {
  tags = {},
  excludeTags = {},
  filter = pattern and { pattern } or {},
  filterOut = {},
})
require "busted.modules.test_file_loader"(busted, { "lua" })({ file }, { "_spec" }, {
  excludes = {},
  recursive = false,
})
require "busted.execute"(busted)(1, {})
busted.publish({ "exit" })

local failed = counts.failure + counts.error + broken
if failed > 0 then error(string.format("%d failed in %s", failed, file), 0) end
if counts.success + counts.pending == 0 then error("no test ran in " .. file, 0) end
