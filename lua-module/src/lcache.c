/* core.cacheClear(): the HTTP cache of the context for its host. What the
 * argument means the Lua layer has checked. On the host thread. */
#include "binding.h"

/* core.cacheClear([host,] url or nil) -> true | nil, message, code */
static int cache_clear(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  int err;

  ntl_gate(L, s, "cache.clear");
  err = nt_cache_clear(ntl_context(L, s), luaL_optstring(L, 1, NULL));
  if (err) {
    lua_pushnil(L);
    lua_pushstring(L, nt_error_message(err));
    lua_pushinteger(L, err);
    return 3;
  }
  lua_pushboolean(L, 1);
  return 1;
}

void ntl_cache_open(lua_State* L) {
  static const luaL_Reg funcs[] = {
    { "cacheClear", cache_clear },
    { NULL, NULL },
  };

  ntl_register(L, funcs);
}
