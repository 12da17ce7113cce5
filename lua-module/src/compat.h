/* The few differences between Lua 5.1, 5.2, 5.3, 5.4, 5.5 and LuaJIT that the
 * binding meets, each as an `ntl_*` function of the same meaning everywhere.
 *
 * Surprising: LuaJIT counts as 5.1 here although it has some of the later
 * functions. A module built against either of the two then loads into both,
 * which is how LuaRocks and distributions ship them. Everything runs on the
 * thread that owns the lua_State; any of it may raise a Lua error. */
#ifndef NTL_COMPAT_H
#define NTL_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#if LUA_VERSION_NUM < 501
#  error "nettask needs Lua 5.1 or newer"
#endif

#ifndef LUA_OK
#  define LUA_OK 0
#endif

/* Where 5.1 keeps the debug.traceback that it found first. */
#define NTL_TRACEBACK "nettask.traceback"

/* The largest double below which every integer is exact. */
#define NTL_MAX_EXACT 9007199254740992.0 /* 2^53 */

static inline int ntl_absindex(lua_State* L, int idx) {
  return idx > 0 || idx <= LUA_REGISTRYINDEX ? idx : lua_gettop(L) + idx + 1;
}

static inline size_t ntl_rawlen(lua_State* L, int idx) {
#if LUA_VERSION_NUM == 501
  return lua_objlen(L, idx);
#else
  return (size_t) lua_rawlen(L, idx);
#endif
}

/* lua_getfield that returns the type, as 5.3 and later do. */
static inline int ntl_getfield(lua_State* L, int idx, const char* key) {
  lua_getfield(L, idx, key);
  return lua_type(L, -1);
}

/* Add `funcs` to the table on top, without upvalues. */
static inline void ntl_setfuncs(lua_State* L, const luaL_Reg* funcs) {
  for (; funcs->name; funcs++) {
    lua_pushcfunction(L, funcs->func);
    lua_setfield(L, -2, funcs->name);
  }
}

/* Userdata with `values` user values: 0 or 1. Lua before 5.4 always has one. */
static inline void* ntl_newuserdata(lua_State* L, size_t size, int values) {
#if LUA_VERSION_NUM >= 504
  return lua_newuserdatauv(L, size, values);
#else
  (void) values;
  return lua_newuserdata(L, size);
#endif
}

/* Pop a table and make it the user value. Only tables: 5.1 and 5.2 take no
 * other type. */
static inline void ntl_setuservalue(lua_State* L, int idx) {
#if LUA_VERSION_NUM == 501
  lua_setfenv(L, idx);
#elif LUA_VERSION_NUM < 504
  lua_setuservalue(L, idx);
#else
  lua_setiuservalue(L, idx, 1);
#endif
}

/* Push the user value. Read only what was set: an unset one is an unrelated
 * environment table on 5.1, nil elsewhere. */
static inline void ntl_getuservalue(lua_State* L, int idx) {
#if LUA_VERSION_NUM == 501
  lua_getfenv(L, idx);
#elif LUA_VERSION_NUM < 504
  lua_getuservalue(L, idx);
#else
  lua_getiuservalue(L, idx, 1);
#endif
}

/* Push the metatable registered as `name`, made at its first use. Scripts can
 * neither read nor replace it: `__metatable` is false. Returns true when it
 * is new and wants its methods. */
static inline bool ntl_newmetatable(lua_State* L, const char* name) {
  if (!luaL_newmetatable(L, name))
    return false;
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  return true;
}

/* Give the value on top the metatable registered as `name`. */
static inline void ntl_setmetatable(lua_State* L, const char* name) {
  luaL_getmetatable(L, name);
  lua_setmetatable(L, -2);
}

/* The block of a full userdata of that type, else NULL. */
static inline void* ntl_testudata(lua_State* L, int idx, const char* name) {
  void* block = lua_touserdata(L, idx); /* `idx` may count from the top */

  if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx))
    return NULL;
  luaL_getmetatable(L, name);
  if (!lua_rawequal(L, -1, -2))
    block = NULL;
  lua_pop(L, 2);
  return block;
}

/* What a message calls the value: its `__name`, else its basic type. The text
 * stays valid while the value does. */
static inline const char* ntl_typename(lua_State* L, int idx) {
  const char* name = NULL;

  if (luaL_getmetafield(L, idx, "__name")) {
    if (lua_type(L, -1) == LUA_TSTRING)
      name = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  return name ? name : luaL_typename(L, idx);
}

/* Raise "bad argument #arg to 'f' (<expected> expected, got <type>)". */
static inline int ntl_typeerror(lua_State* L, int arg, const char* expected) {
  const char* got = lua_isnone(L, arg) ? "no value" : ntl_typename(L, arg);

  lua_pushfstring(L, "%s expected, got %s", expected, got);
  return luaL_argerror(L, arg, lua_tostring(L, -1));
}

static inline void* ntl_checkudata(lua_State* L, int arg, const char* name) {
  void* block = ntl_testudata(L, arg, name);

  if (!block)
    ntl_typeerror(L, arg, name);
  return block;
}

/* A 64-bit integer where Lua has them, else the nearest double. */
static inline void ntl_pushinteger64(lua_State* L, int64_t value) {
#if LUA_VERSION_NUM >= 503
  if (sizeof(lua_Integer) >= sizeof(value)) {
    lua_pushinteger(L, (lua_Integer) value);
    return;
  }
#endif
  lua_pushnumber(L, (lua_Number) value);
}

static inline void ntl_pushunsigned64(lua_State* L, uint64_t value) {
  if (value <= INT64_MAX)
    ntl_pushinteger64(L, (int64_t) value);
  else
    lua_pushnumber(L, (lua_Number) value);
}

/* Read the number at `idx` as a whole one. False when it is no number (a
 * string is none), has a fraction, or does not fit. */
static inline bool ntl_toint64(lua_State* L, int idx, int64_t* out) {
  lua_Number number;

  if (lua_type(L, idx) != LUA_TNUMBER)
    return false;
#if LUA_VERSION_NUM >= 503
  if (lua_isinteger(L, idx)) {
    *out = (int64_t) lua_tointeger(L, idx);
    return true;
  }
#endif
  number = lua_tonumber(L, idx);
  if (!(number >= -9223372036854775808.0 && number < 9223372036854775808.0))
    return false;
  if ((lua_Number) (int64_t) number != number)
    return false;
  *out = (int64_t) number;
  return true;
}

/* Whether the number at `idx` is whole: by its subtype where Lua has them,
 * else by its value, as long as doubles are exact. */
static inline bool ntl_isinteger(lua_State* L, int idx) {
#if LUA_VERSION_NUM >= 503
  return lua_isinteger(L, idx) != 0;
#else
  int64_t value;

  return ntl_toint64(L, idx, &value) && value <= (int64_t) NTL_MAX_EXACT &&
         value >= -(int64_t) NTL_MAX_EXACT;
#endif
}

#if LUA_VERSION_NUM == 501
/* Push debug.traceback or nil. Kept at its first use, so that a script which
 * replaces it later changes nothing here. */
static inline void ntl_pushtraceback(lua_State* L) {
  lua_getfield(L, LUA_REGISTRYINDEX, NTL_TRACEBACK);
  if (!lua_isnil(L, -1))
    return;
  lua_pop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "debug");
  lua_remove(L, -2);
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "traceback");
    lua_remove(L, -2);
  }
  if (!lua_iscfunction(L, -1)) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, NTL_TRACEBACK);
}
#endif

/* luaL_traceback: push `message` (may be NULL) and the stack of L1. Level 0 is
 * the running C function, 1 what called it. 5.1 goes through debug.traceback
 * and gives the bare message where that library is not loaded. */
static inline void ntl_traceback(lua_State* L, lua_State* L1,
                                 const char* message, int level) {
#if LUA_VERSION_NUM == 501
  int args = 2;

  ntl_pushtraceback(L);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushstring(L, message ? message : "");
    return;
  }
  if (L1 != L) {
    lua_pushthread(L1);
    lua_xmove(L1, L, 1);
    args = 3;
  }
  lua_pushstring(L, message ? message : "");
  lua_pushinteger(L, L1 == L ? level + 1 : level);
  lua_call(L, args, 1);
#else
  luaL_traceback(L, L1, message, level);
#endif
}

#endif
