/* Lists of listeners: lists[slot] = { f, ... }, in order of registration. The
 * table `lists` is the record of a task, or one of the module for all.
 *
 * A list is never changed, only replaced. Whoever walks one is therefore safe
 * from what the callbacks do, and sees by comparing whether anything was. */
#include "binding.h"

enum {
  OUTER_MAX = 4 /* a chain over jsonp is two deep */
};

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

void ntl_listener_add(lua_State* L, int lists, int arg,
                      const ntl_list_t* list) {
  int old, count;

  luaL_checktype(L, arg, LUA_TFUNCTION);
  lua_rawgeti(L, lists, list->slot);
  old = lua_gettop(L);
  if (!lua_istable(L, old) || !find(L, old, arg)) {
    count = push_copy(L, 0);
    lua_pushvalue(L, arg);
    lua_rawseti(L, -2, count + 1);
    lua_rawseti(L, lists, list->slot);
  }
  lua_settop(L, old - 1);
}

void ntl_listener_remove(lua_State* L, int lists, int arg,
                         const ntl_list_t* list) {
  bool all = lua_isnoneornil(L, arg);
  int old, at = 0;

  if (!all)
    luaL_checktype(L, arg, LUA_TFUNCTION);
  lua_rawgeti(L, lists, list->slot);
  old = lua_gettop(L);
  if (!all && lua_istable(L, old))
    at = find(L, old, arg);
  if (all || at > 0) {
    if (all || push_copy(L, at) == 0)
      lua_pushnil(L);
    lua_rawseti(L, lists, list->slot);
  }
  lua_settop(L, old - 1);
}

int ntl_listener_on(lua_State* L, const ntl_list_t* list) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_self(L);

  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (ntl_push_record(L, s, task->id))
    ntl_listener_add(L, 3, 2, list);
  return 0;
}

int ntl_listener_off(lua_State* L, const ntl_list_t* list) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_self(L);

  lua_settop(L, 2);
  if (!lua_isnil(L, 2))
    luaL_checktype(L, 2, LUA_TFUNCTION);
  if (ntl_push_record(L, s, task->id))
    ntl_listener_remove(L, 3, 2, list);
  return 0;
}

bool ntl_has_listeners(lua_State* L, int lists, const ntl_list_t* list) {
  bool has;

  lua_rawgeti(L, lists, list->slot);
  has = lua_istable(L, -1);
  lua_pop(L, 1);
  return has;
}

/* Whether the function on top still is in its list; `old`, at that index, is
 * the one that it was taken from. */
static bool is_current(lua_State* L, int lists, int old,
                       const ntl_list_t* list) {
  int function = lua_gettop(L);
  bool current;

  lua_rawgeti(L, lists, list->slot);
  current = lua_rawequal(L, -1, old) ||
            (lua_istable(L, -1) && find(L, lua_gettop(L), function));
  lua_pop(L, 1);
  return current;
}

/* Replace the record on top by that of the task that it works for. False: by
 * something else, since it works for none. */
static bool go_out(lua_State* L) {
  lua_getfield(L, -1, "outer");
  lua_remove(L, -2);
  return lua_istable(L, -1);
}

bool ntl_is_heard(lua_State* L, const ntl_state_t* s, int record,
                  const ntl_list_t* list) {
  bool heard = ntl_has_listeners(L, record, list);

  if (heard || !s->task->inner)
    return heard;
  lua_pushvalue(L, record);
  for (int i = 0; i < OUTER_MAX && !heard && go_out(L); i++)
    heard = ntl_has_listeners(L, lua_gettop(L), list);
  lua_pop(L, 1);
  return heard;
}

/* The value to call them with is on top, and stays. */
static int call_all(lua_State* L, ntl_state_t* s, int record,
                    const ntl_kind_t* kind, const ntl_list_t* list) {
  int value = lua_gettop(L);
  int old = value + 1;
  int goes_on = 1;
  int count;

  lua_rawgeti(L, record, list->slot);
  count = lua_istable(L, old) ? (int) ntl_rawlen(L, old) : 0;
  for (int i = 1; i <= count && goes_on && !s->task->aborted; i++) {
    lua_rawgeti(L, old, i);
    if (i == 1 || is_current(L, record, old, list)) {
      lua_pushvalue(L, value);
      goes_on = ntl_call(L, s, 1, kind, list->name);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_settop(L, value);
  return goes_on;
}

/* Messages name the task that the script has. */
static void tell_about(lua_State* L, ntl_state_t* s, int record) {
  const ntl_task_t* task;

  lua_rawgeti(L, record, NTL_SELF);
  task = lua_touserdata(L, -1);
  if (task != NULL)
    s->about = task->id;
  lua_pop(L, 1);
}

static int call_outer(lua_State* L, ntl_state_t* s, int record,
                      const ntl_kind_t* kind, const ntl_list_t* list) {
  int value = lua_gettop(L);
  int goes_on = 1;

  lua_pushvalue(L, record);
  for (int i = 0; i < OUTER_MAX && goes_on && go_out(L); i++) {
    tell_about(L, s, value + 1);
    lua_pushvalue(L, value);
    goes_on = call_all(L, s, value + 1, kind, list);
    lua_settop(L, value + 1);
  }
  s->about = s->event.id;
  return goes_on;
}

int ntl_fire(lua_State* L, ntl_state_t* s, int record, const ntl_kind_t* kind,
             const ntl_list_t* list) {
  int value = lua_gettop(L);
  int goes_on = call_all(L, s, record, kind, list);

  if (goes_on && s->task->inner)
    goes_on = call_outer(L, s, record, kind, list);
  lua_settop(L, value - 1);
  return goes_on;
}
