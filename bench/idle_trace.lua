-- Idle frames between two marks, for strace: lua bench/idle_trace.lua URL
-- FRAMES. The marks are opens of files that do not exist; the names carry the
-- host's thread. What passes between frames reads the clock without a system
-- call.

local net = require "nettask"
local baseline = require "bench.baseline"
local measure = require "bench.measure"

local url, frames = arg[1], tonumber(arg[2])
local FRAME_SECONDS = 0.001

local ok = false
net.request { url = url, dataType = "text", success = function()
  ok = true
end }
assert(net.run(20000) and ok, "the first request failed")
baseline.sleep(0.5) -- whatever the end of a request leaves to do is done

io.open(("/bench-mark/begin/%d"):format(baseline.tid()))
local next_frame = measure.clock()
for _ = 1, frames do
  net.update()
  next_frame = next_frame + FRAME_SECONDS
  while measure.clock() < next_frame do end
end
io.open("/bench-mark/end")
