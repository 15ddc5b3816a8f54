--- What `moonport run` does as a program among others: descriptors, signals, exit codes.
local process = require "moonport.process"

local MOONPORT = assert(os.getenv("MOONPORT"), "MOONPORT names the binary")

--- Runs a shell line in which $0 is moonport and $1 the script's text.
local function shell(line, code)
  return process.run { "bash", "-c", line, MOONPORT, code or "", check = false }
end

local function run(code)
  return shell([[exec "$0" run -e "$1"]], code)
end

describe("the program", function()
  it("shows any error value, also one that cannot be shown", function()
    for _, code in ipairs {
      [[error(setmetatable({}, { __tostring = function() error("x") end }))]],
      [[error(setmetatable({}, { __tostring = function() return 1 end }))]],
      [[error(secret.env("HOME"))]],
      [[error(nil)]],
      [[local e = require("moonport.errors").new { kind = "a", code = "b", message = "m" }
        e.cause = secret.env("HOME")
        error(e)]],
    } do
      local result = run(code)
      assert.equal(1, result.code, code .. "\n" .. result.stderr)
      assert.truthy(result.stderr:find("^moonport: "), result.stderr)
    end
  end)

  it("shows an error that is its own cause, to a certain depth", function()
    local result = run [[
      local e = require("moonport.errors").new { kind = "a", code = "b", message = "round" }
      e.cause = e
      error(e)]]
    assert.equal(1, result.code)
    assert.truthy(result.stderr:find("because: (and so on)", 1, true), result.stderr)
  end)

  it("opens nothing in the place of a closed standard descriptor", function()
    local result = shell([["$0" run -e "$1" <&- >&- 2>&-]], [[
      for fd = 0, 2 do
        local link = ("/proc/%d/fd/%d"):format(mp.sys.pid(), fd)
        if mp.process.run({ "readlink", link }).stdout ~= "/dev/null\n" then os.exit(9) end
      end
      print("to nobody")]])
    assert.equal(0, result.code)
  end)

  it("ends a script whose reader has gone, closing what it holds", function()
    for _, writing in ipairs { "print(1)", "io.write('1\\n')", "io.stdout:write('1\\n')" } do
      local result = shell([["$0" run -e "$1" | head -1; echo "${PIPESTATUS[0]}"]], [[
        local held <close> = setmetatable({}, {
          __close = function() io.stderr:write("closed\n") end })
        while true do ]] .. writing .. " end")
      assert.equal("1\n141\n", result.stdout)
      assert.equal("closed\n", result.stderr)
    end
  end)

  it("ends a command whose reader has gone without a word", function()
    local result = shell([[exec 3> >(:); wait $!; "$0" --help >&3; echo $?]])
    assert.equal("141\n", result.stdout)
    assert.equal("", result.stderr)
  end)

  it("fails when what it printed is lost", function()
    local result = shell([["$0" run -e "$1" > /dev/full]], [[io.write("lost")]])
    assert.equal(1, result.code)
    assert.truthy(result.stderr:find("could not write to standard output", 1, true))
  end)

  it("exits 128 and the signal's number, whatever handlers made of the cancel", function()
    for name, code in pairs { INT = 130, TERM = 143, HUP = 129 } do
      local line = [[exec timeout --preserve-status -s %s 0.5 "$0" run -e "$1"]]
      local result = shell(line:format(name),
        [[xpcall(task.sleep, function() return "made of it" end, 60) task.sleep(60)]])
      assert.equal(code, result.code, name .. result.stderr)
    end
  end)

  it("leaves a signal ignored that it was started with ignored", function()
    local result = shell([[trap '' HUP; exec "$0" run -e "$1"]],
      [[mp.process.run { "kill", "-HUP", tostring(mp.sys.pid()) } print("goes on")]])
    assert.equal("goes on\n", result.stdout)
    assert.equal(0, result.code)
  end)

  it("can be interrupted while it reads its script", function()
    local result = shell([[sleep 60 | (timeout --preserve-status -s INT 0.5 "$0" run -
                             echo $? ; kill $(jobs -p) 2> /dev/null; pkill -P $$ sleep)]])
    assert.equal("130\n", result.stdout)
  end)

  it("exits by os.exit from a finalizer and from a coroutine", function()
    assert.equal(3, run([[setmetatable({}, { __gc = function() os.exit(3) end })
      collectgarbage() task.sleep(0) print("not reached")]]).code)
    assert.equal(4, run([[coroutine.wrap(function() pcall(os.exit, 4) end)() print("no")]]).code)
  end)

  it("takes a script that returns more than fits", function()
    assert.equal(0, run([[return table.unpack({}, 1, 900000)]]).code)
  end)

  it("refuses precompiled scripts", function()
    local result = shell([[f=$(mktemp); "$0" run -e 'io.write(string.dump(function() end))' > $f
                           "$0" run $f; code=$?; rm $f; exit $code]])
    assert.equal(1, result.code)
    assert.truthy(result.stderr:find("binary chunk", 1, true), result.stderr)
  end)

  it("has commands find no module in the working directory, and scripts do", function()
    local result = shell([[d=$(mktemp -d); cd $d; echo 'io.stderr:write("planted\n")' > cjson.lua
      cp cjson.lua lfs.lua; cp cjson.lua argparse.lua
      "$0" run -e 'require "lfs"'; echo -- >&2; "$0" --state $d/state ps; rm -r $d]])
    assert.equal("planted\n--\n", result.stderr)
  end)

  it("raises its own limit on open files, and gives children the one it got", function()
    local result = shell([[ulimit -Sn 64; exec "$0" run -e "$1"]], [[
      print(mp.process.run({ "bash", "-c", "ulimit -Sn" }).stdout)
      local numbers = {}
      for i = 1, 1000 do numbers[i] = i end
      local outputs = task.map(numbers, 1000, function(number)
        return mp.process.run({ "echo", tostring(number) }).stdout
      end)
      for i = 1, 1000 do assert(outputs[i] == i .. "\n") end
      print(#outputs)]])
    assert.equal("64\n\n1000\n", result.stdout, result.stderr)
  end)
end)
