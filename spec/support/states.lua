-- Brings a request into each state that it can be in, for specs that then
-- abort it, close the module under it or end the process.
--
--   local record = states.enter("chunk")     -- as of helper.start()
--
-- Some states exist only while nothing is delivered: those leave the module
-- paused, and record.paused tells. The servers are shared with specs that run
-- at the same time, so every key is used once.

local helper = require "helper"

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
