--- What nftables keeps for programs beside an object, and never looks at: comments, and for sets
-- the byte order of their keys, by which the `nft` program prints them.
--
-- It is a list of (type, length, bytes), as libnftnl lays it out.
--
-- @module moonport.nft.userdata
local problem = require "moonport.nft.problem"

local M = {}

-- A comment's type: sets have others before it.
local COMMENT, SET_COMMENT = 0, 7
local KEY_ORDER, DATA_ORDER = 0, 1
local HOST, BIG = 1, 2
local LONGEST = 127

local function entry(kind, bytes)
  return string.pack("BB", kind, #bytes) .. bytes
end

local function entries(bytes)
  local found, at = {}, 1
  while bytes and at + 1 <= #bytes do
    local kind, len = bytes:byte(at, at + 1)
    found[kind] = bytes:sub(at + 2, at + 1 + len)
    at = at + 2 + len
  end
  return found
end

local function comment_bytes(kind, comment)
  if type(comment) ~= "string" or #comment > LONGEST or comment:find "[%z\n]" then
    problem.expected("comment", comment, ("text of up to %d bytes"):format(LONGEST))
  end
  return entry(kind, comment .. "\0")
end

--- The user data of an object with a comment.
-- @tparam ?string comment
-- @treturn ?string
function M.comment(comment)
  return comment and comment_bytes(COMMENT, comment)
end

--- The comment in an object's user data.
-- @tparam ?string bytes
-- @treturn ?string
function M.comment_of(bytes)
  local text = bytes and entries(bytes)[COMMENT]
  return text and text:match "^[^%z]*"
end

--- The user data of a set.
-- @tparam boolean key_host whether its key is in the machine's byte order
-- @tparam ?boolean data_host the same of a map's data; nil for sets
-- @tparam ?string comment
-- @treturn string
function M.set(key_host, data_host, comment)
  local function order(host)
    return string.pack("=I4", host and HOST or BIG)
  end
  return entry(KEY_ORDER, order(key_host))
    .. (data_host ~= nil and entry(DATA_ORDER, order(data_host)) or "")
    .. (comment and comment_bytes(SET_COMMENT, comment) or "")
end

--- The comment in a set's user data.
-- @tparam ?string bytes
-- @treturn ?string
function M.set_comment_of(bytes)
  local text = bytes and entries(bytes)[SET_COMMENT]
  return text and text:match "^[^%z]*"
end

return M
