-- Aligned tables.

local secret = require "moonport.core.secret"
local style = require "moonport.ui.style"
local terminal = require "moonport.core.terminal"
local text = require "moonport.text"

local M = {}

local gap = 2          -- columns between two columns
local least = 6        -- columns below which none is shrunk

local function normalized(columns)
  local result = {}
  for i, column in ipairs(columns) do
    if type(column) == "string" then column = { column } end
    local field = column[1] or column.field
    result[i] = setmetatable({
      field = field,
      title = column.title or tostring(field):upper():gsub("_", " "),
    }, { __index = column })
  end
  return result
end

local function cell_text(column, row)
  local value = row[column.field]
  if column.format then value = column.format(value, row) end
  if value == nil or value == "" then return "-" end
  return secret.scrub(text.visible(tostring(value)))
end

local function cell_colour(column, row)
  local colour = column.colour
  if type(colour) == "function" then colour = colour(row[column.field], row) end
  return colour
end

local function natural_widths(columns, cells)
  local widths = {}
  for i, column in ipairs(columns) do
    local widest = terminal.columns(column.title)
    for _, line in ipairs(cells) do widest = math.max(widest, terminal.columns(line[i])) end
    widths[i] = column.max and math.min(widest, math.max(column.max, 1)) or widest
  end
  return widths
end

-- Takes from the widest columns until the table fits.
local function shrink(widths, available)
  local excess = gap * (#widths - 1) - available
  for _, width in ipairs(widths) do excess = excess + width end
  while excess > 0 do
    local widest, second = 1, least
    for i, width in ipairs(widths) do
      if width > widths[widest] then widest = i end
    end
    for i, width in ipairs(widths) do
      if i ~= widest and width < widths[widest] then second = math.max(second, width) end
    end
    local taken = math.min(excess, math.max(widths[widest] - second, 1))
    if widths[widest] <= least then return end
    widths[widest] = widths[widest] - taken
    excess = excess - taken
  end
end

local function pad(shown, width, align, is_last)
  local blank = string.rep(" ", width - terminal.columns(shown))
  if align == "right" then return blank, "" end
  return "", is_last and "" or blank
end

local function format_line(columns, widths, line, paint)
  local parts = {}
  for i, column in ipairs(columns) do
    local shown = terminal.truncate(line[i], widths[i])
    local before, after = pad(shown, widths[i], column.align, i == #columns)
    parts[i] = before .. paint(shown, column) .. after
  end
  return (table.concat(parts, string.rep(" ", gap)):gsub(" +$", ""))
end

-- rows: tables; columns: see moonport.ui. Returns the lines as one text.
function M.format(rows, columns, options)
  columns = normalized(columns)
  local cells = {}
  for i, row in ipairs(rows) do
    cells[i] = {}
    for j, column in ipairs(columns) do cells[i][j] = cell_text(column, row) end
  end
  local widths = natural_widths(columns, cells)
  if options.width then shrink(widths, options.width) end

  local function painter(choose)
    return function(shown, column)
      local colour = options.colour and choose(column)
      return colour and style.paint(colour, shown) or shown
    end
  end
  local lines = {}
  if options.header ~= false then
    local titles = {}
    for i, column in ipairs(columns) do titles[i] = column.title end
    lines[1] = format_line(columns, widths, titles, painter(function() return "bold" end))
  end
  for i, row in ipairs(rows) do
    local paint = painter(function(column) return cell_colour(column, row) end)
    lines[#lines + 1] = format_line(columns, widths, cells[i], paint)
  end
  return table.concat(lines, "\n")
end

return M
