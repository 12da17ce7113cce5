/* nettask.Buffer, the script's immutable block of bytes, and the two ways in
 * which the binding reads bytes from a script: a string or a Buffer. */
#ifndef NTL_LBUFFER_H
#define NTL_LBUFFER_H

#include <lua.h>
#include <stddef.h>

#define NTL_BUFFER "nettask.Buffer"

/* Push a new Buffer and return its bytes. Copies `data`; with NULL the bytes
 * are not initialised and the caller fills all of them before a script sees
 * the Buffer. */
void* ntl_buffer_push(lua_State* L, const void* data, size_t size);

/* Lend the bytes of a Buffer, valid while the value is alive. NULL when it is
 * none; an empty Buffer is not NULL. `size` may be NULL here and below. */
const char* ntl_buffer_test(lua_State* L, int idx, size_t* size);

/* The same for a string or a Buffer. A number is neither. */
const char* ntl_bytes_test(lua_State* L, int idx, size_t* size);

/* Raises an argument error instead of returning NULL. */
const char* ntl_bytes_check(lua_State* L, int arg, size_t* size);

/* Add `buffer` to the table on top. */
int ntl_buffer_open(lua_State* L);

#endif
