-- Files, by a host that runs 60 frames a second, or by net.run():
--   lua bench/transfer.lua HOST down FOLDER URL COUNT     COUNT files from URL
--   lua bench/transfer.lua HOST up FILE URL               FILE as multipart
-- where HOST is frames or run.
-- Beside the usual figures: the p99 of update(), and how far the memory of the
-- process rose above what it was before.

local net = require "nettask"
local baseline = require "bench.baseline"
local measure = require "bench.measure"

local FRAME_SECONDS = 1 / 60
local LIMIT_SECONDS = 100

net.configure { policy = "open" }

local function fail(text)
  io.stderr:write("bench: ", tostring(text), "\n")
  os.exit(1)
end

net.onError(function(err, trace) fail(err .. "\n" .. trace) end)

local running, bytes, updates = 0, 0, {}

local function complete(res)
  if res.statusCode ~= 200 then fail(res.errMsg) end
  running = running - 1
end

local function begin(api, options)
  running = running + 1
  options.timeouts = { total = 0 }
  options.complete = complete
  local task = net[api](options)
  local last = 0
  task:onProgressUpdate(function(res)
    local now = res.totalBytesWritten or res.totalBytesSent
    bytes, last = bytes + now - last, now
  end)
end

-- The end is seen in a frame, so up to 17 ms late; that counts, too.
local function run_frames()
  local due = measure.clock()
  local limit = due + LIMIT_SECONDS
  while running > 0 do
    local started = measure.clock()
    net.update()
    updates[#updates + 1] = (measure.clock() - started) * 1000
    due = due + FRAME_SECONDS
    if measure.clock() > limit then fail("the transfer does not end") end
    baseline.sleep(due - measure.clock())
  end
end

local function run()
  if not net.run(LIMIT_SECONDS * 1000) then
    fail("the transfer does not end")
  end
end

local function memory_kb(name)
  for line in io.lines("/proc/self/status") do
    local kb = line:match("^" .. name .. ":%s*(%d+)")
    if kb then return tonumber(kb) end
  end
end

-- The peak so far is forgotten.
local function reset_peak()
  local file = assert(io.open("/proc/self/clear_refs", "w"))
  file:write("5")
  file:close()
  return memory_kb("VmRSS")
end

local drive = arg[1] == "run" and run or run_frames
local kind, place, url, count = arg[2], arg[3], arg[4], tonumber(arg[5] or 1)
local paths = {}
if kind == "down" then
  for i = 1, count do
    paths[i] = ("%s/ours-%d"):format(place, i)
    os.remove(paths[i])
  end
end

-- A context that stands, with a connection.
running = 1
net.request { url = url:match("^(%w+://[^/]*)") .. "/small", dataType = "text",
  complete = complete }
drive()
local idle_kb = reset_peak()
updates = {}

local started, cpu = baseline.now(), baseline.cpu()
if kind == "down" then
  for i = 1, count do
    begin("downloadFile", { url = url, filePath = paths[i] })
  end
else
  begin("uploadFile", { url = url, filePath = place, name = "file" })
end
drive()
local seconds = baseline.now() - started

measure.print {
  ops = bytes, seconds = seconds, cpu = baseline.cpu() - cpu,
  update_p99 = drive == run_frames and measure.quantile(updates, 0.99) or nil,
  update_max = drive == run_frames and measure.quantile(updates, 1) or nil,
  memory_mb = (memory_kb("VmHWM") - idle_kb) / 1024,
}
for i = 1, #paths do os.remove(paths[i]) end
