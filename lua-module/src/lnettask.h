/* nettask for Lua, as seen by a host that embeds it: link the module in, load
 * it, and drive the frame loop from C.
 *
 *   lua_getglobal(L, "package");
 *   lua_getfield(L, -1, "preload");
 *   lua_pushcfunction(L, luaopen_nettask_core);
 *   lua_setfield(L, -2, "nettask.core");
 *   lua_pop(L, 2);
 *   // ... run the script, then each frame:
 *   nettask_update(L, 2.0);
 *
 * Everything is called from the thread that owns the lua_State. */
#ifndef LNETTASK_H
#define LNETTASK_H

#include <lua.h>

#include "nettask.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opener of the module "nettask.core", for package.preload. */
NT_API int luaopen_nettask_core(lua_State* L);

/* net.update(budget_ms) from C: runs the callbacks on `L`, which may be any
 * coroutine of the state. A negative budget means none: all events that have
 * arrived are delivered. Returns how many were. Raises a Lua error inside a
 * callback and while the state is being closed. 0 if the module was never
 * loaded. */
NT_API size_t nettask_update(lua_State* L, double budget_ms);

/* The context of this Lua state, made at its first use: for nt_policy_set()
 * before any script runs (it holds until net.configure() or net.close()), or
 * to start tasks from C, whose events update() passes over. Valid until
 * net.close() or lua_close(). NULL if "nettask.core" was never loaded, or if no
 * context could be made. */
NT_API nt_context_t* nettask_context(lua_State* L);

#ifdef __cplusplus
}
#endif
#endif
