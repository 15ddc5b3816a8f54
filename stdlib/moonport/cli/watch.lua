local env = require "moonport.cli.env"

local M = {
  summary = "Keep the firewall of virtual machines as it is to be",
  description = "Listens to nftables and puts right at once what a flush or a firewall's reload "
    .. "took from the table of this store's virtual machines; says who did it, and which chain of "
    .. "another program would drop their packets. Goes on until you press Ctrl-C.",
  example = "moonport watch\nmoonport watch -o json",
}

local function configure(parser)
  parser:option("-o --output", "How to print: text, or json for an object a line.")
    :argname("FORMAT"):choices({ "text", "json" }):default("text")
end

local WHAT = {
  flushed = "was flushed", changed = "was changed", start = "was not as it is to be",
  route = "was for another default route",
  others = "let guests' packets pass by Docker no more", lost = "may have been changed unseen",
}

local function who(event)
  if not event.process then return "" end
  local id = event.pid and (" (process %d)"):format(event.pid) or ""
  return (" by `%s`%s"):format(event.process, id)
end

local SAY = {
  watching = function() return "watching" end,
  unheard = function(event)
    return ("%s has rules, and the kernel tells of no change of them: what they come to drop is "
      .. "seen only when nftables changes too"):format(event.program)
  end,
  mended = function(event)
    return ("mended: the firewall %s%s"):format(WHAT[event.what] or event.what, who(event))
  end,
  blocked = function(event)
    return ("%s of %s drops %s"):format("the chain `" .. event.chain .. "`", event.program,
      event.what)
  end,
  unblocked = function(event)
    return ("the chain `%s` of %s is in the way no more"):format(event.chain, event.program)
  end,
  failed = function(event) return "failed: " .. tostring(event.error):match "^[^\n]*" end,
}

local function printer(args)
  local ui, clock = require "moonport.ui", require "moonport.clock"
  local json = require "moonport.json"
  return function(event)
    local time = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(clock.now()))
    if args.output == "json" then
      local report = require "moonport.cli.report"
      event.error = event.error and report.error(event.error) or nil
      event.time = time
      ui.print(json.encode(event))
    else
      ui.print(time .. " " .. ui.visible(SAY[event.type](event)))
      if event.hint then ui.print("  hint: " .. event.hint) end
    end
    io.stdout:flush()
  end
end

local function run(args)
  require("moonport.cli").quiet_interrupt = true
  local found, firewall = pcall(require, "moonport.hypervisor.firewall")
  if not found then
    require("moonport.errors").raise { kind = "cli", code = "unsupported", where = "",
      message = "this build is without the hypervisor target" }
  end
  local opened <close> = env.open(args)
  firewall.watch(opened.state, printer(args))
  return 0
end

M.configure, M.run = configure, run

return M
