/* The sandbox for hosts in C: the policy of a Lua state, and its seal, without
 * a line of Lua. On the host thread. */
#include "binding.h"
#include "lnettask.h"

/* ---- The policy ---------------------------------------------------------- */

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
  int err = nt_policy_check(policy, NULL, 0);

  if (err)
    return err;
  s = find_or_make(L);
  if (s == NULL)
    return NT_E_NOMEM;
  err = ntl_policy_use(s, policy);
  if (err == 0)
    s->embedded = s->own_proxies = true; /* its flag says what holds */
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
