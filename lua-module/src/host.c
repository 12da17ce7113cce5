/* What belongs to the host: the seal, the end of the context, the handlers of
 * the Lua layer, and figures about what goes on. The policy is in lpolicy.c.
 *
 * After seal() these functions work only for who passes the capability that
 * seal() returned, a userdata without contents that a script cannot make. The
 * check sits here and not in the Lua layer, because a script may have found
 * this table in package.loaded.
 *
 * From the seal on it finds it there no more: the parts of the Lua layer leave
 * package.loaded, and who asks for "nettask.core" gets a door that leads to
 * the module table alone. What the parts give to one another (records of tasks,
 * settings, the logger) is checked by nobody, and some of it is trusted by C
 * code. */
#include <string.h>

#include "binding.h"

enum {
  CLOSE_MS = 500
};

/* Whether nettask_configure() alone takes it from scripts, without a seal. */
static bool is_of_policy(const char* name) {
  return strcmp(name, "configure") == 0 ||
         strcmp(name, "registerHttpDNS") == 0 ||
         strncmp(name, "secrets.", 8) == 0;
}

/* Why the caller may not, or NULL. Takes the capability off the stack. */
static const char* find_bar(lua_State* L, ntl_state_t* s, const char* name) {
  int is_host;

  ntl_push_ref(L, s->host);
  is_host =
      lua_gettop(L) > 1 && lua_isuserdata(L, -1) && lua_rawequal(L, 1, -1);
  lua_pop(L, 1);
  if (is_host)
    lua_remove(L, 1);
  else if (s->sealed)
    return "the configuration is sealed";
  else if (s->embedded && is_of_policy(name))
    return "the policy is that of nettask_configure()";
  return NULL;
}

static int raise_bar(lua_State* L, int level, const char* name,
                     const char* bar) {
  luaL_where(L, level);
  lua_pushfstring(L, "nettask: %s: %s, only the host can call this", name, bar);
  lua_concat(L, 2);
  return lua_error(L);
}

void ntl_gate(lua_State* L, ntl_state_t* s, const char* name) {
  const char* bar = find_bar(L, s, name);

  if (bar != NULL)
    raise_bar(L, 1, name, bar);
}

/* core.gate([host,] name): for functions of the Lua layer, whose callers the
 * error is for. */
static int gate(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  const char* name = luaL_checkstring(L, lua_isuserdata(L, 1) ? 2 : 1);
  const char* bar = find_bar(L, s, name);

  return bar == NULL ? 0 : raise_bar(L, 2, name, bar);
}

/* The door that is left, see ntl_push_door(). */
static int locked(lua_State* L) {
  const char* name = lua_tostring(L, 2);

  return luaL_error(L,
                    "nettask: core.%s: the configuration is sealed, only the"
                    " host has the parts of the module",
                    name == NULL ? "?" : name);
}

static int known_module(lua_State* L) {
  ntl_push_ref(L, ntl_self(L)->module);
  return 1;
}

void ntl_push_door(lua_State* L) {
  static const luaL_Reg funcs[] = {
    { "module", known_module },
    { NULL, NULL },
  };

  lua_newtable(L);
  ntl_register(L, funcs);
  lua_newtable(L);
  lua_pushcfunction(L, locked);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
}

static bool is_part(lua_State* L, int idx) {
  static const char prefix[] = "nettask.";

  return lua_type(L, idx) == LUA_TSTRING &&
         strncmp(lua_tostring(L, idx), prefix, sizeof(prefix) - 1) == 0;
}

/* Take the parts out of package.loaded: out of the table that require() looks
 * at, whatever is called that by now. */
static void hide_parts(lua_State* L) {
  int loaded;

  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  loaded = lua_gettop(L);
  lua_pushnil(L);
  while (lua_istable(L, loaded) && lua_next(L, loaded)) {
    lua_pop(L, 1);
    if (!is_part(L, -1))
      continue;
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, loaded);
  }
  lua_settop(L, loaded - 1);
}

/* core.seal() -> capability. A second call raises. */
static int seal(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  int err;

  if (s->sealed)
    return luaL_error(L, "nettask: seal: the configuration is sealed already");
  if (s->embedded && !s->sealing)
    return luaL_error(L,
                      "nettask: seal: the policy is that of"
                      " nettask_configure(), only the host can seal it");
  err = ntl_policy_seal(s);
  if (err)
    return ntl_raise(L, err);
  hide_parts(L);
  ntl_newuserdata(L, 1, 0);
  ntl_newmetatable(L, "nettask.host");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  ntl_set_ref(L, s->host);
  s->sealed = true;
  return 1;
}

static int sealed(lua_State* L) {
  lua_pushboolean(L, ntl_self(L)->sealed);
  return 1;
}

/* core.bind([host,] { report =, log =, finish =, ... }) */
static int bind(lua_State* L) {
  static const char* const names[NTL_HANDLERS] = {
    "report", "log", "finish", "profile", "send",   "close",   "fault",
    "data",   "tcp", "remark", "audit",   "lookup", "reasons",
  };
  ntl_state_t* s = ntl_self(L);

  ntl_gate(L, s, "bind");
  luaL_checktype(L, 1, LUA_TTABLE);
  for (int i = 0; i < NTL_HANDLERS; i++) {
    lua_getfield(L, 1, names[i]);
    luaL_checktype(L, -1, LUA_TFUNCTION);
    ntl_set_ref(L, s->handlers[i]);
  }
  return 0;
}

/* core.module([net]) -> net | nil. The table that require "nettask" returns,
 * kept here: emptying package.loaded makes no second one, which would know
 * nothing of the seal. */
static int module(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  if (!lua_isnoneornil(L, 1)) {
    ntl_gate(L, s, "module");
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, 1);
    ntl_set_ref(L, s->module);
  }
  ntl_push_ref(L, s->module);
  if (!lua_istable(L, -1))
    lua_pushnil(L);
  return 1;
}

/* ---- The context -------------------------------------------------------- */

static void clear_live(lua_State* L, ntl_state_t* s) {
  ntl_live_clear(L, s);
  ntl_jobs_clear(L, s);
  s->idle_count = s->lookup_count = 0;
  s->oldest = s->newest = s->bound = NULL;
  s->scan = NULL;
}

/* A finaliser of the script may close the context while update() makes Lua
 * values of an event, whose bytes belong to the context: update() then frees
 * it when it is done. */
static void end_context(ntl_state_t* s, uint32_t deadline_ms) {
  nt_context_t* context = s->context;

  s->context = NULL;
  s->epoch++;
  s->paused = false;
  if (s->updating && s->holds_event && !s->handed && s->doomed == NULL) {
    s->doomed = context;
    return;
  }
  if (!s->updating)
    s->holds_event = false;
  nt_close(context, deadline_ms);
}

/* core.close([host,] [deadlineMs]): ends the context. No callback runs
 * afterwards, not even the rest of the event that called us. */
static int close_context(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  lua_Number deadline_ms;

  ntl_gate(L, s, "close");
  deadline_ms = luaL_optnumber(L, 1, CLOSE_MS);
  if (s->context == NULL)
    return 0;
  if (!(deadline_ms >= 0))
    deadline_ms = 0;
  end_context(s,
              deadline_ms > UINT32_MAX ? UINT32_MAX : (uint32_t) deadline_ms);
  clear_live(L, s);
  return 0;
}

static int pause_delivery(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  ntl_gate(L, s, "pause");
  s->paused = true;
  return 0;
}

static int resume_delivery(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  ntl_gate(L, s, "resume");
  s->paused = false;
  return 0;
}

/* core.setBackground([host,] on): of the context that there is, and of later
 * ones. */
static int set_background(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  bool on;
  int err = 0;

  ntl_gate(L, s, "setBackground");
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  on = lua_toboolean(L, 1);
  if (s->context != NULL)
    err = nt_background(s->context, on);
  if (err)
    return ntl_raise(L, err);
  s->background = on;
  return 0;
}

/* ---- Figures ------------------------------------------------------------ */

static void set_number(lua_State* L, const char* name, uint64_t value) {
  ntl_pushunsigned64(L, value);
  lua_setfield(L, -2, name);
}

static const char* const kinds[] = {
  "request", "download", "upload", "socket", "tcp", "udp", "mdns", "sleep",
};

enum {
  KINDS = sizeof(kinds) / sizeof(*kinds),
  STATES = NT_STATE_DONE
};

typedef struct census {
  const ntl_state_t* s;
  uint64_t counts[KINDS][STATES];
} census_t;

static void count_task(const ntl_task_t* task, void* arg) {
  census_t* census = arg;
  nt_context_t* context = census->s->context;
  nt_state_t state = NT_STATE_DONE;

  if (context != NULL) /* a finaliser may have closed it meanwhile */
    state = nt_state(context, task->id);
  for (int kind = 0; kind < KINDS && state != NT_STATE_DONE; kind++) {
    if (strcmp(kinds[kind], task->kind->name) == 0)
      census->counts[kind][state]++;
  }
}

/* One table for each kind of task, on the table on top. */
static void set_by_state(lua_State* L, const ntl_state_t* s) {
  census_t census = { s, { { 0 } } };

  ntl_live_each(L, s, count_task, &census);
  for (int kind = 0; kind < KINDS; kind++) {
    lua_createtable(L, 0, STATES);
    for (int state = 0; state < STATES; state++)
      set_number(L, ntl_state_name((nt_state_t) state),
                 census.counts[kind][state]);
    lua_setfield(L, -2, kinds[kind]);
  }
}

static void set_longest(lua_State* L, ntl_state_t* s) {
  lua_pushnumber(L, s->longest_update_ms);
  lua_setfield(L, -2, "longestUpdateMs");
  lua_pushnumber(L, s->longest_callback_ms);
  lua_setfield(L, -2, "longestCallbackMs");
  if (s->longest_kind != NULL) {
    ntl_push_id(L, s->longest_id);
    lua_pushfstring(L, "%s #%s %s", s->longest_kind->label, lua_tostring(L, -1),
                    s->longest_what);
    lua_setfield(L, -3, "longestCallback");
    lua_pop(L, 1);
  }
  s->longest_update_ms = s->longest_callback_ms = 0;
  s->longest_kind = NULL;
}

/* core.stats() -> table */
static int stats(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  nt_stats_t figures;

  memset(&figures, 0, sizeof(figures));
  if (s->context != NULL)
    nt_stats(s->context, &figures);
  lua_createtable(L, 0, 18);
  set_by_state(L, s);
  set_number(L, "live", s->live_count);
  set_number(L, "queuedEvents", figures.waiting_events);
  set_number(L, "queuedBytes", figures.waiting_bytes);
  set_number(L, "bytesIn", figures.bytes_in);
  set_number(L, "bytesOut", figures.bytes_out);
  set_number(L, "droppedDatagrams", figures.dropped);
  set_number(L, "refusedServices", figures.services_refused);
  set_number(L, "refusals", figures.refusals);
  set_longest(L, s);
  return 1;
}

void ntl_host_open(lua_State* L) {
  static const luaL_Reg funcs[] = {
    { "gate", gate },
    { "seal", seal },
    { "sealed", sealed },
    { "bind", bind },
    { "module", module },
    { "close", close_context },
    { "pause", pause_delivery },
    { "resume", resume_delivery },
    { "setBackground", set_background },
    { "stats", stats },
    { NULL, NULL },
  };

  ntl_register(L, funcs);
}
