--- What every driver keeps, of QEMU's machine types with a real guest under TCG.
local contract = assert(
  loadfile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/vm_contract.lua", "t", _ENV))()
local helper = dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/vm_helper.lua")

local function starter(machine)
  return function(bench, with)
    with = with or {}
    with.machine = machine
    return bench:start(with)
  end
end

for _, machine in ipairs { "q35", "microvm" } do
  contract("qemu " .. machine, {
    start = starter(machine), wait_up = helper.wait_up, bench = helper.bench,
  })
end
