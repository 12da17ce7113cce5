-- createTCPSocket() and createUDPSocket(), and what the two kinds of sockets
-- are told when something is wrong. What happens on an open one is in the
-- core's lendpoint.c, ltcp.c and ludp.c.
--
-- The settings and the logger go only to functions that were kept in locals:
-- see init.lua.

local error, pairs, tostring, type = error, pairs, tostring, type

local core = require "nettask.core"
local errors = require "nettask.errors"
local exchange = require "nettask.exchange"
local apply_dns = require "nettask.httpdns".apply
local names = require "nettask.names"

local E = core.errors
local LABELS = { tcp = "TCPSocket", udp = "UDPSocket" }

local ADDRESS_MAX = 255 -- the longest name

local endpoint = {}

-- ---- Options ----------------------------------------------------------------

-- true: any type, since what is wrong with it is for onError.
local CREATE = { type = "string" }
local CONNECT = {
  address = true, port = true, timeout = "number", timeoutMs = "number",
  tls = "boolean", noDelay = "boolean",
  enableHttpDNS = "boolean", httpDNSServiceId = "string",
  httpDNSTimeout = "number",
}
local BIND_WIFI = { BSSID = "string" }
local SEND = { address = true, port = true, message = true, offset = true,
  length = true, setBroadcast = "boolean" }
local UDP = {
  send = SEND, write = SEND, connect = { address = true, port = true },
}

-- `level` is that of the script's call.
local function check_table(given, method, level)
  if type(given) ~= "table" then
    error(("bad argument #1 to '%s' (table expected, got %s)"):format(method,
      type(given)), level + 1)
  end
end

-- Raises for a wrong type, and remarks what is unknown.
local function check_options(given, types, method, label, log, level)
  for name, value in pairs(given) do
    local want = types[name]
    if not want then
      log.once("warn", label .. ": " .. names.unknown("option", name, types))
    elseif want ~= true and type(value) ~= want then
      error(("bad argument #1 to '%s' (%s: %s expected, got %s)"):format(method,
        name, want, type(value)), level + 1)
    end
  end
end

-- ---- Errors -----------------------------------------------------------------

-- As it is told of a bad argument; a script may have put anything there.
local function value_text(value)
  if type(value) == "string" then return value:sub(1, 100) end
  if type(value) == "number" then return tostring(value) end
  return core.typeName(value)
end

local function complain(name, fault, handled, log)
  if fault.reason then
    log.write("warn", name .. " refused by " .. fault.reason)
  elseif not handled then
    log.once("warn", ("%s failed, and nobody handles it: %s"):format(name,
      fault.detail or fault.text))
  end
end

-- What the core calls that which fails on a datagram socket; what is not here
-- is called the same, or is no method.
local METHODS = { join = "joinMulticast", leave = "leaveMulticast",
  ["set TTL"] = "setTTL", ["set multicast TTL"] = "setMulticastTTL",
  ["set broadcast"] = "setBroadcast", receive = "send" }

-- What onMessage gets.
function endpoint.data(message, size, ipv6, address, port, our_address,
    our_port)
  local family = ipv6 and "IPv6" or "IPv4"
  return {
    message = message,
    remoteInfo = { address = address, family = family, port = port,
      size = size },
    localInfo = { address = our_address, family = family, port = our_port },
  }
end

-- ---- The functions ----------------------------------------------------------

local function is_ipv6(name, ipv4, ipv6, method)
  if name == nil or name == ipv4 then return false end
  if name == ipv6 then return true end
  error(("bad argument #1 to '%s' (invalid type \"%s\")"):format(method,
    value_text(name)), 3)
end

-- How long connect() may take, in ms. `timeout` counts seconds, as nowhere
-- else.
local function timeout_of(given, settings)
  local seconds, ms = given.timeout, given.timeoutMs
  if ms and ms > 0 then return ms end
  if seconds and seconds > 0 then return seconds * 1000 end
  return settings.tcpTimeout
end

-- The functions over the settings and the logger of one module table.
function endpoint.new(settings, log)
  local self = {}

  local function fail_result(name, fault)
    return exchange.fail_result(name, fault, nil, settings.dialect == "my")
  end

  -- What onError gets; the core calls it, see lendpoint.c.
  function self.fault(kind, handled, method, fault, code, message, phase, name,
      value)
    local label = LABELS[kind]
    if kind == "udp" then method = METHODS[method] or method or "send" end
    if method then label = label .. "." .. method end
    if not fault and name then
      fault = errors.argument(name, value_text(value))
    elseif not fault then
      fault = errors.endpoint(kind, code, message, phase)
    end
    complain(label, fault, handled, log)
    return fail_result(label, fault)
  end

  local function creation_fault(kind, api, code)
    local fault = errors.endpoint(kind, code)
    complain(api, fault, true, log)
    return nil, fail_result(api, fault)
  end

  function self.createTCPSocket(given)
    if given == nil then given = {} end
    check_table(given, "createTCPSocket", 2)
    check_options(given, CREATE, "createTCPSocket", "createTCPSocket", log, 2)
    local ipv6 = is_ipv6(given.type, "ipv4", "ipv6", "createTCPSocket")
    local socket, code = core.tcpOpen(ipv6)
    if socket then return socket end
    return creation_fault("tcp", "createTCPSocket", code)
  end

  function self.createUDPSocket(name)
    local ipv6 = is_ipv6(name, "udp4", "udp6", "createUDPSocket")
    local socket, code = core.udpOpen(ipv6)
    if socket then return socket end
    return creation_fault("udp", "createUDPSocket", code)
  end

  -- ---- Methods of TCPSocket -------------------------------------------------

  -- What is wrong with the peer, or nil.
  local function peer_fault(given)
    local address, port = given.address, given.port
    if type(address) ~= "string" or #address > ADDRESS_MAX then
      return errors.argument("address", value_text(address))
    end
    if type(port) ~= "number" or not (port >= 1 and port <= 65535)
      or port % 1 ~= 0 then
      return errors.argument("port", value_text(port))
    end
  end

  local function fault_of(code, given)
    if code == E.ADDRESS then
      return errors.argument("address", value_text(given.address))
    end
    return errors.endpoint("tcp", code)
  end

  local function connect(socket, given)
    local fault = peer_fault(given)
    if not fault then
      local params = {
        host = given.address, port = given.port,
        timeout = timeout_of(given, settings),
        tls = given.tls, noDelay = given.noDelay,
      }
      if given.enableHttpDNS then
        apply_dns(params, given, settings, params, params.timeout)
        params.resolves = true
      end
      local code = core.tcpStart(socket, params)
      fault = code ~= 0 and fault_of(code, given)
    end
    if fault then core.tcpRefuse(socket, fault) end
  end

  local function bind_wifi(socket)
    local interface = settings.wifiInterface
    if interface then
      core.tcpBindWifi(socket, interface)
    else
      core.tcpComplain(socket, "bindWifi", errors.WIFI)
    end
  end

  local methods = {
    connect = { CONNECT, connect }, bindWifi = { BIND_WIFI, bind_wifi },
  }

  -- Both are for a socket that has not been connected yet.
  function self.tcp(socket, name, given)
    local method = methods[name]
    if given == nil and name == "bindWifi" then given = {} end
    check_table(given, name, 3)
    check_options(given, method[1], name, "TCPSocket." .. name, log, 3)
    local state = socket.state
    if state == "idle" then return method[2](socket, given) end
    local ended = state == "closing" or state == "done"
    core.tcpComplain(socket, name,
      errors.endpoint("tcp", ended and E.NOT_OPEN or E.STATE))
  end

  -- ---- Methods of UDPSocket -------------------------------------------------

  -- The core reads them itself.
  function self.remark(_, name, given)
    check_options(given, UDP[name], name, "UDPSocket." .. name, log, 3)
  end

  return self
end

return endpoint
