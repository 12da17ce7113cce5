/* The userdata that a script holds of a task, of whatever kind. It is an id and
 * owns nothing, so it needs no finaliser: what keeps a task going is its entry
 * in the live table, live[id] = { userdata, ... }, and the last event
 * takes that away. */
#include <string.h>

#include "binding.h"

void ntl_push_id(lua_State* L, nt_id_t id) {
  ntl_pushunsigned64(L, id);
}

ntl_task_t* ntl_task_push(lua_State* L, const ntl_kind_t* kind, size_t size,
                          int values) {
  ntl_task_t* task = ntl_newuserdata(L, size, values);

  memset(task, 0, size);
  task->kind = kind;
  ntl_setmetatable(L, kind->type_name);
  return task;
}

/* In a method of a class, whose metatable is its second upvalue, the task is
 * known without looking that up by name. */
static ntl_task_t* test_own(lua_State* L, int arg) {
  ntl_task_t* task = lua_touserdata(L, arg);

  if (task == NULL || !lua_getmetatable(L, arg))
    return NULL;
  if (!lua_rawequal(L, -1, lua_upvalueindex(2)))
    task = NULL;
  lua_pop(L, 1);
  return task;
}

ntl_task_t* ntl_task_check(lua_State* L, int arg, const ntl_kind_t* kind) {
  ntl_task_t* task = test_own(L, arg);

  if (task != NULL && task->kind == kind)
    return task;
  return ntl_checkudata(L, arg, kind->type_name);
}

ntl_task_t* ntl_task_self(lua_State* L) {
  ntl_task_t* task = test_own(L, 1);
  const char* name;

  if (task != NULL)
    return task;
  lua_getfield(L, lua_upvalueindex(2), "__name");
  name = lua_tostring(L, -1); /* which the metatable keeps */
  lua_pop(L, 1);
  ntl_typeerror(L, 1, name);
  return NULL;
}

/* ---- From the first to the last ----------------------------------------- */

/* The record at `record` is live from now on, and holds the task at `task`. */
static void track(lua_State* L, ntl_state_t* s, int task, int record) {
  const ntl_task_t* self = lua_touserdata(L, task);

  lua_pushvalue(L, task);
  lua_rawseti(L, record, NTL_SELF);
  ntl_live_add(L, s, self->id, record);
}

/* A task that Lua had no memory to keep ends now; its event finds no record. */
static void end_orphan(ntl_state_t* s) {
  if (s->orphan != 0 && s->context != NULL)
    nt_abort(s->context, s->orphan);
  s->orphan = 0;
}

int ntl_task_try(lua_State* L, ntl_state_t* s, int task, int record,
                 int (*open)(nt_context_t*, nt_id_t*)) {
  ntl_task_t* self = lua_touserdata(L, task);
  int err;

  ntl_live_prepare(L, s);
  err = open(ntl_context(L, s), &self->id);
  if (err)
    return err;
  end_orphan(s);
  s->orphan = self->id;
  track(L, s, task, record);
  s->orphan = 0;
  return 0;
}

void ntl_task_begin(lua_State* L, ntl_state_t* s, int task, int record,
                    int (*open)(nt_context_t*, nt_id_t*)) {
  int err = ntl_task_try(L, s, task, record, open);

  if (err)
    ntl_raise(L, err);
}

int ntl_task_open(lua_State* L, const ntl_kind_t* kind, size_t size,
                  int (*open)(nt_context_t*, nt_id_t*)) {
  ntl_state_t* s = ntl_self(L);
  ntl_task_t* task;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  task = ntl_task_push(L, kind, size, 1);
  if (lua_istable(L, 2)) {
    task->inner = true;
    lua_pushvalue(L, 2);
    lua_setfield(L, 1, "outer");
  }
  ntl_task_begin(L, s, 3, 1, open);
  return 1;
}

int ntl_task_refuse(lua_State* L, const ntl_kind_t* kind) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, kind);

  if (s->context != NULL)
    nt_fail(s->context, task->id, NT_E_INVALID, NULL);
  return 0;
}

void ntl_untrack(lua_State* L, ntl_state_t* s, nt_id_t id) {
  ntl_task_t* self;

  if (!ntl_push_record(L, s, id))
    return;
  lua_rawgeti(L, -1, NTL_SELF);
  self = lua_touserdata(L, -1);
  if (self->kind->forget != NULL)
    self->kind->forget(s, self);
  lua_pop(L, 2);
  ntl_live_remove(L, s, id);
}

/* ---- Members of every task ---------------------------------------------- */

const char* ntl_state_name(nt_state_t state) {
  static const char* const names[] = { "idle", "queued",  "connecting",
                                       "open", "closing", "done" };

  return names[state];
}

static nt_state_t own_state(const ntl_state_t* s, nt_id_t id) {
  return s->context == NULL ? NT_STATE_DONE : nt_state(s->context, id);
}

/* A task that others work for is idle itself: it shows what the newest of them
 * does, and between two of them that it waits. */
static nt_state_t task_state(lua_State* L, ntl_state_t* s, nt_id_t id) {
  nt_state_t state = own_state(s, id);

  if (state != NT_STATE_IDLE || !ntl_push_record(L, s, id))
    return state;
  lua_getfield(L, -1, "inner");
  if (!lua_isnil(L, -1)) {
    const ntl_task_t* inner = lua_touserdata(L, -1);

    if (inner != NULL)
      state = task_state(L, s, inner->id);
    if (state == NT_STATE_IDLE || state == NT_STATE_DONE)
      state = NT_STATE_QUEUED;
  }
  lua_pop(L, 2);
  return state;
}

static const char* state_name(lua_State* L, ntl_state_t* s, nt_id_t id) {
  return ntl_state_name(task_state(L, s, id));
}

/* Upvalue 3: the methods, which check what they are called with. */
static int task_index(lua_State* L) {
  ntl_state_t* s;
  const ntl_task_t* task;
  const char* key;

  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(3));
  if (!lua_isnil(L, -1) || lua_type(L, 2) != LUA_TSTRING)
    return 1;
  s = lua_touserdata(L, lua_upvalueindex(1));
  task = ntl_task_self(L);
  key = lua_tostring(L, 2);
  if (strcmp(key, "state") == 0)
    lua_pushstring(L, state_name(L, s, task->id));
  else if (strcmp(key, "id") == 0)
    ntl_push_id(L, task->id);
  else if (task->kind->field == NULL || !task->kind->field(L, s, task, key))
    lua_pushnil(L);
  return 1;
}

/* "nettask.RequestTask #12 (done)" */
static int task_tostring(lua_State* L) {
  ntl_state_t* s = lua_touserdata(L, lua_upvalueindex(1));
  const ntl_task_t* task = ntl_task_self(L);
  const char* state = state_name(L, s, task->id);

  ntl_push_id(L, task->id);
  lua_pushfstring(L, "%s #%s (%s)", task->kind->type_name, lua_tostring(L, -1),
                  state);
  return 1;
}

static int wants_silence(lua_State* L, int arg) {
  int silent = 0;

  if (lua_isnoneornil(L, arg))
    return 0;
  luaL_checktype(L, arg, LUA_TTABLE);
  lua_getfield(L, arg, "silent");
  silent = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return silent;
}

/* task:abort([{ silent = true }]). The core drops the events that wait; the
 * flag stops the listeners of the one that is being delivered. */
static int task_abort(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_task_t* task = ntl_task_self(L);
  int silent = wants_silence(L, 2);

  if (s->context == NULL || !ntl_push_record(L, s, task->id))
    return 0;
  task->aborted = true;
  if (silent) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "silent");
  }
  nt_abort(s->context, task->id);
  lua_getfield(L, -1, "cancel");
  if (lua_isfunction(L, -1))
    lua_call(L, 0, 0);
  return 0;
}

/* ---- Classes ------------------------------------------------------------ */

/* Add it to the table on top. Its upvalues are the state and the metatable. */
static void add_method(lua_State* L, int metatable, const char* name,
                       lua_CFunction function) {
  ntl_push_state(L);
  lua_pushvalue(L, metatable);
  lua_pushcclosure(L, function, 2);
  lua_setfield(L, -2, name);
}

void ntl_task_class(lua_State* L, const ntl_kind_t* kind,
                    const luaL_Reg* methods) {
  int metatable;

  ntl_newmetatable(L, kind->type_name);
  metatable = lua_gettop(L);
  ntl_push_state(L);
  lua_pushvalue(L, metatable);
  lua_newtable(L);
  for (; methods->name != NULL; methods++)
    add_method(L, metatable, methods->name, methods->func);
  add_method(L, metatable, "abort", task_abort);
  lua_pushcclosure(L, task_index, 3);
  lua_setfield(L, -2, "__index");
  add_method(L, metatable, "__tostring", task_tostring);
  lua_pop(L, 1);
}
