/* JSON between Lua values and jansson's trees. Runs on the thread that owns
 * the lua_State.
 *
 * A tree is malloc'd memory, and almost every Lua call may raise (no memory).
 * So each conversion is a job on the C stack: what it owns is in the job, the
 * Lua part runs in a protected call, and the job is emptied afterwards
 * whatever happened. The call finds its job through a cell, a userdata that
 * all jobs of a Lua state share; a finaliser may start another job in the
 * middle: hence the saved value in run_job(), and runner() reads it first.
 *
 * The mapping: an array is a table with the keys 1..n and nothing else; {} is
 * an object; the metatable "nettask.array" makes an empty table an array, and
 * every decoded array has it, so that it comes back as what it was. That
 * metatable is not locked: scripts copy and replace metatables of plain data.
 * Tables are read raw, metamethods are not called. */
#include "ljson.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "compat.h"
#include "lbuffer.h"
#include "ltext.h"

/* Registry key of the closure that runs jobs. */
#define NTL_JSON_RUNNER "nettask.json"

/* Upvalues of the runner. */
enum {
  UP_CELL = 1,
  UP_NULL = 2,
  UP_ARRAY = 3
};

/* Bytes of a path in a message, about. */
#define PATH_MAX_BYTES 160

typedef struct job job_t;

struct job {
  int (*run)(lua_State* L, job_t* job); /* its results are the job's */
  json_t* root;
  char* text;
  const char* name; /* what messages call the value */
  int precision;    /* digits that the reals written so far need */
  bool refused;     /* the value has no JSON form: the message is on top */
};

typedef struct {
  job_t* job;
} cell_t;

static int runner(lua_State* L) {
  cell_t* cell = lua_touserdata(L, lua_upvalueindex(UP_CELL));
  job_t* job = cell->job; /* before anything that may run a finaliser */

  return job->run(L, job);
}

/* Push the runner, and return the cell. Everything here that may raise comes
 * before the caller owns memory. */
static cell_t* push_runner(lua_State* L) {
  cell_t* cell;

  luaL_checkstack(L, LUA_MINSTACK, "JSON");
  lua_getfield(L, LUA_REGISTRYINDEX, NTL_JSON_RUNNER);
  lua_getupvalue(L, -1, UP_CELL);
  cell = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return cell;
}

/* jansson's memory belongs to the allocator that the process gave it. */
static void free_text(char* text) {
  json_malloc_t allocate;
  json_free_t release;

  json_get_alloc_funcs(&allocate, &release);
  release(text);
}

/* Call the runner, below `args` arguments on the stack, and free what the job
 * owns. Returns the number of results, or raises what the job raised. */
static int run_job(lua_State* L, cell_t* cell, job_t* job, int args) {
  int base = lua_gettop(L) - args - 1;
  job_t* outer = cell->job;
  int status;

  cell->job = job;
  status = lua_pcall(L, args, LUA_MULTRET, 0);
  cell->job = outer;
  json_decref(job->root);
  if (job->text)
    free_text(job->text);
  if (status != LUA_OK)
    return lua_error(L);
  return lua_gettop(L) - base;
}

static bool is_array(lua_State* L, int idx) {
  bool marked;

  if (!lua_getmetatable(L, idx))
    return false;
  marked = lua_rawequal(L, -1, lua_upvalueindex(UP_ARRAY));
  lua_pop(L, 1);
  return marked;
}

/* Decoding */

static bool push_node(lua_State* L, json_t* node, int depth);

static bool push_object(lua_State* L, json_t* object, int depth) {
  void* iter = json_object_iter(object);

  lua_createtable(L, 0, (int) json_object_size(object));
  for (; iter; iter = json_object_iter_next(object, iter)) {
    lua_pushstring(L, json_object_iter_key(iter));
    if (!push_node(L, json_object_iter_value(iter), depth))
      return false;
    lua_rawset(L, -3);
  }
  return true;
}

static bool push_array(lua_State* L, json_t* array, int depth) {
  int count = (int) json_array_size(array);

  lua_createtable(L, count, 0);
  lua_pushvalue(L, lua_upvalueindex(UP_ARRAY));
  lua_setmetatable(L, -2);
  for (int i = 0; i < count; i++) {
    if (!push_node(L, json_array_get(array, (size_t) i), depth))
      return false;
    lua_rawseti(L, -2, i + 1);
  }
  return true;
}

/* False when `node`, with `depth` containers around it, is too deep. */
static bool push_node(lua_State* L, json_t* node, int depth) {
  if (depth >= NTL_JSON_DEPTH && (json_is_object(node) || json_is_array(node)))
    return false;
  luaL_checkstack(L, 4, "JSON");
  switch (json_typeof(node)) {
    case JSON_OBJECT:
      return push_object(L, node, depth + 1);
    case JSON_ARRAY:
      return push_array(L, node, depth + 1);
    case JSON_STRING:
      lua_pushlstring(L, json_string_value(node), json_string_length(node));
      return true;
    case JSON_INTEGER:
      ntl_pushinteger64(L, json_integer_value(node));
      return true;
    case JSON_REAL:
      lua_pushnumber(L, (lua_Number) json_real_value(node));
      return true;
    case JSON_TRUE:
    case JSON_FALSE:
      lua_pushboolean(L, json_is_true(node));
      return true;
    case JSON_NULL:
      break;
  }
  lua_pushvalue(L, lua_upvalueindex(UP_NULL));
  return true;
}

static int decode_job(lua_State* L, job_t* job) {
  if (push_node(L, job->root, 0))
    return 1;
  lua_pushnil(L);
  lua_pushfstring(L, "nested deeper than %d levels", NTL_JSON_DEPTH);
  return 2;
}

/* Whether the digits are beyond a signed 64-bit integer. */
static bool overflows(const char* digits, size_t count, bool negative) {
  const char* limit = negative ? "9223372036854775808" : "9223372036854775807";

  return count > 19 || (count == 19 && memcmp(digits, limit, 19) > 0);
}

/* Copy one number, and give an integer that is too large a fraction. Returns
 * its size in the input. */
static size_t copy_number(const char* in, const char* end, char** out) {
  bool negative = *in == '-';
  const char* digits = in + negative;
  const char* p = digits;
  size_t size;

  while (p < end && *p >= '0' && *p <= '9')
    p++;
  size = (size_t) (p - digits);
  while (p < end && *p && strchr("0123456789+-.eE", *p))
    p++;
  memcpy(*out, in, (size_t) (p - in));
  *out += p - in;
  if (p == digits + size && overflows(digits, size, negative)) {
    memcpy(*out, ".0", 2);
    *out += 2;
  }
  return (size_t) (p - in);
}

/* jansson refuses a text for one integer beyond 64 bits, or turns all of them
 * into reals. This makes reals of the large ones only: a copy of the text in
 * which they have ".0" appended. NULL when there is no memory. */
static char* widen_integers(const char* bytes, size_t size, size_t* out_size) {
  const char* end = bytes + size;
  char* text = malloc(size + size / 9 + 1); /* 19 digits grow by 2 at most */
  char* out = text;
  bool quoted = false;

  if (!text)
    return NULL;
  for (const char* p = bytes; p < end;) {
    if (!quoted && (*p == '-' || (*p >= '0' && *p <= '9'))) {
      p += copy_number(p, end, &out);
      continue;
    }
    if (*p == '"')
      quoted = !quoted;
    if (quoted && *p == '\\' && p + 1 < end)
      *out++ = *p++;
    *out++ = *p++;
  }
  *out_size = (size_t) (out - text);
  return text;
}

static json_t* parse(const char* bytes, size_t size, json_error_t* error) {
  const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
  json_t* root = json_loadb(bytes, size, flags, error);
  char* text;

  if (root || json_error_code(error) != json_error_numeric_overflow)
    return root;
  text = widen_integers(bytes, size, &size);
  if (!text)
    return NULL;
  root = json_loadb(text, size, flags, error);
  free(text);
  return root;
}

/* A mark at the start is tolerated (RFC 8259, 8.1). */
static void skip_bom(const char** bytes, size_t* size) {
  if (*size >= 3 && memcmp(*bytes, "\xEF\xBB\xBF", 3) == 0) {
    *bytes += 3;
    *size -= 3;
  }
}

int ntl_json_push(lua_State* L, const char* bytes, size_t size) {
  job_t job = { decode_job, NULL, NULL, NULL, 0, false };
  cell_t* cell = push_runner(L);
  json_error_t error;

  skip_bom(&bytes, &size);
  job.root = parse(bytes, size, &error);
  if (job.root)
    return run_job(L, cell, &job, 0);
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_pushfstring(L, "%s (line %d, column %d)", error.text, error.line,
                  error.column);
  return 2;
}

/* core.jsonDecode(string | Buffer) -> value | nil, message */
int ntl_json_decode(lua_State* L) {
  size_t size;
  const char* bytes = ntl_bytes_check(L, 1, &size);

  return ntl_json_push(L, bytes, size);
}

/* Encoding */

/* A container that is being written, and how far. Linked from the innermost
 * outwards, which gives messages their path and finds cycles. */
typedef struct frame frame_t;

struct frame {
  const frame_t* outer; /* NULL: the outermost container */
  json_t* node;
  const void* table;
  int depth;
  const char* key; /* of the value at hand; NULL in an array: then `index` */
  size_t key_size;
  int index;
};

static void add_key(luaL_Buffer* path, const char* key, size_t size) {
  bool plain = size > 0 && size <= 40 && !(key[0] >= '0' && key[0] <= '9');

  for (size_t i = 0; i < size && plain; i++) {
    char c = key[i];

    plain = c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c >= '0' && c <= '9');
  }
  luaL_addstring(path, plain ? "." : "[\"");
  for (size_t i = 0; i < size && i < 40; i++) {
    char c = key[i];

    /* '?' for what would spoil a line of a log. */
    luaL_addchar(path, (char) (c >= 32 && c < 127 ? c : '?'));
  }
  if (!plain)
    luaL_addstring(path, "\"]");
}

static void add_index(luaL_Buffer* path, int index) {
  char text[16];

  snprintf(text, sizeof(text), "[%d]", index);
  luaL_addstring(path, text);
}

/* Push the place of the value at hand: "data.list[3]". */
static void push_path(lua_State* L, const job_t* job, const frame_t* frame) {
  const frame_t* steps[NTL_JSON_DEPTH];
  int count = 0;
  size_t used = 0;
  luaL_Buffer path;

  for (; frame && count < NTL_JSON_DEPTH; frame = frame->outer)
    steps[count++] = frame;
  luaL_buffinit(L, &path);
  luaL_addstring(&path, job->name);
  while (count > 0 && used < PATH_MAX_BYTES) {
    const frame_t* step = steps[--count];

    if (step->key)
      add_key(&path, step->key, step->key_size);
    else
      add_index(&path, step->index);
    used += step->key ? step->key_size + 1 : 4;
  }
  if (count > 0)
    luaL_addstring(&path, "...");
  luaL_pushresult(&path);
}

/* Leave "<path>: <what>" on top, `what` being there. */
static bool refuse(lua_State* L, job_t* job, const frame_t* frame) {
  luaL_checkstack(L, LUA_MINSTACK, "JSON");
  push_path(L, job, frame);
  lua_pushliteral(L, ": ");
  lua_pushvalue(L, -3);
  lua_concat(L, 3);
  job->refused = true;
  return false;
}

static bool refuse_text(lua_State* L, job_t* job, const frame_t* frame,
                        const char* what) {
  lua_pushstring(L, what);
  return refuse(L, job, frame);
}

/* Hand a new node to the container at hand, or make it the root. Everything
 * is attached before it is filled, so the root owns it all. */
static bool attach(job_t* job, const frame_t* frame, json_t* node) {
  if (!node)
    return false;
  if (!frame)
    job->root = node;
  else if (json_is_array(frame->node))
    return json_array_append_new(frame->node, node) == 0;
  else
    return json_object_set_new_nocheck(frame->node, frame->key, node) == 0;
  return true;
}

/* The fewest digits, 15 to 17, that read back as the same double. */
static int digits_needed(double number) {
  char text[40];

  for (int digits = 15; digits < 17; digits++) {
    snprintf(text, sizeof(text), "%.*g", digits, number);
    if (strtod(text, NULL) == number)
      return digits;
  }
  return 17;
}

/* Whether the number is written without a fraction. */
static bool is_whole(lua_State* L, int idx, int64_t* integer) {
#if LUA_VERSION_NUM >= 503
  if (!lua_isinteger(L, idx) && fabs(lua_tonumber(L, idx)) >= NTL_MAX_EXACT)
    return false;
#else
  if (fabs(lua_tonumber(L, idx)) >= NTL_MAX_EXACT)
    return false;
#endif
  return ntl_toint64(L, idx, integer);
}

/* jansson writes all reals of a text with one precision, so that becomes what
 * the most demanding of them needs. */
static bool write_number(lua_State* L, job_t* job, const frame_t* frame) {
  double number = (double) lua_tonumber(L, -1);
  int64_t integer;
  int digits;

  if (!isfinite(number))
    return refuse_text(L, job, frame, "NaN and Infinity are not JSON");
  if (is_whole(L, -1, &integer))
    return attach(job, frame, json_integer((json_int_t) integer));
  digits = digits_needed(number);
  if (digits > job->precision)
    job->precision = digits;
  return attach(job, frame, json_real(number));
}

static bool write_string(lua_State* L, job_t* job, const frame_t* frame) {
  size_t size, bad_at;
  const char* text = lua_tolstring(L, -1, &size);

  if (ntl_utf8_valid(text, size, &bad_at))
    return attach(job, frame, json_stringn_nocheck(text, size));
  lua_pushfstring(L, "invalid UTF-8 at byte %d", (int) bad_at + 1);
  return refuse(L, job, frame);
}

/* The text of a number used as a key. */
static bool format_key(lua_State* L, int idx, char* text, size_t capacity) {
  double number = (double) lua_tonumber(L, idx);
  int64_t integer;
  char* comma;

  if (!isfinite(number))
    return false;
  if (is_whole(L, idx, &integer)) {
    snprintf(text, capacity, "%lld", (long long) integer);
    return true;
  }
  snprintf(text, capacity, "%.*g", digits_needed(number), number);
  comma = strchr(text, ','); /* the host's locale */
  if (comma)
    *comma = '.';
  return true;
}

/* Read the key below the value on top into the frame; `text` is room for a
 * number. */
static bool take_key(lua_State* L, job_t* job, frame_t* frame, char* text,
                     size_t capacity) {
  int type = lua_type(L, -2);

  if (type == LUA_TNUMBER) {
    if (!format_key(L, -2, text, capacity))
      return refuse_text(L, job, frame->outer,
                         "an infinite number cannot be a key");
    frame->key = text;
    frame->key_size = strlen(text);
    return true;
  }
  if (type != LUA_TSTRING) {
    lua_pushfstring(L, "a %s cannot be a key", ntl_typename(L, -2));
    return refuse(L, job, frame->outer);
  }
  frame->key = lua_tolstring(L, -2, &frame->key_size);
  if (!ntl_utf8_valid(frame->key, frame->key_size, NULL))
    return refuse_text(L, job, frame, "the key is not valid UTF-8");
  if (memchr(frame->key, 0, frame->key_size)) /* nor does jansson read it */
    return refuse_text(L, job, frame, "a key with a zero byte");
  return true;
}

static bool write_value(lua_State* L, job_t* job, const frame_t* frame);

static bool fill_object(lua_State* L, job_t* job, frame_t* frame) {
  int table = lua_gettop(L);
  size_t count = 0;
  char number[40];

  lua_pushnil(L);
  for (; lua_next(L, table); count++) {
    if (!take_key(L, job, frame, number, sizeof(number)))
      return false;
    if (!write_value(L, job, frame))
      return false;
    lua_pop(L, 1);
  }
  if (count == json_object_size(frame->node))
    return true;
  return refuse_text(L, job, frame->outer,
                     "a number and a string are the same key");
}

static bool fill_array(lua_State* L, job_t* job, frame_t* frame, int count) {
  for (int i = 1; i <= count; i++) {
    frame->index = i;
    lua_rawgeti(L, -1, i);
    if (!write_value(L, job, frame))
      return false;
    lua_pop(L, 1);
  }
  return true;
}

/* How many elements the table on top has when its keys are 1..n and nothing
 * else, otherwise -1. */
static int count_elements(lua_State* L) {
  int64_t length = (int64_t) ntl_rawlen(L, -1);
  int64_t count = 0;

  lua_pushnil(L);
  while (lua_next(L, -2)) {
    int64_t key;

    lua_pop(L, 1);
    if (!ntl_toint64(L, -1, &key) || key < 1 || key > length ||
        count == INT32_MAX) {
      lua_pop(L, 1);
      return -1;
    }
    count++;
  }
  return count == length ? (int) count : -1;
}

/* What keeps the table from being written where it is, or NULL. */
static const char* table_fault(const frame_t* outer, const void* table) {
  for (const frame_t* frame = outer; frame; frame = frame->outer) {
    if (frame->table == table)
      return "a cycle: the table contains itself";
  }
  if (outer && outer->depth >= NTL_JSON_DEPTH)
    return "nested too deep (128 levels at most)";
  return NULL;
}

static bool write_table(lua_State* L, job_t* job, const frame_t* outer) {
  const void* table = lua_topointer(L, -1);
  frame_t frame = {
    outer, NULL, table, outer ? outer->depth + 1 : 1, NULL, 0, 0
  };
  const char* fault = table_fault(outer, table);
  bool marked = is_array(L, -1);
  int count = fault ? 0 : count_elements(L);

  if (marked && count < 0)
    fault = "marked as an array, but its keys are not 1 to n";
  if (fault)
    return refuse_text(L, job, outer, fault);
  frame.node = count > 0 || marked ? json_array() : json_object();
  if (!attach(job, outer, frame.node))
    return false;
  if (json_is_array(frame.node))
    return fill_array(L, job, &frame, count);
  return fill_object(L, job, &frame);
}

/* Write the value on top. False: it was refused, with the message on top, or
 * there was no memory. */
static bool write_value(lua_State* L, job_t* job, const frame_t* frame) {
  luaL_checkstack(L, 8, "JSON");
  switch (lua_type(L, -1)) {
    case LUA_TTABLE:
      return write_table(L, job, frame);
    case LUA_TSTRING:
      return write_string(L, job, frame);
    case LUA_TNUMBER:
      return write_number(L, job, frame);
    case LUA_TBOOLEAN:
      return attach(job, frame, json_boolean(lua_toboolean(L, -1)));
    default:
      break;
  }
  if (lua_rawequal(L, -1, lua_upvalueindex(UP_NULL)))
    return attach(job, frame, json_null());
  lua_pushfstring(L, "a value of type %s has no JSON form",
                  ntl_typename(L, -1));
  return refuse(L, job, frame);
}

static int encode_job(lua_State* L, job_t* job) {
  size_t flags = JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY;

  if (write_value(L, job, NULL)) {
    flags |= JSON_REAL_PRECISION(job->precision);
    job->text = json_dumps(job->root, flags);
    if (job->text) {
      lua_pushstring(L, job->text);
      return 1;
    }
  }
  if (!job->refused)
    return luaL_error(L, "not enough memory");
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* core.jsonEncode(value [, name]) -> string | nil, message. `name` is what the
 * message calls the value: "data.list[3]: ...". */
int ntl_json_encode(lua_State* L) {
  job_t job = { encode_job, NULL, NULL, NULL, 0, false };
  cell_t* cell;

  luaL_checkany(L, 1);
  job.name = luaL_optstring(L, 2, "data");
  cell = push_runner(L);
  lua_pushvalue(L, 1);
  return run_job(L, cell, &job, 1);
}

/* null and array */

void ntl_json_pushnull(lua_State* L) {
  lua_getfield(L, LUA_REGISTRYINDEX, NTL_JSON_RUNNER);
  lua_getupvalue(L, -1, UP_NULL);
  lua_remove(L, -2);
}

bool ntl_json_isnull(lua_State* L, int idx) {
  return ntl_testudata(L, idx, NTL_NULL) != NULL;
}

static int null_tostring(lua_State* L) {
  lua_pushliteral(L, "null");
  return 1;
}

/* core.array([table]) -> the table, marked as an array */
static int array_mark(lua_State* L) {
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_newtable(L);
    lua_replace(L, 1);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_getmetatable(L, NTL_ARRAY);
  if (lua_getmetatable(L, 1) && !lua_rawequal(L, -1, -2))
    return luaL_argerror(L, 1, "the table has a metatable");
  lua_settop(L, 2);
  lua_setmetatable(L, 1);
  return 1;
}

/* Push the null value, the one userdata of its type. */
static void new_null(lua_State* L) {
  ntl_newuserdata(L, 0, 0);
  ntl_newmetatable(L, NTL_NULL);
  lua_pushcfunction(L, null_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_setmetatable(L, -2);
}

static void new_array_metatable(lua_State* L) {
  luaL_newmetatable(L, NTL_ARRAY);
  lua_pushliteral(L, NTL_ARRAY);
  lua_setfield(L, -2, "__name");
}

/* Make the runner, unless this Lua state has it. */
static void open_runner(lua_State* L) {
  cell_t* cell;

  if (ntl_getfield(L, LUA_REGISTRYINDEX, NTL_JSON_RUNNER) == LUA_TNIL) {
    cell = ntl_newuserdata(L, sizeof(*cell), 0);
    cell->job = NULL;
    new_null(L);
    new_array_metatable(L);
    lua_pushcclosure(L, runner, 3);
    lua_setfield(L, LUA_REGISTRYINDEX, NTL_JSON_RUNNER);
  }
  lua_pop(L, 1);
}

int ntl_json_open(lua_State* L) {
  static const luaL_Reg functions[] = {
    { "jsonEncode", ntl_json_encode },
    { "jsonDecode", ntl_json_decode },
    { "array", array_mark },
    { NULL, NULL },
  };

  open_runner(L);
  ntl_setfuncs(L, functions);
  ntl_json_pushnull(L);
  lua_setfield(L, -2, "null");
  return 0;
}
