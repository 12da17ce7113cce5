-- What a result from the HTTP cache looks like, what it does without, and what
-- the cache holds: size, net.cache, keys of configure. The folder is in
-- cache_dir_spec.lua.

local helper = require "helper"
local cached = require "support.cached"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local resource, same, fresh = cached.resource, cached.same, cached.fresh

describe("a result from the cache", function()
  after_each(cached.finish)

  it("is what dataType and responseType say", function()
    local text = '{"n": 5}'
    local page = resource { fresh(text) }
    page:get()
    assert.same({ n = 5 }, page:get { dataType = "json" }.data)
    assert.equal("eyJuIjogNX0=", page:get { dataType = "base64" }.data)
    for _, options in ipairs { { dataType = "arraybuffer" },
      { responseType = "arraybuffer" } } do
      local res = page:get(options)
      assert.equal("userdata", type(res.data))
      assert.equal(text, tostring(res.data))
      assert.equal("hit", res.profile.cache)
    end
    assert.equal(1, page:asked())
  end)

  it("comes in pieces to who listens for them", function()
    local size = 300000
    local page = resource { fresh("", { bytes = size }), fresh "two" }
    local function stream()
      local record = helper.fetch(page:options { enableChunked = true })
      assert(record.success, record.complete.errMsg)
      assert.equal("", record.success.data)
      assert.equal("headers", record.order[1])
      local parts = {}
      for i, chunk in ipairs(record.chunks) do parts[i] = tostring(chunk) end
      return table.concat(parts), record.success.profile.cache
    end
    local first, how = stream()
    assert.equal(size, #first)
    assert.is_nil(how)
    local second
    second, how = stream()
    assert.is_true(first == second)
    assert.equal("hit", how)
    assert.is_true(page:get().data == first)
    assert.equal(1, page:asked())
  end)

  it("has an order of callbacks like any other", function()
    local page = resource { fresh "one" }
    page:get()
    local record = helper.start(page:options())
    assert.same({}, record.order) -- not before a frame
    helper.finish(record)
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.equal(200, record.headers[1].statusCode)
    record = helper.start(page:options())
    record.task:abort()
    helper.finish(record)
    assert.equal(-3, record.fail.errCode)
  end)

  it("needs no connection", function()
    local door = cached.door()
    local page = resource({ fresh "one" }, door.url)
    page:get()
    local accepted = door:accepted()
    for _ = 1, 20 do same(page:get(), "one", "hit") end
    assert.equal(accepted, door:accepted())
    door:close()
    same(page:get(), "one", "hit")
    same(page:get { cache = "only-if-cached" }, "one", "hit")
    assert.equal(-102, page:fail { cache = "no-cache" }.errCode)
  end)

  it("says so in its profile, and has no times of a network", function()
    local page = resource { fresh "one" }
    page:get()
    local profile = page:get().profile
    assert.equal("hit", profile.cache)
    assert.is_false(profile.socketReused)
    for _, name in ipairs { "rtt", "httpRttEstimate", "throughputKbps",
      "sendBytesCount", "receivedBytedCount", "SSLconnectionStart", "port" } do
      assert.equal(0, profile[name], name)
    end
    assert.equal("", profile.peerIP)
    assert.equal("unknown", profile.protocol)
    for _, name in ipairs { "invokeStart", "queueStart", "queueEnd",
      "fetchStart", "responseEnd" } do
      assert.is_true(math.abs(profile[name] / 1000 - os.time()) < 60, name)
    end
    assert.is_nil(page:get { enableProfile = false }.profile)
  end)

  it("was decoded like the first", function()
    local url = servers.nginx.http .. "/cached/text.txt?" .. wire.key()
    local first = wire.get { url = url, cache = "default", dataType = "text" }
    assert.equal("gzip", first.header["Content-Encoding"])
    assert.equal(56000, #first.data)
    local res = wire.get { url = url, cache = "default", dataType = "text" }
    assert.is_true(res.data == first.data)
    assert.equal("hit", res.profile.cache)
  end)

  it("outlives what it came from", function()
    local size = 100000
    local page = resource { fresh("", { bytes = size }) }
    page:get()
    local res = page:get { responseType = "arraybuffer" }
    assert.equal("hit", res.profile.cache)
    local text = tostring(res.data)
    net.cache.clear()
    for _ = 1, 5 do
      collectgarbage()
      resource({ fresh("", { bytes = size + 1 }) }):get()
    end
    assert.equal(size, #res.data)
    assert.is_true(tostring(res.data) == text)
  end)

  it("goes through interceptors, retry and failover", function()
    local page = resource { fresh "one" }
    net.addInterceptor(function(chain)
      chain.requestParams.cache = "force-cache"
      return chain:proceed(chain.requestParams)
    end)
    wire.get { url = page.url, dataType = "text" }
    same(wire.get { url = page.url, dataType = "text" }, "one", "hit")
    net.cleanInterceptors()
    same(page:get { retry = { tries = 1 } }, "one", "hit")
    local none = wire.url("/respond", { key = wire.key() })
    same(page:get { url = none, cache = "only-if-cached", failover = true,
      backup = page.url }, "one", "hit")
    local jsonp = resource { fresh "call([1,2])" }
    for _ = 1, 2 do
      assert.same({ 1, 2 }, wire.get { url = jsonp.url, jsonp = "call",
        jsonpCache = "default", cache = "default" }.data)
    end
    assert.equal(1, jsonp:asked())
    local record = helper.fetch { url = none, cache = "only-if-cached",
      retry = { tries = 3, base = 1 } }
    assert.equal(0, record.fail.exception.retryCount)
  end)

  it("waits while the host is held up, and goes on", function()
    local size = 3 * 1024 * 1024
    local page = resource { fresh("", { bytes = size }) }
    local whole = page:get { responseType = "arraybuffer" }.data
    net.pause()
    local record = helper.start(page:options { enableChunked = true })
    helper.run_until(function() return net.stats().queuedBytes >= 1048576 end)
    assert.is_true(net.stats().queuedBytes < size)
    net.resume()
    helper.finish(record)
    local parts = {}
    for i, chunk in ipairs(record.chunks) do parts[i] = tostring(chunk) end
    assert.is_true(table.concat(parts) == tostring(whole))
    assert.equal("hit", record.success.profile.cache)
  end)

  it("ends when it is aborted halfway", function()
    local page = resource { fresh("", { bytes = 3 * 1024 * 1024 }) }
    page:get { responseType = "arraybuffer" }
    local record
    record = helper.start(page:options { enableChunked = true })
    record.task:onChunkReceived(function() record.task:abort() end)
    helper.finish(record)
    assert.equal(-3, record.fail.errCode)
    assert.equal(1, #record.chunks)
    assert.equal("hit", page:get { dataType = "base64" }.profile.cache)
  end)

  it("comes to many at once", function()
    local page = resource { fresh "one", fresh "two" }
    page:get()
    local records = {}
    for i = 1, 100 do records[i] = helper.start(page:options()) end
    for i = 1, 100 do same(helper.finish(records[i]).success, "one", "hit") end
    assert.equal(1, page:asked())
    -- Whoever comes while the first is on its way asks as well.
    local gate = wire.key()
    local slow = resource { fresh("one", { gate = gate }) }
    for i = 1, 5 do records[i] = helper.start(slow:options()) end
    helper.run_until(function() return slow:asked() == 5 end)
    helper.ask(wire.url("/release", { key = gate }))
    for i = 1, 5 do same(helper.finish(records[i]).success, "one", nil) end
    same(slow:get(), "one", "hit")
  end)

  it("is none when the context has been closed", function()
    local page = resource { fresh "one" }
    page:get()
    for _ = 1, 5 do
      net.request(page:options { success = helper.never "success",
        complete = helper.never "complete" })
    end
    net.close()
    helper.run_for(20)
  end)

  it("may be too large for who asks", function()
    local page = resource { fresh("", { bytes = 200000 }) }
    page:get()
    net.configure { limits = { responseMaxBytes = 100000 } }
    local res = page:fail()
    net.configure { limits = { responseMaxBytes = 64 * 1024 * 1024 } }
    assert.equal("request:fail exceed max body size", res.errMsg)
    assert.equal(200000, #page:get().data)
    assert.equal(1, page:asked())
  end)

  it("is judged by mode like any other", function()
    local origin = "http://game.example"
    net.configure { origin = origin }
    local closed = resource { fresh "one" }
    local open = resource { { body = "one", headers = {
      ["Cache-Control"] = cached.HOUR, Vary = "Origin",
      ["Access-Control-Allow-Origin"] = origin } } }
    closed:get()
    open:get { mode = "cors" }
    same(open:get { mode = "cors" }, "one", "hit")
    assert.equal("response is not allowed by Access-Control-Allow-Origin",
      closed:fail { mode = "cors" }.errMsg:match("fail (.*)"))
    assert.equal(600011, open:fail { mode = "same-origin" }.errno)
    local res = closed:get { mode = "no-cors" }
    assert.equal(0, res.statusCode)
    assert.equal("", res.data)
    net.configure { origin = false }
    assert.equal(1, closed:asked())
    assert.equal(1, open:asked())
  end)

  it("passes the gate of the policy like any other", function()
    local page = resource { fresh "one" }
    page:get()
    net.configure { domains = { request = { "game.example" } } }
    local res = page:fail()
    net.configure { domains = { request = false } }
    assert.equal(600002, res.errno)
    same(page:get(), "one", "hit")
  end)
end)

describe("the cache and nginx", function()
  after_each(cached.finish)

  local function get(path, options)
    return wire.get(wire.with({ url = path, cache = "default",
      dataType = "text" }, options or {}))
  end

  local function check(base, options)
    local url = base .. "/cached/small?" .. wire.key()
    local first = get(url, options)
    assert.equal("max-age=3600", first.header["Cache-Control"])
    local res = get(url, options)
    same(res, first.data, "hit")
    same(get(url, wire.with(options, { cache = "no-cache" })), first.data,
      "revalidated")
    url = base .. "/stale/small?" .. wire.key()
    get(url, options)
    res = get(url, options)
    same(res, first.data, "revalidated")
    assert.equal(200, res.statusCode)
    assert.equal("1024", res.header["Content-Length"])
  end

  it("#62 agree about expires, ETag and 304", function()
    check(servers.nginx.http, {})
  end)

  it("#62 agree over HTTP/2 and TLS", function()
    net.configure { caFile = servers.ca }
    check(servers.nginx.https, { enableHttp2 = true })
    net.configure { caFile = false }
  end)
end)

describe("what the cache holds", function()
  after_each(cached.finish)

  it("is bounded, and what was used last stays", function()
    net.cache.clear()
    net.configure { cacheMaxBytes = 100000 }
    local pages = {}
    for i = 1, 4 do pages[i] = resource { fresh("", { bytes = 30000 }) } end
    for i = 1, 3 do pages[i]:get() end
    assert.equal("hit", pages[1]:get().profile.cache)
    pages[4]:get()
    local function is_there(page)
      local record = helper.fetch(page:options { cache = "only-if-cached" })
      return record.success ~= nil
    end
    assert.is_true(is_there(pages[1]))
    assert.is_false(is_there(pages[2]))
    assert.is_true(is_there(pages[3]))
    assert.is_true(is_there(pages[4]))
    local large = resource { fresh("", { bytes = 200000 }) }
    large:get()
    assert.is_false(is_there(large))
    assert.is_true(is_there(pages[4]))
  end)

  it("is forgotten by url, or all of it", function()
    local pages = {}
    for i = 1, 3 do
      pages[i] = resource { fresh "one", fresh "two", fresh "three" }
      pages[i]:get()
    end
    assert.is_true(net.cache.clear(pages[1].url .. "#part"))
    same(pages[1]:get(), "two", nil)
    same(pages[2]:get(), "one", "hit")
    assert.is_true(net.cache.clear())
    for i = 1, 3 do same(pages[i]:get(), i == 1 and "three" or "two", nil) end
  end)

  it("is not what was under way when it was forgotten", function()
    local gate = wire.key()
    local page = resource { fresh("one", { gate = gate }), fresh "two" }
    local record = helper.start(page:options())
    helper.run_until(function() return page:asked() == 1 end)
    net.cache.clear()
    helper.ask(wire.url("/release", { key = gate }))
    assert.equal("one", helper.finish(record).success.data)
    same(page:get(), "two", nil)
  end)

  it("is not forgotten by what is no url", function()
    local E = require "nettask.core".errors
    for _, url in ipairs { "", "example.com", "ftp://example.com/", "//x/" } do
      local ok, message, code = net.cache.clear(url)
      assert.is_nil(ok)
      assert.equal("invalid URL", message)
      assert.equal(E.URL, code)
    end
    for _, value in ipairs { 5, {}, true, "a\0b" } do
      local ok, err = pcall(function()
        local result = net.cache.clear(value)
        return result
      end)
      assert.is_false(ok)
      assert.matches("cache_result_spec%.lua:%d+: bad argument #1 to 'clear'",
        err)
    end
  end)

  it("ends with the context when it has no folder", function()
    local page = resource { fresh "one", fresh "two" }
    page:get()
    net.close()
    same(page:get(), "two", nil)
  end)

  it("belongs to the host once it is sealed", function()
    local result = helper.lua([[
      local net = require "nettask"
      local url = ...
      local function get(options)
        local res
        options.url, options.dataType = url, "text"
        options.complete = function(r) res = r end
        net.request(options)
        assert(net.run(20000))
        return res
      end
      local host = net.seal()
      get { cache = "default" }
      local ok, err = pcall(net.cache.clear)
      assert(not ok and err:find("cache.clear: the configuration is sealed",
        1, true), err)
      assert(not pcall(net.cache.clear, host))
      assert(not pcall(net.configure, { cacheMaxBytes = 0 }))
      assert(get { cache = "only-if-cached" }.profile.cache == "hit")
      assert(host.cache.clear("http://game.example/"))
      assert(get { cache = "only-if-cached" }.profile.cache == "hit")
      assert(host.cache.clear(url))
      assert(get { cache = "only-if-cached" }.errCode == -400)
      print "ok"]], resource({ fresh "one" }).url)
    assert.equal("", result.err)
    assert.equal("ok\n", result.out)
  end)

  it("is configured with a folder and a size", function()
    for key, values in pairs {
      cacheDir = { 5, true, "", "a\nb", {} },
      cacheMaxBytes = { -1, 0.5, "many", true, 0 / 0 },
    } do
      for _, value in ipairs(values) do
        local ok, err = pcall(net.configure, { [key] = value })
        assert.is_false(ok)
        assert.matches("configure: " .. key .. " must be ", err)
      end
    end
  end)
end)
