-- enableChunked: the pieces of a body as they arrive, and how the host's pace
-- becomes the server's.

local helper = require "helper"
local states = require "support.states"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local MARK, CONTEXT_MARK = 1048576, 67108864
-- One delivery of the transport, with the fixed cost of its event.
local PIECE = 32768

describe("#47 enableChunked", function()
  after_each(function()
    net.resume()
    net.setLogger(nil)
    net.configure { limits = {
      highWaterBytes = MARK, contextHighWaterBytes = CONTEXT_MARK,
      responseMaxBytes = 67108864,
    } }
    states.verify()
  end)

  local function text(record)
    local parts = {}
    for i, chunk in ipairs(record.chunks) do
      parts[i] = tostring(chunk)
    end
    return table.concat(parts)
  end

  local function done(record, ms)
    helper.run_until(function() return record.done end, ms)
    return record
  end

  -- The url of a stream of the fault server, and the text that it sends.
  local function stream_url(chunks, size, key)
    return ("%s/stream?chunks=%d&size=%d&key=%s"):format(fault.http, chunks,
      size, key or states.key("stream"))
  end

  local function stream_text(chunks, size)
    local parts = {}
    for i = 0, chunks - 1 do
      parts[#parts + 1] = string.char(97 + i % 26):rep(size)
    end
    return table.concat(parts)
  end

  local function stream(chunks, size, options)
    options = options or {}
    options.url = options.url or stream_url(chunks, size, options.key)
    options.key = nil
    options.enableChunked = true
    return options
  end

  -- Compares without printing megabytes.
  local function same_bytes(wanted, got)
    assert.equal(#wanted, #got)
    assert.is_true(wanted == got, "the bytes differ")
  end

  -- ---- The bytes ------------------------------------------------------------

  describe("with a listener", function()
    it("#80 gives the bytes in order, as Buffers", function()
      local record = helper.fetch(stream(50, 1000))
      assert.equal("request:ok", record.complete.errMsg)
      same_bytes(stream_text(50, 1000), text(record))
      for _, chunk in ipairs(record.chunks) do
        assert.equal("userdata", type(chunk))
        assert.is_true(#chunk > 0)
      end
    end)

    it("keeps no body", function()
      for _, more in ipairs { {}, { dataType = "text" },
        { dataType = "json" }, { dataType = "base64" } } do
        local record = helper.fetch(stream(3, 10, more))
        assert.equal("", record.success.data)
      end
      local record = helper.fetch(stream(3, 10,
        { responseType = "arraybuffer" }))
      assert.equal("userdata", type(record.success.data))
      assert.equal(0, #record.success.data)
    end)

    it("comes after the headers and before the end", function()
      local record = helper.fetch(stream(20, 20000))
      local order = record.order
      assert.equal("headers", order[1])
      assert.is_true(#order >= 20)
      for i = 2, #order - 2 do
        assert.equal("chunk", order[i])
      end
      assert.equal("success", order[#order - 1])
      assert.equal("complete", order[#order])
    end)

    it("takes a body of known length as well", function()
      local record = helper.fetch { url = servers.nginx.http .. "/big",
        enableChunked = true }
      local bytes = {}
      for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
      same_bytes(table.concat(bytes):rep(4096), text(record))
      assert.equal("1048576", record.success.header["content-length"])
    end)

    it("takes the demo server's pattern", function()
      local record = helper.fetch { url = servers.demo
        .. "/chunks/40?size=1000", enableChunked = true }
      local got = text(record)
      assert.equal(40000, #got)
      for at = 1, #got, 97 do
        assert.equal((at - 1) % 251, got:byte(at))
      end
    end)

    it("decodes what is compressed", function()
      local plain = helper.fetch { url = servers.nginx.http .. "/text.txt",
        dataType = "text" }
      local record = helper.fetch { url = servers.nginx.http .. "/text.txt",
        enableChunked = true }
      assert.equal("gzip", record.success.header["content-encoding"])
      same_bytes(plain.success.data, text(record))
    end)

    it("gives pieces as they come, not at the end", function()
      local record = helper.start(stream(1000, 10,
        { url = stream_url(1000, 10) .. "&every=10" }))
      helper.run_until(function() return #record.chunks >= 3 end)
      assert.is_false(record.done)
      assert.equal("open", record.task.state)
      same_bytes(stream_text(1000, 10):sub(1, #text(record)), text(record))
      record.task:abort()
    end)

    it("gives Buffers that stay", function()
      local kept = {}
      local record = helper.start(stream(30, 16384))
      record.task:onChunkReceived(function(res) kept[#kept + 1] = res.data end)
      done(record)
      collectgarbage()
      collectgarbage()
      for i = 1, #kept do kept[i] = tostring(kept[i]) end
      same_bytes(stream_text(30, 16384), table.concat(kept))
    end)

    it("goes on when one raises", function()
      local reported = 0
      net.onError(function() reported = reported + 1 end)
      local record = helper.start(stream(10, 20000))
      record.task:offChunkReceived()
      local got = {}
      record.task:onChunkReceived(error)
      record.task:onChunkReceived(function(res)
        got[#got + 1] = tostring(res.data)
      end)
      done(record)
      assert.equal(#got, reported)
      same_bytes(stream_text(10, 20000), table.concat(got))
    end)

    it("has no cap on the whole of it", function()
      net.configure { limits = { responseMaxBytes = 10000 } }
      local record = helper.fetch(stream(10, 16384))
      assert.equal("request:ok", record.complete.errMsg)
      assert.equal(163840, #text(record))
    end)

    it("has no chunk where there is no body", function()
      for _, options in ipairs {
        { url = fault.http .. "/no-content" },
        { url = fault.http .. "/not-modified" },
        { url = fault.http .. "/raw", method = "HEAD" },
        { url = fault.http .. "/respond?body=" },
      } do
        options.enableChunked = true
        local record = helper.fetch(options)
        assert.same({ "headers", "success", "complete" }, record.order)
        assert.equal("", record.success.data)
      end
    end)

    it("has the chunks of the last hop alone", function()
      local record = helper.fetch { enableChunked = true,
        url = fault.http .. "/redirect?to=/respond%3Fbody=final" }
      assert.equal("final", text(record))
      assert.equal(1, #record.headers)
    end)

    it("gives what came before a failure", function()
      local record = helper.fetch { url = fault.http .. "/close-in-chunk",
        enableChunked = true }
      assert.equal("wholeonly a part", text(record))
      assert.equal(600001, record.fail.errno)
      assert.is_nil(record.fail.data)
      record = helper.fetch { url = fault.http .. "/close-in-body",
        enableChunked = true }
      assert.equal(("x"):rep(100), text(record))
      assert.equal("request:fail -354:net::ERR_CONTENT_LENGTH_MISMATCH",
        record.fail.errMsg)
    end)

    it("streams HTTP/1.1 even where HTTP/2 is allowed", function()
      net.configure { caFile = servers.ca }
      local options = { url = servers.nginx.https .. "/big",
        enableHttp2 = true, dataType = "text" }
      assert.equal("h2", helper.fetch(options).success.profile.protocol)
      for _, allowed in ipairs { "enableHttp2", "useHighPerformanceMode" } do
        local record = helper.fetch { url = options.url,
          enableChunked = true, [allowed] = true }
        assert.equal("http/1.1", record.success.profile.protocol)
        assert.is_false(record.success.profile.usingHighPerformanceMode)
        assert.equal(1048576, #text(record))
      end
      net.configure { caFile = false }
    end)

    it("sends a body as well", function()
      local record = helper.fetch { url = fault.http .. "/raw",
        method = "POST", data = ("b"):rep(300000), enableChunked = true }
      assert.is_true(text(record):sub(-300000) == ("b"):rep(300000))
    end)
  end)

  describe("without a listener", function()
    local function fetch(options)
      local result
      options.complete = function(res) result = res end
      options.enableChunked = true
      local task = net.request(options)
      helper.run_until(function() return result end)
      return result, task
    end

    it("keeps the body", function()
      local res = fetch(stream(20, 16384, { dataType = "text" }))
      same_bytes(stream_text(20, 16384), res.data)
    end)

    it("decodes it as ever", function()
      local url = fault.http .. "/respond?body=%7B%22a%22:%5B1,2%5D%7D"
      assert.same({ a = { 1, 2 } }, fetch({ url = url }).data)
      assert.equal('{"a":[1,2]}', fetch({ url = url, dataType = "x" }).data)
      assert.equal("eyJhIjpbMSwyXX0=",
        fetch({ url = url, dataType = "base64" }).data)
      local res = fetch { url = url, responseType = "arraybuffer" }
      assert.equal("userdata", type(res.data))
      assert.equal('{"a":[1,2]}', tostring(res.data))
    end)

    it("holds it to the cap of a body", function()
      net.configure { limits = { responseMaxBytes = 100000 } }
      local res = fetch(stream(50, 16384))
      assert.equal("request:fail exceed max body size", res.errMsg)
      assert.equal(600004, res.errno)
      assert.equal(-8, res.errCode)
      assert.matches("responseMaxBytes", res.reason)
      assert.equal("request:ok", fetch(stream(6, 16384)).errMsg)
    end)
  end)

  -- ---- Listeners that come and go -------------------------------------------

  describe("a listener", function()
    it("that comes late gets first what came before, in one piece", function()
      local record
      local late, before = {}, nil
      local key = states.key("late")
      record = helper.start(stream(40, 1000, {
        url = stream_url(40, 1000, key) .. "&every=3&hold=5",
      }))
      record.task:offChunkReceived()
      -- Some of the body passes while nobody listens.
      helper.run_until(function()
        return helper.ask(fault.http .. "/stream-progress?key=" .. key)
          == "5000"
      end)
      helper.run_for(30 * helper.slow)
      assert.is_false(record.done)
      record.task:onChunkReceived(function(res)
        before = before or #res.data
        late[#late + 1] = tostring(res.data)
      end)
      helper.ask(fault.http .. "/release?key=" .. key)
      done(record)
      assert.is_true(before >= 2000, before)
      assert.is_true(#late >= 3)
      same_bytes(stream_text(40, 1000), table.concat(late))
      assert.equal("", record.success.data)
    end)

    it("that comes in onHeadersReceived misses nothing", function()
      local got = {}
      local task
      task = net.request(stream(5, 1000, { success = function(res)
        assert.equal("", res.data)
      end }))
      task:onHeadersReceived(function()
        task:onChunkReceived(function(res)
          got[#got + 1] = tostring(res.data)
        end)
      end)
      assert.is_true(net.run(5000))
      same_bytes(stream_text(5, 1000), table.concat(got))
    end)

    it("that comes while chunks wait misses nothing", function()
      local record = states.enter "chunk"
      record.task:offChunkReceived()
      local got = {}
      record.task:onChunkReceived(function(res)
        got[#got + 1] = tostring(res.data)
      end)
      net.resume()
      helper.run_until(function() return #got >= 3 end)
      local all = table.concat(got)
      same_bytes(stream_text(#got, 16384):sub(1, #all), all)
      states.leave(record)
    end)

    it("#81 that goes leaves the rest to data", function()
      local record
      local heard = {}
      local function listener(res)
        heard[#heard + 1] = tostring(res.data)
        if #heard == 2 then record.task:offChunkReceived(listener) end
      end
      record = helper.start(stream(20, 16384, { dataType = "text" }))
      record.task:offChunkReceived()
      record.task:onChunkReceived(listener)
      done(record)
      assert.equal(2, #heard)
      same_bytes(stream_text(20, 16384),
        table.concat(heard) .. record.success.data)
      assert.is_true(#record.success.data > 0)
    end)

    it("#81 that goes and comes back hears all", function()
      local record = helper.start(stream(60, 1000, {
        url = stream_url(60, 1000) .. "&every=2",
      }))
      local task = record.task
      task:offChunkReceived()
      local got = {}
      local function listener(res) got[#got + 1] = tostring(res.data) end
      for _ = 1, 6 do
        task:onChunkReceived(listener)
        helper.run_for(5)
        task:offChunkReceived(listener)
        helper.run_for(5)
      end
      task:onChunkReceived(listener)
      done(record)
      -- What passed after the last piece came in waits for no next one.
      same_bytes(stream_text(60, 1000),
        table.concat(got) .. record.success.data)
    end)
  end)

  -- ---- Back-pressure --------------------------------------------------------

  -- Bytes that the server could send; polled until they stand still. In a
  -- process of its own, for ours does nothing meanwhile.
  local POLL = [[
import sys, time, urllib.request
last, still = -1, 0
for _ in range(400):
    now = int(urllib.request.urlopen(sys.argv[1]).read())
    still = still + 1 if now == last and now > 0 else 0
    last = now
    if still == 8:
        break
    time.sleep(0.02 * float(sys.argv[2]))
print(last)
]]

  local function stalled_at(key)
    local result = helper.python(POLL,
      fault.http .. "/stream-progress?key=" .. key, helper.slow)
    assert.equal(0, result.status, result.err)
    return tonumber(result.out)
  end

  -- What the kernel may hold between the two: both of its buffers at most.
  local function kernel_bytes()
    local line = helper.read_file("/proc/sys/net/ipv4/tcp_rmem")
    return tonumber(line:match("(%d+)%s*$")) + 1048576
  end

  describe("back-pressure", function()
    -- 64 MiB, much more than all buffers hold. With the collector at work at
    -- each step it is 16.
    local SIZE = 16384
    local CHUNKS = os.getenv("NETTASK_TEST_GC") and 1024 or 4096

    local function reader(record)
      local at, block = 0, {}
      for i = 0, 25 do block[i] = string.char(97 + i):rep(SIZE) end
      record.task:offChunkReceived()
      record.task:onChunkReceived(function(res)
        local data, from = tostring(res.data), 1
        while from <= #data do
          local offset = at % SIZE
          local n = math.min(SIZE - offset, #data - from + 1)
          local letter = block[math.floor(at / SIZE) % 26]
          assert(data:sub(from, from + n - 1) == letter:sub(1, n))
          at, from = at + n, from + n
        end
      end)
      return function() return at end
    end

    it("a host that does nothing holds the server back", function()
      local key = states.key("idle")
      local record = helper.start(stream(CHUNKS, SIZE, { key = key }))
      local received = reader(record)
      local sent = stalled_at(key)
      assert.is_true(sent >= MARK, sent)
      assert.is_true(sent <= MARK + PIECE + kernel_bytes(), sent)
      -- It has no bytes lost, and goes on to its end.
      done(record, 20000)
      assert.equal("request:ok", record.complete.errMsg)
      assert.equal(CHUNKS * SIZE, received())
    end)

    it("a paused one as well, again and again", function()
      local key = states.key("paused")
      local record = helper.start(stream(CHUNKS, SIZE, { key = key }))
      local received = reader(record)
      local before = -1
      for _ = 1, 3 do
        net.pause()
        -- What was delivered is made up for in eighths of the mark.
        helper.run_until(function()
          return net.stats().queuedBytes >= MARK * 7 / 8
        end)
        helper.run_for(30)
        local stats = net.stats()
        assert.is_true(stats.queuedBytes <= MARK + PIECE, stats.queuedBytes)
        assert.is_true(received() > before)
        before = received()
        net.resume()
        helper.run_until(function() return received() > before + MARK end)
      end
      done(record, 20000)
      assert.equal(CHUNKS * SIZE, received())
    end)

    it("one that takes a little each frame goes at its pace", function()
      local record = helper.start(stream(200, SIZE))
      local received = reader(record)
      local most = 0
      net.pause()
      helper.run_until(function() return net.stats().queuedBytes >= MARK end)
      net.resume()
      repeat
        local delivered = net.update(nil, 2)
        most = math.max(most, net.stats().queuedBytes)
        if delivered == 0 then net.wait(100) end
      until record.done
      assert.is_true(most <= MARK + PIECE, most)
      assert.equal(200 * SIZE, received())
    end)

    it("keeps to highWaterBytes", function()
      for _, mark in ipairs { 65536, 262144 } do
        net.configure { highWaterBytes = mark }
        net.pause()
        local record = helper.start(stream(CHUNKS, SIZE))
        helper.run_until(function()
          return net.stats().queuedBytes >= mark
        end)
        helper.run_for(30)
        local queued = net.stats().queuedBytes
        assert.is_true(queued <= mark + PIECE, queued)
        net.resume()
        record.task:abort { silent = true }
      end
    end)

    it("keeps to the context's mark over all tasks", function()
      local mark = 4 * MARK
      net.configure { contextHighWaterBytes = mark }
      net.pause()
      local records = {}
      for i = 1, 8 do
        records[i] = helper.start(stream(CHUNKS / 8, SIZE))
      end
      helper.run_until(function() return net.stats().queuedBytes >= mark end)
      helper.run_for(30)
      local queued = net.stats().queuedBytes
      assert.is_true(queued <= mark + #records * PIECE, queued)
      net.resume()
      for _, record in ipairs(records) do
        done(record, 20000)
        assert.equal("request:ok", record.complete.errMsg)
        assert.equal(CHUNKS / 8 * SIZE, #text(record))
      end
    end)

    it("of one stream lets others pass", function()
      local held = states.enter "held"
      local small = helper.start { url = fault.http .. "/" }
      helper.run_until(function() return small.task.state == "closing" end)
      states.leave(held)
      done(small)
      assert.equal(200, small.success.statusCode)
    end)

    it("does not delay abort", function()
      local record = states.enter "held"
      net.resume()
      record.task:abort()
      done(record)
      assert.equal("request:fail abort", record.fail.errMsg)
      assert.equal(0, net.stats().queuedBytes)
    end)

    it("ends when listeners go, and their memory with it", function()
      local held = states.enter "held"
      held.task:abort { silent = true }
      net.resume()
      assert.is_true(net.run(5000))
      assert.equal(0, net.stats().queuedBytes)
      local record = helper.fetch(stream(100, SIZE))
      assert.equal(100 * SIZE, #text(record))
    end)
  end)

  -- ---- Time -----------------------------------------------------------------

  describe("the clocks", function()
    local slow = helper.slow

    local function hold(options)
      net.configure { highWaterBytes = 65536 }
      net.pause()
      local record = helper.start(stream(200, 16384, options))
      helper.run_until(function() return net.stats().queuedBytes >= 65536 end)
      return record
    end

    it("of the total stands still while held", function()
      local record = hold { timeout = 400 * slow }
      helper.run_for(600 * slow)
      assert.equal("open", record.task.state)
      net.resume()
      done(record)
      assert.equal("request:ok", record.complete.errMsg)
      assert.equal(200 * 16384, #text(record))
    end)

    it("of a stall stands still while held", function()
      local record = hold { timeouts = { stall = 100 * slow } }
      helper.run_for(250 * slow)
      assert.equal("open", record.task.state)
      net.resume()
      done(record)
      assert.equal("request:ok", record.complete.errMsg)
    end)

    it("of the total goes on where it stood when read on", function()
      local record = hold { timeout = 400 * slow,
        url = stream_url(100, 16384) .. "&stay=1" }
      helper.run_for(450 * slow)
      assert.equal("open", record.task.state)
      net.resume()
      helper.run_until(function() return #text(record) == 100 * 16384 end)
      local start = helper.now()
      done(record)
      assert.equal("request:fail timeout", record.fail.errMsg)
      assert.equal(5, record.fail.errno)
      local took = helper.now() - start
      assert.is_true(took >= 100 * slow and took < 2000 * slow, took)
    end)

    it("of the total runs when nothing is held", function()
      local record = helper.fetch(stream(10, 100, { timeout = 150,
        url = stream_url(1000, 100) .. "&every=20" }))
      assert.equal("request:fail timeout", record.fail.errMsg)
      assert.is_true(#record.chunks >= 1)
    end)

    it("of a stall runs when the server is silent", function()
      local record = helper.fetch(stream(10, 100,
        { timeouts = { stall = 100 },
          url = fault.http .. "/drip?every=3000" }))
      assert.equal("request:fail timeout", record.fail.errMsg)
      assert.equal(".", text(record))
    end)

    it("of a stall starts anew with each piece", function()
      local record = helper.fetch(stream(10, 100,
        { timeouts = { stall = 250 * slow },
          url = stream_url(15, 100) .. "&every=40" }))
      assert.equal("request:ok", record.complete.errMsg)
      assert.equal(1500, #text(record))
    end)
  end)

  it("several streams go side by side", function()
    local records = {}
    for i = 1, 8 do
      records[i] = helper.start(stream(50 + i, 16384))
    end
    for i, record in ipairs(records) do
      done(record, 10000)
      same_bytes(stream_text(50 + i, 16384), text(record))
    end
  end)
end)
