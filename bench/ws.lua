-- Messages to and fro on one WebSocket, a fixed number under way, driven by
-- net.run: the Lua module's part of the WebSocket rows.
--
--   lua bench/ws.lua HOST PORT text|binary SIZE IN_FLIGHT SECONDS [CA_FILE]
--
-- A message is the Lua value that the API gives: a string for text, a Buffer
-- for binary. The other arguments are those of ws/load.h.

local net = require "nettask"
local measure = require "bench.measure"

local host, port, kind, size = arg[1], arg[2], arg[3], tonumber(arg[4])
local in_flight, seconds, ca_file = tonumber(arg[5]), tonumber(arg[6]), arg[7]

net.configure { policy = "open", caFile = ca_file }

local function give_up(text)
  io.stderr:write("bench: ", tostring(text), "\n")
  os.exit(1)
end

net.onError(function(err, trace)
  give_up(tostring(err) .. "\n" .. trace)
end)

local message = ("a"):rep(size)
if kind == "binary" then
  message = net.buffer(message)
end
local expected = type(message)

local clock = measure.clock
local done, window = 0, nil
local warm_at, stop_at

local task = net.connectSocket {
  url = ("%s://%s:%s/"):format(ca_file and "wss" or "ws", host, port),
  tcpNoDelay = true,
  fail = function(res) give_up(res.errMsg) end,
}

task:onError(function(res) give_up(res.errMsg) end)

task:onClose(function(res)
  if clock() < stop_at then
    give_up("closed: " .. res.code)
  end
end)

task:onOpen(function()
  warm_at = clock() + measure.warm_up
  stop_at = warm_at + seconds
  for _ = 1, in_flight do
    task:send { data = message }
  end
end)

task:onMessage(function(res)
  local data = res.data
  if #data ~= size or type(data) ~= expected then
    give_up("not what was sent")
  end
  done = done + 1
  local now = clock()
  if now < stop_at then
    if not window and now >= warm_at then
      done, window = 0, measure.window()
    end
    task:send { data = message }
  elseif window then
    window(done)
    window = nil
    task:close()
  end
end)

if not net.run((seconds + 20) * 1000) then
  give_up("the connection does not end")
end
