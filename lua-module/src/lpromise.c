/* Promises, as far as C has to know of them: nettask/promise.lua is what they
 * are. Here is how a task comes by one, how its last event settles it, and how
 * update() runs what waits, one job after the other, as callbacks like any.
 *
 * A task has no promise until somebody asks for one: it is made by the Lua
 * layer and lies in the record. The result of a task that has ended stays with
 * its userdata, for whoever asks later; it is garbage when the script lets go
 * of the task. */
#include "params.h"

/* The queue of jobs, filled by the Lua layer: the first job and the last, the
 * first promise that was rejected with nobody waiting and the last; each may be
 * false. Then whether we were told that there is something, and how often the
 * queue was cleared. */
enum {
  FIRST_JOB = 1,
  FIRST_REJECTED = 3,
  TOLD = 5,
  ERA
};

/* For messages and stats(). */
const ntl_kind_t ntl_promise_kind = {
  "nettask.Promise", "promise", "promise", NULL, NULL, NULL
};

/* ---- Results ------------------------------------------------------------- */

/* Whether callbacks hear that it failed. */
static bool is_told(lua_State* L, int base) {
  return !lua_toboolean(L, base) &&
         (lua_isfunction(L, base + 2) || lua_isfunction(L, base + 3));
}

/* The user value has to be a table; a chain of interceptors may come to
 * anything, which is then the first element of one. */
void ntl_result_keep(lua_State* L, int task, int base) {
  ntl_task_t* self = lua_touserdata(L, task);

  if (lua_isnil(L, base))
    return;
  self->ok = lua_toboolean(L, base);
  self->told = is_told(L, base);
  self->boxed = !lua_istable(L, base + 1);
  if (self->boxed)
    lua_createtable(L, 1, 0);
  lua_pushvalue(L, base + 1);
  if (self->boxed)
    lua_rawseti(L, -2, 1);
  ntl_setuservalue(L, task);
  self->settled = true;
}

static void push_result(lua_State* L, int task, bool boxed) {
  ntl_getuservalue(L, task);
  if (!boxed)
    return;
  lua_rawgeti(L, -1, 1);
  lua_remove(L, -2);
}

/* No function of the script runs in settle(). */
void ntl_promise_settle(lua_State* L, const ntl_state_t* s, int record,
                        int base, const ntl_kind_t* kind) {
  lua_getfield(L, record, "promise");
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  ntl_push_ref(L, s->settle);
  lua_insert(L, -2);
  lua_pushvalue(L, base);
  if (lua_isnil(L, base))
    lua_pushstring(L, kind->name);
  else
    lua_pushvalue(L, base + 1);
  lua_pushboolean(L, is_told(L, base));
  lua_call(L, 4, 0);
}

/* ---- Jobs ---------------------------------------------------------------- */

/* Whether there is more to do. */
static bool look_on(lua_State* L, const ntl_state_t* s) {
  bool has;

  ntl_push_ref(L, s->jobs);
  lua_rawgeti(L, -1, FIRST_JOB);
  lua_rawgeti(L, -2, FIRST_REJECTED);
  has = lua_toboolean(L, -1) || lua_toboolean(L, -2);
  lua_pop(L, 2);
  if (!has) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, -2, TOLD);
  }
  lua_pop(L, 1);
  return has;
}

int ntl_job_run(lua_State* L, ntl_state_t* s) {
  ntl_push_ref(L, s->turn);
  if (!ntl_call(L, s, 0, &ntl_promise_kind, "job"))
    return 0;
  s->has_jobs = look_on(L, s);
  return 1;
}

void ntl_jobs_clear(lua_State* L, ntl_state_t* s) {
  s->has_jobs = false;
  ntl_push_ref(L, s->jobs);
  if (lua_istable(L, -1)) {
    for (int i = 1; i <= TOLD; i++) {
      lua_pushboolean(L, 0);
      lua_rawseti(L, -2, i);
    }
    lua_rawgeti(L, -1, ERA);
    lua_pushinteger(L, lua_tointeger(L, -1) + 1);
    lua_rawseti(L, -3, ERA);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* core.wantTurn(): there is a job now. */
static int want_turn(lua_State* L) {
  ntl_self(L)->has_jobs = true;
  return 0;
}

/* ---- Tasks --------------------------------------------------------------- */

/* Argument 1, if it is a task that has promises. */
static ntl_task_t* test_task(lua_State* L, const ntl_state_t* s) {
  bool has;

  if (lua_type(L, 1) != LUA_TUSERDATA || !lua_getmetatable(L, 1))
    return NULL;
  ntl_push_ref(L, s->promise_classes);
  lua_insert(L, -2);
  lua_rawget(L, -2);
  has = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return has ? lua_touserdata(L, 1) : NULL;
}

/* core.isTask(x): of those that can be in a group. */
static int is_task(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  luaL_checkany(L, 1);
  lua_pushboolean(L, test_task(L, s) != NULL ||
                         ntl_testudata(L, 1, "nettask.TCPSocket") != NULL ||
                         ntl_testudata(L, 1, "nettask.UDPSocket") != NULL);
  return 1;
}

/* Push the promise of the live task whose record is on top: the one that it
 * has, else the one at `made`. */
static void push_promise(lua_State* L, ntl_task_t* task, int made) {
  if (task->promised) {
    lua_getfield(L, -1, "promise");
    return;
  }
  lua_pushvalue(L, made);
  lua_setfield(L, -2, "promise");
  task->promised = true;
  lua_pushvalue(L, made);
}

/* core.promiseOf(x, p): returns
 *   the promise of x, a live task: p from now on, if it has had none
 *   nil, ok, res, told   x has ended; told: its callbacks know of the failure
 *   nil, nil, kind       it was aborted silently, or its context is closed
 *   false                x is no task */
static int promise_of(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_task_t* task = test_task(L, s);

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  if (task == NULL) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (task->settled) {
    lua_pushnil(L);
    lua_pushboolean(L, task->ok);
    push_result(L, 1, task->boxed);
    lua_pushboolean(L, task->told);
    return 4;
  }
  if (ntl_push_record(L, s, task->id) &&
      !(task->aborted && ntl_get_flag(L, 3, "silent"))) {
    push_promise(L, task, 2);
    return 1;
  }
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushstring(L, task->kind->name);
  return 3;
}

/* core.accept(task, res): it is as good as its call promised, before it has
 * ended, and no callback waits to hear that. */
static int accept(lua_State* L) {
  const ntl_state_t* s = ntl_self(L);

  luaL_argcheck(L, test_task(L, s) != NULL, 1, "a task expected");
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_pushboolean(L, 1);
  lua_insert(L, 2);
  lua_settop(L, 6);
  ntl_result_keep(L, 1, 2);
  return 0;
}

/* ---- Opening ------------------------------------------------------------- */

static const char* const classes[] = {
  "nettask.RequestTask", "nettask.DownloadTask", "nettask.UploadTask",
  "nettask.SocketTask", "nettask.SleepTask"
};

/* The methods of a class are an upvalue of its __index, see task.c. */
static void add_methods(lua_State* L, const char* class, int methods) {
  luaL_getmetatable(L, class);
  lua_getfield(L, -1, "__index");
  lua_getupvalue(L, -1, 3);
  lua_pushnil(L);
  while (lua_next(L, methods)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  lua_pop(L, 3);
}

/* core.promises([host,] queue, turn, settle, methods): what the Lua layer has
 * for us. turn() takes a job out of the queue and runs it; settle(p, ok, res,
 * told) or, for a silent end, settle(p, nil, kind); methods are for tasks. */
static int promises(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  ntl_gate(L, s, "promises");
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  luaL_checktype(L, 4, LUA_TTABLE);
  lua_settop(L, 4);
  for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
    add_methods(L, classes[i], 4);
  lua_settop(L, 3);
  ntl_set_ref(L, s->settle);
  ntl_set_ref(L, s->turn);
  ntl_set_ref(L, s->jobs);
  return 0;
}

static void make_classes(lua_State* L, ntl_state_t* s) {
  lua_newtable(L);
  for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
    luaL_getmetatable(L, classes[i]);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
  }
  s->promise_classes = ntl_new_ref(L);
}

void ntl_promise_open(lua_State* L, ntl_state_t* s) {
  static const luaL_Reg funcs[] = {
    { "promises", promises },  { "promiseOf", promise_of },
    { "isTask", is_task },     { "accept", accept },
    { "wantTurn", want_turn }, { NULL, NULL },
  };

  make_classes(L, s);
  ntl_register(L, funcs);
}
