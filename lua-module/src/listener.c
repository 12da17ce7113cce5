/* Lists of listeners: record[name] = { f, ... }, in order of registration.
 *
 * A list is never changed, only replaced. Whoever walks one is therefore safe
 * from what the callbacks do, and sees by comparing whether anything was. */
#include "binding.h"

/* Whether the list at `list` holds the function at `f`. */
static int find(lua_State* L, int list, int f) {
  int count = (int) ntl_rawlen(L, list);

  for (int i = 1; i <= count; i++) {
    int is_equal;

    lua_rawgeti(L, list, i);
    is_equal = lua_rawequal(L, -1, f);
    lua_pop(L, 1);
    if (is_equal)
      return i;
  }
  return 0;
}

/* Push record[name] for the task in argument 1, nil when there is none. Leaves
 * the record below it; returns 0 and pushes nothing once the task has ended. */
static int push_list(lua_State* L, ntl_state_t* s, const ntl_kind_t* kind,
                     const char* name) {
  const ntl_task_t* task = ntl_task_check(L, 1, kind);

  if (!ntl_push_record(L, s, task->id))
    return 0;
  lua_getfield(L, -1, name);
  return 1;
}

/* Push a copy of the list on top without the element `skip` (0: with all). */
static int push_copy(lua_State* L, int skip) {
  int count = lua_istable(L, -1) ? (int) ntl_rawlen(L, -1) : 0;
  int kept = 0;

  lua_createtable(L, count + 1, 0);
  for (int i = 1; i <= count; i++) {
    if (i == skip)
      continue;
    lua_rawgeti(L, -2, i);
    lua_rawseti(L, -2, ++kept);
  }
  return kept;
}

int ntl_listener_on(lua_State* L, const ntl_kind_t* kind, const char* name) {
  ntl_state_t* s = ntl_self(L);
  int count;

  ntl_task_check(L, 1, kind);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (!push_list(L, s, kind, name))
    return 0;
  if (lua_istable(L, 4) && find(L, 4, 2))
    return 0;
  count = push_copy(L, 0);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, count + 1);
  lua_setfield(L, 3, name);
  return 0;
}

int ntl_listener_off(lua_State* L, const ntl_kind_t* kind, const char* name) {
  ntl_state_t* s = ntl_self(L);
  int at;

  ntl_task_check(L, 1, kind);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2))
    luaL_checktype(L, 2, LUA_TFUNCTION);
  if (!push_list(L, s, kind, name) || !lua_istable(L, 4))
    return 0;
  at = lua_isnil(L, 2) ? 0 : find(L, 4, 2);
  if (at == 0 && !lua_isnil(L, 2))
    return 0;
  if (at == 0 || push_copy(L, at) == 0)
    lua_pushnil(L);
  lua_setfield(L, 3, name);
  return 0;
}

int ntl_has_listeners(lua_State* L, int record, const char* name) {
  int has;

  lua_getfield(L, record, name);
  has = lua_istable(L, -1);
  lua_pop(L, 1);
  return has;
}

static int is_aborted(lua_State* L, int record) {
  int aborted;

  lua_getfield(L, record, "aborted");
  aborted = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return aborted;
}

/* Whether the function on top still is in record[name]; `list`, at that index,
 * is what it was taken from. */
static int is_current(lua_State* L, int record, int list, const char* name) {
  int function = lua_gettop(L);
  int current;

  if (is_aborted(L, record))
    return 0;
  lua_getfield(L, record, name);
  current = lua_rawequal(L, -1, list) ||
            (lua_istable(L, -1) && find(L, lua_gettop(L), function));
  lua_pop(L, 1);
  return current;
}

int ntl_fire(lua_State* L, ntl_state_t* s, int record, const ntl_kind_t* kind,
             const char* name) {
  int value = lua_gettop(L);
  int list = value + 1;
  int goes_on = 1;
  int count;

  record = ntl_absindex(L, record);
  lua_getfield(L, record, name);
  count = lua_istable(L, list) ? (int) ntl_rawlen(L, list) : 0;
  for (int i = 1; i <= count && goes_on; i++) {
    lua_rawgeti(L, list, i);
    if (is_current(L, record, list, name)) {
      lua_pushvalue(L, value);
      goes_on = ntl_call(L, s, 1, kind, name);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_settop(L, value - 1);
  return goes_on;
}
