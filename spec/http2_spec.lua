-- HTTP/2 over TLS: who gets it, many requests at once on one connection, the
-- fallbacks of enableHttp2, enableQuic and useHighPerformanceMode. nginx
-- speaks it and hands /fault/ on to the fault server, which can wait.

local files = require "support.files"
local helper = require "helper"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local nginx, fault, demo = servers.nginx, servers.fault, servers.demo

-- No connection of an earlier test: libcurl takes what is there.
local function fresh()
  net.close()
  net.configure { caFile = servers.ca, policy = "miniprogram" }
end

local function over_http2(path, more)
  return wire.with({ url = nginx.https .. path, enableHttp2 = true,
    dataType = "text" }, more or {})
end

-- The number that nginx gives the connection of the request, and how many it
-- has served.
local function connection(more)
  local res = wire.get(over_http2("/connection", more))
  local number, requests = res.data:match("^(%d+) (%d+)$")
  return tonumber(number), tonumber(requests)
end

local function start_all(count, options)
  local records = {}
  for i = 1, count do records[i] = helper.start(options) end
  return records
end

local function finish_all(records)
  helper.run_until(function()
    for _, record in ipairs(records) do
      if not record.done then return false end
    end
    return true
  end)
end

-- How many connections the requests to /connection used, all HTTP/2.
local function count_connections(records)
  local seen, count = {}, 0
  for _, record in ipairs(records) do
    assert.equal("h2", record.success.profile.protocol)
    local number = record.success.data:match("^%d+")
    if not seen[number] then count = count + 1 end
    seen[number] = true
  end
  return count
end

-- Waits until so many requests are held by the fault server's /wait.
local function run_until_waiting(key, count)
  helper.run_until(function()
    return helper.ask(fault.http .. "/waiting?key=" .. key)
      == tostring(count)
  end, 5000, count .. " requests to wait")
end

describe("enableHttp2", function()
  before_each(fresh)
  after_each(helper.verify)

  it("#43 gives HTTP/2 where the server has it", function()
    local res = wire.get(over_http2 "/protocol")
    assert.equal("HTTP/2.0", res.data)
    assert.equal("h2", res.profile.protocol)
  end)

  it("#43 is off by default", function()
    for _, enable in ipairs { {}, { enableHttp2 = false } } do
      local res = wire.get(wire.with({ url = nginx.https .. "/protocol",
        dataType = "text" }, enable))
      assert.equal("HTTP/1.1", res.data)
      assert.equal("http/1.1", res.profile.protocol)
    end
  end)

  it("#43 is off beside a connection that speaks HTTP/2", function()
    wire.get(over_http2 "/protocol")
    assert.equal("HTTP/1.1", wire.get(over_http2("/protocol",
      { enableHttp2 = false })).data)
    assert.equal("HTTP/2.0", wire.get(over_http2 "/protocol").data)
  end)

  it("#43 falls back to HTTP/1.1 over TLS", function()
    local res = wire.get { url = nginx.https1 .. "/protocol",
      enableHttp2 = true, dataType = "text" }
    assert.equal("HTTP/1.1", res.data)
    assert.equal("http/1.1", res.profile.protocol)
  end)

  it("#43 falls back to HTTP/1.1 without TLS", function()
    local res = wire.get { url = nginx.http .. "/protocol",
      enableHttp2 = true, dataType = "text" }
    assert.equal("HTTP/1.1", res.data)
    assert.is_nil(wire.values(wire.raw { enableHttp2 = true }, "upgrade")[1])
  end)

  it("#43 yields to enableChunked", function()
    local record = helper.fetch(over_http2("/protocol",
      { enableChunked = true }))
    assert.equal("HTTP/1.1", tostring(record.chunks[1]))
    assert.equal("http/1.1", record.success.profile.protocol)
  end)

  it("verifies the certificate", function()
    for name, url in pairs { expired = nginx.expired,
      selfsigned = nginx.selfsigned, wronghost = nginx.wronghost } do
      local res = wire.fail { url = url, enableHttp2 = true }
      assert.equal(600001, res.errno, name)
      assert.matches("ERR_CERT_", res.errMsg)
    end
  end)

  it("works by name as by address", function()
    local res = wire.get { enableHttp2 = true, dataType = "text",
      url = nginx.https:gsub("127%.0%.0%.1", "localhost") .. "/authority" }
    assert.equal("h2", res.profile.protocol)
    assert.matches("^localhost:%d+$", res.data)
  end)
end)

describe("enableQuic", function()
  before_each(fresh)
  after_each(function()
    net.setLogger(nil)
    helper.verify()
  end)

  it("#44 falls back silently", function()
    local lines = {}
    net.setLogger(function(_, text) lines[#lines + 1] = text end)
    for _, url in ipairs { nginx.http, nginx.https, nginx.https1, demo } do
      local res = wire.get { url = url .. "/small", enableQuic = true,
        dataType = "text" }
      assert.equal(200, res.statusCode)
      assert.equal(1024, #res.data)
      assert.equal("http/1.1", res.profile.protocol)
    end
    assert.same({}, lines)
  end)

  it("#44 falls back to HTTP/2 if that is allowed too", function()
    local res = wire.get(over_http2("/protocol", { enableQuic = true }))
    assert.equal("h2", res.profile.protocol)
  end)
end)

describe("useHighPerformanceMode", function()
  before_each(fresh)
  after_each(helper.verify)

  it("allows HTTP/2", function()
    local res = wire.get { url = nginx.https .. "/protocol",
      useHighPerformanceMode = true, dataType = "text" }
    assert.equal("HTTP/2.0", res.data)
    assert.is_true(res.profile.usingHighPerformanceMode)
  end)

  it("does nothing with enableChunked", function()
    local record = helper.fetch { url = nginx.https .. "/protocol",
      useHighPerformanceMode = true, enableChunked = true }
    assert.equal("HTTP/1.1", tostring(record.chunks[1]))
    assert.is_false(record.success.profile.usingHighPerformanceMode)
  end)
end)

describe("requests over HTTP/2", function()
  before_each(fresh)
  after_each(helper.verify)

  it("share one connection", function()
    local records = start_all(10, over_http2 "/connection")
    finish_all(records)
    assert.equal(1, count_connections(records))
    local made = 0
    for _, record in ipairs(records) do
      if not record.success.profile.socketReused then made = made + 1 end
    end
    assert.equal(1, made)
  end)

  it("run at the same time on it", function()
    local key = wire.key()
    local number, served = connection()
    local records = start_all(6, over_http2("/fault/wait?key=" .. key))
    run_until_waiting(key, 6)
    -- All six hang, and the connection goes on serving.
    local again, later = connection()
    assert.equal(number, again)
    assert.equal(served + 7, later)
    wire.get(fault.http .. "/release?key=" .. key)
    finish_all(records)
    for _, record in ipairs(records) do
      assert.equal("released", record.success.data)
      assert.equal("h2", record.success.profile.protocol)
    end
  end)

  it("need a connection each over HTTP/1.1", function()
    local key = wire.key()
    local number = connection { enableHttp2 = false }
    local records = start_all(3, over_http2("/fault/wait?key=" .. key,
      { enableHttp2 = false }))
    run_until_waiting(key, 3)
    local again, served = connection { enableHttp2 = false }
    assert.not_equal(number, again)
    assert.equal(1, served)
    wire.get(fault.http .. "/release?key=" .. key)
    finish_all(records)
  end)

  it("share it also where HTTP/1.1 came first", function()
    connection { enableHttp2 = false }
    local records = start_all(9, over_http2 "/connection")
    finish_all(records)
    assert.equal(1, count_connections(records))
  end)

  it("end by themselves when another is aborted", function()
    local key = wire.key()
    local number = connection()
    local records = start_all(4, over_http2("/fault/wait?key=" .. key))
    run_until_waiting(key, 4)
    records[2].task:abort()
    helper.run_until(function() return records[2].done end)
    assert.equal("request:fail abort", records[2].fail.errMsg)
    -- libcurl before 8.15 tells the server with whatever it sends next.
    assert.equal(number, (connection()))
    run_until_waiting(key, 3)
    wire.get(fault.http .. "/release?key=" .. key)
    finish_all(records)
    for _, i in ipairs { 1, 3, 4 } do
      assert.equal("released", records[i].success.data)
    end
    assert.equal(number, (connection()))
  end)

  -- libcurl leaves the buffers of one that ends before the others of its
  -- connection do on its handle, which the next request may have.
  it("send and read little and much after one another", function()
    local key = wire.key()
    local waits = helper.start(over_http2("/fault/wait?key=" .. key))
    run_until_waiting(key, 1)
    for _ = 1, 2 do
      local upload = helper.finish(helper.begin("uploadFile", {
        url = nginx.https .. "/fault/raw", files = { { name = "little",
          data = "x" } }, enableHttp2 = true }))
      assert.equal("h2", upload.success.profile.protocol)
      assert.is_true(upload.success.profile.socketReused)
      local res = wire.get { url = nginx.https .. "/fault/raw",
        dataType = "text", method = "POST", data = ("x"):rep(40000) }
      assert.equal(40000, #wire.parse(res.data).body)
      assert.equal("HTTP/2.0", wire.get(over_http2 "/protocol").data)
      local download = helper.finish(helper.begin("downloadFile", {
        url = demo .. "/file/3000000" }))
      assert.equal(3000000, download.success.dataLength)
    end
    assert.is_false(waits.done)
    wire.get(fault.http .. "/release?key=" .. key)
    finish_all { waits }
    assert.equal("released", waits.success.data)
  end)

  -- libcurl keeps what has come while a stream was paused, too, and would give
  -- it to the next one that is.
  it("that wait for the disk leave nothing to others", function()
    local folder = files.folder()
    files.shell("mkfifo", folder .. "/gate")
    local result = files.child({ preload = "held_disk.so", "env",
      "NETTASK_TEST_DISK_GATE=" .. folder .. "/gate" }, [[
      local wire = require "support.wire"
      local folder = ...
      local fault, nginx = servers.fault, servers.nginx
      net.configure { caFile = servers.ca, policy = "miniprogram" }

      local function noise(seed)
        return "/noise?bytes=20000000&seed=" .. seed
      end

      -- The disk stands still: the blocks are full, and libcurl has been told
      -- to wait, long before so many answers have come beside it.
      local function run_until_held(record)
        helper.run_until(function() return #record.progress > 0 end)
        for _ = 1, 200 do
          wire.get { url = nginx.https .. "/protocol", enableHttp2 = true,
            dataType = "text" }
        end
        assert(not record.done)
      end

      local key = wire.key()
      local waits = helper.start { url = nginx.https .. "/fault/wait?key="
        .. key, enableHttp2 = true, dataType = "text" }
      helper.run_until(function()
        return helper.ask(fault.http .. "/waiting?key=" .. key) == "1"
      end)
      local hold = assert(io.open(folder .. "/gate", "w"))
      hold:setvbuf("no")
      local first = helper.begin("downloadFile", { filePath = folder .. "/1",
        url = nginx.https .. "/fault" .. noise(1), enableHttp2 = true })
      run_until_held(first)
      first.task:abort()
      helper.finish(first)
      hold:write("1") -- what was being written; no more of that follows
      local second = helper.begin("downloadFile", { filePath = folder .. "/2",
        url = fault.http .. noise(2) })
      run_until_held(second)
      hold:close()
      tell(second)
      wire.get(fault.http .. "/release?key=" .. key)
      assert(helper.finish(waits).success)
    ]], folder)
    assert.equal("", result.err)
    assert.matches("^downloadFile:ok\n", result.out)
    helper.write_file(folder .. "/right",
      helper.ask(fault.http .. "/noise?bytes=20000000&seed=2"))
    assert.equal(files.sha256(folder .. "/right"), files.sha256(folder .. "/2"))
  end)

  it("end by themselves when another runs out of time", function()
    local key = wire.key()
    local number = connection()
    local slow = helper.start(over_http2("/fault/wait?key=" .. key,
      { timeout = 150 }))
    local other = helper.start(over_http2("/fault/wait?key=" .. key))
    helper.run_until(function() return slow.done end)
    assert.equal("request:fail timeout", slow.fail.errMsg)
    assert.is_false(other.done)
    wire.get(fault.http .. "/release?key=" .. key)
    finish_all { other }
    assert.equal("released", other.success.data)
    assert.equal(number, (connection()))
  end)

  it("that are cut off fail, each of them", function()
    for _, path in ipairs { "/close-in-body", "/close-in-chunk",
      "/close-between-chunks" } do
      local records = start_all(5, over_http2("/fault" .. path))
      local good = helper.start(over_http2 "/small")
      finish_all(records)
      for _, record in ipairs(records) do
        assert.is_nil(record.success, path)
        assert.equal(600001, record.fail.errno)
      end
      finish_all { good }
      assert.equal(1024, #good.success.data)
    end
  end)

  it("may be a hundred on one connection", function()
    net.configure { policy = "open" }
    local records = start_all(100, over_http2 "/connection")
    finish_all(records)
    assert.equal(1, count_connections(records))
  end)
end)

describe("what a request over HTTP/2 carries", function()
  before_each(fresh)
  after_each(helper.verify)

  -- nginx passes the request on, so the bytes are nginx's; what they say is
  -- ours.
  local function through(method, more)
    return wire.raw(over_http2("/fault/raw", wire.with({ method = method },
      more or {})))
  end

  it("is any method", function()
    for _, method in ipairs { "OPTIONS", "GET", "POST", "PUT", "DELETE",
      "PATCH", "HEAD" } do
      local request = through(method)
      assert.equal(method .. " /raw HTTP/1.1", request.line)
    end
  end)

  it("is data by the same rules", function()
    assert.equal("/raw?a=x%20y", through("GET", { data = { a = "x y" } })
      .target)
    assert.equal('{"a":1}', through("POST", { data = { a = 1 } }).body)
    assert.equal("bytes \0\255", through("PUT",
      { data = net.buffer("bytes \0\255") }).body)
    local res = wire.get { url = nginx.https .. "/httpbin/anything",
      enableHttp2 = true, method = "POST", data = { a = { 1, "x" } } }
    assert.same({ a = { 1, "x" } }, res.data.json)
    assert.equal("h2", res.profile.protocol)
  end)

  it("is the header, without fields that HTTP/2 forbids", function()
    local request = through("GET", { header = { ["X-MiXeD"] = "Kept",
      Connection = "close", Upgrade = "x", ["Transfer-Encoding"] = "chunked",
      Host = "evil.example", ["X-Two"] = { "1", "2" } } })
    assert.same({ "Kept" }, wire.values(request, "x-mixed"))
    assert.same({ "1", "2" }, wire.values(request, "x-two"))
    assert.same({}, wire.values(request, "upgrade"))
    assert.equal(nginx.https:match("//(.*)$"),
      wire.get(over_http2 "/authority").data)
  end)

  it("is a large body, both ways", function()
    local data = ("0123456789abcdef"):rep(131072) -- 2 MiB
    assert.is_true(through("POST", { data = data }).body == data)
    local res = wire.get(over_http2("/big", { responseType = "arraybuffer" }))
    assert.equal(1048576, #res.data)
    assert.equal("h2", res.profile.protocol)
  end)

  it("is counted in the profile", function()
    local function count(size)
      return wire.get(over_http2("/fault/raw", { method = "POST",
        data = ("x"):rep(size) })).profile.sendBytesCount
    end
    local none = count(0)
    for _, size in ipairs { 100, 5000, 50000 } do
      local more = count(size) - none
      -- Content-Length has some digits more, too.
      assert.is_true(more >= size and more < size + 10,
        ("%d instead of %d"):format(more, size))
    end
  end)

  it("comes back with a header that reads in any case", function()
    local url = wire.url("/fault/respond", { { "h", "X-Mixed-Case: Kept" },
      { "h", "X-Repeat: one" }, { "h", "x-repeat: two, three" },
      { "h", "Set-Cookie: a=1; Path=/" }, { "h", "Set-Cookie: b=2" },
      { "body", "ok" } }, nginx.https)
    local res = wire.get { url = url, enableHttp2 = true, dataType = "text" }
    assert.equal("h2", res.profile.protocol)
    assert.equal("Kept", res.header["X-Mixed-Case"])
    assert.equal("2", res.header["Content-Length"])
    assert.same({ "one", "two, three" }, res.header:getAll("X-Repeat"))
    assert.same({ "a=1; Path=/", "b=2" }, res.cookies)
  end)

  it("comes back decoded, or empty", function()
    local res = wire.get(over_http2 "/text.txt")
    assert.equal("gzip", res.header["content-encoding"])
    assert.equal(("the same line over and over\n"):rep(2000), res.data)
    assert.equal(204, wire.get(over_http2 "/fault/no-content").statusCode)
    assert.equal("", wire.get(over_http2 "/fault/not-modified").data)
  end)

  it("follows redirects", function()
    local key = wire.key()
    local res = wire.get(over_http2("/fault/redirect?key=" .. key
      .. "&to=/fault/respond%3Fkey=" .. key .. "%26body=there",
      { method = "POST", data = "x" }))
    assert.equal("there", res.data)
    assert.equal("h2", res.profile.protocol)
    local seen = wire.seen(key)
    assert.equal("POST", seen[1].method)
    assert.equal("GET", seen[2].method)
    assert.equal("", seen[2].body)
  end)

  it("is refused as a CONNECT without harm", function()
    local record = helper.fetch(over_http2("/", { method = "CONNECT" }))
    local status = record.success and record.success.statusCode
    assert.is_true(record.fail ~= nil or status >= 400, tostring(status))
    assert.equal("HTTP/2.0", wire.get(over_http2 "/protocol").data)
  end)
end)
