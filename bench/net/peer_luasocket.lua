-- The rows of sockets with luasocket: blocking calls, as its users write them.
--
--   lua bench/net/peer_luasocket.lua MODE HOST PORT PORT2 SIZE SECONDS
--
-- MODE is of TCP: tcp-ping, tcp-in, tcp-out; of UDP: one, turn, in.

local socket = require "socket"
local measure = require "bench.measure"

local mode, host = arg[1], arg[2]
local ports = { tonumber(arg[3]), tonumber(arg[4]) }
local size, seconds = tonumber(arg[5]), tonumber(arg[6])

local clock = measure.clock
local bytes = ("a"):rep(size)
local warm_at = clock() + measure.warm_up
local stop_at = warm_at + seconds
local window

-- Calls `step`, which returns what it has done, until the time is over.
local function run(step)
  local done, all = 0, 0
  while true do
    done = done + step()
    local now = clock()
    if not window and now >= warm_at then
      all, done, window = done, 0, measure.window()
    elseif now >= stop_at then
      window(done, all + done)
      os.exit(0)
    end
  end
end

local function dial()
  local tcp = assert(socket.tcp())
  assert(tcp:connect(host, ports[1]))
  tcp:setoption("tcp-nodelay", true)
  return tcp
end

local modes = {}

modes["tcp-ping"] = function()
  local tcp, samples, cpu = dial(), {}, nil
  while clock() < stop_at do
    local began = clock()
    assert(tcp:send(bytes))
    assert(tcp:receive(size))
    if began >= warm_at then
      cpu = cpu or measure.cpu()
      samples[#samples + 1] = clock() - began
    end
  end
  measure.print { p50_us = measure.quantile(samples, 0.5) * 1e6,
    p99_us = measure.quantile(samples, 0.99) * 1e6, count = #samples,
    cpu_us = (measure.cpu() - cpu) / #samples * 1e6 }
end

modes["tcp-in"] = function()
  local tcp = dial()
  run(function() return #assert(tcp:receive(size)) end)
end

modes["tcp-out"] = function()
  local tcp = dial()
  run(function() return assert(tcp:send(bytes)) end)
end

function modes.one()
  local udp = assert(socket.udp())
  run(function()
    for _ = 1, 64 do assert(udp:sendto(bytes, host, ports[1])) end
    return 64
  end)
end

function modes.turn()
  local udp = assert(socket.udp())
  run(function()
    for i = 1, 64 do assert(udp:sendto(bytes, host, ports[i % 2 + 1])) end
    return 64
  end)
end

modes["in"] = function()
  local udp, asked = assert(socket.udp()), 0
  udp:setoption("recv-buffer-size", 4 * 1024 * 1024)
  run(function()
    if clock() - asked > 0.05 then
      asked = clock()
      assert(udp:sendto("go", host, ports[1]))
    end
    for _ = 1, 64 do
      assert(#assert(udp:receivefrom()) == size)
    end
    return 64
  end)
end

modes[mode]()
