/* A bare libwebsockets client, on its own loop.
 *
 * Writing is only allowed in the WRITEABLE callback; it goes on there while the
 * socket takes more, for one message a callback would halve the figures. */
#include <libwebsockets.h>

#include "load.h"

enum {
  RX_SIZE = 128 << 10
};

static struct {
  load_t load;
  struct lws* wsi;
  unsigned char* frame; /* LWS_PRE bytes of room, then the message */
  size_t due;           /* messages to be sent */
  bool over;
} client;

static int on_writable(struct lws* wsi) {
  enum lws_write_protocol kind =
      client.load.binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;

  while (client.due > 0 && !lws_send_pipe_choked(wsi) &&
         !lws_partial_buffered(wsi)) {
    /* It masks in place. */
    memcpy(client.frame + LWS_PRE, client.load.message, client.load.size);
    if (lws_write(wsi, client.frame + LWS_PRE, client.load.size, kind) < 0)
      die("write", "failed");
    client.due--;
  }
  if (client.due > 0)
    lws_callback_on_writable(wsi);
  return 0;
}

static int on_receive(struct lws* wsi) {
  if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi) > 0)
    return 0;
  client.load.done++;
  client.due++;
  client.over = client.over || !load_goes_on(&client.load);
  lws_callback_on_writable(wsi);
  return 0;
}

static int on_event(struct lws* wsi, enum lws_callback_reasons reason,
                    void* user, void* data, size_t size) {
  (void) user;
  (void) size;
  switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
      client.due = client.load.in_flight;
      lws_callback_on_writable(wsi);
      return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
      return on_receive(wsi);
    case LWS_CALLBACK_CLIENT_WRITEABLE:
      return on_writable(wsi);
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
      die("connect", data == NULL ? "failed" : data);
    case LWS_CALLBACK_CLIENT_CLOSED:
      die("connection", "closed");
    default:
      return 0;
  }
}

static const struct lws_protocols protocols[] = {
  { "bench", on_event, 0, RX_SIZE, 0, NULL, 0 },
  { NULL, NULL, 0, 0, 0, NULL, 0 }
};

static struct lws_context* make_context(void) {
  struct lws_context_creation_info info = { 0 };

  info.port = CONTEXT_PORT_NO_LISTEN;
  info.protocols = protocols;
  info.pt_serv_buf_size = RX_SIZE;
  info.client_ssl_ca_filepath = client.load.ca_file;
  if (client.load.ca_file != NULL)
    info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
  return lws_create_context(&info);
}

static void connect_to_server(struct lws_context* context) {
  struct lws_client_connect_info info = { 0 };

  info.context = context;
  info.address = client.load.host;
  info.host = client.load.host;
  info.origin = client.load.host;
  info.port = client.load.port;
  info.path = "/";
  info.ssl_connection = client.load.ca_file != NULL ? LCCSCF_USE_SSL : 0;
  info.local_protocol_name = "bench";
  info.pwsi = &client.wsi;
  if (lws_client_connect_via_info(&info) == NULL)
    die("connect", "failed");
}

int main(int argc, char** argv) {
  struct lws_context* context;

  load_init(&client.load, argc, argv);
  lws_set_log_level(LLL_ERR, NULL);
  client.frame = malloc(LWS_PRE + client.load.size);
  if (client.frame == NULL)
    die("memory", "none");
  context = make_context();
  if (context == NULL)
    die("libwebsockets", "no context");
  connect_to_server(context);
  while (!client.over)
    if (lws_service(context, 0) < 0)
      die("libwebsockets", "service failed");
  return 0;
}
