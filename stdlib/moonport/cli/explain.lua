local env = require "moonport.cli.env"
local options = require "moonport.cli.options"

local M = {
  complete = { name = "services_or_files", field = "fields" },
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
    return options.load_manifest(args.name, { site = opened.site }):explain(args.field)
  end
  return env.service(opened, args.name):explain(args.field)
end

local function place_of(origin)
  if origin.layer == "flag" then return "--set or another flag" end
  if not origin.file then return "built in" end
  return origin.line and ("%s:%d"):format(origin.file, origin.line) or origin.file
end

local function line_of(origin, index, path)
  local value = require("moonport.cli.values").show(origin.value, path)
  return ("%s%s  (%s, %s)"):format(index > 1 and "  in place of " or "", value, origin.layer,
    place_of(origin))
end

-- What is secret stays so; credentials in plain text are masked.
local function plain(list, path)
  local values = require "moonport.cli.values"
  return require("moonport.cli.report").list(list, function(origin)
    local masked = values.is_credential(path) and type(origin.value) ~= "table"
    return {
      layer = origin.layer, file = origin.file, line = origin.line,
      value = masked and "(not shown)" or origin.value,
    }
  end)
end

local function run(args)
  local opened <close> = env.open(args, { targets = true, read_only = true })
  local ui = require "moonport.ui"
  local list = origins(opened, args)
  if args.output == "json" then
    ui.json(plain(list, args.field))
    return
  end
  if #list == 0 then ui.print(("nothing sets `%s`"):format(args.field)) end
  for index, origin in ipairs(list) do ui.print(line_of(origin, index, args.field)) end
end

M.configure, M.run = configure, run

return M
