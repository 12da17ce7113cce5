-- Name lookups that fail and succeed, and what else needs a network of its own.

local inside = require "support.inside"

describe("a lookup that fails", function()
  it("says that the name is unknown", function()
    inside("nxdomain", [[
      local record = fetch("http://name.example/")
      check_unresolved(record)
      same("fail complete", table.concat(record.order, " "))
      check_unresolved(fetch("https://name.example/"))
      check_unresolved(fetch("http://name.example:8080/",
        { method = "POST", data = "x" }))
      local query = require("nettask.query")
      check_unresolved(fetch(fault.http .. "/redirect?" .. query.encode {
        to = "http://name.example/" }))
      residue.check_stats()]])
  end)

  it("fails for all that wait for it", function()
    inside("nxdomain", [[
      net.configure { limits = { maxRequests = 0 } }
      local records = hang(20)
      for _ = 1, 20 do
        records[#records + 1] = helper.start { url = "http://one.example/" }
      end
      helper.run_until(function() return all(records, done) end)
      for _, record in ipairs(records) do check_unresolved(record) end
      assert(fetch(fault.http .. "/").success)
      residue.check_stats()]])
  end)

  it("says the same without a DNS server", function()
    inside("closed", [[
      check_unresolved(fetch("http://name.example/"))
      assert(fetch(fault.http .. "/").success)]])
  end)

  it("is asked again by the next request", function()
    inside("nxdomain", [[
      check_unresolved(fetch("http://name.example/"))
      check_unresolved(fetch("http://name.example/"))]])
  end)
end)

describe("a lookup that succeeds", function()
  it("leads to the server, for many names at once", function()
    inside("answer", [[
      net.configure { limits = { maxRequests = 0 } }
      local port = fault.http:match(":(%d+)$")
      local records = {}
      for i = 1, 40 do
        records[i] = helper.start { dataType = "text",
          url = ("http://name%d.example:%s/raw"):format((i - 1) % 30 + 1,
            port) }
      end
      helper.run_until(function() return all(records, done) end)
      for i, record in ipairs(records) do
        same("request:ok", record.complete.errMsg)
        local host = ("\r\nHost: name%d.example:%s\r\n"):format(
          (i - 1) % 30 + 1, port)
        assert(record.success.data:find(host, 1, true))
        assert(record.success.profile.domainLookUpEnd
          >= record.success.profile.domainLookUpStart)
        same("127.0.0.1", record.success.profile.peerIP)
      end
      residue.check_stats()]])
  end)

  it("does not make a certificate valid for the name", function()
    inside("answer", [[
      net.configure { caFile = helper.servers.ca }
      local url = fault.https:gsub("127.0.0.1", "name.example")
      check_failure(fetch(url), "-200:net::ERR_CERT_COMMON_NAME_INVALID",
        600001, -200)
      assert(fetch((fault.https:gsub("127.0.0.1", "localhost"))).success)]])
  end)

  it("tries the next address when one refuses", function()
    inside("closed", [[
      local port = fault.http:match(":(%d+)$")
      local record = fetch("http://two.example:" .. port .. "/")
      same("request:ok", record.complete.errMsg)
      same("127.0.0.1", record.success.profile.peerIP)]],
      nil, "127.0.0.2 two.example\n127.0.0.1 two.example")
  end)
end)

describe("a machine without a network", function()
  it("says that it is offline", function()
    inside("closed", [[
      local record = fetch("http://192.0.2.1/")
      check_failure(record, "-106:net::ERR_INTERNET_DISCONNECTED", 600001,
        -106)
      assert(fetch(fault.http .. "/").success)
      residue.check_stats()]])
  end)
end)

-- Here, for a url without a port needs a server on port 80.
describe("allowUrlPort = false", function()
  it("accepts a url without a port, and no redirect to one with", function()
    inside("closed", [[
      net.configure { allowUrlPort = false }
      local lines, restore = residue.log()
      same("request:ok", fetch("http://127.0.0.1/").complete.errMsg)
      local query = require("nettask.query")
      local function redirected(to)
        return fetch("http://127.0.0.1/redirect?" .. query.encode { to = to })
      end
      same("request:ok", redirected("http://127.0.0.1/raw").complete.errMsg)
      same("request:ok", redirected("/raw").complete.errMsg)
      local refused = redirected(fault.http .. "/raw?key=port")
      check_failure(refused, "url port is not allowed", 600011, -10)
      same("allowUrlPort; lifted by configure{allowUrlPort=true}",
        refused.fail.reason)
      restore()
      same(1, #lines)
      net.configure { allowUrlPort = true }
      same("0", helper.ask(fault.http .. "/count?of=port"))]])
  end)
end)
