-- Closing and opening again, 1,000 times in every state of a request: nothing
-- of a context may stay behind.

local helper = require "helper"
local residue = require "support.residue"
local states = require "support.states"

local net = helper.net

-- The shell that counts may see both ends of its pipe on a busy machine: the
-- least of some counts, as soon as it is down to `wanted`.
local function descriptors_now(wanted)
  local least = math.huge
  for i = 1, 50 do
    least = math.min(least, residue.descriptors())
    if least <= (wanted or 0) or (not wanted and i == 5) then break end
  end
  return least
end

describe("close and open again", function()
  after_each(states.verify)

  for _, name in ipairs(states.names) do
    it("while a request is " .. name, function()
      local function round()
        local record = states.enter(name)
        local calls = #record.order
        net.close(5000)
        net.update()
        assert(#record.order == calls, "a callback after close()")
        assert(record.task.state == "done")
      end
      round()
      local descriptors = descriptors_now()
      residue.measured(math.max(20, helper.rounds(1000)), round)
      assert.equal(descriptors, descriptors_now(descriptors))
      local own = residue.OWN_THREADS
      assert.equal(own, residue.threads(own))
      local record = helper.fetch { url = helper.servers.fault.http .. "/" }
      assert.equal("request:ok", record.complete.errMsg)
    end)
  end
end)
