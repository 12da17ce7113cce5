/* Reading the tables that the Lua layer makes of a script's options. */
#ifndef NTL_PARAMS_H
#define NTL_PARAMS_H

#include "binding.h"

bool ntl_get_flag(lua_State* L, int table, const char* name);
/* The string in that field of the table, which anchors it; `*text` is left
 * alone when there is none. Returns 0, or NT_E_INVALID when it has a NUL:
 * nobody may see less of it than was checked. */
int ntl_get_text(lua_State* L, int table, const char* name, const char** text);
/* A number, rounded up: a short time is not none. Left alone when there is none
 * in the table. */
void ntl_get_uint32(lua_State* L, int table, const char* name, uint32_t* out);
/* The stages in the field `timeouts`, and `total`. */
void ntl_get_timeouts(lua_State* L, int table, nt_timeouts_t* timeouts);
/* The field `headers`, a list { name, value, name, value, ... }, without what
 * no script may set; leaves values on the stack that anchor it. Returns 0, or
 * how many values were pushed for the caller to return: the code, and the name
 * of the bad field. */
int ntl_get_headers(lua_State* L, int table, const nt_header_t** headers,
                    size_t* count);
/* A list of strings; leaves values on the stack that anchor it. Returns 0, or
 * NT_E_INVALID when one has a NUL. */
int ntl_get_texts(lua_State* L, int table, const char* name,
                  const char* const** texts, size_t* count);

#endif
