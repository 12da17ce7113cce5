/* core.cookieList() and its kin: the jar of the context for its host. What the
 * arguments mean the Lua layer has checked. On the host thread. */
#include "binding.h"

#define BOX_NAME "nettask.cookies"

/* A list of the core's, which goes also if Lua has no memory for its values. */
typedef struct ntl_box {
  nt_cookies_t* list;
} ntl_box_t;

static int box_gc(lua_State* L) {
  ntl_box_t* box = lua_touserdata(L, 1);

  nt_cookies_free(box->list);
  box->list = NULL;
  return 0;
}

static ntl_box_t* new_box(lua_State* L) {
  ntl_box_t* box = ntl_newuserdata(L, sizeof(*box), 0);

  box->list = NULL;
  if (luaL_newmetatable(L, BOX_NAME)) {
    lua_pushcfunction(L, box_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return box;
}

/* nil, message, code */
static int fail(lua_State* L, int err) {
  lua_pushnil(L);
  lua_pushstring(L, nt_error_message(err));
  lua_pushinteger(L, err);
  return 3;
}

static void set_text(lua_State* L, const char* name, const char* value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void set_flag(lua_State* L, const char* name, int value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

static void push_cookie(lua_State* L, const nt_cookie_t* cookie) {
  lua_createtable(L, 0, 8);
  set_text(L, "name", cookie->name);
  set_text(L, "value", cookie->value);
  set_text(L, "domain", cookie->domain);
  set_text(L, "path", cookie->path);
  set_flag(L, "hostOnly", cookie->host_only);
  set_flag(L, "secure", cookie->secure);
  set_flag(L, "httpOnly", cookie->http_only);
  if (cookie->expires_ms == 0)
    return;
  ntl_pushinteger64(L, (cookie->expires_ms + 999) / 1000);
  lua_setfield(L, -2, "expires");
}

/* core.cookieList([host,] url or nil) -> list | nil, message, code */
static int cookie_list(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  const nt_cookie_t* items;
  ntl_box_t* box;
  size_t count;
  int err;

  ntl_gate(L, s, "cookies.list");
  lua_settop(L, 1);
  box = new_box(L);
  err = nt_cookies_list(ntl_context(L, s), luaL_optstring(L, 1, NULL),
                        &box->list);
  if (err)
    return fail(L, err);
  items = nt_cookies_items(box->list, &count);
  lua_newtable(L);
  for (size_t i = 0; i < count; i++) {
    push_cookie(L, &items[i]);
    lua_rawseti(L, -2, (int) i + 1);
  }
  nt_cookies_free(box->list);
  box->list = NULL;
  return 1;
}

static int done(lua_State* L, int err) {
  if (err)
    return fail(L, err);
  lua_pushboolean(L, 1);
  return 1;
}

/* core.cookieSet([host,] url, line) -> true | nil, message, code */
static int cookie_set(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  ntl_gate(L, s, "cookies.set");
  return done(L, nt_cookies_set(ntl_context(L, s), luaL_checkstring(L, 1),
                                luaL_checkstring(L, 2)));
}

/* core.cookieClear([host,] url or nil) -> true | nil, message, code */
static int cookie_clear(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  ntl_gate(L, s, "cookies.clear");
  return done(L,
              nt_cookies_clear(ntl_context(L, s), luaL_optstring(L, 1, NULL)));
}

/* core.cookieState([host]) -> "ready", "reading" or "unreadable" */
static int cookie_state(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  ntl_gate(L, s, "cookies.state");
  switch (nt_cookies_state(ntl_context(L, s))) {
    case 0:
      lua_pushliteral(L, "ready");
      break;
    case NT_E_STATE:
      lua_pushliteral(L, "reading");
      break;
    default:
      lua_pushliteral(L, "unreadable");
  }
  return 1;
}

void ntl_cookies_open(lua_State* L) {
  static const luaL_Reg funcs[] = {
    { "cookieList", cookie_list },
    { "cookieSet", cookie_set },
    { "cookieClear", cookie_clear },
    { "cookieState", cookie_state },
    { NULL, NULL },
  };

  ntl_register(L, funcs);
}
