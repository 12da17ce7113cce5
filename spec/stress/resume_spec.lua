-- Downloads whose process is killed at a random moment, and that go on in the
-- next: 200 rounds, each ends with the right file and nothing beside it.

local files = require "support.files"
local helper = require "helper"
local residue = require "support.residue"

local net, servers = helper.net, helper.servers

-- Takes longer than most children are given, so that all but a few are killed.
local SIZE = 4000000
local URL = servers.demo .. ("/file/%d?rate=10000000"):format(SIZE)

-- It may kill itself, when so many bytes have come.
local CHILD = [[
local url, path, digest, enough = ...
local record = helper.begin("downloadFile", { url = url, filePath = path,
  resume = true, sha256 = digest ~= "" and digest or nil })
record.task:onProgressUpdate(function(res)
  if enough and res.totalBytesWritten > tonumber(enough) then
    os.execute("kill -9 $PPID")
  end
end)
tell(record)
]]

describe("a download that is killed", function()
  local folder, path, expected, digest, random

  setup(function()
    residue.defaults()
    folder = files.folder()
    path = folder .. "/file"
    expected = files.pattern(SIZE)
    local copy = helper.write_file(files.folder() .. "/copy", expected)
    digest = files.sha256(copy)
    local seed = os.time()
    print("seed " .. seed)
    random = function(n)
      seed = (seed * 16807) % 2147483647
      return seed % n
    end
  end)

  after_each(helper.verify)

  -- However slow the machine is, one round goes on.
  local function try_most(sha256)
    local result = files.child({}, CHILD, URL, path, sha256 or "",
      SIZE * 3 / 4)
    assert.equal(137, result.status)
    assert.is_true(files.size(path .. ".part") > 0)
    return false
  end

  -- One more try in a child, killed after up to 300 ms.
  local function try(sha256)
    local seconds = ("%.3f"):format((10 + random(300 * helper.slow)) / 1000)
    -- In the foreground, or timeout kills itself, too, and does not wait until
    -- the child is gone and its locks with it.
    local result = files.child({ "timeout", "--foreground", "-s", "KILL",
      seconds }, CHILD, URL, path, sha256 or "")
    -- The shell may say what has become of it.
    assert(result.err == "" or result.err == "Killed\n", result.err)
    if result.status == 0 then
      assert.equal("downloadFile:ok\nnil\nnil\n", result.out)
      return true
    end
    -- 124: it ended by itself just when its time was over.
    assert.is_true(result.status == 137 or result.status == 124,
      result.status)
    return false
  end

  local function try_some(sha256)
    for _ = 1, 1 + random(3) do
      if try(sha256) then return true end
    end
    return false
  end

  it("goes on and ends with the right file", function()
    local killed, resumed = 0, 0
    for round = 1, helper.rounds(200) do
      local sha256 = round % 2 == 0 and digest or nil
      os.remove(path)
      local ended = (round == 1 and try_most or try_some)(sha256)
      if not ended then
        killed = killed + 1
        local res = files.good("downloadFile", { url = URL, filePath = path,
          resume = true, sha256 = sha256 })
        if res.statusCode == 206 then resumed = resumed + 1 end
      end
      assert.is_true(helper.read_file(path) == expected, "round " .. round)
      assert.same({ "file" }, files.list(folder))
    end
    assert.is_true(killed > 0, "no round was killed")
    assert.is_true(resumed > 0, "no round went on")
    assert.is_true(net.run(5000))
  end)
end)
