-- The hosts that docs/security.md prints, in Lua and in C, as they are pasted:
-- the programs run, and a guest has what it should have and no more.

local helper = require "helper"
local states = require "support.states"

local fault = helper.servers.fault

describe("a host of the manual", function()
  after_each(helper.verify)

  local GUEST = [[
    local net = require "nettask"
    for _, name in ipairs { "debug", "io", "package", "dofile", "loadfile",
      "getfenv", "setfenv", "newproxy", "collectgarbage", "ffi", "jit" } do
      if _G[name] ~= nil then print("has " .. name) end
    end
    if os and (os.execute or os.getenv or os.remove) then print "has os" end
    if string.dump or ("").dump then print "has string.dump" end
    if getmetatable and getmetatable "" then print "has strings" end
    if load and load "\27Lua" then print "has bytecode" end
    for _, name in ipairs { "io", "debug", "nettask.core", "nettask.config" } do
      if pcall(require, name) then print("requires " .. name) end
    end
    for _, name in ipairs { "configure", "seal", "onError", "onAudit",
      "close" } do
      if pcall(net[name], {}) then print("calls " .. name) end
    end
    if not net.sealed() then print "not sealed" end

    local say = print
    for name in pairs(net) do
      if name ~= "request" then net[name] = print end
    end
    string.format, table.concat, print = nil, nil, nil
    for i, url in ipairs { "http://api.example.com/", "https://other.example/",
      URL } do
      net.request { url = url, fail = function(err)
        say(i, err.errno, err.reason:match "^[^;]*")
      end }
    end
    error "the guest ends"
  ]]

  -- The block of that language behind the heading.
  local function block(heading, language)
    local text = helper.read_file("docs/security.md")
    local at = assert(text:find("\n### " .. heading .. "\n", 1, true))
    return (assert(text:match("\n```" .. language .. "\n(.-\n)```\n", at)))
  end

  local function write_guest(key, first)
    return helper.write_file(helper.temp_name(), ("local URL = %q\n"):format(
      fault.http .. "/respond?key=" .. key) .. (first or "") .. GUEST)
  end

  local function check(result, key)
    assert.equal("1\t600011\trequireSecure\n2\t600002\tdomains.request\n"
      .. "3\t600011\trequireSecure\n", result.out)
    assert.matches("the guest ends", result.err)
    assert.equal(0, result.status)
    assert.equal("0", helper.ask(fault.http .. "/count?of=" .. key))
    return result.err
  end

  it("in Lua keeps its guest in", function()
    local key = states.key("manual")
    local path = write_guest(key)
    local err = check(helper.lua(block("In Lua", "lua"), path), key)
    assert.matches("refused: request to http://api%.example%.com:80 by "
      .. "requireSecure\n", err)
    assert.matches("by domains%.request\n", err)
    os.remove(path)
  end)

  it("in C keeps its guest in", function()
    local key = states.key("manual")
    -- While something runs the background thread reads no certificates in
    -- advance, which under a sanitizer takes longer than the end waits.
    local path = write_guest(key, "require 'nettask'.sleep(60000)\n")
    local folder = os.getenv("LUA_CPATH"):match("^([^;]*)/%?%.so")
    check(helper.run(folder .. "/sealed_host", path), key)
    os.remove(path)
  end)

  -- What it raises may be no text, and its text may be its own code.
  it("outlives what its guest raises", function()
    local path = helper.temp_name()
    local folder = os.getenv("LUA_CPATH"):match("^([^;]*)/%?%.so")
    local code = block("In Lua", "lua")
    for _, err in ipairs { "{}", "nil", "setmetatable({}, { __tostring ="
      .. " function() error 'again' end })" } do
      helper.write_file(path, "error(" .. err .. ")")
      for _, result in ipairs { helper.lua(code, path),
        helper.run(folder .. "/sealed_host", path) } do
        assert.matches("^guest: ", result.err)
        assert.is_nil(result.err:find("again", 1, true))
        assert.is_nil(result.err:find("(null)", 1, true))
        assert.equal(0, result.status)
      end
    end
    os.remove(path)
  end)

  it("in C loads no bytecode", function()
    local path = helper.temp_name()
    local folder = os.getenv("LUA_CPATH"):match("^([^;]*)/%?%.so")
    local code = string.dump(assert((loadstring or load)("print 'ran'")))
    for _, text in ipairs { code, "#!\n" .. code } do
      helper.write_file(path, text)
      local result = helper.run(folder .. "/sealed_host", path)
      assert.equal("", result.out)
      assert.matches("the guest cannot be loaded", result.err)
    end
    os.remove(path)
  end)
end)
