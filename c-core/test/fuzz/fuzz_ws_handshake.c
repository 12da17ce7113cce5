/* Answers to the opening handshake. The first byte chooses what was asked for
 * and how the answer begins, since no fuzzer guesses a SHA-1; the second how
 * it comes in pieces and how large it may be. What is read must not depend on
 * the pieces, and what is said about it must be plain text that fits. */
#include <stdlib.h>
#include <string.h>

#include "ws_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455, 1.3 */
#define SWITCH "HTTP/1.1 101 x\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

static const char* const heads[] = {
  "",
  "HTTP/1.1 100 x\r\n\r\n",
  SWITCH,
  SWITCH UPGRADE CONNECTION ACCEPT,
  SWITCH UPGRADE CONNECTION ACCEPT "Sec-WebSocket-Protocol: ",
  SWITCH UPGRADE CONNECTION ACCEPT "Sec-WebSocket-Extensions: ",
  SWITCH UPGRADE CONNECTION ACCEPT
  "Sec-WebSocket-Extensions: permessage-deflate; ",
  SWITCH UPGRADE ACCEPT "Connection: ",
};

static const char* const protocols[] = { "chat", "b" };

static void require(int condition) {
  if (!condition)
    abort();
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

/* How many bytes were used. Each piece is in memory of its own. */
static size_t feed(nt__ws_answer_t* answer, const char* text, size_t size,
                   unsigned seed, int* err) {
  size_t used = 0;

  *err = 0;
  while (*err == 0 && !answer->done && used < size) {
    size_t n = next_size(&seed, size - used);
    char* piece = malloc(n);
    const char* data = piece;
    size_t left = n;

    require(piece != NULL);
    memcpy(piece, text + used, n);
    *err = nt__ws_answer_feed(answer, &data, &left);
    require(data + left == piece + n);
    require(left == 0 || answer->done || *err != 0);
    used += n - left;
    free(piece);
  }
  return used;
}

static bool was_asked_for(const char* protocol, const nt__ws_ask_t* ask) {
  size_t i;

  for (i = 0; i < ask->protocol_count; i++)
    if (ask->protocols[i] == protocol)
      return true;
  return *protocol == '\0';
}

static void check(const nt__ws_answer_t* answer, const nt__ws_ask_t* ask) {
  char* message = malloc(256);
  nt__ws_deal_t deal;
  size_t i;
  int err;

  require(message != NULL);
  err = nt__ws_answer_check(answer, ask, &deal, message);
  require((err == NT_E_WS_STATUS) == (answer->status != 101));
  require(err == 0 || err == NT_E_WS_STATUS || err == NT_E_HANDSHAKE);
  require((err == 0) == (message[0] == '\0'));
  for (i = 0; message[i] != '\0'; i++)
    require(message[i] >= 0x20 && message[i] <= 0x7e);
  require(i < 256);
  if (err == 0) {
    require(was_asked_for(deal.protocol, ask));
    require(!deal.deflate || ask->deflate);
    require(!deal.deflate || (deal.params.client_max_window_bits >= 8 &&
                              deal.params.client_max_window_bits <= 15 &&
                              deal.params.server_max_window_bits >= 8 &&
                              deal.params.server_max_window_bits <= 15));
  }
  free(message);
}

static void compare_pieces(const char* text, size_t size, uint64_t max,
                           unsigned seed, const nt__ws_ask_t* ask) {
  nt__ws_answer_t whole;
  nt__ws_answer_t pieces;
  size_t used;
  int err;
  int other;

  nt__ws_answer_init(&whole, max);
  nt__ws_answer_init(&pieces, max);
  used = feed(&whole, text, size, 0, &err);
  require(max == 0 || used <= max);
  require(err == 0 || err == NT_E_HTTP ||
          (err == NT_E_HEADER_SIZE && max != 0));
  require(feed(&pieces, text, size, seed, &other) == used || err != 0);
  require(other == err && pieces.done == whole.done);
  require(pieces.status == whole.status);
  require(pieces.headers.count == whole.headers.count);
  require(pieces.headers.bytes.size == whole.headers.bytes.size);
  if (whole.headers.bytes.size > 0)
    require(memcmp(pieces.headers.bytes.data, whole.headers.bytes.data,
                   whole.headers.bytes.size) == 0);
  if (whole.done)
    check(&whole, ask);
  nt__ws_answer_free(&whole);
  nt__ws_answer_free(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nt__ws_ask_t ask;
  const char* head;
  size_t head_size;
  char* text;

  if (size < 2)
    return 0;
  memset(&ask, 0, sizeof(ask));
  ask.key = KEY;
  ask.deflate = (data[0] & 8) != 0;
  ask.protocols = protocols;
  ask.protocol_count = data[0] >> 4 & 3;
  if (ask.protocol_count > 2)
    ask.protocol_count = 2;
  head = heads[data[0] & 7];
  head_size = strlen(head);
  text = malloc(head_size + size);
  require(text != NULL);
  memcpy(text, head, head_size);
  memcpy(text + head_size, data + 2, size - 2);
  compare_pieces(text, head_size + size - 2, data[1] & 0x80 ? data[1] : 0,
                 data[1] + 1u, &ask);
  free(text);
  return 0;
}
