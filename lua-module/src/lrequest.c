/* RequestTask: HTTP requests. The Lua layer checks and converts the options;
 * here they become an nt_request_options_t, and events become results.
 *
 * The record of a request holds, beside its callbacks and listeners:
 *   decode    how the body becomes data, an ntl_decode_t
 *   method    as sent
 *   chunked   true when the body is streamed
 *   parts     pieces of a streamed body that came while nobody listened
 *   performance  useHighPerformanceMode, for the profile
 * What else it holds is between request.lua and itself. */
#include <string.h>

#include "binding.h"
#include "lbuffer.h"

#define HEADERS_LIST "onHeadersReceived"
#define CHUNK_LIST "onChunkReceived"

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);

static const ntl_kind_t request_kind = { "nettask.RequestTask", "RequestTask",
                                         dispatch };

static bool get_flag(lua_State* L, int record, const char* name) {
  bool flag;

  lua_getfield(L, record, name);
  flag = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return flag;
}

/* ---- Streamed bodies ---------------------------------------------------- */

/* { data = Buffer }, of the parts in the table at `parts`. */
static void push_parts_result(lua_State* L, int parts) {
  size_t total = 0;
  char* to;
  int count = (int) ntl_rawlen(L, parts);

  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, parts, i);
    total += ntl_rawlen(L, -1);
    lua_pop(L, 1);
  }
  lua_createtable(L, 0, 1);
  to = ntl_buffer_push(L, NULL, total);
  for (int i = 1; i <= count; i++) {
    size_t size;
    const char* bytes;

    lua_rawgeti(L, parts, i);
    bytes = lua_tolstring(L, -1, &size);
    memcpy(to, bytes, size);
    to += size;
    lua_pop(L, 1);
  }
  lua_setfield(L, -2, "data");
}

/* Somebody listens: first what came before, in one piece, then this one. Both
 * are made before anything is called, so that a failure loses nothing. */
static void give_chunk(lua_State* L, ntl_state_t* s, int record,
                       const nt_event_t* event) {
  lua_createtable(L, 0, 1);
  ntl_buffer_push(L, event->size > 0 ? event->data : "", event->size);
  lua_setfield(L, -2, "data");
  lua_getfield(L, record, "parts");
  if (lua_istable(L, -1)) {
    push_parts_result(L, lua_gettop(L));
    lua_remove(L, -2);
    lua_pushnil(L);
    lua_setfield(L, record, "parts");
    if (!ntl_fire(L, s, record, &request_kind, CHUNK_LIST))
      return;
  } else {
    lua_pop(L, 1);
  }
  ntl_fire(L, s, record, &request_kind, CHUNK_LIST);
}

/* Nobody listens: the body is gathered like one that is not streamed, under
 * the same cap. */
static void keep_chunk(lua_State* L, ntl_state_t* s, int record,
                       const nt_event_t* event) {
  uint64_t cap = s->policy.response_max_bytes;
  lua_Number gathered;

  lua_getfield(L, record, "gathered");
  gathered = lua_tonumber(L, -1) + (lua_Number) event->size;
  lua_pop(L, 1);
  if (cap != 0 && gathered > (lua_Number) cap) {
    if (s->context != NULL)
      nt_fail(s->context, event->id, NT_E_BODY_SIZE, NULL);
    return;
  }
  lua_getfield(L, record, "parts");
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, record, "parts");
  }
  lua_pushlstring(L, event->size > 0 ? event->data : "", event->size);
  lua_pushnumber(L, gathered);
  lua_setfield(L, record, "gathered");
  lua_rawseti(L, -2, (int) ntl_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

static void on_chunk(lua_State* L, ntl_state_t* s, int record,
                     const nt_event_t* event) {
  if (ntl_has_listeners(L, record, CHUNK_LIST))
    give_chunk(L, s, record, event);
  else
    keep_chunk(L, s, record, event);
}

/* ---- Events ------------------------------------------------------------- */

static void on_headers(lua_State* L, ntl_state_t* s, int record,
                       const nt_event_t* event) {
  int result = lua_gettop(L) + 1;

  if (!ntl_has_listeners(L, record, HEADERS_LIST))
    return;
  lua_createtable(L, 0, 3);
  ntl_push_headers(L, s, &event->headers);
  lua_setfield(L, result, "cookies");
  lua_setfield(L, result, "header");
  lua_pushinteger(L, event->status);
  lua_setfield(L, result, "statusCode");
  ntl_fire(L, s, record, &request_kind, HEADERS_LIST);
}

static bool has_no_body(lua_State* L, int record, const nt_event_t* event) {
  const char* method;
  bool is_head;

  if (event->status == 204 || event->status == 304)
    return true;
  lua_getfield(L, record, "method");
  method = lua_tostring(L, -1);
  is_head = method != NULL && strcmp(method, "HEAD") == 0;
  lua_pop(L, 1);
  return is_head;
}

/* A body that cannot be there is no bad JSON. */
static ntl_decode_t without_body(ntl_decode_t decode) {
  return decode == NTL_DECODE_JSON ? NTL_DECODE_TEXT : decode;
}

/* Push data and defect. */
static void push_data(lua_State* L, int record, const nt_event_t* event) {
  ntl_decode_t decode;
  const char* bytes = event->data;
  size_t size = event->size;
  int base = lua_gettop(L);

  lua_getfield(L, record, "decode");
  decode = (ntl_decode_t) lua_tointeger(L, -1);
  if (get_flag(L, record, "chunked")) {
    lua_getfield(L, record, "parts");
    if (lua_istable(L, -1)) {
      push_parts_result(L, lua_gettop(L));
      lua_getfield(L, -1, "data");
      bytes = ntl_buffer_test(L, lua_gettop(L), &size);
    } else {
      decode = without_body(decode);
    }
  }
  if (size == 0 && has_no_body(L, record, event))
    decode = without_body(decode);
  ntl_push_body(L, decode, bytes, size, &event->headers);
  lua_insert(L, base + 1);
  lua_insert(L, base + 1);
  lua_settop(L, base + 2);
}

/* Call what finish() returned: ok, res, and up to three functions that take
 * res: success or fail, complete, and what waits for both. `base` is ok. */
static void call_back(lua_State* L, ntl_state_t* s, int base) {
  const char* const names[] = { lua_toboolean(L, base) ? "success" : "fail",
                                "complete", "settle" };
  int goes_on = 1;

  for (int i = 0; i < 3 && goes_on; i++) {
    if (!lua_isfunction(L, base + 2 + i))
      continue;
    lua_pushvalue(L, base + 2 + i);
    lua_pushvalue(L, base + 1);
    goes_on = ntl_call(L, s, 1, &request_kind, names[i]);
  }
}

/* finish(record, code, message, reasons, status, header, cookies, data, defect,
 * profile) -> ok, res, f, g, h. Without a response all from status on is
 * nil. */
static void push_finish(lua_State* L, ntl_state_t* s, int record,
                        const nt_event_t* event) {
  ntl_push_ref(L, s->handlers[NTL_ON_FINISH]);
  lua_pushvalue(L, record);
  lua_pushinteger(L, event->error);
  lua_pushstring(L, event->message);
  ntl_push_array(L, s);
  if (event->error != 0) {
    lua_call(L, 4, 5);
    return;
  }
  lua_pushinteger(L, event->status);
  ntl_push_headers(L, s, &event->headers);
  push_data(L, record, event);
  if (event->profile != NULL)
    ntl_push_profile(L, s, event->profile, get_flag(L, record, "performance"));
  else
    lua_pushnil(L);
  lua_call(L, 10, 5);
}

static void on_end(lua_State* L, ntl_state_t* s, int record,
                   const nt_event_t* event) {
  int base = lua_gettop(L) + 1;

  push_finish(L, s, record, event);
  ntl_untrack(L, s, event->id);
  call_back(L, s, base);
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);

  switch (event->type) {
    case NT_EV_HEADERS:
      on_headers(L, s, record, event);
      break;
    case NT_EV_CHUNK:
      on_chunk(L, s, record, event);
      break;
    case NT_EV_END:
      on_end(L, s, record, event);
      break;
  }
}

/* ---- Starting ----------------------------------------------------------- */

/* A task that Lua had no memory to keep ends now; its event finds no record. */
static void end_orphan(ntl_state_t* s) {
  if (s->orphan != 0 && s->context != NULL)
    nt_abort(s->context, s->orphan);
  s->orphan = 0;
}

/* core.requestOpen(record) -> RequestTask, idle. */
static int request_open(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_task_t* task;
  int err;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  task = ntl_task_push(L, &request_kind);
  err = nt_request_open(ntl_context(L, s), &task->id);
  if (err)
    return ntl_raise(L, err);
  end_orphan(s);
  s->orphan = task->id;
  ntl_track(L, s, 2, 1);
  s->orphan = 0;
  return 1;
}

/* Text without NUL, so that nobody sees less of it than was checked. */
static const char* plain_text(lua_State* L, int idx) {
  size_t size;
  const char* text = lua_tolstring(L, idx, &size);

  return text != NULL && memchr(text, '\0', size) == NULL ? text : NULL;
}

/* The string in that field of the table in argument 2, which anchors it. NULL
 * when it is absent or has a NUL. */
static const char* get_text(lua_State* L, const char* name) {
  const char* text = NULL;

  lua_getfield(L, 2, name);
  if (lua_type(L, -1) == LUA_TSTRING)
    text = plain_text(L, -1);
  lua_pop(L, 1);
  return text;
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
  if (get_flag(L, 2, "http2"))
    options->http |= NT_HTTP_2;
  if (get_flag(L, 2, "http3"))
    options->http |= NT_HTTP_3;
  if (get_flag(L, 2, "stream"))
    options->flags |= NT_REQUEST_STREAM;
  if (get_flag(L, 2, "profile"))
    options->flags |= NT_REQUEST_PROFILE;
  if (get_flag(L, 2, "anonymous"))
    options->flags |= NT_REQUEST_ANONYMOUS;
  if (get_flag(L, 2, "manual"))
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

/* Leaves two values on the stack. Returns 0 or NT_E_HEADER, with the name of
 * the bad field pushed. */
static int get_headers(lua_State* L, nt_request_options_t* options) {
  nt_header_t* headers;
  int count, bad;

  lua_getfield(L, 2, "headers");
  luaL_checktype(L, -1, LUA_TTABLE);
  count = (int) ntl_rawlen(L, -1);
  headers = ntl_newuserdata(L, ((size_t) count / 2 + 1) * sizeof(*headers), 0);
  bad = read_headers(L, headers, count, options);
  if (bad == 0)
    return 0;
  lua_rawgeti(L, -2, bad);
  return NT_E_HEADER;
}

/* core.requestStart(task, params) -> 0 | code [, name of the bad header]. The
 * task stays idle on an error. params: url, baseUrl, method, headers (a flat
 * list), body, total, timeouts, and the flags http2, http3, stream, profile,
 * anonymous, manual. */
static int request_start(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, &request_kind);
  nt_request_options_t options;
  int err;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  nt_request_options_init(&options);
  options.url = get_text(L, "url");
  options.base_url = get_text(L, "baseUrl");
  options.method = get_text(L, "method");
  get_timeouts(L, &options.timeouts);
  get_flags(L, &options);
  lua_getfield(L, 2, "body");
  options.body = ntl_bytes_test(L, lua_gettop(L), &options.body_size);
  if (options.body == NULL)
    options.body_size = 0;
  err = get_headers(L, &options);
  if (err) {
    lua_pushinteger(L, err);
    lua_insert(L, -2);
    return 2;
  }
  if (options.url == NULL)
    err = NT_E_URL;
  else if (s->context == NULL)
    err = NT_E_CLOSED;
  else
    err = nt_request_start(s->context, task->id, &options);
  lua_pushinteger(L, err);
  return 1;
}

/* core.requestRefuse(task): an idle task ends with NT_E_INVALID; what the
 * script is told lies in its record. */
static int request_refuse(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, &request_kind);

  if (s->context != NULL)
    nt_fail(s->context, task->id, NT_E_INVALID, NULL);
  return 0;
}

/* ---- Methods ------------------------------------------------------------ */

static int on_headers_received(lua_State* L) {
  return ntl_listener_on(L, &request_kind, HEADERS_LIST);
}

static int off_headers_received(lua_State* L) {
  return ntl_listener_off(L, &request_kind, HEADERS_LIST);
}

static int on_chunk_received(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, &request_kind);

  if (ntl_push_record(L, s, task->id)) {
    bool chunked = get_flag(L, -1, "chunked");

    lua_pop(L, 1);
    if (!chunked)
      ntl_log(L, s, "warn",
              "request: onChunkReceived has no effect without"
              " enableChunked=true",
              1);
  }
  return ntl_listener_on(L, &request_kind, CHUNK_LIST);
}

static int off_chunk_received(lua_State* L) {
  return ntl_listener_off(L, &request_kind, CHUNK_LIST);
}

void ntl_request_open(lua_State* L) {
  static const luaL_Reg methods[] = {
    { "onHeadersReceived", on_headers_received },
    { "offHeadersReceived", off_headers_received },
    { "onChunkReceived", on_chunk_received },
    { "offChunkReceived", off_chunk_received },
    { NULL, NULL },
  };
  static const luaL_Reg funcs[] = {
    { "requestOpen", request_open },
    { "requestStart", request_start },
    { "requestRefuse", request_refuse },
    { NULL, NULL },
  };

  ntl_task_class(L, &request_kind, methods);
  ntl_register(L, funcs);
}
