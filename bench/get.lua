-- GET the same URL over and over, a fixed number in flight, driven by net.run:
-- the Lua module's part of the throughput rows.
--
--   lua bench/get.lua URL IN_FLIGHT SECONDS [SPIN_MICROS [BYTES [CACHE]]]
--
-- Options are the module's defaults except that the body is taken as text and
-- that CACHE is what `cache` says; no header is read. Prints the line of JSON
-- that lab.py reads.

local net = require "nettask"
local measure = require "bench.measure"

local url, in_flight, seconds = arg[1], tonumber(arg[2]), tonumber(arg[3])
local spin, size = tonumber(arg[4]) or 0, tonumber(arg[5]) or 1024
local cache = arg[6]

net.configure { policy = "open", spinMicros = spin }

local done = 0
local stop_at
local clock = measure.clock

local start

local function success(res)
  if res.statusCode ~= 200 or #res.data ~= size then
    error("unexpected answer")
  end
  done = done + 1
  if clock() < stop_at then
    start()
  end
end

local function fail(res)
  io.stderr:write("bench: ", res.errMsg, "\n")
  os.exit(1)
end

function start()
  net.request { url = url, dataType = "text", cache = cache,
    success = success, fail = fail }
end

net.onError(function(err, traceback)
  io.stderr:write("bench: ", tostring(err), "\n", traceback, "\n")
  os.exit(1)
end)

local function run_for(time)
  stop_at = clock() + time
  for _ = 1, in_flight do
    start()
  end
  assert(net.run((time + 10) * 1000), "requests do not end")
end

run_for(measure.warm_up)
done = 0
local window = measure.window()
run_for(seconds)
window(done)
