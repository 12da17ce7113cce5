/* What the server answers: the table of routes, and a short function for each.
 *
 * A route's begin() runs when the headers are there and may read the request;
 * finish() runs when the body is there too. Both only fill in ex->reply. A
 * path that ends with "/" takes a number behind it. */

#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "server.h"

#define MAX_BYTES ((uint64_t) 4 << 30)
#define MAX_MS ((uint64_t) 10 * 60 * 1000)
#define MAX_CHUNK_BYTES ((uint64_t) 128 << 10)

static void bad_request(exchange_t* ex, const char* message) {
  reply_error(&ex->reply, 400, message);
}

static uint64_t clamp(uint64_t number, uint64_t most) {
  return number < most ? number : most;
}

static uint32_t arg_ms(exchange_t* ex, const char* name) {
  return (uint32_t) clamp(request_number(ex->wsi, name, 0), MAX_MS);
}

/* ---- Bodies of the pattern --------------------------------------------- */

static void begin_bytes(exchange_t* ex, uint64_t number) {
  if (number > MAX_BYTES) {
    bad_request(ex, "at most 4 GiB");
    return;
  }
  ex->reply.type = "application/octet-stream";
  ex->reply.length = number;
}

static void begin_chunks(exchange_t* ex, uint64_t number) {
  uint64_t size = request_number(ex->wsi, "size", 1024);

  if (size == 0 || size > MAX_CHUNK_BYTES || number > MAX_BYTES / size) {
    bad_request(ex, "size must be 1 to 131072, and all of it at most 4 GiB");
    return;
  }
  ex->reply.type = "application/octet-stream";
  ex->reply.framing = REPLY_CHUNKED;
  ex->reply.step = size;
  ex->reply.length = number * size;
  ex->reply.every_ms = arg_ms(ex, "every");
}

static void begin_drip(exchange_t* ex, uint64_t number) {
  begin_bytes(ex, number);
  ex->reply.step = 1;
  ex->reply.every_ms = arg_ms(ex, "every");
}

static void begin_small(exchange_t* ex, uint64_t number) {
  static char body[1024];

  (void) number;
  if (body[0] == '\0')
    memset(body, 'x', sizeof(body));
  ex->reply.type = "application/octet-stream";
  ex->reply.fixed = body;
  ex->reply.length = sizeof(body);
}

/* ---- Status, time, redirects ------------------------------------------- */

static void begin_status(exchange_t* ex, uint64_t number) {
  char text[32];

  if (number < 200 || number > 599) {
    bad_request(ex, "a status is 200 to 599");
    return;
  }
  snprintf(text, sizeof(text), "status %d\n", (int) number);
  reply_text(&ex->reply, (int) number, text);
}

static void begin_delay(exchange_t* ex, uint64_t number) {
  char text[48];

  ex->reply.delay_ms = (uint32_t) clamp(number, MAX_MS);
  snprintf(text, sizeof(text), "%u ms later\n", ex->reply.delay_ms);
  reply_text(&ex->reply, 200, text);
}

static void redirect(exchange_t* ex, int status, const char* url) {
  if (reply_field(&ex->reply, "Location", url) < 0)
    bad_request(ex, "url has control characters");
  else
    reply_text(&ex->reply, status, "moved\n");
}

static void begin_redirect(exchange_t* ex, uint64_t number) {
  char url[48];

  if (number > 1)
    snprintf(url, sizeof(url), "/redirect/%llu",
             (unsigned long long) number - 1);
  else
    snprintf(url, sizeof(url), "/echo");
  redirect(ex, 302, url);
}

static void begin_redirect_to(exchange_t* ex, uint64_t number) {
  char url[2048];
  uint64_t status = request_number(ex->wsi, "status", 302);

  (void) number;
  if (request_arg(ex->wsi, "url", url, sizeof(url)) == NULL)
    bad_request(ex, "url is missing");
  else if (status < 300 || status > 399)
    bad_request(ex, "status must be 300 to 399");
  else
    redirect(ex, (int) status, url);
}

/* ---- For caches -------------------------------------------------------- */

/* Whoever has this already is told so. */
static int has_tag(exchange_t* ex, const char* tag) {
  char condition[64];

  return lws_hdr_copy(ex->wsi, condition, sizeof(condition),
                      WSI_TOKEN_HTTP_IF_NONE_MATCH) > 0 &&
         strcmp(condition, tag) == 0;
}

static void begin_cached(exchange_t* ex, uint64_t number) {
  static const char tag[] = "\"level-1\"";
  char control[48];

  snprintf(control, sizeof(control), "max-age=%llu",
           (unsigned long long) number);
  reply_field(&ex->reply, "ETag", tag);
  reply_field(&ex->reply, "Cache-Control", control);
  if (has_tag(ex, tag))
    ex->reply.status = 304;
  else
    reply_json(&ex->reply, 200, json_pack("{s:i}", "level", 1));
}

/* ---- Text -------------------------------------------------------------- */

static void begin_json(exchange_t* ex, uint64_t number) {
  (void) number;
  reply_json(&ex->reply, 200,
             json_pack("{s:s,s:[i,i,i],s:f,s:b,s:n,s:{s:s},s:[],s:I}", "hello",
                       "wörld", "list", 1, 2, 3, "half", 0.5, "yes", 1, "none",
                       "object", "key", "value", "empty", "big",
                       (json_int_t) 9007199254740991));
}

/* Converts one text that `charset` has all characters of. Returns its size. */
static size_t encode_sample(const char* charset, char* out, size_t size) {
  static const char* const samples[] = { "Grüße, 世界", "你好，世界",
                                         "Grüße aus Köln", "hello, world" };
  iconv_t converter = iconv_open(charset, "UTF-8");
  size_t used = 0, i;

  if (converter == (iconv_t) -1)
    return 0;
  for (i = 0; i < sizeof(samples) / sizeof(samples[0]) && used == 0; i++) {
    char sample[64];
    char *in = sample, *to = out;
    size_t in_left = strlen(samples[i]), out_left = size;

    memcpy(sample, samples[i], in_left);
    iconv(converter, NULL, NULL, NULL, NULL);
    if (iconv(converter, &in, &in_left, &to, &out_left) == 0)
      used = size - out_left;
  }
  iconv_close(converter);
  return used;
}

static int is_charset_name(const char* name) {
  return *name != '\0' &&
         strspn(name,
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                "0123456789-_") == strlen(name);
}

static void begin_text(exchange_t* ex, uint64_t number) {
  char charset[32], type[80];
  char* text = malloc(128);
  size_t used = 0;

  (void) number;
  if (request_arg(ex->wsi, "charset", charset, sizeof(charset)) == NULL)
    snprintf(charset, sizeof(charset), "utf-8");
  if (text != NULL && is_charset_name(charset))
    used = encode_sample(charset, text, 128);
  if (used == 0) {
    free(text);
    bad_request(ex, "unknown charset");
    return;
  }
  snprintf(type, sizeof(type), "text/plain; charset=%s", charset);
  reply_field(&ex->reply, "Content-Type", type);
  ex->reply.owned = text;
  ex->reply.length = used;
}

/* ---- Compression ------------------------------------------------------- */

static void begin_compressed(exchange_t* ex, const char* coding, int window) {
  static const char start[] = "{\"compressed\": true, \"filler\": \"";
  static const char end[] = "\"}\n";
  static char text[4096];
  char* out = malloc(sizeof(text));
  z_stream stream;

  memset(text, '.', sizeof(text));
  memcpy(text, start, sizeof(start) - 1);
  memcpy(text + sizeof(text) - (sizeof(end) - 1), end, sizeof(end) - 1);
  memset(&stream, 0, sizeof(stream));
  if (out == NULL || deflateInit2(&stream, 9, Z_DEFLATED, window, 8,
                                  Z_DEFAULT_STRATEGY) != Z_OK) {
    free(out);
    reply_error(&ex->reply, 500, "out of memory");
    return;
  }
  stream.next_in = (unsigned char*) text;
  stream.avail_in = sizeof(text);
  stream.next_out = (unsigned char*) out;
  stream.avail_out = sizeof(text);
  deflate(&stream, Z_FINISH);
  ex->reply.type = "application/json";
  ex->reply.owned = out;
  ex->reply.length = stream.total_out;
  deflateEnd(&stream);
  reply_field(&ex->reply, "Content-Encoding", coding);
}

static void begin_gzip(exchange_t* ex, uint64_t number) {
  (void) number;
  begin_compressed(ex, "gzip", MAX_WBITS + 16);
}

static void begin_deflate(exchange_t* ex, uint64_t number) {
  (void) number;
  begin_compressed(ex, "deflate", MAX_WBITS);
}

/* ---- Headers and cookies ----------------------------------------------- */

static void begin_headers(exchange_t* ex, uint64_t number) {
  (void) number;
  reply_field(&ex->reply, "X-Repeat", "one");
  reply_field(&ex->reply, "X-Repeat", "two, three");
  reply_field(&ex->reply, "x-MiXeD-cAsE", "Kept As Sent");
  reply_field(&ex->reply, "X-Empty", "");
  reply_field(&ex->reply, "Set-Cookie", "a=1; Path=/");
  reply_field(&ex->reply, "Set-Cookie",
              "b=2; Path=/; Expires=Wed, 01 Jan 2098 00:00:00 GMT");
  reply_text(&ex->reply, 200, "see the headers\n");
}

static void begin_cookies(exchange_t* ex, uint64_t number) {
  json_t* set = request_args(ex->wsi);
  const char* name;
  json_t* value;

  (void) number;
  json_object_foreach(set, name, value) {
    char cookie[512];

    snprintf(cookie, sizeof(cookie), "%s=%s; Path=/", name,
             json_string_value(value));
    reply_field(&ex->reply, "Set-Cookie", cookie);
  }
  json_decref(set);
  reply_json(&ex->reply, 200, request_cookies(ex->wsi));
}

/* ---- Echo -------------------------------------------------------------- */

static void begin_echo(exchange_t* ex, uint64_t number) {
  char* query = request_query(ex->wsi);

  (void) number;
  ex->document = json_object();
  json_object_set_new(ex->document, "method", json_string(ex->method));
  json_object_set_new(ex->document, "path",
                      json_bytes(ex->path, strlen(ex->path)));
  json_object_set_new(ex->document, "query", json_string(query ? query : ""));
  json_object_set_new(ex->document, "args", request_args(ex->wsi));
  json_object_set_new(ex->document, "headers", request_headers(ex->wsi));
  free(query);
}

/* ---- JSONP ------------------------------------------------------------- */

/* Nothing that could be more than the name of a function. */
static int is_function_name(const char* name) {
  return *name != '\0' &&
         strspn(name,
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                "0123456789_$.") == strlen(name);
}

static void begin_jsonp(exchange_t* ex, uint64_t number) {
  char name[128];
  json_t* args = request_args(ex->wsi);
  char* text = args == NULL ? NULL : json_dumps(args, JSON_COMPACT);
  size_t size = text == NULL ? 0 : strlen(text) + 2 * sizeof(name) + 64;
  char* script = malloc(size + 1);

  (void) number;
  if (request_arg(ex->wsi, "callback", name, sizeof(name)) == NULL ||
      !is_function_name(name)) {
    bad_request(ex, "callback must be the name of a function");
    free(script);
  } else if (script == NULL || text == NULL) {
    reply_error(&ex->reply, 500, "out of memory");
    free(script);
  } else {
    snprintf(script, size, "/**/ typeof %s === 'function' && %s(%s);\n", name,
             name, text);
    ex->reply.type = "text/javascript";
    ex->reply.owned = script;
    ex->reply.length = strlen(script);
  }
  free(text);
  json_decref(args);
}

/* What the samples of the platforms ask for, by other names. */
static void begin_audio(exchange_t* ex, uint64_t number) {
  (void) number;
  begin_bytes(ex, 65536);
  ex->reply.type = "audio/mpeg";
}

static json_t* json_base64(const char* bytes, size_t size) {
  size_t room = (size + 2) / 3 * 4 + 8; /* the encoder wants spare bytes */
  char* text = malloc(room);
  json_t* value = NULL;

  if (text != NULL &&
      lws_b64_encode_string(bytes, (int) size, text, (int) room) >= 0)
    value = json_string(text);
  free(text);
  return value;
}

static void finish_echo(exchange_t* ex) {
  const char* bytes = ex->body ? ex->body : "";
  json_t* body = json_stringn(bytes, ex->body_size);

  if (body != NULL)
    json_object_set_new(ex->document, "body", body);
  else
    json_object_set_new(ex->document, "bodyBase64",
                        json_base64(bytes, ex->body_size));
  reply_json(&ex->reply, 200, ex->document);
  ex->document = NULL;
}

/* ---- The table --------------------------------------------------------- */

static void begin_index(exchange_t* ex, uint64_t number);

static const route_t routes[] = {
  { "/", "this list", begin_index, NULL },
  { "/echo",
    "the request as JSON; ?names=x-a,x-b asks for headers of that "
    "name",
    begin_echo, finish_echo },
  { "/status/", "N: that status", begin_status, NULL },
  { "/bytes/", "N: that many bytes, byte i is i % 251", begin_bytes, NULL },
  { "/file/",
    "N?rate=BYTES_PER_S&etag=E&type=T: such bytes as a file, with ranges",
    begin_file, NULL },
  { "/upload", "multipart/form-data: names, sizes, SHA-256 of its parts",
    begin_upload, finish_upload },
  { "/chunks/", "N?size=S&every=MS: chunked, N pieces of S bytes", begin_chunks,
    NULL },
  { "/drip/", "N?every=MS: N bytes, one at a time", begin_drip, NULL },
  { "/delay/", "MS: answers that late", begin_delay, NULL },
  { "/redirect/", "N: 302, N times, then /echo", begin_redirect, NULL },
  { "/redirect-to", "?url=U&status=S: redirects there", begin_redirect_to,
    NULL },
  { "/cached/", "N: may be stored for N seconds, then asked about",
    begin_cached, NULL },
  { "/json", "a JSON document", begin_json, NULL },
  { "/jsonp", "?callback=F&a=b: a script that calls F with the arguments",
    begin_jsonp, NULL },
  { "/text", "?charset=C: text in that encoding", begin_text, NULL },
  { "/gzip", "JSON, gzip-compressed", begin_gzip, NULL },
  { "/deflate", "JSON, deflate-compressed", begin_deflate, NULL },
  { "/headers", "repeated, mixed-case, empty headers; two cookies",
    begin_headers, NULL },
  { "/cookies", "?a=b: the cookies sent as JSON, and sets those named",
    begin_cookies, NULL },
  { "/small", "1 KiB, for benchmarks", begin_small, NULL },
  { "/test.php", "as /echo, for the samples of the platforms", begin_echo,
    finish_echo },
  { "/example/abc", "the same", begin_echo, finish_echo },
  { "/audio/", "N: 64 KiB that are called audio/mpeg", begin_audio, NULL },
};

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

static void begin_index(exchange_t* ex, uint64_t number) {
  char text[4096];
  const ws_route_t* socket;
  size_t used = 0, i;

  (void) number;
  for (i = 0; i < ROUTE_COUNT && used < sizeof(text); i++)
    used += (size_t) snprintf(text + used, sizeof(text) - used, "%-14s %s\n",
                              routes[i].path, routes[i].help);
  for (i = 0; (socket = ws_route_at(i)) != NULL && used < sizeof(text); i++)
    used +=
        (size_t) snprintf(text + used, sizeof(text) - used,
                          "%-14s WebSocket: %s\n", socket->path, socket->help);
  reply_text(&ex->reply, 200, text);
}

static void begin_missing(exchange_t* ex, uint64_t number) {
  (void) number;
  reply_json(&ex->reply, 404,
             json_pack("{s:i,s:s,s:o}", "status", 404, "error", "not found",
                       "path", json_bytes(ex->path, strlen(ex->path))));
}

static const route_t route_missing = { "", "", begin_missing, NULL };

/* Decimal digits and nothing else. */
static int parse_number(const char* text, uint64_t* number) {
  size_t digits = strspn(text, "0123456789");

  if (digits == 0 || digits > 18 || text[digits] != '\0')
    return -1;
  *number = strtoull(text, NULL, 10);
  return 0;
}

static int matches(const route_t* route, const char* path, uint64_t* number) {
  size_t size = strlen(route->path);

  if (size > 1 && route->path[size - 1] == '/')
    return strncmp(path, route->path, size) == 0 &&
           parse_number(path + size, number) == 0;
  return strcmp(path, route->path) == 0;
}

const route_t* route_find(const char* path, uint64_t* number) {
  size_t i;

  for (i = 0; i < ROUTE_COUNT; i++)
    if (matches(&routes[i], path, number))
      return &routes[i];
  return &route_missing;
}
