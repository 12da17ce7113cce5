-- A script that wants out: what a host leaves to it, against a policy that
-- is sealed. Each attempt has a process of its own, where the host configures,
-- seals, withholds what docs/security.md says, and then runs the guest on the
-- globals that are left. Whatever that does, no byte may reach the server that
-- the policy refuses, no secret may be readable, and the host's functions must
-- still be the host's alone.

local helper = require "helper"
local states = require "support.states"

local fault = helper.servers.fault

describe("a guest", function()
  after_each(helper.verify)

  -- ---- The host -------------------------------------------------------------

  local HOST = [[
    local helper = require "helper"
    local net, fault = helper.net, helper.servers.fault
    local assert, error, pairs, pcall, print, rawequal, rawget, tostring, type =
      assert, error, pairs, pcall, print, rawequal, rawget, tostring, type
    local find, sub = string.find, string.sub
    local loaded = package.loaded
    local request, run, configure, seal, pause, close, on_error = net.request,
      net.run, net.configure, net.seal, net.pause, net.close, net.onError
    local clean, set_secret = net.cleanInterceptors, net.secrets.set
    local SECRET = "s3cr3t-" .. KEY
    local lines, escapes = {}, {}

    local ALLOWED = { "https://allowed.invalid" }
    configure {
      policy = "strict", limits = { maxSockets = 2 },
      domains = { request = ALLOWED, download = ALLOWED, socket = ALLOWED },
      logger = function(_, text) lines[#lines + 1] = text end,
    }
    net.secrets.set("key", { value = SECRET, hosts = ALLOWED })
    local host = seal()
    local refusals = 0
    host.onAudit(function() refusals = refusals + 1 end)
    host.onError(function() end)

    URL = fault.http .. "/respond?key=" .. KEY

    function escaped(how) escapes[#escapes + 1] = tostring(how) end

    -- Of a value that should not be in the guest's hands.
    function inspect(value, depth)
      local kind = type(value)
      if kind == "string" and find(value, SECRET, 1, true) then
        escaped "a secret"
      elseif kind == "userdata" then
        if pcall(pause, value) then escaped "the capability" end
      elseif kind == "table" then
        if rawget(value, "requireSecure") ~= nil
          and rawget(value, "requestTimeout") then escaped "the settings" end
        if rawget(value, "once") and rawget(value, "write") then
          escaped "the logger"
        end
        if rawget(value, "requestStart") then escaped "the core" end
        if rawget(value, 0) ~= nil and type(rawget(value, 1)) == "userdata" then
          escaped "a record"
        end
        if rawequal(value, host) then escaped "the host's table" end
        if (depth or 0) < 2 then
          for key, inner in next, value do
            inspect(key, (depth or 0) + 1)
            inspect(inner, (depth or 0) + 1)
          end
        end
      end
    end

    -- docs/security.md: what a host withholds.
    for name in pairs(loaded) do
      if name == "helper" or find(name, "^support%.") or name == "ffi"
        or find(name, "^jit") or name == "debug" or name == "io" then
        loaded[name] = nil
      end
    end
    debug, io, ffi, jit, dofile, loadfile, getfenv, setfenv, newproxy = nil
    package.loadlib, string.dump = nil, nil
    if package.preload then package.preload.ffi = nil end
    os = { time = os.time, clock = os.clock, date = os.date }
    loaded.os = os
    do
      local compile = loadstring or load
      local function load_text(text, name)
        if type(text) ~= "string" or sub(text, 1, 1) == "\27" then
          return nil, "no bytecode"
        end
        return compile(text, name)
      end
      load, loadstring = load_text, load_text
      arg = nil
    end

    local chunk = assert(load(GUEST, "=guest"))
    local ran, why = pcall(chunk)

    -- ---- What holds afterwards ----------------------------------------------

    local function check(ok, what)
      if not ok then escaped(what) end
    end
    local function is_refused(f, ...)
      local ok, err = pcall(f, ...)
      check(not ok and type(err) == "string"
        and find(err, "sealed", 1, true), "a function of the host's")
    end
    host.close()
    clean()
    for _, f in next, { configure, seal, pause, close, on_error, set_secret } do
      is_refused(f, {})
      is_refused(f)
    end
    local ended
    request { url = URL, fail = function() end,
      complete = function(res) ended = res end }
    check(run(10000), "a task that does not end")
    check(ended and rawget(ended, "statusCode") == nil
      and rawget(ended, "errno") ~= 0, "a request")
    check(refusals > 0, "the records of the host")
    host.configure { userAgent = "Host/1" }
    host.configure { proxy = "http://user:" .. SECRET .. "@127.0.0.1:1" }
    host.configure { proxy = false }
    host.secrets.set("late", { value = SECRET, hosts = ALLOWED })
    check(host.secrets.remove("key"), "a secret of the host's")
    local line = #lines
    host.setLogger(function() line = -1 end)
    request { url = URL }
    run(10000)
    check(line == -1, "the logger of the host")
    if not ran then print("the guest failed: " .. tostring(why)) end
    for i = 1, #escapes do print("escaped: " .. escapes[i]) end
    print "end"
  ]]

  -- Runs the guest; returns what the host printed, and how often the server was
  -- asked for what the policy refuses.
  local function visit(guest, host)
    local key = states.key("escape")
    local script = ("local KEY, GUEST = %q, %q\n"):format(key, guest)
      .. (host or HOST)
    local result = helper.lua(script)
    assert.equal("", result.err)
    assert.equal(0, result.status)
    return result.out, helper.ask(fault.http .. "/count?of=" .. key)
  end

  local function attempt(title, guest)
    it(title, function()
      local out, count = visit(guest)
      assert.equal("end\n", out)
      assert.equal("0", count)
    end)
  end

  it("is noticed when it gets out", function()
    local open = HOST:gsub('"strict"', '"miniprogram"')
      :gsub("request = ALLOWED", "request = false")
      :gsub("check%(refusals > 0", "check(true")
    local out, count = visit([[escaped "a test"]], open)
    assert.matches("escaped: a test\nescaped: a request\n", out)
    assert.equal("2", count)
  end)

  -- ---- The front door -------------------------------------------------------

  attempt("calls the functions of the host", [[
    local net = require "nettask"
    for _, name in ipairs { "configure", "setLogger", "onError", "pause",
      "resume", "close", "seal", "setBackground", "onAudit" } do
      for _, value in ipairs { {}, net, print, "host", 1, true, net.null,
        net.buffer "x", { requireSecure = false } } do
        local ok = net[name] == nil or pcall(net[name], value)
        if ok and net[name] then escaped(name) end
        ok = net[name] and pcall(net[name], value, { requireSecure = false })
        if ok then escaped(name) end
      end
    end
    for _, f in pairs(net.secrets) do
      for _, value in ipairs { "key", net, print, {} } do
        if pcall(f, value, { value = "x", hosts = { "127.0.0.1" } })
          or pcall(f, value) then
          escaped "secrets"
        end
      end
    end
    inspect(net.secret "key")
    if not net.sealed() then escaped "sealed()" end
  ]])

  attempt("names other ways to the server", [[
    local net = require "nettask"
    local other = URL:gsub("^http:", "HTTP:")
    local place = URL:match "^http:(.*)"
    local path = URL:match "^http://[^/]*(.*)"
    local socket = URL:gsub("^http", "ws")
    for _, url in ipairs { URL, other, place, "http:" .. place:gsub("^//", "/"),
      " " .. URL, URL .. "#", (URL:gsub("127.0.0.1", "user@127.0.0.1")),
      (URL:gsub("127.0.0.1", "2130706433")), "https:\\\\@" .. place,
      (URL:gsub("^http", "file")), (URL:gsub("^http", "gopher")) } do
      net.request { url = url }
      net.request { url = url, jsonp = true }
      net.request { url = "https://127.0.0.1:1/", backup = url,
        failover = true }
      net.request { url = url, retry = { tries = 1, base = 1 } }
      net.downloadFile { url = url }
      net.uploadFile { url = url, filePath = "/etc/passwd", name = "x" }
      net.connectSocket { url = url }
    end
    net.connectSocket { url = socket, reconnect = true }
    for _, address in ipairs { "127.0.0.1", "localhost", "::ffff:127.0.0.1",
      "0x7f.1", "127.1", "0" } do
      local tcp = net.createTCPSocket()
      tcp:onConnect(function() escaped "a TCP socket" end)
      tcp:connect { address = address, port = tonumber(URL:match ":(%d+)/") }
      tcp:write("GET " .. path .. " HTTP/1.0\r\n\r\n")
    end
    net.run(5000)
  ]])

  attempt("brings a proxy", [[
    local net = require "nettask"
    local proxy = URL:match "^http://[^/]*"
    for _, url in ipairs { URL, (URL:gsub("^http", "https")) } do
      net.request { url = url, proxy = proxy }
      net.downloadFile { url = url, proxy = proxy }
      net.connectSocket { url = url:gsub("^http", "ws"), proxy = URL }
      net.connectSocket { url = url:gsub("^http", "ws"), proxy = proxy }
    end
    net.run(200)
  ]])

  -- ---- A second copy --------------------------------------------------------

  attempt("empties package.loaded and requires again", [[
    local net = require "nettask"
    for _ = 1, 3 do
      for name in pairs(package.loaded) do
        if name:find "^nettask" then package.loaded[name] = nil end
      end
      local again = require "nettask"
      inspect(again)
      if again ~= net or not again.sealed() then escaped "another net" end
      if pcall(again.configure, { requireSecure = false }) then
        escaped "configure"
      end
      again.request { url = URL }
    end
    net.run(5000)
  ]])

  attempt("asks for the parts of the module", [[
    for _, name in ipairs { "core", "abort", "attempts", "combine", "config",
      "crowd", "download", "endpoint", "errors", "exchange", "failover",
      "group", "interceptor", "jsonp", "mdns", "names", "options",
      "profile", "promise", "query", "relay", "request", "retry", "sleep",
      "socket", "store", "upload" } do
      local ok, part = pcall(require, "nettask." .. name)
      inspect(ok and part)
      if ok and type(part) == "table" then
        for _, f in pairs(part) do
          for _, value in ipairs { {}, print, 1, part } do
            inspect(select(2, pcall(f, value, value, value)))
          end
        end
      end
    end
    local core = require "nettask.core"
    for _, name in ipairs { "setPolicy", "bind", "gate", "seal", "close",
      "requestOpen", "requestStart", "promises", "notice" } do
      if pcall(function() return core[name] end) then escaped(name) end
    end
    for _, value in ipairs { {}, { configure = print }, print, 1 } do
      if core.module(value) ~= require "nettask" then escaped "module" end
    end
  ]])

  attempt("puts parts of its own in their place", [[
    local real = require "nettask"
    local any = setmetatable({}, { __index = function() return print end })
    for _, name in ipairs { "config", "log", "exchange", "options", "core",
      "errors", "promise" } do
      package.preload["nettask." .. name] = function() return any end
      package.loaded["nettask." .. name] = any
    end
    local searchers = package.searchers or package.loaders
    table.insert(searchers, 1, function(name)
      return function() inspect(name) return any end
    end)
    package.loaded.nettask = nil
    local ok, net = pcall(require, "nettask")
    inspect(ok and net)
    package.loaded.nettask = real
    real.request { url = URL }
    real.run(5000)
  ]])

  -- ---- Functions that others call -------------------------------------------

  -- What it does with each API, to see what is called meanwhile.
  local DRIVE = [[
    local net = require "nettask"
    local function drive()
      local callbacks = { success = inspect, fail = inspect,
        complete = inspect }
      local function with(options)
        for name, f in next, callbacks do options[name] = f end
        return options
      end
      for _, url in ipairs { URL, "nonsense", "https://127.0.0.1:1/" } do
        net.request(with { url = url, header = { a = 1.5, b = { "x" },
          key = net.secret "key" },
          unknown = 1, timeouts = { total = 3000, x = 1 },
          data = { a = { 1, 2 } } })
        net.request(with { url = url, failover = true, retryTimes = 0,
          dataCheck = inspect, useStore = true, storeCheckKey = "a",
          storeSign = "b" })
        net.request(with { url = url, retry = { tries = 1, base = 1, x = 1 } })
        net.request(with { url = url, jsonp = true })
        net.downloadFile(with { url = url, filePath = "/x", resume = true,
          getRawResult = inspect })
        net.uploadFile(with { url = url, filePath = "/x", name = "x" })
        net.connectSocket(with { url = url, protocols = { "a" },
          reconnect = { x = 1 } })
      end
      net.sendSocketMessage(with { data = "x", x = 1 })
      net.closeSocket(with { code = 1, x = 1 })
      net.startLocalServiceDiscovery(with { serviceType = 1, x = 1 })
      net.stopLocalServiceDiscovery(with { x = 1 })
      local tcp = net.createTCPSocket()
      tcp:onError(inspect)
      tcp:connect { address = "127.0.0.1", port = 1, x = 1 }
      local udp = net.createUDPSocket()
      udp:onError(inspect)
      udp:send { address = "127.0.0.1", port = 0, message = "x", x = 1 }
      udp:close()
      local group, controller = net.group(), net.AbortController()
      group:add(net.request { url = URL, signal = controller.signal })
      controller.signal:onabort(inspect)
      controller:abort "x"
      net.all { net.request { url = URL } }:catch(inspect)
      net.addInterceptor(function(chain)
        inspect(chain)
        return chain:proceed(chain.requestParams)
      end)
      net.request(with { url = URL }):next(inspect, inspect)
      net.cleanInterceptors()
      net.sleep(1):next(function() error(setmetatable({}, { __tostring =
        function() return 1 end })) end)
      net.stats()
      net.run(5000)
    end
  ]]

  attempt("listens in place of the globals", DRIVE .. [[
    local next, type, select, unpack = next, type, select, unpack
      or table.unpack
    local pcall, setmetatable = pcall, setmetatable
    local inspect, busy = inspect, false
    local function spy(f)
      return function(...)
        if not busy then
          busy = true
          for i = 1, select("#", ...) do inspect((select(i, ...))) end
          busy = false
        end
        return f(...)
      end
    end
    local tables = { _G, string, table, math, coroutine, os, package }
    for i = 1, #tables do
      for name, f in next, tables[i] do
        if type(f) == "function" and f ~= inspect and f ~= escaped then
          tables[i][name] = spy(f)
        end
      end
    end
    getmetatable("").__index = function(_, name)
      return spy(string[name])
    end
    drive()
  ]])

  attempt("lies in place of the globals", DRIVE .. [[
    local next, type, pcall = next, type, pcall
    local lies = {
      function() end, function() return true end, function(x) return x end,
      function() return {} end, function() return "table" end,
      function() return 12.5, 12.5 end, function() error {} end,
    }
    local tables = { _G, string, table, math, coroutine }
    for i = 1, #lies do
      for j = 1, #tables do
        local real = {}
        for name, f in next, tables[j] do
          if type(f) == "function" and f ~= inspect and f ~= escaped
            and f ~= require then
            real[name] = f
          end
        end
        for name in next, real do tables[j][name] = lies[i] end
        pcall(net.request, { url = URL, header = { a = 1.5, b = "x" },
          data = { a = 1 } })
        pcall(net.connectSocket, { url = URL })
        pcall(net.downloadFile, { url = URL })
        pcall(net.createTCPSocket)
        pcall(net.run, 5000)
        for name, f in next, real do tables[j][name] = f end
      end
    end
  ]])

  attempt("changes its options while they are read", [[
    local net = require "nettask"
    local busy
    local function shifty(fields)
      local reads = 0
      return setmetatable({}, {
        __index = function(_, name)
          reads = reads + 1
          if name == "url" then
            return reads % 2 == 0 and URL or "https://127.0.0.1:1/"
          end
          if reads % 7 == 0 and busy then busy:abort() end
          if reads % 11 == 0 then collectgarbage() end
          return fields[name]
        end,
        __pairs = function() return next, {}, nil end,
        __len = function() return 0 end,
        __newindex = inspect, __call = inspect, __tostring = inspect,
      })
    end
    for _, name in ipairs { "request", "downloadFile", "uploadFile",
      "connectSocket" } do
      for i = 1, 12 do
        local given = shifty {
          header = shifty { a = "b" }, timeout = i, method = "GET",
          timeouts = shifty { total = i, dns = URL, connect = inspect },
          protocols = shifty { "a", 1, URL }, name = "x",
          files = shifty { { name = "x", filePath = "/etc/passwd" } },
          retry = shifty { tries = 2, base = 1 }, failover = i % 2 == 0,
          backup = shifty { URL }, proxy = i % 3 == 0 and URL or nil,
          reconnect = shifty { tries = 1 },
        }
        local ok, task = pcall(net[name], given)
        busy = ok and task or busy
        given = setmetatable({ url = "https://127.0.0.1:1/", timeouts =
          setmetatable({}, { __index = function(_, key)
            if busy then busy:abort { silent = true } end
            pcall(net.update)
            collectgarbage()
            return key == "dns" and URL or i
          end }), protocols = setmetatable({ 1, 2.5, 3 },
            { __len = function() return 0 end }) }, { __index = inspect })
        pcall(net[name], given)
      end
    end
    net.run(5000)
  ]])

  attempt("raises objects that are more than they seem", [[
    local net = require "nettask"
    local function trap(kind)
      return setmetatable({}, {
        __index = function(t, name) inspect(name) return t end,
        __tostring = function(t) inspect(t) return kind end,
        __concat = function(a, b) inspect(a) inspect(b) return "x" end,
        __call = function(...) inspect((...)) error(trap "call") end,
        __eq = function(a, b) inspect(a) inspect(b) return true end,
        __name = URL, __gc = function(t) inspect(t) end,
      })
    end
    local function bad() error(trap "raised") end
    net.request { url = URL, success = bad, fail = bad, complete = bad }
    net.request { url = URL }:next(bad, bad):catch(bad)
    net.request { url = URL }:finally(bad)
    net.request { url = URL, failover = true, dataCheck = bad }
    net.downloadFile { url = URL, getRawResult = bad }
    net.addInterceptor(bad)
    net.request { url = URL, fail = bad }
    net.cleanInterceptors()
    net.addInterceptor(function() return trap "result" end)
    net.request { url = URL, success = bad, fail = bad }
    net.cleanInterceptors()
    net.AbortController().signal:onabort(bad)
    coroutine.wrap(function()
      net.await(net.request { url = URL })
      bad()
    end)()
    net.run(5000)
  ]])

  -- ---- Inside of objects ----------------------------------------------------

  attempt("walks links of interceptors by itself", [[
    local net = require "nettask"
    net.addInterceptor(function(chain)
      inspect(chain)
      for i = 1, 3 do
        local link = rawget(chain, "interceptors")[i]
        if link and i > 1 then
          pcall(link, { requestParams = { url = URL } })
          pcall(link, setmetatable({}, { __index = function(_, name)
            return name == "requestParams" and { url = URL } or inspect
          end }))
        end
      end
      chain.interceptors = { inspect, inspect, inspect }
      chain.index = 0
      chain.requestParams = { url = URL }
      pcall(chain.proceed, chain)
      return pcall(chain.proceed, { url = URL })
    end)
    for _ = 1, 3 do net.request { url = "https://127.0.0.1:1/" } end
    net.run(5000)
  ]])

  attempt("forges promises, signals and groups", [[
    local net = require "nettask"
    local marks = { getmetatable(net.sleep(1):next(inspect)),
      getmetatable(net.AbortController().signal), getmetatable(net.group()) }
    for _, mark in ipairs(marks) do
      local fake = setmetatable({ state = false, first = false, value = false,
        tasks = setmetatable({}, { __newindex = function(_, _, value)
          inspect(value)
        end }), listeners = {} }, { __metatable = mark,
          __newindex = function(_, _, value)
            inspect(value)
            if type(value) == "table" and value.run then
              pcall(value.run, value)
              pcall(value.run, { co = coroutine.create(inspect),
                source = value, target = value })
            end
          end })
      pcall(net.all, { fake })
      pcall(net.race, { fake })
      pcall(net.request, { url = URL, signal = fake, group = fake })
      pcall(function() net.sleep(1):next(function() return fake end) end)
      pcall(net.await, fake)
    end
    local p = net.request { url = URL }:next(inspect, inspect)
    for name, value in pairs(p) do
      inspect(name) inspect(value)
      if type(value) == "function" then
        pcall(value, p) pcall(value, marks) pcall(value)
      end
    end
    p.run = function(job) inspect(job) end
    p.link, p.first = p, p
    net.run(200)
  ]])

  attempt("calls metamethods by hand", [[
    local net = require "nettask"
    local objects = { net.buffer "x", net.null, net.array {}, net.group(),
      net.AbortController(), net.createTCPSocket(), net.createUDPSocket(),
      net.request { url = URL }, net.downloadFile { url = URL },
      net.uploadFile { url = URL }, net.connectSocket { url = URL },
      net.sleep(1), net.sleep(1):next(inspect), net.features,
      net.interceptors, net.run, (require "nettask.core") }
    local foreign = { {}, "x", 1, print, coroutine.create(function() end) }
    for _, object in ipairs(objects) do foreign[#foreign + 1] = object end
    local function call_all(t)
      if type(t) ~= "table" then return end
      for name, f in pairs(t) do
        inspect(name) inspect(f)
        if type(f) == "function" then
          for i = 1, #foreign do
            for j = 1, #foreign do
              local ok, a, b = pcall(f, foreign[i], foreign[j], "configure")
              if ok then inspect(a) inspect(b) end
            end
            pcall(f, foreign[i])
          end
        end
      end
    end
    for _, object in ipairs(objects) do
      local meta = getmetatable(object)
      inspect(meta)
      call_all(meta)
      if type(meta) == "table" then
        for _, name in ipairs { "__gc", "__index", "__tostring", "__eq",
          "__close", "__len", "__newindex", "__call" } do
          pcall(rawset, meta, name, function(...)
            for i = 1, select("#", ...) do inspect((select(i, ...))) end
          end)
        end
      end
    end
    net.request { url = URL }:abort()
    collectgarbage()
    pcall(net.run, 200)
  ]])

  attempt("calls every function with what does not belong there", [[
    local net = require "nettask"
    local pool = { nil, true, 0, -1, 2^53, 0/0, "", "x", ("x"):rep(300),
      {}, { {} }, setmetatable({}, { __index = error, __len = error }),
      function() error() end, coroutine.create(function() end), net.buffer "x",
      net.null, net.group(), net.sleep(1), net.request { url = URL },
      net.createTCPSocket(), net.createUDPSocket(), net.array {},
      net.connectSocket { url = URL }, { url = URL }, URL, net.run }
    local size = 26
    -- The same numbers every time.
    local state = 1
    local function choose()
      state = state * 16807 % 2147483647
      return pool[state % size + 1]
    end
    local seen = {}
    local function use(f)
      if seen[f] or f == net.run or f == net.wait or f == net.update then
        return
      end
      seen[f] = true
      for i = 1, size do pcall(f, pool[i]) end
      for _ = 1, 40 do
        local ok, a = pcall(f, choose(), choose(), choose())
        if ok then inspect(a) end
      end
    end
    local names = {}
    for name in pairs(net) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      if type(net[name]) == "function" then use(net[name]) end
    end
    for i = 1, size do
      local object = pool[i]
      if type(object) == "userdata" then
        for _, name in ipairs { "abort", "next", "catch", "finally", "await",
          "onHeadersReceived", "offHeadersReceived", "onChunkReceived",
          "onProgressUpdate", "send", "close", "onOpen", "offOpen", "write",
          "onMessage", "onError", "onClose", "connect", "bind", "bindWifi",
          "setTTL", "joinMulticast", "leaveMulticast", "setBroadcast",
          "setMulticastTTL", "setNoDelay", "setKeepAlive", "sub", "slice",
          "onDrain", "onReconnect", "onConnect", "getAll" } do
          local ok, f = pcall(function() return object[name] end)
          if ok and type(f) == "function" then use(f) end
        end
      end
    end
    local options = { "url", "header", "data", "method", "timeout", "timeouts",
      "dataType", "responseType", "enableChunked", "jsonp", "backup", "retry",
      "failover", "useStore", "storeCheckKey", "dataCheck", "signal", "group",
      "proxy", "filePath", "name", "formData", "files", "fileName", "resume",
      "sha256", "protocols", "reconnect", "pingInterval", "maxMessageBytes",
      "success", "complete", "getRawResult", "credentials", "redirect" }
    for _, name in ipairs { "request", "downloadFile", "uploadFile",
      "connectSocket" } do
      for at, option in ipairs(options) do
        for i = 1 + at % 3, size, 3 do
          local given = { url = URL, name = "x", filePath = "/etc/passwd" }
          given[option] = pool[i]
          local ok, task = pcall(net[name], given)
          if ok and i % 2 == 0 then task:abort() end
        end
      end
      net.run(50)
    end
    for _, value in ipairs { "x", {}, -1, 0, 1 } do
      pcall(net.update, value, value)
      pcall(net.run, type(value) == "number" and 10 or value)
      pcall(net.wait, type(value) == "number" and 1 or value)
    end
    net.cleanInterceptors()
  ]])

  -- ---- Time -----------------------------------------------------------------

  attempt("works in coroutines", [[
    local net = require "nettask"
    for _ = 1, 3 do
      local co = coroutine.wrap(function()
        if pcall(net.configure, { requireSecure = false }) then
          escaped "configure"
        end
        local task = net.request { url = URL }
        coroutine.yield()
        inspect(task:await())
        if pcall(net.seal) then escaped "seal" end
        coroutine.wrap(function() net.request { url = URL } end)()
      end)
      co() co()
    end
    local co = coroutine.create(function()
      return net.request(setmetatable({}, { __index = function()
        coroutine.yield()
      end }))
    end)
    coroutine.resume(co)
    coroutine.resume(co)
    net.run(5000)
  ]])

  attempt("waits for the collector and for the end", [[
    local net = require "nettask"
    local function last_words()
      if pcall(net.configure, { requireSecure = false }) then
        escaped "configure"
      end
      pcall(net.request, { url = URL, complete = inspect })
      pcall(net.update)
      pcall(function() inspect(require "nettask.core") end)
    end
    -- On Lua 5.1 and LuaJIT tables have no finalisers.
    local function doomed()
      setmetatable({}, { __gc = function()
        last_words()
        doomed_again()
      end })
    end
    function doomed_again()
      if #kept < 50 then kept[#kept + 1] = true doomed() end
    end
    kept = {}
    for _ = 1, 50 do doomed() end
    at_the_end = setmetatable({}, { __gc = last_words })
    collectgarbage "setpause"
    collectgarbage()
    net.request { url = URL, fail = function() collectgarbage() end }
    net.run(5000)
    for _ = 1, 200 do doomed() end -- while the host configures, say
  ]])

  attempt("hijacks the table that the host shares with it", [[
    local net = require "nettask"
    local real = {}
    for name, f in pairs(net) do
      real[name] = f
      if type(f) == "function" then
        net[name] = function(...)
          for i = 1, select("#", ...) do inspect((select(i, ...))) end
          return f(...)
        end
      end
    end
    net.seal = function() return net end
    net.sealed = function() return false end
    package.loaded.nettask = net
    real.request { url = URL }
    real.run(5000)
  ]])

  attempt("searches all that it can reach", DRIVE .. [[
    drive()
    local seen, count = {}, 0
    local function walk(value)
      inspect(value, 2)
      local kind = type(value)
      if kind ~= "table" and kind ~= "userdata" or seen[value] then return end
      seen[value], count = true, count + 1
      walk(getmetatable(value))
      if kind == "table" then
        for key, inner in next, value do walk(key) walk(inner) end
      end
    end
    walk(_G)
    walk(package)
    walk(getmetatable "")
    for _, f in pairs(net) do
      if type(f) == "userdata" then walk(f) end
    end
    if count < 12 then escaped "a search that finds nothing" end
  ]])

  -- ---- The parts ------------------------------------------------------------

  -- A script can put functions of its own in the place of globals, and would
  -- be called with what the parts do not give to scripts.
  it("finds no global that the parts use once they are loaded", function()
    local count, names = 0, { "assert", "collectgarbage", "coroutine", "debug",
      "dofile", "error", "getfenv", "getmetatable", "io", "ipairs", "load",
      "loadfile", "loadstring", "math", "newproxy", "next", "os", "package",
      "pairs", "pcall", "print", "rawequal", "rawget", "rawlen", "rawset",
      "require", "select", "setfenv", "setmetatable", "string", "table",
      "tonumber", "tostring", "type", "unpack", "utf8", "xpcall", "_G" }
    local folder = os.getenv("LUA_PATH"):match("^([^;]*)/%?%.lua")
      .. "/nettask/"
    for path in io.popen("ls '" .. folder .. "'"):lines() do
      local text = helper.read_file(folder .. path):gsub("%-%-[^\n]*", "")
        :gsub('"[^"\n]*"', '""'):gsub("'[^'\n]*'", '""')
        :gsub("([=,])\n%s+", "%1 ")
      local own, body = {}, {}
      -- What stands at the beginning of a line runs when the file is loaded.
      for statement in ("\n" .. text):gmatch("\nlocal ([%w_, \n]-)=") do
        for name in statement:gmatch("[%w_]+") do own[name] = true end
      end
      for line in text:gmatch("[^\n]+") do
        if line:find("^%s") or line:find("^local function")
          or line:find("^function") then
          body[#body + 1] = line
        end
      end
      local inside = table.concat(body, "\n"):gsub("[.:]%s*[%a_][%w_]*", "")
      for _, name in ipairs(names) do
        for at in inside:gmatch("%f[%w_]" .. name .. "%f[^%w_]()") do
          local is_key = inside:find("^%s*=[^=]", at)
          assert(own[name] or is_key, path .. " uses the global " .. name)
        end
      end
      count = count + 1
    end
    assert.is_true(count > 20)
  end)
end)
