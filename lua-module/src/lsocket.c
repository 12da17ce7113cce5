/* The SocketTask that a script holds: its members, its listeners, and which of
 * the live ones is the bound socket, that the global functions of the
 * mini-program API are about. On the host thread. */
#include "lsocket.h"

#include <string.h>

const ntl_list_t ntl_on_open = { NTL_LISTS, "onOpen" };
const ntl_list_t ntl_on_message = { NTL_LISTS + 1, "onMessage" };
const ntl_list_t ntl_on_error = { NTL_LISTS + 2, "onError" };
const ntl_list_t ntl_on_close = { NTL_LISTS + 3, "onClose" };
const ntl_list_t ntl_on_reconnect = { NTL_LISTS + 4, "onReconnect" };
const ntl_list_t ntl_on_drain = { NTL_LISTS + 5, "onDrain" };

enum {
  NORMAL = 1000
};

static void forget(ntl_state_t* s, ntl_task_t* task);
static int field(lua_State* L, const ntl_state_t* s, const ntl_task_t* task,
                 const char* name);

const ntl_kind_t ntl_socket_kind = {
  "nettask.SocketTask", "SocketTask", "socket",
  ntl_socket_dispatch,  forget,       field,
};

ntl_socket_t* ntl_socket_check(lua_State* L) {
  return (ntl_socket_t*) ntl_task_check(L, 1, &ntl_socket_kind);
}

/* ---- The live ones ------------------------------------------------------- */

void ntl_socket_link(ntl_state_t* s, ntl_socket_t* self) {
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
  ntl_socket_t* self = ntl_socket_check(L);
  ntl_socket_t* other;

  /* Each time from the start: a finaliser may change the list. */
  while (self->linked && (other = find_replaceable(s, self)) != NULL) {
    other->replaced = true;
    ntl_socket_close(L, s, other, NORMAL, "replaced");
  }
  if (ntl_push_record(L, s, self->task.id)) /* it has not gone meanwhile */
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
  lua_rawgeti(L, -1, NTL_SELF);
  lua_pushboolean(L, bound->ready == READY_CONNECTING && !bound->opened);
  return 2;
}

/* ---- Fields -------------------------------------------------------------- */

uint64_t ntl_socket_buffered(const ntl_state_t* s, const ntl_socket_t* self) {
  return s->context == NULL ? 0
                            : nt_websocket_buffered(s->context, self->task.id);
}

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
    ntl_pushunsigned64(L, ntl_socket_buffered(s, self));
  else
    return 0;
  return 1;
}

/* ---- Methods and functions ----------------------------------------------- */

#define LISTENERS(name, list)                                                  \
  static int on_##name##_listener(lua_State* L) {                              \
    return ntl_listener_on(L, list);                                           \
  }                                                                            \
  static int off_##name##_listener(lua_State* L) {                             \
    return ntl_listener_off(L, list);                                          \
  }

#define GLOBAL_LISTENERS(name, list)                                           \
  static int on_socket_##name(lua_State* L) {                                  \
    return global_on(L, list);                                                 \
  }                                                                            \
  static int off_socket_##name(lua_State* L) {                                 \
    return global_off(L, list);                                                \
  }

LISTENERS(open, &ntl_on_open)
LISTENERS(message, &ntl_on_message)
LISTENERS(error, &ntl_on_error)
LISTENERS(close, &ntl_on_close)
LISTENERS(reconnect, &ntl_on_reconnect)

/* Without them nobody asks the core for reports. What was sent before is asked
 * about now, even if it has left already: the script cannot know that yet. */
static int note_drain(lua_State* L,
                      int (*change)(lua_State*, const ntl_list_t*)) {
  ntl_state_t* s = ntl_self(L);
  ntl_socket_t* self = ntl_socket_check(L);

  change(L, &ntl_on_drain);
  if (!ntl_push_record(L, s, self->task.id))
    return 0;
  self->drains = ntl_has_listeners(L, lua_gettop(L), &ntl_on_drain);
  if (self->drains && self->sent > self->drained && s->context != NULL)
    nt_websocket_report(s->context, self->task.id);
  return 0;
}

static int on_drain_listener(lua_State* L) {
  return note_drain(L, ntl_listener_on);
}

static int off_drain_listener(lua_State* L) {
  return note_drain(L, ntl_listener_off);
}

/* net.onSocketX(f) */
static int global_on(lua_State* L, const ntl_list_t* list) {
  ntl_state_t* s = ntl_self(L);

  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  ntl_push_ref(L, s->sockets);
  ntl_listener_add(L, 2, 1, list);
  s->global_listeners = true;
  return 0;
}

/* net.offSocketX([f]) */
static int global_off(lua_State* L, const ntl_list_t* list) {
  ntl_state_t* s = ntl_self(L);

  lua_settop(L, 1);
  ntl_push_ref(L, s->sockets);
  ntl_listener_remove(L, 2, 1, list);
  s->global_listeners = ntl_has_listeners(L, 2, &ntl_on_open) ||
                        ntl_has_listeners(L, 2, &ntl_on_message) ||
                        ntl_has_listeners(L, 2, &ntl_on_error) ||
                        ntl_has_listeners(L, 2, &ntl_on_close);
  return 0;
}

GLOBAL_LISTENERS(open, &ntl_on_open)
GLOBAL_LISTENERS(message, &ntl_on_message)
GLOBAL_LISTENERS(error, &ntl_on_error)
GLOBAL_LISTENERS(close, &ntl_on_close)

void ntl_socket_open(lua_State* L, ntl_state_t* s) {
  static const luaL_Reg methods[] = {
    { "send", ntl_socket_task_send },
    { "close", ntl_socket_task_close },
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
    { "socketReplace", socket_replace },
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
  ntl_task_class(L, &ntl_socket_kind, methods);
  ntl_register(L, funcs);
  ntl_socket_calls_open(L);
}
