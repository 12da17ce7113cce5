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
      -- The first half shows how much memory is right.
      local rounds = math.max(10, helper.rounds(1000) / 2)
      for _ = 1, rounds do round() end
      local descriptors = descriptors_now()
      local resident, heap = residue.resident(), residue.heap()
      for _ = 1, rounds do round() end
      assert.equal(descriptors, descriptors_now(descriptors))
      local own = residue.OWN_THREADS
      assert.equal(own, residue.threads(own))
      assert.is_true(residue.heap() - heap < 64, "the Lua heap grows")
      local grown = residue.resident() - resident
      -- What the allocators hold in reserve, a body or two of an upload.
      local reserve = (name == "uploading" and 40 or 8) * 1024
      assert.is_true(residue.SANITIZED or grown < reserve,
        ("resident memory grew by %d KiB"):format(grown))
      local record = helper.fetch { url = helper.servers.fault.http .. "/" }
      assert.equal("request:ok", record.complete.errMsg)
    end)
  end
end)
