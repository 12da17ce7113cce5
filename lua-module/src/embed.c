/* The sandbox for hosts in C: the policy of a Lua state, and its seal, without
 * a line of Lua. On the host thread.
 *
 * The policy is copied, with all that it points to, into one block that Lua
 * owns: contexts that are made later need it as much as the one that there is.
 * Whatever may raise runs protected; its arguments go by way of the state,
 * since a light userdata cannot hold every pointer on LuaJIT. */
#include <string.h>

#include "binding.h"
#include "lnettask.h"

/* ---- Copies -------------------------------------------------------------- */

/* Where the next thing goes. Without a block it is only counted, so one
 * function both measures and copies. */
typedef struct ntl_room {
  char* block;
  size_t used;
} ntl_room_t;

enum {
  ALIGNMENT = sizeof(void*)
};

static void* take_room(ntl_room_t* room, const void* from, size_t size) {
  void* to;

  room->used = (room->used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  to = room->block == NULL ? NULL : room->block + room->used;
  room->used += size;
  if (to != NULL && size > 0)
    memcpy(to, from, size);
  return to;
}

static void copy_text(ntl_room_t* room, const char** text) {
  if (*text != NULL) {
    const char* copy = take_room(room, *text, strlen(*text) + 1);

    if (copy != NULL)
      *text = copy;
  }
}

/* One without elements stays a list: it has something to point to. */
static void copy_texts(ntl_room_t* room, const char* const** items,
                       size_t count) {
  const char* const* from = *items;
  const char** to;

  if (from == NULL)
    return;
  to = take_room(room, from, count * sizeof(*from));
  for (size_t i = 0; i < count; i++) {
    const char* text = from[i];

    copy_text(room, &text);
    if (to != NULL)
      to[i] = text;
  }
  if (to != NULL)
    *items = to;
}

static void copy_list(ntl_room_t* room, nt_list_t* list) {
  copy_texts(room, &list->items, list->count);
}

static void copy_ports(ntl_room_t* room, nt_policy_t* policy) {
  const nt_port_range_t* to;

  if (policy->tcp_forbidden_ports == NULL)
    return;
  to = take_room(room, policy->tcp_forbidden_ports,
                 policy->tcp_forbidden_count * sizeof(*to));
  if (to != NULL)
    policy->tcp_forbidden_ports = to;
}

static void copy_pins(ntl_room_t* room, nt_policy_t* policy) {
  nt_pin_t* to;

  if (policy->pins == NULL)
    return;
  to = take_room(room, policy->pins, policy->pin_count * sizeof(*to));
  for (size_t i = 0; i < policy->pin_count; i++) {
    nt_pin_t pin = policy->pins[i];

    copy_text(room, &pin.host);
    copy_list(room, &pin.keys);
    if (to != NULL)
      to[i] = pin;
  }
  if (to != NULL)
    policy->pins = to;
}

static void copy_secrets(ntl_room_t* room, nt_policy_t* policy) {
  nt_secret_t* to;

  if (policy->secrets == NULL)
    return;
  to = take_room(room, policy->secrets, policy->secret_count * sizeof(*to));
  for (size_t i = 0; i < policy->secret_count; i++) {
    nt_secret_t secret = policy->secrets[i];

    copy_text(room, &secret.name);
    copy_text(room, &secret.placeholder);
    copy_text(room, &secret.value);
    copy_list(room, &secret.hosts);
    if (to != NULL)
      to[i] = secret;
  }
  if (to != NULL)
    policy->secrets = to;
}

/* Everything that the policy points to: counted, or copied, and then it points
 * to the copies. */
static void copy_parts(ntl_room_t* room, nt_policy_t* policy) {
  copy_text(room, &policy->user_agent);
  copy_text(room, &policy->ca_file);
  copy_text(room, &policy->ca_data);
  copy_text(room, &policy->temp_dir);
  copy_text(room, &policy->store_file);
  copy_text(room, &policy->cookie_file);
  copy_text(room, &policy->proxy);
  copy_ports(room, policy);
  copy_texts(room, &policy->read_roots, policy->read_root_count);
  copy_texts(room, &policy->write_roots, policy->write_root_count);
  for (int i = 0; i < NT_ACCESS_COUNT; i++)
    copy_list(room, &policy->domains[i]);
  copy_list(room, &policy->allow_private);
  copy_pins(room, policy);
  copy_secrets(room, policy);
}

/* Push the block that the copy lives in. */
static void push_copy(lua_State* L, nt_policy_t* policy) {
  ntl_room_t room = { NULL, 0 };
  nt_policy_t measured = *policy;

  copy_parts(&room, &measured);
  room.block = ntl_newuserdata(L, room.used + ALIGNMENT, 0);
  room.used = 0;
  copy_parts(&room, policy);
}

/* ---- The policy ---------------------------------------------------------- */

/* Protected; s->given is the policy. Returns the code. */
static int configure(lua_State* L) {
  ntl_state_t* s = ntl_find(L);
  nt_policy_t policy = *s->given;
  int err;

  push_copy(L, &policy);
  err = ntl_policy_use(s, &policy);
  if (err == 0) {
    ntl_set_ref(L, s->policy_strings);
    ntl_secrets_free(s); /* those of secrets.set(), which it has not */
    s->embedded = s->own_proxies = true; /* its flag says what holds */
  }
  lua_pushinteger(L, err);
  return 1;
}

/* The state, made now if there is none; NULL without memory, and when it is
 * being closed. */
static ntl_state_t* find_or_make(lua_State* L) {
  ntl_state_t* s = ntl_find(L);

  if (s == NULL || s->core == 0) {
    lua_pushcfunction(L, luaopen_nettask_core);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK)
      lua_pop(L, 1);
    s = ntl_find(L);
  }
  return s == NULL || s->dead || s->core == 0 ? NULL : s;
}

int nettask_configure(lua_State* L, const nt_policy_t* policy) {
  ntl_state_t* s;
  char why[256];
  int err = nt_policy_check(policy, why, sizeof(why));

  if (err)
    return err;
  s = find_or_make(L);
  if (s == NULL)
    return NT_E_NOMEM;
  s->given = policy;
  lua_pushcfunction(L, configure);
  err = NT_E_NOMEM;
  if (lua_pcall(L, 0, 1, 0) == LUA_OK)
    err = (int) lua_tointeger(L, -1);
  lua_pop(L, 1);
  s->given = NULL;
  return err;
}

/* ---- The seal ------------------------------------------------------------ */

/* Protected: net.seal(). */
static int seal(lua_State* L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "nettask");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "seal");
  lua_call(L, 0, 1);
  luaL_checktype(L, -1, LUA_TTABLE);
  return 1;
}

int nettask_seal(lua_State* L) {
  ntl_state_t* s = find_or_make(L);
  int status;

  if (s != NULL)
    s->sealing = true;
  lua_pushcfunction(L, seal);
  status = lua_pcall(L, 0, 1, 0);
  if (s != NULL)
    s->sealing = false;
  return status;
}
