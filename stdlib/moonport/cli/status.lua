local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Tell how services are, and why",
  description = "Tells how services are: what they use, how they ended last, and what the last "
    .. "failure was. With -o json it prints an object, or a list of them for several names.",
  example = "moonport status squaring\nmoonport status -o json squaring",
}

local function configure(parser)
  options.names(parser)
  options.output_json(parser)
end

local function exit_line(exit)
  local text = require("moonport.cli.ps").exit_text(exit)
  local ui, times = require "moonport.ui", require "moonport.cli.times"
  if exit.code then text = ("exited with %d"):format(exit.code) end
  if exit.oom then text = "out of memory" end
  if exit.peak then text = ("%s, peak memory %s"):format(text, ui.size(exit.peak)) end
  local at = exit.at and times.seconds(exit.at)
  return at and ("%s, at %s"):format(text, times.clock(at)) or text
end

local function since_line(status)
  local times = require "moonport.cli.times"
  local at = require("moonport.cli.ps").changed_at(status)
  if not at then return nil end
  local passed = require("moonport.clock").now() - at
  return ("%s (%s)"):format(times.clock(at), times.ago(passed))
end

-- Where it runs, for what runs on a cluster.
local function place_of(status)
  if not status.pod then return nil end
  return ("%s on %s"):format(status.pod, status.node or "no node yet")
end

local function replicas_of(replicas)
  return replicas and ("%d of %d ready"):format(replicas.ready, replicas.wanted) or nil
end

local function state_of(status, ui)
  local colour = require("moonport.cli.ps").colour_of_state(status.state)
  local text = ui.colour(colour, status.state)
  return status.reason and ("%s (%s)"):format(text, status.reason) or text
end

local function lines_of(status)
  local ui = require "moonport.ui"
  local lines = {}
  local function add(title, value)
    if value ~= nil then lines[#lines + 1] = ("%-11s%s"):format(title .. ":", value) end
  end
  add("name", ui.colour("bold", status.name))
  add("target", status.target)
  add("state", state_of(status, ui))
  add("wanted", status.want)
  add("since", since_line(status))
  add("revision", status.revision)
  add("pid", status.pid)
  add("cluster", status.cluster and ("%s, namespace %s"):format(status.cluster, status.namespace))
  add("pod", place_of(status))
  add("pods", replicas_of(status.replicas))
  add("machine", status.vmm)
  add("address", status.address)
  add("restarts", status.restarts)
  add("memory", status.memory and ui.size(status.memory))
  add("cpu time", status.cpu and ui.duration(status.cpu))
  add("processes", status.processes)
  add("last exit", status.exit and exit_line(status.exit))
  add("says", status.says)
  add("problem", status.problem)
  add("hint", status.hint)
  return lines
end

local function tell(service)
  local ui = require "moonport.ui"
  local status, failure = service:status(), service:failure()
  for _, line in ipairs(lines_of(status)) do ui.print(line) end
  if failure and status.state ~= "running" then
    ui.print("\nthe last failure:\n" .. require("moonport.failure").text(failure))
  end
end

local function plain(service)
  local report = require "moonport.cli.report"
  local status = report.status(service:status())
  status.failure = report.failure(service:failure())
  return status
end

local function run(args)
  local opened <close> = env.open(args, { read_only = true })
  local ui, services = require "moonport.ui", {}
  for index, name in ipairs(args.name) do services[index] = env.service(opened, name) end
  if args.output == "json" then
    local list = {}
    for index, service in ipairs(services) do list[index] = plain(service) end
    ui.json(#list == 1 and list[1] or require("moonport.json").array(list))
    return
  end
  for index, service in ipairs(services) do
    if index > 1 then ui.print("") end
    tell(service)
  end
end

M.configure, M.run = configure, run

return M
