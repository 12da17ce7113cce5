-- TLS: which servers are trusted, and what is said about the others.

local helper = require "helper"
local residue = require "support.residue"

local net, servers = helper.net, helper.servers
local fault, nginx = servers.fault, servers.nginx

local function secure(url)
  return (url:gsub("^http:", "https:"))
end

local function plain(url)
  return (url:gsub("^https:", "http:"))
end

local function fetch(url, options)
  local given = { url = url, dataType = "text" }
  for key, value in pairs(options or {}) do given[key] = value end
  return helper.fetch(given)
end

local function check_failure(record, code, name)
  helper.check_failure(record, ("%d:net::ERR_%s"):format(code, name), 600001,
    code)
  assert.same({ "fail", "complete" }, record.order)
end

local function check_success(record)
  assert.equal("request:ok", record.complete.errMsg)
end

describe("TLS", function()
  before_each(residue.before)
  after_each(residue.after)
  teardown(residue.defaults)

  local bad = {
    { "has expired", nginx.expired, -201, "CERT_DATE_INVALID" },
    { "is not valid yet", nginx.future, -201, "CERT_DATE_INVALID" },
    { "is its own authority", nginx.selfsigned, -202,
      "CERT_AUTHORITY_INVALID" },
    { "is for another host", nginx.wronghost, -200,
      "CERT_COMMON_NAME_INVALID" },
  }
  for _, http2 in ipairs { false, true } do
    for _, case in ipairs(bad) do
      it(("refuses a certificate that %s, %s HTTP/2"):format(case[1],
        http2 and "with" or "without"), function()
        local record = fetch(case[2] .. "/", { enableHttp2 = http2 })
        check_failure(record, case[3], case[4])
        assert.is_string(record.fail.detail)
      end)
    end
  end

  it("sends nothing to a server that it does not trust", function()
    local key = "tls-" .. helper.now()
    net.configure { caFile = false }
    local record = fetch(fault.https .. "/?key=" .. key, {
      method = "POST", data = "secret", header = { ["X-Key"] = key },
    })
    check_failure(record, -202, "CERT_AUTHORITY_INVALID")
    assert.equal("0", helper.ask(fault.http .. "/count?of=" .. key))
  end)

  for _, host in ipairs { "127.0.0.1", "localhost" } do
    it("accepts a good certificate for " .. host, function()
      local url = nginx.https1:gsub("127%.0%.0%.1", host)
      local record = fetch(url .. "/small")
      check_success(record)
      assert.equal(1024, #record.success.data)
      local profile = record.success.profile
      assert.is_true(profile.SSLconnectionStart > 0)
      assert.is_true(profile.SSLconnectionEnd >= profile.SSLconnectionStart)
      residue.keep(1)
    end)
  end

  -- ---- Trust --------------------------------------------------------------

  it("forgets a connection and a session when trust is taken back", function()
    local url = nginx.https1 .. "/small"
    check_success(fetch(url))
    net.configure { caFile = false }
    check_failure(fetch(url), -202, "CERT_AUTHORITY_INVALID")
    net.configure { caFile = servers.ca }
    check_success(fetch(url))
    residue.keep(1)
  end)

  it("lets a running request keep the trust that it began with", function()
    local key = "tls-wait-" .. helper.now()
    local record = helper.start { url = fault.https .. "/wait?key=" .. key }
    helper.run_until(function()
      return helper.ask(fault.http .. "/waiting?key=" .. key) == "1"
    end)
    net.configure { caFile = false }
    helper.ask(fault.http .. "/release?key=" .. key)
    helper.run_until(function() return record.done end)
    check_success(record)
    residue.keep(1)
  end)

  it("fails when the file of authorities is missing", function()
    net.configure { caFile = servers.tmp .. "/no-such-file.pem" }
    check_failure(fetch(nginx.https1 .. "/small"), -202,
      "CERT_AUTHORITY_INVALID")
    check_success(fetch(nginx.http .. "/small"))
    residue.keep(1)
  end)

  it("fails when the file of authorities holds none", function()
    local path = servers.tmp .. "/not-a-bundle.pem"
    helper.write_file(path, "this is no certificate\n")
    net.configure { caFile = path }
    local record = fetch(nginx.https1 .. "/small")
    os.remove(path)
    check_failure(record, -202, "CERT_AUTHORITY_INVALID")
  end)

  it("fails when the file of authorities is a folder", function()
    net.configure { caFile = servers.tmp }
    check_failure(fetch(nginx.https1 .. "/small"), -202,
      "CERT_AUTHORITY_INVALID")
  end)

  it("cannot be told by a script to verify less", function()
    local lines, restore = residue.log()
    local record = fetch(nginx.selfsigned .. "/", {
      sslVerify = false, rejectUnauthorized = false, insecure = true,
    })
    restore()
    check_failure(record, -202, "CERT_AUTHORITY_INVALID")
    assert.equal(3, #lines)
    net.configure { policy = "open" }
    check_failure(fetch(nginx.expired .. "/"), -201, "CERT_DATE_INVALID")
  end)

  -- ---- Not TLS ------------------------------------------------------------

  it("fails on a server that does not speak TLS", function()
    check_failure(fetch(secure(nginx.http) .. "/"), -107,
      "SSL_PROTOCOL_ERROR")
  end)

  it("hears what a TLS server says to one that speaks none", function()
    local record = fetch(plain(nginx.https1) .. "/")
    check_success(record)
    assert.equal(400, record.success.statusCode)
    check_failure(fetch(plain(fault.https) .. "/"), -324, "EMPTY_RESPONSE")
  end)

  it("fails on a server that closes in the handshake", function()
    check_failure(fetch(secure(fault.closing) .. "/"), -107,
      "SSL_PROTOCOL_ERROR")
  end)

  it("fails on a server that resets in the handshake", function()
    -- The reset may be seen by connect() or by the handshake.
    local res = fetch(secure(fault.resetting) .. "/").fail
    assert.is_truthy(res)
    assert.is_true(res.errMsg == "request:fail -101:net::ERR_CONNECTION_RESET"
      or res.errMsg == "request:fail -107:net::ERR_SSL_PROTOCOL_ERROR",
      res.errMsg)
    assert.equal(600001, res.errno)
  end)

  it("fails on a server that refuses", function()
    check_failure(fetch(secure(fault.refused) .. "/"), -102,
      "CONNECTION_REFUSED")
  end)

  -- ---- Broken answers inside of TLS ---------------------------------------

  for _, case in ipairs {
    { "without an answer", "/close", -324, "EMPTY_RESPONSE" },
    { "in the header", "/close-in-header", -100, "CONNECTION_CLOSED" },
  } do
    it("fails when a TLS server closes " .. case[1], function()
      check_failure(fetch(fault.https .. case[2]), case[3], case[4])
    end)
  end

  for _, case in ipairs {
    { "a body with a length", "/close-in-body" },
    { "a chunk", "/close-in-chunk" },
    { "a body, by a reset,", "/reset-in-body" },
  } do
    -- Which of several codes depends on whether the end is a proper one of TLS.
    it(("fails when a TLS server ends in %s"):format(case[1]), function()
      local record = fetch(fault.https .. case[2])
      assert.is_nil(record.success)
      assert.equal(600001, record.fail.errno)
      assert.same({ "headers", "fail", "complete" }, record.order)
    end)
  end

  it("#43 fails when a body is cut over HTTP/2", function()
    for _, path in ipairs { "/close-in-body", "/close-in-chunk",
        "/reset-in-body" } do
      local record = fetch(nginx.https .. "/fault" .. path,
        { enableHttp2 = true })
      assert.is_nil(record.success, path)
      assert.equal(600001, record.fail.errno)
    end
    -- The connection that they shared goes on.
    local record = fetch(nginx.https .. "/small", { enableHttp2 = true })
    check_success(record)
    assert.equal("h2", record.success.profile.protocol)
    residue.keep(1)
  end)

  it("#43 ends one stream of HTTP/2 and not the others", function()
    local url = nginx.https .. "/fault"
    local key = "h2-" .. helper.now()
    local good = helper.start {
      url = url .. "/wait?key=" .. key, enableHttp2 = true, dataType = "text",
    }
    helper.run_until(function()
      return helper.ask(fault.http .. "/waiting?key=" .. key) == "1"
    end)
    local hangs = helper.start { url = url .. "/never", enableHttp2 = true,
      timeouts = { firstByte = 100 } }
    local dropped = helper.start { url = url .. "/drip?every=20&bytes=100000",
      enableHttp2 = true }
    helper.run_until(function() return #dropped.headers > 0 end)
    dropped.task:abort()
    helper.run_until(function() return hangs.done and dropped.done end)
    assert.equal("request:fail timeout", hangs.fail.errMsg)
    assert.equal("request:fail abort", dropped.fail.errMsg)
    helper.ask(fault.http .. "/release?key=" .. key)
    helper.run_until(function() return good.done end)
    check_success(good)
    assert.equal("released", good.success.data)
    assert.equal("h2", good.success.profile.protocol)
    residue.keep(1)
  end)
end)
