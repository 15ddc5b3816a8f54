--- Addresses between text and bytes.
--
-- @module moonport.nft.address
local M = {}

local function ipv4(text)
  local a, b, c, d = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  if not a then
    return nil
  end
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  if a < 256 and b < 256 and c < 256 and d < 256 then
    return string.char(a, b, c, d)
  end
end

-- The groups of one side of `::`, as bytes; nil where one is none.
local function groups(text)
  local bytes = {}
  for group in (text .. ":"):gmatch "([^:]*):" do
    local number = group:match "^%x%x?%x?%x?$" and tonumber(group, 16)
    if not number then
      return nil
    end
    bytes[#bytes + 1] = string.pack(">I2", number)
  end
  return table.concat(bytes)
end

local function ipv6(text)
  local head, tail = text:match "^(.*:)(%d+%.%d+%.%d+%.%d+)$"
  if head then
    local last = ipv4(tail)
    if not last then
      return nil
    end
    text = ("%s%x:%x"):format(head, string.unpack(">I2I2", last))
  end
  local left, right = text:match "^(.-)::(.*)$"
  if not left then
    local whole = groups(text)
    return whole and #whole == 16 and whole or nil
  end
  left = left == "" and "" or groups(left)
  right = right == "" and "" or groups(right)
  if left and right and #left + #right <= 14 then
    return left .. ("\0"):rep(16 - #left - #right) .. right
  end
end

-- Where the longest run of zero groups is (RFC 5952): first and last, or nothing.
local function longest_run(parts)
  local best, best_len, from = nil, 1, nil
  for i = 1, 9 do
    if parts[i] == 0 then
      from = from or i
    elseif from then
      if i - from > best_len then
        best, best_len = from, i - from
      end
      from = nil
    end
  end
  if best then
    return best, best + best_len - 1
  end
end

local function hex(parts, from, to)
  local list = {}
  for i = from, to do
    list[#list + 1] = ("%x"):format(parts[i])
  end
  return table.concat(list, ":")
end

local function show_ipv6(bytes)
  local parts = { string.unpack(">I2I2I2I2I2I2I2I2", bytes) }
  parts[9] = nil
  local from, to = longest_run(parts)
  if not from then
    return hex(parts, 1, 8)
  end
  return hex(parts, 1, from - 1) .. "::" .. hex(parts, to + 1, 8)
end

--- Reads an address.
-- @tparam string text
-- @tparam integer size 4, 6 (Ethernet) or 16
-- @treturn ?string its bytes, nil where it is none of this size
function M.read(text, size)
  if size == 4 then
    return ipv4(text)
  elseif size == 16 then
    return ipv6(text)
  end
  local bytes = text:gsub(":", "")
  if text:match "^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$" then
    return (bytes:gsub("%x%x", function(pair)
      return string.char(tonumber(pair, 16))
    end))
  end
end

--- Writes an address.
-- @tparam string bytes 4, 6 or 16
-- @treturn string
function M.show(bytes)
  if #bytes == 4 then
    return ("%d.%d.%d.%d"):format(bytes:byte(1, 4))
  elseif #bytes == 16 then
    return show_ipv6(bytes)
  end
  return ("%02x:%02x:%02x:%02x:%02x:%02x"):format(bytes:byte(1, 6))
end

--- The mask of a prefix.
-- @tparam integer bits how many are set
-- @tparam integer size bytes
-- @treturn string
function M.mask(bits, size)
  local whole, rest = bits // 8, bits % 8
  local partial = rest > 0 and string.char(0xff << (8 - rest) & 0xff) or ""
  return (("\xff"):rep(whole) .. partial .. ("\0"):rep(size)):sub(1, size)
end

--- How many bits a mask sets, where these are its first.
-- @tparam string mask
-- @treturn ?integer
function M.bits(mask)
  local bits = 0
  for i = 1, #mask do
    local byte = mask:byte(i)
    while byte & 0x80 ~= 0 do
      byte, bits = byte << 1 & 0xff, bits + 1
    end
    if byte ~= 0 or bits < i * 8 then
      return mask == M.mask(bits, #mask) and bits or nil
    end
  end
  return bits
end

--- Combines two strings of one length byte by byte.
-- @tparam string a
-- @tparam string b
-- @tparam function fn of two bytes
-- @treturn string
function M.combine(a, b, fn)
  local bytes = {}
  for i = 1, #a do
    bytes[i] = string.char(fn(a:byte(i), b:byte(i)) & 0xff)
  end
  return table.concat(bytes)
end

--- The last address of a prefix.
-- @tparam string first its first
-- @tparam string mask
-- @treturn string
function M.last(first, mask)
  return M.combine(first, mask, function(a, b)
    return a | ~b
  end)
end

--- The number after, as big-endian bytes; nil after the last.
-- @tparam string bytes
-- @treturn ?string
function M.next(bytes)
  for i = #bytes, 1, -1 do
    local byte = bytes:byte(i)
    if byte < 255 then
      return bytes:sub(1, i - 1) .. string.char(byte + 1) .. ("\0"):rep(#bytes - i)
    end
  end
end

--- The number before, as big-endian bytes; nil before zero.
-- @tparam string bytes
-- @treturn ?string
function M.previous(bytes)
  for i = #bytes, 1, -1 do
    local byte = bytes:byte(i)
    if byte > 0 then
      return bytes:sub(1, i - 1) .. string.char(byte - 1) .. ("\xff"):rep(#bytes - i)
    end
  end
end

return M
