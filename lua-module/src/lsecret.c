/* Secrets: what tasks may send and no script may know. A script gets a text
 * that stands for the value; the core puts the value into headers, for the
 * hosts that it was registered for, on the background thread.
 *
 * The values lie in memory of our own, which no function of Lua reaches, and
 * are wiped when they are replaced, removed, and at the end of the Lua state.
 * They belong to the Lua state like the rest of the policy: net.close() keeps
 * them. On the host thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binding.h"

enum {
  RANDOM_BYTES = 16,
  PLACEHOLDER_SIZE = 128,
  NAME_MAX_BYTES = 64,
  WHY_SIZE = 512
};

/* One block, the texts behind the list of hosts. */
typedef struct ntl_secret {
  struct ntl_secret* next;
  nt_secret_t item;
  char* value;
  const char* hosts[];
} ntl_secret_t;

/* ---- Memory -------------------------------------------------------------- */

/* In a way that the compiler cannot leave out. */
static void wipe(char* text) {
  volatile char* at = text;

  while (*at != '\0')
    *at++ = '\0';
}

static void free_secret(ntl_secret_t* secret) {
  if (secret == NULL)
    return;
  wipe(secret->value);
  free(secret);
}

/* Takes the one of that name off our list; NULL if there is none. */
static ntl_secret_t* unlink_secret(ntl_state_t* s, const char* name) {
  for (ntl_secret_t** at = &s->secrets; *at != NULL; at = &(*at)->next) {
    ntl_secret_t* secret = *at;

    if (strcmp(secret->item.name, name) == 0) {
      *at = secret->next;
      return secret;
    }
  }
  return NULL;
}

void ntl_secrets_free(ntl_state_t* s) {
  while (s->secrets != NULL) {
    ntl_secret_t* secret = s->secrets;

    s->secrets = secret->next;
    free_secret(secret);
  }
  free(s->secret_items);
  s->secret_items = NULL;
}

/* ---- Making one ---------------------------------------------------------- */

/* Copies the text and moves `at` behind it. */
static char* put_text(char** at, const char* text) {
  size_t size = strlen(text) + 1;
  char* copy = memcpy(*at, text, size);

  *at += size;
  return copy;
}

/* The string in field `i` of the table at `hosts`, which anchors it. */
static const char* host_at(lua_State* L, int hosts, size_t i) {
  const char* text;

  lua_rawgeti(L, hosts, (int) i + 1);
  text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  lua_pop(L, 1);
  return text;
}

/* Arguments are name, value, hosts and, behind them, the placeholder: strings
 * and a list of strings. Raises nothing; NULL without memory. */
static ntl_secret_t* make_secret(lua_State* L) {
  const char* const texts[] = { lua_tostring(L, 1), lua_tostring(L, 2),
                                lua_tostring(L, 4) };
  size_t count = ntl_rawlen(L, 3);
  size_t size = sizeof(ntl_secret_t) + count * sizeof(const char*);
  ntl_secret_t* secret;
  char* at;

  for (size_t i = 0; i < 3; i++)
    size += strlen(texts[i]) + 1;
  for (size_t i = 0; i < count; i++)
    size += strlen(host_at(L, 3, i)) + 1;
  secret = malloc(size);
  if (secret == NULL)
    return NULL;
  at = (char*) (secret->hosts + count);
  secret->next = NULL;
  secret->item.name = put_text(&at, texts[0]);
  secret->value = put_text(&at, texts[1]);
  secret->item.value = secret->value;
  secret->item.placeholder = put_text(&at, texts[2]);
  for (size_t i = 0; i < count; i++)
    secret->hosts[i] = put_text(&at, host_at(L, 3, i));
  secret->item.hosts.items = secret->hosts;
  secret->item.hosts.count = count;
  return secret;
}

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

/* Fills in those of the policy that have another name, and `added`. */
static size_t fill_items(const ntl_state_t* s, const char* name,
                         const ntl_secret_t* added, nt_secret_t* items) {
  size_t count = 0;

  for (size_t i = 0; i < s->policy.secret_count; i++) {
    if (strcmp(s->policy.secrets[i].name, name) != 0)
      items[count++] = s->policy.secrets[i];
  }
  if (added != NULL)
    items[count++] = added->item;
  return count;
}

/* In place of the one of that name comes `added`, or nothing. Returns 0 or an
 * error, then with `why`, and nothing has changed. */
static int change(ntl_state_t* s, const char* name, ntl_secret_t* added,
                  char* why) {
  nt_policy_t policy = s->policy;
  nt_secret_t* items = malloc((policy.secret_count + 1) * sizeof(*items));
  int err;

  if (items == NULL) {
    snprintf(why, WHY_SIZE, "%s", nt_error_message(NT_E_NOMEM));
    return NT_E_NOMEM;
  }
  policy.secret_count = fill_items(s, name, added, items);
  policy.secrets = policy.secret_count > 0 ? items : NULL;
  err = nt_policy_check(&policy, why, WHY_SIZE);
  if (err == 0)
    err = ntl_policy_use(s, &policy);
  if (err) {
    if (err != NT_E_INVALID)
      snprintf(why, WHY_SIZE, "%s", nt_error_message(err));
    free(items);
    return err;
  }
  free(s->secret_items);
  s->secret_items = items;
  free_secret(unlink_secret(s, name));
  if (added != NULL) {
    added->next = s->secrets;
    s->secrets = added;
  }
  return 0;
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

/* core.secretSet([host,] name, value, hosts) -> nothing, or what is wrong */
static int secret_set(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  ntl_secret_t* secret;
  char why[WHY_SIZE];
  const char* name;

  ntl_gate(L, s, "secrets.set");
  name = check_text(L, 1);
  check_text(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  luaL_argcheck(L, strlen(name) <= NAME_MAX_BYTES, 1, "the name is too long");
  push_placeholder(L, s);
  secret = make_secret(L);
  if (secret == NULL)
    return ntl_raise(L, NT_E_NOMEM);
  if (change(s, name, secret, why) == 0)
    return 0;
  free_secret(secret);
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
  if (found && change(s, name, NULL, why) != 0)
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
