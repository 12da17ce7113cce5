/* Events of the core as Lua values: the header table, the cookies, the body by
 * dataType, the profile.
 *
 * A header table is an ordinary table of name and value as received, so that
 * pairs, next and JSON see it on every Lua; only a name in another case takes
 * the metatable's __index, which walks the table. Values of a repeated field
 * are joined; the single ones, which getAll() lists, lie in a weak side table
 * that knows only the rare headers which have such fields. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "binding.h"
#include "lbuffer.h"
#include "ljson.h"
#include "ltext.h"

enum {
  SMALL_COUNT = 32 /* header fields that fit the C stack */
};

/* ---- Names -------------------------------------------------------------- */

static int lower(char c) {
  return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char) c;
}

static int compare_names(const char* a, const char* b) {
  while (*a != '\0' && lower(*a) == lower(*b)) {
    a++;
    b++;
  }
  return lower(*a) - lower(*b);
}

bool ntl_same_name(const char* a, const char* b) {
  return compare_names(a, b) == 0;
}

static void push_lower(lua_State* L, const char* name) {
  luaL_Buffer text;

  luaL_buffinit(L, &text);
  for (; *name != '\0'; name++)
    luaL_addchar(&text, (char) lower(*name));
  luaL_pushresult(&text);
}

/* ---- Fields ------------------------------------------------------------- */

/* One field; those of one name are chained in the order received. */
typedef struct field {
  const char* name;
  const char* value;
  size_t name_size;
  size_t value_size;
  struct field* next; /* of the same name */
  struct field* last; /* of the chain; in its first field */
  size_t index;
  bool is_first;
} field_t;

/* The texts lie behind one another, so their sizes are known. */
static size_t read_fields(const nt_headers_t* headers, field_t* fields) {
  size_t cursor = 0, count = 0;

  while (count < headers->count) {
    field_t* field = &fields[count];

    if (!nt_headers_next(headers, &cursor, &field->name, &field->value))
      break;
    field->name_size = (size_t) (field->value - field->name) - 1;
    field->value_size = (size_t) (headers->bytes + cursor - field->value) - 1;
    field->index = count++;
    field->next = NULL;
    field->last = field;
    field->is_first = true;
  }
  return count;
}

/* Most pairs differ in the first letter, or in length. */
static bool have_same_name(const field_t* a, const field_t* b) {
  return a->name_size == b->name_size && lower(*a->name) == lower(*b->name) &&
         ntl_same_name(a->name, b->name);
}

static void chain(field_t* first, field_t* field) {
  first->last->next = field;
  first->last = field;
  field->is_first = false;
}

static void chain_few(field_t* fields, size_t count) {
  for (size_t i = 1; i < count; i++) {
    for (size_t j = 0; j < i; j++) {
      if (fields[j].is_first && have_same_name(&fields[j], &fields[i])) {
        chain(&fields[j], &fields[i]);
        break;
      }
    }
  }
}

static int compare_fields(const void* a, const void* b) {
  const field_t* x = *(field_t* const*) a;
  const field_t* y = *(field_t* const*) b;
  int order = compare_names(x->name, y->name);

  if (order != 0)
    return order;
  return x->index < y->index ? -1 : 1;
}

/* A server chooses how many fields there are and what they are called, so the
 * work must not grow with their square. */
static void chain_many(field_t* fields, field_t** sorted, size_t count) {
  field_t* first;

  for (size_t i = 0; i < count; i++)
    sorted[i] = &fields[i];
  qsort(sorted, count, sizeof(*sorted), compare_fields);
  first = sorted[0];
  for (size_t i = 1; i < count; i++) {
    if (have_same_name(first, sorted[i]))
      chain(first, sorted[i]);
    else
      first = sorted[i];
  }
}

/* ---- Values ------------------------------------------------------------- */

void ntl_push_array(lua_State* L, ntl_state_t* s) {
  lua_newtable(L);
  ntl_push_ref(L, s->array_meta);
  lua_setmetatable(L, -2);
}

static void push_joined(lua_State* L, const field_t* field,
                        const char* separator) {
  luaL_Buffer text;

  luaL_buffinit(L, &text);
  luaL_addstring(&text, field->value);
  while ((field = field->next) != NULL) {
    luaL_addstring(&text, separator);
    luaL_addstring(&text, field->value);
  }
  luaL_pushresult(&text);
}

static void push_values(lua_State* L, ntl_state_t* s, const field_t* field) {
  int count = 0;

  ntl_push_array(L, s);
  for (; field != NULL; field = field->next) {
    lua_pushlstring(L, field->value, field->value_size);
    lua_rawseti(L, -2, ++count);
  }
}

/* repeats[header][lower-case name] = values. */
static void keep_values(lua_State* L, ntl_state_t* s, int header,
                        const field_t* field) {
  ntl_push_ref(L, s->repeats);
  lua_pushvalue(L, header);
  lua_rawget(L, -2);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, header);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
  }
  push_lower(L, field->name);
  push_values(L, s, field);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

static void set_field(lua_State* L, ntl_state_t* s, int header, int cookies,
                      const field_t* field) {
  bool is_cookie = field->name_size == strlen("set-cookie") &&
                   ntl_same_name(field->name, "set-cookie");

  lua_pushlstring(L, field->name, field->name_size);
  if (field->next == NULL) {
    lua_pushlstring(L, field->value, field->value_size);
  } else {
    keep_values(L, s, header, field);
    push_joined(L, field, is_cookie ? "," : ", ");
  }
  lua_rawset(L, header);
  if (is_cookie) {
    push_values(L, s, field);
    lua_replace(L, cookies);
  }
}

static field_t* chain_fields(lua_State* L, const nt_headers_t* headers,
                             field_t* few, size_t* count) {
  field_t* fields = few;

  if (headers->count > SMALL_COUNT) { /* scratch that the collector owns */
    size_t each = sizeof(field_t) + sizeof(field_t*);

    fields = ntl_newuserdata(L, headers->count * each, 0);
  } else {
    lua_pushnil(L);
  }
  *count = read_fields(headers, fields);
  if (fields == few)
    chain_few(fields, *count);
  else if (*count > 0)
    chain_many(fields, (field_t**) (fields + headers->count), *count);
  return fields;
}

void ntl_push_headers(lua_State* L, ntl_state_t* s,
                      const nt_headers_t* headers) {
  field_t few[SMALL_COUNT];
  int header = lua_gettop(L) + 1;
  field_t* fields;
  size_t count;

  lua_createtable(L, 0, (int) headers->count);
  ntl_push_ref(L, s->header_meta);
  lua_setmetatable(L, -2);
  ntl_push_array(L, s);
  fields = chain_fields(L, headers, few, &count);
  for (size_t i = 0; i < count; i++) {
    if (fields[i].is_first)
      set_field(L, s, header, header + 1, &fields[i]);
  }
  lua_settop(L, header + 1);
}

/* ---- Reading a header table --------------------------------------------- */

/* Push the value of the first field of that name in any case, or nil. */
static void push_any_case(lua_State* L, int header, const char* name) {
  lua_pushnil(L);
  while (lua_next(L, header)) {
    if (lua_type(L, -2) == LUA_TSTRING &&
        ntl_same_name(lua_tostring(L, -2), name)) {
      lua_remove(L, -2);
      return;
    }
    lua_pop(L, 1);
  }
  lua_pushnil(L);
}

/* header:getAll(name) -> array of values. */
static int header_get_all(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  const char* name = luaL_checkstring(L, 2);

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  ntl_push_ref(L, s->repeats);
  lua_pushvalue(L, 1);
  lua_rawget(L, -2);
  if (lua_istable(L, -1)) {
    push_lower(L, name);
    lua_rawget(L, -2);
    if (lua_istable(L, -1))
      return 1;
  }
  ntl_push_array(L, s);
  push_any_case(L, 1, name);
  if (lua_isnil(L, -1))
    lua_pop(L, 1);
  else
    lua_rawseti(L, -2, 1);
  return 1;
}

/* Upvalue 2: getAll. */
static int header_index(lua_State* L) {
  const char* name;

  if (lua_type(L, 1) != LUA_TTABLE || lua_type(L, 2) != LUA_TSTRING)
    return 0;
  name = lua_tostring(L, 2);
  if (strcmp(name, "getAll") == 0)
    lua_pushvalue(L, lua_upvalueindex(2));
  else
    push_any_case(L, 1, name);
  return 1;
}

static void make_header_meta(lua_State* L) {
  ntl_newmetatable(L, "nettask.header");
  ntl_push_state(L);
  ntl_push_state(L);
  lua_pushcclosure(L, header_get_all, 1);
  lua_pushcclosure(L, header_index, 2);
  lua_setfield(L, -2, "__index");
}

static void make_repeats(lua_State* L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

/* ---- Body --------------------------------------------------------------- */

static const char* find_field(const nt_headers_t* headers, const char* name) {
  const char* field;
  const char* value;
  size_t cursor = 0;

  while (nt_headers_next(headers, &cursor, &field, &value)) {
    if (ntl_same_name(field, name))
      return value;
  }
  return NULL;
}

static bool starts_with(const char* text, const char* start) {
  for (; *start != '\0'; text++, start++) {
    if (lower(*text) != *start)
      return false;
  }
  return true;
}

/* The charset parameter of a content type: its start and length, 0 without. */
static size_t find_charset(const char* type, const char** charset) {
  while (type != NULL && (type = strchr(type, ';')) != NULL) {
    type += 1 + strspn(type + 1, " \t");
    if (!starts_with(type, "charset="))
      continue;
    type += strlen("charset=");
    type += *type == '"';
    *charset = type;
    return strcspn(type, "\"; \t");
  }
  return 0;
}

static bool is_plain(const char* bytes, size_t size, const char* charset,
                     size_t length) {
  if (size >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0)
    return false;
  return length == 0 || (length == 5 && starts_with(charset, "utf-8"));
}

/* Push the body as UTF-8 and return 1, or return 0 when it is no text of its
 * character set. `bytes` and `size` become those of the text. */
static int push_converted(lua_State* L, const char** bytes, size_t* size,
                          const char* charset, size_t length) {
  lua_pushcfunction(L, ntl_to_utf8);
  lua_pushlstring(L, *bytes, *size);
  lua_pushlstring(L, charset, length);
  lua_call(L, 2, 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return 0;
  }
  *bytes = lua_tolstring(L, -1, size);
  return 1;
}

/* Push value and defect of a text: `bytes` are those of the string on top, if
 * `converted`. */
static void push_json(lua_State* L, const char* bytes, size_t size,
                      int converted) {
  if (size > 0 && ntl_json_push(L, bytes, size) == 1) {
    if (converted)
      lua_remove(L, -2);
    lua_pushnil(L);
    return;
  }
  if (size > 0)
    lua_pop(L, 2);
  if (!converted)
    lua_pushlstring(L, bytes, size);
  lua_pushliteral(L, "json");
}

static void push_text(lua_State* L, ntl_decode_t decode, const char* bytes,
                      size_t size, const nt_headers_t* headers) {
  const char* charset = "";
  size_t length = find_charset(find_field(headers, "content-type"), &charset);
  int converted = 0;

  if (!is_plain(bytes, size, charset, length)) {
    converted = push_converted(L, &bytes, &size, charset, length);
    if (!converted) {
      lua_pushnil(L);
      lua_pushliteral(L, "charset");
      return;
    }
  }
  if (decode == NTL_DECODE_JSON) {
    push_json(L, bytes, size, converted);
    return;
  }
  if (!converted)
    lua_pushlstring(L, bytes, size);
  lua_pushnil(L);
}

void ntl_push_body(lua_State* L, ntl_decode_t decode, const char* bytes,
                   size_t size, const nt_headers_t* headers) {
  if (bytes == NULL)
    bytes = "";
  if (decode == NTL_DECODE_BUFFER) {
    ntl_buffer_push(L, bytes, size);
    lua_pushnil(L);
  } else if (decode == NTL_DECODE_BASE64) {
    ntl_base64_push(L, bytes, size);
    lua_pushnil(L);
  } else {
    push_text(L, decode, bytes, size, headers);
  }
}

/* ---- Profile ------------------------------------------------------------ */

static void push_instants(lua_State* L, const nt_profile_t* profile) {
  const int64_t instants[] = {
    profile->redirect_start, profile->redirect_end, profile->fetch_start,
    profile->lookup_start,   profile->lookup_end,   profile->connect_start,
    profile->connect_end,    profile->tls_start,    profile->tls_end,
    profile->request_start,  profile->request_end,  profile->response_start,
    profile->response_end,   profile->invoke_start, profile->queue_start,
    profile->queue_end,      profile->asked_start,  profile->asked_end,
  };

  for (size_t i = 0; i < sizeof(instants) / sizeof(*instants); i++)
    ntl_pushinteger64(L, instants[i]);
}

/* nil when nothing was stored. */
static void push_cache(lua_State* L, const char* cache) {
  if (cache[0] != '\0')
    lua_pushstring(L, cache);
  else
    lua_pushnil(L);
}

/* The table is made by a constructor in Lua, which is twice as fast as so many
 * lua_setfield(); profile.lua has the same order. */
void ntl_push_profile(lua_State* L, ntl_state_t* s, const nt_profile_t* profile,
                      int high_performance) {
  int base = lua_gettop(L) + 1;

  ntl_push_ref(L, s->handlers[NTL_ON_PROFILE]);
  push_instants(L, profile);
  lua_pushnumber(L, profile->rtt_ms);
  lua_pushnumber(L, profile->http_rtt_ms);
  lua_pushnumber(L, profile->throughput_kbps);
  lua_pushstring(L, profile->protocol);
  lua_pushstring(L, profile->peer_ip);
  lua_pushinteger(L, profile->peer_port);
  lua_pushboolean(L, profile->reused);
  ntl_pushunsigned64(L, profile->bytes_sent);
  ntl_pushunsigned64(L, profile->bytes_received);
  push_cache(L, profile->cache);
  lua_pushboolean(L, high_performance);
  lua_call(L, lua_gettop(L) - base, 1);
}

/* ---- For the Lua layer -------------------------------------------------- */

static const char* table_type(lua_State* L, int idx) {
  bool is_array = ntl_rawlen(L, idx) > 0;

  if (!is_array && lua_getmetatable(L, idx)) {
    luaL_getmetatable(L, NTL_ARRAY);
    is_array = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  return is_array ? "Array" : "Object";
}

/* core.typeName(value): as parameter errors call it. */
static int type_name(lua_State* L) {
  const char* name = "Object";

  switch (lua_type(L, 1)) {
    case LUA_TNONE:
    case LUA_TNIL:
      name = "Undefined";
      break;
    case LUA_TSTRING:
      name = "String";
      break;
    case LUA_TNUMBER:
      name = "Number";
      break;
    case LUA_TBOOLEAN:
      name = "Boolean";
      break;
    case LUA_TFUNCTION:
      name = "Function";
      break;
    case LUA_TTABLE:
      name = table_type(L, 1);
      break;
    case LUA_TUSERDATA:
      if (ntl_buffer_test(L, 1, NULL) != NULL)
        name = "ArrayBuffer";
      else if (ntl_json_isnull(L, 1))
        name = "Null";
      break;
    default:
      break;
  }
  lua_pushstring(L, name);
  return 1;
}

/* core.decode: the ways to make data of a body. */
static void push_decode(lua_State* L) {
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, NTL_DECODE_TEXT);
  lua_setfield(L, -2, "text");
  lua_pushinteger(L, NTL_DECODE_JSON);
  lua_setfield(L, -2, "json");
  lua_pushinteger(L, NTL_DECODE_BASE64);
  lua_setfield(L, -2, "base64");
  lua_pushinteger(L, NTL_DECODE_BUFFER);
  lua_setfield(L, -2, "arraybuffer");
}

void ntl_convert_open(lua_State* L, ntl_state_t* s) {
  lua_pushcfunction(L, type_name);
  lua_setfield(L, -2, "typeName");
  push_decode(L);
  lua_setfield(L, -2, "decode");
  lua_getfield(L, LUA_REGISTRYINDEX, NTL_ARRAY);
  s->array_meta = ntl_new_ref(L);
  make_header_meta(L);
  s->header_meta = ntl_new_ref(L);
  make_repeats(L);
  s->repeats = ntl_new_ref(L);
}
