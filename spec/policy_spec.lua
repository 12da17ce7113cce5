-- What the host allows, as scripts and hosts see it: the lists of hosts,
-- private addresses, the preset strict, proxies, pins, secrets, records of
-- refusals and the background. What the gate lets pass and what not is in the
-- specs of the core and in hostile_spec.

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local tcp = require "support.tcp"
local udp = require "support.udp"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local HOST = "127.0.0.1"
local RULES = {
  request = "domains.request", downloadFile = "domains.download",
  uploadFile = "domains.upload", connectSocket = "domains.socket",
}

local function defaults()
  net.setBackground(false)
  net.onAudit(nil)
  for _, name in ipairs(net.secrets.list()) do net.secrets.remove(name) end
  tcp.defaults()
end

local function verify()
  local ok, err = pcall(tcp.verify)
  udp.verify()
  sockets.verify()
  defaults()
  if not ok then error(err, 0) end
end

-- Lists of those hosts for every kind.
local function only(...)
  local list = { ... }
  return { request = list, download = list, upload = list, socket = list,
    tcp = list, udp = list }
end

local function port_of(url)
  return tonumber(url:match(":(%d+)$"))
end

-- The last result of that API.
local function run(api, url, more)
  more = more or {}
  if api == "connectSocket" then
    local socket = sockets.start(wire.with({ url = url:gsub("^http", "ws")
      .. "/ws/echo?key=" .. sockets.key() }, more))
    helper.run_until(function()
      return socket.done or #socket.opens > 0
    end, 5000, "the socket")
    if socket.opens[1] then sockets.close(socket) end
    return socket.opens[1] or socket.fail or socket.errors[1], socket
  end
  local given = wire.with({ url = url .. "/raw" }, more)
  if api == "uploadFile" then
    given.files = { { name = "file", data = "x", fileName = "x" } }
  elseif api == "request" then
    given.dataType = "text"
  end
  local record = helper.finish(helper.begin(api, given))
  return record.complete, record
end

local function check_ok(api, url, more)
  local res, record = run(api, url, more)
  assert(not res.errno, res.errMsg)
  return res, record
end

local function check_refused(api, url, text, errno, reason, more)
  local res = run(api, url, more)
  assert.equal(("%s:fail %s"):format(api, text), res.errMsg)
  assert.equal(errno, res.errno)
  assert.equal(-10, res.errCode)
  assert.equal(reason, res.reason)
  return res
end

local function check_unlisted(api, url)
  local rule = RULES[api]
  return check_refused(api, url, "url not in domain list", 600002,
    ("%s; lifted by configure{domains={%s={...}}}"):format(rule,
      rule:match("%.(.*)")))
end

local PRIVATE = "denyPrivateAddresses; lifted by"
  .. " configure{allowPrivate={...}}"

local function check_private(api, url)
  return check_refused(api, url, "private address is not allowed", 600002,
    PRIVATE)
end

-- ---- Lists ------------------------------------------------------------------

describe("domains", function()
  setup(defaults)
  after_each(verify)

  for api in pairs(RULES) do
    local kind = RULES[api]:match("%.(.*)")
    local row = api == "connectSocket" and "#129 " or ""

    it(row .. "say what " .. api .. " may reach", function()
      net.configure { domains = { [kind] = { "other.example" } } }
      local res = check_unlisted(api, fault.http)
      if api ~= "connectSocket" then -- what the call shows needs no more
        assert.equal("http://" .. HOST .. ":" .. port_of(fault.http),
          res.detail)
      end
      net.configure { domains = { [kind] = { HOST } } }
      check_ok(api, fault.http)
      net.configure { domains = { [kind] = {} } }
      check_unlisted(api, fault.http)
      net.configure { domains = { [kind] = false } }
      check_ok(api, fault.http)
    end)

    it(row .. "of other kinds do not matter to " .. api, function()
      local lists = only()
      lists[kind] = nil
      net.configure { domains = lists }
      check_ok(api, fault.http)
    end)
  end

  it("#129 take a scheme and a port", function()
    local port = port_of(fault.http)
    for entry, ok in pairs {
      [HOST .. ":" .. port] = true, [HOST .. ":1"] = false,
      ["http://" .. HOST .. ":" .. port] = true,
      ["ws://" .. HOST .. ":" .. port] = true,
      ["https://" .. HOST .. ":" .. port] = false,
      ["wss://" .. HOST .. ":" .. port] = false,
      ["http://" .. HOST] = false, -- port 80
      ["*.example"] = false, ["localhost"] = false,
    } do
      local list = { entry }
      net.configure { domains = { request = list, download = list,
        upload = list, socket = list } }
      for api in pairs(RULES) do
        if ok then
          check_ok(api, fault.http)
        else
          check_unlisted(api, fault.http)
        end
      end
    end
  end)

  it("#129 hold for every redirect", function()
    net.configure { domains = only(HOST) }
    local from = fault.http .. "/redirect?to="
    local there = ("http://localhost:%d/"):format(port_of(fault.http))
    for _, api in ipairs { "request", "downloadFile" } do
      local record = helper.finish(helper.begin(api, { url = from .. there }))
      helper.check_failure(record, "url not in domain list", 600002, -10)
      assert.matches("^" .. RULES[api]:gsub("%.", "%%.") .. "; lifted by ",
        record.fail.reason)
    end
    net.configure { domains = only(HOST, "localhost") }
    assert.equal(200, helper.fetch { url = from .. there }.complete.statusCode)
  end)

  it("merge kind by kind", function()
    net.configure { domains = { request = { HOST } } }
    net.configure { domains = { socket = { "other.example" } } }
    check_ok("request", fault.http)
    check_unlisted("connectSocket", fault.http)
    net.configure { domains = {} }
    check_unlisted("connectSocket", fault.http)
    net.configure { domains = { request = { "other.example" } } }
    check_unlisted("request", fault.http)
  end)

  it("are lifted by the preset open, and no other", function()
    for _, preset in ipairs { "miniprogram", "open" } do
      net.configure { domains = { request = { "other.example" } } }
      check_unlisted("request", fault.http)
      net.configure { policy = preset }
      if preset == "open" then
        check_ok("request", fault.http)
      else
        check_unlisted("request", fault.http)
      end
    end
    net.configure { policy = "open", domains = { request = { "x.example" } } }
    check_unlisted("request", fault.http)
  end)

  it("survive close, and are no table of the caller's", function()
    local list = { "other.example" }
    net.configure { domains = { request = list } }
    list[1] = HOST
    net.close()
    check_unlisted("request", fault.http)
    net.configure { userAgent = "x" }
    check_unlisted("request", fault.http)
    net.configure { userAgent = false }
  end)

  it("change nothing when an entry is wrong", function()
    net.configure { domains = { request = { HOST } } }
    assert.has_error(function()
      net.configure { domains = { request = { "x.example", "http//x" } },
        requireSecure = true }
    end)
    check_ok("request", fault.http)
  end)

  it("refuse TCP peers", function()
    net.configure { domains = { tcp = { "other.example" } } }
    local record = tcp.whole { port = fault.tcp }
    tcp.check_result(record.errors[1], "TCPSocket.connect",
      "url not in domain list", 600002, -3)
    assert.equal("domains.tcp; lifted by configure{domains={tcp={...}}}",
      record.errors[1].reason)
    net.configure { domains = { tcp = { "tcp://" .. HOST .. ":"
      .. fault.tcp } } }
    tcp.close(tcp.connect { port = fault.tcp })
  end)

  it("refuse UDP peers, and the socket lives on", function()
    net.configure { domains = { udp = { HOST .. ":" .. fault.udp } } }
    local record = udp.bound()
    udp.send(record, 9, "x")
    local res = udp.check_error(record, 1, -3, "url not in domain list")
    assert.equal(600002, res.errno)
    assert.equal("domains.udp; lifted by configure{domains={udp={...}}}",
      res.reason)
    assert.equal("echo", tostring(udp.ask(record, fault.udp, "echo").message))
    udp.close(record)
  end)
end)

-- ---- Private addresses ------------------------------------------------------

describe("denyPrivateAddresses", function()
  setup(defaults)
  after_each(verify)

  for api in pairs(RULES) do
    it("refuses them to " .. api, function()
      net.configure { denyPrivateAddresses = true }
      check_private(api, fault.http)
      check_private(api, ("http://localhost:%d"):format(port_of(fault.http)))
      net.configure { allowPrivate = { "10.0.0.0/8", HOST } }
      check_ok(api, fault.http)
      net.configure { allowPrivate = { "127.0.0.0/8" } }
      check_ok(api, fault.http)
      net.configure { allowPrivate = false }
      check_private(api, fault.http)
      net.configure { denyPrivateAddresses = false }
      check_ok(api, fault.http)
    end)
  end

  it("refuses them to TCP and UDP sockets", function()
    net.configure { denyPrivateAddresses = true }
    local record = tcp.whole { port = fault.tcp }
    tcp.check_result(record.errors[1], "TCPSocket.connect",
      "private address is not allowed", 600002, -3)
    assert.equal(PRIVATE, record.errors[1].reason)
    local socket = udp.bound()
    udp.send(socket, fault.udp, "x")
    local res = udp.check_error(socket, 1, -3, "private address is not allowed")
    assert.equal(600002, res.errno)
    assert.equal(PRIVATE, res.reason)
    udp.close(socket)
  end)

  it("comes after the lists", function()
    net.configure { denyPrivateAddresses = true, domains = only("x.example") }
    for api in pairs(RULES) do check_unlisted(api, fault.http) end
  end)
end)

-- ---- strict -----------------------------------------------------------------

describe("policy strict", function()
  setup(defaults)
  after_each(verify)

  it("#129 reaches nothing until it is told what", function()
    net.configure { policy = "strict" }
    for api in pairs(RULES) do
      check_refused(api, fault.http, "url scheme is not allowed", 600011,
        "requireSecure; lifted by configure{requireSecure=false}")
      check_unlisted(api, fault.https)
    end
    assert.equal(-3, tcp.whole { port = fault.tcp }.errors[1].errCode)
    local socket = udp.bound()
    udp.send(socket, fault.udp, "x")
    udp.check_error(socket, 1, -3, "url not in domain list")
    net.configure { domains = only(HOST) }
    for api in pairs(RULES) do check_private(api, fault.https) end
    net.configure { allowPrivate = { HOST } }
    for api in pairs(RULES) do check_ok(api, fault.https) end
    tcp.close(tcp.connect { port = fault.tcp })
    udp.close(socket)
    socket = udp.bound()
    assert.equal("echo", tostring(udp.ask(socket, fault.udp, "echo").message))
    udp.close(socket)
  end)

  it("#128 opens wss, and no ws", function()
    net.configure { policy = "strict", domains = only(HOST),
      allowPrivate = { HOST } }
    check_ok("connectSocket", fault.https)
    check_refused("connectSocket", fault.http, "url scheme is not allowed",
      600011, "requireSecure; lifted by configure{requireSecure=false}")
    net.configure { requireSecure = false }
    check_ok("connectSocket", fault.http)
  end)

  it("#91 #114 #130 sends the header, and never a Referer", function()
    net.configure { policy = "strict", domains = only(HOST),
      allowPrivate = { HOST } }
    local header = { ["X-Level"] = "7", Referer = "https://a.example/" }
    local function check(bytes)
      local request = wire.parse(bytes)
      assert.same({ "7" }, wire.values(request, "x-level"))
      assert.same({}, wire.values(request, "referer"))
    end
    local more = { header = header }
    check(check_ok("request", fault.https, more).data)
    check(helper.read_file(check_ok("downloadFile", fault.https,
      more).tempFilePath))
    check(check_ok("uploadFile", fault.https, more).data)
    net.configure { requireSecure = false } -- to ask what it saw
    local request = sockets.handshake { header = header,
      url = fault.wss .. "/ws/echo?key=KEY" }
    assert.same({ "7" }, wire.values(request, "x-level"))
    assert.same({}, wire.values(request, "referer"))
  end)

  it("reads and writes no file but temporary ones", function()
    net.configure { policy = "strict", domains = only(HOST),
      allowPrivate = { HOST } }
    local path = helper.temp_name()
    local got = check_ok("downloadFile", fault.https).tempFilePath
    assert.is_true(#helper.read_file(got) > 0)
    local res = run("downloadFile", fault.https, { filePath = path })
    assert.equal(603303, res.errno)
    assert.matches("^fileRoots%.write; lifted by ", res.reason)
    helper.write_file(path, "content")
    local function upload()
      return helper.finish(helper.begin("uploadFile", { name = "f",
        url = fault.https .. "/raw", filePath = path })).complete
    end
    assert.equal(1300013, upload().errno)
    assert.matches("^fileRoots%.read; lifted by ", upload().reason)
    net.configure { fileRoots = { read = { servers.tmp } } }
    assert.matches("content", upload().data)
    net.configure { fileRoots = { read = {}, write = { servers.tmp } } }
    assert.equal(1300013, upload().errno)
    check_ok("downloadFile", fault.https, { filePath = path })
    net.configure { fileRoots = { read = false, write = false } }
    assert.equal(200, upload().statusCode)
    check_ok("downloadFile", fault.https, { filePath = path })
    os.remove(path)
  end)

  it("keeps the limits of the preset miniprogram", function()
    net.configure { policy = "strict", domains = only(HOST) }
    net.configure { requireSecure = false, allowPrivate = { HOST } }
    local records = {}
    for i = 1, 11 do
      records[i] = helper.start { url = fault.silent .. "/" }
    end
    helper.run_until(function()
      local stats = net.stats().request
      return stats.queued == 1 and stats.connecting == 10
    end)
    for i = 1, 11 do records[i].task:abort { silent = true } end
    assert.is_true(net.run(5000))
  end)

  it("#137 five sockets live at once, the sixth fails", function()
    net.configure { policy = "strict", domains = only(HOST),
      allowPrivate = { HOST } }
    local five = {}
    for i = 1, 5 do
      five[i] = sockets.open { url = fault.wss .. "/ws/echo?key="
        .. sockets.key() }
    end
    local sixth = sockets.whole { url = fault.wss .. "/ws/echo?key=x" }
    sockets.check_refused(sixth, "reach max websocket connect count 5", 600007)
    assert.matches("^limits%.maxSockets; lifted by ", sixth.fail.reason)
    for i = 1, 5 do sockets.close(five[i]) end
  end)

  it("#101 takes no file of more than 50 MB", function()
    net.configure { policy = "strict", domains = only(HOST),
      allowPrivate = { HOST }, requireSecure = false }
    local record = helper.finish(helper.begin("downloadFile", {
      url = servers.demo .. "/file/52428801?rate=1000" }))
    helper.check_failure(record, "exceed max file size", 603301, -8)
    assert.matches("^limits%.downloadMaxBytes; ", record.fail.reason)
  end)

  it("#76 takes back what the gates were set to", function()
    net.configure { allowUrlPort = false, requireSecure = false }
    net.configure { policy = "strict", domains = only(HOST),
      allowPrivate = { HOST } }
    check_ok("request", fault.https)
    net.configure { allowUrlPort = false }
    for api in pairs(RULES) do
      check_refused(api, fault.https, "url port is not allowed", 600011,
        "allowUrlPort; lifted by configure{allowUrlPort=true}")
    end
    net.configure { policy = "miniprogram" }
    for api in pairs(RULES) do check_ok(api, fault.http) end
  end)
end)

-- ---- Proxies ----------------------------------------------------------------

describe("a proxy", function()
  setup(defaults)
  after_each(verify)

  local NO_PROXY = "proxy is not allowed"
  local REASON = "allowProxy; lifted by configure{allowProxy=true}"

  for api in pairs(RULES) do
    it("is an option of " .. api, function()
      local dead = { proxy = fault.refused }
      check_ok(api, fault.http, { proxy = servers.proxy })
      check_ok(api, fault.https, { proxy = servers.proxy })
      for _, url in ipairs { fault.http, fault.https } do
        local res = run(api, url, dead)
        assert.equal(600001, res.errno)
        assert.matches("PROXY_CONNECTION_FAILED", res.errMsg)
      end
      local res = run(api, fault.http, { proxy = "nonsense" })
      assert.equal(api .. ':fail invalid proxy "nonsense"', res.errMsg)
      assert.equal(600005, res.errno)
    end)

    it("is one of the host's for " .. api, function()
      net.configure { proxy = fault.refused }
      assert.matches("PROXY_CONNECTION_FAILED", run(api, fault.https).errMsg)
      check_ok(api, fault.https, { proxy = servers.proxy })
      net.configure { proxy = servers.proxy }
      check_ok(api, fault.https)
      net.configure { proxy = false }
      check_ok(api, fault.https)
    end)

    it("may be refused to " .. api, function()
      net.configure { allowProxy = false }
      check_refused(api, fault.http, NO_PROXY, 102, REASON,
        { proxy = servers.proxy })
      net.configure { proxy = servers.proxy }
      check_ok(api, fault.https)
      net.configure { allowProxy = true }
      check_ok(api, fault.https, { proxy = servers.proxy })
      net.configure { policy = "strict", domains = only(HOST),
        allowPrivate = { HOST } }
      check_refused(api, fault.https, NO_PROXY, 102, REASON,
        { proxy = servers.proxy })
      net.configure { policy = "miniprogram" }
      check_ok(api, fault.https, { proxy = servers.proxy })
    end)
  end

  -- Asks each api, without an option, with "env", and with what the host says.
  local ENVIRONMENT = [[
    local http, https, ws = ...
    local helper = require "helper"
    local sockets = require "support.sockets"
    local net = helper.net
    net.configure { caFile = helper.servers.ca }
    net.setLogger(function() end)
    local function ask(proxy)
      local words = {}
      for _, url in ipairs { http, https } do
        for _, api in ipairs { "request", "downloadFile" } do
          local res = helper.finish(helper.begin(api, { url = url .. "/",
            proxy = proxy })).complete
          words[#words + 1] = res.errno and res.errCode or "ok"
        end
      end
      local socket = sockets.start { url = ws .. "/ws/echo", proxy = proxy }
      helper.run_until(function()
        return socket.done or socket.opens[1]
      end)
      local res = socket.fail or socket.errors[1]
      words[#words + 1] = res and res.errCode or "ok"
      if socket.opens[1] then sockets.close(socket) end
      print(table.concat(words, " "))
    end
    ask()
    ask("env")
    net.configure { proxy = "env" }
    ask()
    ask("")
    net.configure { allowProxy = false }
    ask()
    ask("env")]]

  it("is taken from the environment with \"env\" alone", function()
    local fine, refused = "ok ok ok ok ok\n", "-102 -102 -102 -102 -102\n"
    local own = "-10 -10 -10 -10 -10\n"
    for _, case in ipairs {
      { { "http_proxy=" .. fault.refused, "https_proxy=" .. fault.refused },
        fine .. refused .. refused .. fine .. refused .. own },
      { { "http_proxy=" .. servers.proxy, "https_proxy=" .. servers.proxy },
        fine .. fine .. fine .. fine .. fine .. own },
      { { "all_proxy=" .. fault.refused, "no_proxy=" .. HOST },
        fine .. fine .. fine .. fine .. fine .. own },
      { {}, fine .. fine .. fine .. fine .. fine .. own },
    } do
      local starter = case[1]
      table.insert(starter, 1, "env")
      local result = helper.lua_under(starter, ENVIRONMENT, fault.http,
        fault.https, fault.ws)
      assert.equal("", result.err)
      assert.equal(case[2], result.out)
    end
  end)

  it("of the environment may be private if it is allowed", function()
    local result = helper.lua_under({ "env", "http_proxy=" .. servers.proxy },
      [[
      local helper = require "helper"
      local net, url = helper.net, (...)
      net.setLogger(function() end)
      local function ask(url, proxy)
        return tostring(helper.fetch { url = url, proxy = proxy,
          dataType = "text" }.complete.errno)
      end
      net.configure { denyPrivateAddresses = true }
      print(ask("http://203.0.113.7/", "env"))
      net.configure { proxy = "env" }
      print(ask("http://203.0.113.7/"))
      net.configure { allowPrivate = { "127.0.0.1" } }
      print(ask(url))]], fault.http .. "/")
    assert.equal("", result.err)
    assert.equal("600002\n600002\nnil\n", result.out)
  end)

  it("does not lift the lists", function()
    net.configure { proxy = servers.proxy, domains = only("other.example") }
    for api in pairs(RULES) do check_unlisted(api, fault.http) end
    net.configure { domains = only(HOST), denyPrivateAddresses = true }
    for api in pairs(RULES) do check_private(api, fault.http) end
  end)

  local SEALED = [[
    local url, proxy, allow = ...
    local helper = require "helper"
    local net = helper.net
    net.setLogger(function() end)
    if allow == "true" then net.configure { allowProxy = true } end
    local before = net.request { url = url, proxy = proxy }
    local host = net.seal()
    local function ask()
      return tostring(helper.fetch { url = url, proxy = proxy,
        dataType = "text" }.complete.errno)
    end
    print(ask())
    host.configure { userAgent = "x" }
    print(ask())
    host.close()
    print(ask())
    host.configure { allowProxy = true }
    print(ask())
    host.configure { allowProxy = false }
    print(ask())
    host.configure { proxy = proxy }
    print(helper.ask(url))]]

  it("is the host's alone after seal(), unless it says otherwise", function()
    for allow, want in pairs {
      ["false"] = "102\n102\n102\nnil\n102\nok\n",
      ["true"] = "nil\nnil\nnil\nnil\n102\nok\n",
    } do
      local result = helper.lua(SEALED, fault.http .. "/", servers.proxy, allow)
      assert.equal("", result.err)
      assert.equal(want, result.out)
    end
  end)
end)

-- ---- Trust ------------------------------------------------------------------

describe("trust", function()
  setup(defaults)
  after_each(verify)

  local function pin_of(name)
    local result = helper.run("sh", "-c", "openssl x509 -in \"$1\" -pubkey"
      .. " -noout | openssl pkey -pubin -outform der | openssl dgst -sha256"
      .. " -binary | base64", "sh", servers.tls_dir .. "/" .. name)
    return "sha256/" .. result.out:match("%S+")
  end

  it("caData is whom TLS trusts", function()
    net.configure { caFile = false }
    for api in pairs(RULES) do
      assert.matches("ERR_CERT_AUTHORITY_INVALID",
        run(api, fault.https).errMsg)
    end
    net.configure { caData = helper.read_file(servers.ca) }
    for api in pairs(RULES) do check_ok(api, fault.https) end
    net.close()
    for api in pairs(RULES) do check_ok(api, fault.https) end
    net.configure { caData = helper.read_file(servers.tls_dir
      .. "/selfsigned.pem") }
    for api in pairs(RULES) do
      assert.matches("ERR_CERT_AUTHORITY_INVALID",
        run(api, fault.https).errMsg)
    end
  end)

  it("pins are the keys that a host has to have", function()
    local other = "sha256/" .. ("A"):rep(43) .. "="
    local own = pin_of("valid.pem")
    for api in pairs(RULES) do
      net.configure { pins = { [HOST] = { other } } }
      local res = run(api, fault.https)
      assert.equal(api .. ":fail -150:net::ERR_SSL_PINNED_KEY_NOT_IN_"
        .. "CERT_CHAIN", res.errMsg)
      assert.equal(600001, res.errno)
      assert.equal(-150, res.errCode)
      assert.matches("^pins; lifted by ", res.reason)
      net.configure { pins = { [HOST] = { other, own } } }
      check_ok(api, fault.https)
      -- A call replaces all of them.
      net.configure { pins = { ["other.example"] = { other } } }
      check_ok(api, fault.https)
      net.configure { pins = false }
      check_ok(api, fault.https)
    end
  end)
end)

-- ---- Secrets ----------------------------------------------------------------

describe("secrets", function()
  setup(defaults)
  after_each(verify)

  local VALUE = "s3cret-v4lue"

  local function give(value, hosts)
    net.secrets.set("api.key", { value = value or VALUE,
      hosts = hosts or { "http://" .. HOST .. ":" .. port_of(fault.http) } })
    return net.secret("api.key")
  end

  local function sent(api, header)
    local more = { header = { ["X-Api"] = header, ["X-Other"] = "1" } }
    if api == "connectSocket" then
      local request = sockets.handshake { header = more.header }
      return wire.values(request, "x-api")[1]
    end
    local res = check_ok(api, fault.http, more)
    local bytes = res.data or helper.read_file(res.tempFilePath)
    return wire.values(wire.parse(bytes), "x-api")[1]
  end

  it("are sent, and scripts know only what stands for them", function()
    local text = give()
    assert.is_nil(text:find(VALUE, 1, true))
    assert.matches("^{secret:api%.key:" .. ("%x"):rep(32) .. "}$", text)
    assert.equal(text, net.secret("api.key"))
    for api in pairs(RULES) do
      assert.equal("Bearer " .. VALUE .. ", " .. VALUE,
        sent(api, ("Bearer %s, %s"):format(text, text)))
    end
  end)

  it("are the same text whatever they are set to", function()
    local text = give("one")
    assert.equal("one", sent("request", text))
    assert.equal(text, give("another"))
    assert.equal("another", sent("request", text))
    assert.is_true(net.secrets.remove("api.key"))
    assert.is_false(net.secrets.remove("api.key"))
    assert.equal(text, sent("request", text)) -- just text
    assert.equal(text, give("third"))
    net.secrets.set("two", { value = "2", hosts = { "x.example" } })
    assert.are_not.equal(text, net.secret("two"))
    assert.same({ "api.key", "two" }, net.secrets.list())
    assert.equal("third", sent("request", text))
  end)

  it("survive close and configure", function()
    local text = give()
    net.close()
    assert.equal(VALUE, sent("request", text))
    net.configure { policy = "open" }
    assert.equal(VALUE, sent("request", text))
    assert.equal(text, net.secret("api.key"))
  end)

  it("go to no other host", function()
    local text = give(nil, { "api.example" })
    for api in pairs(RULES) do
      local res = run(api, fault.http, { header = { ["X-Api"] = text } })
      assert.equal(api .. ":fail secret is not for this host", res.errMsg)
      assert.equal(102, res.errno)
      assert.equal(-10, res.errCode)
      assert.matches("^secrets; lifted by ", res.reason)
      assert.matches("api%.key", res.detail)
      assert.is_nil(res.detail:find(VALUE, 1, true))
    end
  end)

  it("need TLS unless the entry says otherwise", function()
    local text = give(nil, { HOST })
    local more = { header = { ["X-Api"] = text } }
    assert.equal(102, run("request", fault.http, more).errno)
    local bytes = check_ok("request", fault.https, more).data
    assert.same({ VALUE }, wire.values(wire.parse(bytes), "x-api"))
  end)

  it("are in no error, record or line of the log", function()
    local text = give(nil, { "api.example" })
    local lines, restore = residue.log()
    local seen = {}
    net.onAudit(function(record)
      for _, value in pairs(record) do seen[#seen + 1] = tostring(value) end
    end)
    for api in pairs(RULES) do
      local res = run(api, fault.http, { header = { ["X-Api"] = text } })
      for _, value in pairs(res) do seen[#seen + 1] = tostring(value) end
    end
    restore()
    assert.is_true(#lines >= 4 and #seen > 20)
    local all = table.concat(lines, "\n") .. table.concat(seen, "\n")
    assert.is_nil(all:find(VALUE, 1, true))
    assert.is_truthy(all:find("api.key", 1, true))
  end)

  it("are shown by no interceptor", function()
    local text = give()
    local lines, restore = residue.log()
    local params
    net.addInterceptor(net.interceptors.logInterceptor)
    net.addInterceptor(function(chain)
      params = chain.requestParams
      return chain:proceed(params)
    end)
    local record = helper.fetch { url = fault.http .. "/",
      header = { ["X-Api"] = text } }
    net.cleanInterceptors()
    restore()
    assert.equal(200, record.complete.statusCode)
    assert.equal(text, params.header["X-Api"])
    local all = table.concat(lines, "\n")
    assert.is_true(#lines > 0)
    assert.is_nil(all:find(VALUE, 1, true))
  end)

  it("that are wrong are refused, and never shown", function()
    local set = net.secrets.set
    local fine = { value = "fine", hosts = { "a.example" } }
    for _, name in ipairs { 1, true, "", "a b", "a\n", "{x}", ("x"):rep(65),
      "ä" } do
      assert.has_error(function() set(name, fine) end)
    end
    for _, given in ipairs { "x", 1, {}, { value = VALUE }, { hosts = { "a" } },
      { value = "", hosts = { "a" } }, { value = 1, hosts = { "a" } },
      { value = VALUE .. "\n", hosts = { "a" } },
      { value = VALUE .. "\0", hosts = { "a" } },
      { value = VALUE, hosts = {} }, { value = VALUE, hosts = "a" },
      { value = VALUE, hosts = { 1 } }, { value = VALUE, hosts = { "" } },
      { value = VALUE, hosts = { "http//a" } },
      { value = VALUE, hosts = { "a", "a/b" } },
      { value = VALUE, hosts = { "a" }, host = "a" },
    } do
      local ok, err = pcall(set, "key", given)
      assert.is_false(ok)
      assert.is_nil(err:find(VALUE, 1, true))
    end
    assert.has_error(function() set("key") end)
    assert.same({}, net.secrets.list())
    assert.has_error(function() net.secret("key") end,
      'nettask: secret: there is none with the name "key"')
    for _, name in ipairs { 1, true, {}, "a\0" } do
      assert.has_error(function() net.secret(name) end)
    end
    set("key", fine)
    assert.has_error(function() set("key", { value = "x", hosts = { "a/" } })
    end)
    assert.same({ "key" }, net.secrets.list())
  end)

  it("belong to the host after seal()", function()
    local result = helper.lua([[
      local url, host_of = ...
      local helper = require "helper"
      local net = helper.net
      net.secrets.set("one", { value = "first", hosts = { host_of } })
      local host = net.seal()
      print(pcall(net.secrets.set, "one", { value = "x", hosts = { "x" } }))
      print(pcall(net.secrets.remove, "one"))
      print(pcall(net.secrets.list))
      host.secrets.set("two", { value = "second", hosts = { host_of } })
      print(table.concat(host.secrets.list(), " "))
      local text = helper.fetch { url = url, dataType = "text", header = {
        ["X-Api"] = net.secret("one") .. "+" .. net.secret("two") } }
        .complete.data
      print(text:match("X%-Api: ([^\r]*)"))
      print(host.secrets.remove("one"), (pcall(net.secret, "one")))]],
      fault.http .. "/raw", "http://" .. HOST .. ":" .. port_of(fault.http))
    assert.equal("", result.err)
    local lines = {}
    for line in result.out:gmatch("[^\n]+") do lines[#lines + 1] = line end
    for i = 1, 3 do assert.matches("^false.*sealed", lines[i]) end
    assert.equal("one two", lines[4])
    assert.equal("first+second", lines[5])
    assert.equal("true\tfalse", lines[6])
  end)
end)

-- ---- Records of refusals ----------------------------------------------------

describe("onAudit", function()
  setup(defaults)
  after_each(verify)

  local records
  before_each(function()
    records = {}
    net.onAudit(function(record) records[#records + 1] = record end)
  end)

  it("hears of each refusal, once", function()
    net.configure { domains = only("other.example") }
    local before = net.stats().refusals
    for api in pairs(RULES) do
      local lines, restore = residue.log()
      records = {}
      local res, record = run(api, fault.http)
      restore()
      assert.equal(1, #records)
      local target = "http://" .. HOST .. ":" .. port_of(fault.http)
      assert.equal(target, (records[1].target:gsub("^ws:", "http:")))
      records[1].target = nil
      assert.same({
        rule = RULES[api], text = "url not in domain list", errno = 600002,
        setting = res.reason:match("lifted by (.*)$"), errCode = -10,
        api = api, task = record.task.id,
      }, records[1])
      assert.equal(1, #lines)
      assert.matches("^warn: .*refused by domains", lines[1])
    end
    assert.equal(before + 4, net.stats().refusals)
  end)

  it("hears of sockets that go on", function()
    net.configure { domains = only("other.example") }
    local record = tcp.whole { port = fault.tcp }
    assert.equal("TCPSocket", records[1].api)
    assert.equal("domains.tcp", records[1].rule)
    assert.equal(-3, records[1].errCode)
    assert.equal(record.task.id, records[1].task)
    local socket = udp.bound()
    udp.send(socket, 9, "x")
    udp.check_error(socket, 1, -3)
    assert.equal(2, #records)
    assert.equal("UDPSocket", records[2].api)
    assert.equal("domains.udp", records[2].rule)
    assert.equal(socket.task.id, records[2].task)
    udp.close(socket)
  end)

  it("hears of what made no task", function()
    net.configure { limits = { tcpPerWindow = 1 } }
    local first = tcp.create()
    assert.is_nil((net.createTCPSocket()))
    tcp.close(first)
    helper.run_until(function() return #records > 0 end)
    assert.equal("limits.tcpPerWindow", records[1].rule)
    assert.equal("configure{limits={tcpPerWindow=0}}", records[1].setting)
    assert.is_nil(records[1].target)
    net.close()
  end)

  it("hears of a task that was aborted since", function()
    net.configure { domains = only(HOST) }
    net.pause()
    local record = helper.start { url = fault.http .. "/redirect?to="
      .. ("http://localhost:%d/"):format(port_of(fault.http)) }
    helper.run_until(function() return net.wait(0) end)
    record.task:abort { silent = true }
    net.resume()
    assert.is_true(net.run(5000))
    assert.equal(1, #records)
    assert.equal("domains.request", records[1].rule)
    assert.is_false(record.done)
  end)

  it("comes before the task's own end", function()
    net.configure { domains = only("other.example") }
    local seen
    helper.finish(helper.begin("request", { url = fault.http .. "/",
      fail = function() seen = #records end }))
    assert.equal(1, seen)
  end)

  it("may raise like any callback", function()
    net.configure { domains = only("other.example") }
    local caught
    net.onAudit(function() error("of the host", 0) end)
    net.onError(function(err, _, what) caught = err .. " " .. what end)
    local record = helper.fetch { url = fault.http .. "/" }
    helper.catch_errors()
    assert.equal(600002, record.fail.errno)
    assert.matches("^of the host RequestTask #%d+ onAudit$", caught)
  end)

  it("is one function, or none", function()
    net.configure { domains = only("other.example") }
    for _, wrong in ipairs { 1, "x", {}, true } do
      assert.has_error(function() net.onAudit(wrong) end)
    end
    net.onAudit(helper.expect(1))
    check_unlisted("request", fault.http)
    net.onAudit(false)
    check_unlisted("request", fault.http)
    assert.same({}, records)
  end)

  it("is the host's after seal()", function()
    local result = helper.lua([[
      local helper = require "helper"
      local net = helper.net
      net.setLogger(function() end)
      net.configure { domains = { request = { "other.example" } } }
      local host = net.seal()
      print(pcall(net.onAudit, print))
      host.onAudit(function(record) print(record.rule) end)
      helper.fetch { url = (...) }]], fault.http .. "/")
    assert.equal("", result.err)
    assert.matches("^false.*sealed[^\n]*\ndomains%.request\n$", result.out)
  end)
end)

-- ---- The background ---------------------------------------------------------

describe("setBackground", function()
  setup(defaults)
  after_each(verify)

  local function check_interrupted(api)
    local res = run(api, fault.http)
    assert.equal(api .. ":fail interrupted", res.errMsg)
    assert.equal(600003, res.errno)
    assert.equal(-21, res.errCode)
    assert.is_nil(res.reason)
  end

  it("takes true or false", function()
    for _, wrong in ipairs { 1, "true", {}, print } do
      assert.has_error(function() net.setBackground(wrong) end)
    end
    assert.has_error(function() net.setBackground() end)
  end)

  it("lets nothing start until the game is back", function()
    net.setBackground(true)
    net.setBackground(true)
    for api in pairs(RULES) do check_interrupted(api) end
    net.setBackground(false)
    for api in pairs(RULES) do check_ok(api, fault.http) end
  end)

  it("is remembered for later contexts", function()
    net.close()
    net.setBackground(true)
    check_interrupted("request")
    net.close()
    check_interrupted("request")
    net.setBackground(false)
    check_ok("request", fault.http)
  end)

  it("ends what runs after the grace", function()
    net.configure { limits = { backgroundGraceMs = 50 } }
    local record = helper.start { url = fault.silent .. "/" }
    net.setBackground(true)
    helper.finish(record)
    helper.check_failure(record, "interrupted", 600003, -21)
  end)

  it("is the host's after seal()", function()
    local result = helper.lua([[
      local helper = require "helper"
      local net = helper.net
      net.setLogger(function() end)
      local host = net.seal()
      print(pcall(net.setBackground, true))
      host.setBackground(true)
      print(helper.fetch { url = (...) }.complete.errno)
      host.setBackground(false)
      print(helper.fetch { url = (...) }.complete.errno)]], fault.http .. "/")
    assert.equal("", result.err)
    assert.matches("^false.*sealed[^\n]*\n600003\nnil\n$", result.out)
  end)
end)
