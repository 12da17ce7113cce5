-- A ceiling, not a peer: a request loop written by hand on luv that looks for
-- nothing but the end of the header and counts the body's bytes.
--
--   lua bench/peer_luv.lua HOST PORT PATH IN_FLIGHT SECONDS

local uv = require "luv"
local measure = require "bench.measure"

local host, port, path = arg[1], tonumber(arg[2]), arg[3]
local in_flight, seconds = tonumber(arg[4]), tonumber(arg[5])

local clock = measure.clock
local text = ("GET %s HTTP/1.1\r\nHost: %s:%d\r\n\r\n"):format(path, host, port)
local done, stop_at = 0, 0

local function open()
  local socket = uv.new_tcp()
  local seen = ""
  local function on_read(err, chunk)
    assert(not err and chunk, "connection lost")
    seen = seen .. chunk
    local _, header_end = seen:find("\r\n\r\n", 1, true)
    if not header_end or #seen < header_end + 1024 then
      return
    end
    assert(seen:sub(1, 12) == "HTTP/1.1 200")
    seen = ""
    done = done + 1
    if clock() < stop_at then
      socket:write(text)
    else
      socket:close()
    end
  end
  socket:connect(host, port, function(err)
    assert(not err, err)
    socket:nodelay(true)
    socket:read_start(on_read)
    socket:write(text)
  end)
end

local function run_for(time)
  stop_at = clock() + time
  for _ = 1, in_flight do
    open()
  end
  uv.run()
end

run_for(measure.warm_up)
done = 0
local window = measure.window()
run_for(seconds)
window(done)
