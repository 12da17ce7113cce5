-- A ceiling, not a peer: a request loop written by hand on copas that reads the
-- header by lines, of which it looks at none, and a body of known size.
--
--   lua bench/peer_copas.lua HOST PORT PATH IN_FLIGHT SECONDS

local copas = require "copas"
local socket = require "socket"
local measure = require "bench.measure"

local host, port, path = arg[1], tonumber(arg[2]), arg[3]
local in_flight, seconds = tonumber(arg[4]), tonumber(arg[5])

local clock = measure.clock
local text = ("GET %s HTTP/1.1\r\nHost: %s:%d\r\n\r\n"):format(path, host, port)
local done = 0

local function fetch(connection)
  assert(copas.send(connection, text))
  assert(assert(copas.receive(connection, "*l")):find("200", 1, true))
  repeat
    local line = assert(copas.receive(connection, "*l"))
  until line == ""
  assert(#assert(copas.receive(connection, 1024)) == 1024)
  done = done + 1
end

local function run_for(time)
  local stop_at = clock() + time
  local open = in_flight
  for _ = 1, in_flight do
    copas.addthread(function()
      local connection = socket.tcp()
      connection:settimeout(0)
      assert(copas.connect(connection, host, port))
      connection:setoption("tcp-nodelay", true)
      while clock() < stop_at do
        fetch(connection)
      end
      connection:close()
      open = open - 1
    end)
  end
  while open > 0 do -- its own loop has no end
    assert(clock() < stop_at + 10, "requests do not end")
    copas.step(1)
  end
end

run_for(measure.warm_up)
done = 0
local window = measure.window()
run_for(seconds)
window(done)
