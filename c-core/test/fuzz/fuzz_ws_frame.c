/* WebSocket frames as a server may send them, and what is in them. The first
 * byte chooses what was agreed on, the second how the rest comes in pieces.
 * What is found must not depend on the pieces, and no message may become larger
 * than its maximum. With the highest bit of the first byte the rest is a text
 * instead, that has to come back from being compressed. */
#include <stdlib.h>
#include <string.h>

#include "nettask.h"
#include "utf8.h"
#include "ws_deflate.h"
#include "ws_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

enum {
  MAX_MESSAGE = 5000
};

static void require(int condition) {
  if (!condition)
    abort();
}

/* All that was found, as bytes. */
typedef struct session {
  nt__ws_reader_t reader;
  nt__ws_deflate_t* deflate;
  nt__utf8_t utf8;
  nt__buf_t message;
  nt__buf_t trace;
  int err; /* of the message */
  bool open;
} session_t;

static nt__ws_deflate_params_t params_of(uint8_t flags) {
  nt__ws_deflate_params_t params = { flags & 1, flags & 2, 8 + (flags >> 2 & 7),
                                     15 - (flags >> 2 & 7) };

  return params;
}

static void note(session_t* s, const void* data, size_t size) {
  require(nt__buf_append(&s->trace, data, size) == 0);
}

static void note_byte(session_t* s, int value) {
  char byte = (char) value;

  note(s, &byte, 1);
}

static void on_begin(session_t* s) {
  require(!s->open);
  require(s->reader.opcode == NT__WS_TEXT || s->reader.opcode == NT__WS_BINARY);
  require(!s->reader.compressed || s->reader.allow_compressed);
  s->open = true;
  s->err = 0;
  s->message.size = 0;
  memset(&s->utf8, 0, sizeof(s->utf8));
  note_byte(s, 'B');
  note_byte(s, s->reader.opcode);
}

static void on_data(session_t* s, bool end) {
  const char* data = end ? NULL : s->reader.data;
  size_t size = end ? 0 : s->reader.size;

  require(s->open && (end || size > 0));
  if (s->err != 0)
    return;
  if (s->reader.compressed)
    s->err = nt__ws_inflate(s->deflate, data, size, end, &s->message);
  else if (!end)
    s->err = nt__buf_append(&s->message, data, size);
  require(s->err == 0 || s->err == NT_E_FULL || s->err == NT_E_DECODING);
  require(s->message.size <= MAX_MESSAGE && s->message.capacity <= MAX_MESSAGE);
  if (s->err == 0 && !s->reader.compressed && !end &&
      s->reader.opcode == NT__WS_TEXT && !nt__utf8_feed(&s->utf8, data, size))
    s->err = NT_E_WS_TEXT;
}

/* False when the connection would end here. */
static bool on_end(session_t* s) {
  on_data(s, true);
  s->open = false;
  note_byte(s, 'E');
  note(s, &s->err, sizeof(s->err));
  if (s->err != 0)
    return false;
  note(s, s->message.data == NULL ? "" : s->message.data, s->message.size);
  if (!s->reader.compressed && s->reader.opcode == NT__WS_TEXT)
    require(nt__utf8_done(&s->utf8) ==
            (s->message.size == 0 ||
             nt__utf8_valid(s->message.data, s->message.size)));
  return true;
}

static void on_control(session_t* s) {
  const char* reason;
  size_t reason_size;
  bool bad_text;
  int code;

  require(s->reader.opcode >= NT__WS_CLOSE && s->reader.opcode <= NT__WS_PONG);
  require(s->reader.size <= NT__WS_CONTROL_MAX);
  note_byte(s, 'C');
  note_byte(s, s->reader.opcode);
  note(s, s->reader.data, s->reader.size);
  if (s->reader.opcode == NT__WS_CLOSE &&
      nt__ws_read_close(s->reader.data, s->reader.size, &code, &reason,
                        &reason_size, &bad_text) == NULL) {
    require(code == 1005 || nt__ws_code_is_valid(code));
    require(nt__utf8_valid(reason, reason_size));
  }
}

/* False when nothing more is to be read. */
static bool read_piece(session_t* s, const char* data, size_t size) {
  const char* end = data + size;

  for (;;) {
    nt__ws_item_t item = nt__ws_reader_next(&s->reader, &data, &size);

    require(data + size == end);
    switch (item) {
      case NT__WS_MORE:
        require(size == 0);
        return true;
      case NT__WS_BEGIN:
        on_begin(s);
        break;
      case NT__WS_DATA:
        on_data(s, false);
        break;
      case NT__WS_END:
        if (!on_end(s))
          return false;
        break;
      case NT__WS_CONTROL:
        on_control(s);
        break;
      case NT__WS_BAD:
        note_byte(s, 'X');
        note(s, s->reader.problem, strlen(s->reader.problem));
        require(nt__ws_reader_next(&s->reader, &data, &size) == NT__WS_BAD);
        return false;
    }
  }
}

/* The next size of a piece; `seed` 0 is everything at once. */
static size_t next_size(unsigned* seed, size_t left) {
  size_t n;

  if (*seed == 0)
    return left;
  *seed = (*seed * 1103515245 + 12345) | 1;
  n = 1 + (*seed >> 16) % 9;
  return n < left ? n : left;
}

/* Each piece from memory of its own, so that a byte too far is seen. */
static nt__buf_t read_session(const uint8_t* data, size_t size, uint8_t flags,
                              unsigned seed) {
  nt__ws_deflate_params_t params = params_of(flags);
  session_t s;
  bool alive = true;

  memset(&s, 0, sizeof(s));
  nt__ws_reader_init(&s.reader, (flags & 0x20) != 0);
  s.deflate = nt__ws_deflate_new(&params);
  nt__buf_init(&s.message, MAX_MESSAGE);
  while (alive && size > 0) {
    size_t n = next_size(&seed, size);
    char* piece = malloc(n);

    require(piece != NULL);
    memcpy(piece, data, n);
    alive = read_piece(&s, piece, n);
    free(piece);
    data += n;
    size -= n;
  }
  nt__ws_deflate_free(s.deflate);
  nt__buf_free(&s.message);
  return s.trace;
}

static void compare_pieces(const uint8_t* data, size_t size, uint8_t flags,
                           unsigned seed) {
  nt__buf_t whole = read_session(data, size, flags, 0);
  nt__buf_t pieces = read_session(data, size, flags, seed + 1);

  require(whole.size == pieces.size);
  require(whole.size == 0 || memcmp(whole.data, pieces.data, whole.size) == 0);
  nt__buf_free(&whole);
  nt__buf_free(&pieces);
}

/* One message: compressed, and back in pieces. */
static void there_and_back(nt__ws_deflate_t* from, nt__ws_deflate_t* to,
                           const uint8_t* data, size_t size, unsigned seed) {
  nt__buf_t packed;
  nt__buf_t back;
  size_t done = 0;

  nt__buf_init(&packed, 0);
  nt__buf_init(&back, size);
  require(nt__ws_deflate_message(from, data, size, &packed) == 0);
  while (done < packed.size) {
    size_t n = next_size(&seed, packed.size - done);

    require(nt__ws_inflate(to, packed.data + done, n, done + n == packed.size,
                           &back) == 0);
    done += n;
  }
  require(back.size == size);
  require(size == 0 || memcmp(back.data, data, size) == 0);
  nt__buf_free(&packed);
  nt__buf_free(&back);
}

/* The text is cut into messages at each 0x0a. */
static void compress_messages(const uint8_t* data, size_t size, uint8_t flags,
                              unsigned seed) {
  nt__ws_deflate_params_t ours = params_of(flags);
  nt__ws_deflate_params_t theirs = { ours.server_no_context_takeover,
                                     ours.client_no_context_takeover,
                                     ours.server_max_window_bits,
                                     ours.client_max_window_bits };
  nt__ws_deflate_t* from = nt__ws_deflate_new(&ours);
  nt__ws_deflate_t* to = nt__ws_deflate_new(&theirs);

  while (size > 0) {
    const uint8_t* end = memchr(data, '\n', size);
    size_t n = end == NULL ? size : (size_t) (end - data);

    there_and_back(from, to, data, n, seed);
    n += end != NULL;
    data += n;
    size -= n;
  }
  nt__ws_deflate_free(from);
  nt__ws_deflate_free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2)
    return 0;
  if (data[0] & 0x80)
    compress_messages(data + 2, size - 2, data[0], data[1]);
  else
    compare_pieces(data + 2, size - 2, data[0], data[1]);
  return 0;
}
