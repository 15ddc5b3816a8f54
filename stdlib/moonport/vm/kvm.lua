--- Whether KVM runs a guest: learnt by booting the very kernel to its first console line.
--
-- A host that is itself virtual may open `/dev/kvm`, run the smallest of guests, and hang on a
-- whole kernel; nothing short of trying tells. The answer is kept for as long as this boot of the
-- host lasts.
-- @module moonport.vm.kvm

local crypto = require "moonport.crypto"
local errors = require "moonport.errors"
local fs = require "moonport.fs"
local json = require "moonport.json"
local process = require "moonport.process"
local sys = require "moonport.sys"
local task = require "moonport.task"

local M = {
  --- Seconds in which a kernel that runs has printed its first line many times over.
  TIMEOUT = 10,
}

local VERSION = 1

local function environment(name)
  local value = not sys.secure and os.getenv(name) or nil
  return value ~= "" and value or nil
end

-- $MOONPORT_CACHE, /var/cache/moonport for root, else below the home directory; nil without one.
local function cache_dir()
  local base = environment "MOONPORT_CACHE"
  if not base and sys.euid() == 0 then base = "/var/cache/moonport" end
  local home = environment "HOME"
  local cache = environment "XDG_CACHE_HOME" or home and home .. "/.cache"
  base = base or cache and cache .. "/moonport"
  return base and fs.join(base, "kvm")
end

local function cache_path(probe)
  local dir = probe.cache or cache_dir()
  local key = probe.program .. "\0" .. probe.machine .. "\0"
    .. crypto.hash_file("sha256", probe.kernel)
  return dir and fs.join(dir, crypto.hash("sha256", key):sub(1, 32) .. ".json")
end

local function load(path)
  local info = fs.stat(path)
  if info.uid ~= sys.euid() or info.size > 65536 then return nil end
  return json.decode(fs.read(path))
end

local function read_cache(path)
  local kept = path and try(load, path)
  if type(kept) ~= "table" or kept.version ~= VERSION or kept.boot_id ~= sys.boot_id() then
    return nil
  end
  return { works = kept.works == true, reason = tostring(kept.reason), seconds = kept.seconds }
end

-- Not being able to keep it costs time, and nothing else.
local function write_cache(path, result)
  if not path then return end
  try(function()
    fs.mkdirs(fs.dirname(path), "0700")
    fs.write(path, json.encode {
      version = VERSION, boot_id = sys.boot_id(), works = result.works, reason = result.reason,
      seconds = result.seconds,
    }, { mode = "0600", sync = false })
  end)
end

-- A guest that ends with moonport, has nothing but a console, and no disk or network to touch.
local COMMANDS = {
  qemu = function(probe)
    return {
      probe.program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
      "-machine", probe.machine, "-accel", "kvm", "-cpu", "host", "-m", "256",
      "-kernel", probe.kernel, "-append", M.cmdline(sys.uname().machine), "-serial", "stdio",
    }
  end,
  ["cloud-hypervisor"] = function(probe)
    return {
      probe.program, "--cpus", "boot=1", "--memory", "size=256M", "--kernel", probe.kernel,
      "--cmdline", M.cmdline(sys.uname().machine), "--serial", "tty", "--console", "off",
    }
  end,
}

--- The kernel's command line of the trial: the console speaks as early as it can, and the kernel,
-- which finds nothing to run, ends at once.
-- @tparam string arch the host's
-- @treturn string
function M.cmdline(arch)
  if arch == "aarch64" then return "earlycon console=ttyAMA0 panic=-1" end
  return "earlyprintk=serial,ttyS0 console=ttyS0 panic=-1"
end

-- True at the kernel's own words: a boot loader in front of it, or firmware, has others. Else the
-- monitor's last ones.
local function first_line(vmm)
  local last
  for line in vmm:lines() do
    if line:find "%[ *%d+%.%d+%]" or line:find "Linux version" then return true end
    last = line:find "%S" and line or last
  end
  return false, last
end

local function try_boot(probe)
  local options = COMMANDS[probe.driver](probe)
  options.stdin, options.stderr, options.grace = "null", "stdout", 0.5
  local vmm <close> = process.spawn(options)
  return first_line(vmm)
end

local function trial(probe)
  local began = sys.monotonic()
  local said
  local ok, why = try(task.timeout, probe.timeout or M.TIMEOUT, function()
    local works, last = try_boot(probe)
    said = last
    return works
  end)
  local seconds = sys.monotonic() - began
  if ok then
    return {
      works = true, seconds = seconds,
      reason = ("the kernel's first line came after %.1f s under KVM"):format(seconds),
    }
  end
  local reason = ("its monitor ended before the kernel's first line%s"):format(
    said and (": " .. said:sub(1, 200)) or "")
  if errors.is(why, "task", "timeout") then
    reason = ("the kernel printed nothing under KVM within %g s"):format(probe.timeout or M.TIMEOUT)
  elseif why then
    error(why, 0)
  end
  return { works = false, reason = reason, seconds = seconds }
end

--- Tells whether KVM runs a kernel, by what is known already or by trying.
-- @tparam table probe `driver`, `program`, `machine`, `kernel`; `timeout` (seconds), `cache` (a
--   directory in place of moonport's own)
-- @treturn table `works` (nil: not known yet, since nothing may be started now), `reason`, `cached`
function M.probe(probe)
  local _, missing = try(sys.check_kvm)
  if missing then return { works = false, reason = missing.message } end
  local path = cache_path(probe)
  local known = read_cache(path)
  if known then
    known.cached = true
    return known
  end
  local result, why = try(trial, probe)
  if errors.is(why, "gate") then
    return { reason = "whether KVM runs this kernel was not tried yet" }
  elseif why then
    error(why, 0)
  end
  write_cache(path, result)
  return result
end


return M
