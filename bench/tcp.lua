-- TCP through the Lua module: the rows of TCP sockets.
--
--   lua bench/tcp.lua ping|in|out HOST PORT SIZE SECONDS [SPIN_MICROS]
--
-- ping: SIZE bytes there and back, one at a time; prints the median in
-- microseconds. in, out: as many bytes as go, in writes of SIZE.

local net = require "nettask"
local measure = require "bench.measure"

local mode, host, port = arg[1], arg[2], tonumber(arg[3])
local size, seconds = tonumber(arg[4]), tonumber(arg[5])

net.configure { policy = "open", spinMicros = tonumber(arg[6] or 0) }

local function give_up(text)
  io.stderr:write("bench: ", tostring(text), "\n")
  os.exit(1)
end

net.onError(function(err, trace) give_up(tostring(err) .. "\n" .. trace) end)

local clock = measure.clock
local bytes = ("a"):rep(size)
local task = net.createTCPSocket()
local warm_at, stop_at, window
local done, over = 0, false

task:onError(function(res) give_up(res.errMsg) end)
task:onClose(function()
  if not over then give_up("closed") end
end)

-- Begins to count behind the warm-up; false when the time is over.
local function goes_on(now)
  if not window and now >= warm_at then
    done, window = 0, measure.window()
  end
  return now < stop_at
end

local function stop(finish)
  over = true
  finish()
  os.exit(0)
end

local modes = {}

function modes.ping()
  local samples, began, cpu, got = {}, nil, nil, 0
  local function send()
    began = clock()
    task:write(bytes)
  end
  task:onConnect(send)
  task:onMessage(function(res)
    got = got + #res.message
    if got < size then return end
    got = 0
    local now = clock()
    if now >= warm_at then
      cpu = cpu or measure.cpu()
      samples[#samples + 1] = now - began
    end
    if now < stop_at then return send() end
    stop(function()
      measure.print { p50_us = measure.quantile(samples, 0.5) * 1e6,
        p99_us = measure.quantile(samples, 0.99) * 1e6, count = #samples,
        cpu_us = (measure.cpu() - cpu) / #samples * 1e6 }
    end)
  end)
end

modes["in"] = function()
  task:onMessage(function(res)
    done = done + #res.message
    if not goes_on(clock()) then stop(function() window(done) end) end
  end)
end

-- So much whenever all is gone.
local BURST = 1024 * 1024

function modes.out()
  local written, base = 0, 0

  local function fill()
    for _ = 1, BURST / size do task:write(bytes) end
    written = written + BURST
  end

  task:onConnect(fill)
  task:onDrain(function()
    local now = clock()
    if not window and now >= warm_at then
      base, window = written, measure.window()
    elseif now >= stop_at then
      stop(function() window(written - base) end)
    end
    fill()
  end)
end

warm_at = clock() + measure.warm_up
stop_at = warm_at + seconds
task:connect { address = host, port = port, noDelay = true }
modes[mode]()
net.run((seconds + 20) * 1000)
give_up("the connection does not end")
