-- Name lookups that hang: they do so for ten seconds, which no test waits for,
-- and neither does a game.

local inside = require "support.inside"

describe("a lookup that hangs", function()
  it("holds up no other request, and can be aborted", function()
    inside("silent", [[
      local hanging = hang(5)
      local others, ended = {}, 0
      for i = 1, 60 do
        others[i] = fetch(fault.http .. "/raw?i=" .. i)
        if others[i].success then ended = ended + 1 end
      end
      same(60, ended)
      -- A name that needs no DNS.
      same("request:ok",
        fetch((fault.http:gsub("127.0.0.1", "localhost"))).complete.errMsg)
      for _, record in ipairs(hanging) do
        same("connecting", record.task.state)
        record.task:abort()
      end
      helper.run_until(function() return all(hanging, done) end, 2000)
      for _, record in ipairs(hanging) do check_abort(record) end
      residue.check_stats()]], 8000)
  end)

  it("ends by timeouts.dns", function()
    inside("silent", [[
      local started = helper.now()
      local record = fetch("http://name.example/", { timeouts = { dns = S } })
      check_timeout(record)
      assert(helper.now() - started >= S - 2)
      same("fail complete", table.concat(record.order, " "))
      check_timeout(fetch("https://name.example/", { timeouts = { dns = S } }))
      -- A second one for the same name does not inherit the first one's end.
      local second = helper.start { url = "http://name.example/",
        timeouts = { dns = 60000 } }
      check_timeout(fetch("http://name.example/", { timeouts = { dns = S } }))
      same(false, second.done)
      second.task:abort()
      helper.run_until(function() return second.done end, 2000)
      -- Nor is a literal address looked up, nor one that is known.
      same("request:ok", fetch(fault.http .. "/delay?ms=" .. 2 * S,
        { timeouts = { dns = S } }).complete.errMsg)
      residue.check_stats()]], 8000)
  end)

  it("ends by the total, and by no limit of a later stage", function()
    inside("silent", [[
      check_timeout(fetch("http://name.example/", { timeout = S }))
      check_timeout(fetch("http://name.example/",
        { timeouts = { total = S } }))
      local record = helper.start { url = "http://name.example/",
        timeouts = { connect = S, tls = S, firstByte = S, stall = S } }
      helper.run_for(3 * S)
      same(false, record.done)
      record.task:abort()
      helper.run_until(function() return record.done end, 2000)
      residue.check_stats()]], 8000)
  end)

  it("ends for those that wait for it in the same way", function()
    inside("silent", [[
      local records = {}
      for i = 1, 8 do
        records[i] = helper.start { url = "http://name.example/" .. i,
          timeouts = { dns = i % 2 == 0 and S or 60000 } }
      end
      helper.run_until(function()
        return all(records, function(record)
          return record.done or record.task.state ~= "done"
        end) and records[2].done and records[4].done and records[6].done
          and records[8].done
      end, 5000)
      for i = 1, 8 do
        if i % 2 == 0 then
          check_timeout(records[i])
        else
          same(false, records[i].done)
          records[i].task:abort()
        end
      end
      helper.run_until(function() return all(records, done) end, 2000)
      residue.check_stats()]], 8000)
  end)

  it("lets the queue go on when it ends", function()
    inside("silent", [[
      local hanging = hang(10, { timeouts = { dns = S } })
      local waits = helper.start { url = fault.http .. "/" }
      helper.run_until(function() return waits.done end)
      same("request:ok", waits.complete.errMsg)
      helper.run_until(function() return all(hanging, done) end)
      for _, record in ipairs(hanging) do check_timeout(record) end]], 8000)
  end)

  it("does not hold close() up, which runs no callback", function()
    inside("silent", [[
      local hanging = hang(12)
      helper.run_for(100)
      local started = helper.now()
      net.close()
      assert(helper.now() - started < 2000 * helper.slow)
      same("request:ok", fetch(fault.http .. "/").complete.errMsg)
      for _, record in ipairs(hanging) do
        same(0, #record.order)
        same("done", record.task.state)
      end]], 8000)
  end)

  it("does not hold up the end of the Lua state", function()
    inside("silent", [[
      hang(12)
      helper.run_for(100)]], 8000)
  end)

  it("does not hold up os.exit", function()
    inside("silent", [[
      hang(12)
      helper.run_for(100)
      os.exit(0)]], 8000)
  end)

  it("shares its thread, and 16 threads are the most", function()
    inside("silent", [[
      net.configure { limits = { maxRequests = 0 } }
      assert(fetch(fault.http .. "/").success)
      local before = residue.threads()
      local records = hang(30)
      for i = 1, 10 do
        records[#records + 1] =
          helper.start { url = ("http://name%d.example/again"):format(i) }
      end
      local peak = 0
      local function threads()
        local number = residue.threads() - before
        peak = math.max(peak, number)
        return number
      end
      helper.run_until(function() return threads() >= 16 end)
      local other = fetch(fault.http .. "/delay?ms=300")
      same("request:ok", other.complete.errMsg)
      threads()
      same(16, peak)
      for _, record in ipairs(records) do
        same("connecting", record.task.state)
        record.task:abort()
      end
      helper.run_until(function() return all(records, done) end, 2000)
      for _, record in ipairs(records) do check_abort(record) end
      residue.check_stats()]], 8000)
  end)

  it("counts as a lookup under limits.maxLookups", function()
    inside("silent", [[
      net.configure { limits = { maxRequests = 0, maxLookups = 2 } }
      assert(fetch(fault.http .. "/").success)
      local before = residue.threads()
      local records = hang(6)
      helper.run_until(function() return residue.threads() - before == 2 end)
      assert(fetch(fault.http .. "/delay?ms=200").success)
      same(2, residue.threads() - before)
      for _, record in ipairs(records) do record.task:abort() end
      helper.run_until(function() return all(records, done) end, 2000)]],
      8000)
  end)
end)
