/* Secrets: what tasks may send and no script may know. A script gets a text
 * that stands for the value; the core puts the value into headers, for the
 * hosts that it was registered for, on the background thread.
 *
 * The values lie in the policy of the Lua state, in memory of the core, which
 * no function of Lua reaches, and which is wiped when they are replaced,
 * removed, and at the end of the Lua state. On the host thread. */
#include <stdio.h>
#include <string.h>

#include "binding.h"

enum {
  RANDOM_BYTES = 16,
  PLACEHOLDER_SIZE = 128,
  NAME_MAX_BYTES = 64,
  WHY_SIZE = 512
};

/* Push what stands for the secret with the name in argument 1, the same one
 * whenever it is set. Nobody can guess it. */
static void push_placeholder(lua_State* L, const ntl_state_t* s) {
  unsigned char random[RANDOM_BYTES];
  char text[PLACEHOLDER_SIZE];
  int length, err;

  ntl_push_ref(L, s->placeholders);
  lua_pushvalue(L, 1);
  lua_rawget(L, -2);
  if (lua_isstring(L, -1)) {
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  err = nt_random(random, sizeof(random));
  if (err)
    ntl_raise(L, err);
  length = snprintf(text, sizeof(text), "{secret:%.*s:", NAME_MAX_BYTES,
                    lua_tostring(L, 1));
  for (size_t i = 0; i < sizeof(random); i++)
    length += snprintf(text + length, sizeof(text) - (size_t) length, "%02x",
                       random[i]);
  snprintf(text + length, sizeof(text) - (size_t) length, "}");
  lua_pushstring(L, text);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  lua_remove(L, -2);
}

/* ---- The policy ---------------------------------------------------------- */

/* In place of the one of that name comes `added`, or nothing with NULL. `items`
 * has room for one more than there are. 0, or an error with `why`, and nothing
 * has changed. */
static int change(ntl_state_t* s, const char* name, const nt_secret_t* added,
                  nt_secret_t* items, char* why) {
  nt_policy_t policy = s->policy;
  size_t count = 0;
  int err;

  for (size_t i = 0; i < policy.secret_count; i++) {
    if (strcmp(policy.secrets[i].name, name) != 0)
      items[count++] = policy.secrets[i];
  }
  if (added != NULL)
    items[count++] = *added;
  policy.secrets = count > 0 ? items : NULL;
  policy.secret_count = count;
  err = nt_policy_check(&policy, why, WHY_SIZE);
  if (err == 0)
    err = ntl_policy_use(s, &policy);
  if (err != 0 && err != NT_E_INVALID)
    snprintf(why, WHY_SIZE, "%s", nt_error_message(err));
  return err;
}

/* Memory for change(), of Lua's. */
static nt_secret_t* push_items(lua_State* L, const ntl_state_t* s) {
  return ntl_newuserdata(L, (s->policy.secret_count + 1) * sizeof(nt_secret_t),
                         0);
}

/* ---- Functions ----------------------------------------------------------- */

/* A string without NUL, so that nobody sees less of it than was checked. */
static const char* check_text(lua_State* L, int arg) {
  size_t size;
  const char* text;

  luaL_checktype(L, arg, LUA_TSTRING);
  text = lua_tolstring(L, arg, &size);
  luaL_argcheck(L, strlen(text) == size, arg, "text without NUL expected");
  return text;
}

/* The list of strings at `idx`, which anchors them; the memory of their
 * pointers stays on the stack. */
static nt_list_t push_hosts(lua_State* L, int idx) {
  nt_list_t list;
  size_t count = ntl_rawlen(L, idx);
  const char** items = ntl_newuserdata(L, (count + 1) * sizeof(*items), 0);

  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, idx, (int) i + 1);
    items[i] = luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  list.items = items;
  list.count = count;
  return list;
}

/* core.secretSet([host,] name, value, hosts) -> nothing, or what is wrong */
static int secret_set(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  nt_secret_t secret;
  char why[WHY_SIZE];

  ntl_gate(L, s, "secrets.set");
  secret.name = check_text(L, 1);
  secret.value = check_text(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  luaL_argcheck(L, strlen(secret.name) <= NAME_MAX_BYTES, 1,
                "the name is too long");
  push_placeholder(L, s);
  secret.placeholder = lua_tostring(L, -1);
  secret.hosts = push_hosts(L, 3);
  if (change(s, secret.name, &secret, push_items(L, s), why) == 0)
    return 0;
  lua_pushstring(L, why);
  return 1;
}

static const nt_secret_t* find_secret(const ntl_state_t* s, const char* name) {
  for (size_t i = 0; i < s->policy.secret_count; i++) {
    if (strcmp(s->policy.secrets[i].name, name) == 0)
      return &s->policy.secrets[i];
  }
  return NULL;
}

/* core.secretRemove([host,] name) -> whether there was one. Tasks that run go
 * on with it. */
static int secret_remove(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  char why[WHY_SIZE];
  const char* name;
  bool found;

  ntl_gate(L, s, "secrets.remove");
  name = check_text(L, 1);
  found = find_secret(s, name) != NULL;
  if (found && change(s, name, NULL, push_items(L, s), why) != 0)
    return luaL_error(L, "nettask: secrets.remove: %s", why);
  lua_pushboolean(L, found);
  return 1;
}

/* core.secretNames([host]) -> list */
static int secret_names(lua_State* L) {
  ntl_state_t* s = ntl_self(L);

  ntl_gate(L, s, "secrets.list");
  lua_newtable(L);
  for (size_t i = 0; i < s->policy.secret_count; i++) {
    lua_pushstring(L, s->policy.secrets[i].name);
    lua_rawseti(L, -2, (int) i + 1);
  }
  return 1;
}

/* core.secret(name) -> what stands for it, or nil */
static int secret(lua_State* L) {
  const ntl_state_t* s = ntl_self(L);
  const nt_secret_t* found = find_secret(s, check_text(L, 1));

  if (found == NULL)
    lua_pushnil(L);
  else
    lua_pushstring(L, found->placeholder);
  return 1;
}

void ntl_secret_open(lua_State* L, ntl_state_t* s) {
  static const luaL_Reg funcs[] = {
    { "secretSet", secret_set },
    { "secretRemove", secret_remove },
    { "secretNames", secret_names },
    { "secret", secret },
    { NULL, NULL },
  };

  lua_newtable(L);
  s->placeholders = ntl_new_ref(L);
  ntl_register(L, funcs);
}
