/* Reading the tables that the Lua layer makes of a script's options. What is
 * read borrows from the tables and from the stack, which the collector leaves
 * alone until the C function that reads returns. On the host thread. */
#include "params.h"

#include <string.h>

bool ntl_get_flag(lua_State* L, int table, const char* name) {
  bool flag;

  lua_getfield(L, table, name);
  flag = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return flag;
}

/* ---- Text ---------------------------------------------------------------- */

/* Text without NUL, so that nobody sees less of it than was checked. A number
 * is none: its text would be garbage once it leaves the stack. */
static const char* plain_text(lua_State* L, int idx) {
  size_t size;
  const char* text;

  if (lua_type(L, idx) != LUA_TSTRING)
    return NULL;
  text = lua_tolstring(L, idx, &size);
  return memchr(text, '\0', size) == NULL ? text : NULL;
}

int ntl_get_text(lua_State* L, int table, const char* name, const char** text) {
  int err = 0;

  lua_getfield(L, table, name);
  if (lua_type(L, -1) == LUA_TSTRING) {
    *text = plain_text(L, -1);
    err = *text == NULL ? NT_E_INVALID : 0;
  }
  lua_pop(L, 1);
  return err;
}

int ntl_get_texts(lua_State* L, int table, const char* name,
                  const char* const** texts, size_t* count) {
  const char** list;
  int from;

  lua_getfield(L, table, name);
  from = lua_gettop(L);
  if (!lua_istable(L, from))
    return 0;
  *count = ntl_rawlen(L, from);
  list = ntl_newuserdata(L, (*count + 1) * sizeof(*list), 0);
  *texts = list;
  for (size_t i = 0; i < *count; i++) {
    lua_rawgeti(L, from, (int) i + 1);
    list[i] = plain_text(L, -1);
    lua_pop(L, 1);
    if (list[i] == NULL)
      return NT_E_INVALID;
  }
  return 0;
}

/* ---- Numbers ------------------------------------------------------------- */

void ntl_get_uint32(lua_State* L, int table, const char* name, uint32_t* out) {
  lua_Number number;

  lua_getfield(L, table, name);
  if (lua_type(L, -1) == LUA_TNUMBER) {
    number = lua_tonumber(L, -1);
    if (!(number > 0))
      *out = 0;
    else
      *out = number >= UINT32_MAX ? UINT32_MAX : (uint32_t) number;
    if (number > 0 && *out < number && *out < UINT32_MAX)
      ++*out;
  }
  lua_pop(L, 1);
}

void ntl_get_timeouts(lua_State* L, int table, nt_timeouts_t* timeouts) {
  lua_getfield(L, table, "timeouts");
  if (lua_istable(L, -1)) {
    int stages = lua_gettop(L);

    ntl_get_uint32(L, stages, "dns", &timeouts->dns);
    ntl_get_uint32(L, stages, "connect", &timeouts->connect);
    ntl_get_uint32(L, stages, "tls", &timeouts->tls);
    ntl_get_uint32(L, stages, "firstByte", &timeouts->first_byte);
    ntl_get_uint32(L, stages, "stall", &timeouts->stall);
  }
  lua_pop(L, 1);
  ntl_get_uint32(L, table, "total", &timeouts->total);
}

/* ---- Headers ------------------------------------------------------------- */

/* Fields that frame the message or route it belong to us, and the referrer to
 * the platform: scripts cannot set them, whatever way they call. */
static bool is_forbidden(const char* name) {
  static const char* const forbidden[] = {
    "host",    "content-length",    "connection",
    "upgrade", "transfer-encoding", "referer",
  };

  for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
    if (ntl_same_name(name, forbidden[i]))
      return true;
  }
  return false;
}

/* Reads the list at `list`, which anchors the strings. Returns 0, or the index
 * of the name of a bad field. */
static int read_headers(lua_State* L, int list, int size, nt_header_t* headers,
                        size_t* count) {
  for (int i = 1; i <= size; i += 2) {
    nt_header_t* header = &headers[*count];

    lua_rawgeti(L, list, i);
    lua_rawgeti(L, list, i + 1);
    header->name = plain_text(L, -2);
    header->value = plain_text(L, -1);
    lua_pop(L, 2);
    if (header->name == NULL || header->value == NULL ||
        nt_header_check(header->name, header->value) != 0)
      return i;
    if (!is_forbidden(header->name))
      ++*count;
  }
  return 0;
}

int ntl_get_headers(lua_State* L, int table, const nt_header_t** headers,
                    size_t* count) {
  nt_header_t* list;
  int from, size, bad;

  lua_getfield(L, table, "headers");
  luaL_checktype(L, -1, LUA_TTABLE);
  from = lua_gettop(L);
  size = (int) ntl_rawlen(L, from);
  list = ntl_newuserdata(L, ((size_t) size / 2 + 1) * sizeof(*list), 0);
  *headers = list;
  bad = read_headers(L, from, size, list, count);
  if (bad == 0)
    return 0;
  lua_pushinteger(L, NT_E_HEADER);
  lua_rawgeti(L, from, bad);
  return 2;
}
