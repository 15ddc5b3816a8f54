--- The cloud images that are known by name: where their publishers have them, as data.
--
--     debian:12   ubuntu:24.04   debian:bookworm   ubuntu:noble
--
-- `-` in place of `:` is fine. The architecture is the host's, unless another is asked for.
-- @module moonport.image.catalog

local errors = require "moonport.errors"
local nearest = require "moonport.nearest"
local sys = require "moonport.sys"

local M = {
  --- The image that is meant where none is named.
  DEFAULT = "debian:12",
}

-- In URLs `{release}`, `{codename}` and `{arch}` stand for what they name; `list` is the publishers
-- list of checksums, and `unpacked` the kernel and initramfs beside the image, where there are any.
local PUBLISHERS = {
  debian = {
    releases = { { "11", "bullseye" }, { "12", "bookworm" }, { "13", "trixie" } },
    arch = { x86_64 = "amd64", aarch64 = "arm64" },
    dir = "https://cloud.debian.org/images/cloud/{codename}/latest/",
    file = "debian-{release}-genericcloud-{arch}.qcow2",
    list = "SHA512SUMS", algorithm = "sha512",
  },
  ubuntu = {
    releases = { { "22.04", "jammy" }, { "24.04", "noble" } },
    arch = { x86_64 = "amd64", aarch64 = "arm64" },
    dir = "https://cloud-images.ubuntu.com/releases/{release}/release/",
    file = "ubuntu-{release}-server-cloudimg-{arch}.img",
    list = "SHA256SUMS", algorithm = "sha256",
    unpacked = {
      dir = "unpacked/", list = "SHA256SUMS", algorithm = "sha256",
      kernel = "ubuntu-{release}-server-cloudimg-{arch}-vmlinuz-generic",
      initrd = "ubuntu-{release}-server-cloudimg-{arch}-initrd-generic",
    },
  },
}

--- The host's architecture.
-- @treturn string such as "x86_64" or "aarch64"
function M.host_arch()
  return sys.uname().machine
end

--- The names of all images that are known.
-- @treturn {{name,codename,url,arch},...} sorted; for the host's architecture where it is published
function M.list()
  local rows, arch = {}, M.host_arch()
  for publisher, about in pairs(PUBLISHERS) do
    for _, release in ipairs(about.releases) do
      local name = publisher .. ":" .. release[1]
      local found = about.arch[arch] and M.find(name, arch)
      rows[#rows + 1] = {
        name = name, codename = release[2], arch = arch, url = found and found.url or nil,
      }
    end
  end
  table.sort(rows, function(a, b) return a.name < b.name end)
  return rows
end

local function names()
  local list = {}
  for index, row in ipairs(M.list()) do list[index] = row.name end
  return list
end

local function no_such(name)
  local known = names()
  local near = nearest.find(name, known)
  errors.raise {
    kind = "image", code = "not_found", message = ("no image is known as `%s`"):format(name),
    hint = near and ("did you mean `%s`?"):format(near)
      or ("there are %s; or give a URL or a path"):format(table.concat(known, ", ")),
  }
end

local function release_of(about, wanted)
  for _, release in ipairs(about.releases) do
    if release[1] == wanted or release[2] == wanted then return release end
  end
end

local function fill(text, values)
  return (text:gsub("{(%l+)}", values))
end

local function unpacked_of(about, dir, values)
  local beside = about.unpacked
  if not beside then return nil end
  local base = dir .. beside.dir
  local kernel, initrd = fill(beside.kernel, values), fill(beside.initrd, values)
  return {
    list = base .. beside.list, algorithm = beside.algorithm,
    kernel = { url = base .. kernel, file = kernel },
    initrd = { url = base .. initrd, file = initrd },
  }
end

--- Finds where an image is published.
-- @tparam string name
-- @tparam[opt] string arch
-- @treturn table {name, arch, url, file, list, algorithm, unpacked}
-- @raise {kind="image", code="not_found"} with what is near
function M.find(name, arch)
  arch = arch or M.host_arch()
  local publisher, wanted = name:match "^(%l+)[:-](.+)$"
  local about = PUBLISHERS[publisher]
  local release = about and release_of(about, wanted) or no_such(name)
  if not about.arch[arch] then
    errors.raise {
      kind = "image", code = "not_found",
      message = ("`%s` is not published for %s"):format(name, arch),
    }
  end
  local values = { release = release[1], codename = release[2], arch = about.arch[arch] }
  local dir, file = fill(about.dir, values), fill(about.file, values)
  return {
    name = publisher .. ":" .. release[1], arch = arch, url = dir .. file, file = file,
    list = dir .. about.list, algorithm = about.algorithm,
    unpacked = unpacked_of(about, dir, values),
  }
end

return M
