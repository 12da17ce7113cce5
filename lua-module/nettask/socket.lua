-- connectSocket(), send() and close(), and the global functions, which mean the
-- bound socket. What happens on an open one is in the core's lsocket.c; here is
-- what the options mean, and what a call is told that is refused.

local error, pairs, tostring, type = error, pairs, tostring, type
local next = next

local apply_cookies = require "nettask.cookies".apply
local core = require "nettask.core"
local errors = require "nettask.errors"
local exchange = require "nettask.exchange"
local options = require "nettask.options"
local referer = require "nettask.web".referer

local E = core.errors
local max_sockets = core.maxSockets
local bound_socket, notice, replace = core.boundSocket, core.notice,
  core.socketReplace
local send_bytes, close_socket = core.socketSend, core.socketClose
local accept = core.accept
-- What the settings and the logger are given to: see init.lua.
local accept_call, refuse_call = exchange.accept, exchange.refuse
local check_send, check_close = options.send, options.close
local NOTHING = {}

local RECONNECT = { base = 500, max = 30000, jitter = 0.5, tries = 10 }

-- RFC 9110
local TOKEN = "^[%w!#$%%&'*+%-.^_`|~]+$"

-- ---- connectSocket ----------------------------------------------------------

-- A list, nil when there is none, or nil and a failure.
local function protocols_of(given)
  local list = given.protocols
  if list == nil then list = given.protocolsArray end
  if list == nil then return nil end
  if type(list) ~= "table" or (core.typeName(list) ~= "Array" and next(list))
  then
    return nil, errors.NO_ARRAY
  end
  -- The core borrows the texts, and must not find others than those checked.
  local seen, checked = {}, {}
  for i = 1, #list do
    local name = list[i]
    if type(name) ~= "string" or not name:find(TOKEN) or seen[name] then
      return nil, errors.PROTOCOL
    end
    seen[name], checked[i] = true, name
  end
  return checked
end

-- The four figures, nil for none, or nil and a failure.
local function reconnect_of(given)
  if not given then return nil end
  local all = {}
  for name, default in pairs(RECONNECT) do
    local value = given ~= true and given[name] or default
    if value ~= value or value < 0 or (name == "jitter" and value > 1) then
      return nil, errors.option("reconnect." .. name, tostring(value))
    end
    all[name] = value
  end
  return all
end

-- What the core wants to know, or nil and a failure.
local function prepare(_, given, settings)
  local interface = given.forceCellularNetwork and settings.cellularInterface
  if given.forceCellularNetwork and not interface then
    return nil, errors.CELLULAR
  end
  local protocols, fault = protocols_of(given)
  if fault then return nil, fault end
  local reconnect, reconnect_fault = reconnect_of(given.reconnect)
  if reconnect_fault then return nil, reconnect_fault end
  local list, header_fault = exchange.header(given.header or given.headers,
    false)
  if not list then return nil, header_fault end
  local params = {
    url = given.url,
    baseUrl = settings.baseUrl,
    headers = list,
    protocols = protocols,
    total = exchange.total(given, settings.socketTimeout),
    timeouts = exchange.stages(given),
    noDelay = given.tcpNoDelay,
    deflate = given.perMessageDeflate,
    profile = given.enableProfile ~= false,
    pingInterval = given.pingInterval,
    pongTimeout = given.pongTimeout,
    maxMessageBytes = given.maxMessageBytes,
    reconnect = reconnect,
    proxy = given.proxy,
    referer = referer(nil, settings),
    interface = interface or nil,
    multiple = given.multiple,
    base64 = settings.dialect == "my",
  }
  apply_cookies(params, given.credentials, nil, settings)
  return params
end

local function fault_of(code)
  if code == E.LIMIT then return errors.sockets(max_sockets()) end
end

-- It is accepted, and that is what success means. What becomes of it is for
-- the listeners.
local function started(task, record, given, settings)
  if settings.socketMode == "single" and not given.multiple then
    replace(task)
  end
  local success, complete = record.success, record.complete
  record.success, record.fail, record.complete = nil, nil, nil
  local res = { errMsg = "connectSocket:ok", socketTaskId = task.socketTaskId }
  if not success and not complete then return accept(task, res) end
  notice("connectSocket", true, res, success, complete, record)
end

local socket = {}

socket.connect = {
  name = "connectSocket",
  open = core.socketOpen, start = core.socketStart, refuse = core.socketRefuse,
  check = options.socket,
  codes = errors.socket,
  prepare = prepare,
  fault = fault_of,
  started = started,
}

-- A send() that was accepted, and whose socket has ended since.
socket.send = { name = "sendSocketMessage", codes = errors.socket,
  method = true }

-- ---- send and close ---------------------------------------------------------

local NOT_OPEN = errors.of_code(E.NOT_OPEN, nil, nil, nil, errors.socket)

local function send_fault(code)
  if code == E.WS_TEXT then return errors.NO_UTF8 end
  return errors.of_code(code, nil, nil, nil, errors.socket)
end

-- The bytes to send, or nil and a failure.
local function data_of(given)
  local data = given.data
  local kind = core.typeName(data)
  if kind == "ArrayBuffer" or kind == "String" and not given.isBuffer then
    return data
  elseif kind ~= "String" then
    return nil, errors.NO_DATA
  end
  local bytes, message = core.base64Decode(data)
  if not bytes then return nil, errors.base64(message) end
  return core.buffer(bytes)
end

-- Code and reason, or nil and a failure.
local function closing_of(given)
  local code, reason = given.code or 1000, given.reason or ""
  if code % 1 ~= 0 or code < 1000 or code > 4999 then
    return nil, errors.CODE
  end
  if #reason > 123 or reason:find("\0", 1, true) or not core.isUtf8(reason) then
    return nil, errors.REASON
  end
  return code, reason
end

local function check_table(given, name)
  if type(given) ~= "table" then
    error(("bad argument #1 to '%s' (table expected, got %s)"):format(
      name, type(given)), 3)
  end
end

-- The functions over the settings and the logger of one module table: send and
-- close, which the core calls for the methods, and the global two.
function socket.new(settings, log)
  local self = {}

  -- A closed socket may be closed again: no need to be loud about it.
  local function refuse(name, given, fault)
    local level = fault == NOT_OPEN and name == "closeSocket" and "debug"
      or "warn"
    refuse_call(name, given, fault, settings, log, level)
  end

  -- task:send(), for what is unusual; `code` says why it was refused.
  function self.send(task, given, code)
    local fault, data
    if not code then
      fault = check_send(given, log)
      if not fault then data, fault = data_of(given) end
      if not fault then
        code = send_bytes(task, data, given.success, given.fail,
          given.complete)
      end
    end
    if code ~= 0 then
      refuse("sendSocketMessage", given, fault or send_fault(code))
    end
  end

  -- task:close()
  function self.close(task, given)
    given = given or NOTHING
    local fault = check_close(given, log)
    local code, reason
    if not fault then code, reason = closing_of(given) end
    if code then
      local result = close_socket(task, code, reason)
      if result == E.INVALID then
        fault = errors.CODE
      elseif result ~= 0 then
        fault = errors.of_code(result, nil, nil, nil, errors.socket)
      end
    else
      fault = fault or reason
    end
    if fault then return refuse("closeSocket", given, fault) end
    accept_call("closeSocket", given)
  end

  function self.sendSocketMessage(given)
    check_table(given, "sendSocketMessage")
    local task = bound_socket()
    if not task then return refuse("sendSocketMessage", given, NOT_OPEN) end
    task:send(given)
  end

  -- One that is still connecting cannot be closed this way.
  function self.closeSocket(given)
    if given == nil then given = NOTHING end
    check_table(given, "closeSocket")
    local task, connecting = bound_socket()
    if not task or connecting then
      return refuse("closeSocket", given, NOT_OPEN)
    end
    self.close(task, given)
  end

  return self
end

return socket
