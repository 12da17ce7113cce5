/* The scan for local services. A script holds no object of it: there is one at
 * a time, and the functions of the mini-program API are about that. Listeners
 * belong to the module and outlive it. On the host thread.
 *
 * A scan that was stopped is none any more for the script, which may begin the
 * next at once; it lives on until its last event, which tells of the stop. Its
 * record holds, in the slots below, what that has to call. */
#include <string.h>

#include "binding.h"

enum { /* slots of the record */
  SUCCESS = NTL_LISTS,
  COMPLETE
};

typedef struct ntl_scan {
  ntl_task_t task;
  bool started; /* else nobody has heard of it, nor will */
  bool stopped;
} ntl_scan_t;

static const ntl_list_t on_found = { 1, "onLocalServiceFound" };
static const ntl_list_t on_lost = { 2, "onLocalServiceLost" };
static const ntl_list_t on_resolve_fail = { 3, "onLocalServiceResolveFail" };
static const ntl_list_t on_stop = { 4, "onLocalServiceDiscoveryStop" };

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);
static void forget(ntl_state_t* s, ntl_task_t* task);

static const ntl_kind_t scan_kind = {
  "nettask.Scan", "LocalServiceDiscovery", "mdns", dispatch, forget, NULL,
};

static void forget(ntl_state_t* s, ntl_task_t* task) {
  if (s->scan == task)
    s->scan = NULL;
}

/* ---- Events -------------------------------------------------------------- */

static bool is_heard(lua_State* L, const ntl_state_t* s,
                     const ntl_list_t* list) {
  bool heard;

  ntl_push_ref(L, s->services);
  heard = ntl_has_listeners(L, lua_gettop(L), list);
  lua_pop(L, 1);
  return heard;
}

/* Calls the listeners with the value on top, which is popped. */
static void fire(lua_State* L, ntl_state_t* s, const ntl_list_t* list) {
  int value = lua_gettop(L);

  ntl_push_ref(L, s->services);
  lua_insert(L, value);
  ntl_fire(L, s, value, &scan_kind, list);
  lua_settop(L, value - 1);
}

static void set_string(lua_State* L, const char* name, const char* value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

/* What all events of a service have. */
static void push_service(lua_State* L, const nt_service_t* service,
                         int fields) {
  lua_createtable(L, 0, fields);
  set_string(L, "serviceName", service->name);
  set_string(L, "serviceType", service->type);
}

static void push_addresses(lua_State* L, ntl_state_t* s,
                           const nt_service_t* service) {
  ntl_push_array(L, s);
  for (size_t i = 0; i < service->ip_count; i++) {
    lua_pushstring(L, service->ips[i]);
    lua_rawseti(L, -2, (int) i + 1);
  }
}

/* A key without a value is true. */
static void push_txt(lua_State* L, const nt_service_t* service) {
  lua_createtable(L, 0, (int) service->txt_count);
  for (size_t i = 0; i < service->txt_count; i++) {
    const nt_txt_t* txt = &service->txt[i];

    lua_pushstring(L, txt->key);
    if (txt->value != NULL)
      lua_pushlstring(L, txt->value, txt->size);
    else
      lua_pushboolean(L, 1);
    lua_rawset(L, -3);
  }
}

static void tell_found(lua_State* L, ntl_state_t* s,
                       const nt_service_t* service) {
  push_service(L, service, 7);
  set_string(L, "ip", service->ip_count > 0 ? service->ips[0] : "");
  lua_pushinteger(L, service->port);
  lua_setfield(L, -2, "port");
  set_string(L, "hostName", service->host);
  push_addresses(L, s, service);
  lua_setfield(L, -2, "ips");
  push_txt(L, service);
  lua_setfield(L, -2, "txt");
  fire(L, s, &on_found);
}

/* Push a failure as the Lua layer words it. `handled`: it need not be logged.
 */
static void push_failure(lua_State* L, const ntl_state_t* s, int record,
                         const char* kind, const nt_event_t* event,
                         bool handled) {
  int result = lua_gettop(L) + 2;

  lua_pushboolean(L, handled);
  lua_setfield(L, record, "handled");
  ntl_push_ref(L, s->handlers[NTL_ON_FINISH]);
  lua_pushvalue(L, record);
  lua_pushstring(L, kind);
  lua_pushinteger(L, event->error);
  lua_pushstring(L, event->message);
  lua_call(L, 4, 2);
  lua_replace(L, result - 1);
}

static void tell_resolve_fail(lua_State* L, ntl_state_t* s, int record,
                              const nt_event_t* event) {
  push_failure(L, s, record, "resolve", event, true);
  set_string(L, "serviceName", event->service->name);
  set_string(L, "serviceType", event->service->type);
  fire(L, s, &on_resolve_fail);
}

/* ok, res, success, complete and nothing of the stop that the script asked
 * for. */
static void push_stop_results(lua_State* L, int record) {
  lua_pushboolean(L, 1);
  lua_createtable(L, 0, 1);
  set_string(L, "errMsg", "stopLocalServiceDiscovery:ok");
  lua_rawgeti(L, record, SUCCESS);
  lua_rawgeti(L, record, COMPLETE);
  lua_pushnil(L);
}

/* Everything that needs memory is made first: what was called cannot be called
 * back. */
static void tell_end(lua_State* L, ntl_state_t* s, int record,
                     const nt_event_t* event, ntl_scan_t* self) {
  int base = record + 2;

  if (event->error == 0 || self->stopped) {
    lua_createtable(L, 0, 1);
    set_string(L, "errMsg", "onLocalServiceDiscoveryStop:ok");
  } else {
    push_failure(L, s, record, scan_kind.name, event, is_heard(L, s, &on_stop));
  }
  push_stop_results(L, record);
  self->task.aborted = false;
  ntl_untrack(L, s, event->id);
  if (self->stopped && !ntl_call_results(L, s, base, &scan_kind))
    return;
  lua_settop(L, base - 1);
  fire(L, s, &on_stop);
}

static void on_end(lua_State* L, ntl_state_t* s, int record,
                   const nt_event_t* event, ntl_scan_t* self) {
  if (self->started)
    tell_end(L, s, record, event, self);
  else
    ntl_untrack(L, s, event->id);
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);

  switch (event->type) {
    case NT_EV_FOUND:
      if (is_heard(L, s, &on_found))
        tell_found(L, s, event->service);
      break;
    case NT_EV_SERVICE_LOST:
      push_service(L, event->service, 2);
      fire(L, s, &on_lost);
      break;
    case NT_EV_RESOLVE_FAIL:
      tell_resolve_fail(L, s, record, event);
      break;
    case NT_EV_END:
      on_end(L, s, record, event, (ntl_scan_t*) s->task);
      break;
    default:
      break;
  }
}

/* ---- Starting and stopping ----------------------------------------------- */

/* An idle scan is given its task. Text with a NUL is no type. */
static int start(ntl_state_t* s, ntl_scan_t* self, const char* type,
                 size_t size) {
  nt_mdns_options_t options;
  int err = NT_E_INVALID;

  if (s->context == NULL) /* a finaliser has closed it */
    return NT_E_CLOSED;
  nt_mdns_options_init(&options);
  options.service_type = type;
  if (s->scan != NULL) /* a finaliser has begun one */
    err = NT_E_STATE;
  else if (strlen(type) == size)
    err = nt_mdns_start(s->context, self->task.id, &options);
  if (err) {
    nt_abort(s->context, self->task.id);
    return err;
  }
  self->started = true;
  s->scan = &self->task;
  return 0;
}

/* core.mdnsStart(serviceType) -> code; NT_E_STATE while there is a scan */
static int mdns_start(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  size_t size;
  const char* type = luaL_checklstring(L, 1, &size);
  ntl_scan_t* self;
  int err = NT_E_STATE;

  lua_settop(L, 1);
  if (s->scan == NULL) {
    lua_newtable(L);
    self = (ntl_scan_t*) ntl_task_push(L, &scan_kind, sizeof(*self), 0);
    ntl_task_begin(L, s, 3, 2, nt_mdns_open);
    err = start(s, self, type, size);
  }
  lua_pushinteger(L, err);
  return 1;
}

/* core.mdnsStop(success, complete) -> whether there was a scan. No service of
 * it is told any more. */
static int mdns_stop(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_scan_t* self = (ntl_scan_t*) s->scan;
  bool found;

  lua_settop(L, 2);
  found = self != NULL && s->context != NULL &&
          ntl_push_record(L, s, self->task.id);

  if (found) {
    int record = lua_gettop(L);

    for (int i = 0; i < 2; i++) {
      lua_pushvalue(L, i + 1);
      lua_rawseti(L, record, SUCCESS + i);
    }
    self->stopped = self->task.aborted = true;
    s->scan = NULL;
    nt_abort(s->context, self->task.id);
  }
  lua_pushboolean(L, found);
  return 1;
}

/* ---- Listeners ----------------------------------------------------------- */

static int add(lua_State* L, const ntl_list_t* list) {
  const ntl_state_t* s = ntl_self(L);

  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  ntl_push_ref(L, s->services);
  ntl_listener_add(L, 2, 1, list);
  return 0;
}

static int drop(lua_State* L, const ntl_list_t* list) {
  const ntl_state_t* s = ntl_self(L);

  lua_settop(L, 1);
  ntl_push_ref(L, s->services);
  ntl_listener_remove(L, 2, 1, list);
  return 0;
}

#define LISTENERS(name)                                                        \
  static int add_##name(lua_State* L) {                                        \
    return add(L, &on_##name);                                                 \
  }                                                                            \
  static int drop_##name(lua_State* L) {                                       \
    return drop(L, &on_##name);                                                \
  }

LISTENERS(found)
LISTENERS(lost)
LISTENERS(resolve_fail)
LISTENERS(stop)

void ntl_mdns_open(lua_State* L, ntl_state_t* s) {
  static const luaL_Reg methods[] = { { NULL, NULL } };
  static const luaL_Reg funcs[] = {
    { "mdnsStart", mdns_start },
    { "mdnsStop", mdns_stop },
    { "onLocalServiceFound", add_found },
    { "offLocalServiceFound", drop_found },
    { "onLocalServiceLost", add_lost },
    { "offLocalServiceLost", drop_lost },
    { "onLocalServiceResolveFail", add_resolve_fail },
    { "offLocalServiceResolveFail", drop_resolve_fail },
    { "onLocalServiceDiscoveryStop", add_stop },
    { "offLocalServiceDiscoveryStop", drop_stop },
    { NULL, NULL },
  };

  lua_newtable(L);
  s->services = ntl_new_ref(L);
  ntl_task_class(L, &scan_kind, methods);
  ntl_register(L, funcs);
}
