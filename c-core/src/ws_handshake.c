/* The opening handshake of RFC 6455, client side. Pure logic: the request is
 * written into a buffer, the answer is read as it comes and judged once its
 * empty line is there. What is wrong with it is told in Chromium's words, which
 * people can look up. */
#include "ws_handshake.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ascii.h"
#include "base64.h"
#include "sha1.h"

enum {
  MESSAGE_SIZE = 256,
  EXTENSIONS_SIZE = 1024 /* of all that an answer agrees to; four parameters of
                          * one extension are less than 200 */
};

/* ---- The key ------------------------------------------------------------ */

void nt__ws_make_key(const unsigned char random[16],
                     char key[NT__WS_KEY_SIZE + 1]) {
  nt__base64_encode(random, 16, key);
}

void nt__ws_accept_of(const char* key, char accept[NT__WS_ACCEPT_SIZE + 1]) {
  static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  char text[NT__WS_KEY_SIZE + sizeof(magic)];
  unsigned char digest[NT__SHA1_SIZE];
  int size =
      snprintf(text, sizeof(text), "%.*s%s", NT__WS_KEY_SIZE, key, magic);

  nt__sha1(text, (size_t) size, digest);
  nt__base64_encode(digest, sizeof(digest), accept);
}

/* ---- The request -------------------------------------------------------- */

/* Appends all texts up to a NULL, as far as there was no error before. */
static int put(int err, nt__buf_t* out, const char* const* texts) {
  for (; err == 0 && *texts != NULL; texts++)
    err = nt__buf_append(out, *texts, strlen(*texts));
  return err;
}

#define PUT(...) put(err, out, (const char* const[]){ __VA_ARGS__, NULL })

/* Without case, like all that is compared here. */
static bool starts_with(const char* text, const char* prefix) {
  while (*prefix != '\0' && nt__lower(*text) == nt__lower(*prefix)) {
    text++;
    prefix++;
  }
  return *prefix == '\0';
}

/* What the handshake says itself, or what would make a body of what follows. */
static bool is_ours(const char* name) {
  static const char* const names[] = { "Host", "Connection", "Upgrade",
                                       "Content-Length", "Transfer-Encoding" };
  size_t i;

  for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
    if (nt__header_is(name, names[i]))
      return true;
  return starts_with(name, "Sec-WebSocket-");
}

static bool is_given(const nt__ws_ask_t* ask, const char* name) {
  size_t i;

  for (i = 0; i < ask->header_count; i++)
    if (nt__header_is(ask->headers[i].name, name))
      return true;
  return false;
}

/* RFC 7617. */
static int put_credentials(int err, const nt__ws_ask_t* ask, nt__buf_t* out) {
  const char* password = ask->password == NULL ? "" : ask->password;
  nt__buf_t plain;
  nt__buf_t coded;

  nt__buf_init(&plain, 0);
  nt__buf_init(&coded, 0);
  err =
      put(err, &plain, (const char* const[]){ ask->user, ":", password, NULL });
  if (err == 0)
    err = nt__buf_reserve(&coded, nt__base64_size(plain.size));
  if (err == 0) {
    nt__base64_encode(plain.data, plain.size, coded.data);
    err = PUT("Authorization: Basic ", coded.data, "\r\n");
  }
  nt__buf_free(&coded);
  nt__buf_free(&plain);
  return err;
}

static int put_protocols(int err, const nt__ws_ask_t* ask, nt__buf_t* out) {
  size_t i;

  for (i = 0; i < ask->protocol_count; i++)
    err = PUT(i == 0 ? "Sec-WebSocket-Protocol: " : ", ", ask->protocols[i]);
  if (ask->protocol_count > 0)
    err = PUT("\r\n");
  return err;
}

static int put_headers(int err, const nt__ws_ask_t* ask, nt__buf_t* out) {
  size_t i;

  for (i = 0; i < ask->header_count; i++)
    if (!is_ours(ask->headers[i].name))
      err = PUT(ask->headers[i].name, ": ", ask->headers[i].value, "\r\n");
  return err;
}

int nt__ws_ask_write(const nt__ws_ask_t* ask, nt__buf_t* out,
                     size_t* headers_at) {
  static const char upgrade[] =
      "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ";
  size_t start = out->size;
  int err = 0;

  err = PUT("GET ", ask->target, " HTTP/1.1\r\nHost: ", ask->host, upgrade,
            ask->key, "\r\n");
  err = put_protocols(err, ask, out);
  if (ask->deflate)
    err = PUT("Sec-WebSocket-Extensions: ", nt__ws_deflate_offer, "\r\n");
  if (ask->user_agent != NULL && *ask->user_agent != '\0' &&
      !is_given(ask, "User-Agent"))
    err = PUT("User-Agent: ", ask->user_agent, "\r\n");
  if (ask->referer != NULL && !is_given(ask, "Referer"))
    err = PUT("Referer: ", ask->referer, "\r\n");
  if (ask->user != NULL && !is_given(ask, "Authorization"))
    err = put_credentials(err, ask, out);
  *headers_at = out->size;
  err = put_headers(err, ask, out);
  err = PUT("\r\n");
  if (err && out->data != NULL)
    out->data[out->size = start] = '\0';
  return err;
}

/* ---- Reading the answer ------------------------------------------------- */

void nt__ws_answer_init(nt__ws_answer_t* answer, uint64_t max_bytes) {
  memset(answer, 0, sizeof(*answer));
  answer->left = max_bytes == 0 ? UINT64_MAX : max_bytes;
  nt__headers_init(&answer->headers, max_bytes);
  nt__buf_init(&answer->line, 0); /* `left` ends it */
}

void nt__ws_answer_free(nt__ws_answer_t* answer) {
  nt__headers_free(&answer->headers);
  nt__buf_free(&answer->line);
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static const char status_shape[] = "HTTP/1.d ddd"; /* d: a digit */

/* The line may be cut anywhere. */
static bool is_status_line(const char* line, size_t size) {
  size_t i;

  for (i = 0; i < size && status_shape[i] != '\0'; i++)
    if (status_shape[i] == 'd' ? !is_digit(line[i])
                               : line[i] != status_shape[i])
      return false;
  return i == size || line[i] == ' ' || line[i] == '\r' || line[i] == '\n';
}

/* An answer of HTTP/1.0 may refuse: many small servers do. */
static int read_status(nt__ws_answer_t* answer, const char* line, size_t size) {
  const char* minor = line + 7;
  const char* code = line + 9;
  int status;

  if (!is_status_line(line, size)) /* its LF fits in nowhere but behind */
    return NT_E_HTTP;
  status = (code[0] - '0') * 100 + (code[1] - '0') * 10 + code[2] - '0';
  if (status < 100 || (status == 101 && *minor == '0'))
    return NT_E_HTTP;
  answer->status = status;
  return 0;
}

static int on_line(nt__ws_answer_t* answer, const char* line, size_t size) {
  int err;

  if (answer->status == 0)
    return read_status(answer, line, size);
  if (size == 1 || (size == 2 && line[0] == '\r')) {
    if (answer->status >= 200 || answer->status == 101) {
      answer->done = true;
    } else { /* the answer proper is still to come */
      answer->status = 0;
      nt__headers_reset(&answer->headers);
    }
    return 0;
  }
  err = nt__headers_add_line(&answer->headers, line, size);
  return err == NT_E_FULL ? NT_E_HEADER_SIZE : err;
}

/* A piece that ends with the line, if `whole`, or before. */
static int take(nt__ws_answer_t* answer, const char* data, size_t size,
                bool whole) {
  nt__buf_t* line = &answer->line;
  int err = 0;

  if (whole && line->size == 0)
    return on_line(answer, data, size);
  err = nt__buf_append(line, data, size);
  if (err == 0 && whole) {
    err = on_line(answer, line->data, line->size);
    line->size = 0;
  } else if (err == 0 && answer->status == 0 &&
             !is_status_line(line->data, line->size)) {
    err = NT_E_HTTP;
  }
  return err;
}

int nt__ws_answer_feed(nt__ws_answer_t* answer, const char** data,
                       size_t* size) {
  int err = 0;

  while (err == 0 && !answer->done && *size > 0) {
    const char* end = memchr(*data, '\n', *size);
    size_t n = end == NULL ? *size : (size_t) (end - *data) + 1;
    bool fits = n <= answer->left;

    if (!fits) /* it may turn out to be no answer at all */
      n = (size_t) answer->left;
    err = take(answer, *data, n, fits && end != NULL);
    answer->left -= n;
    *data += n;
    *size -= n;
    if (err == 0 && !fits)
      err = NT_E_HEADER_SIZE;
  }
  return err;
}

/* ---- Judging the answer ------------------------------------------------- */

/* What a server wrote may be in it: only printable ASCII gets through. */
static int refuse(char* message, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(message, MESSAGE_SIZE, format, args);
  va_end(args);
  for (; *message != '\0'; message++)
    if (*message < 0x20 || *message > 0x7e)
      *message = '?';
  return NT_E_HANDSHAKE;
}

static int refuse_repeated(char* message, const char* name) {
  return refuse(message,
                "'%s' header must not appear more than once in a response",
                name);
}

static int refuse_missing(char* message, const char* name) {
  return refuse(message, "'%s' header is missing", name);
}

/* The next value of that name, or NULL. */
static const char* next_value(const nt_headers_t* headers, size_t* cursor,
                              const char* name) {
  const char* found;
  const char* value;

  while (nt_headers_next(headers, cursor, &found, &value))
    if (nt__header_is(found, name))
      return value;
  return NULL;
}

/* How many fields there are, and the first one's value. */
static size_t count_values(const nt_headers_t* headers, const char* name,
                           const char** value) {
  size_t cursor = 0;
  const char* next;
  size_t count = 0;

  *value = NULL;
  while ((next = next_value(headers, &cursor, name)) != NULL)
    if (count++ == 0)
      *value = next;
  return count;
}

static int check_upgrade(const nt_headers_t* headers, char* message) {
  const char* value;
  size_t count = count_values(headers, "Upgrade", &value);

  if (count == 0)
    return refuse_missing(message, "Upgrade");
  if (count > 1)
    return refuse_repeated(message, "Upgrade");
  if (!nt__header_is(value, "websocket"))
    return refuse(message, "'Upgrade' header value is not 'WebSocket': %s",
                  value);
  return 0;
}

/* An element of a list, without the blanks around. */
static bool has_token(const char* list, const char* token) {
  size_t size = strlen(token);

  while (*list != '\0') {
    list += strspn(list, " \t,");
    if (starts_with(list, token) &&
        strchr(",", list[size + strspn(list + size, " \t")]) != NULL)
      return true;
    list += strcspn(list, ",");
  }
  return false;
}

static int check_connection(const nt_headers_t* headers, char* message) {
  size_t cursor = 0;
  size_t count = 0;
  const char* value;

  while ((value = next_value(headers, &cursor, "Connection")) != NULL) {
    if (has_token(value, "Upgrade"))
      return 0;
    count++;
  }
  if (count == 0)
    return refuse_missing(message, "Connection");
  return refuse(message, "'Connection' header value must contain 'Upgrade'");
}

static int check_accept(const nt_headers_t* headers, const char* key,
                        char* message) {
  static const char name[] = "Sec-WebSocket-Accept";
  char accept[NT__WS_ACCEPT_SIZE + 1];
  const char* value;
  size_t count = count_values(headers, name, &value);

  if (count == 0)
    return refuse_missing(message, name);
  if (count > 1)
    return refuse_repeated(message, name);
  nt__ws_accept_of(key, accept);
  if (strcmp(value, accept) != 0)
    return refuse(message, "Incorrect '%s' header value", name);
  return 0;
}

/* RFC 6455, 4.1: one of those asked for, or none. */
static int check_protocol(const nt_headers_t* headers, const nt__ws_ask_t* ask,
                          nt__ws_deal_t* deal, char* message) {
  static const char name[] = "Sec-WebSocket-Protocol";
  const char* value;
  size_t count = count_values(headers, name, &value);
  size_t i;

  if (count == 0)
    return 0;
  if (count > 1)
    return refuse_repeated(message, name);
  for (i = 0; i < ask->protocol_count; i++)
    if (strcmp(value, ask->protocols[i]) == 0) {
      deal->protocol = ask->protocols[i];
      return 0;
    }
  if (ask->protocol_count == 0)
    return refuse(message,
                  "Response must not include '%s' header if not present in "
                  "request: %s",
                  name, value);
  return refuse(message,
                "'%s' header value '%s' in response does not match any of sent "
                "values",
                name, value);
}

/* All fields as one list. False when they are longer than any that is right. */
static bool join_extensions(const nt_headers_t* headers,
                            char list[EXTENSIONS_SIZE]) {
  size_t cursor = 0;
  size_t used = 0;
  const char* value;

  list[0] = '\0';
  while ((value = next_value(headers, &cursor, "Sec-WebSocket-Extensions")) !=
         NULL) {
    int n = snprintf(list + used, EXTENSIONS_SIZE - used, "%s%s",
                     used > 0 ? ", " : "", value);

    used += (size_t) n;
    if (used >= EXTENSIONS_SIZE)
      return false;
  }
  return true;
}

static int check_extensions(const nt_headers_t* headers,
                            const nt__ws_ask_t* ask, nt__ws_deal_t* deal,
                            char* message) {
  static const char name[] = "Sec-WebSocket-Extensions";
  char list[EXTENSIONS_SIZE];
  const char* problem;
  const char* value;

  if (count_values(headers, name, &value) == 0)
    return 0;
  if (!ask->deflate)
    return refuse(message,
                  "Found an unsupported extension '%.*s' in '%s' "
                  "header",
                  (int) strcspn(value, " \t,;"), value, name);
  if (!join_extensions(headers, list))
    return refuse(message, "'%s' header value is too long", name);
  problem = nt__ws_deflate_parse(list, &deal->params);
  if (problem != NULL)
    return refuse(message, "%s: %s", problem, list);
  deal->deflate = true;
  return 0;
}

int nt__ws_answer_check(const nt__ws_answer_t* answer, const nt__ws_ask_t* ask,
                        nt__ws_deal_t* deal, char* message) {
  nt_headers_t headers = nt__headers_view(&answer->headers);
  int err;

  memset(deal, 0, sizeof(*deal));
  deal->protocol = "";
  *message = '\0';
  if (answer->status != 101) {
    refuse(message, "Invalid HTTP status %d", answer->status);
    return NT_E_WS_STATUS;
  }
  err = check_upgrade(&headers, message);
  if (err == 0)
    err = check_connection(&headers, message);
  if (err == 0)
    err = check_accept(&headers, ask->key, message);
  if (err == 0)
    err = check_protocol(&headers, ask, deal, message);
  if (err == 0)
    err = check_extensions(&headers, ask, deal, message);
  return err;
}
