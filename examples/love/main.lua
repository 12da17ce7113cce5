-- love examples/love [URL [SECONDS]]
--
-- A tiny game: each second a request goes to the URL, and what comes back falls
-- from the top of the window. Catch answers with the paddle (mouse or arrow
-- keys), let failures fall. A picture is drawn as itself. The frame time in
-- the corner shows what the network does to the game: nothing. With SECONDS
-- it plays for that long and quits.
--
-- luacheck: std min+love

local here = love.filesystem.getSource()
package.path = here .. "/../../lua-module/?.lua;" .. here ..
  "/../../lua-module/?/init.lua;" .. package.path
package.cpath = here .. "/../../build/luajit/?.so;" .. package.cpath

local net = require "nettask"

local PADDLE = 96
local EVERY = 1 -- seconds between requests
local SPEED = 140

local url, seconds
local width, height
local paddle = { x = 320 }
local falling = {}
local score, asked, clock, worst = 0, 0, 0, 0

-- ---- Network ----------------------------------------------------------------

local function drop(thing)
  thing.x = love.math.random(60, width - 60)
  thing.y = -40
  falling[#falling + 1] = thing
end

-- Bytes that are no picture after all are shown like any other answer.
local function picture(res)
  if not (res.header["content-type"] or ""):find("^image/") then return nil end
  local file = love.filesystem.newFileData(tostring(res.data), "picture")
  local ok, image = pcall(love.graphics.newImage, file)
  return ok and image or nil
end

local function ask()
  asked = asked + 1
  net.request {
    url = url,
    responseType = "arraybuffer",
    timeout = 10000,
    success = function(res)
      local profile = res.profile
      drop { good = res.statusCode < 400, image = picture(res),
        text = ("%d  %d B  %d ms"):format(res.statusCode, #res.data,
          profile.responseEnd - profile.invokeStart) }
    end,
    fail = function(err) drop { text = err.errMsg } end,
  }
end

-- ---- Game -------------------------------------------------------------------

function love.load(args)
  url = args[1] or "http://127.0.0.1:8080/json"
  seconds = tonumber(args[2])
  width, height = love.graphics.getDimensions()
end

local function move(dt)
  if love.keyboard.isDown("left") then paddle.x = paddle.x - 400 * dt end
  if love.keyboard.isDown("right") then paddle.x = paddle.x + 400 * dt end
  paddle.x = math.max(0, math.min(width, paddle.x))
end

local function fall(dt)
  for i = #falling, 1, -1 do
    local thing = falling[i]
    thing.y = thing.y + SPEED * dt
    local caught = thing.y > height - 48
      and math.abs(thing.x - paddle.x) < PADDLE / 2 + 30
    if caught then score = score + (thing.good and 1 or -5) end
    if caught or thing.y > height then table.remove(falling, i) end
  end
end

function love.update(dt)
  net.update(2) -- at most 2 ms of callbacks a frame
  if clock % EVERY + dt >= EVERY or asked == 0 then ask() end
  clock = clock + dt
  if clock > 1 then worst = math.max(worst, dt) end -- not while starting
  move(dt)
  fall(dt)
  if seconds and clock > seconds then love.event.quit() end
end

function love.mousemoved(x)
  paddle.x = x
end

local function draw_thing(thing)
  if thing.image then
    local w, h = thing.image:getDimensions()
    local scale = 64 / math.max(w, h)
    love.graphics.setColor(1, 1, 1)
    love.graphics.draw(thing.image, thing.x, thing.y, 0, scale, scale, w / 2,
      h / 2)
    return
  end
  local shade = thing.good and 0.9 or 0.3
  love.graphics.setColor(0.9, shade, 0.3)
  love.graphics.circle("fill", thing.x, thing.y, 12)
  love.graphics.printf(thing.text, thing.x - 150, thing.y + 16, 300, "center")
end

function love.draw()
  for _, thing in ipairs(falling) do draw_thing(thing) end
  love.graphics.setColor(0.4, 0.8, 1)
  love.graphics.rectangle("fill", paddle.x - PADDLE / 2, height - 32, PADDLE,
    12)
  love.graphics.print(("score %d   asked %d   worst frame %.0f ms"):format(
    score, asked, worst * 1000), 12, 12)
end

function love.quit()
  net.close()
end
