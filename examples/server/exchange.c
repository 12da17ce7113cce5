/* One HTTP request and its answer, from the header table to the last byte.
 *
 * A route fills in a reply_t; this file sends it: at once in a single write
 * when it is small, else a piece at a time whenever the socket takes more, or
 * when the reply's pace says so. Bodies without data of their own come out of
 * one repeating pattern, in which byte i is i % PATTERN_PERIOD, so that
 * gigabytes cost no memory and a receiver can check every byte.
 * libwebsockets does not frame chunked answers for us; that happens here. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define PATTERN_PERIOD 251
#define PIECE_BYTES ((size_t) 128 << 10)
#define TURN_BYTES ((size_t) 1 << 20) /* then others have their turn */
#define HEAD_BYTES 8192
#define SMALL_BYTES 4096
#define CHUNK_FRAME_BYTES 32

static int finish_exchange(exchange_t* ex);

/* ---- Filling in a reply ------------------------------------------------ */

static void reply_owned(reply_t* reply, int status, const char* type,
                        char* text) {
  free(reply->owned);
  reply->status = text ? status : 500;
  reply->type = type;
  reply->owned = text;
  reply->length = text ? strlen(text) : 0;
}

void reply_text(reply_t* reply, int status, const char* text) {
  reply_owned(reply, status, "text/plain; charset=utf-8", strdup(text));
}

void reply_json(reply_t* reply, int status, json_t* document) {
  char* text = document ? json_dumps(document, JSON_COMPACT) : NULL;

  json_decref(document);
  reply_owned(reply, status, "application/json", text);
}

void reply_error(reply_t* reply, int status, const char* message) {
  reply_json(reply, status,
             json_pack("{s:i,s:s}", "status", status, "error", message));
}

int reply_field(reply_t* reply, const char* name, const char* value) {
  size_t name_size = strlen(name), value_size = strlen(value), i;
  char* field;

  for (i = 0; i < value_size; i++)
    if ((unsigned char) value[i] < ' ' || value[i] == 127)
      return -1;
  if (reply->field_count == MAX_FIELDS)
    return -1;
  field = malloc(name_size + value_size + 2);
  if (field == NULL)
    return -1;
  memcpy(field, name, name_size);
  field[name_size] = ':';
  memcpy(field + name_size + 1, value, value_size + 1);
  reply->fields[reply->field_count++] = field;
  return 0;
}

/* ---- The head ---------------------------------------------------------- */

static int has_body(const exchange_t* ex) {
  int status = ex->reply.status;

  return status != 204 && status != 304 && strcmp(ex->method, "HEAD") != 0;
}

static int add_fields(exchange_t* ex, unsigned char** at, unsigned char* end) {
  size_t i;

  for (i = 0; i < ex->reply.field_count; i++) {
    const char* field = ex->reply.fields[i];
    const char* value = strchr(field, ':') + 1;
    char name[64];

    snprintf(name, sizeof(name), "%.*s", (int) (value - field), field);
    if (lws_add_http_header_by_name(ex->wsi, (unsigned char*) name,
                                    (const unsigned char*) value,
                                    (int) strlen(value), at, end))
      return -1;
  }
  return 0;
}

static int add_length(exchange_t* ex, unsigned char** at, unsigned char* end) {
  if (ex->reply.status == 204 || ex->reply.status == 304)
    return 0;
  if (ex->reply.framing == REPLY_CHUNKED)
    return lws_add_http_header_by_token(
        ex->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING,
        (const unsigned char*) "chunked", 7, at, end);
  return lws_add_http_header_content_length(ex->wsi, ex->reply.length, at, end);
}

static int add_head(exchange_t* ex, unsigned char** at, unsigned char* end) {
  const char* type = ex->reply.type;

  if (lws_add_http_header_status(ex->wsi, (unsigned) ex->reply.status, at, end))
    return -1;
  if (type != NULL &&
      lws_add_http_header_by_token(ex->wsi, WSI_TOKEN_HTTP_CONTENT_TYPE,
                                   (const unsigned char*) type,
                                   (int) strlen(type), at, end))
    return -1;
  if (add_fields(ex, at, end) || add_length(ex, at, end))
    return -1;
  return lws_finalize_http_header(ex->wsi, at, end) ? -1 : 0;
}

/* The bytes of the body from `offset` on; at least PIECE_BYTES of them may be
 * read from the pattern. */
static const unsigned char* body_at(const reply_t* reply, uint64_t offset) {
  static unsigned char pattern[LWS_PRE + PATTERN_PERIOD + PIECE_BYTES];
  size_t i;

  if (reply->fixed != NULL)
    return (const unsigned char*) reply->fixed + offset;
  if (reply->owned != NULL)
    return (const unsigned char*) reply->owned + offset;
  if (pattern[LWS_PRE + 1] == 0)
    for (i = 0; i < PATTERN_PERIOD + PIECE_BYTES; i++)
      pattern[LWS_PRE + i] = (unsigned char) (i % PATTERN_PERIOD);
  return pattern + LWS_PRE + (reply->offset + offset) % PATTERN_PERIOD;
}

static int is_small(const exchange_t* ex) {
  const reply_t* reply = &ex->reply;

  return reply->framing == REPLY_SIZED && reply->step == 0 &&
         reply->length <= SMALL_BYTES;
}

/* Sends the head, with the body behind it in the same write if it is small. */
static int send_head(exchange_t* ex) {
  unsigned char bytes[LWS_PRE + HEAD_BYTES + SMALL_BYTES];
  unsigned char *start = bytes + LWS_PRE, *at = start;

  if (add_head(ex, &at, start + HEAD_BYTES) < 0)
    return -1;
  if (has_body(ex) && is_small(ex)) {
    memcpy(at, body_at(&ex->reply, 0), (size_t) ex->reply.length);
    at += ex->reply.length;
    ex->sent = ex->reply.length;
  }
  if (lws_write(ex->wsi, start, (size_t) (at - start), LWS_WRITE_HTTP_HEADERS) <
      0)
    return -1;
  if (!has_body(ex) || is_small(ex))
    return finish_exchange(ex);

  ex->state = EXCHANGE_BODY;
  lws_callback_on_writable(ex->wsi);
  return 0;
}

/* ---- The body ---------------------------------------------------------- */

static size_t piece_size(const exchange_t* ex) {
  uint64_t left = ex->reply.length - ex->sent;
  uint64_t most = ex->reply.step ? ex->reply.step : PIECE_BYTES;

  if (most > PIECE_BYTES)
    most = PIECE_BYTES;
  return (size_t) (left < most ? left : most);
}

/* Written from in place: the pattern has the LWS_PRE bytes that libwebsockets
 * wants in front. Other bodies go through a buffer that has them. */
static unsigned char* sized_piece(exchange_t* ex, size_t size) {
  static unsigned char scratch[LWS_PRE + PIECE_BYTES];
  const unsigned char* from = body_at(&ex->reply, ex->sent);

  if (ex->reply.fixed == NULL && ex->reply.owned == NULL)
    return (unsigned char*) from;
  memcpy(scratch + LWS_PRE, from, size);
  return scratch + LWS_PRE;
}

/* The piece framed as a chunk, and the last chunk behind the last piece. */
static unsigned char* chunked_piece(exchange_t* ex, size_t* size) {
  static unsigned char scratch[LWS_PRE + PIECE_BYTES + CHUNK_FRAME_BYTES];
  unsigned char *start = scratch + LWS_PRE, *at = start;

  if (*size > 0) {
    at += sprintf((char*) at, "%zx\r\n", *size);
    memcpy(at, body_at(&ex->reply, ex->sent), *size);
    at += *size;
    at += sprintf((char*) at, "\r\n");
  }
  if (ex->sent + *size == ex->reply.length)
    at += sprintf((char*) at, "0\r\n\r\n");
  *size = (size_t) (at - start);
  return start;
}

static int write_piece(exchange_t* ex) {
  size_t size = piece_size(ex), framed = size;
  int last = ex->sent + size == ex->reply.length;
  unsigned char* bytes = ex->reply.framing == REPLY_CHUNKED
                             ? chunked_piece(ex, &framed)
                             : sized_piece(ex, size);

  ex->sent += size;
  return lws_write(ex->wsi, bytes, framed,
                   last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP);
}

static int pause_for(exchange_t* ex, enum exchange_state state, uint32_t ms) {
  ex->state = state;
  lws_set_timer_usecs(ex->wsi, (lws_usec_t) ms * 1000);
  return 0;
}

static int send_body(exchange_t* ex) {
  uint64_t end = ex->sent + TURN_BYTES;

  do {
    if (write_piece(ex) < 0)
      return -1;
    if (ex->sent == ex->reply.length)
      return finish_exchange(ex);
    if (ex->reply.every_ms > 0)
      return pause_for(ex, EXCHANGE_PAUSE, ex->reply.every_ms);
  } while (ex->sent < end && !lws_partial_buffered(ex->wsi) &&
           !lws_send_pipe_choked(ex->wsi));

  lws_callback_on_writable(ex->wsi);
  return 0;
}

/* ---- Life -------------------------------------------------------------- */

void exchange_reset(exchange_t* ex) {
  size_t i;

  for (i = 0; i < ex->reply.field_count; i++)
    free(ex->reply.fields[i]);
  free(ex->reply.owned);
  free(ex->body);
  json_decref(ex->document);
  upload_free(ex->upload);
  memset(ex, 0, sizeof(*ex));
}

static int finish_exchange(exchange_t* ex) {
  struct lws* wsi = ex->wsi;
  int hang_up = ex->hang_up;

  exchange_reset(ex);
  if (hang_up)
    return -1;
  return lws_http_transaction_completed(wsi) ? -1 : 0;
}

/* The reply is filled in: send it now, or when its delay is over. */
static int answer(exchange_t* ex) {
  if (ex->reply.status == 0)
    ex->reply.status = 200;
  if (ex->reply.delay_ms > 0)
    return pause_for(ex, EXCHANGE_DELAY, ex->reply.delay_ms);
  return send_head(ex);
}

static int expects_body(struct lws* wsi) {
  char length[24];

  return lws_hdr_copy(wsi, length, sizeof(length),
                      WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 &&
         strtoull(length, NULL, 10) > 0;
}

/* libwebsockets does not decode chunked requests, so their bodies would be
 * read as further requests. */
static int refuse_chunked(exchange_t* ex) {
  ex->hang_up = 1;
  reply_field(&ex->reply, "Connection", "close");
  reply_error(&ex->reply, 411, "a body needs a content-length here");
  return answer(ex);
}

/* Clients wait about a second for this before they send a large body, and
 * libwebsockets leaves it to us. */
static int send_continue(struct lws* wsi) {
  static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
  unsigned char bytes[LWS_PRE + sizeof(text)];

  if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_EXPECT) <= 0)
    return 0;
  memcpy(bytes + LWS_PRE, text, sizeof(text));
  return lws_write(wsi, bytes + LWS_PRE, sizeof(text) - 1, LWS_WRITE_HTTP) < 0
             ? -1
             : 0;
}

int exchange_begin(exchange_t* ex, struct lws* wsi, const char* path) {
  uint64_t number = 0;

  exchange_reset(ex);
  ex->wsi = wsi;
  ex->method = request_method(wsi);
  snprintf(ex->path, sizeof(ex->path), "%s", path);
  ex->route = route_find(path, &number);
  /* Slow readers and slow routes are the point of this server: it cuts off
   * nobody who is in the middle of an exchange. */
  lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);

  if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0)
    return refuse_chunked(ex);
  ex->route->begin(ex, number);
  if (expects_body(wsi)) {
    ex->state = EXCHANGE_READING;
    return send_continue(wsi);
  }
  return exchange_body_end(ex);
}

static int grow_body(exchange_t* ex, size_t needed) {
  size_t capacity = ex->body_capacity ? ex->body_capacity : 1024;
  char* body;

  while (capacity < needed)
    capacity *= 2;
  if (capacity == ex->body_capacity)
    return 0;
  body = realloc(ex->body, capacity);
  if (body == NULL)
    return -1;
  ex->body = body;
  ex->body_capacity = capacity;
  return 0;
}

int exchange_body(exchange_t* ex, const void* data, size_t size) {
  if (ex->upload != NULL) {
    upload_read(ex->upload, data, size);
    return 0;
  }
  if (ex->route == NULL || ex->route->finish == NULL || ex->too_large)
    return 0;
  if (ex->body_size + size > MAX_BODY_BYTES) {
    ex->too_large = 1;
    return 0;
  }
  if (grow_body(ex, ex->body_size + size) < 0)
    return -1;
  memcpy(ex->body + ex->body_size, data, size);
  ex->body_size += size;
  return 0;
}

int exchange_body_end(exchange_t* ex) {
  if (ex->route == NULL)
    return -1;
  if (ex->too_large)
    reply_error(&ex->reply, 413, "body too large");
  else if (ex->route->finish != NULL)
    ex->route->finish(ex);
  return answer(ex);
}

int exchange_writable(exchange_t* ex) {
  switch (ex->state) {
    case EXCHANGE_HEAD:
      return send_head(ex);
    case EXCHANGE_BODY:
      return send_body(ex);
    default:
      return 0;
  }
}

void exchange_timer(exchange_t* ex) {
  if (ex->state == EXCHANGE_DELAY)
    ex->state = EXCHANGE_HEAD;
  else if (ex->state == EXCHANGE_PAUSE)
    ex->state = EXCHANGE_BODY;
  else
    return;
  lws_callback_on_writable(ex->wsi);
}
