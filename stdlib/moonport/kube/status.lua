-- What a server says when it refuses (a `Status`), made an error that tells what to do.
--
-- Others use error_of for answers and from_status for a Status within a stream.

local errors = require "moonport.errors"
local text = require "moonport.text"

local M = {}

local EXCERPT = 300

-- Where the answer names no reason of its own.
local codes = {
  [400] = "bad_request", [401] = "unauthorized", [403] = "forbidden", [404] = "not_found",
  [405] = "method_not_allowed", [406] = "not_acceptable", [408] = "timeout", [409] = "conflict",
  [410] = "expired", [413] = "request_entity_too_large", [415] = "unsupported_media_type",
  [422] = "invalid", [429] = "too_many_requests", [500] = "internal_error",
  [502] = "bad_gateway", [503] = "service_unavailable", [504] = "timeout",
}

local function code_of(reason, status)
  if status == 410 then return "expired" end
  if reason and reason ~= "" and reason ~= "Unknown" then
    return (reason:gsub("(%l)(%u)", "%1_%2"):lower())
  end
  return codes[status] or "failed"
end

-- Words.

-- "pod `web` in namespace `shop`", "the pods in namespace `shop`"
local function subject(about, whole)
  local resource = about.resource
  local names = about.name ~= nil
  local word
  if type(resource) == "table" then
    word = names and resource.singular or resource.name
    if resource.group ~= "" then word = word .. "." .. resource.group end
  else
    word = tostring(resource or "object")
  end
  if about.subresource and not whole then word = about.subresource .. " of " .. word end
  local parts = { names and word .. " `" .. about.name .. "`" or "the " .. word }
  if about.namespace then parts[2] = "in namespace `" .. about.namespace .. "`" end
  return table.concat(parts, " ")
end

M.subject = subject

local function attempt_of(about)
  if about.verb and about.resource then
    return ("cannot %s %s"):format(about.verb, subject(about))
  end
  return ("`%s` failed"):format(about.request or "the request")
end

-- What is meant to be text, made fit to show.
local function plain(value)
  if type(value) ~= "string" then return nil end
  return (text.visible(value, "\n"):gsub("%s+$", ""))
end

-- The text of a page, for people.
local function of_page(body)
  local title = body:match("<[tT][iI][tT][lL][eE][^>]*>%s*(.-)%s*</")
  local words = title or body:gsub("<[sS][tT][yY][lL][eE].-</[^>]*>", " "):gsub("<[^>]*>", " ")
  words = words:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  if words:find("[^\32-\126\128-\255]") or not utf8.len(words) then return "" end
  return text.cut(words, EXCERPT)
end

-- "  spec.replicas: Invalid value: -1: must be at least 0", one a line.
local function cause_lines(causes)
  local lines = {}
  for index, cause in ipairs(causes) do
    local field = cause.field ~= "" and cause.field
    lines[index] = "\n  " .. (field and field .. ": " or "") .. (cause.message or "")
  end
  return table.concat(lines)
end

-- Conflicts of server-side apply.

local function unquote(quoted)
  return (quoted:gsub("\\(.)", "%1"))
end

-- "conflict with \"kubectl\" with subresource \"scale\" using apps/v1 at 2026-..."
local function owner_of(message)
  local quoted, rest = message:match('^conflict with "(.-[^\\])"(.*)$')
  if not quoted then return message:match("^conflict with (%S+)") or message, nil, nil end
  return unquote(quoted), rest:match(" using (%S+)"), rest:match(' with subresource "([^"]*)"')
end

-- Which fields, and whose: {field=, manager=, api_version=, subresource=}; nil for other conflicts.
function M.conflicts(causes)
  local list = {}
  for _, cause in ipairs(causes) do
    if cause.reason == "FieldManagerConflict" then
      local manager, version, subresource = owner_of(cause.message or "")
      list[#list + 1] = {
        field = (cause.field or ""):gsub("^%.", ""), manager = manager, api_version = version,
        subresource = subresource,
      }
    end
  end
  return #list > 0 and list or nil
end

-- attempt: "cannot apply ..."
local function conflict_message(attempt, list)
  local lines = {}
  for index, conflict in ipairs(list) do
    local how = conflict.api_version and " (" .. conflict.api_version .. ")" or ""
    lines[index] = ("\n  %s: owned by `%s`%s"):format(conflict.field, conflict.manager, how)
  end
  return ("%s: it sets %s not its own%s"):format(attempt,
    #list == 1 and "a field that is" or "fields that are", table.concat(lines))
end

-- Hints, by code. Each gets the error's fields and what the call was about.

local function list_of(names)
  local quoted = {}
  for index, name in ipairs(names) do quoted[index] = ("%q"):format(name) end
  return table.concat(quoted, ", ")
end

local function can_call(about)
  local resource, fields = about.resource, {}
  local word = type(resource) == "table" and
    resource.name .. (resource.group ~= "" and "." .. resource.group or "") or resource
  for _, field in ipairs {
    { "verb", about.api_verb }, { "resource", word }, { "subresource", about.subresource },
    { "namespace", about.namespace }, { "name", about.name },
  } do
    if field[2] then fields[#fields + 1] = ("%s = %q"):format(field[1], field[2]) end
  end
  return "cluster:can { " .. table.concat(fields, ", ") .. " }"
end

local hints = {}

function hints.forbidden(err, about)
  local user = err.server_message:match('User "([^"]*)"')
  local account = err.server_message:match('serviceaccount "([^"]*)" not found')
  if account then
    return ("the namespace has no ServiceAccount `%s`: is its name right?"):format(account)
  elseif not user then
    return "a rule of the cluster (quota, admission) refuses it, not the rights of the user"
  end
  local who = ("`%s` has no right to it"):format(user)
  if not about.api_verb then return who end
  return ("%s; `%s` asks again, a Role or ClusterRole grants it"):format(who, can_call(about))
end

-- Where the client does not know better.
function hints.unauthorized(_, about)
  local config = about.cluster and about.cluster.config or {}
  local what = config.auth and config.auth ~= "none" and "its credentials (" .. config.auth .. ")"
  local whose = config.user and (" of user `%s`"):format(config.user) or ""
  local where = config.context and (" in context `%s`"):format(config.context) or ""
  if not what then
    return ("no credentials were sent%s; kube.explain() tells what was found"):format(where)
  end
  return ("%s%s%s were not accepted; kube.explain() tells where they come from"):format(what, whose,
    where)
end

function hints.not_found(err, about)
  local details = err.details
  if details.kind == "namespaces" and details.name and details.name == about.namespace then
    return ("make the namespace first: kubectl create namespace %s"):format(details.name)
  end
end

function hints.conflict(err, about)
  local list = err.conflicts
  if list then
    local fields = {}
    for index, conflict in ipairs(list) do fields[index] = conflict.field end
    return ("leave these fields out, or take them over with force = { %s }"):format(list_of(fields))
  end
  if about.verb == "delete" then return "it is not, or no longer, the object that was meant" end
  if about.verb == "replace" then return "it has changed meanwhile: get it again and redo" end
end

function hints.already_exists()
  return "cluster:apply changes what is there, and makes what is not"
end

function hints.expired()
  return "the server keeps old versions for a few minutes: list again from the beginning"
end

function hints.unsupported_media_type(_, about)
  if about.verb == "patch" then
    return "custom resources know no strategic patch: use type = \"merge\" or \"json\""
  end
end

function hints.invalid(err, about)
  if about.verb == "patch" and #err.causes == 0 then
    return "in a json patch, a `test` does not hold or a path is not there"
  end
end

function hints.too_many_requests(err)
  for _, cause in ipairs(err.causes) do
    if cause.reason == "DisruptionBudget" then
      return "a PodDisruptionBudget allows no more pods to go for now"
    end
  end
end

local function for_empty_table(err)
  local said = err.server_message
  if said:find("cannot unmarshal object into Go.- of type %[%]") or
    said:find("decode slice: expect %[ or n, but found {", 1, false) then
    return "an empty Lua table is an empty object: write json.array {} for an empty list"
  end
end

hints.bad_request = for_empty_table
hints.internal_error = for_empty_table

-- Errors.

local function list_of_causes(details)
  local causes = {}
  for _, cause in ipairs(type(details.causes) == "table" and details.causes or {}) do
    if type(cause) == "table" then
      causes[#causes + 1] = {
        field = plain(cause.field), message = plain(cause.message), reason = plain(cause.reason),
      }
    end
  end
  return causes
end

local function is_plainly_absent(err, about)
  return err.code == "not_found" and about.name and err.details.name == about.name and
    about.verb ~= "create"
end

local function message_of(err, about)
  if is_plainly_absent(err, about) then return "there is no " .. subject(about, true) end
  if err.conflicts then
    err.attempt = attempt_of(about)
    return conflict_message(err.attempt, err.conflicts)
  end
  if err.code == "invalid" and #err.causes > 0 then
    return ("%s: it is invalid%s"):format(attempt_of(about), cause_lines(err.causes))
  end
  return ("%s: %s"):format(attempt_of(about), err.server_message)
end

local function finish(err, about)
  err.server = about.cluster and about.cluster.server
  err.message = message_of(err, about)
  local hint = hints[err.code]
  err.hint = err.hint or hint and hint(err, about) or nil
  return errors.new(err)
end

-- An error of server-side apply that tells of some of its conflicts: those that stand in the way.
function M.with_conflicts(err, conflicts)
  local fields = {}
  for name, value in pairs(err) do fields[name] = value end
  fields.conflicts = conflicts
  fields.message = conflict_message(err.attempt, conflicts)
  fields.hint = hints.conflict(fields, {})
  return errors.new(fields)
end

-- The error that a `Status` object stands for.
--   about: `cluster`, and what was tried: `verb` (a word), `api_verb`, `resource` (found), `name`,
--   `namespace`, `subresource`, or `request` ("GET /path")
--   hint: where somebody knows one already
function M.from_status(status, about, hint)
  local details = type(status.details) == "table" and status.details or {}
  local http_status = math.tointeger(status.code) or 500
  local causes = list_of_causes(details)
  local said, reason = plain(status.message), plain(status.reason)
  if not said or said == "" then said = reason end
  return finish({
    kind = "kube",
    hint = hint,
    code = code_of(reason, http_status),
    status = http_status,
    reason = reason,
    server_message = said or "it does not say why",
    details = details,
    causes = causes,
    conflicts = http_status == 409 and M.conflicts(causes) or nil,
    -- It is not about an object: the server has no such resource, or no longer.
    unknown_path = http_status == 404 and not details.kind or nil,
    continue = type(status.metadata) == "table" and status.metadata.continue or nil,
  }, about)
end

-- The error of an answer (of mp.http) that leads elsewhere.
function M.redirect(response, about)
  local where = plain(response.headers.Location):gsub("%?.*", "")
  return finish({
    kind = "kube", code = "redirect", status = response.status, details = {}, causes = {},
    server_message = ("the server answered %d and leads to `%s`"):format(response.status, where),
    hint = "is that the API server's address? a login page or proxy may stand before it; where "
      .. "the server has moved, say so in the kubeconfig",
  }, about)
end

-- The error of an answer that should be JSON and is not.
function M.no_json(response, cause)
  local page = of_page(response.body)
  return errors.new {
    kind = "kube", code = "protocol", status = response.status, cause = cause,
    message = ("`%s` answered what is no JSON%s"):format(response.url,
      page ~= "" and ": " .. page or ""),
    hint = "is that the API server's address? a proxy or login page may stand before it",
  }
end

local function decoded(body)
  if not body:find("^%s*{") then return nil end
  local value = try(require("moonport.json").decode, body)
  return type(value) == "table" and value.kind == "Status" and value or nil
end

-- The error of an answer (of mp.http) with a status of 400 or more and this body.
function M.error_of(response, body, about)
  local status = decoded(body)
  local known = rawget(response, "hint") -- why credentials may not have been accepted
  if status then
    status.code = math.tointeger(status.code) or response.status
    return M.from_status(status, about, known)
  end
  local page = of_page(body)
  local said = ("the server answered %d %s%s"):format(response.status, response.reason or "",
    page ~= "" and ": " .. page or "")
  -- A path that the API server does not know is answered in plain words.
  local ours = response.status == 404 and page == "404 page not found"
  return finish({
    kind = "kube", code = code_of(nil, response.status), status = response.status,
    server_message = said, details = {}, causes = {}, unknown_path = ours or nil,
    hint = known or not ours and response.status ~= 401 and page ~= "" and
      "these are not an API server's words: a proxy or load balancer may stand before it" or nil,
  }, about)
end

return M
