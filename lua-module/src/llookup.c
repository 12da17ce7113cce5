/* HttpDNS: questions of the core on their way to the host's providers, and the
 * requests to those that are reached by a url. What answers mean is decided in
 * httpdns.lua. On the host thread.
 *
 * Such a request may go where no script may, so nobody gives it a url: it is
 * made here of one that the host has registered and of the name that is asked
 * for. And a question is answered by a function that was made for it alone: who
 * does not have that cannot answer. */
#include <string.h>

#include "binding.h"
#include "ltext.h"

enum {
  /* At once. They take no places of requests, and go on when the script that
   * has caused them has lost its interest. */
  LOOKUPS_MAX = 256
};

typedef struct ntl_lookup {
  ntl_task_t task;
  bool idle; /* counted as such: what waits for it is alive itself */
} ntl_lookup_t;

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);
static void forget(ntl_state_t* s, ntl_task_t* task);

static const ntl_kind_t lookup_kind = {
  "nettask.Lookup", "HttpDNS", "lookup", dispatch, forget, NULL,
};

static void forget(ntl_state_t* s, ntl_task_t* task) {
  ntl_lookup_t* self = (ntl_lookup_t*) task;

  s->idle_count -= self->idle;
  s->lookup_count -= self->idle;
  self->idle = false;
}

/* ---- Answers ------------------------------------------------------------- */

/* Up to as many as the core tries; borrows from the table. */
static int read_ips(lua_State* L, int list, const char** ips, size_t* count) {
  size_t size = ntl_rawlen(L, list);

  for (size_t i = 0; i < size && *count < NT_DNS_ADDRESS_MAX; i++) {
    const char* ip;
    size_t length;

    lua_rawgeti(L, list, (int) i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      return NT_E_ADDRESS;
    ip = lua_tolstring(L, -1, &length);
    if (strlen(ip) != length)
      return NT_E_ADDRESS;
    ips[(*count)++] = ip;
    lua_pop(L, 1);
  }
  return 0;
}

static uint32_t read_ttl(lua_State* L, int idx) {
  lua_Number ms = lua_tonumber(L, idx) * 1000;

  if (!(ms > 0))
    return 0;
  return ms >= UINT32_MAX ? UINT32_MAX : (uint32_t) ms;
}

/* answer(ips, ttl) or answer(nil, errno, message) -> code. ttl in seconds.
 * Upvalue 2: the id of the question. */
static int answer(lua_State* L) {
  const ntl_state_t* s = ntl_self(L);
  nt_id_t id = (nt_id_t) lua_tonumber(L, lua_upvalueindex(2));
  const char* ips[NT_DNS_ADDRESS_MAX];
  nt_lookup_answer_t out = { ips, 0, 0, 0, NULL };
  int err = 0;

  lua_settop(L, 3);
  if (lua_istable(L, 1)) {
    err = read_ips(L, 1, ips, &out.count);
    out.ttl_ms = read_ttl(L, 2);
  } else {
    out.error = (int) lua_tointeger(L, 2);
    out.message = lua_tostring(L, 3);
  }
  if (err == 0)
    err = s->context == NULL ? NT_E_CLOSED
                             : nt_lookup_answer(s->context, id, &out);
  lua_pushinteger(L, err);
  return 1;
}

static void push_answer(lua_State* L, nt_id_t id) {
  ntl_push_state(L);
  ntl_push_id(L, id);
  lua_pushcclosure(L, answer, 2);
}

/* "IPv4" or "IPv6", nil for either. */
static void push_family(lua_State* L, nt_family_t family) {
  if (family == NT_FAMILY_ANY)
    lua_pushnil(L);
  else
    lua_pushstring(L, family == NT_FAMILY_IPV6 ? "IPv6" : "IPv4");
}

void ntl_lookup_fail(const ntl_state_t* s, nt_id_t id) {
  nt_lookup_answer_t none = { NULL, 0, 0, 0, NULL };

  if (s->context != NULL)
    nt_lookup_answer(s->context, id, &none);
}

void ntl_lookup_dispatch(lua_State* L, ntl_state_t* s,
                         const nt_event_t* event) {
  ntl_push_ref(L, s->handlers[NTL_ON_LOOKUP]);
  if (!lua_isfunction(L, -1)) { /* "nettask.core" alone was loaded */
    ntl_lookup_fail(s, event->id);
    return;
  }
  ntl_pushunsigned64(L, event->resolver);
  lua_pushstring(L, event->host);
  push_family(L, event->family);
  ntl_pushunsigned64(L, event->timeout_ms);
  push_answer(L, event->id);
  lua_call(L, 5, 1);
  if (lua_isfunction(L, -1))
    ntl_call(L, s, 0, &lookup_kind, "provider");
}

void ntl_lookup_push_reasons(lua_State* L, ntl_state_t* s,
                             const nt_event_t* event) {
  ntl_push_array(L, s);
  for (size_t i = 0; i < event->lookup_failure_count; i++) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, event->lookup_failures[i].message);
    lua_setfield(L, -2, "errMsg");
    lua_pushinteger(L, event->lookup_failures[i].error);
    lua_setfield(L, -2, "errno");
    lua_rawseti(L, -2, (int) i + 1);
  }
}

/* ---- Requests to providers ----------------------------------------------- */

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);

  if (event->type != NT_EV_END)
    return;
  lua_getfield(L, record, "read");
  lua_pushinteger(L, event->error);
  lua_pushstring(L, event->message);
  lua_pushinteger(L, event->status);
  if (event->size > 0)
    lua_pushlstring(L, event->data, event->size);
  else
    lua_pushliteral(L, "");
  lua_call(L, 4, 0);
  ntl_untrack(L, s, event->id);
}

/* What a name may be besides its own characters. */
static void add_escaped(luaL_Buffer* out, const char* text) {
  static const char plain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
  static const char hex[] = "0123456789ABCDEF";

  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char) *text;

    if (strchr(plain, c) != NULL) {
      luaL_addchar(out, (char) c);
      continue;
    }
    luaL_addchar(out, '%');
    luaL_addchar(out, hex[c >> 4]);
    luaL_addchar(out, hex[c & 15]);
  }
}

static void push_from_template(lua_State* L, const char* url,
                               const char* host) {
  static const char place[] = "{host}";
  const char* at;
  luaL_Buffer out;

  luaL_buffinit(L, &out);
  while ((at = strstr(url, place)) != NULL) {
    luaL_addlstring(&out, url, (size_t) (at - url));
    add_escaped(&out, host);
    url = at + sizeof(place) - 1;
  }
  luaL_addstring(&out, url);
  luaL_pushresult(&out);
}

/* RFC 8484 4.1. False when that is no name. */
static bool push_doh(lua_State* L, const char* url, const char* host,
                     nt_family_t family) {
  static const char place[] = "{?dns}";
  unsigned char query[NT_DNS_QUERY_MAX];
  int size = nt_dns_query(host, family, query);
  const char* end = strstr(url, place);

  if (size < 0)
    return false;
  lua_pushlstring(L, url, end == NULL ? strlen(url) : (size_t) (end - url));
  lua_pushstring(L,
                 strchr(url, '?') != NULL && end == NULL ? "&dns=" : "?dns=");
  ntl_base64url_push(L, (const char*) query, (size_t) size);
  lua_concat(L, 3);
  return true;
}

/* The url of the provider of that number for a name; false if there is none. */
static bool push_url(lua_State* L, const ntl_state_t* s, int number,
                     const char* host, nt_family_t family) {
  const char* url;

  ntl_push_ref(L, s->providers);
  lua_rawgeti(L, -1, number);
  url = lua_tostring(L, -1);
  if (url == NULL)
    return false;
  if (strstr(url, "{host}") == NULL)
    return push_doh(L, url, host, family);
  push_from_template(L, url, host);
  return true;
}

static nt_family_t read_family(lua_State* L, int idx) {
  const char* name = lua_tostring(L, idx);

  if (name == NULL)
    return NT_FAMILY_ANY;
  return strcmp(name, "IPv6") == 0 ? NT_FAMILY_IPV6 : NT_FAMILY_IPV4;
}

static void set_options(lua_State* L, nt_request_options_t* options) {
  static const nt_header_t accept = {
    "Accept", "application/dns-message, application/json, text/plain"
  };

  nt_request_options_init(options);
  options->url = lua_tostring(L, -1);
  options->headers = &accept;
  options->header_count = 1;
  options->http = NT_HTTP_2;
  options->redirect = NT_REDIRECT_MANUAL;
  options->flags = NT_REQUEST_OF_HOST;
}

static int lookup_open(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  int results =
      ntl_task_open(L, &lookup_kind, sizeof(ntl_lookup_t), nt_request_open);
  ntl_lookup_t* self = lua_touserdata(L, -1);

  self->idle = true;
  s->idle_count++;
  s->lookup_count++;
  return results;
}

/* core.lookupStart(task, number, host, family, timeout_ms): how it ends is told
 * to record.read(code, message, status, body). */
static int lookup_start(lua_State* L) {
  const ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, &lookup_kind);
  int number = (int) luaL_checkinteger(L, 2);
  const char* host = luaL_checkstring(L, 3);
  lua_Number ms = lua_tonumber(L, 5);
  nt_request_options_t options;
  int err = NT_E_ADDRESS;

  lua_settop(L, 5);
  if (s->lookup_count > LOOKUPS_MAX) {
    err = NT_E_FULL;
  } else if (push_url(L, s, number, host, read_family(L, 4))) {
    set_options(L, &options);
    if (ms > 0 && ms < UINT32_MAX)
      options.timeouts.total = (uint32_t) ms;
    err = s->context == NULL ? NT_E_CLOSED
                             : nt_request_start(s->context, task->id, &options);
  }
  if (err != 0 && s->context != NULL)
    nt_fail(s->context, task->id, err, NULL);
  return 0;
}

/* core.dnsRead(message, host, family) -> ips, ttl | nil, code */
static int dns_read(lua_State* L) {
  size_t size;
  const char* message = luaL_checklstring(L, 1, &size);
  nt_dns_answer_t found;
  int err = nt_dns_read(message, size, luaL_checkstring(L, 2),
                        read_family(L, 3), &found);

  if (err) {
    lua_pushnil(L);
    lua_pushinteger(L, err);
    return 2;
  }
  lua_createtable(L, (int) found.count, 0);
  for (size_t i = 0; i < found.count; i++) {
    lua_pushstring(L, found.ips[i]);
    lua_rawseti(L, -2, (int) i + 1);
  }
  ntl_pushunsigned64(L, found.ttl);
  return 2;
}

/* core.provide([host,] number, url | nil): where the provider of that number is
 * asked. */
static int provide(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  int number;

  ntl_gate(L, s, "registerHttpDNS");
  number = (int) luaL_checkinteger(L, 1);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2))
    luaL_checktype(L, 2, LUA_TSTRING);
  ntl_push_ref(L, s->providers);
  lua_insert(L, 2);
  lua_rawseti(L, 2, number);
  return 0;
}

void ntl_lookup_open(lua_State* L, ntl_state_t* s) {
  static const luaL_Reg methods[] = { { NULL, NULL } };
  static const luaL_Reg funcs[] = {
    { "lookupOpen", lookup_open },
    { "lookupStart", lookup_start },
    { "dnsRead", dns_read },
    { "provide", provide },
    { NULL, NULL },
  };

  lua_newtable(L);
  s->providers = ntl_new_ref(L);
  ntl_task_class(L, &lookup_kind, methods);
  ntl_register(L, funcs);
}
