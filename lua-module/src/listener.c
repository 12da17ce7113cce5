/* Lists of listeners: lists[name] = { f, ... }, in order of registration. The
 * table `lists` is the record of a task, or one of the module for all.
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

void ntl_listener_add(lua_State* L, int lists, int arg, const char* name) {
  int list, count;

  luaL_checktype(L, arg, LUA_TFUNCTION);
  lua_getfield(L, lists, name);
  list = lua_gettop(L);
  if (!lua_istable(L, list) || !find(L, list, arg)) {
    count = push_copy(L, 0);
    lua_pushvalue(L, arg);
    lua_rawseti(L, -2, count + 1);
    lua_setfield(L, lists, name);
  }
  lua_settop(L, list - 1);
}

void ntl_listener_remove(lua_State* L, int lists, int arg, const char* name) {
  bool all = lua_isnoneornil(L, arg);
  int list, at = 0;

  if (!all)
    luaL_checktype(L, arg, LUA_TFUNCTION);
  lua_getfield(L, lists, name);
  list = lua_gettop(L);
  if (!all && lua_istable(L, list))
    at = find(L, list, arg);
  if (all || at > 0) {
    if (all || push_copy(L, at) == 0)
      lua_pushnil(L);
    lua_setfield(L, lists, name);
  }
  lua_settop(L, list - 1);
}

int ntl_listener_on(lua_State* L, const ntl_kind_t* kind, const char* name) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, kind);

  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (ntl_push_record(L, s, task->id))
    ntl_listener_add(L, 3, 2, name);
  return 0;
}

int ntl_listener_off(lua_State* L, const ntl_kind_t* kind, const char* name) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, kind);

  lua_settop(L, 2);
  if (!lua_isnil(L, 2))
    luaL_checktype(L, 2, LUA_TFUNCTION);
  if (ntl_push_record(L, s, task->id))
    ntl_listener_remove(L, 3, 2, name);
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

/* Whether the function on top still is in lists[name]; `list`, at that index,
 * is what it was taken from. */
static int is_current(lua_State* L, int record, int lists, int list,
                      const char* name) {
  int function = lua_gettop(L);
  int current;

  if (is_aborted(L, record))
    return 0;
  lua_getfield(L, lists, name);
  current = lua_rawequal(L, -1, list) ||
            (lua_istable(L, -1) && find(L, lua_gettop(L), function));
  lua_pop(L, 1);
  return current;
}

int ntl_fire(lua_State* L, ntl_state_t* s, int record, const ntl_kind_t* kind,
             const char* name) {
  return ntl_fire_lists(L, s, record, record, kind, name);
}

int ntl_fire_lists(lua_State* L, ntl_state_t* s, int record, int lists,
                   const ntl_kind_t* kind, const char* name) {
  int value = lua_gettop(L);
  int list = value + 1;
  int goes_on = 1;
  int count;

  lua_getfield(L, lists, name);
  count = lua_istable(L, list) ? (int) ntl_rawlen(L, list) : 0;
  for (int i = 1; i <= count && goes_on; i++) {
    lua_rawgeti(L, list, i);
    if (is_current(L, record, lists, list, name)) {
      lua_pushvalue(L, value);
      goes_on = ntl_call(L, s, 1, kind, name);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_settop(L, value - 1);
  return goes_on;
}
