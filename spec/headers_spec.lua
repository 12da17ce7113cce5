-- Header fields in both directions: what a script may send and how it is
-- written, and how the header table of a result reads.

local helper = require "helper"
local wire = require "support.wire"
local core = require "nettask.core"

local net, servers = helper.net, helper.servers
local fault, demo = servers.fault, servers.demo
local authority = fault.http:match("//(.*)$")

local function sent(header, name, more)
  return wire.values(wire.raw(wire.with({ header = header }, more or {})),
    name)
end

describe("the header that request sends", function()
  after_each(helper.verify)

  local values = {
    { "strings", "plain text; a=\"b\"", "plain text; a=\"b\"" },
    { "UTF-8", "\228\184\150", "\228\184\150" },
    { "bytes above ASCII", "caf\233", "caf\233" },
    { "tabs", "a\tb", "a\tb" },
    { "integers", 12, "12" },
    { "negative integers", -7, "-7" },
    { "large integers", 9007199254740991, "9007199254740991" },
    { "integral floats", 3.0, "3" },
    { "floats", 1.5, "1.5" },
    { "true", true, "true" },
    { "empty texts", "", "" },
  }
  for _, case in ipairs(values) do
    it("#28 has " .. case[1], function()
      assert.same({ case[3] }, sent({ ["X-A"] = case[2] }, "x-a"))
    end)
  end

  it("#28 is what other servers read", function()
    local header = { ["X-Test"] = "one", ["X-Number"] = 2 }
    local echo = wire.get { url = demo .. "/echo", header = header }.data
    assert.equal("one", echo.headers["x-test"])
    assert.equal("2", echo.headers["x-number"])
    local answer = wire.anything { header = header }
    assert.equal("one", answer.headers["X-Test"])
    assert.equal("2", answer.headers["X-Number"])
  end)

  it("#28 has names as they were given", function()
    local request = wire.raw { header = { ["x-MiXeD-cAsE"] = "1" } }
    assert.matches("\r\nx%-MiXeD%-cAsE: 1\r\n", request.bytes)
  end)

  it("#28 lacks fields that are false", function()
    assert.same({}, sent({ ["X-A"] = false }, "x-a"))
  end)

  it("#28 has a field for each value of an array", function()
    assert.same({ "one", "2", "true" },
      sent({ ["X-A"] = { "one", 2, false, true } }, "x-a"))
    assert.same({}, sent({ ["X-A"] = {} }, "x-a"))
  end)

  it("#28 may be called headers", function()
    local request = wire.raw { headers = { ["X-A"] = "1" } }
    assert.same({ "1" }, wire.values(request, "x-a"))
    request = wire.raw { header = { ["X-A"] = "header" },
      headers = { ["X-A"] = "headers" } }
    assert.same({ "header" }, wire.values(request, "x-a"))
  end)

  it("#28 goes with every method", function()
    for _, method in ipairs { "OPTIONS", "HEAD", "POST", "PUT", "DELETE",
      "PATCH", "TRACE", "CONNECT" } do
      assert.same({ "1" }, sent({ ["X-A"] = "1" }, "x-a",
        { method = method }), method)
    end
  end)

  it("#28 may be long", function()
    local long = ("v"):rep(20000)
    assert.same({ long }, sent({ ["X-Long"] = long }, "x-long"))
    local header, count = {}, 0
    for i = 1, 200 do header["X-Field-" .. i] = i end
    for _, field in ipairs(wire.raw { header = header }.fields) do
      if field[1] == "X-Field-" .. field[2] then count = count + 1 end
    end
    assert.equal(200, count)
  end)

  -- Written in several spellings: a script can use any.
  local forbidden = { "Referer", "REFERER", "rEfErEr", "Host", "host",
    "Content-Length", "content-length", "Connection", "Transfer-Encoding",
    "transfer-encoding", "Upgrade" }
  for _, name in ipairs(forbidden) do
    local row = name:lower() == "referer" and "#29 " or ""
    it(row .. "cannot have " .. name, function()
      for _, value in ipairs { "7", { "7", "8" } } do
        for _, field in ipairs { "header", "headers" } do
          local key = wire.key()
          local request = wire.raw { method = "POST", data = "four",
            url = wire.url("/raw", { key = key }),
            [field] = { [name] = value, ["X-A"] = "stays" } }
          assert.equal("four", request.body)
          assert.same({ "stays" }, wire.values(request, "x-a"))
          local lower = name:lower()
          local own = { host = { authority }, ["content-length"] = { "4" } }
          assert.same(own[lower] or {}, wire.values(request, name))
          assert.equal(1, #wire.seen(key))
        end
      end
    end)
  end

  local injections = {
    { "X-A", "a\r\nX-Evil: 1" }, { "X-A", "a\nX-Evil: 1" },
    { "X-A", "a\rX-Evil: 1" }, { "X-A", "a\0b" }, { "X-A", "a\127b" },
    { "X-A", "\27[0m" }, { "X-A", "a\r\n\r\nGET /evil HTTP/1.1" },
    { "X-A", { "good", "a\r\nX-Evil: 1" } },
    { "X-A: 1\r\nX-Evil", "1" }, { "X-A\n", "1" }, { "X-A:", "1" },
    { "X A", "1" }, { " X-A", "1" }, { "X-A ", "1" }, { "", "1" },
    { "X\0A", "1" }, { "X-\195\188", "1" }, { "X(A)", "1" },
    { "Content-Type", "text/plain\r\nX-Evil: 1" },
    { "Referer", "x\r\nX-Evil: 1" }, { "Host", "x\r\nX-Evil: 1" },
    { 1, "X-Evil: 1" }, { true, "1" },
  }
  for i, case in ipairs(injections) do
    it(("cannot be broken out of, %d"):format(i), function()
      local key = wire.key()
      local res = wire.fail { url = wire.url("/raw", { key = key }),
        header = { [case[1]] = case[2], ["X-Good"] = "1" } }
      assert.equal('request:fail invalid header "' .. tostring(case[1]) .. '"',
        res.errMsg)
      assert.equal(600005, res.errno)
      assert.equal(-1, res.errCode)
      assert.same({}, wire.seen(key))
    end)
  end

  local wrong = {
    { "Function", print }, { "ArrayBuffer", net.buffer("x") },
    { "Null", net.null }, { "Array", { { "x" } } },
    { "Object", { { a = 1 } } },
  }
  for _, case in ipairs(wrong) do
    it("cannot have a value of type " .. case[1], function()
      local res = wire.fail { url = fault.http .. "/raw",
        header = { ["X-A"] = case[2] } }
      assert.equal("request:fail parameter error: parameter.header.X-A should "
        .. "be String instead of " .. case[1] .. ";", res.errMsg)
      assert.equal(1001, res.errno)
    end)
  end
end)

describe("the fields that request adds", function()
  after_each(function()
    net.configure { userAgent = false, dialect = "wx" }
    helper.verify()
  end)

  it("#30 Content-Type is JSON by default, for every method", function()
    for _, method in ipairs { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH",
      "OPTIONS" } do
      assert.same({ "application/json" },
        sent({}, "content-type", { method = method }), method)
    end
    for _, data in ipairs { "text", { a = 1 }, net.buffer("x") } do
      assert.same({ "application/json" },
        sent(nil, "content-type", { method = "POST", data = data }))
    end
  end)

  it("#30 Content-Type is the caller's, once", function()
    for _, name in ipairs { "content-type", "Content-Type",
      "CONTENT-TYPE" } do
      assert.same({ "text/plain; x=y" },
        sent({ [name] = "text/plain; x=y" }, "content-type",
          { method = "POST", data = "x" }))
    end
    local both = sent({ ["content-type"] = "text/plain",
      ["Content-Type"] = "text/plain" }, "content-type")
    assert.same({ "text/plain" }, both)
  end)

  it("#30 Content-Type can be left out", function()
    for _, method in ipairs { "GET", "POST", "PUT", "DELETE" } do
      assert.same({}, sent({ ["Content-Type"] = false }, "content-type",
        { method = method, data = "a=1" }), method)
    end
  end)

  it("#31 Content-Type is a form's in the dialect my", function()
    net.configure { dialect = "my" }
    local request = wire.raw { method = "POST", data = { a = 1, b = "x y" } }
    assert.same({ "application/x-www-form-urlencoded" },
      wire.values(request, "content-type"))
    assert.equal("a=1&b=x%20y", request.body)
    net.configure { dialect = "wx" }
    assert.same({ "application/json" }, sent({}, "content-type"))
  end)

  it("Content-Type has a default that configure sets", function()
    net.configure { defaultContentType = "text/plain" }
    assert.same({ "text/plain" }, sent({}, "content-type"))
    net.configure { defaultContentType = false }
    assert.same({ "application/json" }, sent({}, "content-type"))
  end)

  it("User-Agent is ours, or configured, or the caller's", function()
    assert.same({ (net._VERSION:gsub(" ", "/")) }, sent({}, "user-agent"))
    net.configure { userAgent = "game/1.0" }
    assert.same({ "game/1.0" }, sent({}, "user-agent"))
    assert.same({ "mine" }, sent({ ["user-agent"] = "mine" }, "User-Agent"))
  end)

  it("Accept is anything, or the caller's", function()
    assert.same({ "*/*" }, sent({}, "accept"))
    assert.same({ "image/png" }, sent({ accept = "image/png" }, "accept"))
  end)

  it("are few: no Expect, Referer, Cookie, Origin", function()
    local request = wire.raw { method = "POST", data = ("x"):rep(100000) }
    local names = {}
    for _, field in ipairs(request.fields) do
      names[#names + 1] = field[1]:lower()
    end
    table.sort(names)
    assert.same({ "accept", "accept-encoding", "content-length",
      "content-type", "host", "user-agent" }, names)
  end)

  it("leave the caller's Cookie alone", function()
    assert.same({ "a=1; b=2" }, sent({ Cookie = "a=1; b=2" }, "cookie"))
    assert.same({ a = "1", b = "2" }, wire.get { url = demo .. "/cookies",
      header = { cookie = "a=1; b=2" } }.data)
  end)
end)

describe("the header of a result", function()
  after_each(helper.verify)

  local function odd() return wire.get(fault.http .. "/headers-odd") end

  it("#9 is read in any case", function()
    local header = wire.get(demo .. "/headers").header
    for _, name in ipairs { "x-mixed-case", "X-MIXED-CASE", "x-MiXeD-cAsE",
      "X-Mixed-Case" } do
      assert.equal("Kept As Sent", header[name])
    end
    assert.equal("Kept", odd().header["x-mixed-case"])
    assert.is_nil(header["x-mixed"])
    assert.is_nil(header["x-mixed-case "])
    assert.is_nil(header[1])
    assert.is_nil(header[true])
  end)

  it("#9 shows each field once, as received, to pairs and next", function()
    local header, seen = odd().header, {}
    for name, value in pairs(header) do seen[name] = value end
    assert.equal("Kept", seen["X-mIxEd-CaSe"])
    assert.equal("one, two, three", seen["X-Repeat"])
    assert.is_nil(seen["x-repeat"])
    assert.equal("2", seen["Content-Length"])
    assert.is_nil(seen.getAll)
    local count = 0
    for name in next, header do
      assert.equal(seen[name], header[name])
      count = count + 1
    end
    assert.equal(8, count)
  end)

  it("#9 joins repeated fields with a comma and a blank", function()
    local header = wire.get(demo .. "/headers").header
    assert.equal("one, two, three", header["X-Repeat"])
    assert.equal("one, two, three", odd().header["x-REPEAT"])
  end)

  it("#9 joins Set-Cookie with a comma alone", function()
    assert.equal("a=1; Path=/,b=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT",
      odd().header["set-cookie"])
  end)

  it("#9 has values without the blanks around, folded ones in a line",
    function()
      local header = odd().header
      assert.equal("around", header["X-Spaces"])
      assert.equal("", header["X-Empty"])
      assert.equal("first second", header["X-Folded"])
      assert.equal("caf\233", header["X-Latin"])
    end)

  it("lists repeated fields one by one with getAll", function()
    local header = wire.get(demo .. "/headers").header
    for _, name in ipairs { "X-Repeat", "x-repeat" } do
      assert.same({ "one", "two, three" }, header:getAll(name))
    end
    assert.same({ "one", "two", "three" }, odd().header:getAll("x-repeat"))
    assert.same({ "Kept As Sent" }, header:getAll("X-mixed-CASE"))
    assert.same({ "" }, header:getAll("x-empty"))
    assert.same({}, header:getAll("x-missing"))
    assert.equal("[]", core.jsonEncode(header:getAll("x-missing")))
    assert.has_error(function() header:getAll() end)
  end)

  it("keeps getAll when a server has a field of that name", function()
    local header = wire.get(wire.url("/respond",
      { h = "getall: x" })).header
    assert.equal("function", type(header.getAll))
    assert.same({ "x" }, header:getAll("getAll"))
  end)

  it("becomes JSON", function()
    local text = core.jsonEncode(wire.get(wire.url("/respond",
      { h = "X-A: 1", body = "ok" })).header)
    assert.same({ ["Content-Length"] = "2", ["Content-Type"] = "text/plain",
      ["X-A"] = "1" }, core.jsonDecode(text))
  end)

  it("is the script's own table", function()
    local url = demo .. "/headers"
    local record = helper.fetch { url = url }
    local header = record.success.header
    header["X-Repeat"], header["X-New"] = nil, "mine"
    assert.is_nil(header["x-repeat"])
    assert.equal("mine", header["x-new"])
    assert.equal("one, two, three", wire.get(url).header["x-repeat"])
  end)

  it("may have very many fields", function()
    local parameters = {}
    for i = 1, 300 do
      -- Every name three times, in two spellings, far from each other.
      local name = (i % 2 == 0 and "X-Field-" or "x-field-") .. i % 100
      parameters[i] = { "h", name .. ": " .. i }
    end
    local header = wire.get(wire.url("/respond", parameters)).header
    for i = 1, 100 do
      local values = { tostring(i), tostring(i + 100), tostring(i + 200) }
      assert.equal(table.concat(values, ", "), header["X-FIELD-" .. i % 100])
      assert.same(values, header:getAll("x-Field-" .. i % 100))
    end
  end)

  it("is that of the final answer alone", function()
    local res = wire.get { url = fault.http .. "/early-hints",
      dataType = "text" }
    assert.equal(200, res.statusCode)
    assert.equal("final", res.data)
    assert.equal("yes", res.header["X-Final"])
    assert.is_nil(res.header["X-Hint"])
    assert.is_nil(res.header["Link"])
  end)

  it("has no trailers", function()
    local res = wire.get { url = fault.http .. "/trailers",
      dataType = "text" }
    assert.equal("body", res.data)
    assert.equal("X-Sum", res.header["Trailer"])
    assert.is_nil(res.header["X-Sum"])
  end)

  it("lives on after the task is gone", function()
    local header = wire.get(demo .. "/headers").header
    collectgarbage()
    collectgarbage()
    assert.same({ "one", "two, three" }, header:getAll("x-repeat"))
    assert.equal("one, two, three", header["x-repeat"])
  end)
end)

describe("the cookies of a result", function()
  after_each(helper.verify)

  it("#41 are the Set-Cookie fields, one by one, in order", function()
    local record = helper.fetch { url = demo .. "/headers" }
    local expected = { "a=1; Path=/",
      "b=2; Path=/; Expires=Wed, 01 Jan 2098 00:00:00 GMT" }
    assert.same(expected, record.success.cookies)
    assert.same(expected, record.headers[1].cookies)
    assert.same(expected, record.success.header:getAll("set-cookie"))
  end)

  it("#41 of one field are a list of one", function()
    local res = wire.get(demo .. "/cookies?x=1")
    assert.same({ "x=1; Path=/" }, res.cookies)
    assert.equal("x=1; Path=/", res.header["Set-Cookie"])
  end)

  it("#41 are an empty array when there are none", function()
    local res = wire.get(demo .. "/small")
    assert.same({}, res.cookies)
    assert.equal("[]", core.jsonEncode(res.cookies))
  end)

  it("#41 are those of the last hop", function()
    local res = wire.get(wire.url("/redirect", { h = "Set-Cookie: hop=1",
      to = wire.url("/respond", { h = "Set-Cookie: end=1" }) }))
    assert.same({ "end=1" }, res.cookies)
  end)

  it("are not sent back by themselves", function()
    wire.get(demo .. "/cookies?session=1")
    assert.same({}, wire.get(demo .. "/cookies").data)
  end)
end)
