-- os.exit() in every state of a request, 200 times each: the right status,
-- promptly, and no word of any kind.

local helper = require "helper"
local states = require "support.states"

local CHILD = [[
local name, closes, status = ...
local states = require "support.states"
states.enter(name)
os.exit(tonumber(status), closes == "true")
]]

describe("os.exit", function()
  -- Half of them close the state first. A sanitized child takes its time.
  local rounds = math.max(1, math.floor(helper.rounds(100) / helper.slow))

  for _, name in ipairs(states.names) do
    it("while a request is " .. name, function()
      for i = 1, rounds do
        for _, closes in ipairs { "false", "true" } do
          local status = i % 100 + 1
          local start = helper.now()
          local result = helper.lua(CHILD, name, closes, status)
          local took = helper.now() - start
          assert.equal("", result.err)
          assert.equal("", result.out)
          assert.equal(status, result.status)
          assert.is_true(took < 3000 * helper.slow, took)
        end
      end
    end)
  end
end)
