/* HTTP and WebSocket: the libwebsockets context on our loop.
 *
 * Only dispatch lives here; exchange.c answers requests, ws.c messages.
 * One callback serves both protocols, since a WebSocket client that names no
 * subprotocol is given the first one, which is also the one of plain HTTP. */

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "server.h"

#define HEADER_BYTES 16384

typedef struct session {
  exchange_t http;
  ws_t ws;
} session_t;

static int on_http(exchange_t* ex, struct lws* wsi,
                   enum lws_callback_reasons reason, void* in, size_t len) {
  switch (reason) {
    case LWS_CALLBACK_HTTP:
      return exchange_begin(ex, wsi, in);
    case LWS_CALLBACK_HTTP_BODY:
      return exchange_body(ex, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
      return exchange_body_end(ex);
    case LWS_CALLBACK_HTTP_WRITEABLE:
      return exchange_writable(ex);
    default:
      exchange_reset(ex);
      return 0;
  }
}

static int on_websocket(ws_t* ws, struct lws* wsi,
                        enum lws_callback_reasons reason, void* in,
                        size_t len) {
  switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
      memset(ws, 0, sizeof(*ws));
      ws->wsi = wsi;
      ws->route = ws_route_find(wsi);
      return ws->route ? 0 : -1;
    case LWS_CALLBACK_ESTABLISHED:
      return ws_open(ws);
    case LWS_CALLBACK_RECEIVE:
      return ws_receive(ws, in, len);
    case LWS_CALLBACK_RECEIVE_PONG:
      if (ws->route->pong != NULL)
        ws->route->pong(ws);
      return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
      return ws_writable(ws);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
      /* Ours was first: this is the answer, which wants none. */
      return ws->closing ? -1 : 0;
    default:
      ws_free(ws);
      return 0;
  }
}

static int on_timer(session_t* session) {
  ws_t* ws = &session->ws;

  if (ws->route != NULL)
    return ws->route->tick ? ws->route->tick(ws) : 0;
  exchange_timer(&session->http);
  return 0;
}

/* "No" makes libwebsockets close its descriptor, not the connection: the door
 * has one of its own. */
static int keep_at_door(struct lws* listener, int accepted) {
  door_t* door = lws_context_user(lws_get_context(listener));
  int fd = fcntl(accepted, F_DUPFD_CLOEXEC, 0);

  if (fd >= 0 && door_enter(door, fd) < 0)
    close(fd);
  return -1;
}

static int on_event(struct lws* wsi, enum lws_callback_reasons reason,
                    void* user, void* in, size_t len) {
  session_t* session = user;

  switch (reason) {
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
      return keep_at_door(wsi, (int) (intptr_t) in);
    case LWS_CALLBACK_HTTP:
    case LWS_CALLBACK_HTTP_BODY:
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
    case LWS_CALLBACK_HTTP_WRITEABLE:
      return on_http(&session->http, wsi, reason, in, len);
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
      /* Connections that never sent a request have no user space. */
      return session ? on_http(&session->http, wsi, reason, in, len) : 0;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
      /* Answers are framed for HTTP/1.1, and an offer of h2c cannot be ignored:
       * libwebsockets knows only yes and hanging up. */
      return strcasecmp(in, "websocket") == 0 ? ws_confirm(wsi) : -1;
    case LWS_CALLBACK_RAW_ADOPT: /* CONNECT: this is no proxy */
      return -1;
    case LWS_CALLBACK_TIMER:
      return on_timer(session);
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_RECEIVE_PONG:
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    case LWS_CALLBACK_CLOSED:
      return on_websocket(&session->ws, wsi, reason, in, len);
    default:
      return lws_callback_http_dummy(wsi, reason, user, in, len);
  }
}

static const struct lws_protocols protocols[] = {
  { "http", on_event, sizeof(session_t), 0, 0, NULL, 0 },
  { "chat", on_event, sizeof(session_t), 0, 0, NULL, 0 },
  { "superchat", on_event, sizeof(session_t), 0, 0, NULL, 0 },
  { "echo", on_event, sizeof(session_t), 0, 0, NULL, 0 },
  { NULL, NULL, 0, 0, 0, NULL, 0 }
};

/* permessage-deflate is not offered: valid messages make that of libwebsockets
 * 4.1 abort the process (assertions in extension-permessage-deflate.c). */
struct lws_context* web_start(door_t* door, const char* address, int port,
                              int* bound) {
  struct lws_context_creation_info info;
  struct lws_context* context;
  struct lws_vhost* vhost;
  void* loops[1];

  loops[0] = door->loop;
  memset(&info, 0, sizeof(info));
  info.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DISABLE_IPV6 |
                 LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
  info.foreign_loops = loops;
  info.protocols = protocols;
  info.user = door;
  info.iface = address;
  info.port = port;
  info.vhost_name = address;
  info.keepalive_timeout = 300;
  /* A header table is taken per running request; the pool must not be what
   * limits a benchmark. */
  info.max_http_header_pool = 4096;
  info.max_http_header_data = HEADER_BYTES;
  info.pt_serv_buf_size = 65536;

  lws_set_log_level(LLL_ERR, NULL);
  context = lws_create_context(&info);
  if (context == NULL)
    return NULL;

  vhost = lws_create_vhost(context, &info);
  if (vhost == NULL) {
    lws_context_destroy(context);
    return NULL;
  }
  door->vhost = vhost;
  *bound = lws_get_vhost_listen_port(vhost);
  return context;
}
