--- Where the fields of a manifest stand: path -> line, for Lua tables and for JSON.
--
-- Only what is written as a literal can be found; what a manifest computes is reported at the line
-- of the nearest literal around it. That is enough to put an operator's cursor in the right place.
--
-- @module moonport.manifest.locate
local keypath = require "moonport.keypath"
local lexer = require "moonport.manifest.lexer"

local M = {}

local OPENING = { ["("] = true, ["{"] = true, ["["] = true }
local CLOSING = { [")"] = true, ["}"] = true, ["]"] = true }
-- Each opens a block that `end` closes; `for` and `while` have their `do`.
local BLOCKS = { ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }
local BLOCK_ENDS = { ["end"] = true, ["until"] = true }

local function is(token, value)
  return token and token.kind ~= "string" and token.value == value
end

-- How much deeper (or less deep) the code is after a token.
local function nesting(token)
  if not token or token.kind == "string" or token.kind == "number" then
    return 0
  elseif OPENING[token.value] or (token.kind == "word" and BLOCKS[token.value]) then
    return 1
  elseif CLOSING[token.value] or (token.kind == "word" and BLOCK_ENDS[token.value]) then
    return -1
  end
  return 0
end

-- Skips an expression: returns the index of the `,`, `;` or `}` behind it.
local function skip_expression(tokens, index)
  local depth = 0
  while tokens[index] do
    local token = tokens[index]
    if depth == 0 and (is(token, ",") or is(token, ";") or is(token, "}")) then
      return index
    end
    depth = depth + nesting(token)
    index = index + 1
  end
  return index
end

local read_table

local function note(found, path, line)
  if found.lines[path] then
    found.duplicates[#found.duplicates + 1] = { path = path, line = line }
  end
  found.lines[path] = line
end

-- The key that a table item begins with, and the index of its value.
local function item_key(tokens, index)
  local token = tokens[index]
  if token.kind == "word" and is(tokens[index + 1], "=") then
    return token.value, index + 2
  elseif is(token, "[") and tokens[index + 1] and is(tokens[index + 2], "]") then
    if is(tokens[index + 3], "=") then
      return tokens[index + 1].value, index + 4
    end
  end
  return nil, index
end

-- A value that is nothing but a table constructor can be read further.
local function read_value(tokens, index, path, found)
  if is(tokens[index], "{") then
    read_table(tokens, index, path, found)
  end
  return skip_expression(tokens, index)
end

function read_table(tokens, index, path, found)
  local position = 0
  index = index + 1
  while tokens[index] and not is(tokens[index], "}") do
    local line = tokens[index].line
    local key, value_index = item_key(tokens, index)
    if key == nil then
      position = position + 1
      key = position
    end
    local sub_path = keypath.join(path, key)
    note(found, sub_path, line)
    index = read_value(tokens, value_index, sub_path, found)
    if is(tokens[index], ",") or is(tokens[index], ";") then
      index = index + 1
    end
  end
end

-- The table that the chunk returns: the literal behind the last top-level `return`, or the last
-- literal assigned to the variable that is returned.
local function returned_table(tokens)
  local depth, assigned, start = 0, {}, nil
  for index, token in ipairs(tokens) do
    if depth == 0 and token.kind == "word" and token.value == "return" then
      local following = tokens[index + 1]
      start = is(following, "{") and index + 1
        or following and following.kind == "word" and assigned[following.value]
        or start
    elseif depth == 0 and token.kind == "word" and is(tokens[index + 1], "=") then
      assigned[token.value] = is(tokens[index + 2], "{") and index + 2 or nil
    end
    depth = depth + nesting(token)
  end
  return start
end

--- Finds the fields of a Lua manifest.
-- @tparam string text
-- @treturn table {lines = {path -> line}, duplicates = list of {path, line}}
function M.lua(text)
  local found = { lines = { [""] = 1 }, duplicates = {} }
  local tokens = lexer.tokens(text)
  local start = returned_table(tokens)
  if start then
    found.lines[""] = tokens[start].line
    read_table(tokens, start, "", found)
  end
  return found
end

local function json_line(text, from, to, line)
  return line + select(2, text:sub(from, to):gsub("\n", ""))
end

local json_value

-- Both JSON containers: items between brackets, separated by commas.
local function json_items(reader, closing, item)
  reader.position = reader.position + 1
  while true do
    local byte = reader:peek()
    if byte == closing or byte == "" then
      reader.position = reader.position + 1
      return
    elseif byte == "," then
      reader.position = reader.position + 1
    else
      item()
    end
  end
end

local Reader = {}
Reader.__index = Reader

-- The next byte that is not blank; keeps count of lines.
function Reader:peek()
  local first = self.text:find("%S", self.position) or #self.text + 1
  self.line = json_line(self.text, self.position, first - 1, self.line)
  self.position = first
  return self.text:sub(first, first)
end

function Reader:string()
  local first, position = self.position, self.position + 1
  while true do
    position = self.text:find('["\\]', position) or #self.text + 1
    if self.text:sub(position, position) ~= "\\" then
      break
    end
    position = position + 2
  end
  self.position = position + 1
  return (self.text:sub(first + 1, position - 1):gsub('\\(["\\/])', "%1"))
end

local function json_object(reader, path, found)
  json_items(reader, "}", function()
    local line = reader.line
    local key = reader:peek() == '"' and reader:string() or reader:skip()
    if reader:peek() == ":" then
      reader.position = reader.position + 1
    end
    local sub_path = keypath.join(path, key or "?")
    note(found, sub_path, line)
    json_value(reader, sub_path, found)
  end)
end

local function json_array(reader, path, found)
  local index = 0
  json_items(reader, "]", function()
    index = index + 1
    local sub_path = keypath.join(path, index)
    note(found, sub_path, reader.line)
    json_value(reader, sub_path, found)
  end)
end

-- Passes over a number, a word, or anything that should not be there.
function Reader:skip()
  local last = self.text:match("^[%w.+-]+()", self.position)
  self.position = last or self.position + 1
end

function json_value(reader, path, found)
  local byte = reader:peek()
  if byte == "{" then
    json_object(reader, path, found)
  elseif byte == "[" then
    json_array(reader, path, found)
  elseif byte == '"' then
    reader:string()
  elseif byte ~= "}" and byte ~= "]" and byte ~= "," then
    reader:skip()
  end
end

--- Finds the fields of a JSON manifest.
-- @tparam string text
-- @treturn table as for `lua`
function M.json(text)
  local found = { lines = { [""] = 1 }, duplicates = {} }
  local reader = setmetatable({ text = text, position = 1, line = 1 }, Reader)
  json_value(reader, "", found)
  return found
end

--- Makes the `locate` function that `moonport.schema` asks: the line of a path, or of the nearest
-- path around it that is known.
-- @tparam string file
-- @tparam table found from `lua` or `json`
-- @treturn function path -> file, line
function M.finder(file, found)
  return function(path)
    local at = path
    while at and not found.lines[at] do
      at = keypath.parent(at)
    end
    return file, at and found.lines[at]
  end
end

return M
