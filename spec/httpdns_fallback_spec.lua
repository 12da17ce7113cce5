-- What becomes of a task whose provider of HttpDNS fails: the system's DNS
-- decides, and exception.reasons says why. In networks of their own, where it
-- knows every name or none.

local inside = require "support.inside"

local BEGIN = [[
local PORT = fault.http:match(":(%d+)$")
local DOH = "/respond?type=application/dns-message&base64="

local function url_of(name, path)
  return ("http://%s:%s%s"):format(name, PORT, path or "/")
end

local function get(id, name, more)
  local given = { enableHttpDNS = true, httpDNSServiceId = id }
  for key, value in pairs(more or {}) do given[key] = value end
  return fetch(url_of(name or "game.example"), given)
end

-- Succeeds by the system's DNS, for that reason.
local function check_fallback(record, errno, text)
  local res = record.complete
  same("request:ok", res.errMsg)
  same(false, res.useHttpDNS)
  same(1, #res.exception.reasons)
  local reason = res.exception.reasons[1]
  same(errno, reason.errno)
  same("httpDNS:fail " .. text, reason.errMsg)
end
]]

describe("HttpDNS that fails", function()
  it("#46 leaves it to the system, and says why", function()
    inside("answer", BEGIN .. [[
      net.onError(function() end) -- one of them raises
      local function raises() error("oops", 0) end
      local function gives(...)
        local ips, ttl = ...
        return function(_, done) done(ips, ttl) end
      end
      local function answers(body)
        return fault.http .. "/respond?of={host}&body=" .. body
      end
      for _, case in ipairs {
        { raises, 602000, "oops" },
        { gives(nil, "no idea"), 602000, "no idea" },
        { gives(nil), 602000, "no answer" },
        { gives({}), 602107, "no address for this name" },
        { gives({ "x.y" }), 602106,
          "invalid answer: what is listed is no address" },
        { gives({ 1 }), 602106,
          "invalid answer: what is listed is no address" },
        { gives({ "127.1" }), 602106,
          "invalid answer: what is listed is no address" },
        { gives("127.0.0.1"), 602106, "invalid answer: no list but String" },
        { answers(""), 602104, "empty answer" },
        { answers("x"), 602106,
          "invalid answer: what is listed is no address" },
        { answers("%7Bx"), 602106, "invalid answer: no JSON" },
        { answers("%7B%7D"), 602106, "invalid answer: no list but Undefined" },
        { answers("%7B%22ips%22%3A%5B%5D%7D"), 602107,
          "no address for this name" },
        { answers("%20"), 602107, "no address for this name" },
        { answers("1&status=500"), 602002, "http status 500 of the provider" },
        { answers("1&status=302&h=Location:%2F"), 602002,
          "http status 302 of the provider" },
        { fault.http .. "/respond?body=x", 602106,
          "invalid answer: no DNS message" },
      } do
        net.registerHttpDNS("p", case[1])
        check_fallback(get("p"), case[2], "game.example: " .. case[3])
      end
      net.registerHttpDNS("p", fault.refused .. "/{host}")
      local reason = get("p").complete.exception.reasons[1]
      same(602001, reason.errno)
      assert(reason.errMsg:find("game.example: ", 1, true), reason.errMsg)
      net.registerHttpDNS("p", nil)
      check_fallback(get("p"), 602108, 'unknown service id "p"')
      check_fallback(get(nil), 602108, 'unknown service id ""')
      helper.catch_errors()]])
  end)

  it("#46 has a time, and may be wrong", function()
    inside("answer", BEGIN .. [[
      local late = {}
      net.registerHttpDNS("p", function(_, done) late[#late + 1] = done end)
      net.registerHttpDNS("url", fault.http .. "/never?of={host}")
      for _, id in ipairs { "p", "url" } do
        check_fallback(get(id, nil, { httpDNSTimeout = 50 }), 602105,
          "game.example: timed out")
      end
      for _, done in ipairs(late) do done { "127.0.0.99" } end
      check_fallback(get("p", nil, { httpDNSTimeout = 50 }), 602105,
        "game.example: timed out")
      same(2, #late)
      -- Half of the task's time is left for the system's.
      check_fallback(get("p", nil, { timeout = 1000 * helper.slow }), 602105,
        "game.example: timed out")
      residue.check_stats()
      -- An address that cannot be connected to is no better.
      net.registerHttpDNS("p", function() return { "127.0.0.99" } end)
      check_fallback(get("p"), 600001,
        "game.example: 127.0.0.99: connection refused")
      local socket = net.createTCPSocket()
      local connected
      socket:onConnect(function(res) connected = res end)
      socket:connect { address = "game.example", port = fault.tcp,
        enableHttpDNS = true, httpDNSServiceId = "unknown" }
      helper.run_until(function() return connected end)
      same(false, connected.useHttpDNS)
      same(602108, connected.exception.reasons[1].errno)
      socket:close()
      connected = nil
      net.registerHttpDNS("p", function() end)
      socket = net.createTCPSocket()
      socket:onConnect(function(res) connected = res end)
      socket:connect { address = "game.example", port = fault.tcp,
        enableHttpDNS = true, httpDNSServiceId = "p",
        timeoutMs = 1000 * helper.slow }
      helper.run_until(function() return connected end)
      same(false, connected.useHttpDNS)
      same(602105, connected.exception.reasons[1].errno)
      socket:close()]])
  end)
end)

describe("an answer of HttpDNS", function()
  it("is for who asked, for nobody else, and only where it may be", function()
    inside("nxdomain", BEGIN .. [[
      net.registerHttpDNS("p", function() return { "127.0.0.1" } end)
      same(true, get("p").complete.useHttpDNS)
      check_unresolved(fetch(url_of("game.example")))
      same(true, get("p").complete.useHttpDNS)
      local record = fetch(url_of("game.example"))
      check_unresolved(record)
      same(false, record.complete.useHttpDNS)
      -- And it has to pass the policy like any other.
      net.setLogger(function() end)
      net.configure { denyPrivateAddresses = true }
      net.registerHttpDNS("p", function() return { "127.0.0.1", "::1" } end)
      record = get("p")
      check_failure(record, "private address is not allowed", 600002, -10)
      same(2, #record.complete.exception.reasons)
      same(600002, record.complete.exception.reasons[1].errno)
      same(false, record.complete.useHttpDNS)
      net.configure { allowPrivate = { "game.example" } }
      same(true, get("p").complete.useHttpDNS)]])
  end)
end)

describe("a socket", function()
  it("whose provider is silent asks the system after half its time", function()
    inside("answer", BEGIN .. [[
      net.registerHttpDNS("p", function() end)
      local socket = net.createTCPSocket()
      local connected
      socket:onConnect(function(res) connected = res end)
      socket:onError(function(err) error(err.errMsg) end)
      socket:connect { address = "game.example", port = fault.tcp,
        timeoutMs = 1000 * helper.slow,
        enableHttpDNS = true, httpDNSServiceId = "p" }
      helper.run_until(function() return connected end)
      same(false, connected.useHttpDNS)
      same(602105, connected.exception.reasons[1].errno)
      socket:close()]])
  end)
end)

describe("a provider with a url", function()
  it("is asked no more than 256 questions at once", function()
    inside("nxdomain", BEGIN .. [[
      net.registerHttpDNS("p", fault.http .. "/wait?key=many&of={host}")
      local counts, left = {}, 300
      for i = 1, left do
        net.request { url = url_of("n" .. i .. ".example"),
          enableHttpDNS = true, httpDNSServiceId = "p",
          fail = function(err)
            local text = err.exception.reasons[1].errMsg:match(": (.*)")
            counts[text] = (counts[text] or 0) + 1
            left = left - 1
          end }
      end
      helper.run_until(function() return left == 256 end)
      same(44, counts["too many questions at once"])
      helper.ask(fault.http .. "/release?key=many")
      helper.run_until(function() return left == 0 end)
      same(256, counts["invalid answer: what is listed is no address"])]])
  end)
end)
