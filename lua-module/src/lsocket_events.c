/* What happens on a WebSocket, told to its listeners and to those of the global
 * functions. On the host thread, inside update(). */
#include "lbuffer.h"
#include "lsocket.h"
#include "ltext.h"
#include "params.h"

enum {
  ABNORMAL = 1006 /* without a close frame */
};

/* ---- Listeners ----------------------------------------------------------- */

/* Whether the global listeners hear of this socket. */
static bool is_global(const ntl_state_t* s, const ntl_socket_t* self) {
  return s->global_listeners && (s->bound == self || self->replaced);
}

static bool is_wanted(lua_State* L, const ntl_state_t* s, int record,
                      bool global, const ntl_list_t* list) {
  bool has = ntl_has_listeners(L, record, list);

  if (!has && global) {
    ntl_push_ref(L, s->sockets);
    has = ntl_has_listeners(L, lua_gettop(L), list);
    lua_pop(L, 1);
  }
  return has;
}

/* Calls the socket's listeners with the value on top, which is popped, and
 * then, if `global`, the global ones. Returns as ntl_call(). */
static int fire(lua_State* L, ntl_state_t* s, int record, bool global,
                const ntl_list_t* list) {
  int value = lua_gettop(L);
  int goes_on;

  if (!global)
    return ntl_fire(L, s, record, &ntl_socket_kind, list);
  lua_pushvalue(L, value);
  goes_on = ntl_fire(L, s, record, &ntl_socket_kind, list);
  if (goes_on) {
    ntl_push_ref(L, s->sockets);
    lua_insert(L, value);
    goes_on = ntl_fire(L, s, value, &ntl_socket_kind, list);
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
  bool global = is_global(s, self);

  if (self->ready == READY_CLOSING)
    return;
  self->ready = READY_OPEN;
  self->opened = true;
  if (event->attempt > 0) {
    if (!ntl_has_listeners(L, record, &ntl_on_reconnect))
      return;
    push_open_result(L, s, event);
    add_loss(L, record, self, event);
    ntl_fire(L, s, record, &ntl_socket_kind, &ntl_on_reconnect);
  } else if (is_wanted(L, s, record, global, &ntl_on_open)) {
    push_open_result(L, s, event);
    fire(L, s, record, global, &ntl_on_open);
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
  bool global = is_global(s, self);

  if (self->ready != READY_OPEN ||
      !is_wanted(L, s, record, global, &ntl_on_message))
    return;
  push_message(L, event, self->base64);
  fire(L, s, record, global, &ntl_on_message);
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
    if (!ntl_call_results(L, s, base, &ntl_socket_kind))
      return false;
    lua_settop(L, base - 1);
    if (!ntl_may_go_on(s))
      return false;
  }
  return true;
}

/* All is sent; once for what was sent since the last time. */
static void tell_drain(lua_State* L, ntl_state_t* s, int record,
                       ntl_socket_t* self) {
  lua_newtable(L);
  self->drained = self->sent;
  ntl_fire(L, s, record, &ntl_socket_kind, &ntl_on_drain);
}

static void on_sent(lua_State* L, ntl_state_t* s, int record,
                    const nt_event_t* event, ntl_socket_t* self) {
  if (!end_sends(L, s, record, self, event->done, false))
    return;
  if (self->drains && self->sent > self->drained &&
      ntl_socket_buffered(s, self) == 0)
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

  lua_pushboolean(L, is_wanted(L, s, record, global, &ntl_on_error));
  lua_setfield(L, record, "handled");
  push_failure(L, s, record, ntl_socket_kind.name, event->error, event->message,
               event->status);
  lua_pushvalue(L, result);
  lua_replace(L, result - 1);
  lua_settop(L, result - 1);
}

/* Everything that needs memory is made first: what was called cannot be called
 * back. */
static void tell_end(lua_State* L, ntl_state_t* s, int record,
                     const nt_event_t* event, ntl_socket_t* self) {
  bool global = is_global(s, self);
  bool aborted = self->opened && event->error == NT_E_ABORTED;
  bool cancelled = is_cancelled(self, event);
  bool has_error = event->error != 0 && !aborted && !cancelled;
  bool has_close = event->error == 0 || self->opened || cancelled;

  self->task.aborted = false;
  if (has_close)
    push_close_result(L, record, self, event);
  if (has_error)
    push_error_result(L, s, record, global, event);
  ntl_untrack(L, s, event->id);
  if (has_error && !fire(L, s, record, global, &ntl_on_error))
    return;
  if (has_close)
    fire(L, s, record, global, &ntl_on_close);
}

static void on_end(lua_State* L, ntl_state_t* s, int record,
                   const nt_event_t* event, ntl_socket_t* self) {
  int base = lua_gettop(L) + 1;

  self->ready = READY_CLOSED;
  if (ntl_get_flag(L, record, "silent")) {
    ntl_untrack(L, s, event->id);
    lua_settop(L, base + 4);
    ntl_promise_settle(L, s, record, base, &ntl_socket_kind);
  } else if (self->refused) {
    push_failure(L, s, record, ntl_socket_kind.name, event->error,
                 event->message, 0);
    lua_rawgeti(L, record, NTL_SELF);
    ntl_result_keep(L, lua_gettop(L), base);
    ntl_untrack(L, s, event->id);
    if (ntl_call_results(L, s, base, &ntl_socket_kind))
      ntl_promise_settle(L, s, record, base, &ntl_socket_kind);
  } else if (end_sends(L, s, record, self, 0, true)) {
    tell_end(L, s, record, event, self);
  }
}

void ntl_socket_dispatch(lua_State* L, ntl_state_t* s,
                         const nt_event_t* event) {
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
