/* What a script asks of a WebSocket: to be made, to send, to close. On the host
 * thread. */
#include <string.h>

#include "lbuffer.h"
#include "lsocket.h"
#include "params.h"

/* ---- Starting ------------------------------------------------------------ */

static int socket_open(lua_State* L) {
  int results = ntl_task_open(L, &ntl_socket_kind, sizeof(ntl_socket_t),
                              nt_websocket_open);
  ntl_socket_t* self = lua_touserdata(L, -1);

  self->first = 1;
  return results;
}

/* core.socketRefuse(task): as core.requestRefuse(). */
static int socket_refuse(lua_State* L) {
  ntl_socket_t* self = ntl_socket_check(L);

  self->refused = true;
  return ntl_task_refuse(L, &ntl_socket_kind);
}

static void read_flags(lua_State* L, nt_websocket_options_t* options) {
  if (ntl_get_flag(L, 2, "noDelay"))
    options->flags |= NT_WEBSOCKET_NO_DELAY;
  if (ntl_get_flag(L, 2, "deflate"))
    options->flags |= NT_WEBSOCKET_DEFLATE;
  if (ntl_get_flag(L, 2, "profile"))
    options->flags |= NT_WEBSOCKET_PROFILE;
  if (ntl_get_flag(L, 2, "sendCookies"))
    options->flags |= NT_WEBSOCKET_COOKIES;
  if (ntl_get_flag(L, 2, "sameOrigin"))
    options->flags |= NT_WEBSOCKET_SAME_ORIGIN;
}

/* { base, max, jitter, tries } */
static void read_reconnect(lua_State* L, nt_reconnect_t* reconnect) {
  int table;

  lua_getfield(L, 2, "reconnect");
  table = lua_gettop(L);
  if (lua_istable(L, table)) {
    ntl_get_uint32(L, table, "base", &reconnect->base_ms);
    ntl_get_uint32(L, table, "max", &reconnect->max_ms);
    ntl_get_uint32(L, table, "tries", &reconnect->tries);
    lua_getfield(L, table, "jitter");
    reconnect->jitter = lua_tonumber(L, -1);
  }
  lua_settop(L, table - 1);
}

/* A script may lower the host's cap, and not raise it. */
static void read_cap(lua_State* L, const ntl_state_t* s, uint64_t* out) {
  uint64_t host = s->policy.message_max_bytes;
  lua_Number bytes;

  lua_getfield(L, 2, "maxMessageBytes");
  bytes = lua_tonumber(L, -1);
  lua_pop(L, 1);
  if (bytes >= 1 && (host == 0 || bytes < (lua_Number) host))
    *out = bytes < NTL_MAX_EXACT ? (uint64_t) bytes : 0;
}

/* Leaves values on the stack that anchor what was read. Returns 0, or how many
 * values were pushed: a code and, of a bad header, its name. */
static int read_options(lua_State* L, const ntl_state_t* s,
                        nt_websocket_options_t* options) {
  int err = 0;

  if (ntl_get_text(L, 2, "url", &options->url) || options->url == NULL ||
      ntl_get_text(L, 2, "baseUrl", &options->base_url))
    err = NT_E_URL;
  else if (ntl_get_text(L, 2, "proxy", &options->proxy) ||
           ntl_get_text(L, 2, "origin", &options->origin) ||
           ntl_get_text(L, 2, "interface", &options->interface_name) ||
           ntl_get_texts(L, 2, "protocols", &options->protocols,
                         &options->protocol_count))
    err = NT_E_INVALID;
  if (err) {
    lua_pushinteger(L, err);
    return 1;
  }
  ntl_get_timeouts(L, 2, &options->timeouts);
  ntl_get_uint32(L, 2, "pingInterval", &options->ping_interval_ms);
  ntl_get_uint32(L, 2, "pongTimeout", &options->pong_timeout_ms);
  ntl_get_uint32(L, 2, "referer", &options->referer);
  read_flags(L, options);
  read_reconnect(L, &options->reconnect);
  read_cap(L, s, &options->message_max_bytes);
  return ntl_get_headers(L, 2, &options->headers, &options->header_count);
}

/* core.socketStart(task, params) -> as core.requestStart(). params: url,
 * baseUrl, proxy, origin, interface, referer, headers and protocols (lists),
 * total, timeouts, pingInterval, pongTimeout, maxMessageBytes, reconnect, and
 * the flags noDelay, deflate, profile, multiple, base64, sendCookies,
 * sameOrigin. */
static int socket_start(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = ntl_socket_check(L);
  nt_websocket_options_t options;
  int results, err = NT_E_CLOSED;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  nt_websocket_options_init(&options);
  results = read_options(L, s, &options);
  if (results > 0)
    return results;
  self->multiple = ntl_get_flag(L, 2, "multiple");
  self->base64 = ntl_get_flag(L, 2, "base64");
  if (s->context != NULL)
    err = nt_websocket_start(s->context, self->task.id, &options);
  if (err == 0)
    ntl_socket_link(s, self);
  lua_pushinteger(L, err);
  return 1;
}

/* ---- Sending and closing ------------------------------------------------- */

enum { /* the stack of a send */
  SEND_DATA = 3,
  SEND_SUCCESS,
  SEND_FAIL,
  SEND_COMPLETE,
  SEND_RECORD
};

static bool is_function_or_nil(lua_State* L, int idx) {
  return lua_isnil(L, idx) || lua_isfunction(L, idx);
}

/* record.sends[last + 1] = { number, success, fail, complete }; it counts once
 * `last` says so. */
static void remember(lua_State* L, const ntl_socket_t* self) {
  lua_createtable(L, 0, 4);
  ntl_pushunsigned64(L, self->sent + 1);
  lua_setfield(L, -2, "number");
  lua_pushvalue(L, SEND_SUCCESS);
  lua_setfield(L, -2, "success");
  lua_pushvalue(L, SEND_FAIL);
  lua_setfield(L, -2, "fail");
  lua_pushvalue(L, SEND_COMPLETE);
  lua_setfield(L, -2, "complete");
  lua_getfield(L, SEND_RECORD, "sends");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, SEND_RECORD, "sends");
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, (int) self->last + 1);
  lua_pop(L, 1);
}

/* Gives the data to the core. Whatever may raise comes before. */
static int give(lua_State* L, const ntl_state_t* s, ntl_socket_t* self) {
  bool text = lua_type(L, SEND_DATA) == LUA_TSTRING;
  size_t size = 0;
  const char* data = ntl_bytes_test(L, SEND_DATA, &size);

  return nt_websocket_send(s->context, self->task.id,
                           text ? NT_MESSAGE_TEXT : NT_MESSAGE_BINARY, data,
                           size);
}

/* The stack holds data and callbacks, as SEND_* says. */
static int send_data(lua_State* L, ntl_state_t* s, ntl_socket_t* self) {
  bool waits = lua_isfunction(L, SEND_SUCCESS) ||
               lua_isfunction(L, SEND_FAIL) || lua_isfunction(L, SEND_COMPLETE);
  int err;

  if (self->ready != READY_OPEN)
    return NT_E_NOT_OPEN;
  if (waits) {
    if (!ntl_push_record(L, s, self->task.id))
      return NT_E_NOT_OPEN;
    remember(L, self);
  }
  if (s->context == NULL)
    return NT_E_NOT_OPEN;
  /* Together: or the echo could come before the report that it was sent. */
  nt_cork(s->context);
  err = give(L, s, self);
  if (err == 0 && (waits || self->drains))
    nt_websocket_report(s->context, self->task.id);
  nt_uncork(s->context);
  if (err)
    return err;
  self->sent++;
  self->last += waits;
  return 0;
}

/* core.socketSend(task, data, success, fail, complete) -> code. In C's words
 * the second argument is the first of SEND_*. */
static int socket_send(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = ntl_socket_check(L);

  lua_settop(L, 5);
  ntl_bytes_check(L, 2, NULL);
  lua_pushnil(L);
  lua_insert(L, 2);
  lua_pushinteger(L, send_data(L, s, self));
  return 1;
}

/* Calls a function of the Lua layer with the two arguments and, unless it is 0,
 * `code`. */
static int leave_to_lua(lua_State* L, const ntl_state_t* s,
                        ntl_handler_t handler, int code) {
  lua_settop(L, 2);
  ntl_push_ref(L, s->handlers[handler]);
  lua_insert(L, 1);
  if (code != 0)
    lua_pushinteger(L, code);
  lua_call(L, code != 0 ? 3 : 2, 0);
  return 0;
}

/* The options are { data = string or Buffer } and nothing else, as in most
 * calls: one look is cheaper than asking for each name. Pushes the data. */
static bool push_bare_data(lua_State* L) {
  if (lua_getmetatable(L, 2)) {
    lua_pop(L, 1);
    return false;
  }
  lua_pushnil(L);
  if (!lua_next(L, 2))
    return false;
  lua_insert(L, -2);
  if (lua_type(L, -1) == LUA_TSTRING &&
      strcmp(lua_tostring(L, -1), "data") == 0 && !lua_next(L, 2) &&
      ntl_bytes_test(L, SEND_DATA, NULL) != NULL)
    return true;
  lua_settop(L, 2);
  return false;
}

/* Pushes data and callbacks. */
static bool push_plain_data(lua_State* L) {
  bool plain;

  lua_getfield(L, 2, "data");
  lua_getfield(L, 2, "success");
  lua_getfield(L, 2, "fail");
  lua_getfield(L, 2, "complete");
  lua_getfield(L, 2, "isBuffer");
  plain = !lua_toboolean(L, -1) && ntl_bytes_test(L, SEND_DATA, NULL) != NULL &&
          is_function_or_nil(L, SEND_SUCCESS) &&
          is_function_or_nil(L, SEND_FAIL) &&
          is_function_or_nil(L, SEND_COMPLETE);
  lua_pop(L, 1);
  return plain;
}

/* task:send(options). What is unusual is left to the Lua layer: other data,
 * refusals, and the first message, whose options it looks at. */
int ntl_socket_task_send(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = ntl_socket_check(L);
  int code;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  if (self->sent == 0 || !(push_bare_data(L) || push_plain_data(L)))
    return leave_to_lua(L, s, NTL_ON_SEND, 0);
  lua_settop(L, SEND_COMPLETE);
  code = send_data(L, s, self);
  return code != 0 ? leave_to_lua(L, s, NTL_ON_SEND, code) : 0;
}

int ntl_socket_close(lua_State* L, ntl_state_t* s, ntl_socket_t* self, int code,
                     const char* reason) {
  int err;

  if (self->ready == READY_CLOSING || !ntl_push_record(L, s, self->task.id))
    return NT_E_NOT_OPEN;
  lua_pushstring(L, reason);
  lua_setfield(L, -2, "closeReason");
  if (s->context == NULL) /* a finaliser has closed it */
    err = NT_E_NOT_OPEN;
  else
    err = nt_websocket_close(s->context, self->task.id, code, reason);
  if (err == 0) {
    self->ready = READY_CLOSING;
    self->close_code = code;
    self->task.aborted = true; /* nothing but the end is told any more */
  }
  lua_pop(L, 1);
  return err;
}

/* core.socketClose(task, code, reason) -> code */
static int socket_close(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = ntl_socket_check(L);
  lua_Number code = luaL_checknumber(L, 2);
  const char* reason = luaL_checkstring(L, 3);

  if (!(code >= 0 && code <= 65535))
    lua_pushinteger(L, NT_E_INVALID);
  else
    lua_pushinteger(L, ntl_socket_close(L, s, self, (int) code, reason));
  return 1;
}

/* task:close([options]) */
int ntl_socket_task_close(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  ntl_socket_check(L);
  if (!lua_isnoneornil(L, 2))
    luaL_checktype(L, 2, LUA_TTABLE);
  return leave_to_lua(L, s, NTL_ON_CLOSE, 0);
}

/* ---- Functions ----------------------------------------------------------- */

void ntl_socket_calls_open(lua_State* L) {
  static const luaL_Reg funcs[] = {
    { "socketOpen", socket_open },     { "socketStart", socket_start },
    { "socketRefuse", socket_refuse }, { "socketSend", socket_send },
    { "socketClose", socket_close },   { NULL, NULL },
  };

  ntl_register(L, funcs);
}
