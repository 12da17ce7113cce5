/* SocketTask: a WebSocket. What its events mean to a script, the way of a
 * message in both directions, and the one socket among the live ones that the
 * global functions of the mini-program API are about. On the host thread.
 *
 * Two things are as the script has seen them, not as the network has them by
 * now: readyState, which changes with the event that is delivered, and with it
 * what may be sent.
 *
 * The record of a socket holds, beside its listeners:
 *   sends      sends that wait for their callbacks, see remember()
 *   lostReason why the connection that is being made again was lost
 *   aborted    also after close(): nothing but the end is told any more
 *   handled    somebody listens for errors
 * and what socket.lua says. */
#include <string.h>

#include "lbuffer.h"
#include "ltext.h"
#include "params.h"

#define OPEN_LIST "onOpen"
#define MESSAGE_LIST "onMessage"
#define ERROR_LIST "onError"
#define CLOSE_LIST "onClose"
#define RECONNECT_LIST "onReconnect"
#define DRAIN_LIST "onDrain"

enum {
  ABNORMAL = 1006, /* without a close frame */
  NORMAL = 1000
};

/* readyState; the numbers are API. */
typedef enum ready {
  READY_CONNECTING,
  READY_OPEN,
  READY_CLOSING,
  READY_CLOSED
} ready_t;

typedef struct ntl_socket {
  ntl_task_t task;
  struct ntl_socket* older; /* among the live ones that were started */
  struct ntl_socket* newer;
  ready_t ready;
  uint64_t sent;        /* messages that the core has taken */
  uint64_t drained;     /* of them, when onDrain was told last */
  uint64_t first, last; /* indices in record.sends; none when first > last */
  int close_code;       /* of our close() */
  int lost_code;
  bool linked;
  bool opened;
  bool refused;  /* never started: its record says why */
  bool multiple; /* does not give way to another */
  bool replaced; /* has given way: its close is global news all the same */
  bool base64;   /* binary messages are shown as base64 */
  bool drains;   /* somebody wants to know when all is sent */
} ntl_socket_t;

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);
static void forget(ntl_state_t* s, ntl_task_t* task);
static int field(lua_State* L, const ntl_state_t* s, const ntl_task_t* task,
                 const char* name);

static const ntl_kind_t socket_kind = {
  "nettask.SocketTask", "SocketTask", "socket", dispatch, forget, field,
};

static ntl_socket_t* check_socket(lua_State* L) {
  return (ntl_socket_t*) ntl_task_check(L, 1, &socket_kind);
}

/* ---- The live ones ------------------------------------------------------- */

static void link_socket(ntl_state_t* s, ntl_socket_t* self) {
  self->older = s->newest;
  if (s->newest != NULL)
    s->newest->newer = self;
  else
    s->oldest = self;
  s->newest = self;
  self->linked = true;
  if (s->bound == NULL)
    s->bound = self;
}

static void forget(ntl_state_t* s, ntl_task_t* task) {
  ntl_socket_t* self = (ntl_socket_t*) task;

  if (!self->linked)
    return;
  if (self->older != NULL)
    self->older->newer = self->newer;
  else
    s->oldest = self->newer;
  if (self->newer != NULL)
    self->newer->older = self->older;
  else
    s->newest = self->older;
  self->linked = false;
  if (s->bound == self)
    s->bound = s->oldest;
}

/* Nothing but the end is told of it any more. The record is on top. */
static void mute(lua_State* L) {
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "aborted");
}

static int close_socket(lua_State* L, ntl_state_t* s, ntl_socket_t* self,
                        int code, const char* reason) {
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
    mute(L);
  }
  lua_pop(L, 1);
  return err;
}

static ntl_socket_t* find_replaceable(const ntl_state_t* s,
                                      const ntl_socket_t* by) {
  ntl_socket_t* socket = s->oldest;

  while (socket != NULL &&
         (socket == by || socket->multiple || socket->replaced))
    socket = socket->newer;
  return socket;
}

/* core.socketReplace(task): single mode. The others give way, and the global
 * functions mean this one. */
static int socket_replace(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = check_socket(L);
  ntl_socket_t* other;

  /* Each time from the start: a finaliser may change the list. */
  while (self->linked && (other = find_replaceable(s, self)) != NULL) {
    other->replaced = true;
    close_socket(L, s, other, NORMAL, "replaced");
  }
  if (self->linked)
    s->bound = self;
  return 0;
}

/* core.boundSocket() -> task | nil, whether it is still connecting for the
 * first time. */
static int bound_socket(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  const ntl_socket_t* bound = s->bound;

  if (bound == NULL || !ntl_push_record(L, s, bound->task.id))
    return 0;
  lua_getfield(L, -1, "self");
  lua_pushboolean(L, bound->ready == READY_CONNECTING && !bound->opened);
  return 2;
}

/* ---- Listeners ----------------------------------------------------------- */

static bool has_global(lua_State* L, const ntl_state_t* s, const char* name) {
  bool has;

  ntl_push_ref(L, s->sockets);
  has = ntl_has_listeners(L, lua_gettop(L), name);
  lua_pop(L, 1);
  return has;
}

static bool is_wanted(lua_State* L, const ntl_state_t* s, int record,
                      bool global, const char* name) {
  return ntl_has_listeners(L, record, name) ||
         (global && has_global(L, s, name));
}

/* Calls the socket's listeners with the value on top, which is popped, and
 * then, if `global`, the global ones. Returns as ntl_call(). */
static int fire(lua_State* L, ntl_state_t* s, int record, bool global,
                const char* name) {
  int value = lua_gettop(L);
  int goes_on;

  if (!global)
    return ntl_fire(L, s, record, &socket_kind, name);
  lua_pushvalue(L, value);
  goes_on = ntl_fire(L, s, record, &socket_kind, name);
  if (goes_on) {
    ntl_push_ref(L, s->sockets);
    lua_insert(L, value);
    goes_on = ntl_fire_lists(L, s, record, value, &socket_kind, name);
  }
  lua_settop(L, value - 1);
  return goes_on;
}

/* ---- Open, and open again ------------------------------------------------ */

static void set_instant(lua_State* L, const char* name, int64_t value) {
  ntl_pushinteger64(L, value);
  lua_setfield(L, -2, name);
}

static void set_span(lua_State* L, const char* name, int64_t from, int64_t to) {
  set_instant(L, name, from > 0 && to > from ? to - from : 0);
}

static void push_profile(lua_State* L, const nt_profile_t* profile) {
  bool tls = profile->tls_end > 0;

  lua_createtable(L, 0, 8);
  set_instant(L, "fetchStart", profile->fetch_start);
  set_instant(L, "domainLookUpStart", profile->lookup_start);
  set_instant(L, "domainLookUpEnd", profile->lookup_end);
  set_instant(L, "connectStart", profile->connect_start);
  set_instant(L, "connectEnd", profile->connect_end);
  set_span(L, "rtt", profile->connect_start,
           tls ? profile->tls_end : profile->connect_end);
  set_span(L, "handshakeCost", profile->request_start, profile->response_end);
  set_span(L, "cost", profile->invoke_start, profile->response_end);
}

static void push_open_result(lua_State* L, ntl_state_t* s,
                             const nt_event_t* event) {
  int result = lua_gettop(L) + 1;

  lua_createtable(L, 0, 6);
  ntl_push_headers(L, s, &event->headers);
  lua_pop(L, 1); /* cookies */
  lua_setfield(L, result, "header");
  lua_pushstring(L, event->protocol != NULL ? event->protocol : "");
  lua_setfield(L, result, "protocol");
  if (event->profile != NULL) {
    push_profile(L, event->profile);
    lua_setfield(L, result, "profile");
  }
}

/* What onReconnect has beside: how it came to that. */
static void add_loss(lua_State* L, int record, const ntl_socket_t* self,
                     const nt_event_t* event) {
  lua_pushinteger(L, (lua_Integer) event->attempt);
  lua_setfield(L, -2, "attempt");
  lua_pushinteger(L, self->lost_code);
  lua_setfield(L, -2, "code");
  lua_getfield(L, record, "lostReason");
  lua_setfield(L, -2, "reason");
}

static void on_open(lua_State* L, ntl_state_t* s, int record,
                    const nt_event_t* event, ntl_socket_t* self) {
  bool global = s->bound == self;

  if (self->ready == READY_CLOSING)
    return;
  self->ready = READY_OPEN;
  self->opened = true;
  if (event->attempt > 0) {
    if (!ntl_has_listeners(L, record, RECONNECT_LIST))
      return;
    push_open_result(L, s, event);
    add_loss(L, record, self, event);
    ntl_fire(L, s, record, &socket_kind, RECONNECT_LIST);
  } else if (is_wanted(L, s, record, global, OPEN_LIST)) {
    push_open_result(L, s, event);
    fire(L, s, record, global, OPEN_LIST);
  }
}

/* ---- Messages ------------------------------------------------------------ */

static void push_message(lua_State* L, const nt_event_t* event, bool base64) {
  const char* data = event->size > 0 ? event->data : "";

  lua_createtable(L, 0, base64 ? 2 : 1);
  if (!event->binary)
    lua_pushlstring(L, data, event->size);
  else if (base64)
    ntl_base64_push(L, data, event->size);
  else
    ntl_buffer_push(L, data, event->size);
  lua_setfield(L, -2, "data");
  if (base64) {
    lua_pushboolean(L, event->binary);
    lua_setfield(L, -2, "isBuffer");
  }
}

static void on_message(lua_State* L, ntl_state_t* s, int record,
                       const nt_event_t* event, const ntl_socket_t* self) {
  bool global = s->bound == self;

  if (self->ready != READY_OPEN ||
      !is_wanted(L, s, record, global, MESSAGE_LIST))
    return;
  push_message(L, event, self->base64);
  fire(L, s, record, global, MESSAGE_LIST);
}

/* ---- Sends --------------------------------------------------------------- */

/* Push what a failed finish() returns: ok, res, f, g, h. */
static void push_failure(lua_State* L, const ntl_state_t* s, int record,
                         const char* api, int error, const char* message,
                         int status) {
  ntl_push_ref(L, s->handlers[NTL_ON_FINISH]);
  lua_pushvalue(L, record);
  lua_pushstring(L, api);
  lua_pushinteger(L, error);
  lua_pushstring(L, message);
  lua_pushnil(L);
  if (status != 0)
    lua_pushinteger(L, status);
  else
    lua_pushnil(L);
  lua_call(L, 6, 5);
}

/* Push ok, res, f, g, h for the send on top, which is replaced. */
static void push_outcome(lua_State* L, const ntl_state_t* s, bool lost) {
  int send = lua_gettop(L);

  if (lost) {
    push_failure(L, s, send, "send", NT_E_NOT_OPEN, "", 0);
  } else {
    lua_pushboolean(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "sendSocketMessage:ok");
    lua_setfield(L, -2, "errMsg");
    lua_getfield(L, send, "success");
    lua_getfield(L, send, "complete");
    lua_pushnil(L);
  }
  lua_remove(L, send);
}

/* Push the first send that waits, if its number is one of the `done` first or
 * with `lost`. Returns whether there was one. */
static bool push_send(lua_State* L, const ntl_socket_t* self, int record,
                      uint64_t done, bool lost) {
  bool due;

  if (self->first > self->last)
    return false;
  lua_getfield(L, record, "sends");
  lua_rawgeti(L, -1, (int) self->first);
  lua_remove(L, -2);
  lua_getfield(L, -1, "number");
  due = lost || lua_tonumber(L, -1) <= (lua_Number) done;
  lua_pop(L, due ? 1 : 2);
  return due;
}

static void drop_send(lua_State* L, ntl_socket_t* self, int record) {
  lua_getfield(L, record, "sends");
  lua_pushnil(L);
  lua_rawseti(L, -2, (int) self->first);
  lua_pop(L, 1);
  self->first++;
  if (self->first > self->last) { /* the list does not creep */
    self->first = 1;
    self->last = 0;
  }
}

/* Success for the `done` first sends, or with `lost` failure for all that
 * wait. Returns false when dispatch has to return. */
static bool end_sends(lua_State* L, ntl_state_t* s, int record,
                      ntl_socket_t* self, uint64_t done, bool lost) {
  int base = lua_gettop(L) + 1;

  while (push_send(L, self, record, done, lost)) {
    push_outcome(L, s, lost);
    drop_send(L, self, record);
    if (!ntl_call_results(L, s, base, &socket_kind))
      return false;
    lua_settop(L, base - 1);
    if (!ntl_may_go_on(s))
      return false;
  }
  return true;
}

static uint64_t buffered(const ntl_state_t* s, nt_id_t id) {
  return s->context == NULL ? 0 : nt_websocket_buffered(s->context, id);
}

/* All is sent; once for what was sent since the last time. */
static void tell_drain(lua_State* L, ntl_state_t* s, int record,
                       ntl_socket_t* self) {
  lua_newtable(L);
  self->drained = self->sent;
  ntl_fire(L, s, record, &socket_kind, DRAIN_LIST);
}

static void on_sent(lua_State* L, ntl_state_t* s, int record,
                    const nt_event_t* event, ntl_socket_t* self) {
  if (!end_sends(L, s, record, self, event->done, false))
    return;
  if (self->drains && self->sent > self->drained && buffered(s, event->id) == 0)
    tell_drain(L, s, record, self);
}

/* ---- Ends ---------------------------------------------------------------- */

static void on_lost(lua_State* L, ntl_state_t* s, int record,
                    const nt_event_t* event, ntl_socket_t* self) {
  if (self->ready == READY_OPEN)
    self->ready = READY_CONNECTING;
  self->drained = self->sent;
  self->lost_code = event->code;
  lua_pushstring(L, event->reason != NULL ? event->reason : "");
  lua_setfield(L, record, "lostReason");
  end_sends(L, s, record, self, 0, true);
}

/* What the platforms say where nobody said anything. */
static const char* default_reason(const ntl_socket_t* self, int error,
                                  int code) {
  if (error == NT_E_ABORTED)
    return "abort";
  if (code == ABNORMAL)
    return "abnormal closure";
  return code == self->close_code ? "normal closure" : "";
}

/* A socket that was closed before it was open ends as close() said, also when
 * the connection failed just then. */
static bool is_cancelled(const ntl_socket_t* self, const nt_event_t* event) {
  return self->close_code != 0 && !self->opened && event->error != NT_E_ABORTED;
}

static void push_close_result(lua_State* L, int record,
                              const ntl_socket_t* self,
                              const nt_event_t* event) {
  bool cancelled = is_cancelled(self, event);
  int code = cancelled ? self->close_code : event->code;
  const char* reason = event->reason;

  if (code == 0)
    code = ABNORMAL;
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, code);
  lua_setfield(L, -2, "code");
  if (cancelled) {
    lua_getfield(L, record, "closeReason");
    reason = lua_tostring(L, -1);
  } else {
    lua_pushstring(L, reason != NULL ? reason : "");
  }
  if (reason == NULL || *reason == '\0') {
    lua_pop(L, 1);
    lua_pushstring(L, default_reason(self, event->error, code));
  }
  lua_setfield(L, -2, "reason");
}

static void push_error_result(lua_State* L, const ntl_state_t* s, int record,
                              bool global, const nt_event_t* event) {
  int result = lua_gettop(L) + 2;

  lua_pushboolean(L, is_wanted(L, s, record, global, ERROR_LIST));
  lua_setfield(L, record, "handled");
  push_failure(L, s, record, socket_kind.name, event->error, event->message,
               event->status);
  lua_pushvalue(L, result);
  lua_replace(L, result - 1);
  lua_settop(L, result - 1);
}

/* Everything that needs memory is made first: what was called cannot be called
 * back. */
static void tell_end(lua_State* L, ntl_state_t* s, int record,
                     const nt_event_t* event, ntl_socket_t* self) {
  bool global = s->bound == self || self->replaced;
  bool aborted = self->opened && event->error == NT_E_ABORTED;
  bool cancelled = is_cancelled(self, event);
  bool has_error = event->error != 0 && !aborted && !cancelled;
  bool has_close = event->error == 0 || self->opened || cancelled;

  lua_pushnil(L);
  lua_setfield(L, record, "aborted");
  if (has_close)
    push_close_result(L, record, self, event);
  if (has_error)
    push_error_result(L, s, record, global, event);
  ntl_untrack(L, s, event->id);
  if (has_error && !fire(L, s, record, global, ERROR_LIST))
    return;
  if (has_close)
    fire(L, s, record, global, CLOSE_LIST);
}

static void on_end(lua_State* L, ntl_state_t* s, int record,
                   const nt_event_t* event, ntl_socket_t* self) {
  int base = lua_gettop(L) + 1;

  self->ready = READY_CLOSED;
  if (ntl_get_flag(L, record, "silent")) {
    ntl_untrack(L, s, event->id);
  } else if (self->refused) {
    push_failure(L, s, record, socket_kind.name, event->error, event->message,
                 0);
    ntl_untrack(L, s, event->id);
    ntl_call_results(L, s, base, &socket_kind);
  } else if (end_sends(L, s, record, self, 0, true)) {
    tell_end(L, s, record, event, self);
  }
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);
  ntl_socket_t* self = (ntl_socket_t*) s->task;

  switch (event->type) {
    case NT_EV_MESSAGE:
      on_message(L, s, record, event, self);
      break;
    case NT_EV_SENT:
      on_sent(L, s, record, event, self);
      break;
    case NT_EV_OPEN:
      on_open(L, s, record, event, self);
      break;
    case NT_EV_LOST:
      on_lost(L, s, record, event, self);
      break;
    case NT_EV_END:
      on_end(L, s, record, event, self);
      break;
    default:
      break;
  }
}

/* ---- Starting ------------------------------------------------------------ */

static int socket_open(lua_State* L) {
  int results =
      ntl_task_open(L, &socket_kind, sizeof(ntl_socket_t), nt_websocket_open);
  ntl_socket_t* self = lua_touserdata(L, -1);

  self->first = 1;
  return results;
}

/* core.socketRefuse(task): as core.requestRefuse(). */
static int socket_refuse(lua_State* L) {
  ntl_socket_t* self = check_socket(L);

  self->refused = true;
  return ntl_task_refuse(L, &socket_kind);
}

static void read_flags(lua_State* L, nt_websocket_options_t* options) {
  if (ntl_get_flag(L, 2, "noDelay"))
    options->flags |= NT_WEBSOCKET_NO_DELAY;
  if (ntl_get_flag(L, 2, "deflate"))
    options->flags |= NT_WEBSOCKET_DEFLATE;
  if (ntl_get_flag(L, 2, "profile"))
    options->flags |= NT_WEBSOCKET_PROFILE;
}

/* { base, max, jitter, tries } */
static void read_reconnect(lua_State* L, nt_reconnect_t* reconnect) {
  int table;

  lua_getfield(L, 2, "reconnect");
  table = lua_gettop(L);
  if (lua_istable(L, table)) {
    ntl_get_ms(L, table, "base", &reconnect->base_ms);
    ntl_get_ms(L, table, "max", &reconnect->max_ms);
    ntl_get_ms(L, table, "tries", &reconnect->tries);
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
           ntl_get_texts(L, 2, "protocols", &options->protocols,
                         &options->protocol_count))
    err = NT_E_INVALID;
  if (err) {
    lua_pushinteger(L, err);
    return 1;
  }
  ntl_get_timeouts(L, 2, &options->timeouts);
  ntl_get_ms(L, 2, "pingInterval", &options->ping_interval_ms);
  ntl_get_ms(L, 2, "pongTimeout", &options->pong_timeout_ms);
  read_flags(L, options);
  read_reconnect(L, &options->reconnect);
  read_cap(L, s, &options->message_max_bytes);
  return ntl_get_headers(L, 2, &options->headers, &options->header_count);
}

/* core.socketStart(task, params) -> as core.requestStart(). params: url,
 * baseUrl, proxy, headers and protocols (lists), total, timeouts, pingInterval,
 * pongTimeout, maxMessageBytes, reconnect, and the flags noDelay, deflate,
 * profile, multiple, base64. */
static int socket_start(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = check_socket(L);
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
    link_socket(s, self);
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
  err = give(L, s, self);
  if (err)
    return err;
  self->sent++;
  self->last += waits;
  if (waits || self->drains)
    nt_websocket_report(s->context, self->task.id);
  return 0;
}

/* core.socketSend(task, data, success, fail, complete) -> code. In C's words
 * the second argument is the first of SEND_*. */
static int socket_send(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = check_socket(L);

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

/* task:send(options). What is unusual is left to the Lua layer: other data,
 * refusals, and the first message, whose options it looks at. */
static int task_send(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = check_socket(L);
  bool plain;
  int code;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_getfield(L, 2, "data");
  lua_getfield(L, 2, "success");
  lua_getfield(L, 2, "fail");
  lua_getfield(L, 2, "complete");
  lua_getfield(L, 2, "isBuffer");
  plain = self->sent > 0 && !lua_toboolean(L, -1) &&
          ntl_bytes_test(L, SEND_DATA, NULL) != NULL &&
          is_function_or_nil(L, SEND_SUCCESS) &&
          is_function_or_nil(L, SEND_FAIL) &&
          is_function_or_nil(L, SEND_COMPLETE);
  lua_pop(L, 1);
  if (!plain)
    return leave_to_lua(L, s, NTL_ON_SEND, 0);
  code = send_data(L, s, self);
  return code != 0 ? leave_to_lua(L, s, NTL_ON_SEND, code) : 0;
}

/* core.socketClose(task, code, reason) -> code */
static int socket_close(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = check_socket(L);
  lua_Number code = luaL_checknumber(L, 2);
  const char* reason = luaL_checkstring(L, 3);

  if (!(code >= 0 && code <= 65535))
    lua_pushinteger(L, NT_E_INVALID);
  else
    lua_pushinteger(L, close_socket(L, s, self, (int) code, reason));
  return 1;
}

/* task:close([options]) */
static int task_close(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  check_socket(L);
  if (!lua_isnoneornil(L, 2))
    luaL_checktype(L, 2, LUA_TTABLE);
  return leave_to_lua(L, s, NTL_ON_CLOSE, 0);
}

/* ---- Fields -------------------------------------------------------------- */

static ready_t ready_of(const ntl_state_t* s, const ntl_socket_t* self) {
  if (self->refused || s->context == NULL)
    return READY_CLOSED;
  switch (nt_state(s->context, self->task.id)) {
    case NT_STATE_DONE:
      return READY_CLOSED;
    case NT_STATE_CLOSING:
      return READY_CLOSING;
    default:
      return self->ready;
  }
}

static int field(lua_State* L, const ntl_state_t* s, const ntl_task_t* task,
                 const char* name) {
  static const char* const states[] = { "CONNECTING", "OPEN", "CLOSING",
                                        "CLOSED" };
  const ntl_socket_t* self = (const ntl_socket_t*) task;

  for (int i = 0; i <= READY_CLOSED; i++) {
    if (strcmp(name, states[i]) == 0) {
      lua_pushinteger(L, i);
      return 1;
    }
  }
  if (strcmp(name, "readyState") == 0)
    lua_pushinteger(L, ready_of(s, self));
  else if (strcmp(name, "socketTaskId") == 0)
    ntl_push_id(L, task->id);
  else if (strcmp(name, "bufferedAmount") == 0)
    ntl_pushunsigned64(L, buffered(s, task->id));
  else
    return 0;
  return 1;
}

/* ---- Methods and functions ----------------------------------------------- */

#define LISTENERS(name, list)                                                  \
  static int on_##name##_listener(lua_State* L) {                              \
    return ntl_listener_on(L, &socket_kind, list);                             \
  }                                                                            \
  static int off_##name##_listener(lua_State* L) {                             \
    return ntl_listener_off(L, &socket_kind, list);                            \
  }

#define GLOBAL_LISTENERS(name, list)                                           \
  static int on_socket_##name(lua_State* L) {                                  \
    return global_on(L, list);                                                 \
  }                                                                            \
  static int off_socket_##name(lua_State* L) {                                 \
    return global_off(L, list);                                                \
  }

LISTENERS(open, OPEN_LIST)
LISTENERS(message, MESSAGE_LIST)
LISTENERS(error, ERROR_LIST)
LISTENERS(close, CLOSE_LIST)
LISTENERS(reconnect, RECONNECT_LIST)

/* Without them nobody asks the core for reports. */
static int note_drain(lua_State* L, int (*change)(lua_State*, const ntl_kind_t*,
                                                  const char*)) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = check_socket(L);

  change(L, &socket_kind, DRAIN_LIST);
  if (!ntl_push_record(L, s, self->task.id))
    return 0;
  self->drains = ntl_has_listeners(L, lua_gettop(L), DRAIN_LIST);
  if (!self->drains)
    return 0;
  if (buffered(s, self->task.id) > 0)
    nt_websocket_report(s->context, self->task.id);
  else
    self->drained = self->sent;
  return 0;
}

static int on_drain_listener(lua_State* L) {
  return note_drain(L, ntl_listener_on);
}

static int off_drain_listener(lua_State* L) {
  return note_drain(L, ntl_listener_off);
}

/* net.onSocketX(f) */
static int global_on(lua_State* L, const char* name) {
  const ntl_state_t* s = ntl_self(L);

  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  ntl_push_ref(L, s->sockets);
  ntl_listener_add(L, 2, 1, name);
  return 0;
}

/* net.offSocketX([f]) */
static int global_off(lua_State* L, const char* name) {
  const ntl_state_t* s = ntl_self(L);

  lua_settop(L, 1);
  ntl_push_ref(L, s->sockets);
  ntl_listener_remove(L, 2, 1, name);
  return 0;
}

GLOBAL_LISTENERS(open, OPEN_LIST)
GLOBAL_LISTENERS(message, MESSAGE_LIST)
GLOBAL_LISTENERS(error, ERROR_LIST)
GLOBAL_LISTENERS(close, CLOSE_LIST)

void ntl_socket_open(lua_State* L, ntl_state_t* s) {
  static const luaL_Reg methods[] = {
    { "send", task_send },
    { "close", task_close },
    { "onOpen", on_open_listener },
    { "offOpen", off_open_listener },
    { "onMessage", on_message_listener },
    { "offMessage", off_message_listener },
    { "onError", on_error_listener },
    { "offError", off_error_listener },
    { "onClose", on_close_listener },
    { "offClose", off_close_listener },
    { "onReconnect", on_reconnect_listener },
    { "offReconnect", off_reconnect_listener },
    { "onDrain", on_drain_listener },
    { "offDrain", off_drain_listener },
    { NULL, NULL },
  };
  static const luaL_Reg funcs[] = {
    { "socketOpen", socket_open },
    { "socketStart", socket_start },
    { "socketRefuse", socket_refuse },
    { "socketReplace", socket_replace },
    { "socketSend", socket_send },
    { "socketClose", socket_close },
    { "boundSocket", bound_socket },
    { "onSocketOpen", on_socket_open },
    { "offSocketOpen", off_socket_open },
    { "onSocketMessage", on_socket_message },
    { "offSocketMessage", off_socket_message },
    { "onSocketError", on_socket_error },
    { "offSocketError", off_socket_error },
    { "onSocketClose", on_socket_close },
    { "offSocketClose", off_socket_close },
    { NULL, NULL },
  };

  lua_newtable(L);
  s->sockets = ntl_new_ref(L);
  ntl_task_class(L, &socket_kind, methods);
  ntl_register(L, funcs);
}
