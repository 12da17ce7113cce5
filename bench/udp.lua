-- UDP through the Lua module: the rows of UDP sockets.
--
--   lua bench/udp.lua one|turn|burst|in HOST PORT PORT2 SIZE SECONDS
--
-- one: a datagram a frame; turn: 64 a frame, to two peers in turn; burst: 64 a
-- frame to one peer; in: what a source floods us with. Those that are sent
-- count when they are with the system.

local net = require "nettask"
local measure = require "bench.measure"

local mode, host = arg[1], arg[2]
local ports = { tonumber(arg[3]), tonumber(arg[4]) }
local size, seconds = tonumber(arg[5]), tonumber(arg[6])

net.configure { policy = "open" }

local function give_up(text)
  io.stderr:write("bench: ", tostring(text), "\n")
  os.exit(1)
end

net.onError(function(err, trace) give_up(tostring(err) .. "\n" .. trace) end)

local clock = measure.clock
local task = net.createUDPSocket()
task:onError(function(res) give_up(res.errMsg) end)

local bytes = ("a"):rep(size)
local warm_at = clock() + measure.warm_up
local stop_at = warm_at + seconds
local window

local FRAME = 64
local HIGH, LOW = 512 * 1024, 128 * 1024

-- Sends `count` a frame, the i-th to the peer that `to` names.
local function send(count, to)
  local given = { address = host, message = bytes }
  local sent, base = 0, 0
  local peers = {}
  for i = 1, count do peers[i] = to(i) end
  task:bind()
  while true do
    for i = 1, count do
      given.port = peers[i]
      task:send(given)
    end
    sent = sent + count
    net.update()
    if sent % FRAME == 0 then
      if task.bufferedAmount > HIGH then
        repeat net.wait(1) until task.bufferedAmount < LOW
      end
      local now = clock()
      local out = sent - task.bufferedAmount / size
      if not window and now >= warm_at then
        base, window = out, measure.window()
      elseif now >= stop_at then
        window(out - base, out)
        -- What is queued is sent, so that none of it counts as lost.
        repeat net.wait(1) until task.bufferedAmount == 0
        os.exit(0)
      end
    end
  end
end

local modes = {}

function modes.one()
  send(1, function() return ports[1] end)
end

function modes.turn()
  send(FRAME, function(i) return ports[i % 2 + 1] end)
end

function modes.burst()
  send(FRAME, function() return ports[1] end)
end

modes["in"] = function()
  local done, all, asked = 0, 0, 0
  local go = { address = host, port = ports[1], message = "go" }
  task:onMessage(function(res)
    if #res.message ~= size then give_up("not what was sent") end
    done = done + 1
  end)
  while true do
    local now = clock()
    if now - asked > 0.05 then
      asked = now
      task:send(go)
    end
    if not window and now >= warm_at then
      all, done, window = done, 0, measure.window()
    elseif now >= stop_at then
      window(done, all + done)
      os.exit(0)
    end
    net.wait(50)
    net.update()
  end
end

modes[mode]()
