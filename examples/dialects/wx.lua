-- The sample code of the network API of WeChat mini-programs, in Lua. How it is
-- run, and what demo is: see demo.lua.

local demo = dofile((arg[0]:match("^(.*[/\\])") or "./") .. "demo.lua")
local console, sample = demo.console, demo.sample
local wx = demo.platform "wx"

sample("wx.request", function()
  wx.request {
    url = "test.php",
    data = {
      x = "",
      y = "",
    },
    header = {
      ["content-type"] = "application/json", -- the default
    },
    success = function(res)
      console.log(res.data)
    end,
  }
end, '"query":"x=&y="')

sample("wx.downloadFile", function()
  wx.downloadFile {
    url = demo.base .. "/audio/123",
    success = function(res)
      -- Whatever the server answers is written to the file and is a success:
      -- whether it is what was wanted is for the script to see.
      if res.statusCode == 200 then
        wx.playVoice {
          filePath = res.tempFilePath,
        }
      end
    end,
  }
end, "playing a voice of 65536 bytes")

sample("wx.uploadFile", function()
  wx.chooseImage {
    success = function(res)
      local tempFilePaths = res.tempFilePaths

      wx.uploadFile {
        url = demo.base .. "/upload",
        filePath = tempFilePaths[1],
        name = "file",
        formData = { user = "test" },
        success = function(answer)
          local data = answer.data
          -- do something
          console.log(data)
        end,
      }
    end,
  }
end, '"name":%s*"file"', '"name":%s*"user"')

demo.finish()
