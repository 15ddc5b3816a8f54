local options = require "moonport.cli.options"

local M = {
  summary = "Check what this machine and this installation can do",
  description = "Checks the installation, the state store, the site, the services and what the "
    .. "machine offers, and says what to do about each trouble. Changes nothing. Exits with 1 when "
    .. "something has failed; warnings are no failure. With a NAME, of a service in a virtual "
    .. "machine: sends packets on the ways that it is to have, follows them through all rules of "
    .. "this host, and names the chain and the rule that drop one. Where none can be sent, it "
    .. "tells what the rules say.",
  example = "moonport doctor\nmoonport doctor squaring\n"
    .. "moonport doctor -o json | jq '.[] | select(.result != \"ok\")'",
}

local function configure(parser)
  parser:argument("name", "A service in a virtual machine."):argname("NAME"):args("?")
  options.output_json(parser)
end

local COLOURS = { ok = "green", warning = "yellow", failed = "red" }

local function result_of(check, ok, found, hint)
  if ok then
    local row = { check = check.name, result = hint and "warning" or "ok", found = found }
    row.hint = hint
    return row
  end
  local is_error = type(found) == "table"
  return {
    check = check.name, result = check.optional and "warning" or "failed",
    found = is_error and found.message or tostring(found), hint = is_error and found.hint or nil,
  }
end

-- Nothing that a check does may change anything, except where it says that it tries.
local function run_check(check, about)
  local guard = check.tries and pcall or function(fn, ...)
    return pcall(require("moonport.task").read_only, fn, ...)
  end
  return result_of(check, guard(check.run, about))
end

local function tell(rows)
  local ui = require "moonport.ui"
  for _, row in ipairs(rows) do
    local result = ui.colour(COLOURS[row.result], ("%-8s"):format(row.result))
    ui.print(("%-15s %s %s"):format(row.check, result, ui.visible(row.found)))
    if row.hint then ui.print((" "):rep(16) .. ui.colour("cyan", "hint:") .. " " .. row.hint) end
  end
end

-- The ways of a service's packets.
local function service_rows(args)
  local opened <close> = require("moonport.cli.env").open(args, { read_only = true })
  local deployment = opened.state:need_deployment(args.name)
  if deployment.target ~= "hypervisor" then
    return { { check = "packets", result = "ok",
      found = "no rules of moonport's stand in their way" } }
  end
  return require("moonport.hypervisor.doctor").ways(opened, deployment)
end

local function all_rows(args)
  local rows, about = {}, { state = args.state, site = args.site }
  for index, check in ipairs(require "moonport.cli.doctor.checks") do
    rows[index] = run_check(check, about)
  end
  return rows
end

local function run(args)
  local rows, status = args.name and service_rows(args) or all_rows(args), 0
  for _, row in ipairs(rows) do
    if row.result == "failed" then status = 1 end
  end
  if args.output == "json" then
    require("moonport.ui").json(require("moonport.cli.report").list(rows))
  else
    tell(rows)
  end
  return status
end

M.configure, M.run = configure, run

return M
