/* What TCPSocket and UDPSocket have in common. They differ from other tasks in
 * that a script goes on calling them: before there is a connection, and after
 * the end. What such a call is told goes to the listeners, and never from
 * inside of the call. So each complaint becomes a task that ends as soon as it
 * is made, like the notices of notice.c: order, budget, wait() and run() see an
 * event like any other.
 *
 * The record of a socket is the user value of its userdata, so that listeners
 * outlive the last event. It holds, beside them:
 *   aborted    also after close(): nothing more is told but the end
 *   silent     of abort{silent=true}: not even that
 *   fault      what the Lua layer found wrong with connect()
 * On the host thread. */
#include "lendpoint.h"

#include <string.h>

#include "lbuffer.h"

const ntl_list_t ntl_message_list = { NTL_LISTS, "onMessage" };
const ntl_list_t ntl_error_list = { NTL_LISTS + 1, "onError" };
const ntl_list_t ntl_close_list = { NTL_LISTS + 2, "onClose" };
const ntl_list_t ntl_listening_list = { NTL_LISTS + 3, "onListening" };
const ntl_list_t ntl_wifi_list = { NTL_LISTS + 4, "onBindWifi" };

/* The record of a complaint; strings and values that the Lua layer gets. */
enum {
  ABOUT = NTL_LISTS, /* the socket's record */
  TOLD,              /* NTL_TOLD_*, or nil: an error */
  METHOD,
  FAULT, /* as the Lua layer made it, or nil: */
  ERROR, /* a code of the core, or nil: */
  NAME,  /* of the argument that is wrong */
  VALUE
};

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);

static const ntl_kind_t complaint_kind = {
  "nettask.Complaint", "Complaint", "notice", dispatch, NULL, NULL,
};

/* ---- The object ---------------------------------------------------------- */

void* ntl_endpoint_new(lua_State* L, ntl_state_t* s, const ntl_kind_t* kind,
                       size_t size, int (*open)(nt_context_t*, nt_id_t*),
                       int* error) {
  int record = lua_gettop(L) + 1;
  ntl_task_t* self;

  lua_newtable(L);
  self = ntl_task_push(L, kind, size, 1);
  lua_pushvalue(L, record);
  ntl_setuservalue(L, record + 1);
  *error = ntl_task_try(L, s, record + 1, record, open);
  return *error == 0 ? self : NULL;
}

int ntl_endpoint_on(lua_State* L, const ntl_kind_t* kind,
                    const ntl_list_t* list) {
  ntl_task_check(L, 1, kind);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  ntl_getuservalue(L, 1);
  ntl_listener_add(L, 3, 2, list);
  return 0;
}

int ntl_endpoint_off(lua_State* L, const ntl_kind_t* kind,
                     const ntl_list_t* list) {
  ntl_task_check(L, 1, kind);
  lua_settop(L, 2);
  ntl_getuservalue(L, 1);
  ntl_listener_remove(L, 3, 2, list);
  return 0;
}

void ntl_endpoint_mute(lua_State* L, int self) {
  ((ntl_task_t*) lua_touserdata(L, self))->aborted = true;
}

/* ---- Errors -------------------------------------------------------------- */

/* Push fault(kind, handled, method, fault, code, message, phase, name, value),
 * the function of the Lua layer, and the first two of its arguments. */
static void begin_fault(lua_State* L, const ntl_state_t* s,
                        const ntl_kind_t* kind, int record) {
  ntl_push_ref(L, s->handlers[NTL_ON_FAULT]);
  lua_pushstring(L, kind->name);
  lua_pushboolean(L, ntl_has_listeners(L, record, &ntl_error_list));
}

void ntl_endpoint_push_error(lua_State* L, const ntl_state_t* s,
                             const ntl_kind_t* kind, int record,
                             const char* method, ntl_phase_t phase) {
  begin_fault(L, s, kind, record);
  lua_pushstring(L, method); /* nil for NULL */
  lua_getfield(L, record, "fault");
  lua_pushinteger(L, s->event.error);
  lua_pushstring(L, s->event.message);
  lua_pushinteger(L, phase);
  lua_call(L, 7, 1);
}

static void push_complaint(lua_State* L, const ntl_state_t* s,
                           const ntl_kind_t* kind, int record, int about) {
  begin_fault(L, s, kind, about);
  lua_rawgeti(L, record, METHOD);
  lua_rawgeti(L, record, FAULT);
  lua_rawgeti(L, record, ERROR);
  lua_pushnil(L);
  lua_pushinteger(L, NTL_PHASE_CALL);
  lua_rawgeti(L, record, NAME);
  lua_rawgeti(L, record, VALUE);
  lua_call(L, 9, 1);
}

/* ---- What a method has to tell ------------------------------------------- */

static const ntl_list_t* list_of(lua_State* L, int record) {
  static const ntl_list_t* const lists[] = { &ntl_listening_list,
                                             &ntl_wifi_list };
  const ntl_list_t* list = &ntl_error_list;

  lua_rawgeti(L, record, TOLD);
  if (!lua_isnil(L, -1))
    list = lists[(int) lua_tointeger(L, -1)];
  lua_pop(L, 1);
  return list;
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L), about = record + 1;
  const ntl_task_t* task;
  const ntl_list_t* list = list_of(L, record);

  lua_rawgeti(L, record, ABOUT);
  lua_rawgeti(L, about, NTL_SELF);
  task = lua_touserdata(L, -1);
  s->about = task->id;
  if (ntl_get_flag(L, about, "silent")) {
    ntl_untrack(L, s, event->id);
    return;
  }
  if (list == &ntl_error_list)
    push_complaint(L, s, task->kind, record, about);
  else
    lua_newtable(L);
  ntl_untrack(L, s, event->id);
  /* The complaint's task is the current one: that of the socket may be muted.
   */
  ntl_fire(L, s, about, task->kind, list);
}

/* The record of what is to be told is on top and is popped. */
static void post(lua_State* L, int self) {
  ntl_state_t* s = ntl_self(L);
  int record = lua_gettop(L);
  const ntl_task_t* task;

  ntl_getuservalue(L, self);
  lua_rawseti(L, record, ABOUT);
  task = ntl_task_push(L, &complaint_kind, sizeof(*task), 0);
  ntl_task_begin(L, s, record + 1, record, nt_request_open);
  if (s->context != NULL) /* a finaliser may have closed it */
    nt_fail(s->context, task->id, NT_OK, NULL);
  lua_settop(L, record - 1);
}

/* Push a record in which the value on top, which is popped, is `field`. */
static void push_record(lua_State* L, const char* method, int field) {
  lua_createtable(L, VALUE, 1);
  lua_insert(L, -2);
  lua_rawseti(L, -2, field);
  lua_pushstring(L, method);
  lua_rawseti(L, -2, METHOD);
}

void ntl_endpoint_complain(lua_State* L, int self, const char* method,
                           int error) {
  lua_pushinteger(L, error);
  push_record(L, method, ERROR);
  post(L, self);
}

void ntl_endpoint_complain_of(lua_State* L, int self, const char* method,
                              const char* name) {
  push_record(L, method, VALUE);
  lua_pushstring(L, name);
  lua_rawseti(L, -2, NAME);
  post(L, self);
}

void ntl_endpoint_complain_with(lua_State* L, int self, const char* method) {
  push_record(L, method, FAULT);
  post(L, self);
}

void ntl_endpoint_tell(lua_State* L, int self, ntl_told_t told) {
  lua_createtable(L, VALUE, 1);
  lua_pushinteger(L, told);
  lua_rawseti(L, -2, TOLD);
  post(L, self);
}

void ntl_endpoint_leave(lua_State* L, const ntl_state_t* s,
                        ntl_handler_t handler, const char* method) {
  int self = lua_gettop(L) - 1;

  ntl_push_ref(L, s->handlers[handler]);
  lua_pushvalue(L, self);
  lua_pushstring(L, method);
  lua_pushvalue(L, self + 1);
  lua_call(L, 3, 0);
}

/* ---- Events -------------------------------------------------------------- */

static void push_address(lua_State* L, const nt_address_t* address) {
  lua_pushstring(L, address->ip);
  lua_pushinteger(L, address->port);
}

/* Each message has tables of its own, since scripts keep them and change them.
 * Lua makes them faster than its C API does. */
void ntl_endpoint_message(lua_State* L, ntl_state_t* s, int record,
                          const nt_event_t* event, const nt_address_t* remote,
                          const nt_address_t* local, const ntl_kind_t* kind) {
  if (!ntl_has_listeners(L, record, &ntl_message_list))
    return;
  ntl_push_ref(L, s->handlers[NTL_ON_DATA]);
  ntl_buffer_push(L, event->data, event->size);
  lua_pushinteger(L, (lua_Integer) event->size);
  lua_pushboolean(L, remote->ipv6); /* and so is ours */
  push_address(L, remote);
  push_address(L, local);
  lua_call(L, 7, 1);
  ntl_fire(L, s, record, kind, &ntl_message_list);
}

/* Everything that needs memory is made first: what was called cannot be called
 * back. */
void ntl_endpoint_end(lua_State* L, ntl_state_t* s, int record,
                      const nt_event_t* event, const ntl_kind_t* kind,
                      const char* method, ntl_phase_t phase) {
  bool has_error = event->error != 0 && event->error != NT_E_ABORTED;

  if (ntl_get_flag(L, record, "silent")) {
    ntl_untrack(L, s, event->id);
    return;
  }
  lua_rawgeti(L, record, NTL_SELF);
  ((ntl_task_t*) lua_touserdata(L, -1))->aborted = false;
  lua_pop(L, 1);
  if (has_error)
    ntl_endpoint_push_error(L, s, kind, record, method, phase);
  ntl_untrack(L, s, event->id);
  if (has_error && !ntl_fire(L, s, record, kind, &ntl_error_list))
    return;
  ntl_fire(L, s, record, kind, &ntl_close_list);
}

/* ---- Arguments ----------------------------------------------------------- */

int ntl_endpoint_port(lua_State* L, int idx) {
  lua_Number port;

  if (lua_type(L, idx) != LUA_TNUMBER)
    return 0;
  port = lua_tonumber(L, idx);
  if (!(port >= 1 && port <= 65535) || port != (int) port)
    return 0;
  return (int) port;
}

const char* ntl_endpoint_text(lua_State* L, int idx) {
  size_t size;
  const char* text;

  if (lua_type(L, idx) != LUA_TSTRING)
    return NULL;
  text = lua_tolstring(L, idx, &size);
  return strlen(text) == size ? text : NULL;
}

void ntl_endpoint_open(lua_State* L) {
  static const luaL_Reg methods[] = { { NULL, NULL } };

  ntl_task_class(L, &complaint_kind, methods);
}
