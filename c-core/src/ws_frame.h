/* RFC 6455 frames, for a client. Pure logic: no loop, no thread, and no memory
 * but the reader's own. */
#ifndef NT_WS_FRAME_H
#define NT_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nt__ws_opcode {
  NT__WS_CONTINUATION = 0x0,
  NT__WS_TEXT = 0x1,
  NT__WS_BINARY = 0x2,
  NT__WS_CLOSE = 0x8,
  NT__WS_PING = 0x9,
  NT__WS_PONG = 0xa
} nt__ws_opcode_t;

enum {
  NT__WS_HEADER_MAX = 14,  /* of a masked frame */
  NT__WS_CONTROL_MAX = 125 /* payload of a control frame */
};

/* What nt__ws_reader_next() found. */
typedef enum nt__ws_item {
  NT__WS_MORE,    /* nothing: give it more bytes */
  NT__WS_BEGIN,   /* a message begins: `opcode`, `compressed` */
  NT__WS_DATA,    /* `data`, `size`: a piece of its payload */
  NT__WS_END,     /* the message is whole */
  NT__WS_CONTROL, /* a whole control frame: `opcode`, `data`, `size` */
  NT__WS_BAD      /* `problem`; the reader says nothing else from now on */
} nt__ws_item_t;

typedef struct nt__ws_reader {
  /* What was found. `data` points into the given bytes, or, of a control frame
   * that came in pieces, into the reader, until the next call. */
  nt__ws_opcode_t opcode; /* of the message, or of the control frame */
  bool compressed;
  const char* data;
  size_t size;
  uint64_t frame_left; /* of the frame, behind `data`: a hint for BEGIN too */
  const char* problem; /* for people, static */

  /* Set by the owner. */
  bool allow_compressed; /* RSV1 may be set */

  /* Private. */
  bool bad;
  bool in_message;    /* after BEGIN, before END */
  bool in_frame;      /* the header has been read */
  bool control_frame; /* of a control frame */
  bool fin;           /* of the message's last frame */
  nt__ws_opcode_t message_opcode;
  size_t header_size; /* bytes of it that have come, if not all at once */
  size_t control_size;
  unsigned char header[NT__WS_HEADER_MAX];
  char control[NT__WS_CONTROL_MAX];
} nt__ws_reader_t;

void nt__ws_reader_init(nt__ws_reader_t* reader, bool allow_compressed);

/* The next item in `*data`, whose beginning it moves over what it has used.
 * Fails at once, at the first byte that shows it, for reserved bits and
 * opcodes, masked frames, fragmented or too long control frames, lengths that
 * are not minimal or have the top bit, a continuation of nothing, a new message
 * inside another. Empty frames give no DATA. */
nt__ws_item_t nt__ws_reader_next(nt__ws_reader_t* reader, const char** data,
                                 size_t* size);

/* Writes the header of a masked frame, at most NT__WS_HEADER_MAX bytes, and
 * returns its size. */
size_t nt__ws_write_header(unsigned char* out, nt__ws_opcode_t opcode,
                           bool compressed, uint64_t payload,
                           const unsigned char mask[4]);

/* Masks in place, a word at a time; the first byte is `offset` bytes into the
 * payload. */
void nt__ws_mask(char* data, size_t size, const unsigned char mask[4],
                 uint64_t offset);

/* May stand in a close frame that is sent or received (RFC 6455 7.4, and the
 * registry: 1000 to 1003, 1007 to 1014, 3000 to 4999). */
bool nt__ws_code_is_valid(int code);

/* Reads the payload of a close frame: 0, or what is wrong, for people. Without
 * a code `*code` is 1005. The reason is not terminated. `*bad_text` when the
 * reason is not UTF-8. */
const char* nt__ws_read_close(const char* data, size_t size, int* code,
                              const char** reason, size_t* reason_size,
                              bool* bad_text);

#endif
