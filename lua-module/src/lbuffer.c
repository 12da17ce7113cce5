/* nettask.Buffer: bytes that are not text (an ArrayBuffer in the mini-program
 * API). Runs on the thread that owns the lua_State.
 *
 * The bytes are the userdata itself: one allocation, one copy, counted by the
 * collector, and no __gc. A Buffer never changes once a script has seen it,
 * so a slice may copy without anyone noticing. */
#include "lbuffer.h"

#include "compat.h"

void* ntl_buffer_push(lua_State* L, const void* data, size_t size) {
  void* bytes = ntl_newuserdata(L, size, 0);

  ntl_setmetatable(L, NTL_BUFFER);
  if (data && size)
    memcpy(bytes, data, size);
  return bytes;
}

const char* ntl_buffer_test(lua_State* L, int idx, size_t* size) {
  const char* bytes = ntl_testudata(L, idx, NTL_BUFFER);

  if (bytes && size)
    *size = ntl_rawlen(L, idx);
  return bytes;
}

const char* ntl_bytes_test(lua_State* L, int idx, size_t* size) {
  if (lua_type(L, idx) == LUA_TSTRING)
    return lua_tolstring(L, idx, size);
  return ntl_buffer_test(L, idx, size);
}

const char* ntl_bytes_check(lua_State* L, int arg, size_t* size) {
  const char* bytes = ntl_bytes_test(L, arg, size);

  if (!bytes)
    ntl_typeerror(L, arg, "string or Buffer");
  return bytes;
}

static const char* check_buffer(lua_State* L, size_t* size) {
  const char* bytes = ntl_checkudata(L, 1, NTL_BUFFER);

  *size = ntl_rawlen(L, 1);
  return bytes;
}

/* Read the arguments i and j as string.sub does: from the end when negative,
 * cut to what is there. */
static size_t check_range(lua_State* L, size_t size, size_t* start) {
  lua_Integer length = (lua_Integer) size;
  lua_Integer i = luaL_optinteger(L, 2, 1);
  lua_Integer j = luaL_optinteger(L, 3, -1);

  if (i < 0)
    i = i < -length ? 1 : length + i + 1;
  if (i == 0)
    i = 1;
  if (j < 0)
    j = j < -length ? 0 : length + j + 1;
  if (j > length)
    j = length;
  if (i > j) {
    *start = 0;
    return 0;
  }
  *start = (size_t) (i - 1);
  return (size_t) (j - i + 1);
}

/* nettask.buffer(string | Buffer) -> Buffer */
static int buffer_new(lua_State* L) {
  size_t size = 0;
  const char* bytes = ntl_bytes_check(L, 1, &size);

  ntl_buffer_push(L, bytes, size);
  return 1;
}

/* buffer:sub([i [, j]]) -> string */
static int buffer_sub(lua_State* L) {
  size_t size, start, count;
  const char* bytes = check_buffer(L, &size);

  count = check_range(L, size, &start);
  lua_pushlstring(L, bytes + start, count);
  return 1;
}

/* buffer:slice([i [, j]]) -> Buffer */
static int buffer_slice(lua_State* L) {
  size_t size, start, count;
  const char* bytes = check_buffer(L, &size);

  count = check_range(L, size, &start);
  ntl_buffer_push(L, bytes + start, count);
  return 1;
}

static int buffer_length(lua_State* L) {
  size_t size;

  check_buffer(L, &size);
  lua_pushinteger(L, (lua_Integer) size);
  return 1;
}

static int buffer_tostring(lua_State* L) {
  size_t size;
  const char* bytes = check_buffer(L, &size);

  lua_pushlstring(L, bytes, size);
  return 1;
}

/* Lua 5.3 and later come here with any two userdata. */
static int buffer_equal(lua_State* L) {
  size_t size = 0, other_size = 0;
  const char* bytes = ntl_buffer_test(L, 1, &size);
  const char* other = ntl_buffer_test(L, 2, &other_size);

  lua_pushboolean(L, bytes && other && size == other_size &&
                         memcmp(bytes, other, size) == 0);
  return 1;
}

static int buffer_concat(lua_State* L) {
  for (int arg = 1; arg <= 2; arg++) {
    size_t size;
    const char* bytes = ntl_buffer_test(L, arg, &size);

    if (bytes)
      lua_pushlstring(L, bytes, size);
    else if (lua_isstring(L, arg))
      lua_pushvalue(L, arg);
    else
      return luaL_error(L, "attempt to concatenate a Buffer and a %s value",
                        ntl_typename(L, arg));
  }
  lua_concat(L, 2);
  return 1;
}

/* Methods are the upvalue; `byteLength` is the one field. */
static int buffer_index(lua_State* L) {
  size_t size;

  check_buffer(L, &size);
  lua_settop(L, 2);
  if (lua_type(L, 2) == LUA_TSTRING &&
      strcmp(lua_tostring(L, 2), "byteLength") == 0)
    lua_pushinteger(L, (lua_Integer) size);
  else
    lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

int ntl_buffer_open(lua_State* L) {
  static const luaL_Reg methods[] = {
    { "sub", buffer_sub },
    { "slice", buffer_slice },
    { NULL, NULL },
  };
  static const luaL_Reg metamethods[] = {
    { "__len", buffer_length },
    { "__tostring", buffer_tostring },
    { "__eq", buffer_equal },
    { "__concat", buffer_concat },
    { NULL, NULL },
  };

  ntl_newmetatable(L, NTL_BUFFER);
  ntl_setfuncs(L, metamethods);
  lua_newtable(L);
  ntl_setfuncs(L, methods);
  lua_pushcclosure(L, buffer_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, buffer_new);
  lua_setfield(L, -2, "buffer");
  return 0;
}
