-- Brings a request or a socket into each state that it can be in, for specs
-- that then abort it, close the module under it or end the process.
--
--   local record = states.enter("chunk")         -- as of helper.start()
--   local record = states.enter_socket("held")   -- as of sockets.start()
--   local record = states.enter_tcp("held")      -- as of tcp.start()
--   local record = states.enter_udp("held")      -- as of udp.create()
--
-- Some states exist only while nothing is delivered: those leave the module
-- paused, and record.paused tells. The servers are shared with specs that run
-- at the same time, so every key is used once.

local helper = require "helper"
local sockets = require "support.sockets"
local tcp = require "support.tcp"
local udp = require "support.udp"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local states = {}

local count = 0

function states.key(prefix)
  count = count + 1
  return ("%s-%.0f-%d-%s"):format(prefix or "key", helper.now() * 1000, count,
    tostring({}):match("%x+$"))
end

-- A request of its own has been answered: the I/O thread has dealt with all
-- that was started before.
local function settle()
  helper.ask(fault.http .. "/")
end

local function start(options, url, more)
  local given = { url = url }
  for key, value in pairs(more or {}) do
    given[key] = value
  end
  for key, value in pairs(options or {}) do
    given[key] = value
  end
  return helper.start(given)
end

local function has_headers(record)
  helper.run_until(function()
    return #record.headers > 0
  end, 5000, "headers")
end

-- Starts with delivery paused and waits for cond(record, stats).
local function start_paused(options, url, more, cond)
  net.pause()
  local record = start(options, url, more)
  record.paused = true
  helper.run_until(function()
    return cond(record, net.stats())
  end, 5000, "the state of " .. url)
  return record
end

local upload

local enter = {}

-- Handed to the I/O thread, which may be anywhere, the name lookup included.
function enter.started(options)
  local url = fault.http:gsub("127%.0%.0%.1", "localhost")
  return start(options, url .. "/wait?key=" .. states.key("started"))
end

function enter.queued(options)
  local others = {}
  for i = 1, 10 do
    others[i] = net.request { url = fault.blackhole .. "/", fail = print }
  end
  local record = start(options, fault.http .. "/")
  record.others = others
  helper.run_until(function()
    return record.task.state == "queued"
  end, 5000, "the queue")
  return record
end

function enter.connecting(options)
  local record = start(options, fault.blackhole .. "/")
  settle()
  return record
end

function enter.handshake(options)
  local url = fault.silent:gsub("^http:", "https:")
  local record = start(options, url .. "/")
  settle()
  return record
end

function enter.uploading(options)
  upload = upload or ("u"):rep(16 * 1024 * 1024)
  local record = start(options, fault.http .. "/read-nothing",
    { method = "POST", data = upload })
  settle()
  return record
end

-- The server has the request and does not answer.
function enter.sent(options)
  local key = states.key("sent")
  local record = start(options, fault.http .. "/wait?key=" .. key)
  helper.run_until(function()
    return helper.ask(fault.http .. "/waiting?key=" .. key) == "1"
  end, 5000, "the request to arrive")
  record.key = key
  return record
end

function enter.headers(options)
  local record = start(options, fault.http .. "/never-body")
  has_headers(record)
  return record
end

function enter.body(options)
  local record = start(options, fault.http .. "/drip?every=5")
  has_headers(record)
  return record
end

-- Pieces of a streamed body wait to be delivered.
function enter.chunk(options)
  return start_paused(options,
    fault.http .. "/stream?every=5&chunks=10000&key=" .. states.key("chunk"),
    { enableChunked = true }, function(record, stats)
      return record.task.state == "open" and stats.queuedEvents >= 3
        and stats.queuedBytes >= 32768
    end)
end

-- The source is held back, since more than the mark waits.
function enter.held(options)
  return start_paused(options, fault.http .. "/endless",
    { enableChunked = true }, function(_, stats)
      return stats.queuedBytes >= 1024 * 1024
    end)
end

-- The last event waits to be delivered.
function enter.ended(options)
  return start_paused(options, fault.http .. "/", nil, function(record)
    return record.task.state == "closing"
  end)
end

-- Refused at the call: the host's own last event waits.
function enter.refused(options)
  return start(options, nil, { url = "http://127.0.0.1:0x/" })
end

function enter.done(options)
  local record = start(options, fault.http .. "/")
  helper.run_until(function()
    return record.done
  end, 5000, "the end")
  return record
end

states.names = { "started", "queued", "connecting", "handshake", "uploading",
  "sent", "headers", "body", "chunk", "held", "ended", "refused", "done" }

-- What task.state says in each of them.
states.shown = {
  started = "connecting", queued = "queued", connecting = "connecting",
  handshake = "connecting", uploading = "connecting", sent = "connecting",
  headers = "open", body = "open", chunk = "open", held = "open",
  ended = "closing", refused = "closing", done = "done",
}

function states.enter(name, options)
  return enter[name](options)
end

-- Ends what enter() has started, and lets the module deliver again.
function states.leave(record)
  net.resume()
  record.task:abort()
  for _, task in ipairs(record.others or {}) do
    task:abort { silent = true }
  end
end

-- ---- WebSockets -------------------------------------------------------------

local function start_socket(options, path, parameters, more)
  local url, key = sockets.fault(path, parameters)
  local given = { url = url }
  for name, value in pairs(more or {}) do
    given[name] = value
  end
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  local record = sockets.start(given)
  record.key = key
  return record
end

-- With delivery paused, once a test of the statistics holds.
local function start_socket_paused(options, path, parameters, cond)
  net.pause()
  local record = start_socket(options, path, parameters)
  record.paused = true
  helper.run_until(function()
    return cond(record, net.stats())
  end, 5000, "the state of " .. path)
  return record
end

local enter_socket = {}

function enter_socket.started(options)
  local url = sockets.fault("echo"):gsub("127%.0%.0%.1", "localhost")
  return start_socket(options, "", nil, { url = url })
end

function enter_socket.connecting(options)
  local record = start_socket(options, "", nil,
    { url = fault.blackhole:gsub("^http", "ws") .. "/" })
  settle()
  return record
end

function enter_socket.tls(options)
  local record = start_socket(options, "", nil,
    { url = fault.silent:gsub("^http", "wss") .. "/" })
  settle()
  return record
end

-- The server has the handshake and does not answer.
function enter_socket.asked(options)
  local record = start_socket(options, "handshake-stall")
  helper.run_until(function()
    return helper.ask(fault.http .. "/count?of=" .. record.key) == "1"
  end, 5000, "the handshake to arrive")
  return record
end

-- Success of connectSocket waits.
function enter_socket.accepted(options)
  return start_socket(options, "echo")
end

function enter_socket.open(options)
  return sockets.wait_open(start_socket(options, "echo", nil,
    { pingInterval = 5 }))
end

-- Between two frames of a message that comes in, in the middle of a frame.
function enter_socket.message(options)
  local record = sockets.wait_open(start_socket(options, "script",
    { hex = "0103616263" .. "8010" .. ("61"):rep(8) }))
  settle()
  return record
end

function enter_socket.deflate(options)
  local record = sockets.wait_open(start_socket(options, "script",
    { hex = "4107f248cdc9c90700", deal = "permessage-deflate" },
    { perMessageDeflate = true }))
  record.task:send { data = ("x"):rep(10000) }
  settle()
  return record
end

-- What it sends is not taken.
function enter_socket.sending(options)
  upload = upload or ("u"):rep(16 * 1024 * 1024)
  local record = sockets.wait_open(start_socket(options, "deaf"))
  record.task:send { data = upload,
    complete = options and options.complete or function() end }
  settle()
  return record
end

-- The success of a send waits.
function enter_socket.sent(options)
  local record = sockets.wait_open(start_socket(options, "echo"))
  net.pause()
  record.paused = true
  record.task:send { data = "x",
    success = options and options.success or function() end }
  helper.run_until(function()
    return net.stats().queuedEvents >= 2
  end, 5000, "the echo")
  return record
end

-- Messages wait.
function enter_socket.waiting(options)
  return start_socket_paused(options, "flood", { n = 10, size = 1000 },
    function(_, stats) return stats.queuedBytes >= 10000 end)
end

-- The source is held back.
function enter_socket.held(options)
  return start_socket_paused(options, "flood", { n = 5000, size = 4096 },
    function(_, stats) return stats.queuedBytes >= 1024 * 1024 end)
end

-- The server does not answer our close.
function enter_socket.closing(options)
  local record = sockets.wait_open(start_socket(options, "silent"))
  record.task:close()
  settle()
  return record
end

-- The server's close was answered, and its connection stays.
function enter_socket.leaving(options)
  local record = start_socket(options, "close-stay")
  helper.run_until(function()
    local list = sockets.connections(record.key, 0)
    return list[1] and #list[1].frames > 0
  end, 5000, "the answer to the close")
  return record
end

function enter_socket.lost(options)
  local record = sockets.wait_open(start_socket(options, "fin", nil,
    { reconnect = { base = 60000, max = 60000 } }))
  helper.run_until(function()
    return record.task.readyState == record.task.CONNECTING
  end, 5000, "the loss")
  return record
end

-- The last event waits to be delivered.
function enter_socket.ended(options)
  return start_socket_paused(options, "masked", nil, function(record)
    return record.task.state == "closing"
  end)
end

function enter_socket.refused(options)
  return start_socket(options, "", nil, { url = "ws://127.0.0.1:0x/" })
end

function enter_socket.done(options)
  return sockets.finish(start_socket(options, "close", { code = 1000 }))
end

states.socket_names = { "started", "connecting", "tls", "asked", "accepted",
  "open", "message", "deflate", "sending", "sent", "waiting", "held",
  "closing", "leaving", "lost", "ended", "refused", "done" }

function states.enter_socket(name, options)
  return enter_socket[name](options)
end

-- ---- TCP --------------------------------------------------------------------

local function port_of(url)
  return tonumber(url:match("(%d+)$"))
end

-- Waits, with delivery paused, for a test of the statistics and the record.
local function wait_paused(record, cond, name)
  record.paused = true
  helper.run_until(function()
    return cond(net.stats(), record)
  end, 5000, "the state " .. name)
  return record
end

-- The fault server does what the line says.
local function start_tcp(line, options)
  local record = tcp.start { port = fault.tcp, timeout = 60,
    tls = options and options.tls }
  record.key = states.key("tcp")
  record.task:write(line:gsub("KEY", record.key) .. "\n")
  return record
end

local enter_tcp = {}

function enter_tcp.idle()
  return tcp.create()
end

function enter_tcp.started()
  local record = tcp.start { address = "localhost", port = fault.tcp,
    timeout = 60 }
  record.task:write("echo\n")
  return record
end

function enter_tcp.connecting()
  local record = tcp.start { port = port_of(fault.blackhole), timeout = 60 }
  settle()
  return record
end

function enter_tcp.tls()
  local record = tcp.start { port = port_of(fault.silent), tls = true,
    timeout = 60 }
  settle()
  return record
end

-- The connect waits to be delivered.
function enter_tcp.connected()
  net.pause()
  return wait_paused(start_tcp("echo"), function(_, record)
    return record.task.state == "open"
  end, "connected")
end

function enter_tcp.open()
  local record = start_tcp("echo")
  record.task:write("x")
  tcp.wait_bytes(record, 1)
  record.task:write("y")
  return record
end

function enter_tcp.secure()
  local record = tcp.start { port = fault.tcp_tls, tls = true, timeout = 60 }
  record.task:write("echo\nx")
  tcp.wait_bytes(record, 1)
  record.task:write("y")
  return record
end

-- What it sends is not taken.
function enter_tcp.sending()
  upload = upload or ("u"):rep(16 * 1024 * 1024)
  local record = tcp.wait_open(start_tcp("deaf"))
  record.task:write(upload)
  settle()
  return record
end

-- Messages wait.
function enter_tcp.waiting()
  net.pause()
  return wait_paused(start_tcp("push n=10 size=1000 then=stay"),
    function(stats) return stats.queuedBytes >= 10000 end, "waiting")
end

-- The source is held back.
function enter_tcp.held()
  net.pause()
  return wait_paused(start_tcp("push n=5000 size=4096"),
    function(stats) return stats.queuedBytes >= 1024 * 1024 end, "held")
end

-- The peer has ended its side and does not read ours.
function enter_tcp.half()
  upload = upload or ("u"):rep(16 * 1024 * 1024)
  local record = start_tcp("half-deaf key=KEY")
  record.task:write(upload:sub(2))
  tcp.wait_open(record)
  settle()
  return record
end

-- Closed with things to say that nobody takes.
function enter_tcp.flushing()
  local record = enter_tcp.sending()
  record.task:close()
  settle()
  return record
end

-- All is said, and the peer does not end.
function enter_tcp.draining()
  local record = tcp.wait_open(start_tcp("stay"))
  record.task:close()
  settle()
  return record
end

-- A complaint about a call waits.
function enter_tcp.told()
  net.pause()
  local record = tcp.create()
  record.paused = true
  record.task:write("too early")
  return record
end

-- The last event waits to be delivered.
function enter_tcp.ended()
  net.pause()
  return wait_paused(start_tcp("fin"), function(_, record)
    return record.task.state == "closing"
  end, "ended")
end

-- Refused at the call: the host's own last event waits.
function enter_tcp.refused()
  return tcp.start { port = 0 }
end

function enter_tcp.done()
  return tcp.finish(start_tcp("fin"))
end

states.tcp_names = { "idle", "started", "connecting", "tls", "connected",
  "open", "secure", "sending", "waiting", "held", "half", "flushing",
  "draining", "told", "ended", "refused", "done" }

function states.enter_tcp(name)
  tcp.defaults()
  return enter_tcp[name]()
end

-- ---- UDP --------------------------------------------------------------------

-- Above 1024 it could be somebody's.
local UNBOUND = 9

local enter_udp = {}

function enter_udp.idle()
  return udp.create()
end

function enter_udp.bound()
  return udp.bound()
end

-- onListening waits.
function enter_udp.listening()
  local record = udp.create()
  net.pause()
  record.paused = true
  record.task:bind()
  return record
end

function enter_udp.open()
  local record = udp.bound()
  udp.ask(record, fault.udp, "echo x")
  udp.send(record, fault.udp, "echo y")
  return record
end

-- A name is being looked up.
function enter_udp.named()
  local record = udp.bound()
  for i = 1, 10 do
    udp.send(record, fault.udp, "echo " .. i, { address = "localhost" })
  end
  return record
end

function enter_udp.connected()
  local record = udp.create()
  record.task:connect { address = "127.0.0.1", port = fault.udp }
  record.task:write { message = "echo x" }
  udp.wait_messages(record, 1)
  return record
end

function enter_udp.sending()
  local record = udp.create()
  for _ = 1, 100 do
    udp.send(record, fault.udp, ("x"):rep(60000))
  end
  return record
end

function enter_udp.waiting()
  local record = udp.bound()
  net.pause()
  udp.send(record, fault.udp, "push 10 1000")
  return wait_paused(record, function(stats)
    return stats.queuedBytes >= 10000
  end, "waiting")
end

-- Above its mark: what comes is dropped.
function enter_udp.held()
  net.configure { limits = { highWaterBytes = 65536 } }
  local record = udp.bound()
  net.pause()
  udp.send(record, fault.udp, "push 200 1000")
  return wait_paused(record, function(stats)
    return stats.queuedBytes >= 60000
  end, "held")
end

function enter_udp.member()
  local record = udp.bound()
  record.task:joinMulticast("239.1.2.3", "127.0.0.1")
  settle()
  return record
end

-- An error of the network waits.
function enter_udp.unheard()
  local record = udp.bound()
  net.pause()
  udp.send(record, UNBOUND, "x")
  return wait_paused(record, function(stats)
    return stats.queuedEvents >= 2
  end, "unheard")
end

-- A complaint about a call waits.
function enter_udp.told()
  net.pause()
  local record = udp.create()
  record.paused = true
  udp.send(record, 0, "x")
  return record
end

function enter_udp.ended()
  net.pause()
  local record = udp.bound()
  record.task:close()
  return wait_paused(record, function()
    return record.task.state == "closing"
  end, "ended")
end

function enter_udp.done()
  local record = udp.bound()
  udp.close(record)
  return record
end

states.udp_names = { "idle", "bound", "listening", "open", "named",
  "connected", "sending", "waiting", "held", "member", "unheard", "told",
  "ended", "done" }

function states.enter_udp(name)
  udp.defaults()
  return enter_udp[name]()
end

-- ---- Between tests ----------------------------------------------------------

-- helper.verify() for after_each: a test that has left something does not
-- spoil the next.
function states.verify()
  local ok, err = pcall(helper.verify)
  if not ok then
    net.close()
    error(err, 0)
  end
end

return states
