/* ws_frame.c: frames as a server may send them, each cut at every byte, whole,
 * byte by byte and in random pieces, up to a guard page; and what is written.
 *
 * What the reader says is compared as a text: T[...] and B[...] are messages (t
 * and b when compressed), <9:...> is a control frame, ! is the end of it all.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "guard.h"
#include "ws_frame.h"

typedef struct bytes {
  const char* data;
  size_t size;
} bytes_t;

#define BYTES(text)                                                            \
  { text, sizeof(text) - 1 }

enum {
  TRACE_SIZE = 4096
};

typedef struct trace {
  char text[TRACE_SIZE];
  size_t size;
} trace_t;

static void add(trace_t* trace, const char* data, size_t size) {
  assert_true(trace->size + size < TRACE_SIZE);
  if (size > 0)
    memcpy(trace->text + trace->size, data, size);
  trace->size += size;
  trace->text[trace->size] = '\0';
}

static void add_control(trace_t* trace, const nt__ws_reader_t* reader) {
  char head[8];

  snprintf(head, sizeof(head), "<%x:", (unsigned) reader->opcode);
  add(trace, head, strlen(head));
  add(trace, reader->data, reader->size);
  add(trace, ">", 1);
}

static void add_begin(trace_t* trace, const nt__ws_reader_t* reader) {
  bool text = reader->opcode == NT__WS_TEXT;

  assert_true(text || reader->opcode == NT__WS_BINARY);
  if (reader->compressed)
    add(trace, text ? "t[" : "b[", 2);
  else
    add(trace, text ? "T[" : "B[", 2);
}

/* Everything that the reader finds in these bytes; false when it has failed. */
static bool read_all(nt__ws_reader_t* reader, trace_t* trace, const char* data,
                     size_t size) {
  const char* end = data + size;

  for (;;) {
    switch (nt__ws_reader_next(reader, &data, &size)) {
      case NT__WS_MORE:
        assert_int_equal(size, 0);
        assert_ptr_equal(data, end);
        return true;
      case NT__WS_BEGIN:
        add_begin(trace, reader);
        break;
      case NT__WS_DATA:
        assert_true(reader->size > 0);
        assert_true(reader->data + reader->size == data);
        add(trace, reader->data, reader->size);
        break;
      case NT__WS_END:
        add(trace, "]", 1);
        break;
      case NT__WS_CONTROL:
        add_control(trace, reader);
        break;
      case NT__WS_BAD:
        assert_non_null(reader->problem);
        add(trace, "!", 1);
        return false;
    }
  }
}

/* In pieces of `step` bytes, of random sizes when that is 0, each at the guard
 * page. How many bytes were given until the reader failed, or all. */
static size_t read_pieces(guard_t* guard, bool compressed, bytes_t bytes,
                          size_t step, uint64_t* random, trace_t* trace) {
  nt__ws_reader_t reader;
  size_t done = 0;

  nt__ws_reader_init(&reader, compressed);
  trace->size = 0;
  trace->text[0] = '\0';
  while (done < bytes.size) {
    size_t n = step > 0 ? step : (size_t) (next_random(random) % 8);
    bool alive;

    n = n < bytes.size - done ? n : bytes.size - done;
    alive = read_all(&reader, trace, guard_put(guard, bytes.data + done, n), n);
    done += n;
    if (!alive) {
      trace_t more = { "", 0 };

      assert_false(read_all(&reader, &more, bytes.data, bytes.size));
      assert_string_equal(more.text, "!"); /* and nothing else */
      break;
    }
  }
  return done;
}

/* ---- Right frames ------------------------------------------------------- */

static const struct {
  bytes_t bytes;
  const char* trace;
} right[] = {
  { BYTES(""), "" },
  { BYTES("\x81\x00"), "T[]" },
  { BYTES("\x82\x00"), "B[]" },
  { BYTES("\x81\x05Hello"), "T[Hello]" }, /* RFC 6455, 5.7 */
  { BYTES("\x01\x03Hel\x80\x02lo"), "T[Hello]" },
  { BYTES("\x89\x05Hello"), "<9:Hello>" },
  { BYTES("\x8a\x00\x89\x00\x88\x00"), "<a:><9:><8:>" },
  { BYTES("\x82\x01"
          "a\x82\x01"
          "b\x81\x01"
          "c"),
    "B[a]B[b]T[c]" },
  { BYTES("\x01\x00\x00\x00\x80\x00"), "T[]" }, /* empty fragments */
  { BYTES("\x02\x01"
          "a\x00\x00\x80\x01"
          "b"),
    "B[ab]" },
  { BYTES("\x01\x00\x80\x02"
          "ab\x81\x00"),
    "T[ab]T[]" },
  /* control frames between fragments */
  { BYTES("\x01\x02"
          "ab\x89\x01"
          "x\x80\x02"
          "cd"),
    "T[ab<9:x>cd]" },
  { BYTES("\x01\x00\x89\x00\x8a\x02"
          "yz\x00\x01"
          "a\x88\x02\x03\xe8\x80\x00"),
    "T[<9:><a:yz>a<8:\x03\xe8>]" },
  /* 16 bits of length */
  { BYTES("\x82\x7e\x00\x7e"
          "0123456789012345678901234567890123456789012345678901234567890123456"
          "78901234567890123456789012345678901234567890123456789012345"),
    "B[0123456789012345678901234567890123456789012345678901234567890123456"
    "78901234567890123456789012345678901234567890123456789012345]" },
};

static void right_frames(void** state) {
  guard_t guard = guard_open(512);
  uint64_t random = 1;
  trace_t trace;
  trace_t other;
  size_t i;
  size_t k;
  size_t size;

  (void) state;
  for (i = 0; i < COUNT(right); i++) {
    bytes_t all = right[i].bytes;

    read_pieces(&guard, false, all, all.size + 1, NULL, &trace);
    assert_string_equal(trace.text, right[i].trace);
    for (size = 0; size <= all.size; size++) {
      bytes_t cut = { all.data, size };

      read_pieces(&guard, false, cut, size + 1, NULL, &trace);
      assert_memory_equal(trace.text, right[i].trace, trace.size);
      read_pieces(&guard, false, cut, 1, NULL, &other);
      assert_string_equal(other.text, trace.text);
      for (k = 0; k < 20; k++) {
        read_pieces(&guard, false, cut, 0, &random, &other);
        assert_string_equal(other.text, trace.text);
      }
    }
  }
  guard_close(&guard);
}

static void compressed_messages(void** state) {
  static const bytes_t bytes = BYTES(
      "\xc1\x01"
      "a\x42\x01"
      "b\x89\x00\x80\x01"
      "c\x82\x01"
      "d\xc2\x00");
  guard_t guard = guard_open(64);
  trace_t trace;

  (void) state;
  read_pieces(&guard, true, bytes, 100, NULL, &trace);
  assert_string_equal(trace.text, "t[a]b[b<9:>c]B[d]b[]");
  read_pieces(&guard, true, bytes, 1, NULL, &trace);
  assert_string_equal(trace.text, "t[a]b[b<9:>c]B[d]b[]");
  guard_close(&guard);
}

/* The opcode is the message's again behind a control frame, and the length is
 * known at its beginning. */
static void tells_opcode_and_length(void** state) {
  const char* data =
      "\x01\x02"
      "ab\x89\x01"
      "x\x80\x02"
      "cd";
  size_t size = 11;
  nt__ws_reader_t reader;

  (void) state;
  nt__ws_reader_init(&reader, false);
  assert_int_equal(nt__ws_reader_next(&reader, &data, &size), NT__WS_BEGIN);
  assert_int_equal(reader.frame_left, 2);
  assert_int_equal(nt__ws_reader_next(&reader, &data, &size), NT__WS_DATA);
  assert_int_equal(reader.frame_left, 0);
  assert_int_equal(nt__ws_reader_next(&reader, &data, &size), NT__WS_CONTROL);
  assert_int_equal(reader.opcode, NT__WS_PING);
  assert_int_equal(nt__ws_reader_next(&reader, &data, &size), NT__WS_DATA);
  assert_int_equal(reader.opcode, NT__WS_TEXT);
  assert_int_equal(nt__ws_reader_next(&reader, &data, &size), NT__WS_END);
  assert_int_equal(reader.opcode, NT__WS_TEXT);
  assert_int_equal(nt__ws_reader_next(&reader, &data, &size), NT__WS_MORE);
}

/* ---- Wrong frames ------------------------------------------------------- */

/* `at`: which byte shows it, counted from 1. */
static const struct {
  bytes_t bytes;
  size_t at;
  const char* trace;
  const char* problem;
} wrong[] = {
  { BYTES("\x91\x00"), 1, "!", "One or more reserved bits are on" },
  { BYTES("\xa1\x00"), 1, "!", "One or more reserved bits are on" },
  { BYTES("\xc1\x00"), 1, "!", "One or more reserved bits are on" },
  { BYTES("\xc9\x00"), 1, "!", "One or more reserved bits are on" },
  { BYTES("\x01\x00\xc0\x00"), 3, "T[!", "One or more reserved bits are on" },
  { BYTES("\x83\x00"), 1, "!", "Unrecognized frame opcode" },
  { BYTES("\x84\x00"), 1, "!", "Unrecognized frame opcode" },
  { BYTES("\x87\x00"), 1, "!", "Unrecognized frame opcode" },
  { BYTES("\x8b\x00"), 1, "!", "Unrecognized frame opcode" },
  { BYTES("\x8f\x00"), 1, "!", "Unrecognized frame opcode" },
  { BYTES("\x81\x80\0\0\0\0"), 2, "!",
    "A server must not mask any frames that it sends to the client" },
  { BYTES("\x89\xff"), 2, "!",
    "A server must not mask any frames that it sends to the client" },
  { BYTES("\x09\x00"), 1, "!", "Received fragmented control frame" },
  { BYTES("\x08\x00"), 1, "!", "Received fragmented control frame" },
  { BYTES("\x89\x7e\x00\x7e"), 2, "!",
    "Received control frame having too long payload" },
  { BYTES("\x88\x7f\x00"), 2, "!",
    "Received control frame having too long payload" },
  { BYTES("\x80\x01"
          "a"),
    1, "!", "Received unexpected continuation frame" },
  { BYTES("\x00\x01"
          "a"),
    1, "!", "Received unexpected continuation frame" },
  { BYTES("\x81\x01"
          "a\x80\x00"),
    4, "T[a]!", "Received unexpected continuation frame" },
  { BYTES("\x01\x01"
          "a\x81\x01"
          "b"),
    4, "T[a!",
    "Received start of new message but previous message is unfinished" },
  { BYTES("\x02\x00\x89\x00\x02\x00"), 5, "B[<9:>!",
    "Received start of new message but previous message is unfinished" },
  /* lengths that are not the shortest, or negative */
  { BYTES("\x82\x7e\x00\x7d"
          "abc"),
    4, "!", "Invalid frame header" },
  { BYTES("\x82\x7e\x00\x00"
          "abc"),
    4, "!", "Invalid frame header" },
  { BYTES("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"), 8, "!",
    "Invalid frame header" },
  { BYTES("\x82\x7f\x80\x00\x00\x00\x00\x01\x00\x00"), 3, "!",
    "Invalid frame header" },
  { BYTES("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), 3, "!",
    "Invalid frame header" },
};

static void wrong_frames(void** state) {
  guard_t guard = guard_open(64);
  nt__ws_reader_t reader;
  uint64_t random = 1;
  trace_t trace;
  size_t i;
  size_t k;

  (void) state;
  for (i = 0; i < COUNT(wrong); i++) {
    bytes_t all = wrong[i].bytes;
    bytes_t before = { all.data, wrong[i].at - 1 };

    trace.size = 0;
    nt__ws_reader_init(&reader, false);
    assert_false(read_all(&reader, &trace, all.data, all.size));
    assert_string_equal(trace.text, wrong[i].trace);
    assert_string_equal(reader.problem, wrong[i].problem);

    assert_int_equal(read_pieces(&guard, false, all, 1, NULL, &trace),
                     wrong[i].at);
    assert_string_equal(trace.text, wrong[i].trace);
    read_pieces(&guard, false, before, 100, NULL, &trace);
    assert_null(strchr(trace.text, '!'));
    for (k = 0; k < 20; k++) {
      read_pieces(&guard, false, all, 0, &random, &trace);
      assert_string_equal(trace.text, wrong[i].trace);
    }
  }
  guard_close(&guard);
}

/* Also where compression was agreed on. */
static void reserved_bits_with_compression(void** state) {
  static const bytes_t cases[] = {
    BYTES("\xc9\x00"), BYTES("\xc8\x00"),         BYTES("\xd1\x00"),
    BYTES("\xe2\x00"), BYTES("\x41\x00\xc0\x00"), BYTES("\x41\x00\x40\x00"),
  };
  guard_t guard = guard_open(64);
  trace_t trace;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    assert_int_equal(read_pieces(&guard, true, cases[i], 1, NULL, &trace),
                     cases[i].size - 1);
    assert_int_equal(trace.text[trace.size - 1], '!');
  }
  guard_close(&guard);
}

/* Every first and second byte, whole and one by one. */
static void all_two_bytes(void** state) {
  guard_t guard = guard_open(64);
  trace_t one;
  trace_t other;
  unsigned n;

  (void) state;
  for (n = 0; n < 1 << 17; n++) {
    char text[2] = { (char) (n >> 8), (char) n };
    bytes_t bytes = { text, 2 };
    unsigned opcode = n >> 8 & 15;
    unsigned length = n & 127;
    bool control = opcode >= 8;
    bool deflate = n >> 16;
    bool good = (n & 0x3080) == 0 &&
                (opcode == 1 || opcode == 2 || (opcode >= 8 && opcode <= 10)) &&
                (!(n & 0x4000) || (deflate && !control)) &&
                (!control || ((n & 0x8000) && length <= 125));

    read_pieces(&guard, deflate, bytes, 2, NULL, &one);
    read_pieces(&guard, deflate, bytes, 1, NULL, &other);
    assert_string_equal(one.text, other.text);
    assert_int_equal(strchr(one.text, '!') == NULL, good);
  }
  guard_close(&guard);
}

/* ---- Writing, and reading that ------------------------------------------ */

static const struct {
  nt__ws_opcode_t opcode;
  bool compressed;
  uint64_t payload;
  bytes_t bytes;
} headers[] = {
  { NT__WS_TEXT, false, 0, BYTES("\x81\x80mask") },
  { NT__WS_TEXT, true, 1, BYTES("\xc1\x81mask") },
  { NT__WS_BINARY, false, 125, BYTES("\x82\xfdmask") },
  { NT__WS_BINARY, false, 126, BYTES("\x82\xfe\x00\x7emask") },
  { NT__WS_BINARY, true, 65535, BYTES("\xc2\xfe\xff\xffmask") },
  { NT__WS_BINARY, false, 65536,
    BYTES("\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00mask") },
  { NT__WS_TEXT, false, 0x0102030405060708,
    BYTES("\x81\xff\x01\x02\x03\x04\x05\x06\x07\x08mask") },
  { NT__WS_CLOSE, false, 2, BYTES("\x88\x82mask") },
  { NT__WS_PING, false, 125, BYTES("\x89\xfdmask") },
  { NT__WS_PONG, false, 0, BYTES("\x8a\x80mask") },
};

static void writes_headers(void** state) {
  static const unsigned char mask[4] = { 'm', 'a', 's', 'k' };
  guard_t guard = guard_open(64);
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(headers); i++) {
    bytes_t expected = headers[i].bytes;
    unsigned char* out =
        (unsigned char*) guard_put(&guard, "", 0) - expected.size;

    assert_true(expected.size <= NT__WS_HEADER_MAX);
    assert_int_equal(
        nt__ws_write_header(out, headers[i].opcode, headers[i].compressed,
                            headers[i].payload, mask),
        expected.size);
    assert_memory_equal(out, expected.data, expected.size);
  }
  guard_close(&guard);
}

/* A server's frame of that size: our header without the mask. */
static size_t frame_of(char* out, const char* payload, size_t size) {
  static const unsigned char mask[4];
  unsigned char header[NT__WS_HEADER_MAX];
  size_t n = nt__ws_write_header(header, NT__WS_BINARY, false, size, mask) - 4;

  header[1] &= 0x7f;
  memcpy(out, header, n);
  memcpy(out + n, payload, size);
  return n + size;
}

/* The payload that came out, in pieces of `step`, is the same. */
static void check_frame(const char* frame, size_t frame_size,
                        const char* payload, size_t size, size_t step) {
  nt__ws_reader_t reader;
  size_t given = 0;
  size_t found = 0;
  bool ended = false;

  nt__ws_reader_init(&reader, false);
  while (given < frame_size) {
    size_t n = step < frame_size - given ? step : frame_size - given;
    const char* data = frame + given;
    nt__ws_item_t item;

    given += n;
    while ((item = nt__ws_reader_next(&reader, &data, &n)) != NT__WS_MORE) {
      assert_int_not_equal(item, NT__WS_BAD);
      assert_false(ended);
      ended = item == NT__WS_END;
      if (item == NT__WS_BEGIN)
        assert_int_equal(reader.frame_left, size);
      if (item == NT__WS_DATA) {
        assert_memory_equal(reader.data, payload + found, reader.size);
        found += reader.size;
      }
    }
  }
  assert_true(ended);
  assert_int_equal(found, size);
}

static void sizes_around_the_limits(void** state) {
  static const size_t sizes[] = { 0,     1,     124,   125,   126,   127,   128,
                                  65534, 65535, 65536, 65537, 70000, 200000 };
  static const size_t steps[] = { 1, 2, 3, 7, 1000, 65536, 300000 };
  static char payload[200000];
  static char frame[200014];
  uint64_t random = 1;
  size_t i;
  size_t k;

  (void) state;
  for (i = 0; i < sizeof(payload); i++)
    payload[i] = (char) next_random(&random);
  for (i = 0; i < COUNT(sizes); i++) {
    size_t size = frame_of(frame, payload, sizes[i]);

    for (k = 0; k < COUNT(steps); k++)
      check_frame(frame, size, payload, sizes[i], steps[k]);
  }
}

/* The largest that there can be: told at its beginning, never at its end. */
static void huge_frame(void** state) {
  const char* data =
      "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"
      "ab";
  size_t size = 12;
  nt__ws_reader_t reader;

  (void) state;
  nt__ws_reader_init(&reader, false);
  assert_int_equal(nt__ws_reader_next(&reader, &data, &size), NT__WS_BEGIN);
  assert_true(reader.frame_left == INT64_MAX);
  assert_int_equal(nt__ws_reader_next(&reader, &data, &size), NT__WS_DATA);
  assert_int_equal(reader.size, 2);
  assert_true(reader.frame_left == INT64_MAX - 2);
  assert_int_equal(nt__ws_reader_next(&reader, &data, &size), NT__WS_MORE);
}

/* Every size and offset, at every alignment, not a byte more. */
static void masks(void** state) {
  static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
  static const uint64_t offsets[] = { 0, 1, 2, 3, 4, 5, 6, 7, UINT64_MAX - 5 };
  guard_t guard = guard_open(256);
  char text[128];
  size_t i;
  size_t k;
  size_t size;

  (void) state;
  for (i = 0; i < sizeof(text); i++)
    text[i] = (char) (i * 7);
  for (size = 0; size <= 100; size++)
    for (k = 0; k < COUNT(offsets); k++) {
      char* data = guard_put(&guard, text, size);

      data[-1] = 'x';
      nt__ws_mask(data, size, mask, offsets[k]);
      for (i = 0; i < size; i++)
        assert_int_equal((unsigned char) data[i],
                         (unsigned char) text[i] ^ mask[(offsets[k] + i) & 3]);
      assert_int_equal(data[-1], 'x');
    }
  guard_close(&guard);
}

static void masks_the_example(void** state) {
  static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
  char text[] = "Hello"; /* RFC 6455, 5.7 */

  (void) state;
  nt__ws_mask(text, 5, mask, 0);
  assert_memory_equal(text, "\x7f\x9f\x4d\x51\x58", 5);
  nt__ws_mask(text, 2, mask, 0); /* in two pieces */
  nt__ws_mask(text + 2, 3, mask, 2);
  assert_string_equal(text, "Hello");
}

/* ---- Closing ------------------------------------------------------------ */

static void codes(void** state) {
  static const int good[][2] = { { 1000, 1003 },
                                 { 1007, 1014 },
                                 { 3000, 4999 } };
  int code;

  (void) state;
  for (code = -1; code <= 65536; code++) {
    bool valid = false;
    size_t i;

    for (i = 0; i < COUNT(good); i++)
      valid = valid || (code >= good[i][0] && code <= good[i][1]);
    assert_int_equal(nt__ws_code_is_valid(code), valid);
  }
}

static const struct {
  bytes_t payload;
  const char* problem;
  int code;
  const char* reason;
  bool bad_text;
} closes[] = {
  { BYTES(""), NULL, 1005, "", false },
  { BYTES("\x03\xe8"), NULL, 1000, "", false },
  { BYTES("\x03\xe9going"), NULL, 1001, "going", false },
  { BYTES("\x13\x87\xc3\xbc"), NULL, 4999, "\xc3\xbc", false },
  { BYTES("\x03"),
    "Received a broken close frame with an invalid size of 1 "
    "byte",
    1005, "", false },
  { BYTES("\x03\xed"),
    "Received a broken close frame containing a reserved "
    "status code",
    1005, "", false },
  { BYTES("\x00\x00x"),
    "Received a broken close frame containing a reserved "
    "status code",
    1005, "", false },
  { BYTES("\xff\xff\xff"),
    "Received a broken close frame containing a "
    "reserved status code",
    1005, "", false },
  { BYTES("\x03\xe8"
          "a\xff"),
    "Received a broken close frame containing "
    "invalid UTF-8",
    1005, "", true },
  { BYTES("\x03\xe8"
          "a\xc3"),
    "Received a broken close frame containing "
    "invalid UTF-8",
    1005, "", true },
};

static void close_frames(void** state) {
  guard_t guard = guard_open(64);
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(closes); i++) {
    bytes_t payload = closes[i].payload;
    const char* problem;
    const char* reason;
    size_t reason_size;
    bool bad_text;
    int code;

    problem = nt__ws_read_close(guard_put(&guard, payload.data, payload.size),
                                payload.size, &code, &reason, &reason_size,
                                &bad_text);
    if (closes[i].problem == NULL)
      assert_null(problem);
    else
      assert_string_equal(problem, closes[i].problem);
    assert_int_equal(code, closes[i].code);
    assert_int_equal(reason_size, strlen(closes[i].reason));
    assert_memory_equal(reason, closes[i].reason, reason_size);
    assert_int_equal(bad_text, closes[i].bad_text);
  }
  guard_close(&guard);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(right_frames),
    cmocka_unit_test(compressed_messages),
    cmocka_unit_test(tells_opcode_and_length),
    cmocka_unit_test(wrong_frames),
    cmocka_unit_test(reserved_bits_with_compression),
    cmocka_unit_test(all_two_bytes),
    cmocka_unit_test(writes_headers),
    cmocka_unit_test(sizes_around_the_limits),
    cmocka_unit_test(huge_frame),
    cmocka_unit_test(masks),
    cmocka_unit_test(masks_the_example),
    cmocka_unit_test(codes),
    cmocka_unit_test(close_frames),
  };

  return cmocka_run_group_tests_name("ws_frame", tests, NULL, NULL);
}
