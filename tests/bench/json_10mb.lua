--- Measures decoding and encoding of a 10 MB document against lua-cjson, in turns, best of several.
-- Prints `json-decode moonport S cjson S ratio R` and the same for `json-encode`.

local json = require "moonport.json"
local cjson = require "cjson"

local ITEM = [[{"metadata":{"name":"pod-%d","namespace":"default",]]
  .. [["uid":"%08x-4a1c-4d2e-8b1f-%012x","resourceVersion":"%d",]]
  .. [["labels":{"app":"blueprint","service":"svc-%d","tier":"back\u00e9nd"},]]
  .. [["annotations":{"note":"one\ntwo \"quoted\"\tand \\","empty":""}},]]
  .. [["spec":{"containers":[{"name":"main","image":"registry.example/app:%d",]]
  .. [["args":["run","--test-mode","-vv"],"env":[]]
  .. [[{"name":"HTTP_RPC_URL","value":"http://127.0.0.1:8545"},]]
  .. [[{"name":"OWNER","value":"Zoë Müller"}],]]
  .. [["resources":{"limits":{"cpu":%d,"memory":%d},"requests":{}},"ports":[%d,%d]}],]]
  .. [["restartPolicy":"Always","hostNetwork":false,"priority":null},"status":{]]
  .. [["phase":"Running","ready":true,"load":[%.2f,%.3f,%.6f],"restarts":%d,"started":%d,]]
  .. [["conditions":[]}}]]

local function document(size)
  math.randomseed(42)
  local parts, total = { '{"kind":"List","items":[' }, 0
  for i = 1, math.huge do
    local item = ITEM:format(i, i * 7919, i, i * 104729, i * 31, i, i % 8 + 1, 536870912 + i,
      1024 + i % 60000, 2048 + i % 60000, math.random() * 10, math.random() * 100,
      math.random() * 10000, i % 5, 1700000000000 + i)
    parts[#parts + 1] = i > 1 and "," or ""
    parts[#parts + 1] = item
    total = total + #item + 1
    if total >= size then break end
  end
  parts[#parts + 1] = "]}"
  return table.concat(parts)
end

local function seconds(fn, value)
  collectgarbage()
  collectgarbage()
  local start = os.clock()
  fn(value)
  return os.clock() - start
end

local function compare(name, ours, our_value, theirs, their_value)
  local best, best_theirs = math.huge, math.huge
  for _ = 1, 9 do
    best = math.min(best, seconds(ours, our_value))
    best_theirs = math.min(best_theirs, seconds(theirs, their_value))
  end
  print(string.format("%s moonport %.4f cjson %.4f ratio %.2f", name, best, best_theirs,
    best / best_theirs))
  return best / best_theirs
end

local text = document(10 * 1024 * 1024)
local decode = compare("json-decode", json.decode, text, cjson.decode, text)
local encode = compare("json-encode", json.encode, json.decode(text), cjson.encode,
  cjson.decode(text))
assert(decode <= 1.1 and encode <= 1.1, "slower than cjson by more than a tenth")
