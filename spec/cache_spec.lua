-- The HTTP cache as scripts meet it: the modes, freshness and validators, what
-- is stored and what is left alone. What each directive means is in
-- c-core/test/test_cache_rules.c.

local helper = require "helper"
local cached = require "support.cached"
local residue = require "support.residue"
local wire = require "support.wire"

local net = helper.net
local resource, same = cached.resource, cached.same
local fresh, stale, unmodified = cached.fresh, cached.stale, cached.unmodified
local HOUR = cached.HOUR

describe("enableCache", function()
  after_each(cached.finish)

  it("#45 true uses a fresh answer, and asks nobody", function()
    local page = resource { fresh "one", fresh "two" }
    local first = wire.get { url = page.url, enableCache = true }
    same(first, "one", nil)
    local res = wire.get { url = page.url, enableCache = true }
    same(res, "one", "hit")
    assert.equal(200, res.statusCode)
    assert.equal("request:ok", res.errMsg)
    assert.equal(HOUR, res.header["cache-control"])
    assert.matches("^%d+$", res.header.Age)
    assert.equal(1, page:asked())
  end)

  it("#45 false, the default, neither uses nor stores", function()
    local page = resource { fresh "one", fresh "two", fresh "three" }
    for i, body in ipairs { "one", "two", "three" } do
      local enable = false
      if i == 2 then enable = nil end
      same(wire.get { url = page.url, enableCache = enable }, body, nil)
    end
    same(page:get(), "three", nil)
    assert.equal(4, page:asked())
  end)

  it("#45 gives way to cache", function()
    local page = resource { fresh "one", fresh "two" }
    page:get { enableCache = false }
    same(page:get { enableCache = false }, "one", "hit")
    same(page:get { enableCache = true, cache = "no-store" }, "two", nil)
  end)
end)

describe("cache", function()
  after_each(cached.finish)

  it("#62 default uses what is fresh, by whatever it says so", function()
    for _, headers in ipairs {
      { ["Cache-Control"] = HOUR },
      { ["Cache-Control"] = "public, MAX-AGE=3600" },
      { ["Cache-Control"] = "private, max-age=3600, s-maxage=0" },
      { Expires = "{+3600}", Date = "{+0}" },
      { ["Last-Modified"] = "{-360000}", Date = "{+0}" },
    } do
      local page = resource { { body = "one", headers = headers },
        { body = "two" } }
      same(page:get(), "one", nil)
      same(page:get(), "one", "hit")
      assert.equal(1, page:asked())
    end
  end)

  it("#62 default asks again for what is not", function()
    for _, headers in ipairs {
      {}, { ["Cache-Control"] = "max-age=0" },
      { ["Cache-Control"] = "no-store" },
      { ["Cache-Control"] = "max-age=60", Age = "60" },
      { Expires = "0" }, { Expires = "{-1}", Date = "{+0}" },
      { ["Cache-Control"] = HOUR, Vary = "*" },
    } do
      local page = resource { { body = "one", headers = headers },
        { body = "two", headers = headers } }
      same(page:get(), "one", nil)
      same(page:get(), "two", nil)
      assert.equal(2, page:asked())
    end
  end)

  it("#62 default asks whether what is stale still holds", function()
    local modified = "Wed, 21 Oct 2015 07:28:00 GMT"
    local page = resource {
      { body = "one", headers = { ETag = '"v1"', ["Last-Modified"] = modified,
        ["Cache-Control"] = "max-age=0", ["X-Kept"] = "old", ["X-Turn"] = "1",
        ["Content-Type"] = "text/plain" } },
      unmodified { ETag = '"v1"', ["X-Turn"] = "2",
        ["Cache-Control"] = HOUR },
      fresh "two" }
    same(page:get(), "one", nil)
    local res = page:get()
    same(res, "one", "revalidated")
    assert.same({ '"v1"' }, page:sent(2, "If-None-Match"))
    assert.same({ modified }, page:sent(2, "If-Modified-Since"))
    -- The stored answer under the fields of the 304.
    assert.equal(200, res.statusCode)
    assert.equal("2", res.header["X-Turn"])
    assert.equal("old", res.header["X-Kept"])
    assert.equal(HOUR, res.header["Cache-Control"])
    -- Which made it fresh.
    res = page:get()
    same(res, "one", "hit")
    assert.equal("2", res.header["X-Turn"])
    assert.equal(2, page:asked())
  end)

  it("#62 default takes the new answer when it does not hold", function()
    local page = resource { stale("one", "v1"), fresh "two" }
    page:get()
    same(page:get(), "two", nil)
    assert.same({ '"v1"' }, page:sent(2, "If-None-Match"))
    same(page:get(), "two", "hit")
    assert.equal(2, page:asked())
  end)

  it("#63 no-cache asks also about what is fresh", function()
    local page = resource {
      { body = "one", headers = { ETag = '"v1"', ["Cache-Control"] = HOUR } },
      unmodified(), fresh "two" }
    same(page:get { cache = "no-cache" }, "one", nil)
    same(page:get { cache = "no-cache" }, "one", "revalidated")
    assert.same({ '"v1"' }, page:sent(2, "If-None-Match"))
    same(page:get(), "one", "hit")
    same(page:get { cache = "no-cache" }, "two", nil)
    same(page:get(), "two", "hit")
    assert.equal(3, page:asked())
  end)

  it("#64 reload asks as if there were nothing, and stores", function()
    local page = resource { stale("one", "v1", HOUR), stale("two", "v2", HOUR) }
    same(page:get(), "one", nil)
    same(page:get { cache = "reload" }, "two", nil)
    assert.same({}, page:sent(2, "If-None-Match"))
    same(page:get(), "two", "hit")
    assert.equal(2, page:asked())
  end)

  it("#65 force-cache uses what there is, however old", function()
    local page = resource { stale("one", "v1"), fresh "two" }
    same(page:get { cache = "force-cache" }, "one", nil)
    same(page:get { cache = "force-cache" }, "one", "stale")
    assert.equal(1, page:asked())
    same(page:get(), "two", nil)
    same(page:get { cache = "force-cache" }, "two", "hit")
    assert.equal(2, page:asked())
  end)

  it("#66 only-if-cached uses what there is, or fails", function()
    local page = resource { stale("one", "v1"), fresh "two" }
    local record = helper.fetch(page:options { cache = "only-if-cached" })
    helper.check_failure(record, "-400:net::ERR_CACHE_MISS", 600001, -400)
    assert.equal(0, page:asked())
    page:get()
    same(page:get { cache = "only-if-cached" }, "one", "stale")
    page:get()
    same(page:get { cache = "only-if-cached" }, "two", "hit")
    assert.equal(2, page:asked())
  end)

  it("no-store neither uses nor stores, and leaves what there is", function()
    local page = resource { fresh "one", fresh "two", fresh "three" }
    same(page:get { cache = "no-store" }, "one", nil)
    same(page:get(), "two", nil)
    same(page:get { cache = "no-store" }, "three", nil)
    same(page:get(), "two", "hit")
  end)

  it("that is none of them is logged, and does nothing", function()
    local lines, restore = residue.log()
    local page = resource { fresh "one", fresh "two", fresh "three" }
    page:get { cache = "always" }
    page:get { cache = "always" }
    for _, mode in ipairs { "default", "no-store", "no-cache", "reload",
      "force-cache", "only-if-cached" } do
      page:get { cache = mode, enableCache = true }
    end
    -- What is asked for beside it holds.
    same(page:get { cache = "always", enableCache = true }, "three", "hit")
    restore()
    assert.same({ 'warn: request: option "cache" is none of "default",'
      .. ' "no-store", "no-cache", "reload", "force-cache" and'
      .. ' "only-if-cached", and has no effect' }, lines)
    local res = wire.fail { url = page.url, cache = true }
    assert.equal(1001, res.errno)
    assert.matches("parameter.cache should be String instead of Boolean",
      res.errMsg)
  end)

  it("is no option of downloads and uploads", function()
    local lines, restore = residue.log()
    local page = resource { fresh "one", fresh "two" }
    page:get()
    local record = helper.finish(helper.begin("downloadFile", {
      url = page.url, cache = "force-cache" }))
    restore()
    assert.equal("two", helper.read_file(record.success.tempFilePath))
    assert.equal(1, #lines)
    assert.matches('downloadFile: unknown option "cache"', lines[1])
  end)
end)

describe("a stored answer", function()
  after_each(cached.finish)

  it("is for the same values of what Vary names", function()
    local function varied(body)
      return { body = body, headers = { ["Cache-Control"] = HOUR,
        Vary = "Accept-Language, X-Mode" } }
    end
    local page = resource { varied "german", varied "english", varied "none" }
    local function get(language)
      return page:get { header = { ["Accept-Language"] = language } }
    end
    same(get "de", "german", nil)
    same(get "en", "english", nil)
    same(get "de", "german", "hit")
    same(get "en", "english", "hit")
    same(get(nil), "none", nil)
    same(get(nil), "none", "hit")
    assert.equal(3, page:asked())
  end)

  it("is used once more while it is asked about", function()
    local gate = wire.key()
    local page = resource {
      stale("one", "v1", "max-age=0, stale-while-revalidate=600"),
      fresh("two", { gate = gate }) }
    page:get()
    same(page:get(), "one", "stale")
    helper.run_until(function() return page:asked() == 2 end)
    assert.same({ '"v1"' }, page:sent(2, "If-None-Match"))
    helper.ask(wire.url("/release", { key = gate }))
    helper.run_until(function()
      return page:get { cache = "only-if-cached" }.data == "two"
    end)
    same(page:get(), "two", "hit")
    assert.equal(2, page:asked())
  end)

  it("has its place for an error, where the server allows it", function()
    local control = "max-age=0, stale-if-error=600"
    local page = resource { stale("one", "v1", control),
      { status = 503, body = "down" }, { ["end"] = "head" },
      { body = "half of this", ["end"] = "cut",
        headers = { ["Cache-Control"] = HOUR } },
      { status = 404, body = "gone" } }
    page:get()
    same(page:get(), "one", "stale")
    same(page:get(), "one", "stale")
    page:fail()
    assert.equal(404, page:get().statusCode)
    local other = resource { stale("one", "v1"), { status = 503 } }
    other:get()
    assert.equal(503, other:get().statusCode)
  end)

  it("has its place when the server is gone", function()
    local door = cached.door()
    local page = resource({
      stale("one", "v1", "max-age=0, stale-if-error=600") }, door.url)
    page:get()
    door:close()
    same(page:get(), "one", "stale")
    same(page:get { cache = "force-cache" }, "one", "stale")
    for _, mode in ipairs { "reload", "no-cache" } do
      assert.equal(-102, page:fail { cache = mode }.errCode)
    end
  end)

  it("is gone when its url is changed", function()
    for _, case in ipairs {
      { "POST", 200 }, { "PUT", 204 }, { "DELETE", 200 }, { "PATCH", 303 } } do
      local page = resource { fresh "one", { status = case[2] }, fresh "two" }
      page:get()
      page:get { method = case[1], cache = "no-store", redirect = "manual" }
      same(page:get(), "two", nil)
    end
    for _, case in ipairs { { "POST", 500 }, { "PUT", 404 },
      { "OPTIONS", 200 } } do
      local page = resource { fresh "one", { status = case[2] }, fresh "two" }
      page:get()
      page:get { method = case[1] }
      same(page:get(), "one", "hit")
    end
  end)

  it("is none that broke off", function()
    local page = resource { fresh("a whole page", { ["end"] = "cut" }),
      fresh "two" }
    page:fail()
    same(page:get(), "two", nil)
  end)

  it("is none of a request that was ended", function()
    local gate = wire.key()
    local page = resource { fresh("one", { gate = gate }), fresh "two" }
    local record = helper.start(page:options())
    helper.run_until(function() return page:asked() == 1 end)
    record.task:abort()
    helper.finish(record)
    helper.ask(wire.url("/release", { key = gate }))
    same(page:get(), "two", nil)
  end)

  it("of a HEAD there is none, but it tells of the other", function()
    local page = resource { stale("one", "v1", HOUR),
      stale("one", "v1", HOUR), stale("two", "v2"), fresh "two" }
    page:get()
    assert.equal("", page:get { method = "HEAD" }.data)
    same(page:get(), "one", "hit")
    assert.equal(2, page:asked())
    page:get { method = "HEAD" } -- the page is another by now
    same(page:get(), "two", nil)
  end)

  it("is left alone by a Range", function()
    local page = resource { fresh "0123456789",
      { status = 206, body = "234", headers = { ["Cache-Control"] = HOUR,
        ["Content-Range"] = "bytes 2-4/10" } } }
    local range = { header = { Range = "bytes=2-4" } }
    page:get()
    local res = page:get(range)
    same(res, "234", nil)
    assert.equal(206, res.statusCode)
    same(page:get(range), "234", nil)
    same(page:get(), "0123456789", "hit")
    assert.equal(3, page:asked())
  end)

  it("is left alone by validators of the script's own", function()
    local page = resource { stale("one", "v1", HOUR), unmodified() }
    page:get()
    for i, field in ipairs { "If-None-Match", "If-Modified-Since", "If-Match",
      "If-Unmodified-Since", "If-Range" } do
      local res = page:get { header = { [field] = '"mine"' } }
      assert.equal(304, res.statusCode)
      same(res, "", nil)
      assert.same({ '"mine"' }, page:sent(i + 1, field))
    end
    same(page:get(), "one", "hit")
  end)

  it("is asked about where it says no-cache", function()
    local page = resource {
      stale("one", "v1", "max-age=3600, no-cache"), unmodified() }
    page:get()
    same(page:get(), "one", "revalidated")
    same(page:get { cache = "force-cache" }, "one", "hit") -- it is not old
    local fields = resource {
      { body = "one", headers = { ETag = '"v1"', ["X-Once"] = "1",
        ["Cache-Control"] = 'max-age=3600, no-cache="X-Once"' } },
      unmodified { ["X-Once"] = "2" } }
    assert.equal("1", fields:get().header["X-Once"])
    -- Without that field, or with the one that it has now.
    assert.not_equal("1", fields:get().header["X-Once"])
  end)

  it("is not for who shows other credentials", function()
    local page = resource { fresh "alice's", fresh "bob's", fresh "nobody's" }
    local function get(user)
      return page:get { header = { Authorization = user } }
    end
    same(get "alice", "alice's", nil)
    same(get "alice", "alice's", "hit")
    same(get "bob", "bob's", nil)
    same(get(nil), "nobody's", nil)
    assert.equal(3, page:asked())
  end)

  it("sets no cookie again", function()
    local page = resource { fresh("one", { headers = {
      ["Cache-Control"] = HOUR, ["Set-Cookie"] = "a=1; Path=/" } }) }
    page:get { credentials = "include" }
    assert.equal(1, #net.cookies.list())
    net.cookies.clear()
    same(page:get { credentials = "include" }, "one", "hit")
    assert.same({}, net.cookies.list())
  end)

  it("may be a redirect", function()
    local target = resource { fresh "there" }
    local page = resource { { status = 301, headers = {
      Location = target.url, ["Cache-Control"] = HOUR } } }
    same(page:get(), "there", nil)
    local res = page:get()
    same(res, "there", "hit")
    assert.is_true(res.profile.redirectEnd > 0)
    assert.equal(1, page:asked())
    assert.equal(1, target:asked())
    assert.equal(301, page:get { redirect = "manual" }.statusCode)
    assert.equal(1, page:asked())
  end)

  it("is kept apart by method, url and query", function()
    local page = resource { fresh "one", fresh "two", fresh "three" }
    page:get()
    same(page:get { url = page.url .. "&x=1" }, "two", nil)
    same(page:get { data = { x = 1 } }, "two", "hit")
    same(page:get { url = page.url .. "#there" }, "one", "hit")
    same(page:get { method = "POST" }, "three", nil)
  end)
end)
