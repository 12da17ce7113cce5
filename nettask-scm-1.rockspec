rockspec_format = "3.0"
package = "nettask"
version = "scm-1"
source = {
  url = "git+https://github.com/nettask/nettask.git",
  branch = "main",
}
description = {
  summary = "Network tasks for games: the mini-program API, no blocked frame",
  detailed = [[
    net.request{...} and its kin for Lua scripts in programs that own a frame
    loop. A background thread does the work on libcurl and libuv; every
    callback runs inside net.update(), on the host's own thread.
  ]],
  license = "MIT",
  labels = { "network", "http", "game", "async" },
}
dependencies = {
  "lua >= 5.1, < 5.6",
}
-- Debian keeps curl's header in a folder of the architecture, where LuaRocks
-- does not look but the compiler does: on Linux the library has to be enough,
-- and the Makefile tells when the header is missing. CURL_DIR= works as ever.
external_dependencies = {
  CURL = { library = "curl" },
  UV = { header = "uv.h", library = "uv" },
  ZLIB = { header = "zlib.h", library = "z" },
  SQLITE = { header = "sqlite3.h", library = "sqlite3" },
  PSL = { header = "libpsl.h", library = "psl" },
  JANSSON = { header = "jansson.h", library = "jansson" },
  platforms = {
    macosx = { CURL = { header = "curl/curl.h" } },
    windows = { CURL = { header = "curl/curl.h" } },
  },
}
build = {
  type = "make",
  build_target = "rock",
  install_target = "rock-install",
  variables = {
    BUILD = "build/rock",
    CFLAGS = "$(CFLAGS)",
    LIBFLAG = "$(LIBFLAG)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    CURL_INCDIR = "$(CURL_INCDIR)",
    CURL_LIBDIR = "$(CURL_LIBDIR)",
    UV_INCDIR = "$(UV_INCDIR)",
    UV_LIBDIR = "$(UV_LIBDIR)",
    ZLIB_INCDIR = "$(ZLIB_INCDIR)",
    ZLIB_LIBDIR = "$(ZLIB_LIBDIR)",
    SQLITE_INCDIR = "$(SQLITE_INCDIR)",
    SQLITE_LIBDIR = "$(SQLITE_LIBDIR)",
    PSL_INCDIR = "$(PSL_INCDIR)",
    PSL_LIBDIR = "$(PSL_LIBDIR)",
    JANSSON_INCDIR = "$(JANSSON_INCDIR)",
    JANSSON_LIBDIR = "$(JANSSON_LIBDIR)",
  },
  install_variables = {
    INST_LUADIR = "$(LUADIR)",
    INST_LIBDIR = "$(LIBDIR)",
  },
}
test = {
  type = "command",
  command = "make test",
}
