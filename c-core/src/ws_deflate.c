/* permessage-deflate (RFC 7692) for a client, over zlib with raw windows. Pure
 * logic.
 *
 * A message ends with a sync flush, whose last four bytes are not sent (7.2.1)
 * and put back before the last piece is inflated (7.2.2). Two things surprise.
 * zlib has no raw deflate with a window of 256 bytes; if that was agreed, only
 * runs are looked for (Z_RLE), which refer back by one byte and so fit any
 * window. And a message may hold blocks that say they are the last of a stream
 * (7.2.3.4): inflating goes on behind them, with the same window. */
#include "ws_deflate.h"

#include <stdbool.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "alloc.h"
#include "nettask.h"

enum {
  MAX_BITS = 15,
  ZLIB_MIN_BITS = 9, /* of raw deflate */
  MEMORY_LEVEL = 8,  /* zlib's default: 256 KB a connection that sends */
  LEVEL = 4,        /* 5% larger than zlib's default of 6 and twice as fast, for
                     * small messages of JSON as for long texts */
  FIRST_ROOM = 512, /* of an output buffer that is empty */
  FLUSH_ROOM = 8,   /* zlib asks for more than 6, or it flushes often */
  MOST_AT_ONCE = 1 << 30 /* zlib counts in unsigned int */
};

static const unsigned char tail[4] = { 0x00, 0x00, 0xff, 0xff };

struct nt__ws_deflate {
  nt__ws_deflate_params_t params;
  z_stream out; /* what we send; next_in etc. matter within a call only */
  z_stream in;
  bool out_ready; /* initialised */
  bool in_ready;
  bool in_message; /* a piece of it was inflated */
  bool final;      /* the last block said that it ends the stream */
};

/* ---- What was agreed ---------------------------------------------------- */

const char nt__ws_deflate_offer[] =
    "permessage-deflate; client_max_window_bits";

static const char malformed[] =
    "'Sec-WebSocket-Extensions' header value is rejected by the parser";

typedef enum param {
  SERVER_NO_CONTEXT,
  CLIENT_NO_CONTEXT,
  SERVER_BITS,
  CLIENT_BITS,
  PARAM_COUNT
} param_t;

#define PARAM(name)                                                            \
  {                                                                            \
    name,                                                                      \
        "Error in permessage-deflate: Received duplicate permessage-deflate "  \
        "extension parameter " name,                                           \
        "Error in permessage-deflate: Received invalid " name " parameter"     \
  }

static const struct {
  const char* name;
  const char* duplicate;
  const char* invalid;
} names[PARAM_COUNT] = {
  PARAM("server_no_context_takeover"),
  PARAM("client_no_context_takeover"),
  PARAM("server_max_window_bits"),
  PARAM("client_max_window_bits"),
};

/* Where the reading stands, and which parameters have come. */
typedef struct scan {
  const char* p;
  bool seen[PARAM_COUNT];
} scan_t;

static void skip_blanks(scan_t* scan) {
  scan->p += strspn(scan->p, " \t");
}

/* The size of the token that is skipped, 0 when there is none. */
static size_t read_token(scan_t* scan, const char** token) {
  size_t size = strspn(scan->p,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                       "0123456789!#$%&'*+-.^_`|~");

  *token = scan->p;
  scan->p += size;
  return size;
}

static bool is(const char* token, size_t size, const char* name) {
  return size == strlen(name) && memcmp(token, name, size) == 0;
}

/* A token, or one in quotes (RFC 6455, 9.1). */
static bool read_value(scan_t* scan, const char** value, size_t* size) {
  bool quoted;

  skip_blanks(scan);
  quoted = *scan->p == '"';
  scan->p += quoted;
  *size = read_token(scan, value);
  if (*size == 0 || (quoted && *scan->p != '"'))
    return false;
  scan->p += quoted;
  return true;
}

/* 8 to 15 without a leading zero; 0 for anything else. */
static int window_bits(const char* value, size_t size) {
  if (size == 1 && (*value == '8' || *value == '9'))
    return *value - '0';
  if (size == 2 && value[0] == '1' && value[1] >= '0' && value[1] <= '5')
    return 10 + value[1] - '0';
  return 0;
}

/* `value` is NULL for a parameter without one. */
static bool set_param(nt__ws_deflate_params_t* params, param_t param,
                      const char* value, size_t size) {
  int bits = value == NULL ? 0 : window_bits(value, size);

  switch (param) {
    case SERVER_NO_CONTEXT:
      params->server_no_context_takeover = true;
      return value == NULL;
    case CLIENT_NO_CONTEXT:
      params->client_no_context_takeover = true;
      return value == NULL;
    case SERVER_BITS:
      params->server_max_window_bits = bits;
      return bits != 0;
    default:
      params->client_max_window_bits = bits;
      return bits != 0;
  }
}

/* What stands between two semicolons. */
static const char* read_param(scan_t* scan, nt__ws_deflate_params_t* params) {
  const char* name;
  const char* value = NULL;
  size_t name_size;
  size_t size = 0;
  int i = 0;

  skip_blanks(scan);
  name_size = read_token(scan, &name);
  skip_blanks(scan);
  if (name_size == 0)
    return malformed;
  if (*scan->p == '=') {
    scan->p++;
    if (!read_value(scan, &value, &size))
      return malformed;
  }
  while (i < PARAM_COUNT && !is(name, name_size, names[i].name))
    i++;
  if (i == PARAM_COUNT)
    return "Error in permessage-deflate: Received an unexpected "
           "permessage-deflate extension parameter";
  if (scan->seen[i])
    return names[i].duplicate;
  scan->seen[i] = true;
  if (i == CLIENT_BITS && value == NULL)
    return "Error in permessage-deflate: client_max_window_bits must have "
           "value";
  return set_param(params, (param_t) i, value, size) ? NULL : names[i].invalid;
}

static const char* read_extension(scan_t* scan,
                                  nt__ws_deflate_params_t* params) {
  const char* name;
  size_t size = read_token(scan, &name);
  const char* problem = NULL;

  if (size == 0)
    return malformed;
  if (!is(name, size, "permessage-deflate"))
    return "Found an unsupported extension in 'Sec-WebSocket-Extensions' "
           "header";
  skip_blanks(scan);
  while (problem == NULL && *scan->p == ';') {
    scan->p++;
    problem = read_param(scan, params);
    skip_blanks(scan);
  }
  if (problem == NULL && *scan->p != ',' && *scan->p != '\0')
    problem = malformed;
  return problem;
}

const char* nt__ws_deflate_parse(const char* value,
                                 nt__ws_deflate_params_t* params) {
  static const nt__ws_deflate_params_t defaults = { false, false, MAX_BITS,
                                                    MAX_BITS };
  scan_t scan = { value, { false } };
  const char* problem = NULL;
  bool found = false;

  *params = defaults;
  for (;;) {
    scan.p += strspn(scan.p, " \t,"); /* a list may have empty elements */
    if (*scan.p == '\0')
      return found ? NULL : malformed;
    problem = read_extension(&scan, params);
    if (problem != NULL)
      return problem;
    if (found)
      return "Received duplicate permessage-deflate response";
    found = true;
    memset(scan.seen, 0, sizeof(scan.seen)); /* the second one is judged too */
  }
}

/* ---- Memory ------------------------------------------------------------- */

static voidpf take_memory(voidpf opaque, uInt count, uInt size) {
  (void) opaque;
  return nt__malloc((size_t) count * size);
}

static void give_memory(voidpf opaque, voidpf ptr) {
  (void) opaque;
  nt__free(ptr);
}

nt__ws_deflate_t* nt__ws_deflate_new(const nt__ws_deflate_params_t* params) {
  nt__ws_deflate_t* deflate = nt__calloc(sizeof(*deflate));

  if (deflate == NULL)
    return NULL;
  deflate->params = *params;
  deflate->in.zalloc = deflate->out.zalloc = take_memory;
  deflate->in.zfree = deflate->out.zfree = give_memory;
  return deflate;
}

void nt__ws_deflate_free(nt__ws_deflate_t* deflate) {
  if (deflate == NULL)
    return;
  if (deflate->out_ready)
    deflateEnd(&deflate->out);
  if (deflate->in_ready)
    inflateEnd(&deflate->in);
  nt__free(deflate);
}

/* Our arguments are right, so that only memory can be missing. */
static int ready_out(nt__ws_deflate_t* deflate) {
  int bits = deflate->params.client_max_window_bits;
  int strategy = bits < ZLIB_MIN_BITS ? Z_RLE : Z_DEFAULT_STRATEGY;

  if (deflate->out_ready)
    return 0;
  if (bits < ZLIB_MIN_BITS)
    bits = ZLIB_MIN_BITS;
  if (deflateInit2(&deflate->out, LEVEL, Z_DEFLATED, -bits, MEMORY_LEVEL,
                   strategy) != Z_OK)
    return NT_E_NOMEM;
  deflate->out_ready = true;
  return 0;
}

/* A server that agreed on 8 may have used zlib, which makes 9 of it. */
static int ready_in(nt__ws_deflate_t* deflate) {
  int bits = deflate->params.server_max_window_bits;

  if (deflate->in_ready)
    return 0;
  if (bits < ZLIB_MIN_BITS)
    bits = ZLIB_MIN_BITS;
  if (inflateInit2(&deflate->in, -bits) != Z_OK)
    return NT_E_NOMEM;
  deflate->in_ready = true;
  return 0;
}

static uInt at_most(size_t size) {
  return size < MOST_AT_ONCE ? (uInt) size : MOST_AT_ONCE;
}

/* Bytes that fit behind what is in `out`, at least `needed`, for which it grows
 * to twice its size and no less than by `hint`; or an error. */
static int make_room(nt__buf_t* out, size_t needed, size_t hint, uInt* room) {
  size_t limit =
      out->max == 0 || out->max > SIZE_MAX ? SIZE_MAX : (size_t) out->max;
  size_t capacity = out->data == NULL ? 0 : out->capacity;
  int err;

  if (limit < out->size || limit - out->size < needed)
    return NT_E_FULL;
  if (capacity < out->size + needed) {
    capacity = out->size + (hint > out->size ? hint : out->size);
    if (capacity < FIRST_ROOM) /* more than anybody needs */
      capacity = FIRST_ROOM;
    err = nt__buf_reserve(out, capacity < limit ? capacity : limit);
    if (err)
      return err;
  }
  capacity = out->capacity < limit ? out->capacity : limit;
  *room = at_most(capacity - out->size);
  return 0;
}

/* ---- Sending ------------------------------------------------------------ */

/* Compresses what next_in holds, until all that it becomes is in `out`. */
static int deflate_piece(z_stream* z, int flush, nt__buf_t* out) {
  do {
    uInt room;
    int err = make_room(out, FLUSH_ROOM, z->avail_in / 2 + 64, &room);

    if (err)
      return err;
    z->next_out = (unsigned char*) out->data + out->size;
    z->avail_out = room;
    deflate(z, flush);
    out->size += room - z->avail_out;
  } while (z->avail_in > 0 || z->avail_out == 0);
  return 0;
}

static int deflate_all(z_stream* z, const void* data, size_t size,
                       nt__buf_t* out) {
  int err = 0;

  z->next_in = data;
  while (size > 0 && err == 0) {
    uInt n = at_most(size);

    z->avail_in = n;
    size -= n;
    err = deflate_piece(z, size > 0 ? Z_NO_FLUSH : Z_SYNC_FLUSH, out);
  }
  return err;
}

int nt__ws_deflate_message(nt__ws_deflate_t* deflate, const void* data,
                           size_t size, nt__buf_t* out) {
  size_t start = out->size;
  int err = ready_out(deflate);

  if (err)
    return err;
  if (size == 0) /* 7.2.3.6; zlib flushes nothing twice */
    return nt__buf_append(out, "", 1);
  err = deflate_all(&deflate->out, data, size, out);
  if (err)
    out->size = start;
  else
    out->size -= sizeof(tail);
  /* After an error the other side has not seen what the window holds. */
  if (err || deflate->params.client_no_context_takeover)
    deflateReset(&deflate->out);
  if (out->data != NULL)
    out->data[out->size] = '\0';
  return err;
}

/* ---- Receiving ---------------------------------------------------------- */

/* One call of inflate(). Without room left it gets a byte to prove that there
 * is something to come. */
static int inflate_step(nt__ws_deflate_t* deflate, nt__buf_t* out) {
  z_stream* z = &deflate->in;
  unsigned char spill;
  uInt room = 1;
  int err = make_room(out, 1, (size_t) z->avail_in * 4, &room);
  int code;

  if (err && err != NT_E_FULL)
    return err;
  if (deflate->final)
    inflateResetKeep(z); /* all but the window, which may be referred to */
  deflate->final = false;
  z->next_out = err ? &spill : (unsigned char*) out->data + out->size;
  z->avail_out = room;
  code = inflate(z, Z_SYNC_FLUSH);
  if (code == Z_MEM_ERROR)
    return NT_E_NOMEM;
  if (err && z->avail_out == 0)
    return NT_E_FULL;
  if (!err) {
    out->size += room - z->avail_out;
    out->data[out->size] = '\0';
  }
  deflate->final = code == Z_STREAM_END;
  /* Z_BUF_ERROR: all was read, and what filled the room was all of it. */
  return code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR
             ? 0
             : NT_E_DECODING;
}

static int inflate_all(nt__ws_deflate_t* deflate, const void* data, size_t size,
                       nt__buf_t* out) {
  z_stream* z = &deflate->in;
  int err = 0;

  z->next_in = data;
  while (size > 0 && err == 0) {
    uInt n = at_most(size);

    z->avail_in = n;
    size -= n;
    do
      err = inflate_step(deflate, out);
    while (err == 0 &&
           (z->avail_in > 0 || (z->avail_out == 0 && !deflate->final)));
  }
  return err;
}

/* `data_type` has bit 7 behind a block and before the next one: anything else
 * is a message that was cut. A message that ended its stream has no tail. */
static int finish_message(nt__ws_deflate_t* deflate, nt__buf_t* out) {
  int err = 0;

  deflate->in_message = false;
  if (!deflate->final) {
    err = inflate_all(deflate, tail, sizeof(tail), out);
    if (err == 0 && !deflate->final && !(deflate->in.data_type & 128))
      err = NT_E_DECODING;
  }
  if (deflate->params.server_no_context_takeover) {
    inflateReset(&deflate->in);
    deflate->final = false;
  }
  return err;
}

int nt__ws_inflate(nt__ws_deflate_t* deflate, const void* data, size_t size,
                   bool end, nt__buf_t* out) {
  int err = ready_in(deflate);

  if (err)
    return err;
  if (size > 0) {
    deflate->in_message = true;
    err = inflate_all(deflate, data, size, out);
  }
  /* Some leave out even the one byte of an empty message. */
  if (err == 0 && end && deflate->in_message)
    err = finish_message(deflate, out);
  return err;
}
