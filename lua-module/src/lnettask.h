/* nettask for Lua, as seen by a host that embeds it: link the module in, load
 * it, say what scripts may do, and drive the frame loop from C.
 *
 *   lua_getglobal(L, "package");
 *   lua_getfield(L, -1, "preload");
 *   lua_pushcfunction(L, luaopen_nettask_core);
 *   lua_setfield(L, -2, "nettask.core");
 *   lua_pop(L, 2);
 *
 *   nt_policy_init(&policy, NT_PRESET_STRICT);
 *   policy.domains[NT_ACCESS_REQUEST] = (nt_list_t){ hosts, 1 };
 *   if (nettask_configure(L, &policy) != 0 || nettask_seal(L) != 0)
 *     return give_up();
 *   lua_setfield(L, LUA_REGISTRYINDEX, "my game: net"); // the host table
 *
 *   // ... run the script, then each frame:
 *   nettask_update(L, 2.0);
 *
 * Everything is called from the thread that owns the lua_State. */
#ifndef LNETTASK_H
#define LNETTASK_H

#include "nettask.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of lua.h, which C++ has to include by way of lua.hpp. */
struct lua_State;

/* Opener of the module "nettask.core", for package.preload. */
NT_API int luaopen_nettask_core(struct lua_State* L);

/* net.update(budget_ms) from C: runs the callbacks on `L`, which may be any
 * coroutine of the state. A negative budget means none: all events that have
 * arrived are delivered. Returns how many were. Raises a Lua error inside a
 * callback and while the state is being closed. 0 if the module was never
 * loaded. */
NT_API size_t nettask_update(struct lua_State* L, double budget_ms);

/* The policy of this Lua state: of the context that it has, and of those that
 * it makes after a net.close(). It is copied with all that it points to. From
 * then on it is C's alone: net.configure() and net.seal() raise for scripts,
 * and the host's own configure() for every key that is part of a policy, so no
 * other table of settings can come over it by accident. The seal adds nothing
 * to it: NT_POLICY_REFUSE_PROXY, say, is in NT_PRESET_STRICT or for C to set.
 * What host.secrets.set() adds to its secrets goes with the next call. May be
 * called again, also after the seal; tasks that run keep theirs.
 *
 * 0, or an error, and then nothing has changed: NT_E_INVALID, which
 * nt_policy_check() explains, NT_E_NOMEM, also when the state is being closed,
 * NT_E_FORKED. Does not raise. "nettask.core" need not be loaded, nor any
 * script have run. */
NT_API int nettask_configure(struct lua_State* L, const nt_policy_t* policy);

/* net.seal() from C: makes what is configured final for the scripts of this Lua
 * state, with or without nettask_configure(). Like lua_pcall(): 0, and pushes
 * the table with the host's functions, which it had better keep in the
 * registry; or another status, and pushes the message. That is so when it is
 * sealed already, or when require() does not find "nettask". To be called
 * before any script runs: it trusts the global `require`. */
NT_API int nettask_seal(struct lua_State* L);

/* The context of this Lua state, made at its first use: to start tasks from C,
 * whose events update() passes over. Its policy is set with
 * nettask_configure(): what nt_policy_set() says here holds only until somebody
 * calls configure() or close(). Valid until net.close() or lua_close(). NULL if
 * "nettask.core" was never loaded, or if no context could be made. */
NT_API nt_context_t* nettask_context(struct lua_State* L);

#ifdef __cplusplus
}
#endif
#endif
