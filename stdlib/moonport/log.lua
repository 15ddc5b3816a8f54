--- Messages for operators and machines, on standard error.
--
--     log.info("deployed", { name = "squaring", took = 1.25 })
--     --> time=2026-03-01T10:00:00.123Z level=info msg=deployed name=squaring took=1.25
--
-- `MOONPORT_LOG` (error, warn, info, debug or off; info when unset) says what is shown and
-- `MOONPORT_LOG_FORMAT=json` gives one JSON object a line. Secrets are never written: a secret
-- value shows as `<secret>`, and whatever was revealed is masked.
-- @module moonport.log

local clock = require "moonport.core.clock"
local errors = require "moonport.errors"
local secret = require "moonport.core.secret"
local style = require "moonport.ui.style"
local text = require "moonport.text"

local M = {}

local ranks = { off = 0, error = 1, warn = 2, info = 3, debug = 4 }
local colours = { error = "red", warn = "yellow", info = "green", debug = "dim" }

local current = {} -- level and format; from the environment on first use

local function is_json() return current.format == "json" end

-- Values.

local function quoted_where_needed(value)
  if value == "" or value:find('[%s%c"=\\\x80-\xff]') then return text.quote(value) end
  return value
end

local function plain_value(value)
  local kind = type(value)
  if kind == "string" then return quoted_where_needed(value) end
  if kind == "number" or kind == "boolean" then return tostring(value) end
  if secret.is(value) then return "<secret>" end
  if errors.is(value) then return quoted_where_needed(tostring(value)) end
  local inspect = require "moonport.inspect"
  return quoted_where_needed(inspect(value, { depth = 4, items = 50, width = math.huge }))
end

local json_short = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}

local function json_string(value)
  if not utf8.len(value) then value = text.visible(value, "\n\r\t\\\"") end
  return '"' .. value:gsub('[%c"\\]', function(char)
    return json_short[char] or string.format("\\u%04x", char:byte())
  end) .. '"'
end

local json_value

local function json_table(value, depth)
  local parts = {}
  if #value > 0 then
    for i = 1, #value do parts[i] = json_value(rawget(value, i), depth + 1) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local keys = {}
  for key in next, value do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, key in ipairs(keys) do
    parts[i] = json_string(tostring(key)) .. ":" .. json_value(rawget(value, key), depth + 1)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

function json_value(value, depth)
  local kind = type(value)
  if kind == "nil" or kind == "boolean" then return tostring(value) end
  if kind == "number" and value == value and math.abs(value) ~= math.huge then
    return math.type(value) == "integer" and tostring(value) or string.format("%.17g", value)
  end
  if kind == "string" then return json_string(value) end
  if kind == "table" and depth < 8 and not errors.is(value) then return json_table(value, depth) end
  if secret.is(value) then return '"<secret>"' end
  if errors.is(value) then return json_string(tostring(value)) end
  return json_string(require "moonport.inspect"(value, { depth = 1 }))
end

-- Lines.

local reserved = { time = true, level = true, msg = true }

-- The fields as { key, value } pairs, keys fit for logfmt and in order.
local function pairs_of(fields)
  local list = {}
  for key, value in next, fields do
    key = tostring(key):gsub("[^%w_.-]", "_")
    if reserved[key] then key = key .. "_" end
    list[#list + 1] = { key, value }
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

local function timestamp()
  local now = clock.now()
  local whole = math.floor(now)
  return os.date("!%Y-%m-%dT%H:%M:%S", whole) .. string.format(".%03dZ", (now - whole) * 1000 // 1)
end

local function json_line(level, message, fields)
  local parts = {
    '"time":"' .. timestamp() .. '"',
    '"level":"' .. level .. '"',
    '"msg":' .. json_string(message),
  }
  for _, pair in ipairs(fields) do
    parts[#parts + 1] = json_string(pair[1]) .. ":" .. json_value(pair[2], 0)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function text_line(level, message, fields)
  local colour = style.has_colour("stderr")
  local shown = colour and style.paint(colours[level], level) or level
  local parts = {
    "time=" .. timestamp(), "level=" .. shown, "msg=" .. quoted_where_needed(message),
  }
  for _, pair in ipairs(fields) do
    local key = pair[1] .. "="
    parts[#parts + 1] = (colour and style.paint("dim", key) or key) .. plain_value(pair[2])
  end
  return table.concat(parts, " ")
end

local function write(level, message, fields)
  local line = (is_json() and json_line or text_line)(level, message, fields)
  io.stderr:write(secret.scrub(line) .. "\n")
end

local function configure()
  local level, format = os.getenv("MOONPORT_LOG"), os.getenv("MOONPORT_LOG_FORMAT")
  current.level = ranks[level] and level or "info"
  current.format = format == "json" and "json" or "text"
  if level and level ~= "" and not ranks[level] then
    write("warn", "MOONPORT_LOG is not one of off, error, warn, info, debug",
      { { "value", level } })
  end
  if format and format ~= "" and format ~= "json" and format ~= "text" then
    write("warn", "MOONPORT_LOG_FORMAT is neither text nor json", { { "value", format } })
  end
end

--- Tells whether messages of a level are shown, for fields that are costly to make.
-- @tparam string level
-- @treturn boolean
function M.enabled(level)
  if not current.level then configure() end
  return (ranks[level] or 0) <= ranks[current.level]
end

--- Gives, and sets, the level up to which messages are shown.
-- @tparam[opt] string level off, error, warn, info or debug
-- @treturn string the level before
function M.level(level)
  if not current.level then configure() end
  local before = current.level
  if level ~= nil then
    if not ranks[level] then
      errors.raise {
        kind = "log", code = "invalid",
        message = string.format("there is no log level `%s`", tostring(level)),
        hint = "it is one of off, error, warn, info, debug",
      }
    end
    current.level = level
  end
  return before
end

--- Gives, and sets, the form of messages.
-- @tparam[opt] string format "text" or "json"
-- @treturn string the form before
function M.format(format)
  if not current.level then configure() end
  local before = current.format
  if format ~= nil then
    if format ~= "text" and format ~= "json" then
      errors.raise {
        kind = "log", code = "invalid",
        message = string.format("there is no log format `%s`", tostring(format)),
        hint = "it is text or json",
      }
    end
    current.format = format
  end
  return before
end

local function log(level, message, fields)
  if not M.enabled(level) then return end
  write(level, tostring(message), fields and pairs_of(fields) or {})
end

--- Something failed.
-- @tparam string message
-- @tparam[opt] table fields
function M.error(message, fields) log("error", message, fields) end

--- Something is not as it should be, and work went on.
-- @tparam string message
-- @tparam[opt] table fields
function M.warn(message, fields) log("warn", message, fields) end

--- Something happened.
-- @tparam string message
-- @tparam[opt] table fields
function M.info(message, fields) log("info", message, fields) end

--- What helps to find out why.
-- @tparam string message
-- @tparam[opt] table fields
function M.debug(message, fields) log("debug", message, fields) end

--- A logger that adds fields to each message.
-- @tparam table fields
-- @treturn table with `error`, `warn`, `info`, `debug` and `with`
function M.with(fields)
  local logger = {}
  local function merged(more)
    local all = {}
    for key, value in next, fields do all[key] = value end
    for key, value in next, more or {} do all[key] = value end
    return all
  end
  for _, level in ipairs { "error", "warn", "info", "debug" } do
    logger[level] = function(message, more) log(level, message, merged(more)) end
  end
  logger.with = function(more) return M.with(merged(more)) end
  return logger
end

return M
