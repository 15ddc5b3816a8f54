local options = require "moonport.cli.options"

local M = {
  complete = { image = "images", source = "image_sources" },
  summary = "Fetch, list and remove images of machines",
  description = "Cloud images, which VMs boot from: known by name (debian:12, ubuntu:24.04), or "
    .. "any URL or file. Each is fetched, verified and made ready once.",
  example = "moonport image pull debian:12\nmoonport image ls\nmoonport image prune",
}

local function configure(parser)
  parser:command_target("action")
  local ls = parser:command("ls", "List the images that are here.")
  ls:flag("--known", "List those that are known by name, and where they are published.")
  ls:flag("-q --quiet", "For those used to it: as `-o names`."):hidden(true)
  options.output(ls)
  ls:epilog "moonport image ls\nmoonport image ls --known"
  local pull = parser:command("pull",
    "Fetch an image; of one that is here, ask its publisher for a newer one.")
  pull:argument("source", "A name, a URL or a path.")
  pull:option("--checksum", "The SHA-256 that it has to have."):argname("HEX")
  options.output_json(pull)
  pull:epilog("moonport image pull debian:12\n"
    .. "moonport image pull https://images.example/server.qcow2 --checksum 64f2e8...")
  local prune = parser:command("prune",
    "Remove the images that no service uses, and what killed commands left.")
  prune:flag("--dry-run", "Only show what would be removed.")
  options.output(prune)
  prune:epilog "moonport image prune --dry-run\nmoonport image prune"
  local rm = parser:command("rm", "Remove images that no service uses.")
  rm:argument("image", "Names, URLs or the beginnings of digests."):args("+")
  rm:epilog "moonport image rm debian:12"
end

local function short(digest) return (digest:gsub("^sha256:", ""):sub(1, 12)) end

local function size(bytes) return require("moonport.ui").size(bytes) end

local function clock(seconds) return require("moonport.cli.times").clock(seconds) end

local function label_of(record)
  local source = record.sources[1]
  return source and source.label or "-"
end

local function users(names) return #names > 0 and table.concat(names, ", ") or "-" end

local function plain(record)
  local json, times = require "moonport.json", require "moonport.cli.times"
  local sources = {}
  for index, source in ipairs(record.sources) do
    sources[index] = {
      name = source.label, url = source.url, checksum = source.checksum, list = source.list,
      verified = source.verified, added = times.rfc3339(source.added),
    }
  end
  return {
    name = label_of(record), digest = record.digest, arch = record.arch, size = record.size,
    bytes = record.bytes, created = times.rfc3339(record.created), path = record.path,
    kernel = record.kernel, kernel_version = record.kernel_version,
    kernel_from = record.kernel_from, initrd = record.initrd, root = record.root,
    sources = json.array(sources), used_by = record.used_by and json.array(record.used_by),
    fetched = record.fetched,
  }
end

local actions = {}

local function list_known(args)
  local rows = require("moonport.image").known()
  require("moonport.ui").listing(rows, {
    "name", "codename", "arch", { "url", format = function(url) return url or "not published" end },
  }, args.output)
end

function actions.ls(args, env)
  if args.quiet then args.output = "names" end
  if args.known then return list_known(args) end
  local ui, rows = require "moonport.ui", require("moonport.image").list(env)
  if args.output == "json" then
    ui.json(require("moonport.cli.report").list(rows, plain))
    return
  end
  for _, row in ipairs(rows) do row.name = label_of(row) end
  ui.listing(rows, {
    "name", { "digest", format = short }, "arch",
    { "size", align = "right", format = size },
    { "bytes", title = "ON DISK", align = "right", format = size },
    { "created", format = clock }, { "used_by", title = "USED BY", format = users },
  }, args.output)
end

local function show_progress(progress)
  return function(what, done, total)
    progress:say(what)
    if done then progress:advance(done, total) end
  end
end

local function tell_kept(kept)
  if kept.bytes == 0 then return end
  require("moonport.ui").note(("%s of it are kept: the same command goes on from there, and "
    .. "`moonport image prune` removes them"):format(size(kept.bytes)))
end

function actions.pull(args, env)
  local image, ui = require "moonport.image", require "moonport.ui"
  local wanted = image.parse(args.source)
  wanted.sha256 = args.checksum
  local kept <close> = setmetatable({ bytes = 0 }, { __close = tell_kept })
  local got = ui.progress("image " .. args.source, function(progress)
    return image.ensure(wanted, {
      state = env.state, config = env.site.config, refresh = true,
      progress = show_progress(progress), interrupted = function(bytes) kept.bytes = bytes end,
    })
  end)
  if args.output == "json" then
    ui.json(plain(got))
    return
  end
  ui.print(("%s: %s %s, %s"):format(label_of(got), got.fetched and "fetched" or "up to date,",
    short(got.digest), size(got.size)))
  if wanted.url and not got.sources[1].verified then
    ui.warn(("nothing told its checksum; pin it: sha256 = %q"):format(got.digest:sub(8)))
  end
end

function actions.prune(args, env)
  local ui = require "moonport.ui"
  local rows = require("moonport.image").prune(env, { dry = args.dry_run })
  if args.output == "json" then
    ui.json(require("moonport.cli.report").list(rows))
  elseif #rows == 0 and args.output == "table" then
    ui.print("nothing to remove")
  else
    ui.listing(rows, { "what", { "bytes", title = "ON DISK", format = size }, "action" },
      args.output)
  end
end

function actions.rm(args, env)
  local ui = require "moonport.ui"
  for _, name in ipairs(args.image) do
    for _, record in ipairs(require("moonport.image").remove(name, env)) do
      ui.print(("removed %s (%s)"):format(label_of(record), short(record.digest)))
    end
  end
end

local function run(args)
  local opened <close> = require("moonport.cli.env").open(args, {
    read_only = args.action == "ls",
  })
  return actions[args.action](args, opened)
end

M.configure, M.run = configure, run

return M
