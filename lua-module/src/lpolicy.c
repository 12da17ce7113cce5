/* The policy of a Lua state, and core.setPolicy(): from the table that the Lua
 * layer has made of what the host configured to an nt_policy_t. Names and types
 * have been checked there; what a host, a key or a certificate may look like
 * the core knows, and is asked before anything changes. It is copied, so what
 * it is read from may go. On the host thread. */
#include "binding.h"

enum {
  TCP_WINDOW_MS = 300000,
  WHY_SIZE = 512
};

enum { /* the stack while the table is read */
  TABLE = 1,
  ANCHORS /* a list of the memory that the table does not hold */
};

/* ---- Fields -------------------------------------------------------------- */

/* What is absent keeps the preset's value. */
static void read_u64(lua_State* L, const char* name, uint64_t* out) {
  lua_getfield(L, TABLE, name);
  if (lua_type(L, -1) == LUA_TNUMBER)
    *out = (uint64_t) lua_tonumber(L, -1);
  lua_pop(L, 1);
}

static void read_u32(lua_State* L, const char* name, uint32_t* out) {
  uint64_t value = *out;

  read_u64(L, name, &value);
  *out = value > UINT32_MAX ? UINT32_MAX : (uint32_t) value;
}

static void read_string(lua_State* L, const char* name, const char** out) {
  lua_getfield(L, TABLE, name);
  if (lua_type(L, -1) == LUA_TSTRING)
    *out = lua_tostring(L, -1);
  lua_pop(L, 1);
}

static void read_flag(lua_State* L, const char* name, uint32_t flag,
                      uint32_t* flags) {
  lua_getfield(L, TABLE, name);
  if (lua_isboolean(L, -1))
    *flags = lua_toboolean(L, -1) ? *flags | flag : *flags & ~flag;
  lua_pop(L, 1);
}

/* ---- Lists --------------------------------------------------------------- */

/* Memory that lives as long as the call. */
static void* new_memory(lua_State* L, size_t size) {
  void* memory = ntl_newuserdata(L, size + 1, 0);

  lua_rawseti(L, ANCHORS, (int) ntl_rawlen(L, ANCHORS) + 1);
  return memory;
}

/* The list of strings on top, which is popped. */
static nt_list_t pop_list(lua_State* L) {
  nt_list_t list;
  size_t count = ntl_rawlen(L, -1);
  const char** items = new_memory(L, count * sizeof(*items));

  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, -1, (int) i + 1);
    items[i] = luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  list.items = items;
  list.count = count;
  return list;
}

/* False is no list; what is absent keeps the preset's. */
static void read_list(lua_State* L, const char* name, nt_list_t* out) {
  static const nt_list_t none = { NULL, 0 };

  lua_getfield(L, TABLE, name);
  if (lua_istable(L, -1)) {
    *out = pop_list(L);
    return;
  }
  if (lua_isboolean(L, -1))
    *out = none;
  lua_pop(L, 1);
}

static void read_roots(lua_State* L, const char* name, const char* const** out,
                       size_t* out_count) {
  nt_list_t list;

  list.items = *out;
  list.count = *out_count;
  read_list(L, name, &list);
  *out = list.items;
  *out_count = list.count;
}

/* { first, last, first, last, ... } */
static void read_ports(lua_State* L, nt_policy_t* policy) {
  nt_port_range_t* list;
  size_t count;

  lua_getfield(L, TABLE, "tcpForbiddenPorts");
  if (lua_istable(L, -1)) {
    count = ntl_rawlen(L, -1) / 2;
    list = new_memory(L, count * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
      lua_rawgeti(L, -1, (int) (2 * i) + 1);
      lua_rawgeti(L, -2, (int) (2 * i) + 2);
      list[i].first = (uint16_t) lua_tointeger(L, -2);
      list[i].last = (uint16_t) lua_tointeger(L, -1);
      lua_pop(L, 2);
    }
    policy->tcp_forbidden_ports = list;
    policy->tcp_forbidden_count = count;
  }
  lua_pop(L, 1);
}

/* { host, { key, ... }, host, { key, ... }, ... } */
static void read_pins(lua_State* L, nt_policy_t* policy) {
  nt_pin_t* pins;
  size_t count;

  lua_getfield(L, TABLE, "pins");
  if (lua_istable(L, -1)) {
    count = ntl_rawlen(L, -1) / 2;
    pins = new_memory(L, count * sizeof(*pins));
    for (size_t i = 0; i < count; i++) {
      lua_rawgeti(L, -1, (int) (2 * i) + 1);
      pins[i].host = luaL_checkstring(L, -1);
      lua_rawgeti(L, -2, (int) (2 * i) + 2);
      luaL_checktype(L, -1, LUA_TTABLE);
      pins[i].keys = pop_list(L);
      lua_pop(L, 1);
    }
    policy->pins = count > 0 ? pins : NULL;
    policy->pin_count = count;
  }
  lua_pop(L, 1);
}

/* ---- The policy ---------------------------------------------------------- */

static nt_preset_t read_preset(lua_State* L) {
  static const char* const names[] = { "miniprogram", "open", "strict", NULL };
  static const nt_preset_t presets[] = { NT_PRESET_MINIPROGRAM, NT_PRESET_OPEN,
                                         NT_PRESET_STRICT };
  int i;

  lua_getfield(L, TABLE, "preset");
  i = luaL_checkoption(L, -1, NULL, names);
  lua_pop(L, 1);
  return presets[i];
}

/* After the seal a host that has said nothing means no. */
static void read_flags(lua_State* L, const ntl_state_t* s,
                       nt_policy_t* policy) {
  read_flag(L, "requireSecure", NT_POLICY_REQUIRE_SECURE, &policy->flags);
  read_flag(L, "refuseUrlPort", NT_POLICY_NO_URL_PORT, &policy->flags);
  read_flag(L, "refusePrivate", NT_POLICY_REFUSE_PRIVATE, &policy->flags);
  if (s->sealed)
    policy->flags |= NT_POLICY_REFUSE_PROXY;
  read_flag(L, "refuseProxy", NT_POLICY_REFUSE_PROXY, &policy->flags);
}

static void read_files(lua_State* L, nt_policy_t* policy) {
  read_u64(L, "downloadMaxBytes", &policy->download_max_bytes);
  read_u64(L, "uploadMaxBytes", &policy->upload_max_bytes);
  read_string(L, "tempDir", &policy->temp_dir);
  read_u64(L, "tempMaxBytes", &policy->temp_max_bytes);
  read_string(L, "storeFile", &policy->store_file);
  read_string(L, "cookieFile", &policy->cookie_file);
  read_u64(L, "storeMaxBytes", &policy->store_max_bytes);
  read_string(L, "cacheDir", &policy->cache_dir);
  read_u64(L, "cacheMaxBytes", &policy->cache_max_bytes);
  read_roots(L, "readRoots", &policy->read_roots, &policy->read_root_count);
  read_roots(L, "writeRoots", &policy->write_roots, &policy->write_root_count);
}

static void read_sockets(lua_State* L, nt_policy_t* policy) {
  read_u32(L, "maxSockets", &policy->max_sockets);
  read_u32(L, "tcpPerWindow", &policy->tcp_per_window);
  policy->tcp_window_ms = TCP_WINDOW_MS; /* in whatever preset */
  read_ports(L, policy);
  read_u64(L, "sendQueueBytes", &policy->send_queue_bytes);
  read_u64(L, "maxMessageBytes", &policy->message_max_bytes);
  read_u32(L, "mdnsScanMs", &policy->mdns_scan_ms);
  read_u32(L, "maxServices", &policy->max_services);
}

/* Whom tasks reach, and whom they trust. */
static void read_hosts(lua_State* L, nt_policy_t* policy) {
  read_list(L, "requestDomains", &policy->domains[NT_ACCESS_REQUEST]);
  read_list(L, "downloadDomains", &policy->domains[NT_ACCESS_DOWNLOAD]);
  read_list(L, "uploadDomains", &policy->domains[NT_ACCESS_UPLOAD]);
  read_list(L, "socketDomains", &policy->domains[NT_ACCESS_SOCKET]);
  read_list(L, "tcpDomains", &policy->domains[NT_ACCESS_TCP]);
  read_list(L, "udpDomains", &policy->domains[NT_ACCESS_UDP]);
  read_list(L, "referers", &policy->referers);
  read_list(L, "allowPrivate", &policy->allow_private);
  read_string(L, "proxy", &policy->proxy);
  read_string(L, "caFile", &policy->ca_file);
  read_string(L, "caData", &policy->ca_data);
  read_pins(L, policy);
}

static void read_numbers(lua_State* L, nt_policy_t* policy) {
  read_u32(L, "maxRequests", &policy->max_requests);
  read_u32(L, "maxLookups", &policy->max_lookups);
  read_u32(L, "redirects", &policy->max_redirects);
  read_u64(L, "urlMaxBytes", &policy->url_max_bytes);
  read_u64(L, "headerMaxBytes", &policy->header_max_bytes);
  read_u64(L, "responseMaxBytes", &policy->response_max_bytes);
  read_u64(L, "highWaterBytes", &policy->task_high_water);
  read_u64(L, "contextHighWaterBytes", &policy->context_high_water);
  read_u32(L, "spinMicros", &policy->spin_us);
  read_u64(L, "bytesPerMinute", &policy->bytes_per_minute);
  read_u32(L, "requestsPerSecond", &policy->requests_per_second);
  read_u32(L, "backgroundGraceMs", &policy->background_grace_ms);
}

/* Secrets are no part of the table: they stay. */
static void read_policy(lua_State* L, const ntl_state_t* s,
                        nt_policy_t* policy) {
  nt_policy_init(policy, read_preset(L));
  read_flags(L, s, policy);
  read_numbers(L, policy);
  read_string(L, "userAgent", &policy->user_agent);
  read_files(L, policy);
  read_sockets(L, policy);
  read_hosts(L, policy);
  policy->secrets = s->policy.secrets;
  policy->secret_count = s->policy.secret_count;
}

/* Whether the host has said that tasks may bring proxies of their own. */
static bool allows_proxies(lua_State* L) {
  bool allowed;

  lua_getfield(L, TABLE, "refuseProxy");
  allowed = lua_isboolean(L, -1) && !lua_toboolean(L, -1);
  lua_pop(L, 1);
  return allowed;
}

int ntl_policy_use(ntl_state_t* s, const nt_policy_t* policy) {
  nt_policy_t* copy = nt_policy_copy(policy);
  int err = 0;

  if (copy == NULL)
    return NT_E_NOMEM;
  if (s->context != NULL)
    err = nt_policy_set(s->context, copy);
  if (err) {
    nt_policy_free(copy);
    return err;
  }
  nt_policy_free(s->kept);
  s->kept = copy;
  s->policy = *copy;
  return 0;
}

int ntl_policy_seal(ntl_state_t* s) {
  nt_policy_t policy = s->policy;

  if (s->own_proxies)
    return 0;
  policy.flags |= NT_POLICY_REFUSE_PROXY;
  return ntl_policy_use(s, &policy);
}

/* Under a policy of C's, of which the caller has named the key at `named`. */
static int keep_policy(lua_State* L, int named) {
  if (!lua_isstring(L, named))
    return 0;
  lua_pushfstring(L, "%s is part of the policy, which nettask_configure() sets",
                  lua_tostring(L, named));
  return 1;
}

/* core.setPolicy([host,] {...} [, named]) -> nothing, or what is wrong, in the
 * core's words. Holds for the context that there is and for later ones. `named`
 * is a key of the policy that the host has given, nil when it has given none.
 */
static int set_policy(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  nt_policy_t policy;
  char why[WHY_SIZE];
  int err;

  ntl_gate(L, s, "configure");
  luaL_checktype(L, TABLE, LUA_TTABLE);
  if (s->embedded)
    return keep_policy(L, TABLE + 1);
  lua_settop(L, TABLE);
  lua_newtable(L);
  read_policy(L, s, &policy);
  err = nt_policy_check(&policy, why, sizeof(why));
  if (err == NT_E_INVALID) {
    lua_pushstring(L, why);
    return 1;
  }
  if (err == 0)
    err = ntl_policy_use(s, &policy);
  if (err)
    return ntl_raise(L, err);
  s->own_proxies = allows_proxies(L);
  return 0;
}

/* What messages say of the policy, whoever has set it. */
static int is_secure_only(lua_State* L) {
  lua_pushboolean(L,
                  (ntl_self(L)->policy.flags & NT_POLICY_REQUIRE_SECURE) != 0);
  return 1;
}

static int max_sockets(lua_State* L) {
  lua_pushinteger(L, (lua_Integer) ntl_self(L)->policy.max_sockets);
  return 1;
}

void ntl_policy_open(lua_State* L) {
  static const luaL_Reg funcs[] = {
    { "setPolicy", set_policy },
    { "isSecureOnly", is_secure_only },
    { "maxSockets", max_sockets },
    { NULL, NULL },
  };

  ntl_register(L, funcs);
}
