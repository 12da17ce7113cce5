-- data in both directions: what becomes of the option `data` by method and
-- content type, and what of a body by dataType, responseType, character set
-- and content coding.

local helper = require "helper"
local wire = require "support.wire"
local core = require "nettask.core"

local net, servers = helper.net, helper.servers
local fault, demo = servers.fault, servers.demo

local FORM = "application/x-www-form-urlencoded"

local every_byte = {}
for byte = 0, 255 do every_byte[byte + 1] = string.char(byte) end
every_byte = table.concat(every_byte)

local loop = {}
loop.loop = loop

-- What has no text; for each the end of its message.
local unserialisable = {
  { "a cycle", loop }, { "NaN", { n = 0 / 0 } }, { "infinity", { n = 1 / 0 } },
  { "a function", { f = print } }, { "a nested function", { a = { print } } },
  { "a coroutine", { c = coroutine.create(function() end) } },
  { "a Buffer", { b = net.buffer("x") } },
  { "a boolean key", { [true] = 1 } },
}

local function refused(options)
  local key = wire.key()
  local res = wire.fail(wire.with(options,
    { url = wire.url("/raw", { key = key }) }))
  assert.equal("request:fail data cannot be serialised: ",
    res.errMsg:match("^request:fail .-: "))
  assert.equal(600010, res.errno)
  assert.equal(-1, res.errCode)
  assert.same({}, wire.seen(key))
end

describe("data that request sends as it is", function()
  after_each(helper.verify)

  for _, method in ipairs { "POST", "PUT", "DELETE", "PATCH", "OPTIONS" } do
    it("#22 strings by " .. method, function()
      local request = wire.raw { method = method, data = every_byte }
      assert.equal(every_byte, request.body)
      assert.same({ "256" }, wire.values(request, "content-length"))
    end)

    it("#23 Buffers by " .. method, function()
      local request = wire.raw { method = method,
        data = net.buffer(every_byte) }
      assert.equal(every_byte, request.body)
      assert.same({ "256" }, wire.values(request, "content-length"))
    end)
  end

  it("#22 whatever the content type is", function()
    for _, content_type in ipairs { "application/json", FORM, "text/plain" } do
      local request = wire.raw { method = "POST", data = "a b&c=\255",
        header = { ["content-type"] = content_type } }
      assert.equal("a b&c=\255", request.body)
    end
  end)

  it('#22 "" and an empty Buffer', function()
    for _, data in ipairs { "", net.buffer("") } do
      local request = wire.raw { method = "POST", data = data }
      assert.equal("", request.body)
      assert.same({ "0" }, wire.values(request, "content-length"))
    end
  end)

  it("#23 a slice of a Buffer is no more than itself", function()
    local slice = net.buffer("0123456789"):slice(3, 5)
    assert.equal("234", wire.raw { method = "POST", data = slice }.body)
  end)

  it("in one piece, at once, however large", function()
    local data = every_byte:rep(8192) -- 2 MiB
    local request = wire.raw { method = "POST", data = data }
    assert.is_true(request.body == data)
    assert.same({ tostring(#data) }, wire.values(request, "content-length"))
    assert.same({}, wire.values(request, "expect"))
    assert.equal(tostring(#data), wire.get { method = "PUT", data = data,
      url = servers.nginx.http .. "/upload", dataType = "text" }.data)
  end)
end)

describe("data in the query string of request", function()
  after_each(helper.verify)

  local function query_of(url, data, method)
    local request = wire.raw { url = fault.http .. url, data = data,
      method = method }
    return request.target, request
  end

  local nested = { c = { 1, "x" } }
  local tables = {
    { "sorted keys", { b = 1, a = 2, B = 3 }, "B=3&a=2&b=1" },
    { "reserved characters", { ["a b"] = "&=+?#/%" },
      "a%20b=%26%3D%2B%3F%23%2F%25" },
    { "unreserved ones", { k = "Aa0-_.!~*'()" }, "k=Aa0-_.!~*'()" },
    { "UTF-8", { ["\195\188"] = "\228\184\150" }, "%C3%BC=%E4%B8%96" },
    { "other bytes", { b = "\0\255" }, "b=%00%FF" },
    { "numbers", { a = 1, b = -1.5, c = 3.0, d = 2 ^ 53 - 1 },
      "a=1&b=-1.5&c=3&d=9007199254740991" },
    { "booleans and null", { t = true, f = false, n = net.null },
      "f=false&n=null&t=true" },
    { "tables, as JSON", nested, "c=%5B1%2C%22x%22%5D" },
    { "empty values", { a = "", [""] = "b" }, "=b&a=" },
    { "pairs, in order", { { "z", 1 }, { "a", 2 }, { "z", 3 } },
      "z=1&a=2&z=3" },
    { "a list", { "x", "y" }, "1=x&2=y" },
  }
  for _, case in ipairs(tables) do
    it("#24 has " .. case[1], function()
      assert.equal("/raw?" .. case[3], query_of("/raw", case[2]))
      assert.equal("/raw?" .. case[3], query_of("/raw", case[2], "HEAD"))
    end)
  end

  it("#24 is what a parser reads back", function()
    local data = { name = "J\195\188rgen & S\195\182hne", score = 12,
      tags = { "a", "b" }, plus = "1+1=2", space = " " }
    local answer = wire.anything { data = data }
    assert.equal(data.name, answer.args.name)
    assert.equal("12", answer.args.score)
    assert.equal('["a","b"]', answer.args.tags)
    assert.equal("1+1=2", answer.args.plus)
    assert.equal(" ", answer.args.space)
    assert.equal("", answer.data)
    assert.same({ "1", "3" }, wire.anything {
      data = { { "a", 1 }, { "a", 3 } } }.args.a)
    assert.equal("x y", wire.get { url = demo .. "/echo",
      data = { a = "x y" } }.data.args.a)
  end)

  local urls = {
    { "/raw?x=1", "/raw?x=1&a=2" }, { "/raw?", "/raw?a=2" },
    { "/raw?x=1&", "/raw?x=1&a=2" }, { "/raw#top", "/raw?a=2" },
    { "/raw?x=1#top?y", "/raw?x=1&a=2" },
  }
  for _, case in ipairs(urls) do
    it(("#24 joins %q"):format(case[1]), function()
      assert.equal(case[2], query_of(case[1], { a = 2 }))
      assert.equal(case[2], query_of(case[1], "a=2"))
    end)
  end

  it("#24 {} and an empty text add nothing", function()
    for _, data in ipairs { {}, "", net.array() } do
      assert.equal("/raw", query_of("/raw", data))
      assert.equal("/raw?x=1", query_of("/raw?x=1", data))
    end
  end)

  it("#24 is no body", function()
    local _, request = query_of("/raw", { a = 1 })
    assert.equal("", request.body)
    assert.same({}, wire.values(request, "content-length"))
  end)

  it("#24 does not depend on the content type", function()
    for _, content_type in ipairs { "application/json", FORM, "text/x" } do
      local request = wire.raw { data = { a = 1 },
        header = { ["content-type"] = content_type } }
      assert.equal("/raw?a=1", request.target)
    end
  end)

  it("a string is appended as it is", function()
    assert.equal("/raw?a=%41+b&&c", query_of("/raw", "a=%41+b&&c"))
  end)

  it("a string cannot reach beyond the url", function()
    local key = wire.key()
    for _, data in ipairs { "a=1 HTTP/1.1\r\nX-Evil: 1", "a\nb", "a\0b" } do
      local res = wire.fail { data = data,
        url = wire.url("/raw", { key = key }) }
      assert.equal(600009, res.errno)
    end
    assert.same({}, wire.seen(key))
  end)

  it("#23 a Buffer is refused", function()
    for _, method in ipairs { "GET", "HEAD", "get" } do
      refused { method = method, data = net.buffer("a=1") }
    end
  end)

  for _, case in ipairs(unserialisable) do
    it("refuses " .. case[1], function()
      refused { data = case[2] }
      refused { data = case[2], method = "HEAD" }
    end)
  end
end)

describe("data as JSON in the body of request", function()
  after_each(helper.verify)

  local function body_of(data, more)
    return wire.raw(wire.with({ method = "POST", data = data },
      more or {})).body
  end

  it("#25 is what a parser reads back", function()
    local data = { text = "J\195\188rgen \"x\" \\ \n \0", n = 12, half = 0.5,
      big = 2 ^ 53 - 1, sum = 0.1 + 0.2, yes = true, no = false,
      none = net.null, list = { 1, "two", { 3 } }, object = { a = {} },
      empty = net.array() }
    local answer = wire.anything { method = "POST", data = data }
    assert.same(data, answer.json)
    assert.equal("application/json", answer.headers["Content-Type"])
    assert.same({}, answer.form)
    assert.same({}, answer.args)
    assert.equal("[]", core.jsonEncode(answer.json.empty))
  end)

  local texts = {
    { "{}", {} }, { "[]", net.array() }, { "[1,2]", { 1, 2 } },
    { '{"a":1}', { a = 1 } }, { '{"a":1.5}', { a = 1.5 } },
    { '{"a":9007199254740991}', { a = 2 ^ 53 - 1 } },
    { '[["a",1],["a",2]]', { { "a", 1 }, { "a", 2 } } },
    { '{"\195\188":"\228\184\150"}', { ["\195\188"] = "\228\184\150" } },
  }
  for _, case in ipairs(texts) do
    it("#25 writes " .. case[1], function()
      assert.equal(case[1], body_of(case[2]))
    end)
  end

  it("#25 knows the content type in every spelling", function()
    for _, header in ipairs { { ["content-type"] = "application/json" },
      { ["Content-Type"] = "application/json; charset=utf-8" },
      { ["CONTENT-TYPE"] = "Application/JSON" } } do
      assert.equal('{"a":1}', body_of({ a = 1 }, { header = header }))
    end
  end)

  it("#25 keeps 64 bits where Lua has them", function()
    if math.type then
      assert.equal('{"a":9223372036854775807}',
        body_of { a = math.maxinteger })
    end
    assert.equal("[0.30000000000000004]", body_of { 0.1 + 0.2 })
  end)

  for _, method in ipairs { "PUT", "DELETE", "PATCH", "OPTIONS", "put" } do
    it("#27 by " .. method, function()
      assert.equal('{"a":1}', body_of({ a = 1 }, { method = method }))
    end)
  end

  it("#27 for any other content type, and for none", function()
    for _, content_type in ipairs { "text/plain", "application/xml", "x",
      false } do
      assert.equal('{"a":1}', body_of({ a = 1 },
        { header = { ["content-type"] = content_type } }))
    end
  end)

  for _, case in ipairs(unserialisable) do
    it("refuses " .. case[1], function()
      refused { method = "POST", data = case[2] }
    end)
  end

  local no_json = {
    { "bad UTF-8", { a = "\255" } }, { "a bad key", { ["\195"] = 1 } },
    { "a surrogate", { "\237\160\128" } },
  }
  for _, case in ipairs(no_json) do
    it("refuses " .. case[1], function()
      refused { method = "PUT", data = case[2] }
    end)
  end

  it("refuses what is nested too deep", function()
    local data = {}
    for _ = 1, 200 do data = { data } end
    refused { method = "POST", data = data }
  end)
end)

describe("data as a form in the body of request", function()
  after_each(helper.verify)

  local function form(data, more)
    return wire.with({ method = "POST", data = data,
      header = { ["Content-Type"] = FORM } }, more or {})
  end

  it("#26 is what a parser reads back", function()
    local answer = wire.anything(form { name = "J\195\188rgen & Co",
      n = 12, list = { 1 }, plus = "1+1", none = net.null })
    assert.same({ name = "J\195\188rgen & Co", n = "12", list = "[1]",
      plus = "1+1", none = "null" }, answer.form)
    assert.equal(FORM, answer.headers["Content-Type"])
    assert.same({}, answer.args)
  end)

  it("#26 has sorted keys, or pairs in their order", function()
    assert.equal("a=x%20y&b=1",
      wire.raw(form { b = 1, a = "x y" }).body)
    assert.equal("b=1&a=2&b=3",
      wire.raw(form { { "b", 1 }, { "a", 2 }, { "b", 3 } }).body)
    assert.equal("", wire.raw(form {}).body)
  end)

  it("#26 with parameters behind the content type too", function()
    for _, content_type in ipairs { FORM .. "; charset=UTF-8",
      FORM:upper() } do
      assert.equal("a=1", wire.raw(form({ a = 1 },
        { header = { ["content-type"] = content_type } })).body)
    end
  end)

  for _, method in ipairs { "PUT", "DELETE", "PATCH", "OPTIONS" } do
    it("#27 by " .. method, function()
      assert.equal("a=1", wire.raw(form({ a = 1 },
        { method = method })).body)
    end)
  end

  for _, case in ipairs(unserialisable) do
    it("refuses " .. case[1], function()
      refused(form(case[2]))
    end)
  end
end)

describe("data of a request that has no place for it", function()
  after_each(helper.verify)

  for _, method in ipairs { "TRACE", "CONNECT" } do
    it("is ignored by " .. method, function()
      for _, data in ipairs { "text", { a = 1 }, loop, net.buffer("x") } do
        local request = wire.raw { method = method, data = data }
        assert.equal("", request.body)
        assert.is_nil(request.target:find("?", 1, true))
        assert.same({}, wire.values(request, "content-length"))
      end
    end)
  end
end)

-- ---- Incoming ---------------------------------------------------------------

-- A url that answers with these bytes.
local function answering(bytes, content_type)
  return wire.url("/respond", { base64 = core.base64Encode(bytes),
    type = content_type or "application/json" })
end

local function data_of(bytes, options, content_type)
  return wire.get(wire.with({ url = answering(bytes, content_type) },
    options or {})).data
end

describe("dataType of request", function()
  after_each(helper.verify)

  it("#34 is json by default, whatever the content type", function()
    for _, content_type in ipairs { "application/json", "text/html",
      "image/png" } do
      assert.same({ a = { 1, 2 } }, data_of('{"a":[1,2]}', nil, content_type))
      assert.same({ a = 1 }, data_of('{"a":1}', { dataType = "json" },
        content_type))
    end
  end)

  it("#34 json is parsed once", function()
    assert.equal('{"a":1}', data_of '"{\\"a\\":1}"')
  end)

  it("#34 json may be any value", function()
    assert.equal(12, data_of "12")
    assert.equal(-0.5, data_of " -0.5 \r\n")
    assert.is_true(data_of "true")
    assert.is_false(data_of "false")
    assert.equal(net.null, data_of "null")
    assert.equal("x", data_of '"x"')
    assert.equal("[]", core.jsonEncode(data_of "[]"))
    assert.equal("{}", core.jsonEncode(data_of "{}"))
  end)

  it("#34 json keeps numbers", function()
    assert.equal(2 ^ 53 - 1, data_of "9007199254740991")
    assert.equal(0.1 + 0.2, data_of "0.30000000000000004")
    if math.type then
      assert.equal(math.maxinteger, data_of "9223372036854775807")
      assert.equal("integer", math.type(data_of "1"))
    end
  end)

  local broken = { '{"open": [1, 2', "<html></html>", "nul", "{} {}", "NaN",
    '{"a":"\255"}', "'x'", " ", "hello" }
  for _, text in ipairs(broken) do
    it(("#34 json that is %q stays text"):format(text), function()
      local res = wire.get(answering(text))
      assert.equal(text, res.data)
      assert.equal("request:ok", res.errMsg)
    end)
  end

  it("#34 json of an empty body is an empty text", function()
    assert.equal("", wire.get(wire.url("/respond", {})).data)
    assert.equal("", wire.get { url = wire.url("/respond", {}),
      dataType = "json" }.data)
    assert.equal("", wire.get(demo .. "/bytes/0").data)
  end)

  it("#34 json may start with a byte-order mark", function()
    assert.same({ a = 1 }, data_of '\239\187\191{"a":1}')
    assert.equal("no json", data_of "\239\187\191no json")
  end)

  for _, data_type in ipairs { "text", "html", "xml", "other", "",
    "script" } do
    local row = data_type == "text" and "#36" or "#35"
    it(("%s %q is the text itself"):format(row, data_type), function()
      assert.equal('{"a": 1}', data_of('{"a": 1}', { dataType = data_type }))
    end)
  end

  it("#36 text has one byte-order mark removed", function()
    local options = { dataType = "text" }
    assert.equal("x", data_of("\239\187\191x", options))
    assert.equal("\239\187\191x",
      data_of("\239\187\191\239\187\191x", options))
  end)

  it("#36 text keeps every byte", function()
    assert.equal(every_byte, data_of(every_byte, { dataType = "text" },
      "application/octet-stream"))
  end)

  it("#37 base64 is that of the bytes", function()
    local options = { dataType = "base64" }
    for _, case in ipairs { { "f", "Zg==" }, { "fo", "Zm8=" },
      { "foo", "Zm9v" }, { "\251\255\191", "+/+/" },
      { "\239\187\191x", "77u/eA==" } } do
      assert.equal(case[2], data_of(case[1], options))
    end
    assert.equal(every_byte,
      core.base64Decode(data_of(every_byte, options)))
    assert.equal("", wire.get { url = wire.url("/respond", {}),
      dataType = "base64" }.data)
  end)

  local function is_buffer(bytes, data)
    assert.equal("userdata", type(data))
    assert.equal(#bytes, data.byteLength)
    assert.equal(bytes, tostring(data))
  end

  it("#38 arraybuffer is a Buffer", function()
    is_buffer(every_byte, data_of(every_byte, { dataType = "arraybuffer" }))
    is_buffer("", wire.get { url = wire.url("/respond", {}),
      dataType = "arraybuffer" }.data)
  end)

  it("#39 does its work with responseType text, the default", function()
    for _, response_type in ipairs { "text", "other" } do
      assert.same({ 1 }, data_of("[1]", { responseType = response_type }))
      assert.equal("WzFd", data_of("[1]", { responseType = response_type,
        dataType = "base64" }))
    end
  end)

  it("#40 does nothing with responseType arraybuffer", function()
    for _, data_type in ipairs { "json", "text", "base64", "arraybuffer" } do
      is_buffer('\239\187\191{"a":1}', data_of('\239\187\191{"a":1}',
        { responseType = "arraybuffer", dataType = data_type }))
    end
    is_buffer('{"a":1}', data_of('{"a":1}', { responseType = "arraybuffer" }))
  end)

  it("#40 arraybuffer holds large bodies", function()
    local data = wire.get { url = servers.nginx.http .. "/big",
      responseType = "arraybuffer" }.data
    assert.equal(1048576, #data)
    assert.is_true(tostring(data) == every_byte:rep(4096))
  end)

  it("an answer without a body has an empty text", function()
    for _, path in ipairs { "/no-content", "/not-modified" } do
      for _, data_type in ipairs { "json", "text", "base64" } do
        local res = wire.get { url = fault.http .. path,
          dataType = data_type }
        assert.equal("", res.data)
        assert.equal("request:ok", res.errMsg)
      end
    end
    assert.equal("", wire.get(demo .. "/status/204").data)
    assert.equal("", wire.get(demo .. "/status/304").data)
  end)
end)

describe("the character set of a text", function()
  after_each(helper.verify)

  local western, chinese = "Gr\195\188\195\159e, caf\195\169",
    "Gr\195\188\195\159e, \228\184\150\231\149\140"
  local latin = "Gr\252\223e, caf\233"
  local sets = {
    { "latin-1", western }, { "windows-1252", western .. " \226\130\172" },
    { "utf-16", chinese }, { "utf-16le", chinese }, { "utf-16be", chinese },
    { "utf-16-be-bom", chinese },
    { "gbk", "\228\189\160\229\165\189\239\188\140\228\184\150\231\149\140" },
    { "utf-8", chinese }, { "utf-8-bom", chinese },
    { "utf-8-wrong", latin }, { "unknown", chinese },
  }
  for _, case in ipairs(sets) do
    it(("%s is read"):format(case[1]), function()
      local url = fault.http .. "/charset?name=" .. case[1]
      assert.equal(case[2], wire.get { url = url, dataType = "text" }.data)
      -- No JSON, so the text again.
      assert.equal(case[2], wire.get(url).data)
    end)
  end

  it("is that of the demo server's converter too", function()
    for _, charset in ipairs { "utf-8", "utf-16", "gb18030" } do
      assert.equal(chinese, wire.get { dataType = "text",
        url = demo .. "/text?charset=" .. charset }.data)
    end
  end)

  it("is converted before JSON is parsed", function()
    assert.equal("\228\184\150", data_of('{"a":"\202\192"}', {},
      "application/json; charset=GBK").a)
    assert.equal("\195\188", data_of('{"a":"\252"}', {},
      'application/json;foo=bar; Charset="iso-8859-1"').a)
    assert.equal(1, data_of("\255\254[\0001\000]\000", {},
      "application/json; charset=utf-16")[1])
  end)

  it("is left alone for bytes", function()
    local content_type = "text/plain; charset=gbk"
    assert.equal("\202\192", tostring(data_of("\202\192",
      { responseType = "arraybuffer" }, content_type)))
    assert.equal("ysA=", data_of("\202\192", { dataType = "base64" },
      content_type))
  end)

  local broken = {
    { "/charset?name=utf-16-odd" },
    { answering("a\255\255", "text/plain; charset=gbk"):match("/respond.*$") },
    { answering("ab\129", "text/plain; charset=windows-1252")
      :match("/respond.*$") },
  }
  for i, case in ipairs(broken) do
    for _, data_type in ipairs { "text", "json" } do
      it(("that is wrong fails, %d %s"):format(i, data_type), function()
        local record = helper.fetch { url = fault.http .. case[1],
          dataType = data_type }
        assert.is_nil(record.success)
        assert.equal("request:fail response not convertible to UTF-8",
          record.fail.errMsg)
        assert.equal(602302, record.fail.errno)
        assert.equal(-1, record.fail.errCode)
        assert.same({ retryCount = 0, reasons = {} }, record.fail.exception)
        assert.same({ "headers", "fail", "complete" }, record.order)
      end)
    end
  end
end)

describe("the content coding of a body", function()
  after_each(helper.verify)

  it("is offered by every request", function()
    local offered = wire.values(wire.raw(), "accept-encoding")
    assert.equal(1, #offered)
    for _, coding in ipairs { "gzip", "deflate", "br" } do
      assert.matches("%f[%a]" .. coding .. "%f[%A]", offered[1])
    end
  end)

  for _, coding in ipairs { "gzip", "deflate" } do
    it(coding .. " is decoded", function()
      local res = wire.get(demo .. "/" .. coding)
      assert.is_true(res.data.compressed)
      assert.equal(coding, res.header["Content-Encoding"])
      assert.is_true(tonumber(res.header["Content-Length"]) < 1000)
      local bytes = wire.get { url = demo .. "/" .. coding,
        responseType = "arraybuffer" }.data
      assert.equal(4096, #bytes)
    end)
  end

  it("of httpbin is decoded: gzip, deflate, br", function()
    assert.is_true(wire.get(servers.httpbin .. "/gzip").data.gzipped)
    assert.is_true(wire.get(servers.httpbin .. "/deflate").data.deflated)
    local res = wire.get(servers.httpbin .. "/brotli")
    assert.is_true(res.data.brotli)
    assert.equal("br", res.header["content-encoding"])
  end)

  it("of nginx, which compresses as it goes, is decoded", function()
    local res = wire.get { url = servers.nginx.http .. "/text.txt",
      dataType = "text" }
    assert.equal("gzip", res.header["content-encoding"])
    assert.equal(("the same line over and over\n"):rep(2000), res.data)
  end)

  it("deflate without its zlib header is decoded too", function()
    -- Two stored bytes, as old servers send them.
    local res = wire.get { dataType = "text", url = wire.url("/respond",
      { base64 = core.base64Encode("\1\2\0\253\255ok"),
        h = "Content-Encoding: deflate" }) }
    assert.equal("ok", res.data)
  end)

  it("may be the one that the caller asked for", function()
    assert.same({ "identity" }, wire.values(wire.raw {
      header = { ["Accept-Encoding"] = "identity" } }, "accept-encoding"))
  end)

  it("does not disturb answers without a body", function()
    local res = wire.get { url = demo .. "/gzip", method = "HEAD" }
    assert.equal("gzip", res.header["content-encoding"])
    assert.equal("", res.data)
  end)
end)
