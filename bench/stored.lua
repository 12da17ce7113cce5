-- GET a large body again and again, one after the other, and store it each
-- time, or not: what that adds.
--
--   lua bench/stored.lua URL TIMES chunks|whole [FOLDER]
--
-- The folder is that of the cache; it is emptied first. Reading the answer from
-- there afterwards shows that it was stored, and is not measured.

local net = require "nettask"
local measure = require "bench.measure"

local GIB = 1024 * 1024 * 1024
local url, times, folder = arg[1], tonumber(arg[2]), arg[4]
local chunked = arg[3] == "chunks"
local bytes = 0

net.configure { policy = "open", limits = { responseMaxBytes = 0 },
  cacheDir = folder or false, cacheMaxBytes = GIB }

local function fail(text)
  io.stderr:write("bench: ", tostring(text), "\n")
  os.exit(1)
end

net.onError(function(err, trace) fail(err .. "\n" .. trace) end)

local function get(cache)
  local how
  local task = net.request {
    url = url, timeouts = { total = 0 }, enableChunked = chunked,
    responseType = "arraybuffer", cache = cache,
    fail = function(res) fail(res.errMsg) end,
    success = function(res)
      how = res.profile.cache
      bytes = bytes + (chunked and 0 or #res.data)
    end,
  }
  if chunked then
    task:onChunkReceived(function(res) bytes = bytes + #res.data end)
  end
  if not net.run(100000) then fail("the body does not end") end
  return how
end

if folder then net.cache.clear() end
local mode = folder and "reload" or "no-store"
get(mode)
local size = bytes
bytes = 0
local window = measure.window()
for _ = 1, times do get(mode) end
window(bytes)
if bytes ~= size * times then fail("a body has another size") end
if folder then
  bytes = 0
  if get "only-if-cached" == nil or bytes ~= size then
    fail("it was not stored")
  end
end
