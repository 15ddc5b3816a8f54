--- Shows, step by step, what a deployment does.
--
-- On a terminal the step under way moves at the bottom and the finished ones stand above it;
-- elsewhere each step is one plain line.
-- @module moonport.cli.observer

local ui = require "moonport.ui"

local M = {}

local MARKS = {
  ["step.done"] = { "green", "done" },
  ["step.kept"] = { "dim", "kept" },
  ["step.failed"] = { "red", "failed" },
  ["undo.done"] = { "yellow", "undone" },
  ["undo.failed"] = { "red", "not undone" },
}

local function short(err)
  local message = type(err) == "table" and err.message or tostring(err)
  return message:match("^[^\n]*")
end

local function finished(event, outcome)
  local mark = MARKS[event.type]
  local parts = { ("%s  %-13s"):format(event.deployment, event.step) }
  parts[#parts + 1] = ui.colour(mark[1], mark[2], "stderr")
  if event.seconds then
    parts[#parts + 1] = ui.colour("dim", ui.duration(event.seconds), "stderr")
  end
  parts[#parts + 1] = event.error and short(event.error) or outcome
  ui.note(table.concat(parts, "  "))
end

local function started(event)
  local what = event.type == "undo.started" and "undoing " or ""
  return ("%s  %s%s"):format(event.deployment, what, event.summary or event.step)
end

--- Makes an observer.
-- @tparam[opt=false] boolean quiet only warnings and what could not be done
-- @treturn function for the engine's events
function M.new(quiet)
  local progress = require "moonport.ui.progress"
  local under_way, outcomes = {}, {}
  local function stop(event)
    local moving = under_way[event.deployment]
    under_way[event.deployment] = nil
    if moving then moving:finish() end
  end
  return function(event)
    if event.type == "warning" then
      ui.warn(("%s: %s"):format(event.deployment, event.text))
    elseif event.type == "notice" then
      ui.note(("%s: %s"):format(event.deployment, event.text))
    elseif quiet then
      return
    elseif event.type == "step.started" or event.type == "undo.started" then
      stop(event)
      under_way[event.deployment] = progress.begin(started(event), { hush = true })
      outcomes[event.deployment] = nil
    elseif event.type == "progress" then
      if under_way[event.deployment] then under_way[event.deployment]:say(event.text) end
    elseif event.type == "outcome" then
      outcomes[event.deployment] = event.text
    elseif MARKS[event.type] then
      stop(event)
      finished(event, outcomes[event.deployment])
    end
  end
end

return M
