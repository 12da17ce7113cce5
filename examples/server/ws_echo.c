/* WebSocket echo: every piece of a message goes back as it came, text as text,
 * binary as binary, with the same message boundaries.
 *
 * The queue is bounded: above HIGH_WATER the connection is not read until the
 * peer has taken its echoes. */

#include <stdlib.h>
#include <string.h>

#include "server.h"

#define HIGH_WATER ((size_t) 1 << 20)

struct ws_piece {
  ws_piece_t* next;
  size_t size;
  enum lws_write_protocol flags;
  unsigned char bytes[]; /* LWS_PRE bytes of room, then the payload */
};

static enum lws_write_protocol piece_flags(struct lws* wsi) {
  int first = lws_is_first_fragment(wsi);
  int kind = lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;

  return lws_write_ws_flags(kind, first, lws_is_final_fragment(wsi));
}

int ws_echo_receive(ws_echo_t* echo, struct lws* wsi, const void* data,
                    size_t size) {
  ws_piece_t* piece = malloc(sizeof(*piece) + LWS_PRE + size);

  if (piece == NULL)
    return -1;
  piece->next = NULL;
  piece->size = size;
  piece->flags = piece_flags(wsi);
  if (size > 0)
    memcpy(piece->bytes + LWS_PRE, data, size);

  if (echo->last != NULL)
    echo->last->next = piece;
  else
    echo->first = piece;
  echo->last = piece;
  echo->queued += size;

  if (echo->queued > HIGH_WATER && !echo->held) {
    echo->held = 1;
    lws_rx_flow_control(wsi, 0);
  }
  lws_callback_on_writable(wsi);
  return 0;
}

static int send_first(ws_echo_t* echo, struct lws* wsi) {
  ws_piece_t* piece = echo->first;
  int sent = lws_write(wsi, piece->bytes + LWS_PRE, piece->size, piece->flags);

  echo->first = piece->next;
  if (echo->first == NULL)
    echo->last = NULL;
  echo->queued -= piece->size;
  free(piece);
  return sent < 0 ? -1 : 0;
}

int ws_echo_writable(ws_echo_t* echo, struct lws* wsi) {
  while (echo->first != NULL && !lws_send_pipe_choked(wsi) &&
         !lws_partial_buffered(wsi))
    if (send_first(echo, wsi) < 0)
      return -1;

  if (echo->first != NULL)
    lws_callback_on_writable(wsi);
  if (echo->held && echo->queued < HIGH_WATER / 2) {
    echo->held = 0;
    lws_rx_flow_control(wsi, 1);
  }
  return 0;
}

void ws_echo_free(ws_echo_t* echo) {
  while (echo->first != NULL) {
    ws_piece_t* piece = echo->first;

    echo->first = piece->next;
    free(piece);
  }
  memset(echo, 0, sizeof(*echo));
}
