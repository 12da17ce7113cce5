-- group(): tasks that are ended together, and waited for together.

local helper = require "helper"
local sockets = require "support.sockets"

local net, servers = helper.net, helper.servers
local never, run_until_met = helper.never, helper.run_until_met

local function expect(...)
  return (helper.expect(...))
end

describe("a group", function()
  after_each(function()
    net.setLogger(nil)
    helper.verify()
  end)

  local function ok_url()
    return servers.fault.http .. "/"
  end

  local function silent_url()
    return servers.fault.silent .. "/"
  end

  local function was_aborted(api)
    return function(err)
      assert.equal(api .. ":fail abort", err.errMsg)
    end
  end

  -- Runs f in a coroutine, to its end.
  local function finished(f)
    local co = coroutine.create(expect(1, f))
    assert(coroutine.resume(co))
    helper.run_until(function() return coroutine.status(co) == "dead" end)
  end

  -- ---- abort ----------------------------------------------------------------

  describe("ends", function()
    it("all of its tasks, of whatever kind", function()
      local group = net.group()
      local request = net.request { url = silent_url(), group = group,
        fail = expect(1, was_aborted "request"), success = never() }
      net.downloadFile { url = silent_url(), group = group,
        fail = expect(1, was_aborted "downloadFile") }
      net.uploadFile { url = silent_url(), group = group,
        files = { { name = "a", data = "b" } },
        fail = expect(1, was_aborted "uploadFile") }
      assert.equal(request, group:add(request))
      group:add(net.sleep(10000)):next(never(), expect(1, was_aborted "sleep"))
      local stranger = net.sleep(20)
      stranger:next(expect(1))
      group:abort()
      run_until_met()
      group:abort()
    end)

    it("sockets", function()
      local group = net.group()
      local socket = net.connectSocket { url = servers.demo_ws,
        group = group }
      socket:onClose(expect(1, function(res)
        assert.equal(1006, res.code)
        assert.equal("abort", res.reason)
      end))
      socket:onOpen(function() group:abort() end)
      run_until_met()
    end)

    it("TCP and UDP sockets", function()
      local group = net.group()
      local udp = group:add(net.createUDPSocket())
      udp:bind()
      local tcp = group:add(net.createTCPSocket())
      tcp:connect { address = "127.0.0.1", port = servers.demo_tcp }
      tcp:onConnect(function() group:abort() end)
      helper.run_until(function()
        return udp.state == "done" and tcp.state == "done"
      end)
      finished(function() assert.same({}, group:await()) end)
    end)

    it("without a word, if that is wanted", function()
      local group = net.group()
      net.request { url = silent_url(), group = group, fail = never(),
        complete = never() }:next(never(), never())
      group:add(net.sleep(10000)):finally(never())
      group:abort { silent = true }
      assert.is_true(net.run(5000))
    end)

    local function begin_with(name, options, f)
      if name == "onHeadersReceived" then
        options.fail = expect(1, was_aborted "request")
      elseif name ~= "next" then
        options[name] = f
      end
      local task = net.request(options)
      if name == "onHeadersReceived" then task:onHeadersReceived(f) end
      if name == "next" then task:next(f) end
    end

    it("those whose handler ends it, from each callback", function()
      local names = { "success", "complete", "onHeadersReceived", "next" }
      for _, name in ipairs(names) do
        local group = net.group()
        local ended = expect(1, function() group:abort() end)
        local options = { url = ok_url(), group = group }
        for i = 1, 3 do
          net.request { url = silent_url(), group = group, success = never(),
            fail = expect(1, was_aborted "request") }
          group:add(net.sleep(10000)):catch(expect(1, was_aborted "sleep"))
          if i == 2 then begin_with(name, options, ended) end
        end
        run_until_met()
      end
    end)

    it("those that its handlers add after that, when it is told again",
      function()
        local group = net.group()
        local late
        net.request { url = silent_url(), group = group,
          fail = expect(1, function()
            late = group:add(net.sleep(10000))
            late:catch(expect(1, was_aborted "sleep"))
          end) }
        group:abort()
        helper.run_until(function() return late end)
        assert.equal("open", late.state)
        group:abort()
        run_until_met()
      end)

    it("what stands behind interceptors", function()
      local group = net.group()
      net.addInterceptor(function(chain)
        return chain:proceed(chain.requestParams)
      end)
      net.request { url = silent_url(), group = group,
        fail = expect(1, was_aborted "request") }
      net.cleanInterceptors()
      helper.run_for(5)
      group:abort()
      run_until_met()
    end)
  end)

  -- ---- await ----------------------------------------------------------------

  describe("waits", function()
    it("for all, and lists outcomes in the order of adding", function()
      local group = net.group()
      group:add(net.sleep(20))
      net.request { url = servers.fault.refused .. "/", group = group }
      net.request { url = ok_url(), group = group }
      finished(function()
        local list = group:await()
        assert.equal(3, #list)
        assert.is_true(list[1].ok)
        assert.equal("sleep:ok", list[1].res.errMsg)
        assert.is_nil(list[1].err)
        assert.is_false(list[2].ok)
        assert.equal(-102, list[2].err.errCode)
        assert.is_nil(list[2].res)
        assert.equal(200, list[3].res.statusCode)
      end)
    end)

    it("for what has ended already, too", function()
      local group = net.group()
      net.request { url = ok_url(), group = group }
      net.request { url = servers.fault.refused .. "/", group = group,
        fail = function() end }
      net.request { group = group, fail = function() end }
      assert.is_true(net.run(5000))
      finished(function()
        local list = group:await()
        assert.equal(3, #list)
        assert.is_true(list[1].ok)
        assert.is_false(list[2].ok)
        assert.equal(1001, list[3].err.errno)
        assert.same({}, group:await()) -- all of them have been told
      end)
    end)

    it("for nobody", function()
      finished(function() assert.same({}, net.group():await()) end)
    end)

    it("for what is added meanwhile", function()
      local group = net.group()
      group:add(net.sleep(1)):next(function()
        group:add(net.sleep(1)):next(function()
          group:add(net.sleep(1))
        end)
      end)
      finished(function() assert.equal(3, #group:await()) end)
    end)

    it("for two at once", function()
      local group = net.group()
      group:add(net.sleep(1))
      local counts = {}
      for i = 1, 2 do
        coroutine.wrap(expect(1, function()
          counts[i] = #group:await()
        end))()
      end
      run_until_met()
      helper.run_until(function() return counts[2] end)
      assert.same({ 1, 1 }, counts)
    end)

    it("for tasks that it ends itself", function()
      local group = net.group()
      group:add(net.sleep(10000))
      net.request { url = silent_url(), group = group }
      net.sleep(5):next(function() group:abort() end)
      finished(function()
        local list = group:await()
        assert.equal("sleep:fail abort", list[1].err.errMsg)
        assert.equal("request:fail abort", list[2].err.errMsg)
      end)
    end)

    it("for tasks that end silently", function()
      local group = net.group()
      group:add(net.sleep(10000)):next(never(), never())
      net.request { url = silent_url(), group = group }
      local early = group:add(net.sleep(10000))
      early:abort { silent = true }
      net.sleep(5):next(function() group:abort { silent = true } end)
      finished(function()
        local list = group:await()
        assert.equal(3, #list)
        assert.equal("sleep:fail abort", list[1].err.errMsg)
        assert.equal("request:fail abort", list[2].err.errMsg)
        assert.equal("sleep:fail abort", list[3].err.errMsg)
      end)
    end)

    it("for a socket only until it is accepted", function()
      local group = net.group()
      local record = sockets.start { url = servers.demo_ws,
        group = group }
      finished(function()
        local list = group:await()
        assert.equal("connectSocket:ok", list[1].res.errMsg)
      end)
      record.task:close()
    end)
  end)

  -- ---- Odds -----------------------------------------------------------------

  it("does not keep all that have ever ended", function()
    local group = net.group()
    local weak = setmetatable({}, { __mode = "k" })
    for _ = 1, 60 do
      for _ = 1, 100 do weak[group:add(net.sleep(0))] = true end
      assert.is_true(net.run(5000))
    end
    collectgarbage()
    collectgarbage()
    local kept = 0
    for _ in pairs(weak) do kept = kept + 1 end
    assert.is_true(kept >= 1000, kept)
    assert.is_true(kept <= 3000, kept)
    finished(function() assert.equal(kept, #group:await()) end)
  end)

  it("may be held by nobody", function()
    local task = net.sleep(5)
    net.group():add(task)
    collectgarbage()
    task:next(expect(1))
    run_until_met()
  end)

  it("leaves the log of a failure to the task", function()
    local lines = {}
    net.setLogger(function(_, text) lines[#lines + 1] = text end)
    net.request { url = servers.fault.refused .. "/", group = net.group() }
    assert.is_true(net.run(5000))
    assert.equal(1, #lines)
    assert.matches("nobody handles it", lines[1])
  end)

  it("takes tasks and nothing else", function()
    local group = net.group()
    for _, value in ipairs { 5, "x", {}, io.stdout, net.all {}, group } do
      assert.is_false(pcall(group.add, group, value))
    end
    assert.is_false(pcall(group.add, group))
    assert.has_error(function() group:add(5) end,
      "bad argument #1 to 'add' (a task expected, got number)")
    for _, name in ipairs { "add", "abort", "await" } do
      assert.is_false(pcall(group[name], {}, net.sleep(0)))
    end
    assert.equal("nettask.Group (0)", tostring(group))
  end)

  it("as an option has to be one", function()
    for _, api in ipairs { "request", "downloadFile", "uploadFile",
      "connectSocket" } do
      net[api] { url = ok_url(), group = {}, fail = expect(1, function(err)
        assert.equal(api .. ":fail parameter error: parameter.group should be"
          .. " Group instead of Object;", err.errMsg)
        assert.equal(1001, err.errno)
      end) }
      net[api] { url = ok_url(), group = "x", fail = expect(1, function(err)
        assert.equal(1001, err.errno)
      end) }
    end
    run_until_met()
  end)
end)
