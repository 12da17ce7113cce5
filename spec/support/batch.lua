-- Several tests in one network namespace, since it takes longer to make one
-- than to run most of them. A test is a script for inside.lua; it may fail
-- alone.
--
--   local add, test = batch("by-name", { begin = ..., each = ..., lan = true })
--   add("#1 does this", [[ assert(...) ]])
--   add("#2 does that", [[ assert(...) ]])
--   describe("...", function() test(it) end)
--
-- `begin` comes before all tests and defines cleanup(), which runs after each;
-- `each` comes before each of them. Other options are those of helper.netns().

local inside = require "support.inside"

-- A function each, for Lua allows 200 locals in one.
local FIRST = "\ndo\nlocal ok, err = xpcall(function()\n"
local LAST = [[

end, debug.traceback)
local clean, why = pcall(cleanup)
if ok and not clean then ok, err = clean, why end
print(NUMBER .. " " .. (ok and "ok" or tostring(err):gsub("\n", "\r")))
end
]]

return function(dns, options)
  local scripts, titles, results = { options.begin }, {}, nil

  -- Runs all of them when the first is asked for.
  local function result_of(i)
    if not results then
      results = {} -- also if that raises: not again for each
      local more = { hosts = options.hosts, lan = options.lan,
        also = options.also, mdns = options.mdns }
      local out = inside(dns, table.concat(scripts), nil, more)
      for line in out:gmatch("[^\n]+") do
        local number, said = line:match("^(%d+) (.*)$")
        if number then results[tonumber(number)] = said:gsub("\r", "\n") end
      end
    end
    return results[i]
  end

  local function add(title, script)
    titles[#titles + 1] = title
    scripts[#scripts + 1] = FIRST .. (options.each or "") .. "\n" .. script
      .. LAST:gsub("NUMBER", #titles)
  end

  -- busted gives `it` to spec files alone.
  local function test(it)
    for i, title in ipairs(titles) do
      it(title, function()
        local said = result_of(i)
        assert(said == "ok", said or "it did not run")
      end)
    end
  end

  return add, test
end
