/* What requests, downloads and uploads share: from the table that the Lua layer
 * made of the options to an nt_request_options_t, and from the events of the
 * core to listeners and to the last callbacks. On the host thread.
 *
 * The record of such a task holds, beside its callbacks and listeners, its plan
 * (see lexchange.h) and what the files of the kinds name; what else it holds is
 * between exchange.lua and itself. */
#include "lexchange.h"

const ntl_list_t ntl_on_headers = { NTL_LISTS, "onHeadersReceived" };
const ntl_list_t ntl_on_progress = { NTL_LISTS + 1, "onProgressUpdate" };

/* ---- Reading the options ------------------------------------------------- */

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
  if (ntl_get_flag(L, 2, "sendCookies"))
    options->flags |= NT_REQUEST_COOKIES_SEND;
  if (ntl_get_flag(L, 2, "storeCookies"))
    options->flags |= NT_REQUEST_COOKIES_STORE;
  if (ntl_get_flag(L, 2, "sameOrigin"))
    options->flags |= NT_REQUEST_SAME_ORIGIN;
  if (ntl_get_flag(L, 2, "manual"))
    options->redirect = NT_REDIRECT_MANUAL;
}

static nt_mode_t get_mode(lua_State* L) {
  if (ntl_get_flag(L, 2, "cors"))
    return NT_MODE_CORS;
  if (ntl_get_flag(L, 2, "noCors"))
    return NT_MODE_NO_CORS;
  return ntl_get_flag(L, 2, "stayHome") ? NT_MODE_SAME_ORIGIN : NT_MODE_ANY;
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
  if (ntl_get_text(L, 2, "proxy", &options->proxy) ||
      ntl_get_text(L, 2, "origin", &options->origin) ||
      ntl_get_text(L, 2, "interface", &options->interface_name))
    return ntl_exchange_code(L, NT_E_INVALID);
  ntl_get_timeouts(L, 2, &options->timeouts);
  get_flags(L, options);
  options->mode = get_mode(L);
  ntl_get_uint32(L, 2, "referer", &options->referer);
  ntl_get_uint32(L, 2, "resolver", &options->resolver);
  ntl_get_uint32(L, 2, "resolverTimeout", &options->resolver_timeout);
  return ntl_get_headers(L, 2, &options->headers, &options->header_count);
}

/* ---- Events -------------------------------------------------------------- */

int ntl_exchange_plan(lua_State* L, int record) {
  int plan;

  lua_rawgeti(L, record, 0);
  plan = (int) lua_tointeger(L, -1);
  lua_pop(L, 1);
  return plan;
}

void ntl_exchange_register(lua_State* L) {
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, NTL_PLAN_CHUNKED);
  lua_setfield(L, -2, "chunked");
  lua_pushinteger(L, NTL_PLAN_HEAD);
  lua_setfield(L, -2, "head");
  lua_pushinteger(L, NTL_PLAN_FAST);
  lua_setfield(L, -2, "fast");
  lua_setfield(L, -2, "plan");
}

void ntl_exchange_headers(lua_State* L, ntl_state_t* s, int record,
                          const nt_event_t* event, const ntl_kind_t* kind) {
  int result = lua_gettop(L) + 1;

  if (!ntl_is_heard(L, s, record, &ntl_on_headers))
    return;
  lua_createtable(L, 0, 3);
  ntl_push_headers(L, s, &event->headers);
  lua_setfield(L, result, "cookies");
  lua_setfield(L, result, "header");
  lua_pushinteger(L, event->status);
  lua_setfield(L, result, "statusCode");
  ntl_fire(L, s, record, kind, &ntl_on_headers);
}

void ntl_exchange_progress(lua_State* L, ntl_state_t* s, int record,
                           const nt_event_t* event, const ntl_kind_t* kind,
                           const char* done, const char* total) {
  if (!ntl_is_heard(L, s, record, &ntl_on_progress))
    return;
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, event->percent);
  lua_setfield(L, -2, "progress");
  ntl_pushunsigned64(L, event->done);
  lua_setfield(L, -2, done);
  ntl_pushunsigned64(L, event->total);
  lua_setfield(L, -2, total);
  ntl_fire(L, s, record, kind, &ntl_on_progress);
}

/* The profile, if one was wanted. */
static void push_profile(lua_State* L, ntl_state_t* s, int record,
                         const nt_event_t* event) {
  if (event->profile != NULL)
    ntl_push_profile(L, s, event->profile,
                     ntl_exchange_plan(L, record) & NTL_PLAN_FAST);
  else
    lua_pushnil(L);
}

static void push_finish(lua_State* L, ntl_state_t* s, int record,
                        const nt_event_t* event, const ntl_kind_t* kind,
                        ntl_push_body_t push) {
  int base = lua_gettop(L) + 1;
  int error = event->error;

  /* The core keeps the first reason; to the script abort() comes first. */
  if (error != 0 && s->task->aborted)
    error = NT_E_ABORTED;
  ntl_push_ref(L, s->handlers[NTL_ON_FINISH]);
  lua_pushvalue(L, record);
  lua_pushstring(L, kind->name);
  lua_pushinteger(L, error);
  if (error != 0)
    lua_pushstring(L, event->message);
  else
    lua_pushnil(L);
  ntl_lookup_push_reasons(L, s, event);
  if (event->resolved) {
    lua_pushboolean(L, 1);
    lua_setfield(L, record, "resolved");
  }
  if (error == 0 || error == NT_E_STATUS) {
    lua_pushinteger(L, event->status);
    ntl_push_headers(L, s, &event->headers);
    push_profile(L, s, record, event);
    push(L, record, event);
  }
  lua_call(L, lua_gettop(L) - base, 5);
}

void ntl_exchange_end(lua_State* L, ntl_state_t* s, int record,
                      const nt_event_t* event, const ntl_kind_t* kind,
                      ntl_push_body_t push) {
  int base = lua_gettop(L) + 1;
  bool promised = s->task->promised;

  push_finish(L, s, record, event, kind, push);
  lua_rawgeti(L, record, NTL_SELF);
  ntl_result_keep(L, lua_gettop(L), base);
  ntl_untrack(L, s, event->id);
  if (ntl_call_results(L, s, base, kind) && promised)
    ntl_promise_settle(L, s, record, base, kind);
}

/* ---- Methods ------------------------------------------------------------- */

int ntl_on_headers_received(lua_State* L) {
  return ntl_listener_on(L, &ntl_on_headers);
}

int ntl_off_headers_received(lua_State* L) {
  return ntl_listener_off(L, &ntl_on_headers);
}

static int on_progress_update(lua_State* L) {
  return ntl_listener_on(L, &ntl_on_progress);
}

static int off_progress_update(lua_State* L) {
  return ntl_listener_off(L, &ntl_on_progress);
}

/* As Taro's promises of files have them: they return the task, so that one call
 * may follow another. */
static int headers_receive(lua_State* L) {
  ntl_on_headers_received(L);
  lua_settop(L, 1);
  return 1;
}

static int progress(lua_State* L) {
  on_progress_update(L);
  lua_settop(L, 1);
  return 1;
}

const luaL_Reg ntl_file_methods[] = {
  { "onHeadersReceived", ntl_on_headers_received },
  { "offHeadersReceived", ntl_off_headers_received },
  { "onProgressUpdate", on_progress_update },
  { "offProgressUpdate", off_progress_update },
  { "headersReceive", headers_receive },
  { "progress", progress },
  { NULL, NULL },
};
