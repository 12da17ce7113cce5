-- The cookie jar as scripts and hosts meet it: who sends and stores, to which
-- origin, at which hop; net.cookies; the file. What a Set-Cookie field may say
-- is in c-core/test/test_cookie.c and test_cookie_jar.c.
--
-- libcurl takes any name below "localhost" for this machine, so there are hosts
-- with neighbours; ports are no part of a cookie, but of an origin.

local helper = require "helper"
local files = require "support.files"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault, demo = servers.fault, servers.demo

-- The same server under another name.
local function at(host, server)
  return ((server or fault.http):gsub("127%.0%.0%.1", host))
end

local function url_of(path, key, to, set, server)
  local parameters = {}
  if key then parameters[1] = { "key", key } end
  if to then parameters[#parameters + 1] = { "to", to } end
  for _, line in ipairs(set or {}) do
    parameters[#parameters + 1] = { "h", "Set-Cookie:" .. line }
  end
  return wire.url(path, parameters, server)
end

local function respond(key, set, server)
  return url_of("/respond", key, nil, set, server)
end

local function redirect(key, to, set, server)
  return url_of("/redirect", key, to, set, server)
end

-- The Cookie field of each request under that key, false for none.
local function sent(key)
  local list = {}
  for i, request in ipairs(wire.seen(key)) do
    local values = wire.values(request, "cookie")
    assert(#values <= 1, "two Cookie fields")
    list[i] = values[1] or false
  end
  return list
end

-- What one more request to a server would send.
local function sends(options, server)
  local key = wire.key()
  wire.get(wire.with({ url = respond(key, nil, server) }, options or {}))
  return sent(key)[1]
end

local INCLUDE = { credentials = "include" }

local function store(line, server, options)
  return wire.get(wire.with({ url = respond(nil, { line }, server),
    credentials = "include" }, options or {}))
end

local function names(list)
  local all = {}
  for i, cookie in ipairs(list) do all[i] = cookie.name end
  return table.concat(all, " ")
end

local function empty()
  net.configure { origin = false, baseUrl = false }
  assert(net.cookies.clear())
  helper.verify()
end

local function set_up()
  net.configure { dialect = "wx", policy = "miniprogram",
    caFile = servers.ca }
end

describe("credentials", function()
  setup(set_up)
  after_each(empty)

  it("#59 include sends what was stored", function()
    local res = store("sid=1; Path=/")
    assert.same({ "sid=1; Path=/" }, res.cookies)
    assert.equal("sid=1", sends(INCLUDE))
    assert.equal("sid=1", net.cookies.list()[1].name .. "="
      .. net.cookies.list()[1].value)
    assert.same({ sid = "1" }, wire.get { url = demo .. "/cookies",
      credentials = "include" }.data)
  end)

  it("#59 include leaves the cookies array as it was sent", function()
    local lines = { "a=1; Path=/; SameSite=None", "b=2; Domain=example.com",
      "a=3; Max-Age=0" }
    local res = wire.get { url = respond(nil, lines), credentials = "include" }
    assert.same(lines, res.cookies)
  end)

  it("#59 include works with httpbin's cookies", function()
    wire.get { url = servers.httpbin .. "/cookies/set?one=1&two=2",
      credentials = "include" }
    local res = wire.get { url = servers.httpbin .. "/cookies",
      credentials = "include" }
    assert.same({ one = "1", two = "2" }, res.data.cookies)
    wire.get { url = servers.httpbin .. "/cookies/delete?one",
      credentials = "include" }
    res = wire.get { url = servers.httpbin .. "/cookies",
      credentials = "include" }
    assert.same({ two = "2" }, res.data.cookies)
  end)

  it("#60 same-origin uses the jar at the origin alone", function()
    net.configure { origin = fault.http }
    local options = { credentials = "same-origin" }
    store("own=1; Path=/", fault.http, options)
    store("other=1; Path=/", servers.httpbin:gsub("/$", ""), {
      url = servers.httpbin .. "/response-headers?Set-Cookie=other%3D1",
      credentials = "same-origin" })
    assert.equal("own", names(net.cookies.list()))
    assert.equal("own=1", sends(options))
    -- The same host, so the cookie is for it; another port, or scheme.
    assert.same({}, wire.get { url = demo .. "/cookies",
      credentials = "same-origin" }.data)
    assert.is_false(sends(options, fault.https))
    assert.is_false(sends(options, at "localhost"))
  end)

  it("#60 same-origin takes the baseUrl when there is no origin", function()
    local options = { credentials = "same-origin" }
    store("own=1; Path=/")
    assert.is_false(sends(options))
    net.configure { baseUrl = fault.http .. "/some/path" }
    assert.equal("own=1", sends(options))
    net.configure { origin = demo }
    assert.is_false(sends(options))
  end)

  it("#61 omit, the default, neither sends nor stores", function()
    store("kept=1; Path=/")
    for _, options in ipairs { {}, { credentials = "omit" } } do
      assert.is_false(sends(options))
      wire.get(wire.with({ url = respond(nil, { "new=1; Path=/" }) }, options))
    end
    assert.equal("kept", names(net.cookies.list()))
  end)

  it("#61 a value that is none of them is logged, and means omit", function()
    local lines = {}
    net.setLogger(function(_, text) lines[#lines + 1] = text end)
    store("kept=1; Path=/")
    assert.is_false(sends { credentials = "always" })
    net.setLogger(nil)
    assert.equal(1, #lines)
    assert.matches('"credentials" is none of "include"', lines[1])
  end)

  it("none of the three is logged", function()
    local lines = {}
    net.setLogger(function(_, text) lines[#lines + 1] = text end)
    for _, value in ipairs { "include", "same-origin", "omit" } do
      sends { credentials = value, enableCookie = true }
    end
    net.setLogger(nil)
    assert.same({}, lines)
  end)

  it("are decided anew at each hop", function()
    net.configure { origin = fault.http }
    store("a=1; Path=/")
    local other = at "localhost"
    store("b=2; Path=/", other)
    local key = wire.key()
    local last = respond(key, { "late=1; Path=/" })
    local middle = redirect(key, last, { "c=3; Path=/" }, other)
    local first = redirect(key, middle, { "d=4; Path=/" })
    wire.get { url = first, credentials = "include" }
    assert.same({ "a=1", "b=2", "a=1; d=4" }, sent(key))
    assert.equal("a b d c late", names(net.cookies.list()))
    key = wire.key()
    wire.get { credentials = "same-origin",
      url = redirect(key, redirect(key, respond(key), { "never=1" }, other)) }
    assert.same({ "a=1; d=4; late=1", false, "a=1; d=4; late=1" }, sent(key))
    assert.equal("a b d c late", names(net.cookies.list()))
  end)

  it("let a redirect set what its target is sent", function()
    local key = wire.key()
    wire.get { url = redirect(key, respond(key), { "token=x; Path=/" }),
      credentials = "include" }
    assert.same({ false, "token=x" }, sent(key))
  end)

  it("send over TLS alone what is Secure", function()
    store("low=1; Path=/; Secure")
    assert.same({}, net.cookies.list())
    store("high=1; Path=/; Secure; HttpOnly", fault.https)
    store("__Host-id=2; Path=/; Secure", fault.https)
    store("high=stolen; Path=/", fault.http)
    assert.equal("high=1; __Host-id=2", sends(INCLUDE, fault.https))
    assert.is_false(sends(INCLUDE))
  end)

  it("share a domain with its neighbours, and with nobody else", function()
    store("all=1; Path=/; Domain=game.localhost", at "a.game.localhost")
    store("own=1; Path=/", at "a.game.localhost")
    store("bad=1; Path=/; Domain=localhost", at "a.game.localhost")
    store("bad=1; Path=/; Domain=b.game.localhost", at "a.game.localhost")
    assert.equal("all=1; own=1", sends(INCLUDE, at "a.game.localhost"))
    assert.equal("all=1", sends(INCLUDE, at "b.game.localhost"))
    assert.equal("all=1", sends(INCLUDE, at "game.localhost"))
    assert.is_false(sends(INCLUDE, at "b.other.localhost"))
    assert.equal("all own", names(net.cookies.list()))
  end)

  it("hold for requests that are made of several", function()
    store("jar=1; Path=/")
    net.addInterceptor(function(chain)
      return chain:proceed(chain.requestParams)
    end)
    assert.equal("jar=1", sends(INCLUDE))
    net.cleanInterceptors()
    assert.equal("jar=1", sends { credentials = "include", failover = true })
    assert.equal("jar=1", sends { enableCookie = false, retry = {} })
    assert.is_false(sends { failover = true })
  end)

  it("work for uploads, which omit by default", function()
    store("up=1; Path=/")
    local folder = files.folder()
    helper.write_file(folder .. "/x", "x")
    for _, case in ipairs { { nil, false }, { "include", "up=1" } } do
      local key = wire.key()
      local record = helper.finish(helper.begin("uploadFile", {
        url = respond(key), filePath = folder .. "/x", name = "f",
        credentials = case[1] }))
      assert.is_truthy(record.success)
      assert.same({ case[2] }, sent(key))
    end
  end)
end)

describe("enableCookie", function()
  setup(set_up)
  after_each(empty)

  local OWN = { Cookie = "own=1; mine=2" }

  it("#49 nil sends the caller's and leaves the jar alone", function()
    store("jar=1; Path=/")
    assert.equal("own=1; mine=2", sends { header = OWN })
    wire.get { url = respond(nil, { "new=1; Path=/" }), header = OWN }
    assert.equal("jar", names(net.cookies.list()))
  end)

  it("#49 false drops the caller's and uses the jar", function()
    store("jar=1; Path=/")
    for _, credentials in ipairs { false, "include" } do
      assert.equal("jar=1", sends { header = OWN, enableCookie = false,
        credentials = credentials or nil })
    end
    wire.get { url = respond(nil, { "new=1; Path=/" }), enableCookie = false }
    assert.equal("jar new", names(net.cookies.list()))
  end)

  it("#49 false with credentials omit: neither", function()
    store("jar=1; Path=/")
    local options = { header = OWN, enableCookie = false,
      credentials = "omit" }
    assert.is_false(sends(options))
    wire.get(wire.with(options, { url = respond(nil, { "new=1; Path=/" }) }))
    assert.equal("jar", names(net.cookies.list()))
  end)

  it("#49 true sends the caller's, and stores", function()
    store("jar=1; Path=/")
    local options = { header = OWN, enableCookie = true }
    assert.equal("own=1; mine=2", sends(options))
    wire.get(wire.with(options, { url = respond(nil, { "new=1; Path=/" }) }))
    assert.equal("jar new", names(net.cookies.list()))
  end)

  it("with include the caller's come first, and win", function()
    store("jar=1; Path=/")
    store("own=other; Path=/")
    assert.equal("own=1; mine=2; jar=1", sends { header = OWN,
      credentials = "include" })
    assert.equal("jar=1; own=other", sends { header = { cookie = "" },
      credentials = "include" })
  end)

  it("the caller's stay with the first origin, the jar does not", function()
    store("jar=1; Path=/")
    store("there=1; Path=/", at "localhost")
    local key = wire.key()
    wire.get { url = redirect(key, respond(key, nil, at "localhost")),
      header = OWN, credentials = "include" }
    assert.same({ "own=1; mine=2; jar=1", "there=1" }, sent(key))
  end)

  it("puts no secret in the place of what a server has set", function()
    net.secrets.set("key", { value = "hidden",
      hosts = { (fault.http:gsub("/+$", "")) } })
    local text = net.secret("key")
    assert(net.cookies.set(fault.http, "echo=" .. text .. "; Path=/"))
    assert.equal("own=hidden; echo=" .. text,
      sends { header = { Cookie = "own=" .. text }, credentials = "include" })
    net.secrets.remove("key")
  end)
end)

describe("withCredentials", function()
  setup(set_up)
  after_each(empty)

  local function download(options)
    local key = wire.key()
    local record = helper.finish(helper.begin("downloadFile", wire.with({
      url = respond(key, { "got=1; Path=/" }) }, options)))
    assert(record.success, record.complete.errMsg)
    return sent(key)[1]
  end

  it("#98 is true by default: a download uses the jar", function()
    store("jar=1; Path=/")
    assert.equal("jar=1", download {})
    assert.equal("jar got", names(net.cookies.list()))
    assert.equal("jar=1; got=1", download { withCredentials = true })
  end)

  it("#98 false: it does not", function()
    store("jar=1; Path=/")
    assert.is_false(download { withCredentials = false })
    assert.equal("jar", names(net.cookies.list()))
  end)
end)

describe("a WebSocket handshake", function()
  local sockets = require "support.sockets"
  setup(set_up)
  after_each(empty)

  local function handshake(options)
    return wire.values(sockets.handshake(options), "Cookie")
  end

  it("uses the jar when it is asked to", function()
    store("jar=1; Path=/")
    assert.same({}, handshake {})
    assert.same({}, handshake { credentials = "omit" })
    assert.same({ "jar=1" }, handshake { credentials = "include" })
    assert.same({ "own=1; jar=1" }, handshake { credentials = "include",
      header = { ["X-A"] = "1", Cookie = "own=1", ["X-B"] = "2" } })
    assert.same({ "jar=1" }, handshake { credentials = "include",
      header = { Cookie = "" } })
  end)

  it("stores what an answer sets, a refusal too", function()
    local function open(options)
      sockets.close(sockets.open(wire.with(options, {
        url = sockets.fault("echo", { h = "Set-Cookie: echo=1" }) })))
    end
    open {}
    assert.same({}, net.cookies.list())
    open(INCLUDE)
    assert.equal("echo", names(net.cookies.list()))
    local done
    local task = net.connectSocket { credentials = "include",
      url = (sockets.fault("refuse", { h = "Set-Cookie: refused=1" })) }
    task:onError(function() done = true end)
    helper.run_until(function() return done end)
    assert.equal("echo refused", names(net.cookies.list()))
    assert.equal("/ws", net.cookies.list()[1].path)
  end)

  it("is the same over TLS, where Secure cookies go", function()
    store("high=1; Path=/; Secure", fault.https)
    assert.same({}, handshake { credentials = "include" })
    assert.equal("high=1", wire.values(sockets.handshake {
      credentials = "include", url = fault.wss .. "/ws/echo?key=KEY" },
      "Cookie")[1])
  end)

  it("takes ws for http in an origin", function()
    store("jar=1; Path=/")
    assert.same({}, handshake { credentials = "same-origin" })
    net.configure { origin = fault.http }
    assert.same({ "jar=1" }, handshake { credentials = "same-origin" })
    net.configure { origin = demo }
    assert.same({}, handshake { credentials = "same-origin" })
  end)
end)
