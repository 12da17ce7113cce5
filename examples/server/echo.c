/* TCP and UDP echo, on libuv alone.
 *
 * A TCP connection that does not take its echoes is not read above HIGH_WATER;
 * the peer's end of stream is answered once all has been sent. Datagrams that
 * the system does not take at once are dropped, as UDP may. */

#include <stdlib.h>

#include "server.h"

#define HIGH_WATER ((size_t) 1 << 20)
#define PIECE_BYTES 65536
#define BACKLOG 1024
#define DATAGRAM_ROOM (4 << 20) /* a burst is not to be lost here */

typedef struct peer {
  uv_tcp_t tcp;
  uv_shutdown_t shutdown;
  int held; /* not read until its echoes are taken */
} peer_t;

typedef struct echo_write {
  uv_write_t request;
  char bytes[PIECE_BYTES];
} echo_write_t;

static void read_more(uv_stream_t* stream);

static void on_peer_closed(uv_handle_t* handle) {
  free(handle->data);
}

static void close_peer(uv_handle_t* handle) {
  if (!uv_is_closing(handle))
    uv_close(handle, on_peer_closed);
}

static void on_shutdown(uv_shutdown_t* request, int status) {
  (void) status;
  close_peer((uv_handle_t*) request->handle);
}

static void on_written(uv_write_t* request, int status) {
  uv_stream_t* stream = request->handle;
  peer_t* peer = stream->data;

  free(request->data);
  if (status < 0) {
    close_peer((uv_handle_t*) stream);
  } else if (peer->held &&
             uv_stream_get_write_queue_size(stream) < HIGH_WATER / 2) {
    peer->held = 0;
    read_more(stream);
  }
}

/* The piece that a read fills is also the write that sends it back. */
static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  echo_write_t* write = malloc(sizeof(*write));

  (void) handle;
  (void) suggested;
  *buf = write ? uv_buf_init(write->bytes, PIECE_BYTES) : uv_buf_init(NULL, 0);
}

static echo_write_t* write_of(const uv_buf_t* buf) {
  return (echo_write_t*) (buf->base - offsetof(echo_write_t, bytes));
}

static void echo_piece(uv_stream_t* stream, echo_write_t* write, size_t size) {
  peer_t* peer = stream->data;
  uv_buf_t out = uv_buf_init(write->bytes, (unsigned) size);

  write->request.data = write;
  if (uv_write(&write->request, stream, &out, 1, on_written) < 0) {
    free(write);
    close_peer((uv_handle_t*) stream);
    return;
  }
  if (uv_stream_get_write_queue_size(stream) > HIGH_WATER) {
    peer->held = 1;
    uv_read_stop(stream);
  }
}

static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buf) {
  peer_t* peer = stream->data;

  if (size > 0) {
    echo_piece(stream, write_of(buf), (size_t) size);
    return;
  }
  if (buf->base != NULL)
    free(write_of(buf));
  if (size == UV_EOF) {
    uv_read_stop(stream);
    if (uv_shutdown(&peer->shutdown, stream, on_shutdown) == 0)
      return;
  }
  if (size < 0)
    close_peer((uv_handle_t*) stream);
}

static void read_more(uv_stream_t* stream) {
  uv_read_start(stream, on_alloc, on_read);
}

static void on_connection(uv_stream_t* server, int status) {
  peer_t* peer;

  if (status < 0)
    return;
  peer = calloc(1, sizeof(*peer));
  if (peer == NULL)
    return;
  uv_tcp_init(server->loop, &peer->tcp);
  peer->tcp.data = peer;
  if (uv_accept(server, (uv_stream_t*) &peer->tcp) < 0) {
    close_peer((uv_handle_t*) &peer->tcp);
    return;
  }
  uv_tcp_nodelay(&peer->tcp, 1);
  read_more((uv_stream_t*) &peer->tcp);
}

static void on_datagram_alloc(uv_handle_t* handle, size_t suggested,
                              uv_buf_t* buf) {
  static char bytes[PIECE_BYTES];

  (void) handle;
  (void) suggested;
  *buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_datagram(uv_udp_t* udp, ssize_t size, const uv_buf_t* buf,
                        const struct sockaddr* from, unsigned flags) {
  uv_buf_t out;

  (void) flags;
  if (from == NULL || size < 0)
    return;
  out = uv_buf_init(buf->base, (unsigned) size);
  uv_udp_try_send(udp, &out, 1, from);
}

static int start_tcp(echo_servers_t* echo, const struct sockaddr* any) {
  struct sockaddr_in bound;
  int size = sizeof(bound);
  int err = uv_tcp_bind(&echo->tcp, any, 0);

  if (err == 0)
    err = uv_listen((uv_stream_t*) &echo->tcp, BACKLOG, on_connection);
  if (err == 0)
    err = uv_tcp_getsockname(&echo->tcp, (struct sockaddr*) &bound, &size);
  if (err == 0)
    echo->tcp_port = ntohs(bound.sin_port);
  return err;
}

static int start_udp(echo_servers_t* echo, const struct sockaddr* any) {
  struct sockaddr_in bound;
  int size = sizeof(bound);
  int room = DATAGRAM_ROOM;
  int err = uv_udp_bind(&echo->udp, any, 0);

  if (err == 0) /* or as much as the system allows */
    uv_recv_buffer_size((uv_handle_t*) &echo->udp, &room);
  if (err == 0)
    err = uv_udp_recv_start(&echo->udp, on_datagram_alloc, on_datagram);
  if (err == 0)
    err = uv_udp_getsockname(&echo->udp, (struct sockaddr*) &bound, &size);
  if (err == 0)
    echo->udp_port = ntohs(bound.sin_port);
  return err;
}

int echo_start(echo_servers_t* echo, uv_loop_t* loop, const char* address) {
  struct sockaddr_in any;
  int err = uv_ip4_addr(address, 0, &any);

  uv_tcp_init(loop, &echo->tcp);
  echo->tcp.data = NULL;
  uv_udp_init(loop, &echo->udp);
  echo->udp.data = NULL;
  if (err == 0)
    err = start_tcp(echo, (const struct sockaddr*) &any);
  if (err == 0)
    err = start_udp(echo, (const struct sockaddr*) &any);
  return err;
}

static void on_walk(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (handle->type == UV_TCP || handle->type == UV_UDP)
    close_peer(handle);
}

void echo_stop(uv_loop_t* loop) {
  /* libwebsockets uses other types of handles for its sockets. */
  uv_walk(loop, on_walk, NULL);
}
