/* nettask for Lua, as seen by a host that embeds it. Link the module in,
 * preload `luaopen_nettask_core` as "nettask.core", and drive the frame loop
 * from C:
 *
 *   lua_pushcfunction(L, luaopen_nettask_core);
 *   lua_setfield(L, preload, "nettask.core");   // package.preload
 *   ...
 *   for (;;) {                                  // each frame
 *     nettask_update(L, 2.0);
 *     draw();
 *   }
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

/* The context of this Lua state, made at its first use: to set a policy before
 * any script runs, or to start tasks from C. NULL if the module was never
 * loaded, or if there is no context and none could be made. It stays valid until net.close() or
 * lua_close(). Events of tasks that C started are passed over by update(). */
NT_API nt_context_t* nettask_context(lua_State* L);

#ifdef __cplusplus
}
#endif
#endif
