local each = require "moonport.cli.each"
local options = require "moonport.cli.options"

local M = {
  summary = "Remove services and everything made for them",
  description = "Stops services and removes them with everything that was made for them: logs, "
    .. "limits, and the data directory unless the manifest names another.",
  example = "moonport rm squaring",
}

local function configure(parser)
  options.names(parser)
  parser:flag("-f --force", "Forget a service even where something could not be removed; "
    .. "names that are not there are fine.")
  parser:flag("-q --quiet", "Do not show the steps.")
end

local function run(args)
  local errors = require "moonport.errors"
  return each.service(args, function(service)
    service:remove { force = args.force }
    return "removed"
  end, args.force and function(err) return errors.is(err, "state", "not_found") end)
end

M.configure, M.run = configure, run

return M
