--- Collects the documentation comments of the Lua API into one table, which the binary embeds for
-- `.doc NAME` at the prompt.
--
--     lua5.4 apidoc.lua LIST OUTPUT    writes a Lua file that returns the table
--     lua5.4 apidoc.lua LIST --check   names the public functions that have no comment, and fails
--     lua5.4 apidoc.lua LIST --ldoc DIRECTORY
--                                      writes what is said in C as Lua comments, for LDoc
--
-- LIST holds one path per line, relative to the working directory: Lua modules with `---` blocks,
-- and bindings in C with `/*** ... */` blocks, both with LDoc's tags. The table's keys are names as
-- people write them ("http.get", "http.Response:json", and "http" for the module), its values
--
--     { kind = "function"|"module"|"value", signature, summary, text, usage, where = "file:line",
--       params = { { name, type, text, optional, default } }, returns = { { type, text } },
--       raises = { text }, fields = { { name, type, text } } }
--
-- of which only `kind`, `summary` and `where` are always there.

local function fail(...)
  io.stderr:write("apidoc: ", string.format(...), "\n")
  os.exit(1)
end

local function lines_of(path)
  local file, why = io.open(path)
  if not file then fail("could not read %s", why) end
  local lines = {}
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  return lines
end

-- A block is { where = line number, lines = the comment's text, code = the line after it }.

local function lua_blocks(lines)
  local blocks, index = {}, 1
  while index <= #lines do
    local indent, first = lines[index]:match("^(%s*)%-%-%-+%s?(.*)$")
    if first then
      local block = { where = index, lines = { first } }
      index = index + 1
      while index <= #lines do
        local text = lines[index]:match("^" .. indent .. "%-%-%s?(.*)$")
        if not text then break end
        block.lines[#block.lines + 1] = text
        index = index + 1
      end
      block.code = lines[index] or ""
      blocks[#blocks + 1] = block
    else
      index = index + 1
    end
  end
  return blocks
end

local function c_blocks(lines)
  local blocks, block = {}, nil
  for index, line in ipairs(lines) do
    local first = not block and line:match("^%s*/%*%*%*%s?(.*)$")
    if first then
      block = { where = index, lines = {}, code = "" }
      line = first
    elseif block then
      if not line:find("^%s*%*+/") then line = line:gsub("^%s*%*?%s?", "") end
    end
    if block then
      local last = line:match("^(.-)%s*%*+/")
      block.lines[#block.lines + 1] = last or line
      if last then
        blocks[#blocks + 1], block = block, nil
      end
    end
  end
  return blocks
end

-- The description and the tags of a block: tags = { { name, modifiers, text } }.
local function parse_block(block)
  local description, tags = {}, {}
  local target = description
  for _, line in ipairs(block.lines) do
    local name, modifiers, rest = line:match("^%s*@(%a+)(%b[])%s*(.*)$")
    if not name then
      name, rest = line:match("^%s*@(%a+)%s*(.*)$")
    end
    if name then
      target = { name = name, modifiers = modifiers or "", rest }
      tags[#tags + 1] = target
    else
      target[#target + 1] = line
    end
  end
  local function text_of(list)
    return (table.concat(list, "\n"):gsub("%s+$", ""):gsub("^\n+", ""))
  end
  for _, tag in ipairs(tags) do tag.text = text_of(tag) end
  return text_of(description), tags
end

local function one_line(text) return (text:gsub("%s*\n%s*", " ")) end

-- As one_line, and nil for text that says nothing.
local function remark(text)
  text = text and one_line(text)
  return text ~= "" and text or nil
end

local function add(entry, list, value)
  entry[list] = entry[list] or {}
  table.insert(entry[list], value)
end

local function param(tag, typed)
  local type_name, name, text
  if typed then
    type_name, name, text = tag.text:match("^(%S+)%s+(%S+)%s*(.*)$")
  else
    name, text = tag.text:match("^(%S+)%s*(.*)$")
  end
  local optional = tag.modifiers:find("^%[opt") ~= nil
  return {
    name = name,
    type = type_name,
    text = remark(text),
    optional = optional or nil,
    default = tag.modifiers:match("^%[opt=(.-)[,%]]"),
  }
end

local collect = {
  tparam = function(entry, tag) add(entry, "params", param(tag, true)) end,
  param = function(entry, tag) add(entry, "params", param(tag, false)) end,
  tfield = function(entry, tag) add(entry, "fields", param(tag, true)) end,
  field = function(entry, tag) add(entry, "fields", param(tag, false)) end,
  treturn = function(entry, tag)
    local type_name, text = tag.text:match("^(%S+)%s*(.*)$")
    add(entry, "returns", { type = type_name, text = remark(text) })
  end,
  ["return"] = function(entry, tag) add(entry, "returns", { text = one_line(tag.text) }) end,
  raise = function(entry, tag) add(entry, "raises", one_line(tag.text)) end,
  usage = function(entry, tag) entry.usage = tag.text end,
}

local function describe(description, tags)
  local entry = { kind = "value" }
  local paragraph = one_line(description:match("^(.-)\n%s*\n") or description)
  entry.summary = paragraph:match("^(.-[.?!])%s") or paragraph
  if one_line(description) ~= entry.summary then entry.text = description end
  for _, tag in ipairs(tags) do
    local handler = collect[tag.name]
    if handler then handler(entry, tag) end
  end
  return entry
end

-- What a line of Lua defines: owner ("M" or another table), ":" or ".", name, argument list or nil.
local function definition(code)
  local owner, separator, name, arguments =
    code:match("^function%s+([%w_]+)([.:])([%w_]+)%s*(%b())")
  if owner then return owner, separator, name, arguments end
  owner, name, arguments = code:match("^([%w_]+)%.([%w_]+)%s*=%s*function%s*(%b())")
  if owner then return owner, ".", name, arguments end
  owner, name = code:match("^([%w_]+)%.([%w_]+)%s*=")
  return owner, ".", name, nil
end

local function tag_text(tags, name)
  for _, tag in ipairs(tags) do
    if tag.name == name then return one_line(tag.text) end
  end
end

local function module_of(path)
  local binding = path:match("bind_([%w_]+)%.c$") or path:match("([%w_]+)%.c$")
  if binding then return "moonport." .. binding end
  local name = path:gsub("^stdlib/", ""):gsub("%.lua$", ""):gsub("/init$", "")
  return (name:gsub("/", "."))
end

local function signature(key, arguments, entry)
  if arguments then return key .. arguments end
  local text = ""
  for index, parameter in ipairs(entry.params or {}) do
    local name = (index > 1 and ", " or "") .. parameter.name
    text = text .. (parameter.optional and "[" .. name .. "]" or name)
  end
  return key .. "(" .. text .. ")"
end

-- The state of one file: the module its names belong to, and the class that `@type` opened.
local function add_block(index, file, block)
  local description, tags = parse_block(block)
  local class = tag_text(tags, "type")
  if class then file.class = class:match("^%S+") end
  local module, part_of = tag_text(tags, "module"), tag_text(tags, "submodule")
  if module or part_of then file.module = (module or part_of):match("^%S+") end
  if part_of or tag_text(tags, "local") then return end

  local prefix = file.module:gsub("^moonport%.?", "")
  local entry = describe(description, tags)
  entry.where = file.path .. ":" .. block.where
  if module or class then
    local key = class and (prefix ~= "" and prefix .. "." or "") .. file.class or
      (prefix ~= "" and prefix or "moonport")
    entry.kind = class and "type" or "module"
    index[key] = index[key] or entry
    return
  end

  local owner, separator, name, arguments = definition(block.code)
  local given = tag_text(tags, "function") or tag_text(tags, "table")
  if given and given ~= "" then
    owner, separator, name = given:match("^([%w_.]-)([.:]?)([%w_]+)$")
    if separator ~= ":" then owner, separator = "M", "." end
  elseif not owner then
    return -- of a local, or of nothing that has a name
  end
  local scope = prefix
  if owner ~= "M" then
    local type_name = given and owner ~= "" and owner or file.class or owner
    scope = (prefix ~= "" and prefix .. "." or "") .. type_name
  end
  local key = scope ~= "" and scope .. separator .. name or name
  if tag_text(tags, "function") or arguments or entry.params or entry.returns then
    entry.kind = "function"
    entry.signature = signature(key, arguments, entry)
  end
  index[key] = entry
end

local function collect_file(index, path)
  local lines = lines_of(path)
  local file = { path = path, module = module_of(path) }
  local blocks = path:find("%.c$") and c_blocks(lines) or lua_blocks(lines)
  for _, block in ipairs(blocks) do add_block(index, file, block) end
end

-- Plain data as Lua source, keys sorted, so that the same comments give the same bytes.
local function serialize(value, indent)
  if type(value) ~= "table" then return (string.format("%q", value):gsub("\\\n", "\\n")) end
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) then return a < b end
    return type(a) == "number"
  end)
  local parts = {}
  for _, key in ipairs(keys) do
    local text = serialize(value[key], indent .. " ")
    if type(key) == "string" then
      text = (key:match("^%a[%w_]*$") and key ~= "return" and key or string.format("[%q]", key)) ..
        "=" .. text
    end
    parts[#parts + 1] = text
  end
  local separator = indent == "" and ",\n" or ","
  return "{" .. table.concat(parts, separator) .. "}"
end

local function check(paths)
  local missing = 0
  for _, path in ipairs(paths) do
    local lines = lines_of(path)
    for number, line in ipairs(lines) do
      local owner, _, name = definition(line)
      if path:find("%.lua$") and owner == "M" and line:find("^function") and
        not name:find("^_") and not (lines[number - 1] or ""):find("^%-%-") then
        io.stderr:write(string.format("%s:%d: `%s` has no documentation comment\n", path, number,
          name))
        missing = missing + 1
      end
    end
  end
  if missing > 0 then os.exit(1) end
end

local function write(path, text)
  local file, why = io.open(path, "w")
  if not file then fail("could not write %s", why) end
  if not (file:write(text) and file:close()) then fail("could not write `%s`", path) end
end

local function write_for_ldoc(paths, directory)
  for _, path in ipairs(paths) do
    local blocks = path:find("%.c$") and c_blocks(lines_of(path)) or {}
    if #blocks > 0 then
      local out = {}
      for _, block in ipairs(blocks) do
        local text = table.concat(block.lines, "\n"):gsub("^%s+", ""):gsub("\n", "\n-- ")
        out[#out + 1] = "--- " .. text:gsub("@submodule", "@module") .. "\n"
      end
      if not table.concat(out):find("@module") then
        table.insert(out, 1, "---\n-- @module " .. module_of(path) .. "\n")
      end
      write(directory .. "/" .. path:match("([^/]+)%.c$") .. ".lua", table.concat(out, "\n"))
    end
  end
end

local list, output, directory = ...
if not output then fail("usage: apidoc.lua LIST OUTPUT|--check|--ldoc DIRECTORY") end
local paths = {}
for _, path in ipairs(lines_of(list)) do
  if path ~= "" then paths[#paths + 1] = path end
end
if output == "--check" then return check(paths) end
if output == "--ldoc" then return write_for_ldoc(paths, directory) end

local index = {}
for _, path in ipairs(paths) do collect_file(index, path) end
write(output, "-- Generated by lua/apidoc.lua; do not edit.\n" ..
  "return " .. serialize(index, "") .. "\n")
