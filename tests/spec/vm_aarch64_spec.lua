--- Machines of the other architecture: an aarch64 guest on QEMU's `virt`, with Debian's own kernel,
-- under TCG. What every driver keeps holds for it, too.
local contract = assert(
  loadfile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/vm_contract.lua", "t", _ENV))()
local errors = require "moonport.errors"
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/vm_helper.lua")
local process = require "moonport.process"

if not process.which "qemu-system-aarch64" then
  print "skipped: no qemu-system-aarch64 (apt-get install qemu-system-arm)"
  return
end

local FIXTURE = os.getenv "MP_SOURCE_DIR" .. "/tests/fixtures/aarch64/aarch64"
local guest = process.run({ FIXTURE }).stdout:gsub("\n$", "")

local function start(bench, with)
  with = with or {}
  with.arch, with.memory = "aarch64", 256 << 20
  with.kernel, with.initramfs = guest .. "/vmlinuz", guest .. "/initramfs"
  with.cmdline = "console=ttyAMA0 quiet panic=-1"
  return bench:start(with)
end

contract("qemu virt", { start = start, wait_up = helper.wait_up, bench = helper.bench })

describe("an aarch64 guest", function()
  local bench

  before_each(function() bench = helper.bench() end)
  after_each(function() bench:close() end)

  it("finds its disks by their names, its processors, and the ports of its channel", function()
    local machine <close> = start(bench, {
      cpus = 2, channel = { "agent.0", "agent.1" },
      disks = {
        { id = "root", path = bench:disk "root" },
        { id = "service", path = bench:disk "service", readonly = true },
      },
    })
    helper.wait_log(machine, "microvm: up on aarch64")
    for _, line in ipairs {
      "disk root 16384 ro=0", "disk service 16384 ro=1", "port moonport.agent.0",
      "port moonport.agent.1", "port moonport.output", "processors 2",
    } do
      helper.wait_log(machine, "stderr F " .. line:gsub("%p", "%%%0"))
    end
    helper.wait_log(machine, "stdout F the service's words")
  end)

  it("gets a disk while it runs, and lets go of it", function()
    local machine <close> = start(bench)
    helper.wait_up(machine)
    machine:add_disk { id = "extra", path = bench:disk "extra" }
    helper.console(machine, "until cat /sys/block/*/serial 2>/dev/null | grep -q extra; do :; done")
    machine:remove "extra"
    assert.equal(0, #machine.inner:run "query-named-block-nodes")
  end)

  it("lacks what `virt` cannot, and is told who can", function()
    local machine <close> = start(bench, { paused = true })
    local _, why = try(machine.resize, machine, { cpus = 2 })
    assert.is_true(errors.is(why, "vm", "unsupported"), tostring(why))
    assert.equal("use cloud-hypervisor, which can", why.hint)
  end)
end)
