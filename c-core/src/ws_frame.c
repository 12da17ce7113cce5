/* RFC 6455 frames, for a client: a reader that is given bytes as they come, and
 * what is written. Pure logic. The reader has a fast path, a header that lies
 * whole in the given bytes, and a slow one that gathers a header byte by byte;
 * both ask the same checks. Problems are told in Chromium's words where it has
 * some. */
#include "ws_frame.h"

#include <string.h>

#include "utf8.h"

enum {
  FIN = 0x80,
  RSV1 = 0x40,
  RSV2_RSV3 = 0x30,
  MASK = 0x80,
  LENGTH_16 = 126, /* the length is in the next 2 bytes */
  LENGTH_64 = 127  /* or 8 */
};

void nt__ws_reader_init(nt__ws_reader_t* reader, bool allow_compressed) {
  memset(reader, 0, sizeof(*reader));
  reader->allow_compressed = allow_compressed;
}

/* ---- Headers ------------------------------------------------------------ */

static bool is_control(unsigned opcode) {
  return (opcode & 0x8) != 0;
}

/* RFC 7692, 6: RSV1 belongs to the first frame of a message. */
static bool reserved_bits_are_on(const nt__ws_reader_t* reader,
                                 unsigned char byte, unsigned opcode) {
  return (byte & RSV2_RSV3) != 0 ||
         ((byte & RSV1) != 0 &&
          !(reader->allow_compressed &&
            (opcode == NT__WS_TEXT || opcode == NT__WS_BINARY)));
}

static const char* check_first(const nt__ws_reader_t* reader,
                               unsigned char byte) {
  unsigned opcode = byte & 0xf;

  if (reserved_bits_are_on(reader, byte, opcode))
    return "One or more reserved bits are on";
  if ((opcode & 0x7) > 2) /* 3 to 7, 11 to 15 */
    return "Unrecognized frame opcode";
  if (is_control(opcode))
    return byte & FIN ? NULL : "Received fragmented control frame";
  if (opcode == NT__WS_CONTINUATION)
    return reader->in_message ? NULL : "Received unexpected continuation frame";
  return reader->in_message ? "Received start of new message but previous "
                              "message is unfinished"
                            : NULL;
}

static const char* check_second(const unsigned char* header) {
  if (header[1] & MASK)
    return "A server must not mask any frames that it sends to the client";
  if (is_control(header[0]) && header[1] > NT__WS_CONTROL_MAX)
    return "Received control frame having too long payload";
  return NULL;
}

/* Of the length, `size` - 2 bytes are there. */
static const char* check_length(const unsigned char* header, size_t size) {
  static const unsigned char zeros[6];
  bool bad;

  if (header[1] == LENGTH_16)
    bad = size >= 4 && header[2] == 0 && header[3] < LENGTH_16;
  else
    bad = (size >= 3 && (header[2] & 0x80) != 0) ||
          (size >= 8 && memcmp(header + 2, zeros, sizeof(zeros)) == 0);
  return bad ? "Invalid frame header" : NULL;
}

static size_t header_size_of(unsigned char second) {
  unsigned length = second & 0x7f;

  return length < LENGTH_16 ? 2 : length == LENGTH_16 ? 4 : 10;
}

static uint64_t length_of(const unsigned char* header, size_t header_size) {
  uint64_t length = 0;
  size_t i;

  if (header_size == 2)
    return header[1];
  for (i = 2; i < header_size; i++)
    length = length << 8 | header[i];
  return length;
}

static nt__ws_item_t fail(nt__ws_reader_t* reader, const char* problem) {
  reader->bad = true;
  reader->problem = problem;
  return NT__WS_BAD;
}

/* A header that was checked. BEGIN, or DATA for "look at the payload". */
static nt__ws_item_t enter_frame(nt__ws_reader_t* reader,
                                 const unsigned char* header, size_t size) {
  unsigned opcode = header[0] & 0xf;

  reader->frame_left = length_of(header, size);
  reader->in_frame = true;
  reader->control_frame = is_control(opcode);
  if (reader->control_frame) {
    reader->opcode = (nt__ws_opcode_t) opcode;
    return NT__WS_DATA;
  }
  reader->fin = (header[0] & FIN) != 0;
  if (opcode == NT__WS_CONTINUATION)
    return NT__WS_DATA;
  reader->in_message = true;
  reader->opcode = reader->message_opcode = (nt__ws_opcode_t) opcode;
  reader->compressed = (header[0] & RSV1) != 0;
  return NT__WS_BEGIN;
}

static void skip(const char** data, size_t* size, size_t n) {
  *data += n;
  *size -= n;
}

static nt__ws_item_t gather_header(nt__ws_reader_t* reader, const char** data,
                                   size_t* size) {
  unsigned char* header = reader->header;

  while (*size > 0) {
    size_t n = reader->header_size;
    const char* problem;

    header[n++] = (unsigned char) **data;
    skip(data, size, 1);
    problem = n == 1   ? check_first(reader, header[0])
              : n == 2 ? check_second(header)
                       : check_length(header, n);
    if (problem != NULL)
      return fail(reader, problem);
    reader->header_size = n;
    if (n >= 2 && n == header_size_of(header[1])) {
      reader->header_size = 0;
      return enter_frame(reader, header, n);
    }
  }
  return NT__WS_MORE;
}

static nt__ws_item_t read_header(nt__ws_reader_t* reader, const char** data,
                                 size_t* size) {
  const unsigned char* header = (const unsigned char*) *data;
  const char* problem;
  size_t needed;

  if (reader->header_size > 0 || *size < 2)
    return gather_header(reader, data, size);
  needed = header_size_of(header[1]);
  if (*size < needed)
    return gather_header(reader, data, size);

  problem = check_first(reader, header[0]);
  if (problem == NULL)
    problem = check_second(header);
  if (problem == NULL && needed > 2)
    problem = check_length(header, needed);
  if (problem != NULL)
    return fail(reader, problem);
  skip(data, size, needed);
  return enter_frame(reader, header, needed);
}

/* ---- Payloads ----------------------------------------------------------- */

static nt__ws_item_t read_control(nt__ws_reader_t* reader, const char** data,
                                  size_t* size) {
  size_t left = (size_t) reader->frame_left;
  size_t n = left < *size ? left : *size;

  reader->data = *data;
  reader->size = n;
  if (n < left || reader->control_size > 0) { /* it came in pieces */
    if (n > 0)
      memcpy(reader->control + reader->control_size, *data, n);
    reader->control_size += n;
    reader->data = reader->control;
    reader->size = reader->control_size;
  }
  skip(data, size, n);
  reader->frame_left -= n;
  if (reader->frame_left > 0)
    return NT__WS_MORE;
  reader->control_size = 0;
  reader->in_frame = false;
  return NT__WS_CONTROL;
}

static nt__ws_item_t read_data(nt__ws_reader_t* reader, const char** data,
                               size_t* size) {
  size_t n = reader->frame_left < *size ? (size_t) reader->frame_left : *size;

  if (n == 0)
    return NT__WS_MORE;
  reader->opcode = reader->message_opcode;
  reader->data = *data;
  reader->size = n;
  reader->frame_left -= n;
  skip(data, size, n);
  return NT__WS_DATA;
}

nt__ws_item_t nt__ws_reader_next(nt__ws_reader_t* reader, const char** data,
                                 size_t* size) {
  if (reader->bad)
    return NT__WS_BAD;
  for (;;) { /* turns once more for an empty frame alone */
    if (!reader->in_frame) {
      nt__ws_item_t item = read_header(reader, data, size);

      if (item != NT__WS_DATA)
        return item;
    }
    if (reader->control_frame)
      return read_control(reader, data, size);
    if (reader->frame_left > 0)
      return read_data(reader, data, size);
    reader->in_frame = false;
    if (reader->fin) {
      reader->in_message = false;
      reader->opcode = reader->message_opcode;
      return NT__WS_END;
    }
  }
}

/* ---- Writing ------------------------------------------------------------ */

size_t nt__ws_write_header(unsigned char* out, nt__ws_opcode_t opcode,
                           bool compressed, uint64_t payload,
                           const unsigned char mask[4]) {
  size_t extended = payload < LENGTH_16 ? 0 : payload <= 0xffff ? 2 : 8;
  size_t i;

  out[0] = (unsigned char) (FIN | (compressed ? RSV1 : 0) | opcode);
  out[1] = (unsigned char) (MASK | (extended == 0   ? payload
                                    : extended == 2 ? LENGTH_16
                                                    : LENGTH_64));
  for (i = 0; i < extended; i++)
    out[2 + i] = (unsigned char) (payload >> 8 * (extended - 1 - i));
  memcpy(out + 2 + extended, mask, 4);
  return 2 + extended + 4;
}

static void mask_word(char* data, uint64_t mask) {
  uint64_t word;

  memcpy(&word, data, sizeof(word));
  word ^= mask;
  memcpy(data, &word, sizeof(word));
}

void nt__ws_mask(char* data, size_t size, const unsigned char mask[4],
                 uint64_t offset) {
  uint32_t half;
  uint64_t word;
  size_t i;

  for (; (offset & 3) != 0 && size > 0; offset++, size--, data++)
    *data = (char) (*data ^ mask[offset & 3]);
  memcpy(&half, mask, sizeof(half));
  word = (uint64_t) half << 32 | half;
  for (; size >= 32; size -= 32, data += 32) {
    mask_word(data, word);
    mask_word(data + 8, word);
    mask_word(data + 16, word);
    mask_word(data + 24, word);
  }
  for (; size >= 8; size -= 8, data += 8)
    mask_word(data, word);
  for (i = 0; i < size; i++)
    data[i] = (char) (data[i] ^ mask[i & 3]);
}

/* ---- Closing ------------------------------------------------------------ */

bool nt__ws_code_is_valid(int code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
         (code >= 3000 && code <= 4999);
}

const char* nt__ws_read_close(const char* data, size_t size, int* code,
                              const char** reason, size_t* reason_size,
                              bool* bad_text) {
  const unsigned char* p = (const unsigned char*) data;

  *code = 1005; /* 7.1.5: no code was sent */
  *reason = "";
  *reason_size = 0;
  *bad_text = false;
  if (size == 0)
    return NULL;
  if (size == 1)
    return "Received a broken close frame with an invalid size of 1 byte";
  if (!nt__ws_code_is_valid(p[0] << 8 | p[1]))
    return "Received a broken close frame containing a reserved status code";
  *bad_text = !nt__utf8_valid(data + 2, size - 2);
  if (*bad_text)
    return "Received a broken close frame containing invalid UTF-8";
  *code = p[0] << 8 | p[1];
  *reason = data + 2;
  *reason_size = size - 2;
  return NULL;
}
