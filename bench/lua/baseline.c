/* What nettask's Lua figures are held against: an empty C function, and a bare
 * protected call with the same result table; also clocks and a sleep, so that
 * every Lua program of the bench measures alike. A Lua module of its own,
 * "bench.baseline"; it knows nothing of nettask. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now_seconds(void) {
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static int now(lua_State* L) {
  lua_pushnumber(L, now_seconds());
  return 1;
}

static int cpu(lua_State* L) {
  struct rusage use;

  getrusage(RUSAGE_SELF, &use);
  lua_pushnumber(
      L, (double) (use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
             (double) (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
  return 1;
}

/* CPU of the calling thread alone: a frame that was interrupted by another
 * process shows in the clock, but not here. */
static int thread_cpu(lua_State* L) {
  struct timespec now;

  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  lua_pushnumber(L, (double) now.tv_sec + (double) now.tv_nsec / 1e9);
  return 1;
}

/* sleep(seconds) */
static int sleep_for(lua_State* L) {
  double seconds = luaL_checknumber(L, 1);
  struct timespec time;

  if (seconds <= 0)
    return 0;
  time.tv_sec = (time_t) seconds;
  time.tv_nsec = (long) ((seconds - (double) time.tv_sec) * 1e9);
  while (nanosleep(&time, &time) != 0 && errno == EINTR)
    continue;
  return 0;
}

static int thread_id(lua_State* L) {
  lua_pushinteger(L, (lua_Integer) syscall(SYS_gettid));
  return 1;
}

static int empty(lua_State* L) {
  (void) L;
  return 0;
}

/* An empty function that returns as many values as update() does. */
static int empty_two(lua_State* L) {
  lua_pushinteger(L, 0);
  lua_pushinteger(L, 0);
  return 2;
}

/* ---- Results ------------------------------------------------------------ */

/* Headers as nginx sends them with a static file: name NUL value NUL ... */
static const char headers[] =
    "Server\0nginx/1.22.1\0"
    "Date\0Sat, 01 Jan 2028 00:00:00 GMT\0"
    "Content-Type\0application/octet-stream\0"
    "Content-Length\0"
    "1024\0"
    "Last-Modified\0Sat, 01 Jan 2028 00:00:00 GMT\0"
    "Connection\0keep-alive\0"
    "ETag\0\"3864bd80-400\"\0"
    "Accept-Ranges\0bytes\0";

enum {
  HEADER_COUNT = 8,
  HANDLER = 2, /* stack: callback, handler, header meta, array meta, profile */
  HEADER_META = 3,
  ARRAY_META = 4,
  PROFILE = 5,
  RESPONSES = 6,
  PROFILE_FIELDS = 26,
  BODY_SIZE = 1024
};

/* A response lies in memory of its own, as it would when it was received: a
 * loop over one buffer would find everything in the cache. */
typedef struct response {
  char headers[sizeof(headers)];
  char body[BODY_SIZE];
} response_t;

/* responses(count) -> userdata */
static int responses(lua_State* L) {
  lua_Integer count = luaL_checkinteger(L, 1);
  response_t* all = lua_newuserdata(L, (size_t) count * sizeof(*all));
  lua_Integer i;

  for (i = 0; i < count; i++) {
    memcpy(all[i].headers, headers, sizeof(headers));
    memset(all[i].body, 'a', BODY_SIZE);
    /* No two are the same: a memory of strings must not help. */
    snprintf(all[i].body, BODY_SIZE, "%lld", (long long) i);
  }
  return 1;
}

static void set_integer(lua_State* L, const char* name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static void push_array(lua_State* L) {
  lua_newtable(L);
  lua_pushvalue(L, ARRAY_META);
  lua_setmetatable(L, -2);
}

static void push_header(lua_State* L, const response_t* response) {
  const char* name = response->headers;
  int i;

  lua_createtable(L, 0, HEADER_COUNT);
  for (i = 0; i < HEADER_COUNT; i++) {
    const char* value = name + strlen(name) + 1;

    lua_pushstring(L, name);
    lua_pushstring(L, value);
    lua_rawset(L, -3);
    name = value + strlen(value) + 1;
  }
  lua_pushvalue(L, HEADER_META);
  lua_setmetatable(L, -2);
}

/* By a constructor in Lua, which is the fastest way to a wide table. */
static void push_profile(lua_State* L) {
  int i;

  lua_pushvalue(L, PROFILE);
  for (i = 0; i < PROFILE_FIELDS; i++)
    lua_pushnumber(L, (lua_Number) (1700000000000.0 + i));
  lua_call(L, PROFILE_FIELDS, 1);
}

/* What a callback of request() gets, field by field. */
static void push_full(lua_State* L, const response_t* response) {
  lua_createtable(L, 0, 8);
  lua_pushlstring(L, response->body, BODY_SIZE);
  lua_setfield(L, -2, "data");
  set_integer(L, "statusCode", 200);
  push_header(L, response);
  lua_setfield(L, -2, "header");
  push_array(L);
  lua_setfield(L, -2, "cookies");
  lua_pushliteral(L, "request:ok");
  lua_setfield(L, -2, "errMsg");
  push_profile(L);
  lua_setfield(L, -2, "profile");
  lua_createtable(L, 0, 2);
  set_integer(L, "retryCount", 0);
  push_array(L);
  lua_setfield(L, -2, "reasons");
  lua_setfield(L, -2, "exception");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "useHttpDNS");
}

/* The least that a caller could use: four fields, no header, no profile. */
static void push_lean(lua_State* L, const response_t* response) {
  lua_createtable(L, 0, 4);
  lua_pushlstring(L, response->body, BODY_SIZE);
  lua_setfield(L, -2, "data");
  set_integer(L, "statusCode", 200);
  lua_pushliteral(L, "request:ok");
  lua_setfield(L, -2, "errMsg");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "useHttpDNS");
}

static void call_all(lua_State* L,
                     void (*push)(lua_State*, const response_t*)) {
  lua_Integer count = luaL_checkinteger(L, 7);
  const response_t* all = lua_touserdata(L, RESPONSES);
  lua_Integer i;

  lua_settop(L, RESPONSES);
  for (i = 0; i < count; i++) {
    lua_pushvalue(L, 1);
    push(L, &all[i]);
    if (lua_pcall(L, 1, 0, HANDLER) != 0)
      lua_error(L);
  }
}

/* full(callback, handler, header_meta, array_meta, profile, responses, count)
 * and lean(the same): as many protected calls, each with a table of its own. */
static int full(lua_State* L) {
  call_all(L, push_full);
  return 0;
}

static int lean(lua_State* L) {
  call_all(L, push_lean);
  return 0;
}

int luaopen_bench_baseline(lua_State* L);

int luaopen_bench_baseline(lua_State* L) {
  static const struct {
    const char* name;
    lua_CFunction function;
  } functions[] = {
    { "now", now },
    { "cpu", cpu },
    { "sleep", sleep_for },
    { "tid", thread_id },
    { "empty", empty },
    { "emptyTwo", empty_two },
    { "responses", responses },
    { "full", full },
    { "lean", lean },
    { "threadCpu", thread_cpu },
  };
  size_t i;

  lua_newtable(L);
  for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
    lua_pushcfunction(L, functions[i].function);
    lua_setfield(L, -2, functions[i].name);
  }
  return 1;
}
