/* The store for the Lua layer, whose one task no script sees: an action with a
 * function that hears of its end. On the host thread. */
#include "binding.h"

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);

static const ntl_kind_t store_kind = {
  "nettask.StoreTask", "StoreTask", "store", dispatch, NULL, NULL,
};

/* done(value, code, message), with nil for what is not there. */
static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  lua_getfield(L, lua_gettop(L), "done");
  if (event->data != NULL)
    lua_pushlstring(L, event->data, event->size);
  else
    lua_pushnil(L);
  lua_pushinteger(L, event->error);
  lua_pushstring(L, event->message);
  ntl_untrack(L, s, event->id);
  ntl_call(L, s, 3, &store_kind, "store");
}

static void read_action(lua_State* L, nt_store_options_t* options) {
  static const char* const names[] = { "get", "put", "remove", NULL };

  options->action = (nt_store_action_t) luaL_checkoption(L, 2, NULL, names);
  options->key = luaL_checklstring(L, 3, &options->key_size);
  options->value = luaL_optlstring(L, 4, "", &options->value_size);
}

/* core.store(done, "get" | "put" | "remove", key [, value]): done is called in
 * a later update(), whatever happens. */
static int store(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  nt_store_options_t options;
  const ntl_task_t* task;
  int err;

  luaL_checktype(L, 1, LUA_TFUNCTION);
  read_action(L, &options);
  lua_settop(L, 4);
  lua_createtable(L, 1, 1);
  lua_pushvalue(L, 1);
  lua_setfield(L, 5, "done");
  task = ntl_task_push(L, &store_kind, sizeof(*task), 0);
  ntl_task_begin(L, s, 6, 5, nt_store_open);
  err = nt_store_start(s->context, task->id, &options);
  if (err)
    nt_fail(s->context, task->id, err, NULL);
  return 0;
}

void ntl_store_open(lua_State* L) {
  static const luaL_Reg methods[] = { { NULL, NULL } };
  static const luaL_Reg funcs[] = {
    { "store", store },
    { NULL, NULL },
  };

  ntl_task_class(L, &store_kind, methods);
  ntl_register(L, funcs);
}
