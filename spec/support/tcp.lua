-- TCP sockets of a test, and what became of them.
--
--   local socket = tcp.connect { port = servers.demo_tcp }  -- once connected
--   socket.task:write("hello")
--   tcp.wait_bytes(socket, 5)
--   after_each(tcp.verify)                   -- closes those that are open
--
-- A record fills while frames run:
--   task, connects, errors, closes (results), messages (results), bytes (of all
--   messages), order ("connect", "message", ...; messages in a row count as
--   one), done (nothing more will come)

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local tcp = {}

-- Those of the test that runs.
local started = {}

local function note(record, name)
  if name ~= "message" or record.order[#record.order] ~= name then
    record.order[#record.order + 1] = name
  end
end

local function add(record, list, name)
  return function(res)
    assert(not record.done, name .. " came after the end")
    list[#list + 1] = res
    note(record, name)
  end
end

-- A socket of createTCPSocket's options, with its listeners; not connected.
function tcp.create(options)
  local record = { connects = {}, messages = {}, errors = {}, closes = {},
    order = {}, done = false, count = 0 }
  local task = assert(net.createTCPSocket(options))
  record.task = task
  task:onConnect(add(record, record.connects, "connect"))
  task:onError(add(record, record.errors, "error"))
  local on_message = add(record, record.messages, "message")
  task:onMessage(function(res)
    on_message(res)
    record.count = record.count + #res.message
  end)
  local on_close = add(record, record.closes, "close")
  task:onClose(function(res)
    on_close(res)
    record.done = true
  end)
  started[#started + 1] = record
  return record
end

-- Calls connect: address 127.0.0.1 unless the options say another.
function tcp.start(options, create)
  local record = tcp.create(create)
  record.task:connect(wire.with({ address = "127.0.0.1" }, options))
  return record
end

local function explain(record)
  local last = record.errors[#record.errors]
  return last and last.errMsg or "closed"
end

function tcp.wait_open(record, ms)
  helper.run_until(function()
    assert(#record.connects > 0 or not record.done,
      "did not connect: " .. explain(record))
    return #record.connects > 0
  end, ms, "the connection of " .. tostring(record.task))
  return record
end

function tcp.connect(options, create, ms)
  return tcp.wait_open(tcp.start(options, create), ms)
end

-- Connected to the fault server, which does what the line says.
function tcp.scripted(line, options)
  local record = tcp.connect(wire.with({ port = servers.fault.tcp },
    options or {}))
  record.task:write(line .. "\n")
  return record
end

-- Runs frames until nothing more will come; returns the record.
function tcp.finish(record, ms)
  helper.run_until(function()
    return record.done
  end, ms, "the end of " .. tostring(record.task))
  return record
end

-- Starts a socket and runs it to its end.
function tcp.whole(options, create, ms)
  return tcp.finish(tcp.start(options, create), ms)
end

-- Closes and runs to the end; returns the result of onClose.
function tcp.close(record, ms)
  record.task:close()
  return tcp.finish(record, ms).closes[1]
end

-- All that has come, as one string.
function tcp.text(record)
  local parts = {}
  for i, res in ipairs(record.messages) do parts[i] = tostring(res.message) end
  return table.concat(parts)
end

-- Runs frames until that many bytes have come; returns all of them.
function tcp.wait_bytes(record, count, ms)
  helper.run_until(function()
    assert(record.count >= count or not record.done,
      ("ended with %d of %d bytes: %s"):format(record.count, count,
        explain(record)))
    return record.count >= count
  end, ms, count .. " bytes")
  return tcp.text(record)
end

-- Bytes i % 251 from `at` on, as the servers make and check them.
local period = {}
for i = 0, 250 do period[i + 1] = string.char(i) end
period = table.concat(period)

function tcp.pattern(size, at)
  local skip = (at or 0) % 251
  local text = period:rep(math.floor((size + skip) / 251) + 1)
  return text:sub(skip + 1, skip + size)
end

-- Writes pieces of the pattern until the system takes no more and the queue is
-- full, which is an error; returns the bytes that were taken.
function tcp.fill(record, size)
  local task, taken, since = record.task, 0, nil
  helper.run_until(function()
    local refused
    repeat
      local errors = #record.errors
      task:write(tcp.pattern(size, taken))
      net.update()
      refused = #record.errors > errors
      if not refused then taken, since = taken + size, nil end
    until refused
    since = since or helper.now()
    return helper.now() - since > 100
  end, 15000, "the queue to be full")
  return taken
end

-- ---- What the fault server saw ----------------------------------------------

tcp.key = wire.key

-- The connections of a key, once n (1) of them have ended: a list of
-- { bytes, pattern, text, ["end"] = "fin" | "reset" | "ours" }.
function tcp.connections(key, n)
  return wire.get(wire.url("/tcp-seen", { of = key, wait = n or 1 })).data
end

function tcp.seen(key)
  local list = tcp.connections(key)
  assert(#list == 1, #list .. " connections")
  return list[1]
end

function tcp.release(key)
  helper.ask(wire.url("/tcp-release", { of = key }))
end

-- ---- Judgements -------------------------------------------------------------

-- The text is what stands after "fail "; before it is the name of a method.
function tcp.check_result(res, method, text, errno, code)
  local show = res and ("%s errno %s errCode %s"):format(
    tostring(res.errMsg), tostring(res.errno), tostring(res.errCode))
    or "nothing"
  local want = ("%s:fail %s errno %d errCode %d"):format(method, text, errno,
    code)
  if want ~= show then
    error(("expected %q, got %q"):format(want, show), 2)
  end
end

function tcp.check_order(record, ...)
  local want = table.concat({ ... }, " ")
  local got = table.concat(record.order, " ")
  if want ~= got then
    error(("expected %q, got %q: %s"):format(want, got, explain(record)), 2)
  end
end

-- A connect that failed: onError, then onClose, and nothing else.
function tcp.check_unconnected(record, text, errno, code)
  tcp.check_order(record, "error", "close")
  tcp.check_result(record.errors[1], "TCPSocket.connect", text, errno,
    code or -4)
end

-- ---- Between tests ----------------------------------------------------------

-- What residue.defaults() sets, and what is for TCP sockets. The window is
-- wide open, and every port is allowed: free ones may be on the list.
function tcp.defaults()
  sockets.defaults()
  net.configure {
    timeouts = { tcp = 2000 },
    limits = { tcpPerWindow = 0, tcpForbiddenPorts = false },
  }
end

-- For after_each, see residue.finish().
function tcp.verify()
  local records = started
  started = {}
  residue.finish(records, tcp.defaults)
end

-- Ends sockets whose peers would let a close wait for its 5 seconds.
function tcp.drop()
  started = {}
  net.close()
end

return tcp
