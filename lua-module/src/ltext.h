/* Text: base64, UTF-8, and the character sets that servers still send. */
#ifndef NTL_LTEXT_H
#define NTL_LTEXT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether the bytes are UTF-8 in its strict form: no overlong sequence, no
 * surrogate, nothing above U+10FFFF. `bad_at` (may be NULL) receives the
 * offset of the first sequence that is not. */
bool ntl_utf8_valid(const char* bytes, size_t size, size_t* bad_at);

/* Push the standard, padded base64 text of the bytes. */
void ntl_base64_push(lua_State* L, const char* bytes, size_t size);
/* The same for a URL: RFC 4648 5, without padding. */
void ntl_base64url_push(lua_State* L, const char* bytes, size_t size);

/* Script functions; text_open() documents them. */
int ntl_base64_encode(lua_State* L);
int ntl_base64_decode(lua_State* L);
int ntl_to_utf8(lua_State* L);
int ntl_is_utf8(lua_State* L);

/* Add base64Encode, base64Decode, toUtf8 and isUtf8 to the table on top. */
int ntl_text_open(lua_State* L);

#endif
