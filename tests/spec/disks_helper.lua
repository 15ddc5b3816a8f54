--- What specs of FAT disks share: a reader of our own, with nothing of the programs that write.
local crypto = require "moonport.crypto"
local json = require "moonport.json"
local process = require "moonport.process"

local M = {}

local READER = os.getenv "MP_SOURCE_DIR" .. "/tests/fixtures/image/read_fat.py"

--- What is on a disk: path -> digest of a file, or "dir".
function M.read_fat(path)
  return json.decode(process.run({ "python3", READER, path }).stdout)
end

--- What a file on a disk holds, as mtools gives it.
function M.content(path, name)
  return process.run({ "mtype", "-i", path, "::" .. name }).stdout
end

function M.sha256(text)
  return crypto.hash("sha256", text)
end

return M
