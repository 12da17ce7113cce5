/* SleepTask: ends with success after a time. */
#include "binding.h"

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);

static const ntl_kind_t sleep_kind = {
  "nettask.SleepTask", "SleepTask", "sleep", dispatch, NULL, NULL
};

/* ok, res, and none of the callbacks that a finish() has. */
static void push_success(lua_State* L) {
  lua_pushboolean(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "sleep:ok");
  lua_setfield(L, -2, "errMsg");
}

static void push_failure(lua_State* L, ntl_state_t* s, int record,
                         const nt_event_t* event) {
  ntl_push_ref(L, s->handlers[NTL_ON_FINISH]);
  lua_pushvalue(L, record);
  lua_pushstring(L, sleep_kind.name);
  lua_pushinteger(L, s->task->aborted ? NT_E_ABORTED : event->error);
  lua_pushstring(L, event->message);
  lua_call(L, 4, 2);
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);

  if (event->error == 0)
    push_success(L);
  else
    push_failure(L, s, record, event);
  lua_settop(L, record + 5);
  lua_rawgeti(L, record, NTL_SELF);
  ntl_result_keep(L, record + 6, record + 1);
  ntl_untrack(L, s, event->id);
  ntl_promise_settle(L, s, record, record + 1, &sleep_kind);
}

/* core.sleepOpen(record) -> idle task */
static int sleep_open(lua_State* L) {
  return ntl_task_open(L, &sleep_kind, sizeof(ntl_task_t), nt_sleep_open);
}

/* core.sleepStart(task, ms) -> 0 | code */
static int sleep_start(lua_State* L) {
  const ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, &sleep_kind);
  lua_Number ms = luaL_checknumber(L, 2);
  int err = NT_E_CLOSED;

  luaL_argcheck(L, ms >= 0 && ms <= UINT32_MAX, 2, "a number of ms expected");
  if (s->context != NULL)
    err = nt_sleep_start(s->context, task->id, (uint32_t) ms);
  lua_pushinteger(L, err);
  return 1;
}

void ntl_sleep_open(lua_State* L) {
  static const luaL_Reg methods[] = { { NULL, NULL } };
  static const luaL_Reg funcs[] = {
    { "sleepOpen", sleep_open },
    { "sleepStart", sleep_start },
    { NULL, NULL },
  };

  ntl_task_class(L, &sleep_kind, methods);
  ntl_register(L, funcs);
}
