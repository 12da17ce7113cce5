-- One source for Lua 5.1 to 5.4 and LuaJIT: the module and the examples use
-- only what all of them have; what runs them may ask which one it is.
std = "min"
max_line_length = 80
include_files = { "lua-module/**/*.lua", "spec/**/*.lua",
  "examples/**/*.lua", "bench/**/*.lua" }

-- What a version has instead of another's: used behind a test.
files["lua-module/nettask"] = {
  read_globals = { "unpack", table = { fields = { "unpack" } } },
}
files["spec"] = { std = "max+busted" }
files["bench"] = { std = "max" }
files["lua-module/types"] = {
  -- Annotations of functions that have no body.
  ignore = { "211", "212", "241", "311" },
}
