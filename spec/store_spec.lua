-- The persistent store as scripts meet it: useStore and what decides about it,
-- the file and its faults. What the core does is in c-core/test/test_store.c.

local core = require "nettask.core"
local helper = require "helper"
local wire = require "support.wire"

local net = helper.net

local function turns(key, words, body)
  return wire.url("/turns", { key = key, ["do"] = words, body = body })
end

-- An answer of the server, for jsonp, that goes to the store.
local function fill(key, body, more)
  return wire.get(wire.with({ url = turns(key, "ok,503", body),
    jsonp = true, useStore = true }, more or {}))
end

local function capture_log()
  local lines = {}
  net.setLogger(function(level, text)
    lines[#lines + 1] = level .. ": " .. text
  end)
  return lines
end

local function close()
  net.setLogger(nil)
  net.configure { storeFile = false, limits = { storeMaxBytes = 16777216 } }
  net.close()
  helper.verify()
end

local function action(...)
  local result
  core.store(function(value, code, message)
    result = { value, code, message }
  end, ...)
  helper.run_until(function() return result end)
  assert.equal(0, result[2], result[3])
  return result[1]
end

describe("useStore", function()
  after_each(close)

  it("#73 answers from the store when nobody else does", function()
    local key = wire.key()
    local first = fill(key, '{"list":[1,[],null],"big":9007199254740991}')
    assert.is_nil(first.fromStore)
    local res = fill(key, '{"list":[1,[],null],"big":9007199254740991}')
    assert.same(first.data, res.data)
    assert.is_true(res.fromStore)
    assert.is_true(res.stale)
    assert.equal("request:ok", res.errMsg)
    assert.equal(200, res.statusCode)
    assert.same({}, res.header)
    assert.same({}, res.cookies)
    assert.equal("request:fail http status 503",
      res.exception.reasons[1].errMsg)
    assert.equal(2, #wire.seen(key)) -- it did ask
  end)

  it("false keeps nothing", function()
    local key = wire.key()
    local url = turns(key, "ok,503", "{}")
    wire.get { url = url, jsonp = true }
    assert.equal("request:fail http status 503",
      wire.fail { url = url, jsonp = true, useStore = true }.errMsg)
  end)

  it("keeps one answer for each url and query", function()
    local key = wire.key()
    local url = turns(key, "ok,ok,503", "{}"):gsub("body=[^&]*&?", "")
    for n = 1, 2 do
      wire.get { url = url, data = { body = n }, jsonp = true,
        useStore = true }
    end
    for n = 1, 2 do
      local res = wire.get { url = url, data = { body = n }, jsonp = "other",
        useStore = true, jsonpCache = n == 1 }
      assert.equal(n, res.data)
      assert.is_true(res.stale)
    end
    wire.fail { url = url, data = { body = 3 }, jsonp = true, useStore = true }
  end)

  it("keeps relative urls apart by what they are relative to", function()
    local key = wire.key()
    local url = turns(key, "ok,503", "1")
    local base, path = url:match("^(http://[^/]+/)(.*)$")
    net.configure { baseUrl = base }
    wire.get { url = path, jsonp = true, useStore = true }
    net.configure { baseUrl = helper.servers.demo .. "/" }
    assert.equal(404, wire.fail { url = path, jsonp = true,
      useStore = true }.statusCode)
    net.configure { baseUrl = base }
    assert.equal(1, wire.get { url = path, jsonp = true,
      useStore = true }.data)
    net.configure { baseUrl = false }
  end)

  it("#74 storeCheckKey and storeSign: no network if they match", function()
    local key = wire.key()
    local url = turns(key, "ok", '{"version":"7","n":1}')
    local function ask(more)
      return wire.get(wire.with({ url = url, jsonp = true, useStore = true,
        storeCheckKey = "version" }, more))
    end
    ask { storeSign = "7" } -- nothing is there yet
    assert.equal(1, #wire.seen(key))
    local res = ask { storeSign = "7" }
    assert.equal(1, #wire.seen(key))
    assert.is_true(res.fromStore)
    assert.is_nil(res.stale)
    assert.equal(1, res.data.n)
    assert.same({ retryCount = 0, reasons = {} }, res.exception)
    assert.is_nil(ask { storeSign = "8" }.fromStore)
    assert.equal(2, #wire.seen(key))
    ask { storeSign = "7", dataCheck = function(data) return data.n == 2 or
      not data.seen end }
    assert.equal(2, #wire.seen(key)) -- dataCheck likes what is stored
    local looked = 0
    ask { storeSign = "7", dataCheck = function()
      looked = looked + 1
      return looked > 1
    end }
    assert.equal(3, #wire.seen(key)) -- and here it does not
    ask {}
    assert.equal(4, #wire.seen(key)) -- no sign, no check
  end)

  it("#75 storeCheck decides instead of them", function()
    local key = wire.key()
    local url = turns(key, "ok", '{"n":1}')
    local given
    local function ask(answer)
      return wire.get { url = url, jsonp = true, useStore = true,
        storeCheckKey = "version", storeSign = "x",
        storeCheck = function(...)
          given = { ... }
          return answer
        end }
    end
    ask(true)
    assert.is_nil(given) -- nothing to look at
    assert.is_true(ask(true).fromStore)
    assert.equal(1, given[1].n)
    assert.equal("version", given[2])
    assert.equal("x", given[3])
    assert.equal(1, #wire.seen(key))
    assert.is_nil(ask(false).fromStore)
    assert.equal(2, #wire.seen(key))
  end)

  it("an error in storeCheck is told, and is a no", function()
    local key = wire.key()
    local url = turns(key, "ok", "{}")
    wire.get { url = url, jsonp = true, useStore = true }
    local what
    net.onError(function(_, _, where) what = where end)
    local res = wire.get { url = url, jsonp = true, useStore = true,
      storeCheck = function() error("broken") end }
    assert.is_nil(res.fromStore)
    assert.matches("^RequestTask #%d+ storeCheck$", what)
  end)

  it("an answer that is no JSON is not kept, and that is said", function()
    local lines = capture_log()
    local res = wire.get { url = wire.url("/respond", { body = "x" }),
      failover = true, useStore = true, responseType = "arraybuffer" }
    assert.equal("x", tostring(res.data))
    assert.equal(1, #lines)
    assert.matches("warn: store: an answer is not kept", lines[1], 1, true)
  end)

  it("an answer that was streamed is not kept", function()
    local key = wire.key()
    local options = { url = turns(key, "ok,cut", "{}"), failover = true,
      useStore = true, enableChunked = true }
    local record = helper.fetch(options)
    assert.equal("{}", tostring(record.chunks[1]))
    assert.equal("", record.success.data)
    assert.equal(600001, wire.fail(options).errno)
  end)

  it("asks nobody when storeCheck has aborted the task", function()
    local key = wire.key()
    fill(key, "{}")
    local record
    record = helper.start { url = turns(key, "ok,503", "{}"), jsonp = true,
      useStore = true, storeCheck = function() record.task:abort() end }
    helper.check_failure(helper.finish(record), "abort", 1, -3)
    assert.is_true(net.run(5000))
    assert.equal(1, #wire.seen(key))
  end)

  it("can be aborted while it looks", function()
    local key = wire.key()
    fill(key, "{}")
    local record = helper.start { url = turns(key, "ok,503", "{}"),
      jsonp = true, useStore = true,
      storeCheck = helper.never("storeCheck") }
    record.task:abort()
    helper.check_failure(helper.finish(record), "abort", 1, -3)
  end)
end)

describe("the store", function()
  local path

  before_each(function() path = helper.temp_name() end)

  after_each(function()
    close()
    os.remove(path)
    os.remove(path .. ".damaged")
  end)

  it("is gone with the context when it has no file", function()
    local key = wire.key()
    fill(key, "{}")
    net.close()
    assert.equal(503, wire.fail { url = turns(key, "ok,503", "{}"),
      jsonp = true, useStore = true }.statusCode)
  end)

  it("outlives the process in its file", function()
    net.configure { storeFile = path }
    local key = wire.key()
    fill(key, '{"kept":true}')
    net.run(5000)
    net.close()
    local result = helper.lua([[
      local path, url = ...
      local net = require "nettask"
      net.configure { storeFile = path }
      net.request { url = url, jsonp = true, useStore = true,
        complete = function(res)
          print(res.errMsg, res.data and res.data.kept, res.stale)
        end }
      assert(net.run(20000))]], path, turns(key, "ok,503", '{"kept":true}'))
    assert.equal("request:ok\ttrue\ttrue\n", result.out, result.err)
    assert.equal(0, result.status)
  end)

  it("keeps what was stored when the process is killed", function()
    local result = helper.lua([[
      local path = ...
      local core = require "nettask.core"
      local net = require "nettask"
      net.configure { storeFile = path }
      local done = 0
      for i = 1, 20 do
        core.store(function(_, code)
          assert(code == 0)
          done = done + 1
        end, "put", "key " .. i, ("v"):rep(i * 1000))
      end
      assert(net.run(20000) and done == 20)
      os.execute("kill -9 $PPID")
      while true do end]], path)
    assert.equal(137, result.status, result.err)
    net.configure { storeFile = path }
    for i = 1, 20 do
      assert.equal(i * 1000, #action("get", "key " .. i))
    end
  end)

  it("sets a damaged file aside and goes on, with a word", function()
    helper.write_file(path, ("no database "):rep(500))
    local lines = capture_log()
    net.configure { storeFile = path }
    local key = wire.key()
    fill(key, "1")
    assert.equal(1, fill(key, "1").data)
    assert.equal(1, #lines)
    assert.matches("^warn: store: .*damaged", lines[1])
    assert.matches("^no database", helper.read_file(path .. ".damaged"))
  end)

  it("that cannot be used costs no request", function()
    local lines = capture_log()
    net.configure { storeFile = path .. "/nowhere/store" }
    local key = wire.key()
    assert.equal(1, fill(key, "1").data)
    assert.equal(503, wire.fail { url = turns(key, "ok,503", "1"),
      jsonp = true, useStore = true }.statusCode)
    net.run(5000)
    assert.equal(1, #lines)
    assert.matches("^warn: store: ", lines[1])
  end)

  it("never holds more than its cap", function()
    net.configure { limits = { storeMaxBytes = 5000 } }
    for i = 1, 20 do action("put", "key " .. i, ("v"):rep(1000)) end
    local kept = 0
    for i = 1, 20 do
      if action("get", "key " .. i) then kept = kept + 1 end
    end
    assert.is_true(kept >= 3 and kept <= 4, tostring(kept))
    assert.is_string(action("get", "key 20"))
  end)

  it("keeps any bytes", function()
    local bytes = {}
    for byte = 0, 255 do bytes[byte + 1] = string.char(byte) end
    local text = table.concat(bytes)
    action("put", text, text)
    assert.equal(text, action("get", text))
    action("put", text, "")
    assert.equal("", action("get", text))
    action("remove", text)
    assert.is_nil(action("get", text))
  end)

  it("calls nobody once the context is closed", function()
    core.store(helper.never("store"), "put", "key", "value")
    net.close()
    net.update()
  end)
end)

describe("storeFile", function()
  after_each(close)

  it("must be a text, or false", function()
    for _, value in ipairs { 1, "", "a\0b", {}, true } do
      local ok, message = pcall(net.configure, { storeFile = value })
      assert.is_false(ok)
      assert.matches("storeFile", message, 1, true)
    end
  end)

  it("and its cap belong to the host after seal()", function()
    local result = helper.lua [[
      local net = require "nettask"
      local host = net.seal()
      assert(not pcall(net.configure, { storeFile = "x" }))
      host.configure { storeFile = false, limits = { storeMaxBytes = 100 } }
      print("ok")]]
    assert.equal("ok\n", result.out, result.err)
  end)
end)
