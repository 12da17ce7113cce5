-- Interceptors: the order of the links, what they may do with the options and
-- with the result, and that the task of the call is one like any other.

local helper = require "helper"

local core = require "nettask.core"
local net, servers = helper.net, helper.servers
local demo, fault = servers.demo, servers.fault

describe("interceptors", function()
  local lines

  before_each(function()
    lines = {}
    net.setLogger(function(level, text)
      lines[#lines + 1] = level .. " " .. text
    end)
  end)

  after_each(function()
    net.cleanInterceptors()
    net.setLogger(nil)
    net.configure { dialect = "wx" }
    helper.verify()
    assert.equal(0, net.stats().live)
  end)

  local function add(...)
    for _, f in ipairs { ... } do net.addInterceptor(f) end
  end

  local function fetch(options)
    if not options.url then options.url = demo .. "/echo" end
    return helper.fetch(options)
  end

  -- A link that only passes on.
  local function pass(chain)
    return chain:proceed(chain.requestParams)
  end

  -- ---- The list -------------------------------------------------------------

  it("#82 addInterceptor puts a function before each request", function()
    local seen = {}
    add(function(chain)
      seen[#seen + 1] = chain.requestParams.url
      return chain:proceed(chain.requestParams)
    end)
    for i = 1, 2 do
      local record = fetch { url = demo .. "/echo?" .. i }
      assert.equal(200, record.success.statusCode)
      assert.equal(tostring(i), record.success.data.query)
    end
    assert.same({ demo .. "/echo?1", demo .. "/echo?2" }, seen)
  end)

  it("#82 takes functions alone", function()
    for _, wrong in ipairs { 1, "f", {}, true } do
      assert.has_error(function() net.addInterceptor(wrong) end)
    end
    local ok, message = pcall(net.addInterceptor)
    assert.is_false(ok)
    assert.matches("bad argument #1 to 'addInterceptor'", message)
  end)

  it("#83 the first is outermost: out first, back last", function()
    local order = {}
    local function link(name)
      return function(chain)
        order[#order + 1] = "out " .. name
        return chain:proceed(chain.requestParams):next(function(res)
          order[#order + 1] = "back " .. name
          return res
        end)
      end
    end
    add(link "a", link "b", link "c")
    fetch {}
    assert.same({ "out a", "out b", "out c", "back c", "back b", "back a" },
      order)
  end)

  it("#83 the same one twice runs twice", function()
    local count = 0
    local function link(chain)
      count = count + 1
      return chain:proceed(chain.requestParams)
    end
    add(link, link)
    fetch {}
    assert.equal(2, count)
  end)

  it("#89 cleanInterceptors takes all away, the built-in too", function()
    add(net.interceptors.logInterceptor, function() error "never called" end)
    net.cleanInterceptors()
    assert.equal(200, fetch({}).success.statusCode)
    assert.same({}, lines)
  end)

  it("#89 leaves calls alone that have begun", function()
    local went_back = false
    add(function(chain)
      return chain:proceed(chain.requestParams):next(function(res)
        went_back = true
        return res
      end)
    end)
    local record = helper.start { url = demo .. "/echo" }
    net.cleanInterceptors()
    helper.finish(record)
    assert.is_true(went_back)
    went_back = false
    fetch {}
    assert.is_false(went_back)
  end)

  it("one that is added by another is for the next call", function()
    local count = 0
    add(function(chain)
      net.addInterceptor(function(inner)
        count = count + 1
        return pass(inner)
      end)
      return pass(chain)
    end)
    fetch {}
    assert.equal(0, count)
    fetch {}
    assert.equal(1, count)
  end)

  it("downloads and uploads have none", function()
    add(function() error "never called" end)
    local record = helper.finish(helper.begin("downloadFile",
      { url = demo .. "/bytes/10" }))
    assert.equal(10, record.success.dataLength)
    record = helper.finish(helper.begin("uploadFile", { url = demo .. "/upload",
      files = { { name = "a", data = "bytes" } } }))
    assert.equal(200, record.success.statusCode)
  end)

  -- ---- What a link sees -----------------------------------------------------

  it("#84 requestParams has what was given, and nothing else", function()
    local given = { url = demo .. "/echo", data = { a = 1 }, method = "POST",
      header = { ["X-A"] = "b" }, success = function() end }
    local seen
    add(function(chain)
      seen = {}
      for name, value in pairs(chain.requestParams) do seen[name] = value end
      return pass(chain)
    end)
    net.request(given)
    assert(net.run(5000))
    assert.same({ url = given.url, data = given.data, method = "POST",
      header = given.header }, seen)
  end)

  it("#84 changes reach the inner links, not the caller", function()
    local given = { url = demo .. "/echo", data = { a = 1 } }
    add(function(chain)
      chain.requestParams.method = "POST"
      chain.requestParams.data = { b = 2 }
      return chain:proceed(chain.requestParams)
    end, function(chain)
      assert(chain.requestParams.method == "POST")
      return pass(chain)
    end)
    local task = net.request(given)
    local res
    task:next(function(result) res = result end)
    assert(net.run(5000))
    assert.equal("POST", res.data.method)
    assert.equal('{"b":2}', res.data.body)
    assert.same({ url = demo .. "/echo", data = { a = 1 } }, given)
  end)

  it("#84 is also called requestParmas", function()
    local other = { url = demo .. "/echo?other" }
    local same, listed
    add(function(chain)
      same = rawequal(chain.requestParams, chain.requestParmas)
      for name in pairs(chain) do
        if name == "requestParmas" then listed = true end
      end
      chain.requestParmas = other
      return chain:proceed()
    end)
    assert.equal("other", fetch({}).success.data.query)
    assert.is_true(same)
    assert.is_nil(listed)
  end)

  it("what the caller leaves out may come from a link", function()
    add(function(chain)
      local params = chain.requestParams
      params.url = demo .. params.path
      params.path = nil
      return chain:proceed(params)
    end)
    local record = helper.finish(helper.begin("request",
      { path = "/echo?found" }))
    assert.equal("found", record.success.data.query)
  end)

  it("what is wrong is found when the links have seen it", function()
    add(pass)
    local record = helper.finish(helper.begin("request", { url = 5 }))
    helper.check_failure(record, "parameter error: parameter.url should be"
      .. " String instead of Number;", 1001, -1)
    assert.has_error(function() net.request("url") end)
  end)

  it("what is wrong with the caller's own options is found at once", function()
    add(function() error "never called" end)
    for name, case in pairs {
      success = { "x", "Function instead of String" },
      fail = { 1, "Function instead of Number" },
      complete = { {}, "Function instead of Object" },
      signal = { {}, "AbortSignal instead of Object" },
      group = { "x", "Object instead of String" },
    } do
      local err
      net.request { url = demo .. "/echo", [name] = case[1] }
        :catch(function(reason) err = reason end)
      assert(net.run(5000))
      assert.equal(("request:fail parameter error: parameter.%s should be %s;")
        :format(name, case[2]), err.errMsg)
      assert.equal(1001, err.errno)
    end
  end)

  it("shows where in the chain it is", function()
    local seen = {}
    local function link(chain)
      seen[#seen + 1] = { chain.index, #chain.interceptors }
      return pass(chain)
    end
    add(link, link)
    fetch {}
    assert.same({ { 1, 3 }, { 2, 3 } }, seen)
  end)

  -- ---- proceed --------------------------------------------------------------

  it("#85 chain.proceed continues, returns promise", function()
    local methods, outer
    add(function(chain)
      local p = chain:proceed(chain.requestParams)
      outer = type(p.next) .. type(p.catch) .. type(p["finally"])
        .. type(p.await) .. type(p.abort)
      return p
    end, function(chain)
      local p = chain:proceed(chain.requestParams)
      methods = type(p.next) .. type(p.catch) .. type(p["finally"])
        .. type(p.await) .. type(p.abort)
      return p
    end)
    assert.equal(200, fetch({}).success.statusCode)
    assert.equal(("function"):rep(5), methods)
    assert.equal(("function"):rep(5), outer)
  end)

  it("#85 with a dot as well, and without params", function()
    add(function(chain) return chain.proceed(chain.requestParams) end,
      function(chain) return chain.proceed() end,
      function(chain) return chain:proceed() end)
    assert.equal(200, fetch({}).success.statusCode)
  end)

  it("#85 raises for anything but a table", function()
    local message
    add(function(chain)
      local ok, err = pcall(chain.proceed, chain, "url")
      message = not ok and err
      return pass(chain)
    end)
    fetch {}
    assert.matches("bad argument #1 to 'proceed'", message)
  end)

  it("#85 raises past the end", function()
    add(function(chain)
      chain.index = #chain.interceptors
      return chain:proceed(chain.requestParams)
    end)
    local res = fetch({}).fail
    assert.matches("^request:fail .*no link behind the last one", res.errMsg)
    assert.equal(600004, res.errno)
  end)

  it("#85 a link may proceed more than once", function()
    add(function(chain)
      local params = chain.requestParams
      return chain:proceed(params):next(function(first)
        params.data = { after = first.data.query }
        return chain:proceed(params)
      end)
    end)
    local record = fetch { data = { n = 1 } }
    assert.equal("after=n%3D1", record.success.data.query)
  end)

  it("a link that does not proceed answers itself", function()
    local answers = {
      { { statusCode = 304, data = "cached" } },
      { { errMsg = "request:ok from afar" } },
      { nil },
      { "text" },
      { false },
      { 42 },
    }
    local index
    add(function() return answers[index][1] end, function()
      error "never reached"
    end)
    for i = 1, #answers do
      index = i
      local record = fetch {}
      assert.is_nil(record.fail)
      if type(answers[i][1]) == "table" then
        assert.is_true(rawequal(answers[i][1], record.success))
      elseif i ~= 3 then
        assert.equal(answers[i][1], record.success)
      end
      assert.equal("complete", record.order[2])
    end
    assert.equal("request:ok", answers[1][1].errMsg)
    assert.equal("request:ok from afar", answers[2][1].errMsg)
    index = 3
    assert.same({ errMsg = "request:ok" }, fetch({}).success)
  end)

  it("no callback runs inside of the call", function()
    add(function() return { data = 1 } end)
    local called = false
    local task = net.request { url = demo, success = function()
      called = true
    end }
    assert.is_false(called)
    assert.equal("function", type(task.abort))
    helper.run_until(function() return called end)
  end)

  -- ---- The way back ---------------------------------------------------------

  it("#86 response changed on the way back", function()
    add(function(chain)
      return chain:proceed(chain.requestParams):next(function(res)
        res.data = res.data.method .. "!"
        return res
      end)
    end)
    local record = fetch {}
    assert.equal("GET!", record.success.data)
    assert.is_true(rawequal(record.success, record.complete))
  end)

  it("#86 a failure becomes a success, and a success a failure", function()
    add(function(chain)
      return chain:proceed(chain.requestParams):next(function(res)
        if res.statusCode == 404 then
          error({ errMsg = "request:fail no such thing", errno = 404 })
        end
        return res
      end, function(err)
        return { data = "instead of " .. err.errMsg }
      end)
    end)
    local record = fetch { url = demo .. "/status/404" }
    assert.equal("request:fail no such thing", record.fail.errMsg)
    assert.equal(404, record.fail.errno)
    record = fetch { url = fault.refused .. "/" }
    assert.equal("instead of request:fail -102:net::ERR_CONNECTION_REFUSED",
      record.success.data)
  end)

  it("a link may await", function()
    add(function(chain)
      local res = assert(chain:proceed(chain.requestParams):await())
      res.data = "awaited " .. res.data.method
      return res
    end, function(chain)
      local res, err = chain:proceed(chain.requestParams):await()
      assert(not err)
      return res
    end)
    assert.equal("awaited GET", fetch({}).success.data)
  end)

  it("a link may wait for another request first", function()
    add(function(chain)
      local params = chain.requestParams
      if params.token then
        params.token = nil
        return chain:proceed(params)
      end
      -- Its own call goes through the chain too.
      return net.request { url = demo .. "/json", token = true }
        :next(function(res)
          params.header = { ["X-Token"] = res.data.hello }
          return chain:proceed(params)
        end)
    end)
    local record = fetch { url = demo .. "/echo?names=x-token" }
    assert.is_truthy(core.jsonEncode(record.success.data.headers)
      :find("wörld", 1, true))
  end)

  it("a link may go on with other options when it knows more", function()
    add(function(chain)
      return chain:proceed(chain.requestParams):next(function()
        return chain:proceed { url = demo .. "/json" }
      end)
    end)
    assert.equal("wörld", fetch({}).success.data.hello)
  end)

  it("an interceptor raised: its message, 600004", function()
    local raised = {
      { function() error("out of ink", 0) end, "out of ink" },
      { function() error({ message = "in a table" }) end, "in a table" },
      { function() error(setmetatable({}, { __tostring = function()
        return "by tostring"
      end })) end, "by tostring" },
      { function() error(setmetatable({}, { __tostring = function()
        error "no"
      end, __index = function() error "no" end })) end,
        "an error that has no text" },
    }
    for _, case in ipairs(raised) do
      net.cleanInterceptors()
      add(pass, case[1])
      local record = fetch {}
      helper.check_failure(record, case[2], 600004, -1)
      assert.is_false(record.fail.useHttpDNS)
      assert.same({ retryCount = 0, reasons = {} }, record.fail.exception)
    end
  end)

  it("one that raised a result, whatever its other fields are", function()
    add(function()
      error(setmetatable({ errMsg = "request:fail odd" }, {
        __index = function() error "no such field" end,
      }))
    end)
    local record = fetch {}
    assert.equal("request:fail odd", record.fail.errMsg)
    assert.same({ "fail", "complete" }, record.order)
  end)

  it("one that raised after it had awaited too", function()
    add(function(chain)
      chain:proceed(chain.requestParams):await()
      error("too late", 0)
    end)
    helper.check_failure(fetch {}, "too late", 600004, -1)
  end)

  it("one that raised on the way back too", function()
    add(function(chain)
      return chain:proceed(chain.requestParams):next(function()
        error("upset", 0)
      end)
    end)
    helper.check_failure(fetch {}, "upset", 600004, -1)
  end)

  it("one that yields to nobody does not hang", function()
    add(function(chain)
      coroutine.yield()
      return pass(chain)
    end)
    local res = fetch({}).fail
    assert.matches("nothing but await%(%) may yield here", res.errMsg)
  end)

  it("in the dialect my a failure has its names", function()
    net.configure { dialect = "my" }
    add(function() error("upset", 0) end)
    local res = fetch({}).fail
    assert.equal("upset", res.errorMessage)
    assert.equal("number", type(res.error))
  end)

  it("a thousand links are no more than one", function()
    local order = {}
    for i = 1, 1000 do
      net.addInterceptor(function(chain)
        if i == 500 then order[#order + 1] = i end
        return chain:proceed(chain.requestParams):next(function(res)
          if i % 500 == 0 then order[#order + 1] = i end
          return res
        end)
      end)
    end
    local record = fetch {}
    assert.is_truthy(record.success, record.complete.errMsg)
    assert.same({ 500, 1000, 500 }, order)
  end)

  it("a link that makes requests without end does not go on so", function()
    local count = 0
    add(function()
      count = count + 1
      return net.request { url = demo .. "/echo" }
    end)
    helper.check_failure(fetch {}, "interceptors make requests inside of each"
      .. " other without end", 600004, -1)
    assert.equal(20, count)
  end)

  -- ---- The task -------------------------------------------------------------

  it("a promise of the task hears the final outcome", function()
    add(function(chain)
      return chain:proceed(chain.requestParams):next(function(res)
        res.data = "changed"
        return res
      end)
    end)
    local calls = {}
    local task = net.request { url = demo .. "/echo",
      success = function() calls[#calls + 1] = "success" end }
    task:next(function(res) calls[#calls + 1] = res.data end)
    assert(net.run(5000))
    assert.same({ "success", "changed" }, calls)
  end)

  it("its listeners hear what happens behind the chain", function()
    add(pass, pass)
    local record = fetch { url = demo .. "/json" }
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.equal(200, record.headers[1].statusCode)
  end)

  it("so do those of the inner task, and first", function()
    local order = {}
    add(function(chain)
      local inner = chain:proceed(chain.requestParams)
      inner:onHeadersReceived(function() order[#order + 1] = "inner" end)
      return inner
    end)
    local task = net.request { url = demo .. "/json" }
    local function unwanted() order[#order + 1] = "taken off" end
    task:onHeadersReceived(unwanted)
    task:onHeadersReceived(function() order[#order + 1] = "outer" end)
    task:offHeadersReceived(unwanted)
    assert(net.run(5000))
    assert.same({ "inner", "outer" }, order)
  end)

  it("pieces of a body come to the task, and are not kept", function()
    add(pass)
    local record = fetch { url = demo .. "/chunks/3?size=100&every=5",
      enableChunked = true }
    local bytes = 0
    for _, chunk in ipairs(record.chunks) do bytes = bytes + #chunk end
    assert.equal(300, bytes)
    assert.equal("", record.success.data)
    assert.same({}, lines)
  end)

  it("without listeners they are kept", function()
    add(pass)
    local res
    net.request { url = demo .. "/chunks/3?size=100", enableChunked = true,
      responseType = "arraybuffer", success = function(r) res = r end }
    assert(net.run(5000))
    assert.equal(300, #res.data)
  end)

  it("an error in a listener names the task of the script", function()
    local what
    net.onError(function(_, _, name) what = name end)
    add(pass)
    local task = net.request { url = demo .. "/json" }
    task:onHeadersReceived(function() error "in a listener" end)
    assert(net.run(5000))
    assert.equal(("RequestTask #%d onHeadersReceived"):format(task.id), what)
  end)

  it("shows the state of the request behind the chain", function()
    add(pass)
    local record = helper.start { url = fault.http .. "/never" }
    helper.run_until(function() return record.task.state == "connecting" end)
    assert.matches("%(connecting%)$", tostring(record.task))
    record.task:abort()
    assert.equal("closing", record.task.state)
    helper.finish(record)
    assert.equal("done", record.task.state)
  end)

  it("waits as queued while a link waits", function()
    add(function(chain)
      net.sleep(20):await()
      return pass(chain)
    end)
    local record = helper.start { url = demo .. "/json" }
    assert.equal("queued", record.task.state)
    assert.equal(200, helper.finish(record).success.statusCode)
  end)

  -- ---- Abort ----------------------------------------------------------------

  -- What a link gets to know of the end.
  local function watch(seen)
    return function(chain)
      return chain:proceed(chain.requestParams):next(function(res)
        seen[#seen + 1] = res.errMsg
        return res
      end, function(err)
        seen[#seen + 1] = err.errMsg
        error(err, 0)
      end)
    end
  end

  it("abort() in flight ends the request behind the chain", function()
    local seen = {}
    add(watch(seen), watch(seen))
    local record = helper.start { url = fault.http .. "/never" }
    helper.run_until(function() return record.task.state == "connecting" end)
    local before = net.stats().request
    record.task:abort()
    assert.equal(0, net.stats().request.connecting)
    assert.equal(1, before.connecting)
    helper.check_failure(helper.finish(record), "abort", 1, -3)
    helper.run_until(function() return #seen == 2 end)
    assert.same({ "request:fail abort", "request:fail abort" }, seen)
    record.task:abort()
  end)

  it("abort() in the frame of the call", function()
    local seen = {}
    add(watch(seen))
    local record = helper.start { url = demo .. "/echo" }
    record.task:abort()
    helper.check_failure(helper.finish(record), "abort", 1, -3)
    helper.run_until(function() return #seen == 1 end)
  end)

  it("abort() while a link waits: the request never begins", function()
    local clock, result
    add(function(chain)
      clock = net.sleep(60000)
      clock:await()
      local res, err = chain:proceed(chain.requestParams):await()
      result = res or err
      return result
    end)
    local record = helper.start { url = demo .. "/echo" }
    helper.run_for(5)
    record.task:abort()
    helper.check_failure(helper.finish(record), "abort", 1, -3)
    clock:abort()
    helper.run_until(function() return result ~= nil end)
    assert.equal("request:fail abort", result.errMsg)
    assert.equal(1, result.errno)
  end)

  it("abort() comes before an outcome that was not delivered", function()
    add(function() return { data = "short" } end)
    local record = helper.start { url = demo .. "/echo" }
    record.task:abort()
    helper.check_failure(helper.finish(record), "abort", 1, -3)
  end)

  it("abort() in onHeadersReceived", function()
    add(pass, pass)
    local record
    record = helper.start { url = demo .. "/bytes/100000" }
    local later = 0
    record.task:onHeadersReceived(function() record.task:abort() end)
    record.task:onHeadersReceived(function() later = later + 1 end)
    helper.check_failure(helper.finish(record), "abort", 1, -3)
    assert.equal(0, later)
  end)

  it("abort{silent=true} calls nobody", function()
    add(pass)
    local task = net.request { url = fault.http .. "/never",
      success = helper.never "success", fail = helper.never "fail",
      complete = helper.never "complete" }
    helper.run_until(function() return task.state == "connecting" end)
    task:abort { silent = true }
    assert(net.run(5000))
  end)

  it("a silent abort behind a link leaves nobody waiting", function()
    local group
    local function into_group(chain)
      chain.requestParams.group = group
      return chain:proceed(chain.requestParams)
    end
    local ways = {
      into_group,
      function(chain) return (into_group(chain):await()) end,
      function(chain)
        return into_group(chain):next(function(res) return res end)
          :catch(error):finally(error)
      end,
      function(chain)
        local p = into_group(chain):next(function(res) return res end)
        return net.sleep(50):next(function() return p end)
      end,
      function(chain)
        return net.all { net.sleep(20), into_group(chain), net.sleep(0) }
      end,
      function(chain)
        return net.race { into_group(chain), into_group(chain) }
      end,
    }
    for _, way in ipairs(ways) do
      net.cleanInterceptors()
      group = net.group()
      add(net.interceptors.timeoutInterceptor, pass, way)
      local record = helper.start { url = fault.http .. "/never" }
      helper.run_until(function()
        return record.task.state == "connecting"
      end)
      group:abort { silent = true }
      helper.check_failure(helper.finish(record), "abort", 1, -3)
      assert(net.run(5000), "a clock runs on")
    end
  end)

  it("a signal and a group end it like any other", function()
    add(pass, pass)
    local controller, group = net.AbortController(), net.group()
    local first = helper.start { url = fault.http .. "/never",
      signal = controller.signal }
    local second = helper.start { url = fault.http .. "/never", group = group }
    helper.run_until(function()
      return net.stats().request.connecting == 2
    end)
    controller:abort()
    assert.equal(1, net.stats().request.connecting)
    helper.check_failure(helper.finish(first), "abort", 1, -3)
    assert.is_false(second.done)
    group:abort()
    assert.equal(0, net.stats().request.connecting)
    helper.check_failure(helper.finish(second), "abort", 1, -3)
  end)

  it("a signal that was given before begins no chain", function()
    local controller = net.AbortController()
    controller:abort()
    add(function() error "never called" end)
    helper.check_failure(fetch { signal = controller.signal }, "abort", 1, -3)
  end)

  it("a link may give a signal of its own", function()
    local controller = net.AbortController()
    add(function(chain)
      chain.requestParams.signal = controller.signal
      return pass(chain):catch(function(err)
        return { data = "instead of " .. err.errMsg }
      end)
    end)
    local record = helper.start { url = fault.http .. "/never" }
    helper.run_until(function() return record.task.state == "connecting" end)
    controller:abort()
    assert.equal("instead of request:fail abort",
      helper.finish(record).success.data)
  end)

  it("a link that gives up aborts what is behind it", function()
    local began
    add(function(chain)
      local p = chain:proceed(chain.requestParams)
      began = net.stats().live
      p:abort()
      return p
    end, pass)
    local record = fetch { url = fault.http .. "/never" }
    helper.check_failure(record, "abort", 1, -3)
    assert.equal(2, began)
  end)

  it("a request that goes on behind an early answer is not heard", function()
    local late
    add(function(chain)
      chain:proceed(chain.requestParams):next(function(res) late = res end)
      return { data = "early" }
    end)
    local record = fetch { url = demo .. "/delay/50" }
    assert.equal("early", record.success.data)
    helper.run_until(function() return late end)
    assert.equal(200, late.statusCode)
    assert.same({ "success", "complete" }, record.order)
  end)

  it("close() ends all of it without a word", function()
    add(pass, function(chain)
      net.sleep(60000):await()
      return pass(chain)
    end)
    net.request { url = demo .. "/echo", complete = helper.never "complete" }
    helper.run_for(5)
    net.close()
    assert.equal(0, net.stats().live)
    net.cleanInterceptors()
    assert.equal(200, fetch({}).success.statusCode)
  end)

  it("close() lets go of the links that wait", function()
    local weak = setmetatable({}, { __mode = "k" })
    add(pass, function(chain)
      weak[coroutine.running()] = true
      return (pass(chain):await())
    end)
    net.request { url = fault.http .. "/never" }
    helper.run_for(5)
    assert.is_truthy(next(weak))
    net.close()
    net.cleanInterceptors()
    for _ = 1, 3 do collectgarbage() end
    assert.is_nil(next(weak))
  end)

  it("a failure that nobody handles is logged once", function()
    add(pass)
    net.request { url = fault.refused .. "/" }
    assert(net.run(5000))
    assert.equal(1, #lines)
    assert.matches("^warn request .* failed, and nobody handles it", lines[1])
  end)

  -- ---- Built in -------------------------------------------------------------

  it("#87 logInterceptor tells what goes out and comes back", function()
    add(net.interceptors.logInterceptor)
    fetch { url = demo .. "/json", data = { a = 1 } }
    fetch { url = fault.refused .. "/", method = "POST", data = "text" }
    assert.equal(("info http GET --> %s/json data: {\"a\":1}"):format(demo),
      lines[1])
    assert.matches("^info http <%-%- " .. (demo:gsub("%p", "%%%0"))
      .. "/json result: 200 {.*wörld", lines[2])
    assert.equal(("info http POST --> %s/ data: text"):format(fault.refused),
      lines[3])
    assert.equal(("info http <-- %s/ result: request:fail"
      .. " -102:net::ERR_CONNECTION_REFUSED"):format(fault.refused), lines[4])
    assert.equal(4, #lines)
  end)

  it("#87 logInterceptor cuts what is long, counts what is binary", function()
    add(net.interceptors.logInterceptor)
    fetch { url = demo .. "/bytes/5000", responseType = "arraybuffer",
      method = "POST", data = ("x"):rep(5000) }
    assert.is_true(#lines[1] < 1200)
    assert.matches("%.%.%.$", lines[1])
    assert.matches("result: 200 5000 bytes$", lines[2])
  end)

  it("#88 timeoutInterceptor ends what takes too long", function()
    add(net.interceptors.timeoutInterceptor, function(chain)
      chain.requestParams.timeout = nil -- 60 s for the request itself
      return pass(chain)
    end)
    local began = helper.now()
    local record = fetch { url = fault.http .. "/never", timeout = 50 }
    helper.check_failure(record, "timeout", 5, -7)
    assert.is_true(helper.now() - began >= 49)
    assert(net.run(5000)) -- the inner one was aborted
  end)

  it("#88 timeoutInterceptor lets others pass, and leaves no clock", function()
    add(net.interceptors.timeoutInterceptor)
    assert.equal(200, fetch({ timeout = 60000 }).success.statusCode)
    assert.matches("REFUSED", fetch({ url = fault.refused .. "/" }).fail.errMsg)
    local record = helper.start { url = fault.http .. "/never" }
    helper.run_until(function() return record.task.state == "connecting" end)
    record.task:abort()
    helper.check_failure(helper.finish(record), "abort", 1, -3)
    assert(net.run(5000), "a clock runs on")
  end)

  -- ---- Life -----------------------------------------------------------------

  it("survives a collector while it waits", function()
    add(function(chain)
      local res = chain:proceed(chain.requestParams):await()
      collectgarbage()
      return res
    end)
    local got
    net.request { url = demo .. "/delay/20", success = function(res)
      got = res
    end }
    for _ = 1, 3 do
      collectgarbage()
      helper.run_for(2)
    end
    assert(net.run(5000))
    assert.equal(200, got.statusCode)
  end)

  it("keeps no call alive that has ended", function()
    local weak = setmetatable({}, { __mode = "k" })
    add(function(chain)
      weak[chain] = true
      return pass(chain)
    end)
    for _ = 1, 5 do
      local task = net.request { url = demo .. "/echo" }
      weak[task] = true
    end
    assert(net.run(5000))
    for _ = 1, 3 do collectgarbage() end
    assert.is_nil(next(weak))
  end)
end)
