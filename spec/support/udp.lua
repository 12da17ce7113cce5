-- UDP sockets of a test, and what became of them.
--
--   local socket = udp.bound()
--   udp.send(socket, servers.demo_udp, "hello")
--   udp.wait_messages(socket, 1)
--   after_each(udp.verify)                   -- closes those that are open
--
-- A record fills while frames run:
--   task, port (of bound()), messages, errors, closes, listens (results),
--   order ("listening", "message", ...; messages in a row count as one), done

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local wire = require "support.wire"

local net = helper.net
local udp = {}

local started = {}

local function add(record, list, name)
  return function(res)
    assert(name == "error" or not record.done, name .. " came after the end")
    list[#list + 1] = res
    if name ~= "message" or record.order[#record.order] ~= name then
      record.order[#record.order + 1] = name
    end
  end
end

function udp.create(...)
  local record = { messages = {}, errors = {}, closes = {}, listens = {},
    order = {}, done = false }
  local task = assert(net.createUDPSocket(...))
  record.task = task
  task:onListening(add(record, record.listens, "listening"))
  task:onMessage(add(record, record.messages, "message"))
  task:onError(add(record, record.errors, "error"))
  local on_close = add(record, record.closes, "close")
  task:onClose(function(res)
    on_close(res)
    record.done = true
  end)
  started[#started + 1] = record
  return record
end

function udp.bound(...)
  local record = udp.create(...)
  record.port = assert(record.task:bind(), "bind failed")
  return record
end

-- To 127.0.0.1, or where the options say.
function udp.send(record, port, message, options)
  return record.task:send(wire.with({ address = "127.0.0.1", port = port,
    message = message }, options or {}))
end

function udp.wait_messages(record, count, ms)
  helper.run_until(function()
    return #record.messages >= count
  end, ms, count .. " datagrams")
  return record.messages[count]
end

function udp.wait_errors(record, count, ms)
  helper.run_until(function()
    return #record.errors >= count
  end, ms, count .. " errors")
  return record.errors[count]
end

function udp.finish(record, ms)
  helper.run_until(function()
    return record.done
  end, ms, "the end of " .. tostring(record.task))
  return record
end

function udp.close(record)
  record.task:close()
  return udp.finish(record).closes[1]
end

-- Sends and waits for the answer: a message's result.
function udp.ask(record, port, message, options)
  local count = #record.messages
  udp.send(record, port, message, options)
  return udp.wait_messages(record, count + 1)
end

-- ---- What the fault server saw ----------------------------------------------

udp.key = wire.key

-- The datagrams of a key, once there are n (1): { size, ip, port, hops, text }.
function udp.seen(key, n)
  return wire.get(wire.url("/udp-seen", { of = key, wait = n or 1 })).data
end

-- ---- Judgements -------------------------------------------------------------

-- One error, with that code; its text contains `text`.
function udp.check_error(record, count, code, text)
  local res = udp.wait_errors(record, count)
  assert(#record.errors == count, #record.errors .. " errors")
  if res.errCode ~= code or not res.errMsg:find(text or "", 1, true) then
    error(("expected errCode %d and %q, got %s: %s"):format(code, text or "",
      tostring(res.errCode), tostring(res.errMsg)), 2)
  end
  assert(type(res.errno) == "number", "no errno")
  assert(res.errMsg:find("^UDPSocket%.%a+:fail "), res.errMsg)
  return res
end

-- ---- Between tests ----------------------------------------------------------

udp.defaults = sockets.defaults

function udp.verify()
  local records = started
  started = {}
  residue.finish(records, udp.defaults)
end

function udp.drop()
  started = {}
  net.close()
end

return udp
