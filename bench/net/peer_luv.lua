-- UDP with luv, as its users write it: a callback a datagram.
--
--   lua bench/net/peer_luv.lua one|turn|in HOST PORT PORT2 SIZE SECONDS

local uv = require "luv"
local measure = require "bench.measure"

local mode, host = arg[1], arg[2]
local ports = { tonumber(arg[3]), tonumber(arg[4]) }
local size, seconds = tonumber(arg[5]), tonumber(arg[6])

local clock = measure.clock
local bytes = ("a"):rep(size)
local warm_at = clock() + measure.warm_up
local stop_at = warm_at + seconds
local window

local udp = uv.new_udp()
local done, all = 0, 0

-- Begins to count behind the warm-up; ends the program when the time is over.
local function look()
  local now = clock()
  if not window and now >= warm_at then
    all, done, window = done, 0, measure.window()
  elseif now >= stop_at then
    window(done, all + done)
    os.exit(0)
  end
end

-- 64 are under way, and the loop runs: what is faster than try_send() here.
local function send(to)
  local function on_sent(err)
    assert(not err, err)
    done = done + 1
  end
  while true do
    for i = 1, 64 do
      udp:send(bytes, host, to(i), on_sent)
    end
    uv.run("nowait")
    look()
  end
end

local modes = {}

function modes.one()
  send(function() return ports[1] end)
end

function modes.turn()
  send(function(i) return ports[i % 2 + 1] end)
end

modes["in"] = function()
  udp:bind("127.0.0.1", 0)
  udp:recv_buffer_size(4 * 1024 * 1024)
  udp:recv_start(function(err, data)
    assert(not err, err)
    if data then
      assert(#data == size)
      done = done + 1
    end
  end)
  local timer = uv.new_timer()
  timer:start(0, 50, function()
    udp:try_send("go", host, ports[1])
    look()
  end)
  uv.run()
end

modes[mode]()
