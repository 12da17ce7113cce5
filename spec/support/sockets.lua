-- WebSockets of a test, and what became of them.
--
--   local socket = sockets.open { url = ... }   -- once it is open
--   socket.task:send { data = "hello" }
--   sockets.wait_messages(socket, 1)
--   after_each(sockets.verify)                  -- closes those that are open
--
-- A record fills while frames run:
--   task, success, fail, complete (the results of connectSocket),
--   opens, messages (the data alone), errors, closes, reconnects (results),
--   order ("success", "open", "message", ...), done (nothing more will come)

local helper = require "helper"
local residue = require "support.residue"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local sockets = {}

-- Those of the test that runs.
local started = {}

local function add(record, list, name)
  return function(res)
    assert(not record.done, name .. " came after the end")
    list[#list + 1] = res
    record.order[#record.order + 1] = name
  end
end

local function ends(record, f)
  return function(res)
    f(res)
    record.done = true
  end
end

local function listen(record)
  local task = record.task
  task:onOpen(add(record, record.opens, "open"))
  task:onMessage(function(res)
    assert(not record.done, "a message came after the end")
    record.messages[#record.messages + 1] = res.data
    record.order[#record.order + 1] = "message"
  end)
  local on_error = add(record, record.errors, "error")
  task:onError(function(res)
    on_error(res)
    record.done = #record.opens == 0
  end)
  task:onClose(ends(record, add(record, record.closes, "close")))
  task:onReconnect(add(record, record.reconnects, "reconnect"))
end

-- Calls connectSocket; callbacks of the options run too.
function sockets.start(options)
  local record = { opens = {}, messages = {}, errors = {}, closes = {},
    reconnects = {}, order = {}, done = false }
  local copy = {}
  for key, value in pairs(options) do copy[key] = value end
  for _, name in ipairs { "success", "fail", "complete" } do
    copy[name] = function(res)
      assert(record[name] == nil, name .. " ran twice")
      record[name] = res
      record.order[#record.order + 1] = name
      record.done = name == "complete" and record.fail ~= nil
      if options[name] then options[name](res) end
    end
  end
  record.task = net.connectSocket(copy)
  started[#started + 1] = record
  listen(record)
  return record
end

local function explain(record)
  local last = record.errors[#record.errors] or record.fail
  return last and last.errMsg or "closed"
end

function sockets.wait_open(record, ms)
  helper.run_until(function()
    assert(#record.opens > 0 or not record.done,
      "did not open: " .. explain(record))
    return #record.opens > 0
  end, ms, "the open of " .. tostring(record.task))
  return record
end

function sockets.open(options, ms)
  return sockets.wait_open(sockets.start(options), ms)
end

-- Runs frames until nothing more will come; returns the record.
function sockets.finish(record, ms)
  helper.run_until(function()
    return record.done
  end, ms, "the end of " .. tostring(record.task))
  return record
end

-- Starts a socket and runs it to its end.
function sockets.whole(options, ms)
  return sockets.finish(sockets.start(options), ms)
end

function sockets.wait_messages(record, count, ms)
  helper.run_until(function()
    assert(#record.messages >= count or not record.done,
      "ended before its messages: " .. explain(record))
    return #record.messages >= count
  end, ms, count .. " messages")
  return record.messages[count]
end

-- Closes and runs to the end; returns the result of onClose.
function sockets.close(record, options, ms)
  record.task:close(options)
  return sockets.finish(record, ms).closes[1]
end

-- Starts a method that takes success, fail and complete: a record of these.
function sockets.call(f, self, options)
  local record = { order = {} }
  local copy = {}
  for key, value in pairs(options or {}) do copy[key] = value end
  for _, name in ipairs { "success", "fail", "complete" } do
    copy[name] = function(res)
      assert(record[name] == nil, name .. " ran twice")
      record[name] = res
      record.order[#record.order + 1] = name
    end
  end
  if self then f(self, copy) else f(copy) end
  assert(#record.order == 0, "a callback inside the call")
  return record
end

function sockets.wait_call(record, ms)
  helper.run_until(function() return record.complete end, ms, "complete")
  assert(record.complete == (record.success or record.fail),
    "complete got another result")
  assert(not (record.success and record.fail), "success and fail")
  return record
end

-- The result of a send() that must succeed, or fail with that text.
function sockets.send(record, options)
  return sockets.wait_call(sockets.call(record.task.send, record.task,
    options))
end

-- ---- What the fault server saw ----------------------------------------------

-- A key of no other test, of no other spec either.
sockets.key = wire.key

-- A url of the fault server, with a key of its own: url, key.
function sockets.fault(path, parameters, server)
  local key = sockets.key()
  local all = wire.with(parameters or {}, { key = key })
  return wire.url("/ws/" .. path, all, server or servers.fault.ws), key
end

-- The handshake that a socket of those options sends, as of wire.parse().
-- A url of the options has KEY for the key.
function sockets.handshake(options)
  local url, key = sockets.fault("echo")
  if options.url then
    key = sockets.key()
    url = options.url:gsub("KEY", key)
  end
  local record = sockets.open(wire.with(options, { url = url }))
  sockets.close(record)
  return wire.parse(wire.seen(key)[1].head)
end

-- What the connections of a key did, once n (1) of them have ended: a list of
-- { frames = { { opcode, fin, masked, rsv, length_bytes, size, payload } },
-- ["end"] = "fin" }; payloads are text here.
function sockets.connections(key, n)
  local list = wire.get(wire.url("/ws-frames", { of = key, wait = n or 1 }))
    .data
  for _, connection in ipairs(list) do
    for _, frame in ipairs(connection.frames) do
      frame.payload = frame.payload:gsub("%x%x", function(hex)
        return string.char(tonumber(hex, 16))
      end)
    end
  end
  return list
end

-- The frames of the one connection of a key, which has ended.
function sockets.frames(key)
  local list = sockets.connections(key)
  assert(#list == 1, #list .. " connections")
  return list[1].frames, list[1]["end"]
end

-- ---- Judgements -------------------------------------------------------------

local function show(res)
  return res and ("%s errno %s errCode %s"):format(tostring(res.errMsg),
    tostring(res.errno), tostring(res.errCode)) or "nothing"
end

function sockets.check_result(res, text, errno, code)
  local want = ("%s errno %d errCode %d"):format(text, errno, code)
  if want ~= show(res) then
    error(("expected %q, got %q"):format(want, show(res)), 2)
  end
end

-- fail alone: refused at the call.
function sockets.check_refused(record, text, errno, code)
  assert(#record.errors == 0 and #record.closes == 0, "an event of a socket"
    .. " that was refused")
  sockets.check_result(record.fail, "connectSocket:fail " .. text, errno,
    code or -1)
  assert(record.complete == record.fail, "complete got another result")
  assert(record.task.readyState == record.task.CLOSED, "not CLOSED")
  assert(table.concat(record.order, " ") == "fail complete",
    table.concat(record.order, " "))
end

-- onError alone: it was accepted and did not open.
function sockets.check_unopened(record, text, errno, code)
  local order = table.concat(record.order, " ")
  if order ~= "success complete error" then
    error("expected one error, got: " .. order, 2)
  end
  sockets.check_result(record.errors[1], "connectSocket:fail " .. text, errno,
    code)
  assert(record.task.readyState == record.task.CLOSED, "not CLOSED")
end

local function check_close(res, code, reason)
  if not res or res.code ~= code or res.reason ~= reason then
    error(("expected close %d %q, got %s %q"):format(code, reason,
      tostring(res and res.code), tostring(res and res.reason)), 3)
  end
end

-- Closed, without an error.
function sockets.check_closed(record, code, reason)
  assert(#record.errors == 0, show(record.errors[1]))
  assert(#record.closes == 1, #record.closes .. " close events")
  check_close(record.closes[1], code, reason)
  assert(record.order[#record.order] == "close", "close is not the last")
  assert(record.task.readyState == record.task.CLOSED, "not CLOSED")
end

local VIOLATIONS = {
  [1002] = { "WebSocket protocol error", 600001, -1 },
  [1007] = { "WebSocket text is not UTF-8", 600001, -1 },
  [1009] = { "exceed max message size", 600004, -8 },
}

-- onError, then onClose, after it had been open.
function sockets.check_violation(record, code)
  assert(#record.errors == 1, #record.errors .. " errors, "
    .. #record.closes .. " closes")
  assert(#record.closes == 1, #record.closes .. " close events")
  local want = VIOLATIONS[code]
  sockets.check_result(record.errors[1], "connectSocket:fail " .. want[1],
    want[2], want[3])
  local count = #record.order
  assert(record.order[count - 1] == "error" and record.order[count] == "close",
    table.concat(record.order, " "))
  assert(record.closes[1].code == code, record.closes[1].code)
end

-- ---- Between tests ----------------------------------------------------------

-- What residue.defaults() sets, and what is for sockets.
function sockets.defaults()
  residue.defaults()
  net.configure {
    socketMode = "multi",
    timeouts = { socket = 60000 },
    limits = {
      maxSockets = 5,
      sendQueueBytes = 16 * 1024 * 1024,
      maxMessageBytes = 16 * 1024 * 1024,
    },
  }
end

local GLOBAL = { "Open", "Message", "Error", "Close" }

-- For after_each, see residue.finish().
function sockets.verify()
  local records = started
  started = {}
  residue.finish(records, function()
    for _, name in ipairs(GLOBAL) do net["offSocket" .. name]() end
    sockets.defaults()
  end, function(task) task:close { fail = function() end } end)
end

-- Ends sockets whose peers would let a close wait for its 5 seconds.
function sockets.drop()
  started = {}
  net.close()
end

return sockets
