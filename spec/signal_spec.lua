-- AbortController, and the option signal.

local helper = require "helper"

local net, servers = helper.net, helper.servers
local never, run_until_met = helper.never, helper.run_until_met

local function expect(...)
  return (helper.expect(...))
end

describe("an abort signal", function()
  after_each(function()
    net.setLogger(nil)
    helper.verify()
  end)

  local function silent_url()
    return servers.fault.silent .. "/"
  end

  local function was_aborted(api)
    return function(err)
      assert.equal(api .. ":fail abort", err.errMsg)
      assert.equal(1, err.errno)
      assert.equal(-3, err.errCode)
    end
  end

  local calls = {
    request = function(options) return net.request(options) end,
    downloadFile = function(options) return net.downloadFile(options) end,
    uploadFile = function(options)
      options.files = { { name = "a", data = "b" } }
      return net.uploadFile(options)
    end,
  }

  it("#71 ends a task in flight", function()
    for api, call in pairs(calls) do
      local controller = net.AbortController()
      local task = call { url = silent_url(), signal = controller.signal,
        success = never(), fail = expect(1, was_aborted(api)),
        complete = expect(1, was_aborted(api)) }
      task:next(never(), expect(1, was_aborted(api)))
      helper.run_for(5)
      controller:abort()
      assert.equal("closing", task.state)
      run_until_met()
    end
  end)

  it("#71 ends it in the middle of an answer", function()
    local controller = net.AbortController()
    local task = net.request { url = servers.demo .. "/stream?bytes=10000000",
      enableChunked = true, signal = controller.signal, success = never(),
      fail = expect(1, was_aborted "request") }
    local chunks = 0
    task:onChunkReceived(function()
      chunks = chunks + 1
      controller:abort()
    end)
    run_until_met()
    assert.equal(1, chunks)
  end)

  it("#71 ends all tasks that have it", function()
    local controller = net.AbortController()
    for _ = 1, 20 do
      net.request { url = silent_url(), signal = controller.signal,
        fail = expect(1, was_aborted "request") }
    end
    net.sleep(5):next(function() controller:abort() end)
    run_until_met()
  end)

  it("#72 that was given already lets nothing begin", function()
    local controller = net.AbortController()
    net.close() -- what others have begun does not count
    controller:abort("why")
    for api, call in pairs(calls) do
      local task = call { url = servers.fault.http .. "/?unseen",
        signal = controller.signal, success = never(),
        fail = expect(1, was_aborted(api)),
        complete = expect(1, was_aborted(api)) }
      assert.equal("closing", task.state)
      task:catch(expect(1, was_aborted(api)))
    end
    run_until_met()
    helper.run_for(5)
    assert.equal(0, net.stats().bytesOut)
  end)

  it("#72 is told in a later update, whatever interceptors there are",
    function()
      local controller = net.AbortController()
      controller:abort()
      net.addInterceptor(never())
      local seen
      net.request { url = silent_url(), signal = controller.signal,
        fail = function(err) seen = err end }
      net.cleanInterceptors()
      assert.is_nil(seen)
      net.update()
      was_aborted "request"(seen)
    end)

  it("reaches what stands behind interceptors", function()
    local controller = net.AbortController()
    net.addInterceptor(function(chain)
      assert.is_nil(chain.requestParams.signal)
      return chain:proceed(chain.requestParams)
    end)
    local task = net.request { url = silent_url(), signal = controller.signal,
      fail = expect(1, was_aborted "request") }
    net.cleanInterceptors()
    helper.run_for(5)
    controller:abort()
    assert.equal("closing", task.state)
    run_until_met()
  end)

  it("leaves the time-out as it is", function()
    local controller = net.AbortController()
    net.request { url = silent_url(), signal = controller.signal, timeout = 30,
      fail = expect(1, function(err)
        assert.equal("request:fail timeout", err.errMsg)
        assert.equal(5, err.errno)
      end) }
    run_until_met()
    controller:abort()
  end)

  it("does nothing to what has ended", function()
    local controller = net.AbortController()
    net.request { url = servers.fault.http .. "/", fail = never(),
      signal = controller.signal, success = expect(1, function()
        controller:abort()
      end), complete = expect(1) }
    run_until_met()
    controller:abort()
    assert.is_true(controller.signal.aborted)
  end)

  it("does not keep tasks that have ended", function()
    local controller = net.AbortController()
    local weak = setmetatable({}, { __mode = "k" })
    for _ = 1, 10 do
      for _ = 1, 100 do
        weak[net.request { signal = controller.signal,
          fail = function() end }] = true
      end
      net.update()
    end
    collectgarbage()
    collectgarbage()
    local kept = 0
    for _ in pairs(weak) do kept = kept + 1 end
    assert.is_true(kept <= 256, kept)
  end)

  -- ---- Listeners ------------------------------------------------------------

  it("tells its listeners inside of abort(), once, in order", function()
    local controller = net.AbortController()
    local signal = controller.signal
    local seen = {}
    local function listener(name)
      return function(reason)
        seen[#seen + 1] = name .. reason
        assert.is_true(signal.aborted)
      end
    end
    local first, gone = listener "first ", listener "gone "
    signal:onabort(first)
    signal:onabort(gone)
    signal:onabort(first)
    signal:onabort(listener "second ")
    signal:offabort(gone)
    assert.is_false(signal.aborted)
    controller:abort("over")
    assert.same({ "first over", "second over" }, seen)
    assert.equal("over", signal.reason)
    controller:abort("again")
    assert.equal(2, #seen)
    assert.equal("over", signal.reason)
    local quiet = net.AbortController()
    quiet.signal:onabort(never())
    quiet.signal:offabort()
    quiet:abort()
    assert.is_true(quiet.signal.aborted)
  end)

  it("tells the others when one raises, and onError of that", function()
    local errors = {}
    net.onError(function(err, traceback, what)
      errors[#errors + 1] = { err, traceback, what }
    end)
    local controller = net.AbortController()
    controller.signal:onabort(function() error { code = 3 } end)
    controller.signal:onabort(expect(1))
    controller:abort()
    assert.equal(1, #errors)
    assert.equal(3, errors[1][1].code)
    assert.matches("signal_spec", errors[1][2])
    assert.equal("AbortSignal onabort", errors[1][3])
  end)

  it("may be used by its listeners and by callbacks again", function()
    local controller = net.AbortController()
    local signal = controller.signal
    signal:onabort(expect(1, function()
      controller:abort()
      signal:onabort(never())
      net.request { url = silent_url(), signal = signal,
        fail = expect(1, was_aborted "request") }
    end))
    net.request { url = silent_url(), signal = signal,
      fail = expect(1, function() controller:abort() end) }
    controller:abort()
    run_until_met()
  end)

  -- ---- Wrong use ------------------------------------------------------------

  it("as an option has to be one", function()
    local controller = net.AbortController()
    for api, call in pairs(calls) do
      for _, value in ipairs { {}, controller } do
        call { url = silent_url(), signal = value,
          fail = expect(1, function(err)
            assert.equal(api .. ":fail parameter error: parameter.signal should"
              .. " be AbortSignal instead of Object;", err.errMsg)
          end) }
      end
      call { url = silent_url(), signal = "x", fail = expect(1) }
    end
    run_until_met()
  end)

  it("is no option that is logged as unknown or ignored", function()
    local lines = {}
    net.setLogger(function(_, text) lines[#lines + 1] = text end)
    net.request { url = servers.fault.http .. "/", group = net.group(),
      signal = net.AbortController().signal, success = expect(1) }
    run_until_met()
    assert.same({}, lines)
  end)

  it("has methods that check what they get", function()
    local controller = net.AbortController()
    local signal = controller.signal
    assert.is_false(pcall(signal.onabort, signal))
    assert.is_false(pcall(signal.onabort, signal, 5))
    assert.is_false(pcall(signal.onabort, {}, print))
    assert.is_false(pcall(signal.offabort, {}, print))
    assert.is_false(pcall(signal.offabort))
    assert.is_false(pcall(controller.abort))
    assert.is_false(pcall(controller.abort, {}))
    assert.has_error(function() signal:onabort(5) end,
      "bad argument #1 to 'onabort' (function expected, got number)")
    assert.is_false(signal.aborted)
  end)
end)
