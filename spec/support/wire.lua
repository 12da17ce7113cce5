-- What a server was sent, taken apart, for specs that judge the bytes of a
-- request. The fault server answers /raw with the request itself and keeps a
-- record of each request that carries a key; httpbin parses what it gets.

local helper = require "helper"
local query = require "nettask.query"

local servers = helper.servers
local wire = {}

-- A copy of `options` with the fields of `more`.
function wire.with(options, more)
  local copy = {}
  for key, value in pairs(options) do copy[key] = value end
  for key, value in pairs(more) do copy[key] = value end
  return copy
end

-- The result of a request that must succeed.
function wire.get(options)
  if type(options) == "string" then options = { url = options } end
  local record = helper.fetch(options)
  assert(record.success, record.complete.errMsg)
  return record.success
end

-- The result of a request that must fail.
function wire.fail(options)
  local record = helper.fetch(options)
  assert(record.fail, "the request did not fail")
  return record.fail
end

-- ---- One request as bytes ---------------------------------------------------

-- { line, method, target, fields = { { name, value }, ... }, body, bytes }
function wire.parse(bytes)
  local head, body = bytes:match("^(.-\r\n)\r\n(.*)$")
  assert(head, "no request: " .. bytes)
  local request = { bytes = bytes, body = body, fields = {} }
  for line in head:gmatch("(.-)\r\n") do
    if request.line then
      local name, value = line:match("^([^:]+):[ \t]*(.-)[ \t]*$")
      assert(name, "no field: " .. line)
      request.fields[#request.fields + 1] = { name, value }
    else
      request.line = line
    end
  end
  request.method, request.target = request.line:match("^(%S+) (%S+) HTTP/1.1$")
  assert(request.method, "no request line: " .. request.line)
  return request
end

-- What the fault server got. `options.url` may be left out.
function wire.raw(options)
  local res = wire.get(wire.with({ url = servers.fault.http .. "/raw" },
    wire.with(options or {}, { dataType = "text" })))
  local bytes = res.data
  if res.header["X-Raw"] then
    assert(bytes == "", "a body that HTTP does not allow")
    bytes = assert(require("nettask.core").base64Decode(res.header["X-Raw"]))
  end
  return wire.parse(bytes)
end

-- The values of all fields of that name, of a request or of a record.
function wire.values(request, name)
  local values = {}
  for _, field in ipairs(request.fields or request.headers) do
    if field[1]:lower() == name:lower() then
      values[#values + 1] = field[2]
    end
  end
  return values
end

-- ---- What a parser makes of it ----------------------------------------------

-- httpbin's view: method, url, args, headers, data, form, json.
function wire.anything(options)
  return wire.get(wire.with({ url = servers.httpbin .. "/anything" },
    options)).data
end

-- ---- Records of the fault server --------------------------------------------

local keys = 0

-- A key of no other request, of no other spec either.
function wire.key()
  keys = keys + 1
  return ("wire-%.0f-%d"):format(helper.now() * 1000, keys)
end

-- A url of the fault server. `parameters` is a table of them, or a list of
-- pairs.
function wire.url(path, parameters, server)
  return query.append((server or servers.fault.http) .. path,
    query.encode(parameters or {}))
end

-- The requests under that key, in order: method, target, headers, body.
function wire.seen(key)
  return wire.get(wire.url("/requests", { of = key })).data
end

return wire
