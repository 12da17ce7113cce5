/* UDPSocket: datagrams. All of it is here, since sends and messages come by the
 * hundred thousand; the Lua layer only looks at the options of the first send,
 * and words the errors. On the host thread. */
#include <string.h>

#include "lbuffer.h"
#include "lendpoint.h"

typedef struct ntl_udp {
  ntl_task_t task;
  bool bound;     /* or was, by the first send */
  bool closing;   /* close() was called */
  bool connected; /* there is a peer for write() */
  bool broadcast;
  bool remarked; /* the options of a send were looked at */
} ntl_udp_t;

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);
static int field(lua_State* L, const ntl_state_t* s, const ntl_task_t* task,
                 const char* name);

static const ntl_kind_t udp_kind = {
  "nettask.UDPSocket", "UDPSocket", "udp", dispatch, NULL, field,
};

static ntl_udp_t* check_udp(lua_State* L) {
  return (ntl_udp_t*) ntl_task_check(L, 1, &udp_kind);
}

static bool is_closed(const ntl_state_t* s, const ntl_udp_t* self) {
  return s->context == NULL || self->closing;
}

/* ---- Events -------------------------------------------------------------- */

static void on_error(lua_State* L, ntl_state_t* s, int record,
                     const nt_event_t* event) {
  ntl_endpoint_push_error(L, s, &udp_kind, record, event->operation,
                          NTL_PHASE_OPEN);
  ntl_fire(L, s, record, &udp_kind, &ntl_error_list);
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);
  const ntl_udp_t* self = (const ntl_udp_t*) s->task;

  switch (event->type) {
    case NT_EV_MESSAGE:
      if (!self->closing)
        ntl_endpoint_message(L, s, record, event, &event->remote, &event->local,
                             &udp_kind);
      break;
    case NT_EV_ERROR:
      on_error(L, s, record, event);
      break;
    case NT_EV_END:
      lua_newtable(L);
      ntl_endpoint_end(L, s, record, event, &udp_kind, NULL, NTL_PHASE_OPEN);
      break;
    default:
      break;
  }
}

/* ---- Opening, binding, closing ------------------------------------------- */

static int open_udp4(nt_context_t* context, nt_id_t* id) {
  return nt_udp_open(context, NT_FAMILY_IPV4, id);
}

static int open_udp6(nt_context_t* context, nt_id_t* id) {
  return nt_udp_open(context, NT_FAMILY_IPV6, id);
}

/* core.udpOpen(ipv6) -> UDPSocket | nil, code */
static int udp_open(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  bool ipv6 = lua_toboolean(L, 1);
  int err;

  lua_settop(L, 0);
  if (ntl_endpoint_new(L, s, &udp_kind, sizeof(ntl_udp_t),
                       ipv6 ? open_udp6 : open_udp4, &err) != NULL)
    return 1;
  lua_pushnil(L);
  lua_pushinteger(L, err);
  return 2;
}

static int complain(lua_State* L, const char* method, int error) {
  ntl_endpoint_complain(L, 1, method, error);
  return 0;
}

/* The value is on top. */
static int complain_of(lua_State* L, const char* method, const char* name) {
  ntl_endpoint_complain_of(L, 1, method, name);
  return 0;
}

static bool is_zero(lua_State* L, int idx) {
  return lua_type(L, idx) == LUA_TNUMBER && lua_tonumber(L, idx) == 0;
}

static void note_bound(lua_State* L, ntl_udp_t* self) {
  if (self->bound)
    return;
  self->bound = true;
  ntl_endpoint_tell(L, 1, NTL_TOLD_LISTENING);
}

/* socket:bind([port]) -> port | nil; without one, or with 0, the system chooses
 */
static int udp_bind(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_udp_t* self = check_udp(L);
  bool any;
  int port, err, bound = 0;

  lua_settop(L, 2);
  any = lua_isnil(L, 2) || is_zero(L, 2);
  port = ntl_endpoint_port(L, 2);
  if (is_closed(s, self))
    err = NT_E_CLOSED;
  else if (!any && port == 0)
    err = NT_E_PORT;
  else
    err = nt_udp_bind(s->context, self->task.id, port, &bound);
  if (err == NT_E_PORT)
    complain_of(L, "bind", "port");
  else if (err)
    complain(L, "bind", err);
  else
    note_bound(L, self);
  if (err)
    lua_pushnil(L);
  else
    lua_pushinteger(L, bound);
  return 1;
}

/* socket:close(); more than once is harmless */
static int udp_close(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_udp_t* self = check_udp(L);

  if (is_closed(s, self) || nt_udp_close(s->context, self->task.id) != 0)
    return 0;
  self->closing = true;
  ntl_endpoint_mute(L, 1);
  return 0;
}

/* ---- Sending ------------------------------------------------------------- */

enum { /* the stack of a send */
  SEND_OPTIONS = 2,
  SEND_MESSAGE,
  SEND_ADDRESS,
  SEND_PORT,
  SEND_BROADCAST
};

static int wrong_type(lua_State* L, int idx, const char* name,
                      const char* expected) {
  const char* text = lua_pushfstring(L, "%s: %s expected, got %s", name,
                                     expected, ntl_typename(L, idx));

  return luaL_argerror(L, SEND_OPTIONS, text);
}

/* Push the field, and read it as a whole number of 0 to `max`, which is also
 * what it is when it is not there. False when it is another. */
static bool read_count(lua_State* L, const char* name, size_t max,
                       size_t standard, size_t* out) {
  lua_Number number;

  lua_getfield(L, SEND_OPTIONS, name);
  *out = standard;
  if (lua_isnil(L, -1))
    return true;
  if (lua_type(L, -1) != LUA_TNUMBER)
    wrong_type(L, lua_gettop(L), name, "number");
  number = lua_tonumber(L, -1);
  if (!(number >= 0 && number <= (lua_Number) max))
    return false;
  *out = (size_t) number;
  return (lua_Number) *out == number;
}

/* The part of a Buffer that is meant. NULL, or the name of the field that is
 * out of range and whose value is on top. */
static const char* read_part(lua_State* L, const char** data, size_t* size) {
  size_t offset, length;

  if (!read_count(L, "offset", *size, 0, &offset))
    return "offset";
  if (!read_count(L, "length", *size - offset, *size - offset, &length))
    return "length";
  *data += offset;
  *size = length;
  return NULL;
}

/* What is wrong with the first datagram's options is said once. */
static void look_at_options(lua_State* L, const ntl_state_t* s, ntl_udp_t* self,
                            const char* method) {
  if (self->remarked)
    return;
  self->remarked = true;
  ntl_endpoint_leave(L, s, NTL_ON_REMARK, method);
}

static void push_fields(lua_State* L) {
  lua_getfield(L, SEND_OPTIONS, "message");
  lua_getfield(L, SEND_OPTIONS, "address");
  lua_getfield(L, SEND_OPTIONS, "port");
  lua_getfield(L, SEND_OPTIONS, "setBroadcast");
}

static int give(lua_State* L, const ntl_state_t* s, ntl_udp_t* self,
                const char* host, int port, const char* data, size_t size) {
  if (!self->broadcast && lua_toboolean(L, SEND_BROADCAST)) {
    int err = nt_udp_set_broadcast(s->context, self->task.id, 1);

    if (err)
      return err;
    self->broadcast = true;
  }
  return nt_udp_send(s->context, self->task.id, host, port, data, size);
}

/* An error of the core's about an argument names its value. */
static int complain_of_peer(lua_State* L, const char* method, int error) {
  if (error != NT_E_ADDRESS && error != NT_E_PORT)
    return complain(L, method, error);
  lua_pushvalue(L, error == NT_E_PORT ? SEND_PORT : SEND_ADDRESS);
  return complain_of(L, method, error == NT_E_PORT ? "port" : "address");
}

/* Reads what is to be sent; raises for a wrong type. Returns as read_part(). */
static const char* read_message(lua_State* L, const char** data, size_t* size) {
  *data = ntl_bytes_test(L, SEND_MESSAGE, size);
  if (*data == NULL)
    wrong_type(L, SEND_MESSAGE, "message", "string or Buffer");
  if (!lua_isnil(L, SEND_BROADCAST) && !lua_isboolean(L, SEND_BROADCAST))
    wrong_type(L, SEND_BROADCAST, "setBroadcast", "boolean");
  if (lua_type(L, SEND_MESSAGE) == LUA_TSTRING)
    return NULL;
  return read_part(L, data, size);
}

static int read_peer(lua_State* L, const char** host, int* port) {
  *host = ntl_endpoint_text(L, SEND_ADDRESS);
  *port = ntl_endpoint_port(L, SEND_PORT);
  if (*host == NULL)
    return NT_E_ADDRESS;
  return *port == 0 ? NT_E_PORT : 0;
}

/* Whether write() goes to the peer of connect(). */
static bool is_to_peer(lua_State* L, const ntl_udp_t* self) {
  return self->connected && lua_isnil(L, SEND_ADDRESS) &&
         lua_isnil(L, SEND_PORT);
}

static int send_datagram(lua_State* L, const char* method, bool is_write) {
  ntl_state_t* s = ntl_self(L);
  ntl_udp_t* self = check_udp(L);
  const char *data, *wrong, *host = NULL;
  size_t size = 0;
  int err = 0, port = 0;

  luaL_checktype(L, SEND_OPTIONS, LUA_TTABLE);
  lua_settop(L, SEND_OPTIONS);
  look_at_options(L, s, self, method);
  push_fields(L);
  wrong = read_message(L, &data, &size);
  if (is_closed(s, self))
    return complain(L, method, NT_E_CLOSED);
  if (wrong != NULL)
    return complain_of(L, method, wrong);
  if (!is_write || !is_to_peer(L, self))
    err = read_peer(L, &host, &port);
  if (err == 0)
    err = give(L, s, self, host, port, data, size);
  if (err)
    return complain_of_peer(L, method, err);
  note_bound(L, self); /* a send binds */
  return 0;
}

/* socket:send(options) */
static int udp_send(lua_State* L) {
  return send_datagram(L, "send", false);
}

/* socket:write(options) */
static int udp_write(lua_State* L) {
  return send_datagram(L, "write", true);
}

/* socket:connect(options) */
static int udp_connect(lua_State* L) {
  const char* const method = "connect";
  ntl_state_t* s = ntl_self(L);
  ntl_udp_t* self = check_udp(L);
  const char* host;
  int port, err;

  luaL_checktype(L, SEND_OPTIONS, LUA_TTABLE);
  lua_settop(L, SEND_OPTIONS);
  ntl_endpoint_leave(L, s, NTL_ON_REMARK, method);
  push_fields(L);
  if (is_closed(s, self))
    return complain(L, method, NT_E_CLOSED);
  err = read_peer(L, &host, &port);
  if (err == 0)
    err = nt_udp_connect(s->context, self->task.id, host, port);
  if (err)
    return complain_of_peer(L, method, err);
  self->connected = true;
  return 0;
}

/* ---- Settings ------------------------------------------------------------ */

static int set_ttl(lua_State* L, const char* method,
                   int (*set)(nt_context_t*, nt_id_t, int)) {
  ntl_state_t* s = ntl_self(L);
  ntl_udp_t* self = check_udp(L);
  lua_Number ttl = luaL_checknumber(L, 2);
  int err = NT_E_INVALID;

  lua_settop(L, 2);
  if (is_closed(s, self))
    return complain(L, method, NT_E_CLOSED);
  if (ttl >= 0 && ttl <= 255 && ttl == (int) ttl)
    err = set(s->context, self->task.id, (int) ttl);
  if (err == NT_E_INVALID)
    return complain_of(L, method, "ttl");
  return err ? complain(L, method, err) : 0;
}

/* socket:setTTL(ttl) */
static int udp_set_ttl(lua_State* L) {
  return set_ttl(L, "setTTL", nt_udp_set_ttl);
}

/* socket:setMulticastTTL(ttl) */
static int udp_set_multicast_ttl(lua_State* L) {
  return set_ttl(L, "setMulticastTTL", nt_udp_set_multicast_ttl);
}

/* socket:setBroadcast([on]) */
static int udp_set_broadcast(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_udp_t* self = check_udp(L);
  bool on = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
  int err = NT_E_CLOSED;

  if (!lua_isnoneornil(L, 2))
    luaL_checktype(L, 2, LUA_TBOOLEAN);
  if (!is_closed(s, self))
    err = nt_udp_set_broadcast(s->context, self->task.id, on);
  if (err)
    return complain(L, "setBroadcast", err);
  self->broadcast = on;
  return 0;
}

static int change_group(lua_State* L, const char* method,
                        int (*change)(nt_context_t*, nt_id_t, const char*,
                                      const char*)) {
  ntl_state_t* s = ntl_self(L);
  ntl_udp_t* self = check_udp(L);
  const char *group, *interface_name = luaL_optstring(L, 3, NULL);
  int err = NT_E_CLOSED;

  luaL_checktype(L, 2, LUA_TSTRING);
  lua_settop(L, 3);
  group = ntl_endpoint_text(L, 2);
  if (!is_closed(s, self)) {
    err = NT_E_ADDRESS;
    if (group != NULL)
      err = change(s->context, self->task.id, group, interface_name);
  }
  if (err != NT_E_ADDRESS)
    return err ? complain(L, method, err) : 0;
  lua_settop(L, 2);
  return complain_of(L, method, "address");
}

/* socket:joinMulticast(group [, interface]) */
static int udp_join(lua_State* L) {
  return change_group(L, "joinMulticast", nt_udp_join);
}

/* socket:leaveMulticast(group [, interface]) */
static int udp_leave(lua_State* L) {
  return change_group(L, "leaveMulticast", nt_udp_leave);
}

static int field(lua_State* L, const ntl_state_t* s, const ntl_task_t* task,
                 const char* name) {
  uint64_t bytes = 0;

  if (strcmp(name, "bufferedAmount") != 0)
    return 0;
  if (s->context != NULL)
    bytes = nt_udp_buffered(s->context, task->id);
  ntl_pushunsigned64(L, bytes);
  return 1;
}

/* ---- Listeners ----------------------------------------------------------- */

NTL_ENDPOINT_LISTENERS(&udp_kind, listening, &ntl_listening_list)
NTL_ENDPOINT_LISTENERS(&udp_kind, message, &ntl_message_list)
NTL_ENDPOINT_LISTENERS(&udp_kind, error, &ntl_error_list)
NTL_ENDPOINT_LISTENERS(&udp_kind, close, &ntl_close_list)

void ntl_udp_open(lua_State* L) {
  static const luaL_Reg methods[] = {
    { "bind", udp_bind },
    { "send", udp_send },
    { "write", udp_write },
    { "connect", udp_connect },
    { "close", udp_close },
    { "setTTL", udp_set_ttl },
    { "setBroadcast", udp_set_broadcast },
    { "setMulticastTTL", udp_set_multicast_ttl },
    { "joinMulticast", udp_join },
    { "leaveMulticast", udp_leave },
    { "onListening", on_listening_listener },
    { "offListening", off_listening_listener },
    { "onMessage", on_message_listener },
    { "offMessage", off_message_listener },
    { "onError", on_error_listener },
    { "offError", off_error_listener },
    { "onClose", on_close_listener },
    { "offClose", off_close_listener },
    { NULL, NULL },
  };
  static const luaL_Reg funcs[] = {
    { "udpOpen", udp_open },
    { NULL, NULL },
  };

  ntl_task_class(L, &udp_kind, methods);
  ntl_register(L, funcs);
}
