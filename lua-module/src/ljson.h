/* JSON for scripts and for the binding. ljson.c says how values map. */
#ifndef NTL_LJSON_H
#define NTL_LJSON_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define NTL_NULL "nettask.null"
#define NTL_ARRAY "nettask.array"

/* How deep values may nest, in either direction. */
#define NTL_JSON_DEPTH 128

/* Decode the bytes, which stay valid and unchanged during the call: push the
 * value and return 1, or push nil and a message and return 2. JSON's null is
 * the null value, so nil always means failure. */
int ntl_json_push(lua_State* L, const char* bytes, size_t size);

/* The one value that stands for null. */
void ntl_json_pushnull(lua_State* L);
bool ntl_json_isnull(lua_State* L, int idx);

/* Script functions; see ljson.c. */
int ntl_json_encode(lua_State* L);
int ntl_json_decode(lua_State* L);

/* Add jsonEncode, jsonDecode, array and null to the table on top. */
int ntl_json_open(lua_State* L);

#endif
