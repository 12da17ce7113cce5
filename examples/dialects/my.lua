-- The network API of nanachi's React.api as it is on Alipay, in Lua: what its
-- documentation shows and tells. How it is run, and what demo is: see demo.lua.

local demo = dofile((arg[0]:match("^(.*[/\\])") or "./") .. "demo.lua")
local console, sample = demo.console, demo.sample
local React = { api = demo.platform "my" }

-- ---- request ----------------------------------------------------------------

sample("React.api.request", function()
  React.api.request {
    url = "test.php",
    method = "POST",
    data = {
      x = "1",
      y = "2",
    },
    success = function(res)
      -- A form, unless the header says something else.
      console.log(res.data)
      console.log("status", res.status, res.statusCode)
    end,
  }
end, '"body":"x=1&y=2"', "application/x%-www%-form%-urlencoded",
  "^status 200 200$")

sample("React.api.request that fails", function()
  React.api.request {
    url = "status/404",
    success = function(res)
      console.log(res.data)
    end,
    fail = function(err)
      console.log("error", err.error, err.errorMessage)
    end,
  }
  React.api.request {
    url = "small", -- is no JSON
    fail = function(err)
      console.log("error", err.error, err.errorMessage)
    end,
  }
end, "^error 19 http status 404$", "^error 14 response is not JSON$")

-- ---- uploadFile, downloadFile -----------------------------------------------

sample("React.api.uploadFile", function()
  React.api.chooseImage {
    success = function(res)
      React.api.uploadFile {
        url = demo.base .. "/upload",
        filePath = res.tempFilePaths[1],
        name = "file",
        fileType = "image",
        formData = { user = "test" },
        getRawResult = function(uploadTask)
          uploadTask:onProgressUpdate(function(update)
            console.log("progress", update.progress)
          end)
        end,
        success = function(answer)
          console.log(answer.data)
        end,
      }
    end,
  }
end, "^progress 100$", '"name":%s*"file"', '"name":%s*"user"')

sample("React.api.downloadFile", function()
  React.api.downloadFile {
    url = demo.base .. "/audio/123",
    getRawResult = function(downloadTask)
      downloadTask:onProgressUpdate(function(update)
        console.log("progress", update.progress)
      end)
    end,
    success = function(res)
      console.log("the same file twice:", res.apFilePath == res.tempFilePath)
      React.api.playVoice { filePath = res.tempFilePath }
    end,
  }
end, "^progress 100$", "^the same file twice: true$",
  "playing a voice of 65536 bytes")

-- ---- WebSocket --------------------------------------------------------------

sample("React.api.onSocketOpen", function()
  React.api.connectSocket {
    url = "test.php",
  }

  React.api.onSocketOpen(function()
    console.log("the WebSocket connection is open")
    -- Bytes travel as base64, with a flag.
    React.api.sendSocketMessage {
      data = "aGVsbG8=",
      isBuffer = true,
    }
  end)

  React.api.onSocketMessage(function(res)
    console.log("message", res.data, "isBuffer", res.isBuffer)
    if res.isBuffer then
      React.api.sendSocketMessage { data = "hello" }
    else
      React.api.closeSocket()
    end
  end)

  React.api.onSocketError(function(err)
    console.log("error", err.errMsg)
  end)

  React.api.onSocketClose(function(res)
    console.log("the WebSocket connection is closed,", res.code)
  end)
end, "^the WebSocket connection is open$", "^message aGVsbG8= isBuffer true$",
  "^message hello isBuffer false$",
  "^the WebSocket connection is closed, 1000$")

React.api.offSocketOpen()
React.api.offSocketMessage()

sample("React.api.connectSocket, once more", function()
  -- There is one connection at a time: a new one closes the one before.
  React.api.connectSocket { url = "test.php" }
  React.api.connectSocket { url = "ws/echo" }
  React.api.onSocketOpen(function()
    console.log("the second connection is open")
    React.api.closeSocket { code = 1000, reason = "done" }
  end)
end, "^the second connection is open$",
  "^the WebSocket connection is closed, 1000$")

demo.finish()
