--- Files, directories, paths and locks.
--
-- What touches the disk runs beside the loop while the task waits; where Lua cannot wait (in
-- `table.sort`, in a `__gc`) it runs at once. Errors have the kind "fs" and an errno name as their
-- code ("ENOENT"). A mode is written as octal text, "0644", or given as a number. What changes
-- anything is refused while the effect gate is shut.
--
--     local fs = require "moonport.fs"
--     fs.write("/etc/site.conf", text, { mode = "0600" })
--     for entry in fs.walk "recipes" do print(entry.type, entry.path) end
-- @module moonport.fs

local core = require "moonport.core.fs"

local M = {}
for name, fn in pairs(core) do M[name] = fn end

--- Reads a whole file.
-- @function read
-- @tparam string path
-- @tparam[opt] table options `limit`: the most bytes (256 MiB), above which it raises "limit"
-- @treturn string

--- Reads a part of a file.
-- @function read_at
-- @tparam string path
-- @tparam integer offset where it begins
-- @tparam integer length bytes; there are fewer at the file's end
-- @treturn string

--- Writes a whole file in one step: others see the old content or the new, also after a power cut.
-- A symbolic link at `path` is replaced, not followed.
-- @function write
-- @tparam string path
-- @tparam string|secret body
-- @tparam[opt] table options `mode` (default: that of the file replaced, else by the umask);
--   `exclusive=true`: raise "EEXIST" where something is there; `sync=false`: do not wait for the
--   disk
-- @raise "ENOENT", "EACCES", "ENOSPC", ...

--- Appends to a file, which is made where it is missing.
-- @function append
-- @tparam string path
-- @tparam string|secret body
-- @tparam[opt] table options `mode` of a new file

--- Makes a sparse file, or grows one by a hole at its end. One that is larger is left as it is.
-- @function sparse
-- @tparam string path
-- @tparam integer size bytes
-- @tparam[opt] table options `mode` of a new file ("0600"); `sync=false`: do not wait for the disk
-- @treturn integer its size until now, 0 for a new file
-- @raise "larger" where it is larger already, "ELOOP" for a symbolic link

--- Waits until what other programs wrote to a file, and its name, are on the disk.
-- @function sync
-- @tparam string path
-- @tparam[opt] table options `name=false`: its content alone

--- Makes a directory and those above it. Fine if it is there.
-- @function mkdirs
-- @tparam string path
-- @tparam[opt="0755"] string|integer mode of those it makes

--- Removes a file, symbolic link or empty directory.
-- @function remove
-- @tparam string path
-- @tparam[opt] table options `if_exists=true`: nothing there is fine

--- Removes whatever stands at a path, with all below it. Nothing there is fine. Follows no symbolic
-- link and enters no other mount.
-- @function remove_tree
-- @tparam string path
-- @tparam[opt] table options `cross_mounts=true`: enter them
-- @raise "EXDEV" at a mount, "invalid" for `/`

--- Renames, replacing what was at `to`. Does not cross file systems.
-- @function rename
-- @tparam string from
-- @tparam string to
-- @tparam[opt] table options `exclusive=true`: raise "EEXIST" where something is at `to`

--- Copies a file, in one step as `write` does: by reflink where the file system can, else its data
-- only, leaving holes as holes.
-- @function copy
-- @tparam string from
-- @tparam string to
-- @tparam[opt] table options `mode` (default: the source's), `exclusive`, `sync` as for `write`;
--   `reflink_only=true`: raise "EOPNOTSUPP" or "EXDEV" rather than copy; `size`: bytes that the
--   copy has at least, by a hole at its end
-- @treturn table `method`: "reflink" or "copy"; `bytes`: how many were copied

--- Lists a directory, sorted by name.
-- @function list
-- @tparam string path
-- @treturn table of `{ name, type }`; types are "file", "directory", "link", "fifo", "socket",
--   "character", "block"

--- Describes a file.
-- @function stat
-- @tparam string path
-- @tparam[opt] table options `follow=false`: a symbolic link itself
-- @treturn table type, mode, uid, gid, size, blocks, ino, dev, nlink, mtime, ctime, atime
-- @raise "ENOENT" where there is none

--- Tells whether something is there (through symbolic links).
-- @function exists
-- @tparam string path
-- @treturn boolean
-- @raise "EACCES" where it cannot be known

--- Sets the permissions.
-- @function chmod
-- @tparam string path
-- @tparam string|integer mode

--- Sets the owner.
-- @function chown
-- @tparam string path
-- @tparam[opt] string|integer user a name or an id; nil leaves it
-- @tparam[opt] string|integer group
-- @tparam[opt] table options `follow=false`: a symbolic link itself

--- Makes a symbolic link.
-- @function symlink
-- @tparam string target
-- @tparam string path
-- @tparam[opt] table options `replace=true`: in the place of another symbolic link

--- Reads a symbolic link.
-- @function readlink
-- @tparam string path
-- @treturn string

--- The path with all symbolic links resolved.
-- @function realpath
-- @tparam string path
-- @treturn string

--- Raises "untrusted" where anyone but root and the present user could change a file or put another
-- in its place: by the owner or mode of itself, of a directory above, or of a link on the way.
-- @function check_trusted
-- @tparam string path

--- Takes a lock between processes. It ends with its holder, however that ends. The file stays.
--
--     local lock <close> = fs.lock(dir .. "/lock", { wait = 30 })
-- @function lock
-- @tparam string path of the lock's file, made where it is missing
-- @tparam[opt] table options `wait`: seconds to wait for others (default: none; `true`: for ever);
--   `shared=true`: together with other shared holders
-- @treturn lock with `:release()`; ends with its `<close>` variable too
-- @raise "held", with the holder's process id where it can be known

--- Watches a directory (or a file, as the inode that it is) for changes.
--
--     local watch <close> = fs.watch(dir)
--     for change in watch do print(change.kind, change.name) end
-- A change's `kind` is "rename" where a name came or went, "change" for content and attributes,
-- "lost" where too many came to keep.
-- @function watch
-- @tparam string path
-- @treturn watch with `:next()`, which waits for a change and gives nil once closed, and `:close()`

--- Joins paths with exactly one slash; an absolute one stands alone.
-- @function join
-- @param ... strings
-- @treturn string

--- What is left without the last name: "." for a bare name.
-- @function dirname
-- @tparam string path
-- @treturn string

--- The last name.
-- @function basename
-- @tparam string path
-- @treturn string

--- The last name's extension with its dot, or "".
-- @function extension
-- @tparam string path
-- @treturn string

--- Removes what says nothing: ".", double slashes and, going by the text alone, "..".
-- @function normalize
-- @tparam string path
-- @treturn string

--- The path made absolute and normalized.
-- @function absolute
-- @tparam string path
-- @tparam[opt] string base what it is relative to, in place of the working directory
-- @treturn string

--- How to get to a path from a directory, both taken from the working directory.
-- @function relative
-- @tparam string path
-- @tparam[opt] string from the working directory by default
-- @treturn string

--- Replaces a leading `~` or `~NAME` by that home directory.
-- @function expand
-- @tparam string path
-- @treturn string

--- The working directory.
-- @function cwd
-- @treturn string

local function guard(path)
  return setmetatable({ path = path }, {
    __close = function() core.remove_tree(path) end,
  })
end

--- Makes an empty private directory.
--
--     local dir, guard <close> = fs.temp_dir()   -- gone at the end of the block
-- @tparam[opt] table options `parent` (default `$TMPDIR`, else /tmp), `prefix`
-- @treturn string its path
-- @treturn guard removes it, with all in it, where it is a `<close>` variable
function M.temp_dir(options)
  local path = core.temp_dir(options)
  return path, guard(path)
end

--- Makes an empty private file.
-- @tparam[opt] table options `parent` (default `$TMPDIR`, else /tmp), `prefix`
-- @treturn string its path
-- @treturn guard removes it where it is a `<close>` variable
function M.temp_file(options)
  local path = core.temp_file(options)
  return path, guard(path)
end

local function children(entry)
  local entries = core.list(entry.path)
  for _, child in ipairs(entries) do
    child.depth = entry.depth + 1
    child.path = core.join(entry.path, child.name)
    child.relative = entry.relative and core.join(entry.relative, child.name) or child.name
  end
  return entries
end

--- Goes through a directory and all below it, each directory before what it holds, sorted by name.
-- Follows no symbolic links. A directory that vanishes meanwhile is passed over.
-- @tparam string path
-- @tparam[opt] table options `depth`: how deep (1: only what the directory itself holds);
--   `enter`: a function that is given a directory's entry and says whether to go into it
-- @return an iterator over entries: `path`, `relative` (to the directory), `name`, `type`, `depth`
function M.walk(path, options)
  options = options or {}
  local deepest, enter = options.depth or math.huge, options.enter
  local first = children { path = path, depth = 0 }
  local stack = { { entries = first, at = 0 } }

  local function descend(entry)
    if entry.type ~= "directory" or entry.depth >= deepest then return end
    if enter and not enter(entry) then return end
    local entries, err = try(children, entry)
    if entries then
      stack[#stack + 1] = { entries = entries, at = 0 }
    elseif err.code ~= "ENOENT" then
      error(err, 0)
    end
  end

  local previous
  return function()
    if previous then descend(previous) end
    previous = nil
    while #stack > 0 do
      local top = stack[#stack]
      top.at = top.at + 1
      previous = top.entries[top.at]
      if previous then return previous end
      stack[#stack] = nil
    end
  end
end

return M
