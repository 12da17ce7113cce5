/* TCPSocket: bytes in both directions. What the options of connect() mean is in
 * tcp.lua; here is what happens from then on. On the host thread.
 *
 * A socket is idle until connect() has been accepted: nothing can happen to it,
 * and run() does not wait for it. The record holds, beside what lendpoint.c
 * says:
 *   interface  that bindWifi() wants, once it has been accepted
 *   unknown    the id of a provider of HttpDNS that does not exist */
#include <stdio.h>
#include <string.h>

#include "lbuffer.h"
#include "lendpoint.h"

static const ntl_list_t connect_list = { NTL_ENDPOINT_LISTS, "onConnect" };
static const ntl_list_t drain_list = { NTL_ENDPOINT_LISTS + 1, "onDrain" };

enum {
  ADDRESS_SIZE = 64
};

/* As OPEN said; each message tells it. */
typedef struct place {
  char ip[ADDRESS_SIZE];
  int port;
  int ipv6;
} place_t;

typedef struct ntl_tcp {
  ntl_task_t task;
  nt_family_t family;
  bool idle;    /* and counted as such */
  bool started; /* connect() was accepted */
  bool opened;
  bool closing; /* close() was called */
  bool no_delay;
  bool resolves; /* by HttpDNS */
  uint32_t keep_alive_ms;
  bool drains;      /* somebody wants to know when all is sent */
  uint64_t sent;    /* writes that the core has taken */
  uint64_t drained; /* of them, when onDrain was told last */
  place_t local, remote;
} ntl_tcp_t;

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);
static void forget(ntl_state_t* s, ntl_task_t* task);
static int field(lua_State* L, const ntl_state_t* s, const ntl_task_t* task,
                 const char* name);

static const ntl_kind_t tcp_kind = {
  "nettask.TCPSocket", "TCPSocket", "tcp", dispatch, forget, field,
};

static ntl_tcp_t* check_tcp(lua_State* L) {
  return (ntl_tcp_t*) ntl_task_check(L, 1, &tcp_kind);
}

static uint64_t buffered(const ntl_state_t* s, const ntl_tcp_t* self) {
  return s->context == NULL ? 0 : nt_tcp_buffered(s->context, self->task.id);
}

static void leave_idle(ntl_state_t* s, ntl_tcp_t* self) {
  s->idle_count -= self->idle;
  self->idle = false;
}

static void forget(ntl_state_t* s, ntl_task_t* task) {
  leave_idle(s, (ntl_tcp_t*) task);
}

/* ---- Events -------------------------------------------------------------- */

static void keep_place(place_t* place, const nt_address_t* address) {
  snprintf(place->ip, sizeof(place->ip), "%s",
           address->ip == NULL ? "" : address->ip);
  place->port = address->port;
  place->ipv6 = address->ipv6;
}

static nt_address_t address_of(const place_t* place) {
  nt_address_t address = { place->ip, place->port, place->ipv6 };

  return address;
}

/* How HttpDNS went, in the table on top. */
static void add_reasons(lua_State* L, ntl_state_t* s, int record,
                        const nt_event_t* event) {
  int result = lua_gettop(L);

  lua_createtable(L, 0, 2);
  lua_pushinteger(L, 0);
  lua_setfield(L, -2, "retryCount");
  ntl_lookup_push_reasons(L, s, event);
  ntl_push_ref(L, s->handlers[NTL_ON_REASONS]);
  lua_pushvalue(L, -2);
  lua_getfield(L, record, "unknown");
  lua_call(L, 2, 0);
  lua_setfield(L, -2, "reasons");
  lua_setfield(L, result, "exception");
  lua_pushboolean(L, event->resolved);
  lua_setfield(L, result, "useHttpDNS");
}

static void on_open(lua_State* L, ntl_state_t* s, int record,
                    const nt_event_t* event, ntl_tcp_t* self) {
  self->opened = true;
  keep_place(&self->local, &event->local);
  keep_place(&self->remote, &event->remote);
  lua_newtable(L);
  if (self->resolves)
    add_reasons(L, s, record, event);
  ntl_fire(L, s, record, &tcp_kind, &connect_list);
}

static void on_chunk(lua_State* L, ntl_state_t* s, int record,
                     const nt_event_t* event, const ntl_tcp_t* self) {
  nt_address_t remote = address_of(&self->remote);
  nt_address_t local = address_of(&self->local);

  if (!self->closing)
    ntl_endpoint_message(L, s, record, event, &remote, &local, &tcp_kind);
}

/* All is sent; once for what was sent since the last time. */
static void on_sent(lua_State* L, ntl_state_t* s, int record, ntl_tcp_t* self) {
  if (!self->drains || self->sent == self->drained || buffered(s, self) > 0)
    return;
  lua_newtable(L);
  self->drained = self->sent;
  ntl_fire(L, s, record, &tcp_kind, &drain_list);
}

static void on_end(lua_State* L, ntl_state_t* s, int record,
                   const nt_event_t* event, const ntl_tcp_t* self) {
  lua_createtable(L, 0, 1);
  lua_pushboolean(L, event->flushed || self->sent == 0);
  lua_setfield(L, -2, "flushed");
  ntl_endpoint_end(L, s, record, event, &tcp_kind,
                   self->opened ? NULL : "connect",
                   self->opened ? NTL_PHASE_OPEN : NTL_PHASE_CONNECT);
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);
  ntl_tcp_t* self = (ntl_tcp_t*) s->task;

  switch (event->type) {
    case NT_EV_CHUNK:
      on_chunk(L, s, record, event, self);
      break;
    case NT_EV_SENT:
      on_sent(L, s, record, self);
      break;
    case NT_EV_OPEN:
      on_open(L, s, record, event, self);
      break;
    case NT_EV_END:
      on_end(L, s, record, event, self);
      break;
    default:
      break;
  }
}

/* ---- Connecting ---------------------------------------------------------- */

/* core.tcpOpen(ipv6) -> TCPSocket | nil, code */
static int tcp_open(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  bool ipv6 = lua_toboolean(L, 1);
  int err;
  ntl_tcp_t* self;

  lua_settop(L, 0);
  self = ntl_endpoint_new(L, s, &tcp_kind, sizeof(*self), nt_tcp_open, &err);
  if (self == NULL) {
    lua_pushnil(L);
    lua_pushinteger(L, err);
    return 2;
  }
  self->family = ipv6 ? NT_FAMILY_IPV6 : NT_FAMILY_IPV4;
  self->idle = true;
  s->idle_count++;
  return 1;
}

/* Borrows from the table and from the record at index 3. */
static int read_options(lua_State* L, ntl_tcp_t* self,
                        nt_tcp_options_t* options) {
  lua_getfield(L, 2, "port");
  options->port = ntl_endpoint_port(L, -1);
  lua_pop(L, 1);
  if (ntl_get_text(L, 2, "host", &options->host) || options->host == NULL)
    return NT_E_ADDRESS;
  if (ntl_get_text(L, 3, "interface", &options->interface_name))
    return NT_E_INVALID;
  ntl_get_uint32(L, 2, "timeout", &options->timeout_ms);
  ntl_get_uint32(L, 2, "resolver", &options->resolver);
  ntl_get_uint32(L, 2, "resolverTimeout", &options->resolver_timeout);
  self->resolves = ntl_get_flag(L, 2, "resolves");
  lua_getfield(L, 2, "unknown");
  lua_setfield(L, 3, "unknown");
  options->family = self->family;
  options->keep_alive_ms = self->keep_alive_ms;
  if (ntl_get_flag(L, 2, "tls"))
    options->flags |= NT_TCP_TLS;
  if (self->no_delay || ntl_get_flag(L, 2, "noDelay"))
    options->flags |= NT_TCP_NO_DELAY;
  return 0;
}

/* core.tcpStart(socket, params) -> code. params: host, port, timeout (ms), and
 * the flags tls, noDelay. */
static int tcp_start(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_tcp_t* self = check_tcp(L);
  nt_tcp_options_t options;
  int err;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  ntl_getuservalue(L, 1);
  nt_tcp_options_init(&options);
  err = read_options(L, self, &options);
  if (err == 0)
    err = s->context == NULL
              ? NT_E_CLOSED
              : nt_tcp_start(s->context, self->task.id, &options);
  if (err == 0) {
    leave_idle(s, self);
    self->started = true;
  }
  lua_pushinteger(L, err);
  return 1;
}

/* core.tcpRefuse(socket, fault): the connect() has failed for that; onError and
 * onClose in a later update(). */
static int tcp_refuse(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_tcp_t* self = check_tcp(L);

  lua_settop(L, 2);
  ntl_getuservalue(L, 1);
  lua_insert(L, 2);
  lua_setfield(L, 2, "fault");
  if (s->context != NULL)
    nt_fail(s->context, self->task.id, NT_E_INVALID, NULL);
  return 0;
}

/* core.tcpComplain(socket, method, fault): the call is refused, and the socket
 * goes on. */
static int tcp_complain(lua_State* L) {
  const char* method = luaL_checkstring(L, 2);

  check_tcp(L);
  lua_settop(L, 3);
  ntl_endpoint_complain_with(L, 1, method);
  return 0;
}

/* core.tcpBindWifi(socket, interface) */
static int tcp_bind_wifi(lua_State* L) {
  check_tcp(L);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  ntl_getuservalue(L, 1);
  lua_insert(L, 2);
  lua_setfield(L, 2, "interface");
  ntl_endpoint_tell(L, 1, NTL_TOLD_WIFI);
  return 0;
}

/* ---- Methods ------------------------------------------------------------- */

static int leave_to_lua(lua_State* L, const char* method) {
  const ntl_state_t* s = ntl_self(L);

  check_tcp(L);
  lua_settop(L, 2);
  ntl_endpoint_leave(L, s, NTL_ON_TCP, method);
  return 0;
}

/* socket:connect(options) */
static int tcp_connect(lua_State* L) {
  return leave_to_lua(L, "connect");
}

/* socket:bindWifi(options) */
static int tcp_wifi(lua_State* L) {
  return leave_to_lua(L, "bindWifi");
}

/* socket:write(data) */
static int tcp_write(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_tcp_t* self = check_tcp(L);
  size_t size = 0;
  const char* data = ntl_bytes_check(L, 2, &size);
  int err = NT_E_NOT_OPEN;

  if (s->context != NULL && !self->closing)
    err = nt_tcp_send(s->context, self->task.id, data, size);
  if (err) {
    ntl_endpoint_complain(L, 1, "write", err);
    return 0;
  }
  self->sent++;
  if (self->drains)
    nt_tcp_report(s->context, self->task.id);
  return 0;
}

/* socket:close(), in any state, and more than once */
static int tcp_close(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_tcp_t* self = check_tcp(L);

  if (s->context == NULL || self->closing ||
      nt_tcp_close(s->context, self->task.id) != 0)
    return 0;
  self->closing = true;
  ntl_endpoint_mute(L, 1);
  return 0;
}

/* Before connect() it is remembered; after the end it is an error. */
static int set_on_core(lua_State* L, ntl_state_t* s, const ntl_tcp_t* self,
                       const char* method,
                       int (*set)(nt_context_t*, nt_id_t, const ntl_tcp_t*)) {
  int err = NT_E_NOT_OPEN;

  if (self->idle)
    return 0;
  if (s->context != NULL && !self->closing)
    err = set(s->context, self->task.id, self);
  if (err)
    ntl_endpoint_complain(L, 1, method, err);
  return 0;
}

static int set_no_delay(nt_context_t* context, nt_id_t id,
                        const ntl_tcp_t* self) {
  return nt_tcp_set_no_delay(context, id, self->no_delay);
}

/* socket:setNoDelay([on]) */
static int tcp_no_delay(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_tcp_t* self = check_tcp(L);

  if (!lua_isnoneornil(L, 2))
    luaL_checktype(L, 2, LUA_TBOOLEAN);
  self->no_delay = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
  return set_on_core(L, s, self, "setNoDelay", set_no_delay);
}

static int set_keep_alive(nt_context_t* context, nt_id_t id,
                          const ntl_tcp_t* self) {
  return nt_tcp_set_keep_alive(context, id, self->keep_alive_ms);
}

/* socket:setKeepAlive(ms); 0: off */
static int tcp_keep_alive(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_tcp_t* self = check_tcp(L);
  lua_Number ms = luaL_checknumber(L, 2);

  if (!(ms > 0))
    self->keep_alive_ms = 0;
  else
    self->keep_alive_ms = ms >= UINT32_MAX ? UINT32_MAX : (uint32_t) (ms + 0.5);
  if (ms > 0 && self->keep_alive_ms == 0)
    self->keep_alive_ms = 1;
  return set_on_core(L, s, self, "setKeepAlive", set_keep_alive);
}

static int field(lua_State* L, const ntl_state_t* s, const ntl_task_t* task,
                 const char* name) {
  if (strcmp(name, "bufferedAmount") != 0)
    return 0;
  ntl_pushunsigned64(L, buffered(s, (const ntl_tcp_t*) task));
  return 1;
}

/* ---- Listeners ----------------------------------------------------------- */

NTL_ENDPOINT_LISTENERS(&tcp_kind, connect, &connect_list)
NTL_ENDPOINT_LISTENERS(&tcp_kind, message, &ntl_message_list)
NTL_ENDPOINT_LISTENERS(&tcp_kind, error, &ntl_error_list)
NTL_ENDPOINT_LISTENERS(&tcp_kind, close, &ntl_close_list)
NTL_ENDPOINT_LISTENERS(&tcp_kind, wifi, &ntl_wifi_list)

/* Without them nobody asks the core for reports. */
static int note_drain(lua_State* L, int (*change)(lua_State*, const ntl_kind_t*,
                                                  const ntl_list_t*)) {
  ntl_state_t* s = ntl_self(L);
  ntl_tcp_t* self = check_tcp(L);

  change(L, &tcp_kind, &drain_list);
  ntl_getuservalue(L, 1);
  self->drains = ntl_has_listeners(L, lua_gettop(L), &drain_list);
  if (!self->drains)
    return 0;
  if (buffered(s, self) > 0)
    nt_tcp_report(s->context, self->task.id);
  else
    self->drained = self->sent;
  return 0;
}

static int on_drain_listener(lua_State* L) {
  return note_drain(L, ntl_endpoint_on);
}

static int off_drain_listener(lua_State* L) {
  return note_drain(L, ntl_endpoint_off);
}

void ntl_tcp_open(lua_State* L) {
  static const luaL_Reg methods[] = {
    { "connect", tcp_connect },
    { "write", tcp_write },
    { "close", tcp_close },
    { "bindWifi", tcp_wifi },
    { "setNoDelay", tcp_no_delay },
    { "setKeepAlive", tcp_keep_alive },
    { "onConnect", on_connect_listener },
    { "offConnect", off_connect_listener },
    { "onMessage", on_message_listener },
    { "offMessage", off_message_listener },
    { "onError", on_error_listener },
    { "offError", off_error_listener },
    { "onClose", on_close_listener },
    { "offClose", off_close_listener },
    { "onBindWifi", on_wifi_listener },
    { "offBindWifi", off_wifi_listener },
    { "onDrain", on_drain_listener },
    { "offDrain", off_drain_listener },
    { NULL, NULL },
  };
  static const luaL_Reg funcs[] = {
    { "tcpOpen", tcp_open },          { "tcpStart", tcp_start },
    { "tcpRefuse", tcp_refuse },      { "tcpComplain", tcp_complain },
    { "tcpBindWifi", tcp_bind_wifi }, { NULL, NULL },
  };

  ntl_task_class(L, &tcp_kind, methods);
  ntl_register(L, funcs);
}
