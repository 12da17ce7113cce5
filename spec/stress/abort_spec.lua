-- 20,000 requests that are aborted, at every moment of their life: memory must
-- stay where it is.

local helper = require "helper"
local residue = require "support.residue"
local states = require "support.states"

local net = helper.net
local fault = helper.servers.fault

local BATCH = 8

describe("a storm of aborts", function()
  after_each(states.verify)

  local ends, aborts = 0, 0

  local function on_fail(res)
    ends = ends + 1
    if res.errno == 1 then aborts = aborts + 1 end
  end

  local function on_success()
    ends = ends + 1
  end

  local function options(url, more)
    more = more or {}
    more.url, more.fail, more.success = url, on_fail, on_success
    return more
  end

  local key = states.key("storm")
  local kinds = {
    function() return options(fault.blackhole .. "/") end,
    function() return options(fault.silent .. "/") end,
    function() return options(fault.http .. "/wait?key=" .. key) end,
    function() return options(fault.http .. "/never-body") end,
    function() return options(fault.refused .. "/") end,
    function() return options("http://127.0.0.1:0x/") end,
    function() return options(fault.http .. "/") end,
    function()
      return options(fault.http .. "/stream?chunks=100&key=" .. key,
        { enableChunked = true })
    end,
    function()
      return options(fault.http .. "/raw", { method = "POST",
        data = { list = { 1, 2, 3 } }, header = { ["X-Key"] = "v" } })
    end,
  }

  local number = 0

  -- A few at once, each of another kind, aborted after 0 to 3 frames.
  local function batch()
    local tasks = {}
    for i = 1, BATCH do
      number = number + 1
      tasks[i] = net.request(kinds[number % #kinds + 1]())
      tasks[i]:onHeadersReceived(function() end)
    end
    for _ = 1, number / BATCH % 4 do
      net.wait(1)
      net.update()
    end
    local started = ends
    for i = 1, BATCH do tasks[i]:abort() end
    assert(ends == started, "a callback inside abort()")
    assert(net.run(5000 * helper.slow))
  end

  it("leaves nothing behind", function()
    residue.mark() -- what a process opens once
    residue.close()
    local descriptors = residue.descriptors()
    residue.measured(math.max(100, helper.rounds(20000) / BATCH), batch)
    assert.equal(number, ends)
    -- Some of them had ended before.
    assert.is_true(aborts > number / 3)
    residue.check_stats()
    residue.close() -- with the connections that are kept
    assert.is_true(residue.descriptors(descriptors) <= descriptors)
  end)
end)
