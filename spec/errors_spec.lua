-- What a script is told about a failure: the text, errno and errCode of every
-- code of the core, what policy refuses and why, what is logged, and that no
-- argument can smuggle a field or a request into another.

local core = require "nettask.core"
local errors = require "nettask.errors"
local helper = require "helper"
local residue = require "support.residue"

local net, servers = helper.net, helper.servers
local fault, nginx = servers.fault, servers.nginx
local check_failure = helper.check_failure

local count = 0

local function new_key()
  count = count + 1
  return ("errors-%.0f-%d"):format(helper.now() * 1000, count)
end

local function fetch(url, options)
  local given = { url = url, dataType = "text" }
  for key, value in pairs(options or {}) do given[key] = value end
  return helper.fetch(given)
end


local function check_success(record)
  assert.equal("request:ok", record.complete.errMsg)
end

describe("the table of errors", function()
  local function net_code(code, name)
    return ("%d:net::ERR_%s"):format(code, name), 600001, code
  end

  -- Name in the core, text, errno, errCode.
  local rows = {
    { "ABORTED", "abort", 1, -3 },
    { "TIMEOUT", "timeout", 5, -7 },
    { "URL", 'invalid url "http://u"', 600009, -300 },
    { "REDIRECTS", "exceed max redirect count", 600008, -310 },
    { "SCHEME", "url scheme is not allowed", 600011, -10 },
    { "PORT", "url port is not allowed", 600011, -10 },
    { "BODY_SIZE", "exceed max body size", 600004, -8 },
    { "RESOLVE", net_code(-105, "NAME_NOT_RESOLVED") },
    { "REFUSED", net_code(-102, "CONNECTION_REFUSED") },
    { "RESET", net_code(-101, "CONNECTION_RESET") },
    { "DROPPED", net_code(-100, "CONNECTION_CLOSED") },
    { "CONNECT", net_code(-104, "CONNECTION_FAILED") },
    { "CONNECT_TIMEOUT", net_code(-118, "CONNECTION_TIMED_OUT") },
    { "UNREACHABLE", net_code(-109, "ADDRESS_UNREACHABLE") },
    { "ADDRESS", net_code(-108, "ADDRESS_INVALID") },
    { "OFFLINE", net_code(-106, "INTERNET_DISCONNECTED") },
    { "PROXY", net_code(-130, "PROXY_CONNECTION_FAILED") },
    { "TLS", net_code(-107, "SSL_PROTOCOL_ERROR") },
    { "CERT_NAME", net_code(-200, "CERT_COMMON_NAME_INVALID") },
    { "CERT_DATE", net_code(-201, "CERT_DATE_INVALID") },
    { "CERT_AUTHORITY", net_code(-202, "CERT_AUTHORITY_INVALID") },
    { "TRUST", net_code(-202, "CERT_AUTHORITY_INVALID") },
    { "EMPTY_RESPONSE", net_code(-324, "EMPTY_RESPONSE") },
    { "HEADER_SIZE", net_code(-325, "RESPONSE_HEADERS_TOO_BIG") },
    { "DECODING", net_code(-330, "CONTENT_DECODING_FAILED") },
    { "HTTP2", net_code(-337, "HTTP2_PROTOCOL_ERROR") },
    { "LENGTH_MISMATCH", net_code(-354, "CONTENT_LENGTH_MISMATCH") },
    { "CHUNKED", net_code(-355, "INCOMPLETE_CHUNKED_ENCODING") },
    { "HTTP", net_code(-370, "INVALID_HTTP_RESPONSE") },
    { "NETWORK", "-2:net::ERR_FAILED", 600000, -2 },
    { "NOMEM", "out of memory", 600006, -1 },
    { "FULL", "exceed max task count", 600007, -1 },
  }
  for _, row in ipairs(rows) do
    it("has " .. row[1], function()
      assert.is_number(core.errors[row[1]])
      local fields = errors.of_code(core.errors[row[1]], "", "http://u")
      assert.equal(row[2], fields.text)
      assert.equal(row[3], fields.errno)
      assert.equal(row[4], fields.errCode)
    end)
  end

  it("has all that the core can report, with a text", function()
    local total = 0
    for name, code in pairs(core.errors) do
      if code ~= 0 then
        local fields = errors.of_code(code, "what the core said", "http://u")
        assert.is_string(fields.text, name)
        assert.is_number(fields.errno, name)
        assert.is_number(fields.errCode, name)
        assert.is_number(fields.error, name)
        total = total + 1
      end
    end
    assert.is_true(total >= #rows)
  end)

  it("has something for a code that nobody knows", function()
    local fields = errors.of_code(-12345, "", "http://u")
    assert.equal("-2:net::ERR_FAILED", fields.text)
    assert.equal(600000, fields.errno)
  end)
end)

describe("a failure", function()
  before_each(residue.before)
  after_each(residue.after)
  teardown(residue.defaults)

  -- ---- Fields ---------------------------------------------------------------

  it("#2 #3 has these fields and no others", function()
    local function names(res)
      local list = {}
      for name in pairs(res) do list[#list + 1] = name end
      table.sort(list)
      return table.concat(list, " ")
    end
    assert.equal("detail errCode errMsg errno exception useHttpDNS",
      names(fetch(fault.refused .. "/").fail))
    assert.equal("errCode errMsg errno exception useHttpDNS",
      names(fetch("http://").fail))
    net.configure { requireSecure = true }
    local _, restore = residue.log()
    local record = fetch(fault.http .. "/")
    restore()
    assert.equal("errCode errMsg errno exception reason useHttpDNS",
      names(record.fail))
  end)

  it("has a detail for people beside the code", function()
    local detail = fetch(fault.refused .. "/").fail.detail
    assert.is_truthy(detail:find("127.0.0.1", 1, true), detail)
  end)

  it("has Alipay's numbers in the dialect my", function()
    net.configure { dialect = "my" }
    local cases = {
      { 12, fetch(fault.refused .. "/") },
      { 12, fetch(fault.http .. "/close") },
      { 13, fetch(fault.http .. "/never", { timeout = 50 }) },
      { 14, fetch(fault.http .. "/bad-gzip") },
      { 14, helper.fetch { url = fault.http .. "/invalid-json" } },
      { 19, fetch(fault.http .. "/respond?status=500") },
      { 2, fetch("http://") },
      { 2, fetch(fault.http .. "/", { method = 5 }) },
    }
    local record = helper.start { url = fault.http .. "/never" }
    record.task:abort()
    helper.run_until(function() return record.done end)
    cases[#cases + 1] = { 20, record }
    for i, case in ipairs(cases) do
      assert.is_truthy(case[2].fail, "case " .. i)
      assert.equal(case[1], case[2].fail.error)
      assert.equal(case[2].fail.errMsg,
        "request:fail " .. case[2].fail.errorMessage)
    end
  end)

  it("has no Alipay numbers in other dialects", function()
    assert.is_nil(fetch(fault.refused .. "/").fail.error)
  end)

  -- ---- What is logged -------------------------------------------------------

  local function logged(fn)
    local lines, restore = residue.log()
    local ok, err = pcall(fn)
    restore()
    assert(ok, err)
    return lines
  end

  it("that nobody handles is logged, once", function()
    local lines = logged(function()
      net.request { url = fault.refused .. "/path?token=secret#part" }
      assert.is_true(net.run(5000))
    end)
    assert.equal(1, #lines)
    assert.matches("^warn: GET http://127.0.0.1:%d+/path failed, and nobody "
      .. "handles it: ", lines[1])
    assert.is_nil(lines[1]:find("secret", 1, true))
  end)

  it("that somebody handles is not logged", function()
    local lines = logged(function()
      for _, name in ipairs { "fail", "complete" } do
        net.request { url = fault.refused .. "/", [name] = helper.expect(1) }
      end
      assert.is_true(net.run(5000))
    end)
    assert.same({}, lines)
  end)

  it("of abort is no more than a remark", function()
    local lines = logged(function()
      net.request({ url = fault.http .. "/never" }):abort()
      assert.is_true(net.run(5000))
    end)
    assert.equal(1, #lines)
    assert.matches("^debug: ", lines[1])
  end)

  -- ---- Policy ---------------------------------------------------------------

  -- A request that policy must refuse, and say so once in the log.
  local function refused(url, text, reason)
    local record
    local lines = logged(function() record = fetch(url) end)
    check_failure(record, text, 600011, -10)
    assert.equal(reason, record.fail.reason)
    assert.equal(1, #lines)
    assert.matches("^warn: ", lines[1])
    assert.is_truthy(lines[1]:find(reason, 1, true), lines[1])
    assert.same({ "fail", "complete" }, record.order)
  end

  local SECURE = "requireSecure; lifted by configure{requireSecure=false}"
  local PORT = "allowUrlPort; lifted by configure{allowUrlPort=true}"
  local LENGTH = "urlMaxBytes; lifted by configure{urlMaxBytes=0}"

  local function redirect_to(to, server)
    return (server or fault.http) .. "/redirect?"
      .. require("nettask.query").encode { to = to }
  end

  it("requireSecure refuses http, also on a redirect", function()
    local key = new_key()
    net.configure { requireSecure = true }
    local hidden = fault.http .. "/?key=" .. key
    refused(hidden, "url scheme is not allowed", SECURE)
    refused(redirect_to(hidden, fault.https),
      "url scheme is not allowed", SECURE)
    check_success(fetch(fault.https .. "/"))
    net.configure { requireSecure = false }
    check_success(fetch(redirect_to("/raw")))
    assert.equal("0", helper.ask(fault.http .. "/count?of=" .. key))
    residue.keep(1)
  end)

  it("a scheme that no setting allows has no reason", function()
    for _, url in ipairs { "ftp://127.0.0.1/", "ws://127.0.0.1/" } do
      local record = fetch(url)
      check_failure(record, "url scheme is not allowed", 600011, -10)
      assert.is_nil(record.fail.reason)
    end
  end)

  it("#76 allowUrlPort = false refuses a url with a port", function()
    local key = new_key()
    net.configure { allowUrlPort = false }
    refused(fault.http .. "/?key=" .. key, "url port is not allowed", PORT)
    -- Also one that the scheme implies, for it is the text that counts.
    refused("http://127.0.0.1:80/", "url port is not allowed", PORT)
    refused("https://127.0.0.1:443/", "url port is not allowed", PORT)
    net.configure { allowUrlPort = true }
    assert.equal("0", helper.ask(fault.http .. "/count?of=" .. key))
  end)

  it("urlMaxBytes counts to the byte, data and redirects too", function()
    local url = fault.http .. "/raw?x="
    local room = 100 - #url
    net.configure { urlMaxBytes = 100 }
    check_success(fetch(url .. ("a"):rep(room)))
    refused(url .. ("a"):rep(room + 1), "url is too long", LENGTH)
    local record
    logged(function()
      record = fetch(fault.http .. "/raw", { data = { x = ("a"):rep(100) } })
    end)
    check_failure(record, "url is too long", 600011, -10)
    net.configure { urlMaxBytes = 1000 }
    -- Encoded three times as long: it must fit where it starts.
    local to = "/raw?" .. ("a"):rep(900)
    check_success(fetch(redirect_to(to)))
    net.configure { urlMaxBytes = 960 }
    refused(redirect_to(fault.http .. to .. ("a"):rep(30)), "url is too long",
      LENGTH)
  end)

  it("of policy comes by the settings that a request began with", function()
    local key = new_key()
    local record = helper.start { url = fault.http .. "/wait?key=" .. key }
    helper.run_until(function()
      return helper.ask(fault.http .. "/waiting?key=" .. key) == "1"
    end)
    net.configure { requireSecure = true }
    refused(fault.http .. "/", "url scheme is not allowed", SECURE)
    net.configure { requireSecure = false }
    helper.ask(fault.http .. "/release?key=" .. key)
    helper.run_until(function() return record.done end)
    check_success(record)
    residue.keep(1)
  end)

  it("of policy open is a matter of safety alone", function()
    net.configure { requireSecure = true, allowUrlPort = false,
      urlMaxBytes = 10 }
    net.configure { policy = "open" }
    check_success(fetch(fault.http .. "/"))
    check_failure(fetch(nginx.selfsigned .. "/"),
      "-202:net::ERR_CERT_AUTHORITY_INVALID", 600001, -202)
  end)

  -- ---- Injection ------------------------------------------------------------

  local EVIL = "\r\nX-Evil: yes\r\n"

  -- Each either fails, or is one request without the field and its like.
  local attempts = {
    { "url", function(key)
      return { url = fault.http .. "/raw?key=" .. key .. " HTTP/1.1" .. EVIL }
    end },
    { "path", function(key)
      return { url = fault.http .. "/raw" .. EVIL .. "?key=" .. key }
    end },
    { "fragment", function(key)
      return { url = fault.http .. "/raw?key=" .. key .. "#" .. EVIL }
    end },
    { "host", function(key)
      return { url = "http://127.0.0.1" .. EVIL
        .. fault.http:match(":%d+$") .. "/raw?key=" .. key }
    end },
    { "user", function(key)
      return { url = (fault.http:gsub("//", "//user" .. EVIL .. ":x@"))
        .. "/raw?key=" .. key }
    end },
    { "escaped user", function(key)
      return { url = (fault.http:gsub("//",
        "//user%%0d%%0aX-Evil:%%20yes:x@")) .. "/raw?key=" .. key }
    end },
    { "escaped path", function(key)
      return { url = fault.http .. "/raw?key=" .. key
        .. "&%0d%0aX-Evil:%20yes" }
    end },
    { "data string", function(key)
      return { url = fault.http .. "/raw", data = "key=" .. key
        .. " HTTP/1.1" .. EVIL }
    end },
    { "data table", function(key)
      return { url = fault.http .. "/raw", data = { key = key, [EVIL] = EVIL } }
    end },
    { "header value", function(key)
      return { url = fault.http .. "/raw?key=" .. key,
        header = { ["X-Good"] = "1" .. EVIL } }
    end },
    { "header value with a bare LF", function(key)
      return { url = fault.http .. "/raw?key=" .. key,
        header = { ["X-Good"] = "1\nX-Evil: yes" } }
    end },
    { "header value with a bare CR", function(key)
      return { url = fault.http .. "/raw?key=" .. key,
        header = { ["X-Good"] = "1\rX-Evil: yes" } }
    end },
    { "header name", function(key)
      return { url = fault.http .. "/raw?key=" .. key,
        header = { ["X-Evil: yes\r\nX-Good"] = "1" } }
    end },
    { "header name with a colon", function(key)
      return { url = fault.http .. "/raw?key=" .. key,
        header = { ["X-Evil: yes"] = "1" } }
    end },
    { "content type", function(key)
      return { url = fault.http .. "/raw?key=" .. key, method = "POST",
        data = "x", header = { ["content-type"] = "text/plain" .. EVIL } }
    end },
    { "repeated header", function(key)
      return { url = fault.http .. "/raw?key=" .. key,
        header = { ["X-Good"] = { "1", EVIL } } }
    end },
    { "method", function(key)
      return { url = fault.http .. "/raw?key=" .. key,
        method = "GET / HTTP/1.1" .. EVIL .. "X: " }
    end },
    { "body length", function(key)
      return { url = fault.http .. "/raw?key=" .. key, method = "POST",
        data = "GET /?key=" .. key .. " HTTP/1.1" .. EVIL .. "\r\n",
        header = { ["Content-Length"] = "0",
          ["Transfer-Encoding"] = "chunked" } }
    end },
  }
  for _, attempt in ipairs(attempts) do
    it("or nothing comes of an injection by " .. attempt[1], function()
      local key = new_key()
      local options = attempt[2](key)
      local record = fetch(options.url, options)
      if record.success then
        local head = record.success.data:match("^(.-\r\n)\r\n")
        assert.is_nil(head:lower():find("\n%s*x%-evil"), head)
        assert.equal("1", helper.ask(fault.http .. "/count?of=" .. key))
      else
        assert.is_truthy(({ [600009] = 1, [600005] = 1, [600010] = 1 })[
          record.fail.errno], record.fail.errMsg)
        assert.equal("0", helper.ask(fault.http .. "/count?of=" .. key))
      end
    end)
  end

  it("is what comes of line ends in a header, by name", function()
    for name, value in pairs { ["X-Good"] = "1\r\n", ["X-Nul"] = "a\0b",
        [""] = "x" } do
      check_failure(fetch(fault.http .. "/", { header = { [name] = value } }),
        ('invalid header "%s"'):format(name), 600005, -1)
    end
    check_failure(fetch(fault.http .. "/", { method = "GET\r\n" }),
      'invalid method "GET\r\n"', 600005, -1)
  end)

  it("is what comes of line ends in a redirect", function()
    -- The server can only send what its own head allows: a bare CR, a NUL.
    for _, byte in ipairs { "%0D", "%00", "%01", "%7F" } do
      local key = new_key()
      local record = fetch(fault.http .. "/redirect?to=/raw%3Fkey=" .. key
        .. byte .. "X-Evil:%20yes")
      if record.success then
        assert.is_nil(record.success.data:find("\r%s*X%-Evil"))
      else
        -- No url, or, with a NUL, no HTTP.
        assert.is_true(record.fail.errno == 600009
          or record.fail.errCode == -370, record.fail.errMsg)
        assert.equal("0", helper.ask(fault.http .. "/count?of=" .. key))
      end
    end
  end)

  -- ---- configure ------------------------------------------------------------

  local function raises(pattern, given)
    local ok, err = pcall(net.configure, given)
    assert.is_false(ok)
    assert.matches(pattern, err)
  end

  it("of configure names the key, and changes nothing", function()
    raises('unknown key "requireSecur".*did you mean "requireSecure"',
      { requireSecur = true, allowUrlPort = false })
    raises('limits.maxRequest".*limits.maxRequests',
      { limits = { maxRequest = 1 }, requireSecure = true })
    raises("requireSecure must be true or false", { requireSecure = "yes" })
    raises("urlMaxBytes must be a whole number", { urlMaxBytes = -1 })
    raises("urlMaxBytes must be a whole number", { urlMaxBytes = 1.5 })
    raises("limits.maxRequests must be", { limits = { maxRequests = "10" } })
    raises("limits must be a table", { limits = 10 })
    raises("timeouts.request must be", { timeouts = { request = 0 } })
    raises("caFile must be a string", { caFile = "" })
    raises("caFile must be a string", { caFile = "a\0b" })
    raises("policy must be one of", { policy = "lax" })
    check_success(fetch(fault.http .. "/"))
  end)

  it("of configure without a table raises", function()
    for _, value in ipairs { 1, "x", true } do
      assert.is_false(pcall(net.configure, value))
    end
    assert.is_false(pcall(net.configure))
  end)
end)
