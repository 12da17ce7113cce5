-- The collector at work in every corner: whatever is in use must stay, and
-- finalisers may call the module.

local collector = require "support.collector"
local helper = require "helper"
local states = require "support.states"

local net, servers = helper.net, helper.servers
local fault = servers.fault

-- Where each step is a whole collection the time is what there is enough of.
local STORM_MS = helper.rounds(60000)

local BODY = '{"list":[1,2,3],"text":"Grüße"}'
local ESCAPED = BODY:gsub("[^%w]", function(c)
  return ("%%%02X"):format(c:byte())
end)

-- 1 to n, or less when the time is over; always 1 and 2.
local function rounds(n)
  local until_ms = helper.now() + STORM_MS
  local i = 0
  return function()
    i = i + 1
    if i <= n and (i <= 2 or helper.now() <= until_ms) then return i end
  end
end

-- An object whose finaliser is f.
local function finaliser(f)
  if newproxy then
    getmetatable(newproxy(true)).__gc = f
  else
    setmetatable({}, { __gc = f })
  end
end

describe("under the collector", function()
  after_each(function()
    collector.restore()
    net.resume()
    states.verify()
  end)

  -- Starts a request of a kind; returns a function that checks its end.
  local kinds = {
    function(options)
      options.url = fault.http .. "/respond?body=" .. ESCAPED
      return function(res)
        assert(res.data.list[3] == 3 and res.data.text == "Grüße")
      end
    end,
    function(options)
      options.url = fault.http .. "/headers-odd"
      return function(res)
        assert(res.header["X-REPEAT"] == "one, two, three")
        assert(res.header:getAll("x-repeat")[3] == "three")
        assert(#res.cookies == 2 and res.cookies[1] == "a=1; Path=/")
        assert(res.profile.peerIP == "127.0.0.1")
      end
    end,
    function(options)
      options.url = servers.nginx.http .. "/medium"
      options.responseType = "arraybuffer"
      return function(res)
        assert(tostring(res.data) == ("0123456789abcdef"):rep(4096))
      end
    end,
    function(options)
      options.url = fault.http .. "/raw"
      options.method, options.dataType = "POST", "text"
      options.data = { key = { "a", "b" } }
      options.header = { ["X-A"] = "1", ["X-B"] = { "2", "3" } }
      return function(res)
        assert(res.data:find('{"key":["a","b"]}', 1, true))
        assert(res.data:find("\r\nX-B: 3\r\n", 1, true))
      end
    end,
    function(options)
      options.url = fault.refused .. "/"
      return function(res) assert(res.errCode == -102) end
    end,
    function(options)
      options.url = 5
      return function(res) assert(res.errno == 1001) end
    end,
  }

  local function storm(most, callback)
    local ends, wanted = 0, 0
    for i in rounds(most) do
      for k = 1, #kinds do
        local options = {}
        local check = kinds[k](options)
        function options.complete(res)
          ends = ends + 1
          callback(i)
          check(res)
        end
        local task = net.request(options)
        task:onHeadersReceived(function() callback(i) end)
        wanted = wanted + 1
      end
      net.wait(5)
      net.update()
    end
    helper.run_until(function() return ends == wanted end, 20000)
  end

  it("that never rests", function()
    collector.relentless()
    storm(helper.rounds(400), function() end)
  end)

  it("that runs in callbacks", function()
    storm(helper.rounds(400), function() collectgarbage() end)
  end)

  it("that is off meanwhile", function()
    collectgarbage("stop")
    storm(helper.rounds(400), function() end)
    collectgarbage("restart")
    collectgarbage()
  end)

  if _VERSION >= "Lua 5.4" then
    it("of generations", function()
      collectgarbage("generational")
      storm(helper.rounds(400), function(i)
        if i % 3 == 0 then collectgarbage("step") end
      end)
      collectgarbage("incremental")
    end)
  end

  it("with finalisers that start and abort requests", function()
    collector.relentless()
    local runs = 0
    local function start()
      runs = runs + 1
      net.request { url = fault.http .. "/", fail = function() end }
      net.request { url = fault.silent .. "/" }:abort { silent = true }
    end
    storm(helper.rounds(200), function(i)
      if i % 2 == 0 then finaliser(start) end
    end)
    collectgarbage()
    collectgarbage()
    assert.is_true(runs > 0)
  end)

  it("with finalisers that raise and that update", function()
    -- Lua up to 5.3 raises their errors wherever it collects: here only where
    -- nobody else would have to catch them.
    local runs = 0
    local function inside()
      runs = runs + 1
      pcall(net.update)
      pcall(net.run, 0)
      pcall(net.pause)
      net.resume()
      net.stats()
    end
    collector.relentless()
    storm(helper.rounds(200), function(i)
      if i % 2 == 0 then finaliser(inside) end
    end)
    collectgarbage()
    assert.is_true(runs > 0)
  end)

  it("with finalisers that close the net", function()
    collector.relentless()
    for i in rounds(helper.rounds(2000)) do
      for k = 1, 3 do
        local options = { complete = function() end }
        kinds[(i + k) % #kinds + 1](options)
        net.request(options):onHeadersReceived(function() end)
      end
      finaliser(function() net.close(5000) end)
      net.wait(2)
      net.update()
    end
    -- Those that have not run yet must not close the last one.
    collectgarbage()
    collectgarbage()
    local record = helper.fetch { url = fault.http .. "/" }
    assert.equal("request:ok", record.complete.errMsg)
  end)

  it("with streams", function()
    collector.relentless()
    for _ in rounds(helper.rounds(40)) do
      local length, record = 0, nil
      record = helper.start { enableChunked = true,
        url = fault.http .. "/stream?chunks=50&size=5000&key="
          .. states.key("gc") }
      record.task:offChunkReceived()
      record.task:onChunkReceived(function(res)
        length = length + #res.data
        collectgarbage("step")
      end)
      helper.run_until(function() return record.done end)
      assert.equal(250000, length)
    end
  end)
end)
