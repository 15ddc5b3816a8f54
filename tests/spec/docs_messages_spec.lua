-- The messages that the documents explain are ones that moonport says: who looks for one by its
-- words finds it, and a message that was written anew is missed here.
local document = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/document.lua")
local fs = require "moonport.fs"

local TOP = document.TOP

-- What others say: the kernel, Kubernetes and its parts; and what is put together of words.
local OTHERS = {
  "there is no context",
  "No space left", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "CrashLoopBackOff",
  "RunContainerError", "no such file or directory", "FailedMount", "FailedCreatePodSandBox",
  "no runtime for", "FailedCreate", "PodSecurity", "exceeded quota", "forbidden", "Unauthorized",
  "Unschedulable: 0/3 nodes are available", "Startup probe failed",
  "Evicted: The node was low on resource", "http: connection refused",
}

-- All that the sources say, with the strings that were broken over lines made whole.
local function literals()
  local texts = {}
  local function add(path, joint)
    local text = fs.read(path):gsub('\\"', "\1"):gsub('"%s*' .. joint .. '%s*"', "")
    for literal in text:gmatch '"([^"\n]*)"' do
      texts[#texts + 1] = literal:gsub("\1", '"'):gsub("%%%%", "%%")
    end
  end
  for _, floor in ipairs { "stdlib", "recipes" } do
    for entry in fs.walk(TOP .. "/" .. floor) do
      if entry.path:find "%.lua$" then add(entry.path, "%.%.") end
    end
  end
  for _, floor in ipairs { "core", "lua" } do
    for entry in fs.walk(TOP .. "/" .. floor) do
      if entry.path:find "%.c$" then add(entry.path, "") end
    end
  end
  return table.concat(texts, "\n")
end

-- The first cells of tables about messages: {text, line}.
local function quoted(path)
  local found, inside = {}, false
  for number, line in ipairs((document.read(path))) do
    local cell = line:match "^| (.-) |"
    if cell and not cell:find "^%-%-%-" then
      if cell == "Message" or cell == "What it says" then
        inside = true
      elseif inside then
        for ticks, rest in cell:gmatch "(`+)()" do
          local ending = #ticks == 2 and "^ ?(.-) ?``" or "^([^`]+)`"
          local code = cell:match(ending, rest)
          if code then found[#found + 1] = { text = code, line = number } end
        end
      end
    elseif not cell then
      inside = false
    end
  end
  return found
end

local function is_of_others(fragment)
  for _, other in ipairs(OTHERS) do
    if fragment:find(other, 1, true) then return true end
  end
  return false
end

-- `...` and words in capitals stand for what differs.
local function fragments(text)
  local list = {}
  text = text:gsub("%f[%w]%u%u+%f[%W]", "..."):gsub("`%.%.%.`", "...")
  for fragment in (text .. "..."):gmatch "(.-)%.%.%." do
    fragment = fragment:match "^[%s`:;,]*(.-)[%s`:;,]*$"
    if fragment:find "%a%a" then list[#list + 1] = fragment end
  end
  return list
end

describe("a message that the documents explain", function()
  local said = literals()

  for _, path in ipairs { "docs/hypervisor.md", "docs/container.md", "docs/images.md" } do
    it("is one of moonport's: " .. path, function()
      local wrong, count = {}, 0
      for _, quote in ipairs(quoted(path)) do
        for _, fragment in ipairs(fragments(quote.text)) do
          count = count + 1
          if not said:find(fragment, 1, true) and not is_of_others(fragment) then
            wrong[#wrong + 1] = ("%s:%d: nothing says `%s`"):format(path, quote.line, fragment)
          end
        end
      end
      assert.is_true(count > 5)
      assert.equal("", table.concat(wrong, "\n"))
    end)
  end
end)
