local each = require "moonport.cli.each"
local options = require "moonport.cli.options"

local M = {
  summary = "Remove services and everything made for them",
  description = "Stops services and removes them with everything that was made for them: logs, "
    .. "limits, and the data directory unless the manifest names another. --all asks first, or "
    .. "wants --yes.",
  example = "moonport rm squaring\nmoonport rm --all --yes",
}

local function configure(parser)
  options.several(parser)
  parser:flag("-f --force", "Forget a service even where something could not be removed; "
    .. "names that are not there are fine.")
  parser:flag("-y --yes", "Do not ask.")
end

local function run(args)
  local errors = require "moonport.errors"
  local function confirm(names)
    if not args.all or #names == 0 then return true end
    local question = ("remove %d services and their data (%s)?"):format(#names,
      require("moonport.cli.values").short(table.concat(names, ", ")))
    return require("moonport.ui").confirm(question, { yes = args.yes })
  end
  return each.service(args, "rm", function(service)
    service:remove { force = args.force }
    return "removed"
  end, {
    confirm = confirm,
    ignore = args.force and function(err) return errors.is(err, "state", "not_found") end,
  })
end

M.configure, M.run = configure, run

return M
