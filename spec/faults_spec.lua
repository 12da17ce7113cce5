-- Servers that refuse, close, lie, babble or never stop: each ends in one
-- clear failure, with the code of the API, and leaves nothing behind.

local helper = require "helper"
local residue = require "support.residue"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local MIB = 1024 * 1024

-- A failure of the transport, as the API writes it.
local function transport(code, name)
  return { text = ("%d:net::ERR_%s"):format(code, name), errno = 600001,
    code = code }
end

local CLOSED = transport(-100, "CONNECTION_CLOSED")
local RESET = transport(-101, "CONNECTION_RESET")
local REFUSED = transport(-102, "CONNECTION_REFUSED")
local EMPTY = transport(-324, "EMPTY_RESPONSE")
local BIG_HEADERS = transport(-325, "RESPONSE_HEADERS_TOO_BIG")
local DECODING = transport(-330, "CONTENT_DECODING_FAILED")
local LENGTH = transport(-354, "CONTENT_LENGTH_MISMATCH")
local CHUNKED = transport(-355, "INCOMPLETE_CHUNKED_ENCODING")
local NOT_HTTP = transport(-370, "INVALID_HTTP_RESPONSE")
local BODY_SIZE = { text = "exceed max body size", errno = 600004, code = -8 }
local REDIRECTS = { text = "exceed max redirect count", errno = 600008,
  code = -310 }

local function check_failure(record, want)
  helper.check_failure(record, want.text, want.errno, want.code)
  local res = record.fail
  assert.same({ retryCount = 0, reasons = {} }, res.exception)
  assert.is_false(res.useHttpDNS)
  assert.is_nil(res.statusCode)
  assert.is_nil(res.data)
end

describe("bad servers", function()
  before_each(residue.before)
  after_each(residue.after)
  teardown(residue.defaults)

  -- ---- Before and inside the header ---------------------------------------

  local early = {
    { "refuses", fault.refused .. "/", REFUSED },
    { "closes before it has read a request", fault.closing .. "/", EMPTY },
    { "resets at once", fault.resetting .. "/", RESET },
    { "closes without an answer", "/close", EMPTY },
    { "resets instead of an answer", "/reset", RESET },
    { "closes in the header", "/close-in-header", CLOSED },
    { "answers with garbage", "/garbage", NOT_HTTP },
    { "has no number for a status", "/bad-status", NOT_HTTP },
    { "has no number for a length", "/bad-length", NOT_HTTP },
    { "sends 10 MB of header lines", "/big-headers", BIG_HEADERS },
    { "sends a header line of 10 MB", "/big-header-line", BIG_HEADERS },
    { "sends a status line of 10 MB", "/big-status-line", BIG_HEADERS },
    { "sends interim answers for ever", "/endless-hints", BIG_HEADERS },
    { "redirects for ever", "/redirect-loop", REDIRECTS },
  }
  for _, case in ipairs(early) do
    it("fails when a server " .. case[1], function()
      local url = case[2]:find("^/") and fault.http .. case[2] or case[2]
      local record = helper.fetch { url = url }
      check_failure(record, case[3])
      assert.same({ "fail", "complete" }, record.order)
    end)
  end

  -- ---- Inside the body ----------------------------------------------------

  local late = {
    { "closes in a body with a length", "/close-in-body", LENGTH },
    { "closes before the body", "/close-in-body?bytes=0", LENGTH },
    { "closes in a chunk", "/close-in-chunk", CHUNKED },
    { "closes between two chunks", "/close-between-chunks", CHUNKED },
    { "resets in the body", "/reset-in-body", RESET },
    { "sends a chunk without a size", "/bad-chunk", NOT_HTTP },
    { "says gzip and sends none", "/bad-gzip", DECODING },
    { "says br and sends none",
      "/respond?h=Content-Encoding:br&body=no%20brotli%20at%20all", DECODING },
    { "sends trailers for ever", "/endless-trailers", BIG_HEADERS },
    { "uses a coding that nobody knows", "/unknown-encoding", DECODING },
  }
  for _, case in ipairs(late) do
    it("fails when a server " .. case[1], function()
      local record = helper.fetch { url = fault.http .. case[2] }
      check_failure(record, case[3])
      assert.same({ "headers", "fail", "complete" }, record.order)
      assert.equal(200, record.headers[1].statusCode)
    end)
  end

  it("#47 delivers the chunks that came before a server closes", function()
    local record = helper.fetch {
      url = fault.http .. "/close-in-chunk", enableChunked = true,
    }
    check_failure(record, CHUNKED)
    local bytes = {}
    for i, chunk in ipairs(record.chunks) do bytes[i] = tostring(chunk) end
    assert.equal("wholeonly a part", table.concat(bytes))
    assert.equal("headers", record.order[1])
    assert.equal("fail", record.order[#record.order - 1])
  end)

  it("hears the answer of a server that does not want the body", function()
    local record = helper.fetch {
      url = fault.http .. "/early-response", method = "POST",
      data = ("x"):rep(8 * MIB), dataType = "text",
    }
    assert.equal("request:ok", record.complete.errMsg)
    assert.equal(413, record.success.statusCode)
    assert.equal("too big", record.success.data)
  end)

  it("tries again on a kept connection that had been closed", function()
    for _ = 1, 3 do
      assert.equal("ok", helper.ask(fault.http .. "/last-time"))
    end
  end)

  it("says the same when it tries again", function()
    local url = fault.http:gsub("127%.0%.0%.1", "user:word@127.1")
      .. "/first-raw?key=again&q=\195\188"
    local first = helper.ask(url)
    assert.matches("^GET /first%-raw%?key=again&q=%%c3%%bc HTTP", first)
    assert.matches("\r\nAuthorization: Basic dXNlcjp3b3Jk\r\n", first)
    assert.equal(first, helper.ask(url))
    assert.is_true(tonumber(helper.ask(fault.http .. "/count?of=again")) > 2)
  end)

  -- ---- Too much -----------------------------------------------------------

  local function limits(values)
    net.configure { limits = values }
  end

  local function body_record(path)
    local record = helper.fetch { url = fault.http .. path, dataType = "text" }
    check_failure(record, BODY_SIZE)
    assert.equal("limits.responseMaxBytes; lifted by "
      .. "configure{limits={responseMaxBytes=0}}", record.fail.reason)
    return record
  end

  local lines, restore_log

  -- The refusal is logged at warn.
  local function quietly(fn)
    lines, restore_log = residue.log()
    local ok, err = pcall(fn)
    restore_log()
    assert(ok, err)
    assert.equal(1, #lines)
    assert.matches("^warn: GET http://127.0.0.1:%d+/%S+ refused by "
      .. "limits.responseMaxBytes", lines[1])
  end

  local endless = {
    { "an endless chunked body", "/endless" },
    { "an endless body without a length", "/endless-close" },
    -- More than is ever sent: the header alone decides.
    { "a length beyond the cap", "/drip?every=60000&bytes=1048577" },
    { "a gzip bomb", "/gzip-bomb?bytes=33554432" },
    { "a brotli bomb", "/brotli-bomb?bytes=33554432" },
  }
  for _, case in ipairs(endless) do
    it("caps " .. case[1], function()
      limits { responseMaxBytes = MIB }
      quietly(function() body_record(case[2]) end)
    end)
  end

  it("needs no more memory for a bomb than the cap allows", function()
    limits { responseMaxBytes = MIB }
    local before = residue.peak()
    quietly(function() body_record("/gzip-bomb?bytes=134217728") end)
    -- Slack for what the sanitizers add: freed blocks that they keep.
    assert.is_true(residue.peak() - before < 32 * 1024 * helper.slow)
  end)

  it("caps a streamed body that nobody listens to", function()
    limits { responseMaxBytes = MIB }
    quietly(function()
      local failed
      net.request {
        url = fault.http .. "/gzip-bomb?bytes=33554432", enableChunked = true,
        fail = helper.expect(1, function(res) failed = res end),
        success = helper.never("success"),
      }
      helper.run_until_met(10000)
      assert.equal("request:fail exceed max body size", failed.errMsg)
    end)
  end)

  it("does not cap what is listened to", function()
    limits { responseMaxBytes = MIB }
    local size = 0
    local task = net.request {
      url = fault.http .. "/gzip-bomb?bytes=4194304", enableChunked = true,
      success = helper.expect(1), fail = helper.never("fail"),
    }
    task:onChunkReceived(function(res) size = size + #res.data end)
    helper.run_until_met(10000)
    assert.equal(4 * MIB, size)
  end)

  it("counts the cap to the byte", function()
    limits { responseMaxBytes = 1000 }
    helper.ask(servers.demo .. "/bytes/1")
    residue.keep(1)
    local record = helper.fetch {
      url = servers.demo .. "/bytes/1000", responseType = "arraybuffer",
    }
    assert.equal("request:ok", record.complete.errMsg)
    assert.equal(1000, #record.success.data)
    quietly(function()
      record = helper.fetch { url = servers.demo .. "/bytes/1001" }
      check_failure(record, BODY_SIZE)
    end)
  end)

  it("has no cap when it is lifted", function()
    limits { responseMaxBytes = 0 }
    local record = helper.fetch {
      url = fault.http .. "/gzip-bomb?bytes=8388608",
      responseType = "arraybuffer",
    }
    assert.equal("request:ok", record.complete.errMsg)
    assert.equal(8 * MIB, #record.success.data)
  end)

  it("takes the cap on headers from the settings", function()
    local function fetch(bytes)
      return helper.fetch {
        url = fault.http .. "/big-headers?bytes=" .. bytes, dataType = "text",
      }
    end
    limits { headerMaxBytes = 5000 }
    assert.equal("request:ok", fetch(3000).complete.errMsg)
    check_failure(fetch(6000), BIG_HEADERS)
    limits { headerMaxBytes = 20000 }
    assert.equal("request:ok", fetch(6000).complete.errMsg)
  end)

  it("follows as many redirects as allowed, and not one more", function()
    local function fetch(hops)
      return helper.fetch {
        url = fault.http .. "/redirect-chain?n=" .. hops, dataType = "text",
      }
    end
    assert.equal("request:ok", fetch(20).complete.errMsg)
    check_failure(fetch(21), REDIRECTS)
    limits { redirects = 2 }
    assert.equal("request:ok", fetch(2).complete.errMsg)
    check_failure(fetch(3), REDIRECTS)
  end)

  it("does not read the endless body of a redirect", function()
    local record = helper.fetch {
      url = fault.http .. "/redirect?to=/&bytes=33554432", dataType = "text",
    }
    assert.equal("request:ok", record.complete.errMsg)
    assert.equal("ok", record.success.data)
  end)

  -- ---- Redirects to nowhere -----------------------------------------------

  local function redirected(to)
    local query = require "nettask.query"
    return helper.fetch {
      url = fault.http .. "/redirect?" .. query.encode { to = to },
    }
  end

  for _, to in ipairs { "ftp://127.0.0.1/", "file:///etc/passwd",
      "gopher://127.0.0.1:70/1" } do
    it("does not follow a redirect to " .. to, function()
      check_failure(redirected(to), { text = "url scheme is not allowed",
        errno = 600011, code = -10 })
    end)
  end

  for _, to in ipairs { "http://", "http://a b/", "http://127.0.0.1:99999/",
      "http://[::1/" } do
    it(("names the url of a redirect to %q"):format(to), function()
      check_failure(redirected(to), {
        text = ('invalid url "%s"'):format(to), errno = 600009, code = -300,
      })
    end)
  end

  it("follows no redirect without a Location", function()
    local record = helper.fetch {
      url = fault.http .. "/redirect", dataType = "text",
    }
    assert.equal(302, record.success.statusCode)
    assert.equal("moved", record.success.data)
  end)

  it("fails as the last hop does", function()
    check_failure(redirected(fault.refused .. "/"), REFUSED)
    check_failure(redirected("/close"), EMPTY)
  end)

  -- ---- Content ------------------------------------------------------------

  it("#34 gives the text of JSON that does not parse", function()
    local record = helper.fetch { url = fault.http .. "/invalid-json" }
    assert.equal("request:ok", record.complete.errMsg)
    assert.equal('{"open": [1, 2', record.success.data)
  end)

  it("fails on JSON that does not parse in dialect my", function()
    net.configure { dialect = "my" }
    local record = helper.fetch { url = fault.http .. "/invalid-json" }
    assert.is_nil(record.success)
    assert.equal(14, record.fail.error)
    assert.matches("^request:fail ", record.fail.errMsg)
    assert.equal('{"open": [1, 2', record.fail.data)
    assert.equal(200, record.fail.statusCode)
  end)

  it("fails on text that is not in the charset it claims", function()
    local record = helper.fetch {
      url = fault.http .. "/charset?name=utf-16-odd", dataType = "text",
    }
    assert.is_nil(record.success)
    assert.equal("request:fail response not convertible to UTF-8",
      record.fail.errMsg)
    assert.equal(602302, record.fail.errno)
    assert.equal(-1, record.fail.errCode)
  end)

  it("passes bytes of an unknown charset on", function()
    local record = helper.fetch {
      url = fault.http .. "/charset?name=unknown", dataType = "text",
    }
    assert.equal("Grüße, 世界", record.success.data)
  end)

  -- ---- Many ---------------------------------------------------------------

  it("survives many failures at once, each with its own code", function()
    limits { maxRequests = 0 }
    local records = {}
    for _ = 1, 5 do
      for _, list in ipairs { early, late } do
        for _, case in ipairs(list) do
          local url = case[2]:find("^/") and fault.http .. case[2] or case[2]
          records[#records + 1] = { helper.start { url = url }, case[3] }
        end
      end
    end
    assert.is_true(net.run(15000 * helper.slow))
    for _, pair in ipairs(records) do
      check_failure(pair[1], pair[2])
    end
    residue.close()
  end)
end)
