-- Redirects, which the core follows hop by hop: method and body by status,
-- where Location leads, what must not cross an origin, the limit.
--
-- The fault server keeps a record of every hop under one key. It listens with
-- and without TLS and on ::1, which makes several origins.

local helper = require "helper"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault, demo = servers.fault, servers.demo

local named = fault.http:gsub("127%.0%.0%.1", "localhost")

-- A url of `from` that redirects to `to` and is recorded.
local function redirect(key, to, more, from)
  return wire.url("/redirect", wire.with({ key = key, to = to }, more or {}),
    from)
end

local function target(key, server)
  return wire.url("/respond", { key = key, body = "there" }, server)
end

-- Runs a request whose url leads to `target`; the records of its hops.
local function hops(key, options)
  local res = wire.get(wire.with({ dataType = "text" }, options))
  assert.equal("there", res.data)
  return wire.seen(key)
end

local function set_up()
  net.configure { caFile = servers.ca }
end

describe("the method after a redirect", function()
  setup(set_up)
  after_each(helper.verify)

  -- What the second hop uses, by status. The Fetch standard.
  local cases = {
    [301] = { POST = "GET" }, [302] = { POST = "GET" },
    [303] = { POST = "GET", PUT = "GET", DELETE = "GET", PATCH = "GET",
      OPTIONS = "GET" },
    [307] = {}, [308] = {},
  }
  for status, changes in pairs(cases) do
    for _, method in ipairs { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH",
      "OPTIONS" } do
      local wanted = changes[method] or method
      it(("%s is %s on %d"):format(method, wanted, status), function()
        local key = wire.key()
        local takes_body = method ~= "GET" and method ~= "HEAD"
        local res = wire.get { method = method, dataType = "text",
          data = takes_body and "the body" or nil,
          url = redirect(key, target(key), { status = status }) }
        assert.equal(200, res.statusCode)
        assert.equal(method == "HEAD" and "" or "there", res.data)
        local seen = wire.seen(key)
        assert.equal(2, #seen)
        assert.equal(method, seen[1].method)
        assert.equal(wanted, seen[2].method)
        local keeps_body = takes_body and wanted == method
        assert.equal(takes_body and "the body" or "", seen[1].body)
        assert.equal(keeps_body and "the body" or "", seen[2].body)
        assert.same(keeps_body and { "8" } or {},
          wire.values(seen[2], "content-length"))
      end)
    end
  end

  it("has no Content-Type when the body was dropped", function()
    local key = wire.key()
    local seen = hops(key, { url = redirect(key, target(key)),
      method = "POST", data = { a = 1 } })
    assert.same({ "application/json" }, wire.values(seen[1], "content-type"))
    assert.same({}, wire.values(seen[2], "content-type"))
  end)

  it("keeps a large body, and binary data", function()
    local key = wire.key()
    local data = ("\0\1\254\255"):rep(100000)
    local seen = hops(key, { url = redirect(key, target(key),
      { status = 307 }), method = "PUT", data = net.buffer(data) })
    assert.equal(400000, tonumber(wire.values(seen[2], "content-length")[1]))
    -- The records hold the bytes as Latin-1 letters.
    local letters = ("\0\1\195\190\195\191"):rep(100000)
    assert.is_true(seen[1].body == letters)
    assert.is_true(seen[2].body == letters)
  end)

  it("keeps the query of a GET out of the next url", function()
    local key = wire.key()
    local seen = hops(key, { url = redirect(key, target(key)),
      data = { score = 1 } })
    assert.matches("score=1", seen[1].target, 1, true)
    assert.is_nil(seen[2].target:find("score", 1, true))
  end)

  it("is what httpbin sees", function()
    local res = wire.get { method = "POST", data = { a = 1 },
      url = servers.httpbin .. "/redirect-to?status_code=307&url=/anything" }
    assert.equal("POST", res.data.method)
    assert.same({ a = 1 }, res.data.json)
    res = wire.get { method = "POST", data = { a = 1 },
      url = servers.httpbin .. "/redirect-to?status_code=303&url=/anything" }
    assert.equal("GET", res.data.method)
    assert.equal("", res.data.data)
  end)
end)

describe("the result of a redirect", function()
  setup(set_up)
  after_each(helper.verify)

  it("is that of the last hop, told once", function()
    local key = wire.key()
    local record = helper.fetch { dataType = "text",
      url = redirect(key, wire.url("/respond", { h = "X-Last: yes",
        body = "there" }), { h = "X-First: yes", bytes = 5000 }) }
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.equal("there", record.success.data)
    assert.equal("yes", record.success.header["X-Last"])
    assert.is_nil(record.success.header["X-First"])
    assert.is_nil(record.success.header["Location"])
    assert.same(record.success.header, record.headers[1].header)
  end)

  it("does not have a long body of a hop either", function()
    local key = wire.key()
    local record = helper.fetch { enableChunked = true,
      url = redirect(key, target(key), { bytes = 300000 }) }
    assert.equal(1, #record.headers)
    assert.equal("there", tostring(record.chunks[1]))
    assert.is_nil(record.chunks[2])
  end)

  it("is the redirect itself where there is no Location", function()
    for _, status in ipairs { 301, 302, 303, 307, 308 } do
      local key = wire.key()
      local res = wire.get { dataType = "text",
        url = wire.url("/redirect", { key = key, status = status }) }
      assert.equal(status, res.statusCode)
      assert.equal("moved", res.data)
      assert.equal(1, #wire.seen(key))
    end
  end)

  it("is the answer of a status that is no redirect", function()
    for _, status in ipairs { 200, 201, 300, 304, 305, 306, 399, 404 } do
      local key = wire.key()
      local res = wire.get { dataType = "text", url = wire.url("/respond",
        { key = key, status = status, h = "Location: " .. target(key) }) }
      assert.equal(status, res.statusCode)
      assert.equal(target(key), res.header["Location"])
      assert.equal(1, #wire.seen(key))
    end
  end)

  it("uses one connection for hops of one origin", function()
    local first = wire.get(fault.http .. "/connection").data
    wire.get { url = redirect(wire.key(), "/respond") }
    local second = wire.get(fault.http .. "/connection").data
    assert.equal(first.connection, second.connection)
    assert.equal(first.requests + 3, second.requests)
  end)
end)

describe('redirect="manual"', function()
  setup(set_up)
  after_each(helper.verify)

  it("ends with the redirect, as a success", function()
    for _, status in ipairs { 301, 302, 303, 307, 308 } do
      local key = wire.key()
      local record = helper.fetch { redirect = "manual", dataType = "text",
        url = redirect(key, target(key), { status = status }) }
      assert.same({ "headers", "success", "complete" }, record.order)
      assert.equal(status, record.success.statusCode)
      assert.equal("moved", record.success.data)
      assert.equal(target(key), record.success.header["Location"])
      assert.equal(status, record.headers[1].statusCode)
      assert.equal(1, #wire.seen(key))
    end
  end)

  it("changes nothing for other answers", function()
    assert.equal(200, wire.get { url = demo .. "/small",
      redirect = "manual" }.statusCode)
  end)

  it('is not what "follow" means', function()
    local key = wire.key()
    assert.equal(2, #hops(key, { url = redirect(key, target(key)),
      redirect = "follow" }))
  end)
end)

describe("Location", function()
  setup(set_up)
  after_each(helper.verify)

  local port = fault.http:match(":(%d+)$")
  local places = {
    { "absolute", fault.http .. "/respond", "/respond" },
    { "without scheme", "//127.0.0.1:" .. port .. "/respond", "/respond" },
    { "a path", "/respond", "/respond" },
    { "a relative path", "respond", "/respond" },
    { "with dots", "./x/../respond", "/respond" },
    { "above the root", "../../respond", "/respond" },
    { "with an upper-case scheme", fault.http:gsub("^http", "HTTP")
      .. "/respond", "/respond" },
  }
  for _, case in ipairs(places) do
    it("may be " .. case[1], function()
      local key = wire.key()
      local query = "?body=there&key=" .. key
      local seen = hops(key, { url = redirect(key, case[2] .. query) })
      assert.equal(case[3] .. query, seen[2].target)
    end)
  end

  it("may be a query alone", function()
    local key = wire.key()
    local res = wire.get { dataType = "text",
      url = redirect(key, "?status=200&key=" .. key) }
    assert.equal("moved", res.data)
    assert.equal("/redirect?status=200&key=" .. key, wire.seen(key)[2].target)
  end)

  it("may have a fragment, which is not sent", function()
    local key = wire.key()
    local seen = hops(key, { url = redirect(key, target(key) .. "#top") })
    assert.is_nil(seen[2].target:find("#", 1, true))
  end)

  it("may have blanks and raw UTF-8", function()
    local key = wire.key()
    -- The server writes letters as Latin-1: these two become the bytes of one.
    local letters = "\195\131\194\188"
    local seen = hops(key, { url = redirect(key,
      target(key) .. "&a=b c&d=" .. letters) })
    local encoded = seen[2].target:gsub("%%%x%x", string.upper)
    assert.matches("&a=b%20c&d=%C3%BC", encoded, 1, true)
  end)

  local broken = { "http://", "http://[::1", "http://127.0.0.1:99999/",
    "http://127.0.0.1:port/", "http:///" }
  for _, location in ipairs(broken) do
    it(("%q is an invalid url"):format(location), function()
      local key = wire.key()
      local record = helper.fetch { url = redirect(key, location) }
      assert.same({ "fail", "complete" }, record.order)
      assert.equal('request:fail invalid url "' .. location .. '"',
        record.fail.errMsg)
      assert.equal(600009, record.fail.errno)
      assert.equal(-300, record.fail.errCode)
      assert.equal(1, #wire.seen(key))
    end)
  end

  for _, location in ipairs { "ftp://127.0.0.1/x", "file:///etc/passwd",
    "ws://127.0.0.1/", "gopher://127.0.0.1:70/x" } do
    it(("%q has a scheme that is refused"):format(location), function()
      local res = wire.fail { url = redirect(wire.key(), location) }
      assert.equal("request:fail url scheme is not allowed", res.errMsg)
      assert.equal(600011, res.errno)
      assert.equal(-10, res.errCode)
    end)
  end

  for _, location in ipairs { "javascript:alert(1)", "data:,x",
    "mailto:a@b" } do
    it(("%q leads nowhere"):format(location), function()
      local res = wire.fail { url = redirect(wire.key(), location) }
      assert.is_true(res.errno == 600009 or res.errno == 600011)
    end)
  end

  it("may be empty, which leads in circles", function()
    local res = wire.fail { url = redirect(wire.key(), "") }
    assert.equal(600008, res.errno)
  end)

  it("that refuses the connection fails like a first url", function()
    local res = wire.fail { url = redirect(wire.key(), fault.refused) }
    assert.equal(600001, res.errno)
    assert.equal("request:fail -102:net::ERR_CONNECTION_REFUSED", res.errMsg)
  end)

  it("may lead from http to https, and back", function()
    local key = wire.key()
    local seen = hops(key, { url = redirect(key,
      redirect(key, target(key), {}, fault.https)) })
    assert.equal(3, #seen)
    local authority = fault.https:match("//(.*)$")
    assert.same({ authority }, wire.values(seen[2], "host"))
    assert.same({ fault.http:match("//(.*)$") }, wire.values(seen[3], "host"))
  end)

  it("does not escape requireSecure", function()
    local lines = {}
    net.configure { requireSecure = true, logger = function(_, text)
      lines[#lines + 1] = text
    end }
    local key = wire.key()
    local record = helper.fetch { url = redirect(key, target(key), {},
      fault.https) }
    net.configure { requireSecure = false, logger = false }
    assert.matches("refused by requireSecure", lines[1])
    assert.equal("request:fail url scheme is not allowed", record.fail.errMsg)
    assert.equal(600011, record.fail.errno)
    assert.matches("requireSecure", record.fail.reason)
    assert.equal(1, #wire.seen(key))
  end)
end)

describe("a redirect to another origin", function()
  setup(set_up)
  after_each(helper.verify)

  local SECRETS = { Authorization = "Bearer x", Cookie = "a=1",
    ["Proxy-Authorization"] = "Basic x", ["X-Api-Key"] = "k",
    ["X-Auth-Token"] = "t", ["x-session-id"] = "s", ["X-Access-Token"] = "u",
    ["X-Client-Secret"] = "v" }
  local HARMLESS = { ["X-Game"] = "1", Accept = "text/plain",
    ["Content-Type"] = "text/plain", ["X-Level"] = "2" }

  local function secret_options(url, more)
    local header = wire.with(SECRETS, HARMLESS)
    return wire.with({ url = url, header = header }, more or {})
  end

  local function check(record, has_secrets)
    for name, value in pairs(SECRETS) do
      assert.same(has_secrets and { value } or {}, wire.values(record, name),
        name)
    end
    for name, value in pairs(HARMLESS) do
      assert.same({ value }, wire.values(record, name), name)
    end
  end

  local origins = {
    { "another port and scheme", fault.https },
    { "another host", named },
    { "another address", fault.http6 },
  }
  for _, case in ipairs(origins) do
    it("drops secrets: " .. case[1], function()
      local key = wire.key()
      local seen = hops(key, secret_options(redirect(key,
        target(key, case[2]))))
      assert.equal(2, #seen)
      check(seen[1], true)
      check(seen[2], false)
    end)
  end

  it("drops secrets: another port", function()
    local res = wire.get { url = redirect(wire.key(), demo .. "/echo"),
      header = { Authorization = "Bearer x", Cookie = "a=1",
        ["X-Test"] = "stays" } }
    assert.equal("stays", res.data.headers["x-test"])
    assert.is_nil(res.data.headers.authorization)
    assert.is_nil(res.data.headers.cookie)
  end)

  it("does not bring secrets back when it returns", function()
    local key = wire.key()
    local seen = hops(key, secret_options(redirect(key,
      redirect(key, target(key), {}, named))))
    assert.equal(3, #seen)
    check(seen[1], true)
    check(seen[2], false)
    check(seen[3], false)
  end)

  it("keeps secrets within the origin", function()
    for _, server in ipairs { fault.http, fault.https } do
      local key = wire.key()
      local seen = hops(key, secret_options(redirect(key,
        redirect(key, target(key, server), {}, server), {}, server)))
      assert.equal(3, #seen)
      for i = 1, 3 do check(seen[i], true) end
    end
  end)

  it("drops them whatever method and status", function()
    for _, status in ipairs { 301, 303, 307, 308 } do
      local key = wire.key()
      hops(key, { url = redirect(key, target(key, named),
        { status = status }), method = "POST", data = "x",
        header = { authorization = "Bearer x" } })
      local seen = wire.seen(key)
      assert.same({ "Bearer x" }, wire.values(seen[1], "authorization"))
      assert.same({}, wire.values(seen[2], "authorization"))
    end
  end)

  -- "user:pass@" put into a url.
  local function with_user(url)
    return (url:gsub("//", "//user:pass@"))
  end

  local BASIC = { "Basic dXNlcjpwYXNz" }

  it("drops user and password of the url", function()
    local key = wire.key()
    local seen = hops(key, { url = with_user(redirect(key,
      redirect(key, target(key), {}, named))) })
    assert.same(BASIC, wire.values(seen[1], "authorization"))
    assert.same({}, wire.values(seen[2], "authorization"))
    assert.same({}, wire.values(seen[3], "authorization"))
  end)

  it("keeps user and password within the origin", function()
    local key = wire.key()
    local seen = hops(key, { url = with_user(redirect(key,
      "/redirect?key=" .. key .. "&to=" .. "respond%3Fbody=there%26key="
      .. key)) })
    assert.equal(3, #seen)
    for i = 1, 3 do
      assert.same(BASIC, wire.values(seen[i], "authorization"))
    end
  end)

  it("uses user and password of Location", function()
    local key = wire.key()
    local seen = hops(key, { url = redirect(key,
      with_user(target(key, named))) })
    assert.same({}, wire.values(seen[1], "authorization"))
    assert.same(BASIC, wire.values(seen[2], "authorization"))
  end)

  it('uses none at all with credentials="omit"', function()
    local key = wire.key()
    local seen = hops(key, { credentials = "omit",
      url = with_user(redirect(key, with_user(target(key)))) })
    assert.same({}, wire.values(seen[1], "authorization"))
    assert.same({}, wire.values(seen[2], "authorization"))
  end)

  it("sends no Referer", function()
    local key = wire.key()
    local seen = hops(key, { url = with_user(redirect(key,
      target(key, named))) })
    assert.same({}, wire.values(seen[2], "referer"))
  end)
end)

describe("the number of redirects", function()
  setup(set_up)
  after_each(function()
    net.configure { limits = { redirects = 20 } }
    helper.verify()
  end)

  local function chain(length)
    return fault.http .. "/redirect-chain?n=" .. length
  end

  local function exceeds(url, header)
    local res = wire.fail { url = url, header = header }
    assert.equal("request:fail exceed max redirect count", res.errMsg)
    assert.equal(600008, res.errno)
    assert.equal(-310, res.errCode)
  end

  it("may be 20", function()
    local res = wire.get { url = chain(20), dataType = "text" }
    assert.equal("GET /raw HTTP/1.1", res.data:match("^(.-)\r\n"))
    assert.equal(200, wire.get(demo .. "/redirect/20").statusCode)
  end)

  it("may not be 21", function()
    exceeds(chain(21))
    exceeds(demo .. "/redirect/21")
  end)

  it("may not be endless", function()
    local key = wire.key()
    exceeds(fault.http .. "/redirect-loop", { ["X-Key"] = key })
    local seen = wire.seen(key)
    assert.equal(21, #seen)
    for _, request in ipairs(seen) do -- and all over one connection
      assert.equal(seen[1].connection, request.connection)
    end
  end)

  it("is a limit that configure sets", function()
    net.configure { limits = { redirects = 2 } }
    assert.equal(200, wire.get { url = chain(2),
      dataType = "text" }.statusCode)
    exceeds(chain(3))
    net.configure { limits = { redirects = 0 } }
    exceeds(chain(1))
    assert.equal(302, wire.get { url = chain(1),
      redirect = "manual" }.statusCode)
  end)
end)
