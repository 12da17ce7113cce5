/* Loaded into an interpreter as a function: the bytes that malloc() has given
 * out and not got back, of every thread. */
#include <malloc.h>

struct lua_State;

/* The same in every version of Lua. */
void lua_pushnumber(struct lua_State* L, double number);

__attribute__((visibility("default"))) int allocated(struct lua_State* L) {
  struct mallinfo2 all = mallinfo2();

  lua_pushnumber(L, (double) (all.uordblks + all.hblkhd));
  return 1;
}
