--- Listing, page by page.
-- @submodule moonport.kube

local errors = require "moonport.errors"
local discovery = require "moonport.kube.discovery"
local json = require "moonport.json"
local objects = require "moonport.kube.objects"
local options_of = require "moonport.kube.options"
local paths = require "moonport.kube.paths"
local request = require "moonport.kube.request"
local selector = require "moonport.kube.selector"
local task = require "moonport.task"

local M = {}

local PAGE = 500
local HEAD = 4096 -- bytes in which a list's own metadata is found

local list_options = {
  all_namespaces = "boolean", fields = "any", labels = "any", limit = "page",
  managed_fields = "boolean", resource_version = "string", resource_version_match = "name",
}

-- A listing under way:
--   cluster, call, resource, options, query, deadline
--   limit: objects of a page; nil for all in one
--   found: the resource, once it is known
--   token: where the next page begins; done: there is none
--   ahead: the task that asks for the next page already
local Listing = {}
Listing.__index = Listing

local function begin(cluster, call, resource, options)
  options = options_of.check(call, options, list_options)
  if options.all_namespaces and options.namespace then
    options_of.bad("%s: `namespace` and `all_namespaces` exclude each other", call)
  end
  return setmetatable({
    cluster = cluster, call = call, resource = resource, options = options,
    query = selector.add(call, options, {}), deadline = request.deadline(cluster, options),
    limit = options.limit or PAGE,
  }, Listing)
end

-- The query of a page. A version may be asked for only on the first one.
local function query_of(listing, token)
  local options = listing.options
  local query = { limit = listing.limit, continue = token }
  for name, value in next, listing.query do query[name] = value end
  if not token then
    query.resourceVersion = options.resource_version
    query.resourceVersionMatch = options.resource_version_match
  end
  return query
end

-- The response that holds a page.
local function ask(listing, token)
  local options, cluster = listing.options, listing.cluster
  return discovery.with(cluster, listing.resource, function(found)
    local namespace = not options.all_namespaces and
      objects.namespace_of(cluster, listing.call, found, options, listing.resource) or nil
    local path = paths.of(found, namespace, nil, options.subresource)
    listing.found = found
    return request.send(cluster, {
      method = "GET", path = paths.with_query(path, query_of(listing, token)),
      compressed = cluster.compressed,
    }, {
      safe = true, deadline = listing.deadline, retries = options.retries,
      on_wait = options.on_wait,
      about = { verb = "list", api_verb = "list", resource = found, namespace = namespace },
    })
  end)
end

-- Where the next page begins, as far as the beginning of this one's text tells: a server writes a
-- list's own metadata before its items.
local function glimpse(body)
  local metadata =
    body:sub(1, HEAD):match('^{"kind":"%w+","apiVersion":"[^"]+","metadata":(%b{}),"items":%[')
  return metadata and metadata:match('"continue":"([%w_=-]+)"')
end

local function read(listing, response)
  local page = request.decode(response)
  if type(page.items) ~= "table" then page.items = json.array {} end
  local kind = type(page.kind) == "string" and page.kind:match("^(.+)List$") or listing.found.kind
  local without = listing.options.managed_fields == false
  for _, item in ipairs(page.items) do
    -- A list's items do not say what they are.
    if item.kind == nil then item.kind = kind end
    if item.apiVersion == nil then item.apiVersion = page.apiVersion end
    if without then objects.without_managed_fields(item) end
  end
  return page
end

local function token_of(page)
  local token = page.metadata and page.metadata.continue
  return token ~= "" and token or nil
end

-- The next page; nil after the last. While a page is read, the server works on the next one.
function Listing:next()
  if self.done then return nil end
  local ahead = self.ahead
  self.ahead = nil
  local response = ahead and ahead:await() or ask(self, self.token)
  local guess = glimpse(response.body)
  if guess then self.ahead = task.contained(ask, self, guess) end
  local page = read(self, response)
  self.token = token_of(page)
  self.done = self.token == nil
  if guess ~= self.token then self:close() end
  return page
end

-- Ends what is under way.
function Listing:close()
  if self.ahead then self.ahead:cancel() end
  self.ahead = nil
end

Listing.__close = Listing.close

-- All pages as one list.
local function gather(listing)
  local all = listing:next()
  local items = all.items
  local page = listing:next()
  while page do
    table.move(page.items, 1, #page.items, #items + 1, items)
    page = listing:next()
  end
  all.metadata = all.metadata or {}
  all.metadata.continue, all.metadata.remainingItemCount = nil, nil
  return all
end

local function whole(cluster, resource, options, limited)
  local listing <close> = begin(cluster, "cluster:list", resource, options)
  if not limited then listing.limit = nil end
  local list, err = try(gather, listing)
  return list, err, listing.token ~= nil
end

--- Lists objects: all of them, as they were at one moment.
--
--     local pods = cluster:list("pods", { labels = "app=web,tier in (front,edge)" })
--     for _, pod in ipairs(pods.items) do print(pod.metadata.name) end
-- @function Cluster:list
-- @tparam string|table resource
-- @tparam[opt] table options `all_namespaces`: true for those of every namespace; `labels`: a
--   selector as kubectl has it, or a table: `{app = "web", tier = {"front", "edge"}, canary = false
--   (absent), owner = true (there)}`; `fields`: `"status.phase!=Running"` or `{["spec.nodeName"] =
--   "n1"}`; `managed_fields`: false leaves `metadata.managedFields` out; `limit`: how many objects
--   a page has (500); `resource_version` and `resource_version_match` as the API has them; and
--   those of every method
-- @treturn table the list: `items`, each with `apiVersion` and `kind`, and
--   `metadata.resourceVersion`, from which a watch goes on
-- @raise {kind="kube"}
function M.list(self, resource, options)
  local list, err, midway = whole(self, resource, options, true)
  -- The version went out of date between pages. One page alone has no such trouble.
  if not list and midway and errors.is(err, "kube", "expired") then
    list, err = whole(self, resource, options, false)
  end
  if not list then error(err, 0) end
  return list
end

-- The next page. Where the version went out of date, that of the moment: a server then tells how to
-- go on behind the last object that it gave.
local function next_page(listing)
  local page, err = try(listing.next, listing)
  if page or not err then return page end
  if not errors.is(err, "kube", "expired") or not listing.token or not err.continue then
    error(err, 0)
  end
  listing.token = err.continue
  return listing:next()
end

--- Goes through objects one by one, holding two pages of them at most.
--
--     for pod in cluster:each("pods", { all_namespaces = true }) do print(pod.metadata.name) end
--
-- Each object that is there all the time comes once. In a listing that takes more than some minutes
-- later objects may be newer than earlier ones.
-- @function Cluster:each
-- @tparam string|table resource
-- @tparam[opt] table options as for @{Cluster:list}
-- @treturn function for a `for` loop
-- @raise {kind="kube"}
function M.each(self, resource, options)
  local listing = begin(self, "cluster:each", resource, options)
  local items, at = {}, 0
  local function next_object()
    at = at + 1
    while items[at] == nil do
      local page = next_page(listing)
      if not page then return nil end
      items, at = page.items, 1
    end
    local object = items[at]
    items[at] = false -- what the loop has left may go
    return object
  end
  return next_object, nil, nil, listing
end

return M
