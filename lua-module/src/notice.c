/* Callbacks that are due although nothing has happened on the network: a call
 * was accepted, or refused for what its arguments or the state of its task show
 * at once. No callback runs inside of a call, so each such outcome becomes a
 * task that ends as soon as it is made. Its one event goes through the core
 * like any other: order, budget, wait() and run() see it without knowing.
 *
 * Notices come before all that happens on the network from then on, and one
 * after the other as they were made. */
#include "binding.h"

/* Slots of the record: four values, as from a finish(), and the record of the
 * task that it is about. */
enum {
  RESULTS = 4,
  ABOUT = NTL_LISTS + RESULTS
};

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);

static const char* const apis[] = {
  "connectSocket",
  "sendSocketMessage",
  "closeSocket",
  "startLocalServiceDiscovery",
  "stopLocalServiceDiscovery",
  NULL,
};

/* One for each API, for messages. */
static const ntl_kind_t kinds[] = {
  { "nettask.Notice", "connectSocket", "notice", dispatch, NULL, NULL },
  { "nettask.Notice", "sendSocketMessage", "notice", dispatch, NULL, NULL },
  { "nettask.Notice", "closeSocket", "notice", dispatch, NULL, NULL },
  { "nettask.Notice", "startLocalServiceDiscovery", "notice", dispatch, NULL,
    NULL },
  { "nettask.Notice", "stopLocalServiceDiscovery", "notice", dispatch, NULL,
    NULL },
};

/* Whether the task that it is about was silenced since. */
static bool is_silent(lua_State* L, int record) {
  bool silent = false;

  lua_rawgeti(L, record, ABOUT);
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "silent");
    silent = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return silent;
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);
  int about = record + 1;
  int base = record + 2;

  if (is_silent(L, record)) {
    ntl_untrack(L, s, event->id);
    return;
  }
  lua_rawgeti(L, record, ABOUT);
  for (int i = 0; i < RESULTS; i++)
    lua_rawgeti(L, record, NTL_LISTS + i);
  lua_pushnil(L);
  ntl_untrack(L, s, event->id);
  if (lua_istable(L, about)) {
    lua_rawgeti(L, about, NTL_SELF);
    ntl_result_keep(L, lua_gettop(L), base);
  }
  if (ntl_call_results(L, s, base, s->task->kind) && lua_istable(L, about))
    ntl_promise_settle(L, s, about, base, s->task->kind);
}

/* core.notice(api, ok, res, f, g [, record]): f(res) and g(res) are called, as
 * success or fail and complete of that API, unless the task with that record is
 * aborted silently. */
static int notice(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  const ntl_kind_t* kind = &kinds[luaL_checkoption(L, 1, NULL, apis)];
  const ntl_task_t* task;

  lua_settop(L, 6);
  lua_createtable(L, ABOUT, 0);
  for (int i = 0; i <= RESULTS; i++) {
    lua_pushvalue(L, i + 2);
    lua_rawseti(L, 7, NTL_LISTS + i);
  }
  task = ntl_task_push(L, kind, sizeof(*task), 0);
  ntl_task_begin(L, s, 8, 7, nt_request_open);
  if (s->context != NULL) /* a finaliser may have closed it */
    nt_fail(s->context, task->id, NT_OK, NULL);
  return 0;
}

void ntl_notice_open(lua_State* L) {
  static const luaL_Reg methods[] = { { NULL, NULL } };
  static const luaL_Reg funcs[] = {
    { "notice", notice },
    { NULL, NULL },
  };

  ntl_task_class(L, &kinds[0], methods);
  ntl_register(L, funcs);
}
