/* What requests, downloads and uploads share: from the table that the Lua layer
 * made of the options to an nt_request_options_t, and from the events of the
 * core to listeners and to the last callbacks. On the host thread.
 *
 * The record of such a task holds, beside its callbacks and listeners:
 *   performance  useHighPerformanceMode, for the profile
 * and what the files of the kinds name; what else it holds is between
 * exchange.lua and itself. */
#include "lexchange.h"

#include <string.h>

bool ntl_get_flag(lua_State* L, int table, const char* name) {
  bool flag;

  lua_getfield(L, table, name);
  flag = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return flag;
}

/* ---- Opening ------------------------------------------------------------- */

/* A task that Lua had no memory to keep ends now; its event finds no record. */
static void end_orphan(ntl_state_t* s) {
  if (s->orphan != 0 && s->context != NULL)
    nt_abort(s->context, s->orphan);
  s->orphan = 0;
}

int ntl_exchange_open(lua_State* L, const ntl_kind_t* kind,
                      int (*open)(nt_context_t*, nt_id_t*)) {
  ntl_state_t* s = ntl_self(L);
  ntl_task_t* task;
  int err;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  task = ntl_task_push(L, kind);
  err = open(ntl_context(L, s), &task->id);
  if (err)
    return ntl_raise(L, err);
  end_orphan(s);
  s->orphan = task->id;
  ntl_track(L, s, 2, 1);
  s->orphan = 0;
  return 1;
}

int ntl_exchange_refuse(lua_State* L, const ntl_kind_t* kind) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, kind);

  if (s->context != NULL)
    nt_fail(s->context, task->id, NT_E_INVALID, NULL);
  return 0;
}

/* ---- Reading the options ------------------------------------------------- */

/* Text without NUL, so that nobody sees less of it than was checked. */
static const char* plain_text(lua_State* L, int idx) {
  size_t size;
  const char* text = lua_tolstring(L, idx, &size);

  return text != NULL && memchr(text, '\0', size) == NULL ? text : NULL;
}

int ntl_get_text(lua_State* L, int table, const char* name, const char** text) {
  int err = 0;

  lua_getfield(L, table, name);
  if (lua_type(L, -1) == LUA_TSTRING) {
    *text = plain_text(L, -1);
    err = *text == NULL ? NT_E_INVALID : 0;
  }
  lua_pop(L, 1);
  return err;
}

/* Milliseconds, rounded up: a short time-out is not none. */
static void get_ms(lua_State* L, int table, const char* name, uint32_t* out) {
  lua_Number ms;

  lua_getfield(L, table, name);
  if (lua_type(L, -1) == LUA_TNUMBER) {
    ms = lua_tonumber(L, -1);
    if (!(ms > 0))
      *out = 0;
    else
      *out = ms >= UINT32_MAX ? UINT32_MAX : (uint32_t) ms;
    if (ms > 0 && *out < ms && *out < UINT32_MAX)
      ++*out;
  }
  lua_pop(L, 1);
}

static void get_timeouts(lua_State* L, nt_timeouts_t* timeouts) {
  lua_getfield(L, 2, "timeouts");
  if (lua_istable(L, -1)) {
    int table = lua_gettop(L);

    get_ms(L, table, "dns", &timeouts->dns);
    get_ms(L, table, "connect", &timeouts->connect);
    get_ms(L, table, "tls", &timeouts->tls);
    get_ms(L, table, "firstByte", &timeouts->first_byte);
    get_ms(L, table, "stall", &timeouts->stall);
  }
  lua_pop(L, 1);
  get_ms(L, 2, "total", &timeouts->total);
}

static void get_flags(lua_State* L, nt_request_options_t* options) {
  if (ntl_get_flag(L, 2, "http2"))
    options->http |= NT_HTTP_2;
  if (ntl_get_flag(L, 2, "http3"))
    options->http |= NT_HTTP_3;
  if (ntl_get_flag(L, 2, "stream"))
    options->flags |= NT_REQUEST_STREAM;
  if (ntl_get_flag(L, 2, "profile"))
    options->flags |= NT_REQUEST_PROFILE;
  if (ntl_get_flag(L, 2, "anonymous"))
    options->flags |= NT_REQUEST_ANONYMOUS;
  if (ntl_get_flag(L, 2, "manual"))
    options->redirect = NT_REDIRECT_MANUAL;
}

/* Fields that frame the message or route it belong to us, and the referrer to
 * the platform: scripts cannot set them, whatever way they call. */
static bool is_forbidden(const char* name) {
  static const char* const forbidden[] = {
    "host",    "content-length",    "connection",
    "upgrade", "transfer-encoding", "referer",
  };

  for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
    if (ntl_same_name(name, forbidden[i]))
      return true;
  }
  return false;
}

/* Reads { name, value, name, value, ... } at the top of the stack, which
 * anchors the strings. Returns 0, or the index of the name of a bad field. */
static int read_headers(lua_State* L, nt_header_t* headers, int count,
                        nt_request_options_t* options) {
  int list = lua_gettop(L) - 1; /* below the scratch memory */

  for (int i = 1; i <= count; i += 2) {
    nt_header_t* header = &headers[options->header_count];

    lua_rawgeti(L, list, i);
    lua_rawgeti(L, list, i + 1);
    header->name = plain_text(L, -2);
    header->value = plain_text(L, -1);
    lua_pop(L, 2);
    if (header->name == NULL || header->value == NULL ||
        nt_header_check(header->name, header->value) != 0)
      return i;
    if (!is_forbidden(header->name))
      options->header_count++;
  }
  options->headers = headers;
  return 0;
}

/* Leaves two values on the stack. Returns 0, or the index of the name of a bad
 * field in the lower of the two. */
static int get_headers(lua_State* L, nt_request_options_t* options) {
  nt_header_t* headers;
  int count;

  lua_getfield(L, 2, "headers");
  luaL_checktype(L, -1, LUA_TTABLE);
  count = (int) ntl_rawlen(L, -1);
  headers = ntl_newuserdata(L, ((size_t) count / 2 + 1) * sizeof(*headers), 0);
  return read_headers(L, headers, count, options);
}

int ntl_exchange_code(lua_State* L, int code) {
  lua_pushinteger(L, code);
  return 1;
}

int ntl_exchange_read(lua_State* L, nt_request_options_t* options) {
  int bad;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  bad = ntl_get_text(L, 2, "url", &options->url) || options->url == NULL ||
        ntl_get_text(L, 2, "baseUrl", &options->base_url);
  if (bad)
    return ntl_exchange_code(L, NT_E_URL);
  if (ntl_get_text(L, 2, "method", &options->method))
    return ntl_exchange_code(L, NT_E_METHOD);
  get_timeouts(L, &options->timeouts);
  get_flags(L, options);
  bad = get_headers(L, options);
  if (bad == 0)
    return 0;
  lua_pushinteger(L, NT_E_HEADER);
  lua_rawgeti(L, -3, bad);
  return 2;
}

/* ---- Events -------------------------------------------------------------- */

void ntl_exchange_headers(lua_State* L, ntl_state_t* s, int record,
                          const nt_event_t* event, const ntl_kind_t* kind) {
  int result = lua_gettop(L) + 1;

  if (!ntl_has_listeners(L, record, NTL_HEADERS_LIST))
    return;
  lua_createtable(L, 0, 3);
  ntl_push_headers(L, s, &event->headers);
  lua_setfield(L, result, "cookies");
  lua_setfield(L, result, "header");
  lua_pushinteger(L, event->status);
  lua_setfield(L, result, "statusCode");
  ntl_fire(L, s, record, kind, NTL_HEADERS_LIST);
}

void ntl_exchange_progress(lua_State* L, ntl_state_t* s, int record,
                           const nt_event_t* event, const ntl_kind_t* kind,
                           const char* done, const char* total) {
  if (!ntl_has_listeners(L, record, NTL_PROGRESS_LIST))
    return;
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, event->percent);
  lua_setfield(L, -2, "progress");
  ntl_pushunsigned64(L, event->done);
  lua_setfield(L, -2, done);
  ntl_pushunsigned64(L, event->total);
  lua_setfield(L, -2, total);
  ntl_fire(L, s, record, kind, NTL_PROGRESS_LIST);
}

/* Call what finish() returned: ok, res, and up to three functions that take
 * res: success or fail, complete, and what waits for both. `base` is ok. */
static void call_back(lua_State* L, ntl_state_t* s, int base,
                      const ntl_kind_t* kind) {
  const char* const names[] = { lua_toboolean(L, base) ? "success" : "fail",
                                "complete", "settle" };
  int goes_on = 1;

  for (int i = 0; i < 3 && goes_on; i++) {
    if (!lua_isfunction(L, base + 2 + i))
      continue;
    lua_pushvalue(L, base + 2 + i);
    lua_pushvalue(L, base + 1);
    goes_on = ntl_call(L, s, 1, kind, names[i]);
  }
}

static void push_finish(lua_State* L, ntl_state_t* s, int record,
                        const nt_event_t* event, const ntl_kind_t* kind,
                        ntl_push_body_t push) {
  int base = lua_gettop(L) + 1;

  ntl_push_ref(L, s->handlers[NTL_ON_FINISH]);
  lua_pushvalue(L, record);
  lua_pushstring(L, kind->name);
  lua_pushinteger(L, event->error);
  lua_pushstring(L, event->message);
  ntl_push_array(L, s);
  if (event->error == 0 || event->error == NT_E_STATUS) {
    lua_pushinteger(L, event->status);
    ntl_push_headers(L, s, &event->headers);
    if (event->profile != NULL)
      ntl_push_profile(L, s, event->profile,
                       ntl_get_flag(L, record, "performance"));
    else
      lua_pushnil(L);
    push(L, record, event);
  }
  lua_call(L, lua_gettop(L) - base, 5);
}

void ntl_exchange_end(lua_State* L, ntl_state_t* s, int record,
                      const nt_event_t* event, const ntl_kind_t* kind,
                      ntl_push_body_t push) {
  int base = lua_gettop(L) + 1;

  push_finish(L, s, record, event, kind, push);
  ntl_untrack(L, s, event->id);
  call_back(L, s, base, kind);
}
