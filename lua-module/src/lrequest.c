/* RequestTask: what HTTP requests have beside what lexchange.c knows, a body
 * that is sent as it is and one that becomes data or comes in pieces.
 *
 * The record of a request holds, beside what lexchange.c says:
 *   parts     pieces of a streamed body that came while nobody listened */
#include <string.h>

#include "lbuffer.h"
#include "lexchange.h"

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);

static const ntl_list_t on_chunk_list = { NTL_EXCHANGE_LISTS,
                                          "onChunkReceived" };

static const ntl_kind_t request_kind = {
  "nettask.RequestTask", "RequestTask", "request", dispatch, NULL, NULL,
};

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
    if (!ntl_fire(L, s, record, &request_kind, &on_chunk_list))
      return;
  } else {
    lua_pop(L, 1);
  }
  ntl_fire(L, s, record, &request_kind, &on_chunk_list);
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
  if (ntl_is_heard(L, s, record, &on_chunk_list))
    give_chunk(L, s, record, event);
  else
    keep_chunk(L, s, record, event);
}

/* ---- Events ------------------------------------------------------------- */

static bool has_no_body(int plan, const nt_event_t* event) {
  return event->status == 204 || event->status == 304 ||
         (plan & NTL_PLAN_HEAD) != 0;
}

/* A body that cannot be there is no bad JSON. */
static ntl_decode_t without_body(ntl_decode_t decode) {
  return decode == NTL_DECODE_JSON ? NTL_DECODE_TEXT : decode;
}

/* Push data and defect of what is left of a streamed body, what came while
 * nobody listened. */
static void push_rest(lua_State* L, int record, ntl_decode_t decode,
                      const nt_event_t* event) {
  const char* bytes;
  size_t size;
  int base = lua_gettop(L);

  lua_getfield(L, record, "parts");
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    ntl_push_body(L, without_body(decode), "", 0, &event->headers);
    return;
  }
  push_parts_result(L, base + 1);
  lua_getfield(L, -1, "data");
  bytes = ntl_buffer_test(L, lua_gettop(L), &size);
  ntl_push_body(L, decode, bytes, size, &event->headers);
  lua_replace(L, base + 2);
  lua_replace(L, base + 1);
  lua_settop(L, base + 2);
}

/* Push data and defect. */
static int push_data(lua_State* L, int record, const nt_event_t* event) {
  int plan = ntl_exchange_plan(L, record);
  ntl_decode_t decode = (ntl_decode_t) (plan & NTL_PLAN_DECODE);

  if (event->size == 0 && has_no_body(plan, event))
    decode = without_body(decode);
  if (plan & NTL_PLAN_CHUNKED)
    push_rest(L, record, decode, event);
  else
    ntl_push_body(L, decode, event->data, event->size, &event->headers);
  return 2;
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);

  switch (event->type) {
    case NT_EV_HEADERS:
      ntl_exchange_headers(L, s, record, event, &request_kind);
      break;
    case NT_EV_CHUNK:
      on_chunk(L, s, record, event);
      break;
    case NT_EV_END:
      ntl_exchange_end(L, s, record, event, &request_kind, push_data);
      break;
    default:
      break;
  }
}

/* ---- Script functions --------------------------------------------------- */

static int request_open(lua_State* L) {
  return ntl_task_open(L, &request_kind, sizeof(ntl_task_t), nt_request_open);
}

static int request_refuse(lua_State* L) {
  return ntl_task_refuse(L, &request_kind);
}

/* The Lua layer has the same numbers. */
static nt_cache_t get_cache(lua_State* L, int params) {
  lua_Integer mode;

  lua_getfield(L, params, "cache");
  mode = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return mode > 0 && mode <= NT_CACHE_ONLY ? (nt_cache_t) mode : NT_CACHE_NONE;
}

/* core.requestStart(task, params) -> 0 | code [, name of the bad header]. The
 * task stays idle on an error. params: see ntl_exchange_read(), and body and
 * cache. */
static int request_start(lua_State* L) {
  const ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, &request_kind);
  nt_request_options_t options;
  int results;

  nt_request_options_init(&options);
  results = ntl_exchange_read(L, &options);
  if (results > 0)
    return results;
  options.cache = get_cache(L, 2);
  lua_getfield(L, 2, "body");
  options.body = ntl_bytes_test(L, lua_gettop(L), &options.body_size);
  if (options.body == NULL)
    options.body_size = 0;
  if (s->context == NULL)
    return ntl_exchange_code(L, NT_E_CLOSED);
  return ntl_exchange_code(L, nt_request_start(s->context, task->id, &options));
}

/* ---- Methods ------------------------------------------------------------ */

static int on_chunk_received(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_self(L);

  if (ntl_push_record(L, s, task->id)) {
    bool chunked =
        (ntl_exchange_plan(L, lua_gettop(L)) & NTL_PLAN_CHUNKED) != 0;

    lua_pop(L, 1);
    if (!chunked)
      ntl_log(L, s, "warn",
              "request: onChunkReceived has no effect without"
              " enableChunked=true",
              1);
  }
  return ntl_listener_on(L, &on_chunk_list);
}

static int off_chunk_received(lua_State* L) {
  return ntl_listener_off(L, &on_chunk_list);
}

void ntl_request_open(lua_State* L) {
  static const luaL_Reg methods[] = {
    { "onHeadersReceived", ntl_on_headers_received },
    { "offHeadersReceived", ntl_off_headers_received },
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
  ntl_exchange_register(L);
}
