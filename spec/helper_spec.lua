-- The helper itself: that what it is to notice does make a test fail.

local helper = require "helper"
local servers = helper.servers

describe("helper", function()
  after_each(helper.verify)

  local function fails(pattern, fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok)
    assert.matches(pattern, err)
  end

  it("runs a request to its end", function()
    local record = helper.fetch { url = servers.fault.http .. "/" }
    assert.equal(200, record.success.statusCode)
    assert.equal(record.success, record.complete)
    assert.same({ "headers", "success", "complete" }, record.order)
  end)

  it("fails at the deadline", function()
    local function never() end
    fails("deadline of %d+ ms passed while waiting for Godot",
      helper.run_until, never, 20, "Godot")
  end)

  it("fails on an error in a callback", function()
    fails("in a callback: .*boom", helper.fetch, {
      url = servers.fault.http .. "/",
      success = function()
        error("boom")
      end,
    })
  end)

  it("fails on missing and on extra calls", function()
    helper.expect(1)
    fails("called 0 times instead of 1", helper.verify)
    local once = helper.expect(1, nil, "once")
    once()
    once()
    fails("once: called 2 times instead of 1", helper.verify)
    helper.never()()
    fails("called 1 times instead of 0", helper.verify)
  end)

  it("fails when a task does not end", function()
    local key = "helper-" .. helper.now()
    local record = helper.start {
      url = servers.fault.http .. "/wait?key=" .. key,
    }
    fails("still in flight", helper.verify, 50)
    record.task:abort()
  end)

  it("runs other programs and tells how they ended", function()
    local result = helper.lua([[
      print(require("nettask")._VERSION, ...)
      io.stderr:write("to stderr")
      os.exit(5)]], "a b", "c'd")
    assert.equal(5, result.status)
    assert.matches("^nettask %S+\ta b\tc'd\n$", result.out)
    assert.equal("to stderr", result.err)
    result = helper.python("import os; os.kill(os.getpid(), 9)")
    assert.equal(137, result.status)
  end)

  it("has a network where no name resolves in time", function()
    local result = helper.netns [[
      local helper = require "helper"
      local hangs = helper.start { url = "http://name.example/" }
      local other = helper.fetch { url = helper.servers.fault.http .. "/" }
      assert(other.success, other.complete.errMsg)
      assert(not hangs.done, "the lookup ended")
      hangs.task:abort()
      helper.verify()
      print(hangs.fail.errMsg)]]
    assert.equal("", result.err)
    assert.equal("request:fail abort\n", result.out)
  end)
end)
