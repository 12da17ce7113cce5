-- The C API for hosts that embed the module: nettask_configure() and
-- nettask_seal(), in a program that has it linked in (support/embed_host.c);
-- and the policy of a host without Lua, examples/c_host.c.

local helper = require "helper"

describe("a host in C", function()
  after_each(helper.verify)

  local PRELUDE = [[
    local url = os.getenv "NETTASK_TEST_FAULT_HTTP"
    local function raises(text, f, ...)
      local ok, err = pcall(f, ...)
      assert(not ok, "was accepted")
      assert(tostring(err):find(text, 1, true), err)
    end
    local function fetch(net, options)
      local res
      options.complete = function(r) res = r end
      options.dataType = "text"
      net.request(options)
      assert(net.run(10000), "a request that does not end")
      return res
    end
    local function is_secure(net)
      return fetch(net, { url = url .. "/" }).errMsg
        == "request:fail url scheme is not allowed"
    end
    local function agent(net)
      return fetch(net, { url = url .. "/raw" }).data:match "User%-Agent: (%S+)"
    end
  ]]

  local function folder()
    return os.getenv("LUA_CPATH"):match("^([^;]*)/%?%.so")
  end

  local function host(script, name, ...)
    local path = helper.write_file(helper.temp_name(), PRELUDE .. script
      .. "\nprint 'ok'")
    local result = helper.run(folder() .. "/" .. (name or "embed_host"), path,
      ...)
    os.remove(path)
    return result
  end

  local function works(script)
    local result = host(script)
    -- Refusals are logged.
    assert.equal("", (result.err:gsub("nettask: warn: [^\n]*\n", "")))
    assert.equal("ok\n", result.out)
    assert.equal(0, result.status)
  end

  it("sets the policy before anything is loaded", function()
    works [[
      assert(package.loaded["nettask.core"] == nil)
      assert(embed.configure "secure" == "OK")
      local net = require "nettask"
      assert(is_secure(net))
    ]]
  end)

  it("sets the policy of a context that there is", function()
    works [[
      local net = require "nettask"
      assert(not is_secure(net))
      assert(embed.configure "secure" == "OK")
      assert(is_secure(net))
      assert(embed.configure "open" == "OK")
      assert(not is_secure(net))
    ]]
  end)

  it("sets the policy of later contexts", function()
    works [[
      local net = require "nettask"
      assert(embed.configure "secure" == "OK")
      for _ = 1, 2 do
        net.close()
        assert(is_secure(net))
      end
    ]]
  end)

  it("keeps nothing of what it is given", function()
    works [[
      local net = require "nettask"
      assert(embed.configure "full" == "OK")
      for _ = 1, 2 do
        collectgarbage()
        assert(agent(net) == "Embedded/1")
        local res = fetch(net, { url = url .. "/raw" })
        assert(res.data:find("Referer: https://first.example/\r", 1, true),
          res.data)
        res = fetch(net, { url = "http://other.invalid/" })
        assert(res.errno == 600002, res.errMsg)
        res = fetch(net, { url = "http://pinned.example:1/" })
        assert(res.errno ~= 600002, res.errMsg)
        local saved
        net.downloadFile { url = url .. "/", filePath = "/tmp/x",
          complete = function(r) saved = r end }
        net.run(10000)
        assert(saved.errno == 603303, saved.errMsg)
        local placeholder = net.secret "key"
        assert(placeholder == "nettask-secret:key")
        res = fetch(net, { url = url .. "/raw",
          header = { ["X-Key"] = placeholder } })
        assert(res.errno == 102, res.errMsg)
        net.close()
      end
    ]]
  end)

  it("refuses a policy that is none, and changes nothing", function()
    works [[
      local net = require "nettask"
      assert(embed.configure "wrong" == "INVALID")
      assert(agent(net) ~= "Embedded/1")
      net.configure { userAgent = "Script/1" }
      assert(agent(net) == "Script/1")
      assert(embed.configure "secure" == "OK")
      assert(embed.configure "wrong" == "INVALID")
      assert(is_secure(net))
    ]]
  end)

  it("takes the policy from scripts", function()
    works [[
      assert(embed.configure "secure" == "OK")
      local net = require "nettask"
      raises("nettask_configure()", net.configure, { requireSecure = false })
      raises("nettask_configure()", net.configure, {})
      raises("nettask_configure()", net.seal)
      raises("nettask_configure()", net.registerHttpDNS, "f", print)
      raises("nettask_configure()", net.secrets.set, "a",
        { value = "b", hosts = { "c" } })
      assert(not net.sealed())
      assert(is_secure(net))
    ]]
  end)

  it("seals, and gets the table of the host", function()
    works [[
      assert(embed.configure "secure" == "OK")
      local host, why = embed.seal()
      assert(host, why)
      local net = require "nettask"
      assert(net.sealed())
      raises("sealed", net.configure, {})
      raises("sealed", net.onError, print)
      raises("sealed", net.close)
      raises("sealed", net.seal)
      raises("sealed", function() return require "nettask.core".setPolicy end)
      local line
      host.setLogger(function(_, text) line = text end)
      assert(is_secure(net))
      assert(line:find "requireSecure")
      host.close()
      assert(is_secure(net))
      assert(embed.configure "open" == "OK", "after the seal")
      assert(not is_secure(net))
    ]]
  end)

  it("seals what a host in Lua has configured", function()
    works [[
      local net = require "nettask"
      net.configure { requireSecure = true }
      local host = embed.seal()
      assert(is_secure(net))
      raises("sealed", net.configure, {})
      host.configure { requireSecure = false }
      assert(not is_secure(net))
    ]]
  end)

  it("keeps its policy from the host's own configure()", function()
    works [[
      assert(embed.configure "secure" == "OK")
      local host = embed.seal()
      local net = require "nettask"
      raises("requireSecure is part of the policy, which nettask_configure()",
        host.configure, { requireSecure = false })
      raises("limits is part of the policy", host.configure,
        { limits = { redirects = 1 } })
      raises("policy is part of the policy", host.configure,
        { policy = "open", baseUrl = url .. "/" })
      host.configure { baseUrl = url .. "/", timeouts = { request = 5000 },
        dialect = "taro", logger = function() end, wifiInterface = "lo",
        cellularInterface = "lo" }
      assert(is_secure(net))
      assert(embed.configure "open" == "OK")
      assert(fetch(net, { url = "raw" }).statusCode == 200)
    ]]
  end)

  it("lets the host in Lua add secrets, until it sets others", function()
    works [[
      local net = require "nettask"
      for _ = 1, 2 do
        assert(embed.configure "full" == "OK")
        host = host or embed.seal()
        host.secrets.set("added", { value = "x", hosts = { "c.example" } })
        collectgarbage()
        assert(table.concat(host.secrets.list(), " ") == "added key")
        assert(net.secret "added" and net.secret "key")
        host.secrets.set("key", { value = "y", hosts = { "c.example" } })
        assert(agent(net) == "Embedded/1")
        assert(host.secrets.remove "key")
        assert(host.secrets.remove "added")
        assert(#host.secrets.list() == 0)
        host.secrets.set("added", { value = "z", hosts = { "c.example" } })
      end
      assert(embed.configure "secure" == "OK")
      assert(#host.secrets.list() == 0)
      raises("there is none", net.secret, "added")
      host.secrets.set("added", { value = "z", hosts = { "c.example" } })
      assert(#host.secrets.list() == 1)
      host.close()
      assert(is_secure(net))
    ]]
  end)

  it("is told why it cannot seal", function()
    works [[
      local host = embed.seal()
      assert(host)
      local again, why = embed.seal()
      assert(again == nil and why:find("sealed already", 1, true), why)
    ]]
    works [[
      package.path, package.preload = "", {}
      local host, why = embed.seal()
      assert(host == nil and why:find("nettask", 1, true), why)
      assert(embed.configure "secure" == "OK")
    ]]
  end)

  it("cannot come back when the Lua state ends", function()
    works [[
      require "nettask"
      local function last()
        assert(embed.configure "secure" == "NOMEM")
        assert(embed.seal() == nil)
        print "end"
      end
      -- Lua 5.1 has finalisers of userdata alone.
      if newproxy then
        getmetatable(newproxy(true)).__gc = function() end
      end
      late = setmetatable({}, { __gc = last })
    ]]
  end)
end)

describe("examples/c_host", function()
  after_each(helper.verify)

  local fault = helper.servers.fault

  local function fetch(...)
    return helper.run(os.getenv "NETTASK_TEST_BUILD" .. "/examples/c_host", ...)
  end

  it("fetches what it is told to", function()
    local result = fetch(fault.http .. "/", fault.http .. "/missing")
    assert.equal("", result.err)
    assert.matches("200 ", result.out)
    assert.matches("404 ", result.out)
    assert.equal(0, result.status)
  end)

  it("goes with --only to the hosts that are named", function()
    for _, case in ipairs {
      { "127.0.0.1", fault.http, "URL scheme is not allowed", "SCHEME" },
      { "127.0.0.1", fault.https, "private addresses are refused", "PRIVATE" },
      { "*.example", fault.https, "the host is on no list", "DOMAIN" },
    } do
      local result = fetch("--only", "game.example", "--only", case[1],
        case[2] .. "/secret?x=y")
      assert.equal("", result.err)
      local refused, ended = result.out:match "^(.-)\n(.*)$"
      assert.equal("refused: " .. case[2] .. ": " .. case[3],
        refused:sub(1, #case[2] + #case[3] + 11))
      assert.equal(case[4], ended:match "%u+")
      assert.equal(1, result.status)
    end
  end)

  it("says what is wrong with a host", function()
    local result = fetch("--only", "no host", fault.http .. "/")
    assert.matches("^c_host: domains.*no host", result.err)
    assert.equal(1, result.status)
  end)
end)
