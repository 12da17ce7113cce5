-- Records of refusals, as events among others: they are counted, take part in
-- the budget of a frame, and hold nothing that is private. What a record says
-- of each rule is in policy_spec.lua.

local files = require "support.files"
local helper = require "helper"
local residue = require "support.residue"
local tcp = require "support.tcp"

local core = require "nettask.core"

local net, servers = helper.net, helper.servers
local fault = servers.fault

describe("records of refusals", function()
  local records

  setup(function() net.setLogger(function() end) end)
  teardown(function() net.setLogger(nil) end)

  before_each(function()
    tcp.defaults()
    records = {}
    net.onAudit(function(record) records[#records + 1] = record end)
  end)

  after_each(function()
    net.onAudit(nil)
    tcp.verify()
    residue.defaults()
  end)

  local function refuse(n)
    net.configure { domains = { request = { "other.example" } } }
    local before = net.stats().refusals
    for _ = 1, n do
      helper.start { url = fault.http .. "/path?query=1#fragment" }
    end
    helper.run_until(function()
      return net.stats().refusals == before + n and net.stats().live == 0
    end)
  end

  it("are counted, also when there are too many to keep", function()
    net.configure { limits = { tcpPerWindow = 1 } }
    tcp.create().task:close()
    local before = net.stats().refusals
    for _ = 1, 1000 do assert.is_nil((net.createTCPSocket())) end
    assert.equal(before + 1000, net.stats().refusals)
    helper.run_until(function() return #records >= 256 end)
    assert.equal(0, net.stats().queuedEvents)
    assert.equal(256, #records)
    net.close() -- and the window
  end)

  it("say where to, and no more", function()
    refuse(1)
    helper.fetch { url = (fault.http .. "/secret?token=1#x")
      :gsub("://", "://user:password@") }
    assert.equal(2, #records)
    for _, record in ipairs(records) do
      assert.equal(fault.http, record.target)
    end
  end)

  it("say which file", function()
    net.configure { fileRoots = { write = { files.folder() } } }
    local path = helper.temp_name()
    helper.finish(helper.begin("downloadFile", { url = fault.http .. "/",
      filePath = path }))
    assert.equal(1, #records)
    assert.equal(path, records[1].target)
    assert.equal("downloadFile", records[1].api)
  end)

  it("of tasks that are not known name a rule as well", function()
    local record = require "nettask.audit".record
    for name, rule in pairs { OUTSIDE = "fileRoots", FILE_SIZE = "limits",
      TEMP_SIZE = "limits.tempMaxBytes", WS_SIZE = "maxMessageBytes",
      DOMAIN = "domains", PRIVATE = "denyPrivateAddresses",
      PIN = "pins", LIMIT = "limits.tcpPerWindow" } do
      local entry = record(nil, "1", core.errors[name], "/path")
      assert.equal(rule, entry.rule)
      assert.is_truthy(entry.setting)
      assert.equal("/path", entry.target)
    end
  end)

  it("of a redirect name what it led to", function()
    net.configure { domains = { request = { "127.0.0.1" } } }
    helper.fetch { url = fault.http
      .. "/redirect?to=http://evil.example:81/stolen?cookie=1" }
    assert.equal(1, #records)
    assert.equal("http://evil.example:81", records[1].target)
  end)

  it("wake who waits, and take part in the budget", function()
    net.configure { domains = { request = { "other.example" } } }
    local clock = 0
    net.onAudit(function(record)
      records[#records + 1] = record
      local now = helper.now()
      while helper.now() < now + 5 do clock = clock + 1 end
    end)
    for _ = 1, 20 do helper.start { url = fault.http .. "/" } end
    assert.is_true(net.wait(5000))
    helper.run_until(function()
      local before = #records
      net.update(1)
      assert.is_true(#records - before <= 1)
      return #records == 20
    end)
  end)

  it("cost nothing where nothing is refused", function()
    local before = net.stats().refusals
    assert.equal("ok", helper.ask(fault.http .. "/"))
    helper.fetch { url = fault.http .. "/close" }
    assert.equal(before, net.stats().refusals)
    assert.same({}, records)
  end)
end)
