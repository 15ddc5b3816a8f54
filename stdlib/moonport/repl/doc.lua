-- `.doc NAME`: the API's documentation comments, as text.

local nearest = require "moonport.nearest"
local style = require "moonport.ui.style"

local M = {}

local function bold(words)
  return style.has_colour("stdout") and style.paint("bold", words) or words
end

-- `@{ref}` and the like are for LDoc.
local function plain(words) return (words:gsub("@{([^}|]*)|?([^}]*)}", function(name, label)
  return "`" .. (label ~= "" and label or name) .. "`"
end)) end

local function item(indent, head, words)
  local line = string.rep(" ", indent) .. head
  return words and line .. "  " .. plain(words) or line
end

local function parameter(param)
  local head = param.name
  if param.type then head = head .. " (" .. param.type .. ")" end
  if param.optional or param.default then
    head = head .. (param.default and " [" .. param.default .. "]" or " [optional]")
  end
  return item(4, head, param.text)
end

local function add_section(lines, title, list, format)
  if not list then return end
  lines[#lines + 1] = "  " .. title
  for _, entry in ipairs(list) do lines[#lines + 1] = format(entry) end
end

-- What a module or type holds.
local function members(index, name)
  local list = {}
  for key, entry in pairs(index) do
    local rest = key:match("^" .. name:gsub("%p", "%%%0") .. "[.:]([%w_]+)$")
    if rest and entry.kind ~= "module" then list[#list + 1] = key end
  end
  table.sort(list)
  return list
end

local function entry_text(index, name, entry)
  local lines = { bold(entry.signature or name) }
  for line in (plain(entry.text or entry.summary or "") .. "\n"):gmatch("(.-)\n") do
    lines[#lines + 1] = line ~= "" and "  " .. line or ""
  end
  add_section(lines, "takes", entry.params, parameter)
  add_section(lines, "fields", entry.fields, parameter)
  add_section(lines, "gives", entry.returns, function(given)
    return item(4, given.type or "", given.text)
  end)
  add_section(lines, "raises", entry.raises, function(words) return item(4, plain(words)) end)
  if entry.kind ~= "function" then
    local list = members(index, name)
    if #list > 0 then lines[#lines + 1] = "" end
    for _, key in ipairs(list) do
      lines[#lines + 1] = item(2, bold(index[key].signature or key))
      if index[key].summary ~= "" then lines[#lines + 1] = item(6, plain(index[key].summary)) end
    end
  end
  lines[#lines + 1] = style.has_colour("stdout") and style.paint("dim", entry.where) or entry.where
  return table.concat(lines, "\n")
end

local function overview(index)
  local names, widest = {}, 0
  for name, entry in pairs(index) do
    if entry.kind == "module" then
      names[#names + 1] = name
      widest = math.max(widest, #name)
    end
  end
  table.sort(names)
  local lines = {}
  for i, name in ipairs(names) do
    lines[i] = string.format("%-" .. widest .. "s  %s", name, plain(index[name].summary))
  end
  lines[#lines + 1] = "`.doc NAME` tells about one of them, `.doc NAME.function` about a function."
  return table.concat(lines, "\n")
end

-- The entry that a name means: `mp.http.get`, `moonport.http`, `svc.status` for `svc:status`.
local function find(index, name)
  local wanted = name:gsub("^moonport%.", ""):gsub("^mp%.", ""):gsub("%(.*$", "")
  if index[wanted] then return wanted end
  local swapped = wanted:find(":", 1, true) and wanted:gsub(":", ".") or
    wanted:gsub("%.([%w_]+)$", ":%1")
  if index[swapped] then return swapped end
  for key in pairs(index) do
    if key:lower() == wanted:lower() then return key end
  end
end

-- All names that end in what was asked for: `sleep` finds `task.sleep`.
local function ending_in(index, name)
  local found = {}
  for key in pairs(index) do
    if key:match("[.:]([%w_]+)$") == name then found[#found + 1] = key end
  end
  table.sort(found)
  return found
end

local function from_lua(name)
  local value = _G
  for part in name:gmatch("[%w_]+") do
    value = type(value) == "table" and rawget(value, part) or nil
  end
  return type(value) == "function"
end

-- What may have been meant, by its whole name or by the last part of it.
local function guess(index, name)
  local last_parts = {}
  for key in pairs(index) do last_parts[key:match("[%w_]+$")] = key end
  local near = nearest.find(name, index) or last_parts[nearest.find(name, last_parts)]
  return near and "did you mean `" .. near .. "`?" or "`.doc` lists the modules"
end

-- The text for a name, "" for the list of modules. nil, a message and a hint when there is none.
function M.text(name)
  local index = require "moonport.apidoc"
  if name == "" then return overview(index) end
  local key = find(index, name)
  if key then return entry_text(index, key, index[key]) end
  local found = ending_in(index, name)
  if #found == 1 then return entry_text(index, found[1], index[found[1]]) end
  if #found > 1 then return "`" .. name .. "` is one of " .. table.concat(found, ", ") end
  if from_lua(name) then
    return "`" .. name .. "` is Lua's own: https://www.lua.org/manual/5.4/manual.html#pdf-" .. name
  end
  return nil, "nothing is documented as `" .. name .. "`", guess(index, name)
end

return M
