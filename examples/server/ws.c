/* One WebSocket connection: what it has to send, and when it is read.
 *
 * libwebsockets wants writes in its WRITEABLE callback only, so that all that
 * routes send waits in a queue of pieces. The queue is bounded: above
 * HIGH_WATER the connection is not read until the peer has taken its part.
 * What a connection does is the business of ws_routes.c. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define HIGH_WATER ((size_t) 1 << 20)
#define TURN_BYTES ((size_t) 1 << 20) /* then others have their turn */

struct ws_piece {
  ws_piece_t* next;
  size_t size;
  enum lws_write_protocol flags;
  unsigned char bytes[]; /* LWS_PRE bytes of room, then the payload */
};

/* ---- Opening ----------------------------------------------------------- */

static int send_refusal(struct lws* wsi, int status) {
  unsigned char bytes[LWS_PRE + 128];
  char* head = (char*) bytes + LWS_PRE;
  int size = snprintf(head, 128,
                      "HTTP/1.1 %d Refused\r\nConnection: close\r\n"
                      "Content-Length: 0\r\n\r\n",
                      status);

  lws_write(wsi, bytes + LWS_PRE, (size_t) size, LWS_WRITE_HTTP_HEADERS);
  return 1;
}

int ws_confirm(struct lws* wsi) {
  const ws_route_t* route = ws_route_find(wsi);

  if (route == NULL)
    return send_refusal(wsi, 404);
  return route->refuse ? send_refusal(wsi, route->refuse(wsi)) : 0;
}

int ws_open(ws_t* ws) {
  return ws->route->open ? ws->route->open(ws) : 0;
}

/* ---- Sending ----------------------------------------------------------- */

int ws_send(ws_t* ws, const void* data, size_t size,
            enum lws_write_protocol flags) {
  ws_piece_t* piece = malloc(sizeof(*piece) + LWS_PRE + size);

  if (piece == NULL)
    return -1;
  piece->next = NULL;
  piece->size = size;
  piece->flags = flags;
  if (size > 0)
    memcpy(piece->bytes + LWS_PRE, data, size);

  if (ws->last != NULL)
    ws->last->next = piece;
  else
    ws->first = piece;
  ws->last = piece;
  ws->queued += size;

  if (ws->queued > HIGH_WATER && !ws->held) {
    ws->held = 1;
    lws_rx_flow_control(ws->wsi, 0);
  }
  lws_callback_on_writable(ws->wsi);
  return 0;
}

int ws_send_text(ws_t* ws, const char* text) {
  return ws_send(ws, text, strlen(text), LWS_WRITE_TEXT);
}

static int send_first(ws_t* ws) {
  ws_piece_t* piece = ws->first;
  int sent =
      lws_write(ws->wsi, piece->bytes + LWS_PRE, piece->size, piece->flags);

  ws->first = piece->next;
  if (ws->first == NULL)
    ws->last = NULL;
  ws->queued -= piece->size;
  free(piece);
  return sent < 0 ? -1 : 0;
}

/* Never between the pieces of a message that is still coming in. */
static int refill(ws_t* ws) {
  if (ws->route->fill == NULL || ws->first != NULL || ws->echoing)
    return 0;
  return ws->route->fill(ws);
}

int ws_writable(ws_t* ws) {
  size_t turn = 0;

  do {
    if (refill(ws) < 0)
      return -1;
    if (ws->first == NULL)
      break;
    turn += ws->first->size;
    if (send_first(ws) < 0)
      return -1;
  } while (turn < TURN_BYTES && !lws_send_pipe_choked(ws->wsi) &&
           !lws_partial_buffered(ws->wsi));

  if (ws->first != NULL || turn > 0)
    lws_callback_on_writable(ws->wsi);
  if (ws->held && ws->queued < HIGH_WATER / 2) {
    ws->held = 0;
    lws_rx_flow_control(ws->wsi, 1);
  }
  return 0;
}

/* ---- Receiving --------------------------------------------------------- */

/* As it came: text as text, binary as binary, with the same boundaries. */
static int echo_piece(ws_t* ws, const void* data, size_t size) {
  int kind = lws_frame_is_binary(ws->wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
  int first = lws_is_first_fragment(ws->wsi);
  int last = lws_is_final_fragment(ws->wsi);

  ws->echoing = !last;
  return ws_send(ws, data, size, lws_write_ws_flags(kind, first, last));
}

static int make_room(ws_t* ws, size_t needed) {
  size_t room = ws->message_room ? ws->message_room : 1024;
  char* message;

  while (room < needed)
    room *= 2;
  if (room == ws->message_room)
    return 0;
  message = realloc(ws->message, room);
  if (message == NULL)
    return -1;
  ws->message = message;
  ws->message_room = room;
  return 0;
}

static int gather(ws_t* ws, const void* data, size_t size) {
  if (ws->message_size + size > MAX_BODY_BYTES ||
      make_room(ws, ws->message_size + size + 1) < 0)
    return -1;
  if (size > 0)
    memcpy(ws->message + ws->message_size, data, size);
  ws->message_size += size;
  ws->message[ws->message_size] = '\0';
  return 0;
}

/* Routes that echo take messages as they come, the others take them whole. */
int ws_receive(ws_t* ws, const void* data, size_t size) {
  int err;

  if (ws->route->message == NULL)
    return echo_piece(ws, data, size);
  if (gather(ws, data, size) < 0)
    return -1;
  if (!lws_is_final_fragment(ws->wsi))
    return 0;

  err = ws->route->message(ws, lws_frame_is_binary(ws->wsi));
  free(ws->message);
  ws->message = NULL;
  ws->message_size = ws->message_room = 0;
  return err;
}

void ws_free(ws_t* ws) {
  while (ws->first != NULL) {
    ws_piece_t* piece = ws->first;

    ws->first = piece->next;
    free(piece);
  }
  free(ws->message);
  memset(ws, 0, sizeof(*ws));
}
