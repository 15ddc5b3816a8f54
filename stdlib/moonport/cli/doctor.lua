local options = require "moonport.cli.options"

local M = {
  summary = "Check what this machine and this installation can do",
  description = "Checks the installation, the state store, the site and what the machine offers. "
    .. "Exits with 1 when something that everything needs is missing.",
  example = "moonport doctor",
}

local function configure(parser)
  options.output(parser)
end

local COLOURS = { ok = "green", warning = "yellow", failed = "red" }

local function short(err)
  return type(err) == "table" and err.message or tostring(err)
end

local function hint_of(err)
  return type(err) == "table" and err.hint or nil
end

-- Each check gives a text, and optionally "warning"; one that raises has failed, or, where moonport
-- works without it, warns.
local checks = {
  { "supervisor", function() return require("moonport.shim").program() end },
  { "http", function()
    return "libcurl " .. require("moonport.http").version()
  end, optional = true },
  { "state", function(args)
    local state <close> = require("moonport.state").open { dir = args.state }
    return state.dir
  end },
  { "site", function(args)
    return require("moonport.site").open({ dir = args.site }).dir or "none"
  end },
  { "kernel", function()
    local host = require("moonport.sys").uname()
    return ("%s %s %s"):format(host.system, host.release, host.machine)
  end },
  { "privileges", function()
    local sys = require "moonport.sys"
    if sys.euid() == 0 then return "root" end
    return ("uid %d: native services run as you"):format(sys.euid())
  end },
  { "control groups", function()
    local cgroup = require "moonport.cgroup"
    local name = ("moonport-doctor-%d"):format(require("moonport.sys").pid())
    local group = cgroup.create(name, { memory = 1 << 30, cpus = 1, pids = 1000 })
    group:remove()
    return cgroup.mode() .. ", with limits on memory, CPU and processes"
  end, optional = true },
  { "kvm", function()
    require("moonport.sys").check_kvm()
    return "/dev/kvm opens"
  end, optional = true },
}

local function run_check(check, args)
  local row = { check = check[1], result = "ok" }
  local ok, text, result = pcall(check[2], args)
  row.found = ok and text or short(text)
  row.hint = not ok and hint_of(text) or nil
  if not ok then
    row.result = check.optional and "warning" or "failed"
  elseif result then
    row.result = result
  end
  return row
end

local function run(args)
  local rows, status = {}, 0
  for index, check in ipairs(checks) do
    rows[index] = run_check(check, args)
    if rows[index].result == "failed" then status = 1 end
  end
  require("moonport.ui").listing(rows, {
    "check", { "result", colour = function(result) return COLOURS[result] end }, "found",
    { "hint", format = function(hint) return hint or "" end },
  }, args.output)
  return status
end

M.configure, M.run = configure, run

return M
