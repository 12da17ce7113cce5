/* Uploads: multipart/form-data (RFC 7578), taken apart while it comes in, so
 * that its size does not matter. What is answered of each part: its names, its
 * type, how many bytes, and their SHA-256.
 *
 * A delimiter is a line end, two hyphens and the boundary. The first may lack
 * its line end: reading begins as if one had come. Bytes that may be the start
 * of a delimiter wait in the window for the next piece. */

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server.h"

#define WINDOW_BYTES ((size_t) 32 << 10)
#define MAX_PARTS 1000
#define BOUNDARY_BYTES 72
#define DIGEST_BYTES 32

enum upload_state {
  UPLOAD_PREAMBLE,
  UPLOAD_MARK, /* behind a delimiter: "--" or a line end */
  UPLOAD_HEAD,
  UPLOAD_DATA,
  UPLOAD_DONE,
  UPLOAD_BROKEN
};

struct upload {
  enum upload_state state;
  char delimiter[BOUNDARY_BYTES + 8];
  size_t delimiter_size;
  json_t* parts;
  json_t* part; /* the one that is read; NULL: none */
  uint64_t part_bytes, bytes;
  EVP_MD_CTX* hash; /* of the part */
  size_t used;
  char window[WINDOW_BYTES];
};

/* ---- Head fields ------------------------------------------------------- */

/* The value of name="value" in a field, or NULL. */
static json_t* parameter(const char* field, const char* name) {
  size_t size = strlen(name);
  const char* at = field;

  while ((at = strchr(at, ';')) != NULL) {
    const char* end;

    at += 1 + strspn(at + 1, " \t");
    if (strncasecmp(at, name, size) != 0 || at[size] != '=' ||
        at[size + 1] != '"')
      continue;
    at += size + 2;
    end = strchr(at, '"');
    return end ? json_bytes(at, (size_t) (end - at)) : NULL;
  }
  return NULL;
}

static void set_if(json_t* object, const char* name, json_t* value) {
  if (value != NULL)
    json_object_set_new(object, name, value);
}

static void read_field(json_t* part, const char* line) {
  const char* colon = strchr(line, ':');
  size_t size = colon ? (size_t) (colon - line) : 0;
  const char* value = colon ? colon + 1 + strspn(colon + 1, " \t") : "";

  if (size == 19 && strncasecmp(line, "content-disposition", size) == 0) {
    set_if(part, "name", parameter(value, "name"));
    set_if(part, "fileName", parameter(value, "filename"));
  } else if (size == 12 && strncasecmp(line, "content-type", size) == 0) {
    set_if(part, "type", json_bytes(value, strlen(value)));
  }
}

/* ---- Parts ------------------------------------------------------------- */

static json_t* json_hex(const unsigned char* bytes, size_t size) {
  static const char digits[] = "0123456789abcdef";
  char text[2 * DIGEST_BYTES];
  size_t i;

  for (i = 0; i < size; i++) {
    text[2 * i] = digits[bytes[i] >> 4];
    text[2 * i + 1] = digits[bytes[i] & 15];
  }
  return json_stringn(text, 2 * size);
}

static void end_part(upload_t* upload) {
  unsigned char digest[DIGEST_BYTES];

  if (upload->part == NULL)
    return;
  EVP_DigestFinal_ex(upload->hash, digest, NULL);
  json_object_set_new(upload->part, "bytes",
                      json_integer((json_int_t) upload->part_bytes));
  json_object_set_new(upload->part, "sha256", json_hex(digest, sizeof(digest)));
  json_array_append_new(upload->parts, upload->part);
  upload->part = NULL;
}

static void begin_part(upload_t* upload) {
  if (json_array_size(upload->parts) == MAX_PARTS ||
      EVP_DigestInit_ex(upload->hash, EVP_sha256(), NULL) != 1) {
    upload->state = UPLOAD_BROKEN;
    return;
  }
  upload->part = json_object();
  upload->part_bytes = 0;
  upload->state = UPLOAD_HEAD;
}

static void add_data(upload_t* upload, size_t size) {
  if (size > 0 && EVP_DigestUpdate(upload->hash, upload->window, size) != 1)
    upload->state = UPLOAD_BROKEN;
  upload->part_bytes += size;
}

/* ---- Reading ----------------------------------------------------------- */

static void consume(upload_t* upload, size_t size) {
  upload->used -= size;
  memmove(upload->window, upload->window + size, upload->used);
}

/* Up to the next delimiter, or up to where one may begin. */
static int read_data(upload_t* upload) {
  const char* end = memmem(upload->window, upload->used, upload->delimiter,
                           upload->delimiter_size);
  size_t keep = upload->delimiter_size - 1;
  size_t size = upload->used > keep ? upload->used - keep : 0;

  if (end != NULL)
    size = (size_t) (end - upload->window);
  if (upload->state == UPLOAD_DATA)
    add_data(upload, size);
  if (end != NULL) {
    end_part(upload);
    if (upload->state != UPLOAD_BROKEN)
      upload->state = UPLOAD_MARK;
    size += upload->delimiter_size;
  }
  consume(upload, size);
  return end != NULL;
}

static int read_mark(upload_t* upload) {
  if (upload->used < 2)
    return 0;
  if (memcmp(upload->window, "--", 2) == 0)
    upload->state = UPLOAD_DONE;
  else if (memcmp(upload->window, "\r\n", 2) == 0)
    begin_part(upload);
  else
    upload->state = UPLOAD_BROKEN;
  consume(upload, 2);
  return 1;
}

/* One line of the head; an empty one ends it. */
static int read_head(upload_t* upload) {
  char* end = memmem(upload->window, upload->used, "\r\n", 2);

  if (end == NULL) {
    if (upload->used == WINDOW_BYTES)
      upload->state = UPLOAD_BROKEN;
    return 0;
  }
  *end = '\0';
  if (end == upload->window) {
    /* A part without bytes ends with the line that ends its head: the line end
     * stays, it is the start of the delimiter. */
    upload->state = UPLOAD_DATA;
    consume(upload, 2);
  } else {
    read_field(upload->part, upload->window);
    consume(upload, (size_t) (end - upload->window) + 2);
  }
  return 1;
}

/* Returns whether it may be called again with what is there. */
static int step(upload_t* upload) {
  switch (upload->state) {
    case UPLOAD_PREAMBLE:
    case UPLOAD_DATA:
      return read_data(upload);
    case UPLOAD_MARK:
      return read_mark(upload);
    case UPLOAD_HEAD:
      return read_head(upload);
    default:
      upload->used = 0;
      return 0;
  }
}

void upload_read(upload_t* upload, const char* data, size_t size) {
  upload->bytes += size;
  while (size > 0) {
    size_t room = WINDOW_BYTES - upload->used;
    size_t piece = size < room ? size : room;

    memcpy(upload->window + upload->used, data, piece);
    upload->used += piece;
    data += piece;
    size -= piece;
    while (step(upload))
      ;
  }
}

/* ---- Life -------------------------------------------------------------- */

/* The delimiter that a content-type names; 0, or -1 when it names none. */
static int find_delimiter(upload_t* upload, const char* type) {
  const char* boundary = strcasestr(type, "boundary=");
  size_t size;

  if (strncasecmp(type, "multipart/form-data", 19) != 0 || boundary == NULL)
    return -1;
  boundary += 9;
  boundary += *boundary == '"';
  size = strcspn(boundary, "\"; \t");
  if (size == 0 || size > BOUNDARY_BYTES)
    return -1;
  memcpy(upload->delimiter, "\r\n--", 4);
  memcpy(upload->delimiter + 4, boundary, size);
  upload->delimiter_size = size + 4;
  return 0;
}

void begin_upload(exchange_t* ex, uint64_t number) {
  char type[256];

  (void) number;
  if (lws_hdr_copy(ex->wsi, type, sizeof(type), WSI_TOKEN_HTTP_CONTENT_TYPE) <=
      0)
    return;
  ex->upload = calloc(1, sizeof(*ex->upload));
  if (ex->upload == NULL)
    return;
  ex->upload->parts = json_array();
  ex->upload->hash = EVP_MD_CTX_new();
  if (ex->upload->hash == NULL || find_delimiter(ex->upload, type) < 0) {
    upload_free(ex->upload);
    ex->upload = NULL;
    return;
  }
  memcpy(ex->upload->window, "\r\n", 2);
  ex->upload->used = 2;
}

void finish_upload(exchange_t* ex) {
  upload_t* upload = ex->upload;

  if (upload == NULL || upload->state != UPLOAD_DONE) {
    reply_error(&ex->reply, 400, "not multipart/form-data, or not whole");
    return;
  }
  reply_json(&ex->reply, 200,
             json_pack("{s:s,s:I,s:O}", "method", ex->method, "bytes",
                       (json_int_t) upload->bytes, "parts", upload->parts));
}

void upload_free(upload_t* upload) {
  if (upload == NULL)
    return;
  EVP_MD_CTX_free(upload->hash);
  json_decref(upload->part);
  json_decref(upload->parts);
  free(upload);
}
