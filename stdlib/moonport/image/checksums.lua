--- Publishers' lists of checksums.
-- @module moonport.image.checksums

local errors = require "moonport.errors"
local http = require "moonport.http"

local M = {}

local LARGEST_LIST = 4 << 20
local DIGITS = { sha256 = 64, sha512 = 128 }

--- Reads a list, as sha256sum(1) writes it, plain or with `--tag`.
-- @tparam string text
-- @tparam string algorithm "sha256" or "sha512"
-- @treturn table from the names of files to their checksums
function M.parse(text, algorithm)
  local digits, found = DIGITS[algorithm], {}
  for line in text:gmatch "[^\r\n]+" do
    local sum, name = line:match "^(%x+) [ *](.+)$"
    if not sum then
      local tag
      tag, name, sum = line:match "^(%w+) %((.+)%) = (%x+)$"
      if tag and tag:lower() ~= algorithm then sum = nil end
    end
    if sum and #sum == digits then found[name:gsub("^%./", "")] = sum:lower() end
  end
  return found
end

--- Fetches a list and finds a file in it.
-- @tparam table list {url, algorithm}
-- @tparam string file
-- @treturn string|nil nil when the list does not have the file
-- @raise {kind="http"} when there is no such list
function M.fetch(list, file)
  local text = http.get(list.url, { max_body = LARGEST_LIST, timeout = 60 }):check().body
  return M.parse(text, list.algorithm)[file]
end

local function not_listed(source, list)
  errors.raise {
    kind = "image", code = "checksum",
    message = ("the list `%s` has no checksum of `%s`"):format(list.url, source.file),
    hint = "its publisher may have moved it; name its sha256 yourself to use it nonetheless",
  }
end

-- A list beside a URL that somebody gave is a gift: where there is none, there is none.
local function from_lists(source)
  for _, list in ipairs(source.lists) do
    local sum, why = try(M.fetch, list, source.file)
    if sum then return { [list.algorithm] = sum, list = list.url } end
    if source.list_required and why then error(why, 0) end
    if source.list_required then not_listed(source, list) end
  end
end

--- Finds out what a download has to be.
-- @tparam table source
-- @treturn table {sha256} or {sha512}, and `list`, the URL that told; without a checksum an empty
--   table
-- @raise {kind="image", code="checksum"} where there has to be one and is none; {kind="http"}
function M.expected(source)
  if source.sha256 then return { sha256 = source.sha256 } end
  local found = from_lists(source)
  if found then return found end
  if source.insecure then
    errors.raise {
      kind = "image", code = "checksum",
      message = ("nothing tells whether `%s` is what was published"):format(source.url),
      hint = "name its sha256, or fetch it by https",
    }
  end
  return {}
end

return M
