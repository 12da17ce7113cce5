/* ws_deflate.c: what a server may answer, the examples of RFC 7692, and every
 * agreement that there can be against zlib itself in the part of the server,
 * which keeps to the letter of it. */
#include <string.h>
#include <zlib.h>

#include "failing.h"
#include "guard.h"
#include "ws_deflate.h"

/* ---- The answer --------------------------------------------------------- */

#define DUPLICATE                                                              \
  "Error in permessage-deflate: Received duplicate permessage-deflate "        \
  "extension parameter "
#define INVALID(name)                                                          \
  "Error in permessage-deflate: Received invalid " name " parameter"
#define UNEXPECTED                                                             \
  "Error in permessage-deflate: Received an unexpected permessage-deflate "    \
  "extension parameter"
#define UNSUPPORTED                                                            \
  "Found an unsupported extension in 'Sec-WebSocket-Extensions' header"
#define REJECTED                                                               \
  "'Sec-WebSocket-Extensions' header value is rejected by the parser"

static const struct {
  const char* value;
  nt__ws_deflate_params_t params;
} agreed[] = {
  { "permessage-deflate", { false, false, 15, 15 } },
  { " permessage-deflate ", { false, false, 15, 15 } },
  { ", ,permessage-deflate,,", { false, false, 15, 15 } },
  { "permessage-deflate; client_no_context_takeover", { true, false, 15, 15 } },
  { "permessage-deflate;server_no_context_takeover", { false, true, 15, 15 } },
  { "permessage-deflate; client_max_window_bits=8", { false, false, 8, 15 } },
  { "permessage-deflate; client_max_window_bits=9", { false, false, 9, 15 } },
  { "permessage-deflate; client_max_window_bits=15", { false, false, 15, 15 } },
  { "permessage-deflate; server_max_window_bits=10", { false, false, 15, 10 } },
  { "permessage-deflate; server_max_window_bits=\"8\"",
    { false, false, 15, 8 } },
  { "permessage-deflate\t;  server_max_window_bits = \"12\" ;"
    "client_max_window_bits =11; server_no_context_takeover ;"
    "client_no_context_takeover",
    { true, true, 11, 12 } },
};

static const struct {
  const char* value;
  const char* problem;
} refused[] = {
  { "", REJECTED },
  { " , ", REJECTED },
  { ";", REJECTED },
  { "permessage-deflate;", REJECTED },
  { "permessage-deflate; ;", REJECTED },
  { "permessage-deflate; =1", REJECTED },
  { "permessage-deflate; client_max_window_bits=", REJECTED },
  { "permessage-deflate; client_max_window_bits=;", REJECTED },
  { "permessage-deflate; client_max_window_bits=\"\"", REJECTED },
  { "permessage-deflate; client_max_window_bits=\"9", REJECTED },
  { "permessage-deflate; client_max_window_bits=\"9 9\"", REJECTED },
  { "permessage-deflate; client_max_window_bits=\" 9\"", REJECTED },
  { "permessage-deflate; client_max_window_bits=\"9 \"", REJECTED },
  { "permessage-deflate; client_max_window_bits=9 9", REJECTED },
  { "permessage-deflate client_max_window_bits=9", REJECTED },
  { "permessage-deflate/", REJECTED },
  { "Permessage-Deflate", UNSUPPORTED },
  { "permessage-deflat", UNSUPPORTED },
  { "permessage-deflate-frame", UNSUPPORTED },
  { "x-webkit-deflate-frame", UNSUPPORTED },
  { "permessage-deflate, foo", UNSUPPORTED },
  { "foo, permessage-deflate", UNSUPPORTED },
  { "permessage-deflate, permessage-deflate",
    "Received duplicate permessage-deflate response" },
  { "permessage-deflate; client_no_context_takeover, permessage-deflate; "
    "client_no_context_takeover",
    "Received duplicate permessage-deflate response" },
  { "permessage-deflate; foo", UNEXPECTED },
  { "permessage-deflate; foo=1", UNEXPECTED },
  { "permessage-deflate; client_no_context_takeove", UNEXPECTED },
  { "permessage-deflate; client_no_context_takeover=1",
    INVALID("client_no_context_takeover") },
  { "permessage-deflate; server_no_context_takeover=true",
    INVALID("server_no_context_takeover") },
  { "permessage-deflate; client_max_window_bits",
    "Error in permessage-deflate: client_max_window_bits must have value" },
  { "permessage-deflate; server_max_window_bits",
    INVALID("server_max_window_bits") },
  { "permessage-deflate; client_max_window_bits=7",
    INVALID("client_max_window_bits") },
  { "permessage-deflate; client_max_window_bits=16",
    INVALID("client_max_window_bits") },
  { "permessage-deflate; client_max_window_bits=09",
    INVALID("client_max_window_bits") },
  { "permessage-deflate; server_max_window_bits=010",
    INVALID("server_max_window_bits") },
  { "permessage-deflate; server_max_window_bits=-9",
    INVALID("server_max_window_bits") },
  { "permessage-deflate; server_max_window_bits=1",
    INVALID("server_max_window_bits") },
  { "permessage-deflate; server_max_window_bits=150",
    INVALID("server_max_window_bits") },
  { "permessage-deflate; server_max_window_bits=1x",
    INVALID("server_max_window_bits") },
  { "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
    DUPLICATE "server_max_window_bits" },
  { "permessage-deflate; client_no_context_takeover; "
    "client_no_context_takeover",
    DUPLICATE "client_no_context_takeover" },
};

static void assert_params(const nt__ws_deflate_params_t* params,
                          const nt__ws_deflate_params_t* expected) {
  assert_int_equal(params->client_no_context_takeover,
                   expected->client_no_context_takeover);
  assert_int_equal(params->server_no_context_takeover,
                   expected->server_no_context_takeover);
  assert_int_equal(params->client_max_window_bits,
                   expected->client_max_window_bits);
  assert_int_equal(params->server_max_window_bits,
                   expected->server_max_window_bits);
}

/* Whatever is left of a value, windows are such as there are. */
static void cut_everywhere(guard_t* guard, const char* value) {
  size_t size;

  for (size = 0; size <= strlen(value); size++) {
    nt__ws_deflate_params_t params;

    if (nt__ws_deflate_parse(guard_text(guard, value, size), &params) == NULL) {
      assert_in_range(params.client_max_window_bits, 8, 15);
      assert_in_range(params.server_max_window_bits, 8, 15);
      assert_true(size >= strlen("permessage-deflate"));
    }
  }
}

static void answers(void** state) {
  guard_t guard = guard_open(256);
  nt__ws_deflate_params_t params;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(agreed); i++) {
    assert_null(nt__ws_deflate_parse(agreed[i].value, &params));
    assert_params(&params, &agreed[i].params);
    cut_everywhere(&guard, agreed[i].value);
  }
  for (i = 0; i < COUNT(refused); i++) {
    assert_string_equal(nt__ws_deflate_parse(refused[i].value, &params),
                        refused[i].problem);
    cut_everywhere(&guard, refused[i].value);
  }
  guard_close(&guard);
}

/* ---- Inflating ---------------------------------------------------------- */

static const nt__ws_deflate_params_t plain = { false, false, 15, 15 };

typedef struct bytes {
  const char* data;
  size_t size;
} bytes_t;

#define BYTES(text)                                                            \
  { text, sizeof(text) - 1 }

/* In pieces of `step` bytes, each at the guard page; the end comes with the
 * last of them, or behind it. */
static int inflate_pieces(nt__ws_deflate_t* deflate, guard_t* guard,
                          bytes_t message, size_t step, bool end_apart,
                          nt__buf_t* out) {
  size_t done = 0;
  int err = 0;

  out->size = 0;
  while (err == 0 && done < message.size) {
    size_t n = step < message.size - done ? step : message.size - done;
    const char* data = guard_put(guard, message.data + done, n);

    done += n;
    err = nt__ws_inflate(deflate, data, n, done == message.size && !end_apart,
                         out);
  }
  if (err == 0 && (end_apart || message.size == 0))
    err = nt__ws_inflate(deflate, NULL, 0, true, out);
  return err;
}

static const struct {
  bytes_t messages[3];
  const char* texts[3];
} inflated[] = {
  /* RFC 7692, 7.2.3 */
  { { BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00") }, { "Hello" } },
  { { BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), BYTES("\xf2\x00\x11\x00\x00") },
    { "Hello", "Hello" } },
  { { BYTES("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00") }, { "Hello" } },
  { { BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00") }, { "Hello" } },
  { { BYTES("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00") },
    { "Hello" } },
  /* empty messages */
  { { BYTES("\x00") }, { "" } },
  { { BYTES("\x02\x00") }, { "" } },
  { { BYTES("") }, { "" } },
  { { BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), BYTES(""),
      BYTES("\xf2\x00\x11\x00\x00") },
    { "Hello", "", "Hello" } },
  /* last blocks: behind one comes another, or the end; the window stays */
  { { BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00") },
    { "HelloHello" } },
  { { BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
      BYTES("\xf2\x00\x11\x00\x00") },
    { "Hello", "Hello" } },
  { { BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00"), BYTES("\xf2\x00\x11\x00\x00") },
    { "Hello", "Hello" } },
  { { BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\x01"),
      BYTES("\xf2\x00\x11\x00\x00") },
    { "Hello", "Hello" } }, /* its length is what was cut off */
};

static void inflates_in_pieces(void** state) {
  guard_t guard = guard_open(64);
  size_t i;
  size_t k;
  size_t step;
  int apart;

  (void) state;
  for (i = 0; i < COUNT(inflated); i++)
    for (step = 1; step < 20; step++)
      for (apart = 0; apart < 2; apart++) {
        nt__ws_deflate_t* deflate = nt__ws_deflate_new(&plain);
        nt__buf_t out;

        nt__buf_init(&out, 0);
        for (k = 0; k < 3 && inflated[i].texts[k] != NULL; k++) {
          assert_int_equal(
              inflate_pieces(deflate, &guard, inflated[i].messages[k], step,
                             apart, &out),
              0);
          assert_int_equal(out.size, strlen(inflated[i].texts[k]));
          if (out.size > 0)
            assert_string_equal(out.data, inflated[i].texts[k]);
        }
        nt__buf_free(&out);
        nt__ws_deflate_free(deflate);
      }
  guard_close(&guard);
}

static void inflate_up_to(guard_t* guard, size_t i, size_t max, size_t step) {
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&plain);
  size_t size = strlen(inflated[i].texts[0]);
  nt__buf_t out;
  int err;

  nt__buf_init(&out, max);
  err = inflate_pieces(deflate, guard, inflated[i].messages[0], step, false,
                       &out);
  assert_int_equal(err, size <= max ? 0 : NT_E_FULL);
  assert_true(out.size <= max && out.capacity <= max);
  nt__buf_free(&out);
  nt__ws_deflate_free(deflate);
}

/* A maximum of every size: what fits exactly is right, one byte less is not. */
static void inflates_up_to_its_maximum(void** state) {
  guard_t guard = guard_open(64);
  size_t i;
  size_t max;
  size_t step;

  (void) state;
  for (i = 0; i < COUNT(inflated); i++)
    for (max = 1; max < 12; max++)
      for (step = 1; step < 20; step++)
        inflate_up_to(&guard, i, max, step);
  guard_close(&guard);
}

/* What has come of a message that is cut is its beginning; at the end it is
 * wrong, or right where a block was whole. */
static void cut_messages(void** state) {
  guard_t guard = guard_open(64);
  size_t i;
  size_t size;

  (void) state;
  for (i = 0; i < COUNT(inflated); i++)
    for (size = 1; size < inflated[i].messages[0].size; size++) {
      const char* data = guard_put(&guard, inflated[i].messages[0].data, size);
      nt__ws_deflate_t* deflate = nt__ws_deflate_new(&plain);
      nt__buf_t out;
      int err;

      nt__buf_init(&out, 0);
      assert_int_equal(nt__ws_inflate(deflate, data, size, false, &out), 0);
      assert_true(out.size <= strlen(inflated[i].texts[0]));
      assert_memory_equal(out.data, inflated[i].texts[0], out.size);
      err = nt__ws_inflate(deflate, NULL, 0, true, &out);
      assert_true(err == 0 || err == NT_E_DECODING);
      nt__buf_free(&out);
      nt__ws_deflate_free(deflate);
    }
  guard_close(&guard);
}

static void broken_messages(void** state) {
  static const bytes_t cases[] = {
    BYTES("\xf2\x48\xcd\xc9\xc9\x07"),    /* cut */
    BYTES("\xf2"),                        /* cut */
    BYTES("\x07"),                        /* a type of block that is none */
    BYTES("\x00\x05\x00\xfa\xfeHello\0"), /* lengths that do not match */
    BYTES("\xf2\x00\x11\x00\x00"),        /* refers to what was not there */
    BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x07"), /* garbage behind the last */
    BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"), /* with its tail */
  };
  guard_t guard = guard_open(64);
  size_t i;
  size_t step;

  (void) state;
  for (i = 0; i < COUNT(cases); i++)
    for (step = 1; step < 12; step++) {
      nt__ws_deflate_t* deflate = nt__ws_deflate_new(&plain);
      nt__buf_t out;

      nt__buf_init(&out, 0);
      assert_int_equal(
          inflate_pieces(deflate, &guard, cases[i], step, step & 1, &out),
          NT_E_DECODING);
      nt__buf_free(&out);
      nt__ws_deflate_free(deflate);
    }
  guard_close(&guard);
}

/* ---- Against zlib ------------------------------------------------------- */

/* A server that keeps windows as small as was agreed, and not one byte more:
 * inflating a byte at a time, it has nothing to look back at but its window. */
typedef struct server {
  nt__ws_deflate_params_t params;
  z_stream in;
  z_stream out;
} server_t;

static void server_open(server_t* server,
                        const nt__ws_deflate_params_t* params) {
  int bits = params->server_max_window_bits;

  memset(server, 0, sizeof(*server));
  server->params = *params;
  assert_int_equal(inflateInit2(&server->in, -params->client_max_window_bits),
                   Z_OK);
  assert_int_equal(deflateInit2(&server->out, 9, Z_DEFLATED,
                                -(bits < 9 ? 9 : bits), 9, Z_DEFAULT_STRATEGY),
                   Z_OK);
}

static void server_close(server_t* server) {
  inflateEnd(&server->in);
  deflateEnd(&server->out);
}

static void server_inflate(server_t* server, const nt__buf_t* message,
                           const char* text, size_t size) {
  static unsigned char tail[4] = { 0, 0, 0xff, 0xff };
  z_stream* z = &server->in;
  unsigned char byte;
  size_t found = 0;
  int i;

  for (i = 0; i < 2; i++) {
    z->next_in = i == 0 ? (unsigned char*) message->data : tail;
    z->avail_in = i == 0 ? (uInt) message->size : sizeof(tail);
    do {
      int code;

      z->next_out = &byte;
      z->avail_out = 1;
      code = inflate(z, Z_SYNC_FLUSH);
      assert_true(code == Z_OK || code == Z_BUF_ERROR);
      if (z->avail_out == 0) {
        assert_true(found < size);
        assert_int_equal(byte, (unsigned char) text[found]);
        found++;
      }
    } while (z->avail_in > 0 || z->avail_out == 0);
  }
  assert_int_equal(found, size);
  if (server->params.client_no_context_takeover)
    inflateReset(z);
}

static void server_deflate(server_t* server, const char* text, size_t size,
                           nt__buf_t* out) {
  z_stream* z = &server->out;

  assert_int_equal(nt__buf_reserve(out, size * 2 + 100), 0);
  z->next_in = (unsigned char*) text;
  z->avail_in = (uInt) size;
  z->next_out = (unsigned char*) out->data;
  z->avail_out = (uInt) out->capacity;
  assert_int_equal(deflate(z, Z_SYNC_FLUSH), Z_OK);
  out->size = out->capacity - z->avail_out - 4;
  if (server->params.server_no_context_takeover)
    deflateReset(z);
}

/* Text that repeats itself near and far, and noise. */
static char* make_text(size_t size) {
  char* text = malloc(size);
  uint64_t random = 7;
  size_t i;

  assert_non_null(text);
  for (i = 0; i < size; i++) {
    uint64_t r = next_random(&random);

    if (i % 1000 < 100)
      text[i] = (char) r;
    else
      text[i] = r % 10 < 9 && i >= 1000 ? text[i - (r & 64 ? 997 : 211)]
                                        : (char) ('a' + r % 26);
  }
  return text;
}

static void check_agreement(const nt__ws_deflate_params_t* params,
                            const char* text, size_t text_size) {
  static const size_t sizes[] = { 5, 5, 1000, 1, 40000, 700, 0, 70000, 700 };
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(params);
  nt__buf_t message;
  nt__buf_t out;
  server_t server;
  size_t i;

  server_open(&server, params);
  nt__buf_init(&message, 0);
  nt__buf_init(&out, text_size);
  for (i = 0; i < COUNT(sizes); i++) {
    message.size = out.size = 0;
    assert_int_equal(nt__ws_deflate_message(deflate, text, sizes[i], &message),
                     0);
    server_inflate(&server, &message, text, sizes[i]);
    if (sizes[i] == 0)
      continue;
    server_deflate(&server, text, sizes[i], &message);
    assert_int_equal(
        nt__ws_inflate(deflate, message.data, message.size / 2, false, &out),
        0);
    assert_int_equal(
        nt__ws_inflate(deflate, message.data + message.size / 2,
                       message.size - message.size / 2, true, &out),
        0);
    assert_int_equal(out.size, sizes[i]);
    assert_memory_equal(out.data, text, sizes[i]);
  }
  nt__buf_free(&out);
  nt__buf_free(&message);
  nt__ws_deflate_free(deflate);
  server_close(&server);
}

static void every_agreement(void** state) {
  enum {
    SIZE = 70000
  };
  char* text = make_text(SIZE);
  int bits;
  int takeover;

  (void) state;
  for (bits = 8; bits <= 15; bits++)
    for (takeover = 0; takeover < 4; takeover++) {
      nt__ws_deflate_params_t params = { takeover & 1, takeover & 2, bits,
                                         23 - bits };

      check_agreement(&params, text, SIZE);
    }
  free(text);
}

/* Taking over is worth it, and is not done when it must not be. */
static void takes_the_window_over(void** state) {
  int no;

  (void) state;
  for (no = 0; no < 2; no++) {
    nt__ws_deflate_params_t params = { no, no, 15, 15 };
    nt__ws_deflate_t* deflate = nt__ws_deflate_new(&params);
    nt__buf_t first;
    nt__buf_t second;

    nt__buf_init(&first, 0);
    nt__buf_init(&second, 0);
    nt__ws_deflate_message(deflate, "Hello, world", 12, &first);
    nt__ws_deflate_message(deflate, "Hello, world", 12, &second);
    assert_int_equal(second.size < first.size, !no);
    nt__buf_free(&second);
    nt__buf_free(&first);
    nt__ws_deflate_free(deflate);
  }
}

/* A server that said it would not refer back must not. */
static void forgets_the_window(void** state) {
  static const nt__ws_deflate_params_t params = { false, true, 15, 15 };
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&params);
  nt__buf_t out;

  (void) state;
  nt__buf_init(&out, 0);
  assert_int_equal(
      nt__ws_inflate(deflate, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, true, &out),
      0);
  assert_int_equal(
      nt__ws_inflate(deflate, "\xf2\x00\x11\x00\x00", 5, true, &out),
      NT_E_DECODING);
  nt__buf_free(&out);
  nt__ws_deflate_free(deflate);
}

/* With the smallest window only runs are referred to: that is all that zlib
 * promises to keep within 256 bytes. */
static void smallest_window(void** state) {
  static const nt__ws_deflate_params_t params = { true, false, 8, 15 };
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&params);
  char text[800];
  nt__buf_t out;
  size_t i;

  (void) state;
  nt__buf_init(&out, 0);
  memset(text, 'a', sizeof(text));
  nt__ws_deflate_message(deflate, text, sizeof(text), &out);
  assert_in_range(out.size, 1, 30);
  for (i = 0; i < sizeof(text); i++)
    text[i] = "abcdefgh"[i % 8];
  out.size = 0;
  nt__ws_deflate_message(deflate, text, sizeof(text), &out);
  assert_in_range(out.size, 200, 800);
  nt__buf_free(&out);
  nt__ws_deflate_free(deflate);
}

/* However the buffer has to grow, the message is the same, but for one empty
 * block more where zlib filled it to the last byte. */
static void grows_unseen(void** state) {
  static const nt__ws_deflate_params_t params = { true, false, 15, 15 };
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&params);
  char* text = make_text(2000);
  nt__buf_t large;
  nt__buf_t out;
  server_t server;
  size_t size;

  (void) state;
  server_open(&server, &params);
  nt__buf_init(&large, 0);
  assert_int_equal(nt__buf_reserve(&large, 10000), 0);
  for (size = 1; size < 2000; size++) {
    large.size = 0;
    assert_int_equal(nt__ws_deflate_message(deflate, text, size, &large), 0);
    nt__buf_init(&out, 0);
    assert_int_equal(nt__ws_deflate_message(deflate, text, size, &out), 0);
    assert_memory_equal(out.data, large.data, large.size);
    assert_true(out.size == large.size || out.size == large.size + 5);
    server_inflate(&server, &out, text, size);
    nt__buf_free(&out);
  }
  server_close(&server);
  nt__buf_free(&large);
  free(text);
  nt__ws_deflate_free(deflate);
}

/* It appends, and ends with a NUL. */
static void appends(void** state) {
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&plain);
  nt__buf_t out;

  (void) state;
  nt__buf_init(&out, 0);
  assert_int_equal(nt__buf_append(&out, "ab", 2), 0);
  assert_int_equal(nt__ws_deflate_message(deflate, "Hello", 5, &out), 0);
  assert_int_equal(out.size, 2 + 7);
  assert_memory_equal(out.data, "ab\xf2\x48\xcd\xc9\xc9\x07\x00", 10);
  out.size = 2;
  assert_int_equal(
      nt__ws_inflate(deflate, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, true, &out),
      0);
  assert_string_equal(out.data, "abHello");
  nt__buf_free(&out);
  nt__ws_deflate_free(deflate);
}

/* What does not fit leaves no trace, and the other side, which has not seen it,
 * understands what follows. */
static void deflates_up_to_its_maximum(void** state) {
  enum {
    SIZE = 5000
  };
  nt__ws_deflate_params_t params = plain;
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&params);
  char* text = make_text(SIZE);
  nt__buf_t out;
  server_t server;
  size_t max;
  int full = 0;

  (void) state;
  server_open(&server, &params);
  for (max = 1; max < 2 * SIZE; max += max < 100 ? 1 : 97) {
    int err;

    nt__buf_init(&out, max);
    err = nt__ws_deflate_message(deflate, text, SIZE, &out);
    assert_true(out.size <= max && out.capacity <= max);
    if (err == 0) {
      server_inflate(&server, &out, text, SIZE);
    } else {
      assert_int_equal(err, NT_E_FULL);
      assert_int_equal(out.size, 0);
      full++;
    }
    nt__buf_free(&out);
  }
  assert_in_range(full, 20, 150);
  free(text);
  server_close(&server);
  nt__ws_deflate_free(deflate);
}

/* ---- Bombs -------------------------------------------------------------- */

/* 64 MB of zeros are 64 KB. They end at the maximum, whole or in pieces. */
static void bomb(void** state) {
  enum {
    SIZE = 64 << 20,
    MAX = 100000
  };
  static const size_t steps[] = { 1, 1000, SIZE };
  char* zeros = calloc(1, SIZE);
  nt__buf_t message;
  nt__buf_t out;
  server_t server;
  size_t i;

  (void) state;
  assert_non_null(zeros);
  nt__buf_init(&message, 0);
  server_open(&server, &plain);
  server_deflate(&server, zeros, SIZE, &message);
  assert_in_range(message.size, 1, SIZE / 1000);
  for (i = 0; i < COUNT(steps); i++) {
    nt__ws_deflate_t* deflate = nt__ws_deflate_new(&plain);
    size_t done = 0;
    int err = 0;

    nt__buf_init(&out, MAX);
    while (err == 0 && done < message.size) {
      size_t left = message.size - done;
      size_t n = steps[i] < left ? steps[i] : left;

      err = nt__ws_inflate(deflate, message.data + done, n, n == left, &out);
      assert_true(out.capacity <= MAX);
      done += n;
    }
    assert_int_equal(err, NT_E_FULL);
    assert_int_equal(out.size, MAX);
    nt__buf_free(&out);
    nt__ws_deflate_free(deflate);
  }
  server_close(&server);
  nt__buf_free(&message);
  free(zeros);
}

/* Millions of streams that end at once take no more time than their bytes. */
static void many_last_blocks(void** state) {
  enum {
    COUNT_OF_THEM = 4 << 20
  };
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&plain);
  char* bytes = malloc(2 * COUNT_OF_THEM);
  nt__buf_t out;
  size_t i;

  (void) state;
  assert_non_null(bytes);
  for (i = 0; i < COUNT_OF_THEM; i++) {
    bytes[2 * i] = 3;
    bytes[2 * i + 1] = 0;
  }
  nt__buf_init(&out, 100);
  assert_int_equal(
      nt__ws_inflate(deflate, bytes, 2 * COUNT_OF_THEM, true, &out), 0);
  assert_int_equal(out.size, 0);
  nt__buf_free(&out);
  free(bytes);
  nt__ws_deflate_free(deflate);
}

/* ---- Memory ------------------------------------------------------------- */

/* Each allocation fails once, then all from there on: NT_E_NOMEM or a success,
 * and everything is given back. */
static int use_memory(void) {
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&plain);
  nt__buf_t message;
  nt__buf_t out;
  int err = NT_E_NOMEM;

  nt__buf_init(&message, 0);
  nt__buf_init(&out, 0);
  if (deflate != NULL) {
    err = nt__ws_deflate_message(deflate, "Hello, Hello", 12, &message);
    assert_int_equal(message.size > 0, err == 0);
    if (err == 0)
      err = nt__ws_inflate(deflate, message.data, message.size, true, &out);
  }
  if (err == 0)
    assert_string_equal(out.data, "Hello, Hello");
  nt__buf_free(&out);
  nt__buf_free(&message);
  nt__ws_deflate_free(deflate);
  return err;
}

static void without_memory(void** state) {
  int mode;
  long n;

  (void) state;
  for (mode = FAILING_ONCE; mode <= FAILING_ALWAYS; mode++)
    for (n = 1; n < 100; n++) {
      int err;

      failing_start((failing_mode_t) mode, n);
      err = use_memory();
      assert_int_equal(atomic_load(&failing_live), 0);
      if (failing_stop()) {
        assert_int_equal(err, 0);
        assert_in_range(n, 8, 20); /* zlib's are among them */
        break;
      }
      assert_int_equal(err, NT_E_NOMEM);
    }
}

/* Nothing but the object itself before the first message. */
static void takes_memory_late(void** state) {
  nt__ws_deflate_t* deflate;

  (void) state;
  failing_start(FAILING_ALWAYS, 2);
  deflate = nt__ws_deflate_new(&plain);
  assert_non_null(deflate);
  assert_int_equal(atomic_load(&failing_calls), 1);
  failing_relent();
  nt__ws_deflate_free(deflate);
  nt__ws_deflate_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(answers),
    cmocka_unit_test(inflates_in_pieces),
    cmocka_unit_test(inflates_up_to_its_maximum),
    cmocka_unit_test(cut_messages),
    cmocka_unit_test(broken_messages),
    cmocka_unit_test(every_agreement),
    cmocka_unit_test(takes_the_window_over),
    cmocka_unit_test(forgets_the_window),
    cmocka_unit_test(smallest_window),
    cmocka_unit_test(grows_unseen),
    cmocka_unit_test(appends),
    cmocka_unit_test(deflates_up_to_its_maximum),
    cmocka_unit_test(bomb),
    cmocka_unit_test(many_last_blocks),
    cmocka_unit_test(without_memory),
    cmocka_unit_test(takes_memory_late),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("ws_deflate", tests, NULL, NULL);
}
