/* Reading a request out of libwebsockets' header table.
 *
 * The table is sure to be there only while the headers are being handled, so
 * everything is copied out then. Surprising: the path and the query arguments
 * come percent-decoded, and libwebsockets before 4.3 finds a header that it
 * does not know by name only; see each_custom(). */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

/* ---- Method and query -------------------------------------------------- */

const char* request_method(struct lws* wsi) {
  static const struct {
    enum lws_token_indexes token;
    const char* name;
  } methods[] = {
    { WSI_TOKEN_GET_URI, "GET" },       { WSI_TOKEN_POST_URI, "POST" },
    { WSI_TOKEN_PUT_URI, "PUT" },       { WSI_TOKEN_PATCH_URI, "PATCH" },
    { WSI_TOKEN_DELETE_URI, "DELETE" }, { WSI_TOKEN_OPTIONS_URI, "OPTIONS" },
    { WSI_TOKEN_HEAD_URI, "HEAD" },
  };
  size_t i;

  for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
    if (lws_hdr_total_length(wsi, methods[i].token) > 0)
      return methods[i].name;
  return "";
}

/* The index-th argument, decoded and malloc'd, or NULL after the last. */
static char* copy_arg(struct lws* wsi, int index, size_t* size) {
  int length = lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, index);
  char* arg;

  if (length <= 0)
    return NULL;
  arg = malloc((size_t) length + 1);
  if (arg == NULL)
    return NULL;
  length = lws_hdr_copy_fragment(wsi, arg, length + 1, WSI_TOKEN_HTTP_URI_ARGS,
                                 index);
  if (length < 0) {
    free(arg);
    return NULL;
  }
  *size = (size_t) length;
  return arg;
}

const char* request_arg(struct lws* wsi, const char* name, char* out,
                        size_t size) {
  size_t name_size = strlen(name), arg_size;
  int i = 0;
  char* arg;

  while ((arg = copy_arg(wsi, i++, &arg_size)) != NULL) {
    int found = arg_size > name_size && arg[name_size] == '=' &&
                memcmp(arg, name, name_size) == 0;
    int fits = found && arg_size - name_size <= size;

    if (fits)
      memcpy(out, arg + name_size + 1, arg_size - name_size);
    free(arg);
    if (found)
      return fits ? out : NULL;
  }
  return NULL;
}

uint64_t request_number(struct lws* wsi, const char* name, uint64_t fallback) {
  char text[24];
  char* end;
  unsigned long long number;

  if (request_arg(wsi, name, text, sizeof(text)) == NULL)
    return fallback;
  number = strtoull(text, &end, 10);
  return *text != '\0' && *end == '\0' ? number : fallback;
}

static char* encode(char* out, const char* bytes, size_t size) {
  static const char plain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()";
  static const char hex[] = "0123456789ABCDEF";
  size_t i;

  for (i = 0; i < size; i++) {
    unsigned char c = (unsigned char) bytes[i];

    if (c != 0 && strchr(plain, c) != NULL) {
      *out++ = (char) c;
    } else {
      *out++ = '%';
      *out++ = hex[c >> 4];
      *out++ = hex[c & 15];
    }
  }
  return out;
}

/* Encodes one decoded "name=value"; its first "=" is the separator. */
static char* encode_arg(char* out, const char* arg, size_t size) {
  const char* equals = memchr(arg, '=', size);
  size_t name_size = equals ? (size_t) (equals - arg) : size;

  out = encode(out, arg, name_size);
  if (equals != NULL) {
    *out++ = '=';
    out = encode(out, equals + 1, size - name_size - 1);
  }
  return out;
}

char* request_query(struct lws* wsi) {
  int total = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_URI_ARGS);
  char* query = malloc((size_t) (total > 0 ? total : 0) * 3 + 1);
  char* out = query;
  char* arg;
  size_t size;
  int i = 0;

  if (query == NULL)
    return NULL;
  while ((arg = copy_arg(wsi, i, &size)) != NULL) {
    if (i++ > 0)
      *out++ = '&';
    out = encode_arg(out, arg, size);
    free(arg);
  }
  *out = '\0';
  return query;
}

/* ---- JSON of what was read --------------------------------------------- */

static json_t* json_latin1(const char* bytes, size_t size) {
  char* text = malloc(size * 2 + 1);
  size_t used = 0, i;
  json_t* value;

  if (text == NULL)
    return NULL;
  for (i = 0; i < size; i++) {
    unsigned char c = (unsigned char) bytes[i];

    if (c < 0x80) {
      text[used++] = (char) c;
    } else {
      text[used++] = (char) (0xC0 | c >> 6);
      text[used++] = (char) (0x80 | (c & 0x3F));
    }
  }
  value = json_stringn(text, used);
  free(text);
  return value;
}

json_t* json_bytes(const char* bytes, size_t size) {
  json_t* value = json_stringn(bytes, size);

  return value ? value : json_latin1(bytes, size);
}

/* Sets object[name] = value where the name is not NUL-terminated. */
static void set_pair(json_t* object, const char* name, size_t name_size,
                     const char* value, size_t value_size) {
  json_t* key = json_bytes(name, name_size);

  if (key != NULL)
    json_object_set_new(object, json_string_value(key),
                        json_bytes(value, value_size));
  json_decref(key);
}

/* "name=value", or a name alone. */
static void set_assignment(json_t* object, const char* text, size_t size) {
  const char* equals = memchr(text, '=', size);
  size_t name_size = equals ? (size_t) (equals - text) : size;
  const char* value = equals ? equals + 1 : "";

  set_pair(object, text, name_size, value, equals ? size - name_size - 1 : 0);
}

json_t* request_args(struct lws* wsi) {
  json_t* args = json_object();
  char* arg;
  size_t size;
  int i = 0;

  while ((arg = copy_arg(wsi, i++, &size)) != NULL) {
    set_assignment(args, arg, size);
    free(arg);
  }
  return args;
}

/* ---- Headers ----------------------------------------------------------- */

static char* copy_token(struct lws* wsi, enum lws_token_indexes token) {
  int length = lws_hdr_total_length(wsi, token);
  char* value;

  if (length <= 0)
    return NULL;
  value = malloc((size_t) length + 1);
  if (value != NULL && lws_hdr_copy(wsi, value, length + 1, token) < 0) {
    free(value);
    value = NULL;
  }
  return value;
}

static void add_known(struct lws* wsi, json_t* headers) {
  int token;

  for (token = 0; token < WSI_TOKEN_COUNT; token++) {
    const char* name = (const char*) lws_token_to_string(token);
    size_t size = name ? strlen(name) : 0;
    char* value;

    /* The table also holds methods, "get ", and pseudo-headers, ":path". */
    if (size < 2 || name[0] == ':' || name[size - 1] != ':')
      continue;
    value = copy_token(wsi, token);
    if (value != NULL)
      set_pair(headers, name, size - 1, value, strlen(value));
    free(value);
  }
}

/* `name` ends with its colon and may be followed by anything. */
static void add_custom(struct lws* wsi, json_t* headers, const char* name,
                       int size) {
  int length = lws_hdr_custom_length(wsi, name, size);
  char* value;

  if (length < 0)
    return;
  value = malloc((size_t) length + 1);
  if (value != NULL &&
      lws_hdr_custom_copy(wsi, value, length + 1, name, size) >= 0)
    set_pair(headers, name, (size_t) size - 1, value, (size_t) length);
  free(value);
}

#if LWS_LIBRARY_VERSION_NUMBER >= 4003000

struct custom_walk {
  struct lws* wsi;
  json_t* headers;
};

static void on_custom(const char* name, int size, void* arg) {
  struct custom_walk* walk = arg;

  add_custom(walk->wsi, walk->headers, name, size);
}

static void each_custom(struct lws* wsi, json_t* headers) {
  struct custom_walk walk;

  walk.wsi = wsi;
  walk.headers = headers;
  lws_hdr_custom_name_foreach(wsi, on_custom, &walk);
}

#else

static void add_named(struct lws* wsi, json_t* headers, const char* name,
                      size_t size) {
  char lower[128];
  size_t i;

  if (size == 0 || size + 2 > sizeof(lower))
    return;
  for (i = 0; i < size; i++)
    lower[i] = (char) tolower((unsigned char) name[i]);
  lower[size] = ':';
  lower[size + 1] = '\0';
  add_custom(wsi, headers, lower, (int) size + 1);
}

/* Comma-separated names. */
static void add_list(struct lws* wsi, json_t* headers, const char* names) {
  while (*names != '\0') {
    size_t size = strcspn(names, ",");

    add_named(wsi, headers, names, size);
    names += size + (names[size] == ',');
  }
}

/* Older versions keep the headers that they do not know, but find them by name
 * only: these few, and those that the query argument `names` lists. */
static void each_custom(struct lws* wsi, json_t* headers) {
  static const char usual[] =
      "x-requested-with,x-request-id,x-api-key,x-test,x-custom,x-a,x-b,x-c,"
      "x-empty,x-number,x-bool,x-list,x-token,x-nettask,upgrade-insecure-"
      "requests,priority,dnt,accept-datetime,idempotency-key,traceparent";
  char names[1024];

  add_list(wsi, headers, usual);
  if (request_arg(wsi, "names", names, sizeof(names)) != NULL)
    add_list(wsi, headers, names);
}

#endif

json_t* request_headers(struct lws* wsi) {
  json_t* headers = json_object();

  add_known(wsi, headers);
  each_custom(wsi, headers);
  return headers;
}

json_t* request_cookies(struct lws* wsi) {
  json_t* cookies = json_object();
  char* line = copy_token(wsi, WSI_TOKEN_HTTP_COOKIE);
  char* at = line;

  while (at != NULL && *at != '\0') {
    size_t size;

    at += strspn(at, "; ");
    size = strcspn(at, ";");
    if (size > 0)
      set_assignment(cookies, at, size);
    at += size;
  }
  free(line);
  return cookies;
}
