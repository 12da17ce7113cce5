/* The module "nettask.core": the state of one Lua state family, its context,
 * and the small helpers that every file of the binding uses.
 *
 * The state is a userdata anchored in the registry. Its __gc runs when the Lua
 * state is closed (nothing else drops it): it ends the context and marks the
 * state dead for good, since finalisers that run after it may still call us,
 * and a context made then would never be closed. */
#ifndef _WIN32
#  define _POSIX_C_SOURCE 200809L
#endif
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#  include <windows.h>
#endif

#include "binding.h"
#include "lbuffer.h"
#include "ljson.h"
#include "lnettask.h"
#include "ltext.h"

#define STATE_KEY "nettask.state"

enum {
  CLOSE_MS = 500
};

/* ---- Helpers ------------------------------------------------------------ */

double ntl_now_ms(void) {
#ifdef _WIN32
  LARGE_INTEGER count, rate;

  QueryPerformanceCounter(&count);
  QueryPerformanceFrequency(&rate);
  return (double) count.QuadPart * 1e3 / (double) rate.QuadPart;
#else
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double) now.tv_sec * 1e3 + (double) now.tv_nsec / 1e6;
#endif
}

void ntl_push_ref(lua_State* L, int ref) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
}

void ntl_set_ref(lua_State* L, int ref) {
  lua_rawseti(L, LUA_REGISTRYINDEX, ref);
}

int ntl_new_ref(lua_State* L) {
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int new_slot(lua_State* L) {
  lua_pushboolean(L, 0);
  return ntl_new_ref(L);
}

int ntl_raise(lua_State* L, int error) {
  return luaL_error(L, "nettask: %s", nt_error_message(error));
}

void ntl_push_state(lua_State* L) {
  lua_getfield(L, LUA_REGISTRYINDEX, STATE_KEY);
}

void ntl_register(lua_State* L, const luaL_Reg* funcs) {
  for (; funcs->name != NULL; funcs++) {
    ntl_push_state(L);
    lua_pushcclosure(L, funcs->func, 1);
    lua_setfield(L, -2, funcs->name);
  }
}

/* ---- The state ---------------------------------------------------------- */

/* The one state of the process; `several` once there was a second beside it,
 * for good. Both stand-ins have no context. The idle frame reads this instead
 * of an upvalue, which would cost as much as all the rest of it. */
static ntl_state_t nobody, several;
_Atomic(ntl_state_t*) ntl_sole_state = &nobody;

static void enter_state(ntl_state_t* s) {
  ntl_state_t* expected = &nobody;

  if (!atomic_compare_exchange_strong(&ntl_sole_state, &expected, s))
    atomic_store(&ntl_sole_state, &several);
}

static void leave_state(ntl_state_t* s) {
  ntl_state_t* expected = s;

  atomic_compare_exchange_strong(&ntl_sole_state, &expected, &nobody);
}

ntl_state_t* ntl_self(lua_State* L) {
  ntl_state_t* s = lua_touserdata(L, lua_upvalueindex(1));

  if (s->dead)
    luaL_error(L, "nettask: the Lua state is closing");
  return s;
}

ntl_state_t* ntl_find(lua_State* L) {
  ntl_state_t* s;

  lua_getfield(L, LUA_REGISTRYINDEX, STATE_KEY);
  s = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return s;
}

/* 0 when there is a context now. */
static int open_context(ntl_state_t* s) {
  int err;

  if (s->context != NULL)
    return 0;
  err = nt_open(&s->context);
  if (err == 0)
    err = nt_policy_set(s->context, &s->policy);
  if (err == 0 && s->background)
    err = nt_background(s->context, 1);
  if (err == 0)
    return 0;
  nt_close(s->context, CLOSE_MS);
  s->context = NULL;
  return err;
}

nt_context_t* ntl_context(lua_State* L, ntl_state_t* s) {
  int err = open_context(s);

  if (err)
    ntl_raise(L, err);
  return s->context;
}

/* The sentinel. */
static int state_gc(lua_State* L) {
  ntl_state_t* s = lua_touserdata(L, 1);
  nt_context_t* context = s->context;

  leave_state(s);
  s->dead = true;
  s->context = NULL;
  s->epoch++;
  nt_close(context, CLOSE_MS);
  nt_close(s->doomed, CLOSE_MS);
  s->doomed = NULL;
  nt_policy_free(s->kept);
  s->kept = NULL;
  return 0;
}

static void make_refs(lua_State* L, ntl_state_t* s) {
  lua_newtable(L);
  s->live = ntl_new_ref(L);
  s->traceback = new_slot(L);
  s->host = new_slot(L);
  s->module = new_slot(L);
  for (int i = 0; i < NTL_HANDLERS; i++)
    s->handlers[i] = new_slot(L);
  s->jobs = new_slot(L);
  s->turn = new_slot(L);
  s->settle = new_slot(L);
}

/* Anchored before anything can fail that would need its __gc. */
static ntl_state_t* make_state(lua_State* L) {
  ntl_state_t* s = ntl_newuserdata(L, sizeof(*s), 0);

  memset(s, 0, sizeof(*s));
  nt_policy_init(&s->policy, NT_PRESET_MINIPROGRAM);
  if (ntl_newmetatable(L, STATE_KEY)) {
    lua_pushcfunction(L, state_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  make_refs(L, s);
  lua_setfield(L, LUA_REGISTRYINDEX, STATE_KEY);
  enter_state(s);
  return s;
}

/* ---- The module --------------------------------------------------------- */

/* core.now() -> ms. Monotonic, with a fraction; for measuring. */
static int now(lua_State* L) {
  lua_pushnumber(L, ntl_now_ms());
  return 1;
}

/* core.unixMs() -> whole ms since 1970. */
static int unix_ms(lua_State* L) {
  struct timespec now;
  int64_t ms;

  timespec_get(&now, TIME_UTC);
  ms = (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
  lua_pushnumber(L, (lua_Number) ms);
  return 1;
}

/* core.errors: "TIMEOUT" -> -9 */
static void push_errors(lua_State* L) {
  lua_newtable(L);
#define XX(name, value, text)                                                  \
  lua_pushinteger(L, (value));                                                 \
  lua_setfield(L, -2, #name);
  NT_ERROR_MAP(XX)
#undef XX
}

/* core.message(code): one line about it. */
static int message(lua_State* L) {
  lua_pushstring(L, nt_error_message((int) luaL_checkinteger(L, 1)));
  return 1;
}

static void set_version(lua_State* L, const char* name, const char* value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void set_flag(lua_State* L, const char* name, int value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

/* core.features: see nt_features_t. What this version lacks is false. */
static void push_features(lua_State* L) {
  nt_features_t features;

  nt_features(&features);
  lua_newtable(L);
  set_version(L, "nettask", features.nettask);
  set_version(L, "libuv", features.libuv);
  set_version(L, "libcurl", features.libcurl);
  set_version(L, "tls", features.tls);
  set_flag(L, "libwebsockets", 0); /* serves the demo, is not linked here */
  set_flag(L, "http2", features.http2);
  set_flag(L, "http3", features.http3);
  set_flag(L, "brotli", features.brotli);
  set_flag(L, "zstd", features.zstd);
  set_flag(L, "idn", features.idn);
  set_flag(L, "mdns", 1);
  set_flag(L, "cache", 1);
}

static void fill_core(lua_State* L, ntl_state_t* s) {
  lua_pushcfunction(L, now);
  lua_setfield(L, -2, "now");
  lua_pushcfunction(L, unix_ms);
  lua_setfield(L, -2, "unixMs");
  lua_pushcfunction(L, message);
  lua_setfield(L, -2, "message");
  push_errors(L);
  lua_setfield(L, -2, "errors");
  push_features(L);
  lua_setfield(L, -2, "features");
  ntl_buffer_open(L);
  ntl_json_open(L);
  ntl_text_open(L);
  ntl_convert_open(L, s);
  ntl_update_open(L, s);
  ntl_host_open(L);
  ntl_policy_open(L);
  ntl_secret_open(L, s);
  ntl_cookies_open(L);
  ntl_cache_open(L);
  ntl_request_open(L);
  ntl_download_open(L);
  ntl_upload_open(L);
  ntl_store_open(L);
  ntl_notice_open(L);
  ntl_socket_open(L, s);
  ntl_endpoint_open(L);
  ntl_tcp_open(L);
  ntl_udp_open(L);
  ntl_mdns_open(L, s);
  ntl_sleep_open(L);
  ntl_lookup_open(L, s);
  ntl_promise_open(L, s);
}

/* One table a Lua state, however often it is asked for; none of it after the
 * seal. */
int luaopen_nettask_core(lua_State* L) {
  ntl_state_t* s = ntl_find(L);

  if (s != NULL && s->dead)
    return luaL_error(L, "nettask: the Lua state is closing");
  if (s == NULL || s->core == 0) {
    if (s == NULL)
      s = make_state(L);
    lua_newtable(L);
    fill_core(L, s);
    s->core = ntl_new_ref(L);
  }
  if (s->sealed)
    ntl_push_door(L);
  else
    ntl_push_ref(L, s->core);
  return 1;
}

nt_context_t* nettask_context(lua_State* L) {
  ntl_state_t* s = ntl_find(L);

  if (s == NULL || s->dead || open_context(s) != 0)
    return NULL;
  return s->context;
}
