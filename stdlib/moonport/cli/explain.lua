local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  summary = "Tell where a value of a manifest comes from",
  description = "Tells which layer set a field (flag, manifest, site, built-in default), in which "
    .. "file and line, and what it replaced. NAME is a service, or the path of a manifest.",
  example = "moonport explain squaring limits.memory",
}

local function configure(parser)
  parser:argument("name", "Name of a service, or a manifest's path.")
  parser:argument("field", "Such as limits.memory.")
  options.output_json(parser)
end

local function origins(opened, args)
  if args.name:find("[/.]") then
    local manifest = require "moonport.manifest"
    return manifest.load(args.name, { site = opened.site }):explain(args.field)
  end
  return env.service(opened, args.name):explain(args.field)
end

local function shown(value)
  return type(value) == "table" and require("moonport.inspect").format(value) or tostring(value)
end

local function line_of(origin, index)
  local place = origin.file and ("%s:%s"):format(origin.file, origin.line or "?") or "built in"
  return ("%s%s  (%s, %s)"):format(index > 1 and "  in place of " or "", shown(origin.value),
    origin.layer, place)
end

local function run(args)
  local opened <close> = env.open(args, { targets = true, read_only = true })
  local ui = require "moonport.ui"
  local list = origins(opened, args)
  if args.output == "json" then
    ui.json(require("moonport.json").array(list))
    return
  end
  if #list == 0 then ui.print(("nothing sets `%s`"):format(args.field)) end
  for index, origin in ipairs(list) do ui.print(line_of(origin, index)) end
end

M.configure, M.run = configure, run

return M
