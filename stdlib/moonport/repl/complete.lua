-- TAB.
--
-- Looks at values without running code: fields are read raw, metatables only through their tables.

local globals = require "moonport.repl.globals"

local M = {}

local keywords = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
  "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
}

local most = 200 -- candidates that are worth listing

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  for i = #list, most + 1, -1 do list[i] = nil end
  return list
end

local function starts_with(name, prefix) return name:sub(1, #prefix) == prefix end

-- Values and their fields.

-- The table in which a missing field of `value` is looked up, nil when there is none or code runs.
local function fallback(value)
  local meta = debug.getmetatable(value)
  local index = type(meta) == "table" and rawget(meta, "__index")
  return type(index) == "table" and index or nil
end

local function holds_modules(value)
  return rawequal(value, package.loaded.moonport) or rawequal(value, _G)
end

local function field(value, name)
  for _ = 1, 20 do
    if type(value) == "table" then
      local found = rawget(value, name)
      if found ~= nil then return found end
    end
    if holds_modules(value) then
      local module = globals.module(name)
      if module ~= nil then return module end
    end
    value = fallback(value)
    if value == nil then return nil end
  end
end

local function add_fields(set, value, prefix, only_functions)
  for _ = 1, 20 do
    if type(value) == "table" then
      for name, member in next, value do
        if type(name) == "string" and starts_with(name, prefix) and name:find("^[%a_][%w_]*$") and
          (prefix ~= "" or name:sub(1, 1) ~= "_") and
          not (only_functions and type(member) ~= "function") then
          set[name] = true
        end
      end
    end
    if holds_modules(value) then
      for name in pairs(globals.modules()) do
        if starts_with(name, prefix) then set[name] = true end
      end
    end
    value = fallback(value)
    if value == nil then return end
  end
end

-- `a.b:c` at the end of what was typed.
local function complete_name(before)
  local chain = before:match("[%a_][%w_.:]*$")
  if not chain then return nil end
  local owner, separator, last = chain:match("^(.-)([.:]?)([%a_]?[%w_]*)$")
  local set = {}
  if separator == "" then
    add_fields(set, _G, last)
    for _, word in ipairs(keywords) do
      if starts_with(word, last) then set[word] = true end
    end
  else
    local value = _G
    for name in owner:gmatch("[%a_][%w_]*") do
      value = field(value, name)
      if value == nil then return nil end
    end
    add_fields(set, value, last, separator == ":")
  end
  return #before - #last, sorted(set), ""
end

-- Strings.

-- Where the string literal that is still open at the end began, and what stands before it.
local function open_string(source)
  local at = 1
  while true do
    local from, to, mark = source:find("([\"'%[%-])", at)
    if not from then return nil end
    local level = source:match("^%[(=*)%[", from)
    local comment = source:match("^%-%-(%[?=*%[?)", from)
    if level then
      local _, close = source:find("]" .. level .. "]", to, true)
      if not close then return from + #level + 2, source:sub(1, from - 1) end
      at = close + 1
    elseif comment then
      local long = comment:match("^%[(=*)%[$")
      local _, close = source:find(long and "]" .. long .. "]" or "\n", to, true)
      if not close then return nil end
      at = close + 1
    elseif mark == '"' or mark == "'" then
      local close = to + 1
      while true do
        local char = source:sub(close, close)
        if char == "" then return from + 1, source:sub(1, from - 1), mark end
        if char == "\n" or char == mark then break end
        close = close + (char == "\\" and 2 or 1)
      end
      at = close + 1
    else
      at = to + 1
    end
  end
end

local function module_names()
  local set = {}
  for name in pairs(globals.modules()) do set["moonport." .. name] = true end
  set.moonport = true
  for name in pairs(package.loaded) do set[name] = true end
  for name in pairs(package.preload) do set[name] = true end
  return set
end

local function expand_home(path)
  local home = os.getenv("HOME")
  if home and path:find("^~/") then return home .. path:sub(2) end
  return path
end

-- Files below the directory that `typed` names so far. Gives candidates, and how to list them.
local function complete_path(typed)
  local ok, fs = pcall(require, "moonport.fs")
  if not ok then return {}, {} end
  local directory, prefix = typed:match("^(.*/)([^/]*)$")
  if not directory then directory, prefix = "", typed end
  local listed, entries = pcall(fs.list, directory == "" and "." or expand_home(directory))
  if not listed then return {}, {} end
  local candidates, labels = {}, {}
  for _, entry in ipairs(entries) do
    local name = entry.name
    if #candidates < most and starts_with(name, prefix) and
      (prefix ~= "" or name:sub(1, 1) ~= ".") and not name:find("[%c]") then
      local is_directory = entry.type == "directory"
      if entry.type == "link" then
        local there, stat = pcall(fs.stat, expand_home(directory) .. name)
        is_directory = there and stat and stat.type == "directory"
      end
      local shown = name .. (is_directory and "/" or "")
      candidates[#candidates + 1] = directory .. shown
      labels[#labels + 1] = shown
    end
  end
  return candidates, labels
end

local function path_result(start, typed, closing)
  local candidates, labels = complete_path(typed)
  local only = #candidates == 1 and candidates[1]
  local suffix = only and only:sub(-1) ~= "/" and closing or ""
  return start, candidates, suffix, labels
end

local function complete_string(before, start, ahead, quote)
  local typed = before:sub(start)
  if ahead:find("require%s*%(?%s*$") then
    local set = {}
    for name in pairs(module_names()) do
      if starts_with(name, typed) then set[name] = true end
    end
    return start - 1, sorted(set), quote or ""
  end
  return path_result(start - 1, typed, quote or "")
end

-- Dot commands.

local function complete_command(before)
  local commands = require "moonport.repl.commands"
  local indent, name = before:match("^(%s*)(%.[%a]*)$")
  if indent then
    local set = {}
    for _, command in ipairs(commands.names()) do
      if starts_with(command, name) then set[command] = true end
    end
    return #indent, sorted(set), " "
  end
  local command, argument = before:match("^%s*%.(%a+)%s+(.*)$")
  if command == "load" then return path_result(#before - #argument, argument, " ") end
  if command == "doc" then
    local set = {}
    local spelled = argument:match("^mp%.") or argument:match("^moonport%.") or ""
    local prefix = argument:sub(#spelled + 1)
    for key in pairs(require "moonport.apidoc") do
      if starts_with(key, prefix) then set[spelled .. key] = true end
    end
    return #before - #argument, sorted(set), ""
  end
end

-- line: what was typed; point: the cursor's place in it, in bytes; pending: the lines before it
-- that belong to the same chunk, each with its newline.
-- Gives where what is completed begins (in bytes), the candidates, what follows a single one, and
-- how to list them.
function M.complete(line, point, pending)
  local before = line:sub(1, point)
  if before:find("^%s*$") then return point, { "  " }, "" end
  if pending == "" and before:find("^%s*%.%a*$") or before:find("^%s*%.load%s") or
    before:find("^%s*%.doc%s") then
    return complete_command(before)
  end
  local start, ahead, quote = open_string(pending .. before)
  if start then
    start = start - #pending
    if start < 1 then return nil end
    return complete_string(before, start, ahead, quote)
  end
  return complete_name(before)
end

return M
