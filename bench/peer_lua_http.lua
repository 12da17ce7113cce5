-- lua-http's part: a connection for each request in flight, kept alive, each
-- driven by a coroutine of cqueues. Its request object would connect anew each
-- time, so the connection is used directly, as its documentation advises.
--
--   lua bench/peer_lua_http.lua HOST PORT PATH IN_FLIGHT SECONDS

local cqueues = require "cqueues"
local http_client = require "http.client"
local http_headers = require "http.headers"
local measure = require "bench.measure"

local host, port, path = arg[1], tonumber(arg[2]), arg[3]
local in_flight, seconds = tonumber(arg[4]), tonumber(arg[5])

local clock = measure.clock
local done = 0

local function new_headers()
  local headers = http_headers.new()
  headers:append(":method", "GET")
  headers:append(":scheme", "http")
  headers:append(":authority", host .. ":" .. port)
  headers:append(":path", path)
  return headers
end

local function fetch(connection, headers)
  local stream = assert(connection:new_stream())
  assert(stream:write_headers(headers, true))
  local answer = assert(stream:get_headers())
  local body = assert(stream:get_body_as_string())
  assert(answer:get(":status") == "200" and #body == 1024)
  stream:shutdown()
  done = done + 1
end

local function run_for(time)
  local queue = cqueues.new()
  local stop_at = clock() + time
  for _ = 1, in_flight do
    queue:wrap(function()
      local connection = assert(http_client.connect { host = host, port = port,
        tls = false, version = 1.1 })
      local headers = new_headers()
      while clock() < stop_at do
        fetch(connection, headers)
      end
      connection:close()
    end)
  end
  assert(queue:loop())
end

run_for(measure.warm_up)
done = 0
local window = measure.window()
run_for(seconds)
window(done)
