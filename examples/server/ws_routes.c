/* What the server does on a WebSocket: the table of paths, and a short function
 * or two for each.
 *
 * A route's open() runs when the handshake is done, while the headers are still
 * there. message() gets a whole message in ws->message; a route without one
 * echoes. fill() runs whenever all that was queued is sent. `n`, `size` and
 * `done` of the connection mean what the route makes of them. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define MAX_SIZE ((uint64_t) 64 << 20)
#define MAX_REASON 123
#define MAX_FRAGMENTS 10000
#define MAX_MS ((uint64_t) 10 * 60 * 1000)

/* ---- /ws/close --------------------------------------------------------- */

/* The bytes of a close frame. libwebsockets would send one for us, but neither
 * without a code nor with every code. */
static int open_close(ws_t* ws) {
  uint64_t code = request_number(ws->wsi, "code", 0);
  unsigned char frame[2 + 2 + MAX_REASON + 1];
  char* reason = (char*) frame + 4;
  size_t size = 0;

  if (code > 0) {
    if (request_arg(ws->wsi, "reason", reason, MAX_REASON + 1) == NULL)
      *reason = '\0';
    size = 2 + strlen(reason);
  }
  frame[0] = 0x88;
  frame[1] = (unsigned char) size;
  frame[2] = (unsigned char) (code >> 8);
  frame[3] = (unsigned char) code;
  ws->closing = 1;
  return ws_send(ws, frame, 2 + size, LWS_WRITE_RAW);
}

/* ---- /ws/push ---------------------------------------------------------- */

static int open_push(ws_t* ws) {
  char binary[2];

  ws->n = request_number(ws->wsi, "n", 1);
  ws->size = request_number(ws->wsi, "size", 0);
  ws->binary = request_arg(ws->wsi, "binary", binary, sizeof(binary)) != NULL;
  if (ws->size > MAX_SIZE)
    return -1;
  lws_callback_on_writable(ws->wsi);
  return 0;
}

/* "17 ......", of the size that was asked for, and never less than "17". */
static int fill_push(ws_t* ws) {
  char number[24];
  size_t digits, size;
  char* message;
  int err;

  if (ws->done == ws->n)
    return 0;
  digits = (size_t) sprintf(number, "%llu", (unsigned long long) ws->done++);
  size = ws->size > digits ? (size_t) ws->size : digits;
  message = malloc(size + 1);
  if (message == NULL)
    return -1;
  memset(message, '.', size);
  memcpy(message, number, digits);
  if (size > digits)
    message[digits] = ' ';
  err = ws_send(ws, message, size,
                ws->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
  free(message);
  return err;
}

/* ---- /ws/fragment ------------------------------------------------------ */

static int open_fragment(ws_t* ws) {
  ws->n = request_number(ws->wsi, "n", 2);
  return ws->n >= 1 && ws->n <= MAX_FRAGMENTS ? 0 : -1;
}

/* The message in n parts that differ by a byte at most. */
static int message_fragment(ws_t* ws, int binary) {
  int kind = binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
  uint64_t i;

  for (i = 0; i < ws->n; i++) {
    size_t start = ws->message_size * i / ws->n;
    size_t end = ws->message_size * (i + 1) / ws->n;

    if (i > 0 && ws_send(ws, "between", 7, LWS_WRITE_PING) < 0)
      return -1;
    if (ws_send(ws, ws->message + start, end - start,
                lws_write_ws_flags(kind, i == 0, i + 1 == ws->n)) < 0)
      return -1;
  }
  return 0;
}

/* ---- /ws/headers ------------------------------------------------------- */

static int open_headers(ws_t* ws) {
  json_t* headers = request_headers(ws->wsi);
  char* text = json_dumps(headers, JSON_COMPACT);
  int err = text ? ws_send_text(ws, text) : -1;

  free(text);
  json_decref(headers);
  return err;
}

/* ---- /ws/deaf ---------------------------------------------------------- */

static int open_deaf(ws_t* ws) {
  return lws_rx_flow_control(ws->wsi, 0) < 0 ? -1 : 0;
}

/* ---- /ws/ping ---------------------------------------------------------- */

static int tick_ping(ws_t* ws) {
  lws_set_timer_usecs(ws->wsi, (lws_usec_t) ws->n * 1000);
  return ws_send(ws, "tick", 4, LWS_WRITE_PING);
}

static int open_ping(ws_t* ws) {
  ws->n = request_number(ws->wsi, "ms", 1000);
  return ws->n >= 1 && ws->n <= MAX_MS ? tick_ping(ws) : -1;
}

static int message_ping(ws_t* ws, int binary) {
  char text[24];

  if (binary || strcmp(ws->message, "pongs") != 0)
    return ws_send(ws, ws->message, ws->message_size,
                   binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
  snprintf(text, sizeof(text), "%llu", (unsigned long long) ws->done);
  return ws_send_text(ws, text);
}

static void pong_ping(ws_t* ws) {
  ws->done++;
}

/* ---- /ws/refuse -------------------------------------------------------- */

static int refuse_told(struct lws* wsi) {
  uint64_t status = request_number(wsi, "status", 403);

  return status >= 200 && status <= 599 ? (int) status : 400;
}

/* ---- The table --------------------------------------------------------- */

static const ws_route_t routes[] = {
  { .path = "/ws/echo", .help = "echoes text and binary, of any size" },
  { .path = "/", .help = "the same" },
  { .path = "/test.php", .help = "the same" },
  { .path = "/ws/close",
    .help = "?code=C&reason=R: closes at once; without code, with none",
    .open = open_close },
  { .path = "/ws/push",
    .help = "?n=N&size=S&binary=1: sends N numbered messages of S bytes",
    .open = open_push,
    .fill = fill_push },
  { .path = "/ws/refuse",
    .help = "?status=S: refuses the handshake",
    .refuse = refuse_told },
  { .path = "/ws/slow", .help = "?ms=MS: the handshake takes that long" },
  { .path = "/ws/fragment",
    .help = "?n=N: echoes in N fragments, with pings between them",
    .open = open_fragment,
    .message = message_fragment },
  { .path = "/ws/headers",
    .help = "sends the request's headers as JSON",
    .open = open_headers },
  { .path = "/ws/deaf", .help = "reads nothing", .open = open_deaf },
  { .path = "/ws/ping",
    .help = "?ms=MS: pings that often; answers \"pongs\" with their number",
    .open = open_ping,
    .message = message_ping,
    .tick = tick_ping,
    .pong = pong_ping },
};

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

const ws_route_t* ws_route_at(size_t index) {
  return index < ROUTE_COUNT ? &routes[index] : NULL;
}

const ws_route_t* ws_route_find(struct lws* wsi) {
  char path[MAX_PATH_BYTES];
  size_t i;

  if (lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI) < 0)
    return NULL;
  for (i = 0; i < ROUTE_COUNT; i++)
    if (strcmp(path, routes[i].path) == 0)
      return &routes[i];
  return NULL;
}
