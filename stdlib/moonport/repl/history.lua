-- What was typed in earlier sessions.
--
-- One entry a line, oldest first, `\` and newlines in it written `\\` and `\n`. Sessions append as
-- they go, so several at once and one that is killed lose nothing; the file is put in order at the
-- start of a session when it has grown.

local secret = require "moonport.core.secret"

local M = {}

local most = 10000 -- entries
local slack = 2000 -- beyond which the file is rewritten

local function encode(entry) return (entry:gsub("\\", "\\\\"):gsub("\n", "\\n")) end

local function decode(line)
  return (line:gsub("\\(.)", function(char) return char == "n" and "\n" or char end))
end

local History = {}
History.__index = History

-- Of equal entries only the last one counts.
local function without_repetitions(entries)
  local seen, kept = {}, {}
  for i = #entries, 1, -1 do
    local entry = entries[i]
    if not seen[entry] and #kept < most then
      seen[entry] = true
      kept[#kept + 1] = entry
    end
  end
  local ordered = {}
  for i = #kept, 1, -1 do ordered[#ordered + 1] = kept[i] end
  return ordered
end

local function read(path)
  local content = try(function() return require "moonport.fs".read(path) end)
  local entries = {}
  for line in (content or ""):gmatch("[^\n]+") do entries[#entries + 1] = decode(line) end
  return entries
end

function History:rewrite()
  local lines = {}
  for i, entry in ipairs(self.entries) do lines[i] = encode(entry) .. "\n" end
  require "moonport.fs".write(self.path, table.concat(lines), { mode = "0600" })
end

-- Reads the file; a path of nil keeps the history to this session.
function M.open(path)
  local self = setmetatable({ path = path, entries = {} }, History)
  if not path then return self end
  local entries = read(path)
  self.entries = without_repetitions(entries)
  if #entries > #self.entries + slack then try(self.rewrite, self) end
  return self
end

-- Remembers an entry, unless it begins with a space (which says: do not), is the same as the one
-- before, or shows a secret. Gives whether it did.
function History:add(entry)
  if entry:find("^%s") or entry == "" or entry == self.entries[#self.entries] then return false end
  if secret.scrub(entry) ~= entry then return false end
  self.entries[#self.entries + 1] = entry
  if self.path and not self.failed then
    local fs = require "moonport.fs"
    local ok, err = pcall(function()
      fs.mkdirs(fs.dirname(self.path), "0700")
      fs.append(self.path, encode(entry) .. "\n", { mode = "0600" })
    end)
    self.failed = not ok and err or nil
  end
  return true
end

-- Where the history is kept, nil without a home.
function M.path()
  local state, home = os.getenv("XDG_STATE_HOME"), os.getenv("HOME")
  if state and state:sub(1, 1) == "/" then return state .. "/moonport/history" end
  return home and home ~= "" and home .. "/.local/state/moonport/history" or nil
end

return M
