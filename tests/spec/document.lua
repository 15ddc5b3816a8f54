--- The documents as tests see them: their fenced blocks, and sessions that can be run again.
--
-- A fence says what its block is:
--
--     ```lua                       an example; it has to compile
--     ```lua /srv/demo/web.lua     the same, and a session finds it as that file
--     ```console                   commands after `$ ` with what they print, run as they stand
--     ```sh                        commands that are only checked to be right
--
-- What is printed is compared without what differs from run to run: numbers, ids, widths of
-- columns. A line `...` stands for any lines. After `$ moonport repl`, lines with `> ` are typed at
-- the prompt; after `$ moonport console NAME` at the console, where the other lines have to appear
-- on the screen in their order, among whatever else does. With MP_DOCS_UPDATE set, a session writes
-- what was printed into the document.
local fs = require "moonport.fs"
local process = require "moonport.process"
local task = require "moonport.task"

local M = {}

M.TOP = os.getenv "MP_SOURCE_DIR"

-- The areas whose tests run the sessions of a document, where it is not `native`.
local AREA = { ["docs/container.md"] = "container", ["docs/hypervisor.md"] = "hypervisor" }

--- The documents: README.md and docs/*.md.
-- @tparam[opt] string area only those whose sessions its tests run
-- @treturn {string,...} paths from the top of the sources
function M.list(area)
  local found = {}
  local function add(path)
    if not area or (AREA[path] or "native") == area then found[#found + 1] = path end
  end
  add "README.md"
  for _, entry in ipairs(fs.list(M.TOP .. "/docs")) do
    if entry.name:find "%.md$" then add("docs/" .. entry.name) end
  end
  table.sort(found)
  return found
end

local function lines_of(text)
  local lines = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  return lines
end

--- The lines of a document, and its fenced blocks.
-- @tparam string path
-- @treturn {string,...}
-- @treturn {block,...} {lang, file, line, text, first, last}
function M.read(path)
  local lines = lines_of(fs.read(M.TOP .. "/" .. path))
  local blocks, block = {}, nil
  for number, line in ipairs(lines) do
    local lang, file = line:match "^```(%a+)%s*(%S*)$"
    if block and line == "```" then
      block.last = number - 1
      block.text = table.concat(lines, "\n", block.first, block.last) .. "\n"
      blocks[#blocks + 1], block = block, nil
    elseif not block and lang then
      block = { lang = lang, file = file ~= "" and file or nil, line = number, first = number + 1 }
    elseif not block and line == "```" then
      block = { lang = "text", line = number, first = number + 1 }
    end
  end
  return lines, blocks
end

local function is_typed_at(command)
  return command:find "^moonport repl" or command:find "^moonport console"
end

--- The commands of a `console` block with what they print.
-- @tparam block block
-- @treturn {command,...} {text, line, typed, expected}
function M.commands(block)
  local list, command = {}, nil
  for index, line in ipairs(lines_of(block.text)) do
    local text = line:match "^%$ (.*)$"
    local typed = command and is_typed_at(command.text) and line:match "^> (.*)$"
    if text and not (command and command.open) then
      command = { text = text, line = block.first + index - 1, expected = {}, typed = {} }
      list[#list + 1] = command
      command.open = text:find "\\$" ~= nil
    elseif command and command.open then
      command.text = command.text .. "\n" .. line
      command.open = line:find "\\$" ~= nil
    elseif typed then
      command.typed[#command.typed + 1] = typed
      command.expected[#command.expected + 1] = line
    elseif command then
      command.expected[#command.expected + 1] = line
    end
  end
  return list
end

local function normal(line)
  line = line:gsub("%f[%x]%x+%f[^%x]", function(word)
    return #word >= 8 and word:find "%d" and "ID" or nil
  end)
  line = line:gsub("%d+%.?%d*", "0"):gsub("0 [mu]?s%f[%A]", "0 s"):gsub("0 ?[KMG]iB", "0 B")
  line = line:gsub("just now", "0 s ago"):gsub("0 seconds? ago", "0 s ago")
  return (line:gsub("%s+", " "):gsub(" $", ""))
end

-- True when the lines are as expected; `...` stands for any of them.
local function matches(expected, actual, i, j)
  i, j = i or 1, j or 1
  while expected[i] do
    if expected[i] == "..." then
      for rest = j, #actual + 1 do
        if matches(expected, actual, i + 1, rest) then return true end
      end
      return false
    end
    if not actual[j] or normal(expected[i]) ~= normal(actual[j]) then return false end
    i, j = i + 1, j + 1
  end
  return not actual[j]
end

local function replace(text, from, to)
  return (text:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%"))))
end

local Session = {}
Session.__index = Session

--- Makes a session, in which the documents' commands are run.
-- @tparam table fields `dir`: where commands are run; `env`: their environment besides the test's;
-- `names`: list of {as the documents have it, as it is here}; `timeout`: seconds for a command (60)
-- @treturn session
function M.session(fields)
  fields.env.PATH = fs.dirname(os.getenv "MOONPORT") .. ":" .. (fields.env.PATH or os.getenv "PATH")
  return setmetatable(fields, Session)
end

local function to_here(self, text)
  for _, pair in ipairs(self.names) do text = replace(text, pair[1], pair[2]) end
  return text
end

local function to_document(self, text)
  for _, pair in ipairs(self.names) do text = replace(text, pair[2], pair[1]) end
  return text
end

--- Writes the file that a block holds.
-- @tparam block block
function Session:write(block)
  local path = to_here(self, block.file)
  fs.mkdirs(fs.dirname(path))
  fs.write(path, to_here(self, block.text), { mode = "0644" })
end

-- Reads a screen until a line is as expected.
-- @treturn boolean false when it never was; `shown` has got what there was instead
local function await_line(program, expected, shown)
  local found = try(task.timeout, 30, function()
    for line in program:lines() do
      line = line:gsub("[%c]", "")
      shown[#shown + 1] = line
      if normal(line) == normal(expected) then return true end
    end
  end)
  return found == true
end

-- `^]` in the documents is the key.
local function keys_of(text)
  return (text:gsub("%^(.)$", function(key) return string.char(key:byte() & 31) end))
end

-- Types at a console what the document says, and waits for what it says to be seen.
local function attach(self, command)
  local program <close> = process.spawn {
    "bash", "-c", "exec " .. to_here(self, command.text), cwd = self.dir, env = self.env,
    pty = { rows = 24, columns = 200 },
  }
  local actual = {}
  for _, line in ipairs(command.expected) do
    local typed, shown = line:match "^> (.*)$", {}
    if typed then
      local keys = keys_of(typed)
      program:write(keys == typed and keys .. "\r" or keys)
    elseif not await_line(program, line, shown) then
      return table.move(shown, 1, #shown, #actual + 1, actual)
    end
    actual[#actual + 1] = line
  end
  return actual
end

local MARK = "\1"

-- A prompt's session, with what was typed put where it was.
local function with_typed(typed, output)
  local lines, index = {}, 0
  for _, line in ipairs(lines_of(output)) do
    if line == MARK then
      index = index + 1
      lines[#lines + 1] = typed[index] and "> " .. typed[index] or nil
    elseif line ~= "" then
      lines[#lines + 1] = line
    end
  end
  return lines
end

--- Runs a command.
-- @tparam command command
-- @treturn {string,...} what it printed, as the documents have it
function Session:run(command)
  if command.text:find "^moonport console" then return attach(self, command) end
  local typed = {}
  for _, line in ipairs(command.typed) do
    typed[#typed + 1] = ("print %q\n%s\n"):format(MARK, to_here(self, line))
  end
  local result = process.run {
    "bash", "-c", "exec 2>&1\n" .. to_here(self, command.text),
    cwd = self.dir, check = false, timeout = self.timeout or 60,
    input = #typed > 0 and table.concat(typed) or nil, env = self.env,
  }
  local output = to_document(self, result.stdout)
  if #typed > 0 then return with_typed(command.typed, output) end
  return output == "" and {} or lines_of(output)
end

-- A table's columns, made as wide as the documents' own names want them.
local function aligned(lines)
  local rows, widths = {}, {}
  for index, line in ipairs(lines) do
    rows[index] = {}
    for cell in (line .. "  "):gmatch "(.-)  +" do
      local row = rows[index]
      row[#row + 1] = cell
      widths[#row] = math.max(widths[#row] or 0, #cell)
    end
  end
  for index, row in ipairs(rows) do
    for at = 1, #row - 1 do row[at] = row[at] .. (" "):rep(widths[at] - #row[at]) end
    lines[index] = table.concat(row, "  ")
  end
end

local function has_own_names(self, lines)
  local text = table.concat(lines, "\n")
  return to_here(self, text) ~= text
end

local function update(path, lines, changes)
  for index = #changes, 1, -1 do
    local at, expected, actual = table.unpack(changes[index])
    for _ = 1, #expected do table.remove(lines, at) end
    for offset, line in ipairs(actual) do table.insert(lines, at + offset - 1, line) end
  end
  fs.write(M.TOP .. "/" .. path, table.concat(lines, "\n") .. "\n")
end

--- Writes a document's files and runs its commands, in their order.
-- @tparam string path
-- @treturn {string,...} what is not as the document has it
function Session:replay(path)
  local lines, blocks = M.read(path)
  local wrong, changes = {}, {}
  for _, block in ipairs(blocks) do
    if block.file then self:write(block) end
    for _, command in ipairs(block.lang == "console" and M.commands(block) or {}) do
      local actual = self:run(command)
      if not matches(command.expected, actual) then
        wrong[#wrong + 1] = ("%s:%d: `%s` prints\n%s"):format(path, command.line, command.text,
          table.concat(actual, "\n"))
        if (actual[1] or ""):find "^%u+  " and has_own_names(self, actual) then aligned(actual) end
        local _, continued = command.text:gsub("\n", "")
        changes[#changes + 1] = { command.line + 1 + continued, command.expected, actual }
      end
    end
  end
  if os.getenv "MP_DOCS_UPDATE" then
    update(path, lines, changes)
    return {}
  end
  return wrong
end

return M
