-- GET a large body a few times, and store it each time, or not: what that adds
-- to the time until the answer is there.
--
--   lua bench/stored.lua URL TIMES chunks|whole [FOLDER]
--
-- The folder is that of the cache. Each GET has a context of its own, which is
-- closed, and everything written by then, before the next begins; that is not
-- measured, nor that the answer is read from the folder in the end, to show
-- that it was stored.

local net = require "nettask"
local baseline = require "bench.baseline"
local measure = require "bench.measure"

local LIMIT_MS = 100000
local GIB = 1024 * 1024 * 1024
local url, times, folder = arg[1], tonumber(arg[2]), arg[4]
local chunked = arg[3] == "chunks"
local mode = folder and "reload" or "no-store"
local bytes = 0

net.configure { policy = "open", limits = { responseMaxBytes = 0 },
  cacheDir = folder or false, cacheMaxBytes = GIB }

local function fail(text)
  io.stderr:write("bench: ", tostring(text), "\n")
  os.exit(1)
end

net.onError(function(err, trace) fail(err .. "\n" .. trace) end)

local function get(given_url, cache, streams)
  local how
  local task = net.request {
    url = given_url, timeouts = { total = 0 }, enableChunked = streams,
    responseType = "arraybuffer", cache = cache,
    fail = function(res) fail(res.errMsg) end,
    success = function(res)
      how = res.profile.cache
      bytes = bytes + (streams and 0 or #res.data)
    end,
  }
  if streams then
    task:onChunkReceived(function(res) bytes = bytes + #res.data end)
  end
  if not net.run(LIMIT_MS) then fail("the body does not end") end
  return how
end

-- In a context that stands, with a connection.
local function timed_get()
  get(url:match("^(%w+://[^/]*)") .. "/small", "no-store")
  local started, cpu = baseline.now(), baseline.cpu()
  get(url, mode, chunked)
  local seconds = baseline.now() - started
  cpu = baseline.cpu() - cpu
  net.close(LIMIT_MS)
  collectgarbage()
  return seconds, cpu
end

if folder then net.cache.clear() end
timed_get()
bytes = 0
local seconds, cpu, total = 0, 0, 0
for _ = 1, times do
  local s, c = timed_get()
  seconds, cpu, total = seconds + s, cpu + c, total + bytes
  bytes = 0
end
measure.print { ops = total, seconds = seconds, cpu = cpu }
if folder and get(url, "only-if-cached", chunked) == nil then
  fail("it was not stored")
end
