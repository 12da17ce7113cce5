/* Downloads of any size: /file/N answers N bytes of the pattern like a server
 * of files does, with a validator, ranges and, if asked for, a limited rate.
 *
 * The same file always has the same validators, so a client can go on with it
 * after any break. One range is served; of several, all of the file, as RFC
 * 9110 (14.2) allows. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server.h"

#define MAX_FILE_BYTES ((uint64_t) 1 << 40)
#define MAX_PIECE_BYTES ((uint64_t) 128 << 10)
#define PIECES_A_SECOND 50
#define MODIFIED "Tue, 02 Jan 2024 03:04:05 GMT"

enum range {
  RANGE_ALL,
  RANGE_PART,
  RANGE_OUTSIDE
};

/* ---- Ranges ------------------------------------------------------------ */

static const char* read_digits(const char* text, uint64_t* number) {
  size_t digits = strspn(text, "0123456789");

  if (digits == 0 || digits > 18)
    return NULL;
  *number = strtoull(text, NULL, 10);
  return text + digits;
}

/* "-500": the last ones. */
static enum range suffix_range(const char* text, uint64_t size, uint64_t* first,
                               uint64_t* last) {
  uint64_t count;
  const char* rest = read_digits(text, &count);

  if (rest == NULL || *rest != '\0')
    return RANGE_ALL;
  if (count == 0 || size == 0)
    return RANGE_OUTSIDE;
  *first = count < size ? size - count : 0;
  *last = size - 1;
  return RANGE_PART;
}

static enum range parse_range(const char* text, uint64_t size, uint64_t* first,
                              uint64_t* last) {
  if (strncmp(text, "bytes=", 6) != 0)
    return RANGE_ALL;
  text += 6;
  if (*text == '-')
    return suffix_range(text + 1, size, first, last);
  text = read_digits(text, first);
  if (text == NULL || *text++ != '-')
    return RANGE_ALL;
  *last = UINT64_MAX;
  if (*text != '\0')
    text = read_digits(text, last);
  if (text == NULL || *text != '\0' || *last < *first)
    return RANGE_ALL;
  if (*first >= size)
    return RANGE_OUTSIDE;
  if (*last >= size)
    *last = size - 1;
  return RANGE_PART;
}

/* What the request wants of `size` bytes. A condition that does not hold makes
 * it want all of them. */
static enum range wanted_range(exchange_t* ex, const char* etag, uint64_t size,
                               uint64_t* first, uint64_t* last) {
  char range[128], condition[256];

  if (lws_hdr_copy(ex->wsi, range, sizeof(range), WSI_TOKEN_HTTP_RANGE) <= 0)
    return RANGE_ALL;
  if (lws_hdr_total_length(ex->wsi, WSI_TOKEN_HTTP_IF_RANGE) > 0 &&
      (lws_hdr_copy(ex->wsi, condition, sizeof(condition),
                    WSI_TOKEN_HTTP_IF_RANGE) <= 0 ||
       (strcmp(condition, etag) != 0 && strcmp(condition, MODIFIED) != 0)))
    return RANGE_ALL;
  return parse_range(range, size, first, last);
}

/* ---- The answer -------------------------------------------------------- */

static void set_rate(reply_t* reply, uint64_t rate) {
  uint64_t step = rate / PIECES_A_SECOND;

  if (rate == 0)
    return;
  if (step > MAX_PIECE_BYTES)
    step = MAX_PIECE_BYTES;
  reply->step = step > 0 ? step : 1;
  reply->every_ms = (uint32_t) (reply->step * 1000 / rate);
  if (reply->every_ms == 0)
    reply->every_ms = 1;
}

/* ?etag=X becomes "X"; an empty one sends none. */
static void make_etag(exchange_t* ex, uint64_t size, char* out, size_t room) {
  char given[128];

  if (request_arg(ex->wsi, "etag", given, sizeof(given)) == NULL)
    snprintf(out, room, "\"pattern-%" PRIu64 "\"", size);
  else if (*given != '\0')
    snprintf(out, room, "\"%s\"", given);
  else
    *out = '\0';
}

static int add_validators(exchange_t* ex, const char* etag) {
  char type[80], date[40];
  time_t now = time(NULL);
  struct tm utc;

  if (request_arg(ex->wsi, "type", type, sizeof(type)) == NULL || *type == '\0')
    snprintf(type, sizeof(type), "application/octet-stream");
  gmtime_r(&now, &utc);
  strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  if (*etag != '\0' && reply_field(&ex->reply, "ETag", etag) < 0)
    return -1;
  return reply_field(&ex->reply, "Content-Type", type) |
         reply_field(&ex->reply, "Date", date) |
         reply_field(&ex->reply, "Last-Modified", MODIFIED) |
         reply_field(&ex->reply, "Accept-Ranges", "bytes");
}

static void answer_part(reply_t* reply, uint64_t first, uint64_t last,
                        uint64_t size) {
  char text[80];

  snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first,
           last, size);
  reply_field(reply, "Content-Range", text);
  reply->status = 206;
  reply->offset = first;
  reply->length = last - first + 1;
}

static void answer_outside(reply_t* reply, uint64_t size) {
  char text[40];

  snprintf(text, sizeof(text), "bytes */%" PRIu64, size);
  reply_field(reply, "Content-Range", text);
  reply->status = 416;
  reply->length = 0;
}

void begin_file(exchange_t* ex, uint64_t size) {
  uint64_t first = 0, last = 0;
  char etag[160];

  make_etag(ex, size, etag, sizeof(etag));
  if (size > MAX_FILE_BYTES || add_validators(ex, etag) < 0) {
    reply_error(&ex->reply, 400, "at most 1 TiB, no control characters");
    return;
  }
  ex->reply.length = size;
  set_rate(&ex->reply, request_number(ex->wsi, "rate", 0));
  switch (wanted_range(ex, etag, size, &first, &last)) {
    case RANGE_PART:
      answer_part(&ex->reply, first, last, size);
      break;
    case RANGE_OUTSIDE:
      answer_outside(&ex->reply, size);
      break;
    default:
      break;
  }
}
