-- lua-http's part: lua bench/ws/peer_lua_http.lua HOST PORT text|binary SIZE
-- IN_FLIGHT SECONDS [CA_FILE]. See load.h.

local cqueues = require "cqueues"
local http_tls = require "http.tls"
local websocket = require "http.websocket"
local x509_store = require "openssl.x509.store"
local measure = require "bench.measure"

local host, port, kind, size = arg[1], arg[2], arg[3], tonumber(arg[4])
local in_flight, seconds, ca_file = tonumber(arg[5]), tonumber(arg[6]), arg[7]

local clock = measure.clock
local message = ("a"):rep(size)

local function connect()
  local socket = websocket.new_from_uri(("%s://%s:%s/"):format(
    ca_file and "wss" or "ws", host, port))
  if ca_file then
    local context = http_tls.new_client_context()
    local store = x509_store.new()
    store:add(ca_file)
    context:setStore(store)
    socket.request.ctx = context
  end
  assert(socket:connect(10))
  return socket
end

local function run_for(socket, time)
  local stop_at, done = clock() + time, 0
  while clock() < stop_at do
    local data, opcode = socket:receive()
    assert(#data == size and opcode == kind, "not what was sent")
    assert(socket:send(message, kind))
    done = done + 1
  end
  return done
end

local queue = cqueues.new()
queue:wrap(function()
  local socket = connect()
  for _ = 1, in_flight do
    assert(socket:send(message, kind))
  end
  run_for(socket, measure.warm_up)
  local window = measure.window()
  window(run_for(socket, seconds))
  os.exit(0)
end)
assert(queue:loop())
