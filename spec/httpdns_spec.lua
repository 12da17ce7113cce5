-- HttpDNS: names that only a provider knows, by DNS over HTTPS (unbound), by a
-- url and by a function. No name here is known to the system, so that whatever
-- arrives was led there by a provider. What the system's DNS has to say when a
-- provider fails is in httpdns_fallback_spec.lua.

local helper = require "helper"
local tcp = require "support.tcp"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault, nginx = servers.fault, servers.nginx

local PORT = fault.http:match(":(%d+)$")
local HERE = { "127.0.0.1" }

local function url_of(name, path, port)
  return ("http://%s:%s%s"):format(name, port or PORT, path or "/")
end

-- Options of a GET that provider `id` looks up for.
local function options_of(id, url, more)
  local given = { url = url, dataType = "text", enableHttpDNS = true,
    httpDNSServiceId = id }
  for key, value in pairs(more or {}) do given[key] = value end
  return given
end

local function fetch(id, url, more)
  return helper.fetch(options_of(id, url, more))
end

-- The result of one that was led by the provider, and by nothing else.
local function resolved(id, url, more)
  local res = wire.get(options_of(id, url, more))
  assert.is_true(res.useHttpDNS)
  assert.same({ retryCount = 0, reasons = {} }, res.exception)
  return res
end

-- A provider under that name that counts: { asked = { host, ... } }.
local function provider(id, ips, ttl)
  local record = { asked = {} }
  net.registerHttpDNS(id, function(host)
    record.asked[#record.asked + 1] = host
    return ips or HERE, ttl
  end)
  return record
end

-- What unbound was asked for that name.
local function questions(name)
  local list = {}
  for found, kind in helper.read_file(servers.doh_log):gmatch(
    " 127%.0%.0%.1 (%S+)%. (%S+) IN") do
    if found == name then list[#list + 1] = kind end
  end
  return table.concat(list, " ")
end

local function restore()
  helper.verify()
  for _, id in ipairs { "f", "g", "url", "doh" } do
    net.registerHttpDNS(id, nil)
  end
  net.configure { policy = "miniprogram", caFile = servers.ca, proxy = false,
    allowPrivate = false, limits = { maxRequests = 10 } }
end

describe("a provider", function()
  setup(restore)
  after_each(restore)

  it("#46 may be a function that knows the addresses", function()
    local record = provider("f")
    local res = resolved("f", url_of("Game.Example", "/raw"))
    assert.truthy(res.data:find("\r\nHost: game%.example:" .. PORT .. "\r\n")
      or res.data:find("\r\nHost: Game%.Example:" .. PORT .. "\r\n"))
    assert.same({ "game.example" }, record.asked)
    assert.equal("127.0.0.1", res.profile.peerIP)
  end)

  it("#46 may be a function that finds out", function()
    local asked
    net.registerHttpDNS("f", function(host, done)
      asked = host
      net.request { url = fault.http .. "/respond?body=127.0.0.1",
        dataType = "text", success = function(res)
          done({ res.data }, 60)
          done(nil, "only the first answer counts")
        end }
    end)
    assert.equal("there", resolved("f",
      url_of("game.example", "/respond?body=there")).data)
    assert.equal("game.example", asked)
  end)

  it("#46 may be a DNS server over HTTPS", function()
    net.registerHttpDNS("doh", servers.doh)
    for _, name in ipairs { "game.example", "alias.example" } do
      assert.equal("there", resolved("doh",
        url_of(name, "/respond?body=there")).data)
      assert.equal("A", questions(name))
    end
    net.registerHttpDNS("doh", servers.doh .. "{?dns}")
    resolved("doh", url_of("first.example"))
  end)

  it("that is a DNS server is asked for IPv6, too, if need be", function()
    net.registerHttpDNS("doh", servers.doh)
    local port = fault.http6:match(":(%d+)$")
    local res = resolved("doh", url_of("six.example", "/", port))
    assert.equal("::1", res.profile.peerIP)
    assert.equal("A AAAA", questions("six.example"))
  end)

  it("#46 may be a url with a place for the name", function()
    local key = "dns-" .. helper.now()
    local bodies = {
      '{"ips":["127.0.0.1"],"ttl":30}', '{"ips":["127.0.0.1"]}',
      "127.0.0.1", "127.0.0.1;127.0.0.1", "127.0.0.1\r\n127.0.0.1\r\n",
    }
    local query = require "nettask.query"
    for i, body in ipairs(bodies) do
      net.registerHttpDNS("url", ("%s/respond?key=%s&of={host}&%s"):format(
        fault.http, key, query.encode { body = body }))
      resolved("url", url_of(("n%d.example"):format(i)))
    end
    local seen = helper.ask(fault.http .. "/requests?of=" .. key)
    for i = 1, #bodies do
      assert.truthy(seen:find(("n%d.example"):format(i), 1, true), seen)
    end
  end)

  it("serves downloads and uploads as well", function()
    local record = provider("f")
    local path = helper.temp_name()
    local options = options_of("f", url_of("down.example",
      "/respond?body=file"), { filePath = path })
    options.dataType = nil -- it has none
    local down = helper.finish(helper.begin("downloadFile", options))
    assert.equal("downloadFile:ok", down.complete.errMsg)
    assert.is_true(down.complete.useHttpDNS)
    assert.equal("file", helper.read_file(path))
    options.url, options.name = url_of("up.example", "/raw"), "file"
    local up = helper.finish(helper.begin("uploadFile", options))
    assert.equal("uploadFile:ok", up.complete.errMsg)
    assert.is_true(up.complete.useHttpDNS)
    assert.same({ "down.example", "up.example" }, record.asked)
    os.remove(path)
  end)

  it("#100 is measured", function()
    net.registerHttpDNS("f", function(_, done)
      coroutine.wrap(function()
        net.await(net.sleep(20))
        done(HERE)
      end)()
    end)
    local p = resolved("f", url_of("game.example")).profile
    assert.is_true(p.httpDNSDomainLookUpStart >= p.invokeStart)
    local took = p.httpDNSDomainLookUpEnd - p.httpDNSDomainLookUpStart
    assert.is_true(took >= 19 and took < 5000, took)
    assert.is_true(p.fetchStart >= p.httpDNSDomainLookUpEnd)
    local plain = wire.get(fault.http .. "/respond?body=1").profile
    assert.equal(0, plain.httpDNSDomainLookUpStart)
    assert.equal(0, plain.httpDNSDomainLookUpEnd)
  end)

  it("is not asked for what is stored", function()
    local record = provider("f", HERE, 0)
    local url = url_of("game.example", "/respond?body=" .. helper.now()
      .. "&h=Cache-Control:max-age%3D600")
    resolved("f", url, { enableCache = true })
    local res = wire.get(options_of("f", url, { enableCache = true }))
    assert.equal("hit", res.profile.cache)
    assert.is_false(res.useHttpDNS)
    assert.same({ "game.example" }, record.asked)
  end)

  it("is not asked where there is nothing to ask", function()
    net.registerHttpDNS("f", helper.never("the provider"))
    assert.is_false(fetch("f", fault.http .. "/").complete.useHttpDNS)
    local named = fault.http:gsub("127%.0%.0%.1", "localhost")
    assert.is_false(fetch("f", named .. "/").complete.useHttpDNS)
    local res = fetch("f", url_of("game.example"), { proxy = servers.proxy })
    assert.is_false(res.complete.useHttpDNS)
    assert.same({}, res.complete.exception.reasons)
    assert.is_false(fetch("f", fault.http .. "/",
      { enableHttpDNS = false }).complete.useHttpDNS)
  end)
end)

describe("an answer", function()
  setup(restore)
  after_each(restore)

  it("serves a thousand requests", function()
    local record = provider("f")
    local left = 1000
    local options = options_of("f", url_of("game.example"), {
      success = function(res)
        assert(res.useHttpDNS)
        left = left - 1
      end })
    for _ = 1, left do net.request(options) end
    helper.run_until(function() return left == 0 end, 20000)
    assert.same({ "game.example" }, record.asked)
  end)

  it("is remembered for its time, and no longer", function()
    local record = provider("f", HERE, 0)
    fetch("f", url_of("game.example"))
    fetch("f", url_of("game.example"))
    assert.equal(2, #record.asked)
    record = provider("f", HERE, 0.1)
    local started = helper.now()
    repeat
      resolved("f", url_of("game.example"))
    until #record.asked == 2
    assert.is_true(helper.now() - started >= 99)
  end)

  it("is forgotten with its provider", function()
    provider("f", { "127.0.0.1" })
    resolved("f", url_of("game.example"))
    local record = provider("f", { "127.0.0.1" })
    resolved("f", url_of("game.example"))
    assert.equal(1, #record.asked)
  end)

  it("of one provider is nothing to another", function()
    local first, second = provider("f"), provider("g")
    resolved("f", url_of("game.example"))
    resolved("g", url_of("game.example"))
    assert.same({ "game.example" }, first.asked)
    assert.same(first.asked, second.asked)
  end)

  it("is decided anew at each redirect", function()
    local record = provider("f")
    local query = require "nettask.query"
    local res = resolved("f", url_of("first.example", "/redirect?"
      .. query.encode { to = url_of("second.example", "/raw") }))
    assert.same({ "first.example", "second.example" }, record.asked)
    assert.truthy(res.data:find("Host: second.example", 1, true))
  end)

  it("has its addresses tried in turn", function()
    provider("f", { "127.0.0.77", "::1", "127.0.0.1" })
    local res = fetch("f", url_of("game.example")).success
    assert.is_true(res.useHttpDNS)
    assert.equal("127.0.0.1", res.profile.peerIP)
    local reasons = res.exception.reasons
    assert.equal(2, #reasons)
    assert.same({ errno = 600001, errMsg =
      "httpDNS:fail game.example: 127.0.0.77: connection refused" }, reasons[1])
    assert.truthy(reasons[2].errMsg:find("::1", 1, true))
  end)

  it("has little time for an address that is silent", function()
    provider("f", { "192.0.2.1", "127.0.0.1" })
    local res = fetch("f", url_of("game.example"),
      { timeouts = { connect = 100 * helper.slow } }).success
    assert.is_true(res.useHttpDNS)
    assert.equal(1, #res.exception.reasons)
  end)

  it("changes nothing about TLS, which verifies the name", function()
    provider("f")
    local port = nginx.wronghost:match(":(%d+)$")
    for _, http2 in ipairs { false, true } do
      local function get(name)
        return fetch("f", ("https://%s:%s/small"):format(name, port),
          { enableHttp2 = http2 })
      end
      local res = get("wrong.example").success
      assert.equal(200, res.statusCode)
      assert.is_true(res.useHttpDNS)
      assert.equal(http2 and "h2" or "http/1.1", res.profile.protocol)
      -- No other way leads around a certificate.
      helper.check_failure(get("other.example"),
        "-200:net::ERR_CERT_COMMON_NAME_INVALID", 600001, -200)
    end
  end)

  it("keeps connections of different addresses apart", function()
    local first = provider("f")
    resolved("f", url_of("game.example"))
    assert.is_true(resolved("f", url_of("game.example")).profile.socketReused)
    assert.equal(1, #first.asked)
    provider("g", { "127.0.0.77", "127.0.0.1" })
    local res = fetch("g", url_of("game.example")).success
    assert.equal(1, #res.exception.reasons)
  end)
end)

describe("a provider's request", function()
  setup(restore)
  after_each(restore)

  it("has a place where all are taken", function()
    net.configure { limits = { maxRequests = 1 } }
    net.registerHttpDNS("url", fault.http .. "/respond?of={host}"
      .. "&body=127.0.0.1")
    net.registerHttpDNS("f", function(_, done)
      net.request { url = fault.http .. "/respond?body=127.0.0.1",
        dataType = "text",
        success = function(res) done { res.data } end }
    end)
    local records = {}
    for i = 1, 10 do
      for _, id in ipairs { "f", "url" } do
        records[#records + 1] = helper.start(options_of(id,
          url_of(("n%d.example"):format(i)), { timeout = 10000 }))
      end
    end
    for _, record in ipairs(records) do
      assert.is_true(helper.finish(record).complete.useHttpDNS)
    end
  end)

  it("lets no more run at once than may", function()
    net.configure { limits = { maxRequests = 2 } }
    local key = "dns-wait-" .. helper.now()
    local done
    net.registerHttpDNS("f", function(_, answer) done = answer end)
    local records = {}
    for i = 1, 6 do
      records[i] = helper.start(options_of("f", url_of("game.example",
        "/wait?key=" .. key)))
    end
    helper.run_until(function() return done end)
    done(HERE)
    helper.run_until(function() return net.stats().request.queued == 4 end)
    -- Nothing of ours has a place, so somebody else says it.
    local told = helper.python("import sys, urllib.request as r\n"
      .. "r.urlopen(sys.argv[1]).read()", fault.http .. "/release?key=" .. key)
    assert.equal("", told.err)
    for _, record in ipairs(records) do
      assert.equal("released", helper.finish(record).success.data)
    end
  end)

  it("goes where scripts may not, unseen by interceptors", function()
    net.configure { policy = "strict", requireSecure = false,
      domains = { request = { "game.example" } },
      allowPrivate = { "game.example" } }
    net.registerHttpDNS("url", fault.http
      .. "/respond?body=127.0.0.1&of={host}")
    local seen = {}
    net.addInterceptor(function(chain)
      seen[#seen + 1] = chain.requestParams.url
      return chain:proceed(chain.requestParams)
    end)
    resolved("url", url_of("game.example"))
    net.cleanInterceptors()
    assert.same({ url_of("game.example") }, seen)
    assert.equal(600002, helper.fetch { url = fault.http .. "/" }.fail.errno)
    net.configure { domains = { request = false } }
  end)
end)

describe("registerHttpDNS", function()
  after_each(restore)

  it("raises for what is no provider", function()
    for _, case in ipairs {
      { {}, "#1 to 'registerHttpDNS' (a name expected, got nil)" },
      { { "" }, "#1 to 'registerHttpDNS' (a name expected, got string)" },
      { { "f", 1 },
        "#2 to 'registerHttpDNS' (url or function expected, got number)" },
      { { "f", "ftp://x/" },
        "#2 to 'registerHttpDNS' (an http or https url expected, got"
          .. ' "ftp://x/")' },
      { { "f", "http://x/ y" },
        "#2 to 'registerHttpDNS' (an http or https url expected, got"
          .. ' "http://x/ y")' },
      { { "f", "http://{host}/" },
        "#2 to 'registerHttpDNS' ({host} belongs into the path or the query of"
          .. ' "http://{host}/")' },
    } do
      local ok, message = pcall(net.registerHttpDNS, case[1][1], case[1][2])
      assert.is_false(ok)
      assert.truthy(message:find("bad argument " .. case[2], 1, true), message)
    end
  end)

  it("belongs to the host", function()
    local result = helper.lua([[
      local helper = require "helper"
      local net, fault = helper.net, helper.servers.fault
      local host = net.seal()
      local ok, message = pcall(net.registerHttpDNS, "f", function() end)
      assert(not ok and message:find("sealed", 1, true), message)
      host.registerHttpDNS("f", function() return { "127.0.0.1" } end)
      host.registerHttpDNS("url",
        fault.http .. "/respond?of={host}&body=127.0.0.1")
      for _, id in ipairs { "f", "url" } do
        local record = helper.fetch { enableHttpDNS = true,
          url = fault.http:gsub("127.0.0.1", "game.example") .. "/",
          httpDNSServiceId = id }
        assert(record.complete.useHttpDNS, record.complete.errMsg)
      end]])
    assert.equal("", result.err)
    assert.equal(0, result.status)
  end)
end)

describe("a task that waits for an answer", function()
  setup(restore)
  after_each(restore)

  it("can be aborted, and the next one asks anew", function()
    local asked, late = 0, nil
    net.registerHttpDNS("f", function(_, done)
      asked = asked + 1
      if asked > 1 then return HERE end
      late = done
    end)
    local record = helper.start(options_of("f", url_of("game.example")))
    helper.run_until(function() return asked == 1 end)
    record.task:abort()
    helper.check_failure(helper.finish(record), "abort", 1, -3)
    resolved("f", url_of("game.example"))
    assert.equal(2, asked)
    late { "127.0.0.77" }
    resolved("f", url_of("game.example"))
  end)

  it("can time out itself", function()
    net.registerHttpDNS("f", function() end)
    local record = fetch("f", url_of("game.example"),
      { timeout = 50, httpDNSTimeout = 60000 })
    helper.check_failure(record, "timeout", 5, -7)
  end)

  it("holds up neither net.close() nor the end of Lua", function()
    local result = helper.lua([[
      local helper = require "helper"
      local net, fault = helper.net, helper.servers.fault
      local done
      net.registerHttpDNS("f", function(_, answer) done = answer end)
      net.registerHttpDNS("url", fault.http .. "/never?of={host}")
      local function ask(id)
        net.request { url = "http://game.example/", enableHttpDNS = true,
          httpDNSServiceId = id }
      end
      for _ = 1, 2 do
        done = nil
        ask("f")
        ask("url")
        helper.run_until(function() return done end)
        net.close()
        done { "127.0.0.1" }
        net.update()
      end
      ask("f")
      ask("url")
      net.update()
      print("end")]])
    assert.equal("", result.err)
    assert.equal("end\n", result.out)
    assert.equal(0, result.status)
  end)
end)

describe("a TCP socket", function()
  local function wait_for(socket)
    helper.run_until(function()
      return #socket.connects + #socket.errors > 0
    end)
  end

  setup(restore)
  after_each(function()
    tcp.verify()
    restore()
  end)

  it("#46 connects by HttpDNS", function()
    local record = provider("f", { "::1", "127.0.0.77", "127.0.0.1" })
    local socket = tcp.create()
    socket.task:connect { address = "game.example", port = servers.demo_tcp,
      enableHttpDNS = true, httpDNSServiceId = "f", timeoutMs = 5000 }
    wait_for(socket)
    assert.same({}, socket.errors)
    assert.is_true(socket.connects[1].useHttpDNS)
    assert.equal(1, #socket.connects[1].exception.reasons)
    assert.same({ "game.example" }, record.asked)
    socket.task:write("hello")
    helper.run_until(function() return socket.count == 5 end)
    assert.equal("127.0.0.1", socket.messages[1].remoteInfo.address)
  end)

  it("of IPv6 asks for IPv6", function()
    local families = {}
    net.registerHttpDNS("f", function(_, _, family)
      families[#families + 1] = family
      return { "127.0.0.1", "::1" }
    end)
    local socket = tcp.create { type = "ipv6" }
    socket.task:connect { address = "game.example", port = fault.tcp6,
      enableHttpDNS = true, httpDNSServiceId = "f", timeoutMs = 5000 }
    wait_for(socket)
    assert.same({}, socket.errors)
    assert.same({ "IPv6" }, families)
  end)
end)
