-- luacheck: std min+love

function love.conf(t)
  t.window.title = "nettask: catch the answers"
  t.window.width, t.window.height = 640, 480
  t.version = "11.4"
  t.modules.audio, t.modules.sound, t.modules.joystick = false, false, false
  t.modules.physics, t.modules.video = false, false
end
