-- jsonp: the url that is asked, what is taken for an answer, what becomes of
-- it, and how the task behaves.

local helper = require "helper"
local jsonp = require "nettask.jsonp"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local demo = servers.demo

-- The query of the one request with that key, as a table; and the request.
local function asked(key)
  local seen = wire.seen(key)
  assert.equal(1, #seen)
  local args = {}
  for name, value in seen[1].target:match("%?(.*)$"):gmatch(
    "([^&=]+)=([^&]*)") do
    args[name] = value
  end
  return args, seen[1]
end

local function script(key, body)
  return wire.url("/turns", { key = key, ["do"] = "ok", body = body or "{}" })
end

local function respond(body, more)
  return wire.url("/respond", wire.with({ body = body,
    type = "text/javascript" }, more or {}))
end

describe("the url of jsonp", function()
  after_each(helper.verify)

  it("#53 asks for a function with a name of its own", function()
    local names = {}
    for i = 1, 2 do
      local key = wire.key()
      wire.get { url = script(key), jsonp = true }
      local args, request = asked(key)
      assert.equal("GET", request.method)
      assert.matches("^__jsonp%d+$", args.callback)
      names[i] = args.callback
    end
    assert.not_equal(names[1], names[2])
  end)

  it("#54 asks for the function that the option names", function()
    local key = wire.key()
    wire.get { url = script(key), jsonp = "game.onScores" }
    assert.equal("game.onScores", asked(key).callback)
  end)

  it("keeps the function that the url names", function()
    local key = wire.key()
    local res = wire.get { url = script(key, "7") .. "&callback=mine",
      jsonp = true }
    assert.equal(7, res.data)
    assert.matches("callback=mine", select(2, asked(key)).target, 1, true)
    assert.not_matches("__jsonp", select(2, asked(key)).target, 1, true)
  end)

  it("has the data, a table or text, and no body", function()
    local key = wire.key()
    wire.get { url = script(key), jsonp = "f", data = { name = "a b", n = 1 } }
    local args, request = asked(key)
    assert.equal("a%20b", args.name)
    assert.equal("1", args.n)
    assert.equal("f", args.callback)
    assert.equal("", request.body)

    key = wire.key()
    wire.get { url = script(key), jsonp = "f", data = "x=1&callback=g",
      method = "POST" }
    args, request = asked(key)
    assert.equal("1", args.x)
    assert.equal("g", args.callback)
    assert.equal("GET", request.method)
  end)

  it("#55 goes past caches, unless they are wanted", function()
    for _, value in ipairs { false, "no-cache", "no-store", "reload",
      "none" } do
      local key = wire.key()
      local option = value
      if value == "none" then option = nil end
      wire.get { url = script(key), jsonp = true, jsonpCache = option }
      assert.matches("^%d%d%d%d%d%d%d%d%d%d%d%d%d$", asked(key)._)
    end
    for _, value in ipairs { true, "default", "force-cache",
      "only-if-cached" } do
      local key = wire.key()
      wire.get { url = script(key), jsonp = true, jsonpCache = value }
      assert.is_nil(asked(key)._)
    end
  end)

  it("is put together before the fragment", function()
    assert.equal("http://a/?x=1&callback=f#end",
      (jsonp.target("http://a/?x=1#end", "f", true)))
    assert.equal("http://a/?callback=a%5B1%5D",
      (jsonp.target("http://a/", "a[1]", true)))
    local url, name = jsonp.target("http://a/?callback=a%5B1%5D", "f", true)
    assert.equal("http://a/?callback=a%5B1%5D", url)
    assert.equal("a[1]", name)
    -- Of another name, or in the fragment, it is none.
    assert.equal("http://a/?mycallback=x&callback=f#?callback=y",
      (jsonp.target("http://a/?mycallback=x#?callback=y", "f", true)))
  end)

  it("is known again without what changes from call to call", function()
    for url, want in pairs {
      ["http://a/"] = "http://a/",
      ["http://a/?x=1&_=2&callback=f&y=2#end"] = "http://a/?x=1&y=2",
      ["http://a/?callback=f&_=2"] = "http://a/",
      ["http://a/?__=1&callbacks=2"] = "http://a/?__=1&callbacks=2",
    } do
      assert.equal(want, jsonp.identity(url))
    end
  end)
end)

describe("the answer of jsonp", function()
  after_each(helper.verify)

  it("is what the script calls its function with", function()
    for text, want in pairs {
      ['f({"a":[1,2]})'] = { a = { 1, 2 } },
      ["f(1);"] = 1,
      [" f ( 2 ) ; \r\n"] = 2,
      ['/**/f("text");'] = "text",
      ["/* f(0) */ f(3); // done (really)\n"] = 3,
      ["// f(0)\nf(4)"] = 4,
      ["f(5);/* :) */"] = 5,
      ["/**/ typeof f === 'function' && f(6);"] = 6,
      ['typeof f == "function"&&f(7)'] = 7,
      ["f && f(8);"] = 8,
      ['f("a) // b");'] = "a) // b",
      ['f({"u":"http://x/?(y)"}) ;'] = { u = "http://x/?(y)" },
      ["f(false)"] = false,
      ["f(\n[\n]\n)\n"] = {},
      ["f(9) //" .. (")"):rep(5000)] = 9,
      [ [=[f({"\\\")":"\\"});]=] ] = { ['\\")'] = "\\" },
    } do
      local ok, value = jsonp.unwrap(text, "f")
      assert.is_true(ok, text)
      assert.same(want, value)
    end
    local ok, value = jsonp.unwrap("f(null)", "f")
    assert.is_true(ok)
    assert.equal(net.null, value)
    assert.is_true((jsonp.unwrap("a.b[1]({})", "a.b[1]")))
  end)

  it("is nothing else", function()
    for _, text in ipairs { "", " ", "{}", "f", "f(", "f()", "f({}", "g({})",
      "ff({})", "f({}) + 1", "f({}); g({})", "f({a:1})", "f('x')", "f(1, 2)",
      'f("a)', 'f("a\\', 'f("a\\")',
      "alert(1); f({})", "if (f) f({})", "f({});}", "/* f({})", "f({}) /* ",
      "typeof f === 'object' && f({})", "typeof g === 'function' && f({})",
      "f({})" .. (")"):rep(5000), ("/**/"):rep(5000), "<html>f({})</html>" } do
      assert.is_false((jsonp.unwrap(text, "f")), text:sub(1, 40))
    end
  end)

  it("#53 becomes data, whatever dataType and responseType say", function()
    for _, more in ipairs { {}, { dataType = "text" },
      { responseType = "arraybuffer" }, { dataType = "base64" } } do
      local res = wire.get(wire.with({ url = demo .. "/jsonp?a=b",
        jsonp = true, jsonpCache = true }, more))
      assert.equal("b", res.data.a)
      assert.matches("^__jsonp%d+$", res.data.callback)
      assert.equal(200, res.statusCode)
      assert.equal("request:ok", res.errMsg)
      assert.equal("text/javascript", res.header["content-type"])
      assert.equal("table", type(res.profile))
      assert.same({ retryCount = 0, reasons = {} }, res.exception)
    end
  end)

  it("that is not wrapped in the function's call is a failure", function()
    for _, body in ipairs { '{"a":1}', "other({})", "" } do
      local record = helper.fetch { url = respond(body), jsonp = "f",
        jsonpCache = true }
      helper.check_failure(record, "jsonp callback mismatch", 600001, -1)
      assert.equal(200, record.fail.statusCode)
      assert.equal(body, record.fail.data)
      assert.equal(1, #record.fail.exception.reasons)
    end
  end)

  it("that has an error status is a failure", function()
    local record = helper.fetch { url = respond("f({})", { status = 404 }),
      jsonp = "f" }
    helper.check_failure(record, "http status 404", 600000, -1)
    assert.equal(404, record.fail.statusCode)
  end)

  it("may be compressed, or a redirect away", function()
    local res = wire.get { jsonp = true, url = ("%s/redirect-to?url=%s"):format(
      demo, "/jsonp%3Fcallback%3Df") .. "&callback=f" }
    assert.equal("f", res.data.callback)
  end)
end)

describe("the task of jsonp", function()
  after_each(helper.verify)

  it("is a RequestTask with all that belongs to it", function()
    local record = helper.start { url = demo .. "/jsonp", jsonp = true }
    assert.matches("^nettask%.RequestTask #%d+", tostring(record.task))
    assert.not_equal("done", record.task.state)
    helper.finish(record)
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.equal("done", record.task.state)
    assert.equal(200, record.headers[1].statusCode)
  end)

  it("can be aborted at any time", function()
    local record = helper.start { url = demo .. "/jsonp", jsonp = true }
    record.task:abort()
    helper.check_failure(helper.finish(record), "abort", 1, -3)

    local key = wire.key()
    record = helper.start { jsonp = true, url = wire.url("/turns",
      { key = key, ["do"] = "hang" }) }
    helper.run_until(function() return record.task.state == "connecting" end)
    record.task:abort()
    helper.check_failure(helper.finish(record), "abort", 1, -3)
  end)

  it("has a promise", function()
    local got
    net.request { url = demo .. "/jsonp?x=1", jsonp = true }
      :next(function(res) got = res.data.x end)
    helper.run_until(function() return got end)
    assert.equal("1", got)
  end)

  it("refuses data that has no text", function()
    local record = helper.fetch { url = demo .. "/jsonp", jsonp = true,
      data = { f = print } }
    assert.equal(600010, record.fail.errno)
    record = helper.fetch { url = demo .. "/jsonp", jsonp = true,
      data = net.buffer("x") }
    assert.equal(600010, record.fail.errno)
  end)

  it("is one of an ordinary request when the option is false", function()
    local key = wire.key()
    for _, value in ipairs { false, "" } do
      local res = wire.get { url = script(key, '{"a":1}'), jsonp = value }
      assert.equal(1, res.data.a)
    end
    assert.not_matches("callback", wire.seen(key)[1].target, 1, true)
  end)
end)
