-- Hostile URLs and addresses, in a network of their own with a real resolver:
-- what a script under a policy tries to reach, over every kind of task.
--
-- The cases stand in support/hostile_cases.lua; support/hostile.py is the
-- network, and knows of every packet that a case sent.

local hostile = require "support.hostile"

local said

local function result_of(name)
  if not said then
    said = {} -- also if that raises: not again for each
    said = hostile.run()
  end
  return said[name]
end

describe("what a policy lets a script reach", function()
  for _, case in ipairs(hostile.list()) do
    it(case.title, function()
      assert.equal("ok", result_of(case.number))
    end)
  end

  it("#129 no refused case contacted anybody", function()
    assert.equal("ok", result_of("strays"))
  end)
end)
