--- systemd units of a guest, written from data: no value becomes another setting, or code.
-- @module moonport.hypervisor.units

local errors = require "moonport.errors"
local text = require "moonport.text"

local M = {
  --- Where units go in the guest.
  DIR = "/etc/systemd/system",
  --- The unit that runs the service.
  AGENT = "moonport-agent.service",
}

-- A line's value: `%` begins a specifier, a line's end would begin another setting, and a `\`
-- before it would go on with this one.
local function value_text(name, value)
  value = tostring(value)
  if value:find "%c" or value:sub(-1) == "\\" then
    errors.raise {
      kind = "hypervisor", code = "invalid",
      message = ("`%s` of a unit cannot be %s"):format(name, text.quote(value)),
    }
  end
  return (value:gsub("%%", "%%%%"))
end

--- A word of a setting that takes several, or of a command line.
-- @tparam string word
-- @treturn string in double quotes where it needs them
function M.word(word)
  if word ~= "" and not word:find "[^%w@+,./:=_-]" then return word end
  return '"' .. word:gsub('["\\]', "\\%0"):gsub("%c", function(byte)
    return ("\\x%02x"):format(byte:byte())
  end) .. '"'
end

--- A command line for `ExecStart=`.
-- @tparam {string,...} argv
-- @treturn string
function M.command(argv)
  local words = {}
  -- A `$` would begin a variable.
  for index, word in ipairs(argv) do words[index] = M.word(word):gsub("%$", "$$") end
  return table.concat(words, " ")
end

--- Writes a unit.
-- @tparam {{string,{{string,value},...}},...} sections each a name and its settings, in order
-- @treturn string
-- @raise {kind="hypervisor", code="invalid"} for a value that would be more than one
function M.render(sections)
  local lines = {}
  for index, section in ipairs(sections) do
    if index > 1 then lines[#lines + 1] = "" end
    lines[#lines + 1] = "[" .. section[1] .. "]"
    for _, setting in ipairs(section[2]) do
      lines[#lines + 1] = setting[1] .. "=" .. value_text(setting[1], setting[2])
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The name of the unit that mounts something at a path, as systemd-escape(1) makes it.
-- @tparam string path
-- @treturn string
function M.mount_name(path)
  local name = path:gsub("/+", "/"):gsub("^/", ""):gsub("/$", "")
  name = name:gsub("[^%w:_./]", function(byte) return ("\\x%02x"):format(byte:byte()) end)
  return (name:gsub("^%.", "\\x2e"):gsub("/", "-")) .. ".mount"
end

--- A unit that mounts something.
-- @tparam table mount `what`, `where`, `type`, `options` (a list), `description`, `needs`: a path
--   that has to be mounted before
-- @treturn string its name
-- @treturn string its text
function M.mount(mount)
  local unit = { { "Description", mount.description } }
  if mount.needs then unit[2] = { "RequiresMountsFor", M.word(mount.needs) } end
  return M.mount_name(mount.where), M.render {
    { "Unit", unit },
    { "Mount", {
      { "What", mount.what }, { "Where", mount.where }, { "Type", mount.type },
      { "Options", table.concat(mount.options, ",") },
    } },
  }
end

--- The unit that runs the service: the supervisor, from the service disk.
-- @tparam {string,...} argv
-- @tparam {string,...} mounts paths that it cannot do without
-- @treturn string
function M.agent(argv, mounts)
  local needed = {}
  for index, path in ipairs(mounts) do needed[index] = M.word(path) end
  return M.render {
    { "Unit", {
      { "Description", "moonport's service and its channel to the host" },
      { "RequiresMountsFor", table.concat(needed, " ") },
      { "Wants", "network-online.target" }, { "After", "network-online.target" },
    } },
    { "Service", {
      { "Type", "exec" }, { "ExecStart", M.command(argv) }, { "Restart", "no" },
      { "KillMode", "mixed" }, { "OOMScoreAdjust", -900 },
    } },
    { "Install", { { "WantedBy", "multi-user.target" } } },
  }
end

return M
