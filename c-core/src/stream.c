/* Streams: reading and writing of connections that libcurl made.
 *
 * libuv's callback only notes that a stream is ready; the turn reads and
 * writes. Small pieces are gathered, since a call costs more than a copy.
 *
 * A plain socket is taken over. With TLS reading and writing go through
 * libcurl, which walks through all connections of the multi in each call, and
 * which may hold bytes back that no poll tells of: so reading goes on until
 * there is nothing, a bounded number of times a turn. I/O thread only. */
#include "stream.h"

#include <errno.h>
#include <string.h>

#ifndef _WIN32
#  include <sys/socket.h>
#endif

#include "profile.h"

enum {
  READ_SIZE = 64 * 1024,
  READS_A_TURN = 16,
  GATHER_SIZE = 64 * 1024,
  GATHER_MAX = 8 * 1024, /* a larger piece goes out by itself */
  RANDOM_SIZE = 1024
};

struct nt__streams {
  nt_context_t* ctx;
  nt__node_t active;
  nt__chunk_t* in; /* what is read; an owner may take it */
  size_t in_capacity;
  char* out;
  unsigned char random[RANDOM_SIZE];
  size_t random_left;
};

int nt__streams_open(nt_context_t* ctx) {
  nt__streams_t* streams = nt__calloc(sizeof(*streams));

  ctx->io.streams = streams;
  if (streams == NULL)
    return NT_E_NOMEM;
  streams->ctx = ctx;
  nt__list_init(&streams->active);
  return 0;
}

void nt__streams_free(nt__streams_t* streams) {
  if (streams == NULL)
    return;
  nt__free(streams->in);
  nt__free(streams->out);
  nt__free(streams);
}

void nt__streams_random(nt__streams_t* streams, void* out, size_t size) {
  if (streams->random_left < size) {
    /* Without it we go on with what there is: masks protect proxies, not us. */
    uv_random(NULL, NULL, streams->random, RANDOM_SIZE, 0, NULL);
    streams->random_left = RANDOM_SIZE;
  }
  streams->random_left -= size;
  memcpy(out, streams->random + streams->random_left, size);
}

static nt__streams_t* streams_of(const nt__stream_t* stream) {
  return nt__transfer_context(&stream->transfer)->io.streams;
}

static nt__stream_t* of_transfer(nt__transfer_t* transfer) {
  return nt__container_of(transfer, nt__stream_t, transfer);
}

static void activate(nt__stream_t* stream) {
  if (!stream->running && !nt__node_linked(&stream->active))
    nt__list_append(&streams_of(stream)->active, &stream->active);
}

/* ---- Ending -------------------------------------------------------------- */

/* It may have been gathered too. What is left of a gathering is made anew. */
static void wipe(nt__streams_t* streams, nt__piece_t* piece) {
  nt__wipe(piece + 1, piece->secret);
  if (streams->out != NULL)
    nt__wipe(streams->out, GATHER_SIZE);
}

void nt__stream_drop(nt__stream_t* stream, nt__piece_t* piece) {
  nt_context_t* ctx = nt__transfer_context(&stream->transfer);

  if (piece->secret > 0)
    wipe(streams_of(stream), piece);
  nt__meter_settle(&ctx->meter, piece->minute, piece->charge);
  stream->charge += piece->charge;
  stream->sends += piece->sends;
  nt__spare_give(&ctx->pieces, &piece->block);
}

void nt__stream_close(nt__stream_t* stream) {
  nt__link_t* link;

  if (nt__node_linked(&stream->active))
    nt__list_remove(&stream->active);
  while ((link = nt__fifo_shift(&stream->queue)) != NULL)
    nt__stream_drop(stream, nt__container_of(link, nt__piece_t, link));
  nt__buf_free(&stream->rest);
  if (stream->socket != NULL && stream->plain)
    nt__socket_close(stream->socket);
  stream->socket = NULL;
  stream->open = stream->connecting = false;
  nt__transfer_cancel(&stream->transfer);
}

static void end(nt__stream_t* stream, int error) {
  nt__stream_close(stream);
  stream->ops->on_end(stream, error);
}

/* ---- Connecting ---------------------------------------------------------- */

static void on_ready(nt__socket_owner_t* owner, int events) {
  nt__stream_t* stream = nt__container_of(owner, nt__stream_t, owner);

  stream->ready |= events;
  stream->waits_input = false;
  activate(stream);
}

/* For the first stream, and after one was taken. */
static bool make_input(nt__streams_t* streams) {
  size_t size = offsetof(nt__chunk_t, data) + READ_SIZE + 1;

  if (streams->in == NULL)
    streams->in =
        nt__spare_take(&streams->ctx->chunks, size, &streams->in_capacity);
  return streams->in != NULL;
}

static bool make_output(nt__streams_t* streams) {
  if (streams->out == NULL)
    streams->out = nt__malloc(GATHER_SIZE);
  return streams->out != NULL;
}

static bool is_plain(const nt__transfer_t* t) {
  const char* proxy = nt__transfer_proxy(t);

  return !t->url.secure && !nt__transfer_asks_env(t) &&
         (proxy == NULL || !curl_strnequal(proxy, "https:", 6));
}

static nt__socket_t* get_socket(nt__stream_t* stream) {
  nt__easy_t* easy = &stream->transfer.easy;

  stream->plain = is_plain(&stream->transfer);
  if (stream->plain)
    return nt__driver_take_socket(easy, &stream->owner);
  return nt__driver_socket(easy, &stream->owner);
}

static void read_local_address(nt__stream_t* stream) {
  CURL* curl = stream->transfer.easy.curl;
  char* ip = NULL;
  long port = 0;

  curl_easy_getinfo(curl, CURLINFO_LOCAL_IP, &ip);
  curl_easy_getinfo(curl, CURLINFO_LOCAL_PORT, &port);
  if (ip != NULL && strlen(ip) < sizeof(stream->local_ip))
    memcpy(stream->local_ip, ip, strlen(ip) + 1);
  stream->local_port = (int) port;
}

static void on_connected(nt__transfer_t* t) {
  nt__stream_t* stream = of_transfer(t);

  /* Later libcurl may have no part in it. */
  nt__profile_read(t);
  read_local_address(stream);
  stream->connecting = false;
  stream->open = true;
  stream->socket = get_socket(stream);
  if (stream->socket == NULL || !make_output(streams_of(stream))) {
    end(stream, NT_E_NOMEM);
    return;
  }
  activate(stream);
  stream->ops->on_connected(stream);
}

static void on_failed(nt__transfer_t* t) {
  end(of_transfer(t), t->task->error);
}

static const nt__transfer_ops_t transfer_ops = { .on_connected = on_connected,
                                                 .on_end = on_failed };

void nt__stream_connect(nt__stream_t* stream) {
  nt__node_init(&stream->active);
  stream->ready = 0;
  stream->held = stream->blocked = stream->waits_input = false;
  stream->half_closed = stream->broken = false;
  stream->connecting = true;
  stream->transfer.ops = &transfer_ops;
  stream->owner.on_ready = on_ready;
  nt__transfer_connect(&stream->transfer);
}

/* ---- Writing ------------------------------------------------------------- */

void nt__stream_write(nt__stream_t* stream, nt__piece_t* piece) {
  if (!stream->open && !stream->connecting) {
    nt__stream_drop(stream, piece);
    return;
  }
  nt__fifo_push(&stream->queue, &piece->link);
  if (stream->open && !stream->blocked)
    activate(stream);
}

bool nt__stream_shutdown(nt__stream_t* stream) {
#ifdef _WIN32
  const int how = SD_SEND;
#else
  const int how = SHUT_WR;
#endif

  return shutdown(nt__socket_fd(stream->socket), how) == 0;
}

bool nt__stream_is_flushed(const nt__stream_t* stream) {
  return stream->queue.first == NULL;
}

static nt__piece_t* first_piece(const nt__stream_t* stream) {
  return nt__container_of(stream->queue.first, nt__piece_t, link);
}

/* The bytes that go out next. A call that the system refused is made again with
 * the same ones, which OpenSSL insists on: the buffer, and what it starts with,
 * depend on the head of the queue alone. */
static const char* next_bytes(nt__stream_t* stream, size_t* size) {
  char* out = streams_of(stream)->out;
  const nt__link_t* link = stream->queue.first;
  const nt__piece_t* piece = first_piece(stream);

  *size = 0;
  if (piece->size > GATHER_MAX) {
    *size = piece->size;
    return piece->data;
  }
  for (; link != NULL; link = link->next) {
    piece = nt__container_of(link, const nt__piece_t, link);
    if (*size + piece->size > GATHER_SIZE)
      break;
    memcpy(out + *size, piece->data, piece->size);
    *size += piece->size;
  }
  return out;
}

static void take_off(nt__stream_t* stream, size_t size) {
  while (stream->queue.first != NULL) {
    nt__piece_t* piece = first_piece(stream);

    if (size < piece->size) {
      piece->data += size;
      piece->size -= size;
      return;
    }
    size -= piece->size;
    nt__fifo_shift(&stream->queue);
    stream->delivered += piece->charge;
    nt__stream_drop(stream, piece);
  }
}

#ifdef _WIN32
typedef int call_size_t;
static bool would_block(void) {
  return WSAGetLastError() == WSAEWOULDBLOCK;
}
#else
typedef size_t call_size_t;
static bool would_block(void) {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}
#endif
#ifndef MSG_NOSIGNAL
#  define MSG_NOSIGNAL 0 /* libcurl has set the socket's own option */
#endif

static CURLcode send_bytes(nt__stream_t* stream, const char* data, size_t size,
                           size_t* sent) {
  ptrdiff_t n;

  if (!stream->plain)
    return curl_easy_send(stream->transfer.easy.curl, data, size, sent);
  n = send(nt__socket_fd(stream->socket), data, (call_size_t) size,
           MSG_NOSIGNAL);
  if (n < 0)
    return would_block() ? CURLE_AGAIN : CURLE_SEND_ERROR;
  *sent = (size_t) n;
  return CURLE_OK;
}

static CURLcode receive_bytes(nt__stream_t* stream, char* data, size_t size,
                              size_t* received) {
  ptrdiff_t n;

  if (!stream->plain)
    return curl_easy_recv(stream->transfer.easy.curl, data, size, received);
  n = recv(nt__socket_fd(stream->socket), data, (call_size_t) size, 0);
  if (n < 0)
    return would_block() ? CURLE_AGAIN : CURLE_RECV_ERROR;
  *received = (size_t) n;
  return CURLE_OK;
}

/* 0, CURLE_AGAIN, or what went wrong. */
static CURLcode write_some(nt__stream_t* stream) {
  nt_context_t* ctx = nt__transfer_context(&stream->transfer);
  size_t size, sent = 0;
  const char* data = next_bytes(stream, &size);
  CURLcode code = send_bytes(stream, data, size, &sent);

  if (code != CURLE_OK)
    return code;
  nt__count_out(ctx, sent);
  stream->taken += sent;
  take_off(stream, sent);
  return CURLE_OK;
}

static void flush(nt__stream_t* stream, int ready) {
  CURLcode code = CURLE_OK;
  uint64_t sends = stream->sends;
  bool progress = false;

  while (stream->queue.first != NULL) {
    code = write_some(stream);
    if (code != CURLE_OK)
      break;
    progress = true;
  }
  stream->blocked = code == CURLE_AGAIN;
  /* TLS may have to read first: then the socket is writable all the time, and
   * waiting for that would be spinning. */
  stream->waits_input =
      stream->blocked && !progress && (ready & UV_WRITABLE) && !stream->plain;
  stream->broken = code != CURLE_OK && code != CURLE_AGAIN;
  if (stream->sends != sends)
    stream->ops->on_sent(stream);
}

/* What the peer has said before it went may still be read. */
static bool may_flush(const nt__stream_t* stream, int ready) {
  if (stream->queue.first == NULL || stream->broken)
    return false;
  return !stream->blocked || (ready & UV_WRITABLE) ||
         (ready != 0 && !stream->plain);
}

/* ---- Reading ------------------------------------------------------------- */

static bool reads(const nt__stream_t* stream) {
  return stream->open && !stream->held && !stream->half_closed;
}

nt__chunk_t* nt__stream_steal(nt__stream_t* stream, const char* data,
                              size_t size) {
  nt__streams_t* streams = streams_of(stream);
  nt__chunk_t* chunk = streams->in;

  if (data != chunk->data) /* bytes that had been left, and lie elsewhere */
    return NULL;
  streams->in = NULL;
  return nt__chunk_init(stream->transfer.task, NT_EV_CHUNK, chunk,
                        streams->in_capacity, size);
}

void nt__stream_hold(nt__stream_t* stream) {
  stream->held = true;
}

void nt__stream_resume(nt__stream_t* stream) {
  stream->held = false;
  if (!stream->open)
    return;
  stream->ready |= UV_READABLE;
  activate(stream);
}

/* Bytes that were left go to the end of the line again. */
static int keep_rest(nt__stream_t* stream, const char* data, size_t size) {
  nt__buf_t rest = { NULL, 0, 0, 0 };
  int err = nt__buf_append(&rest, data, size);

  nt__buf_free(&stream->rest);
  stream->rest = rest;
  return err;
}

static void hand_over(nt__stream_t* stream, const char* data, size_t size) {
  size_t used = stream->ops->on_data(stream, data, size);

  if (!stream->open)
    return;
  if (used == size) {
    nt__buf_free(&stream->rest);
    return;
  }
  stream->held = true;
  if (keep_rest(stream, data + used, size - used) != 0)
    end(stream, NT_E_NOMEM);
}

/* A reset is told once: when it was the answer to a send, reading finds nothing
 * but an end. */
static void end_input(nt__stream_t* stream) {
  const nt__stream_ops_t* ops = stream->ops;

  if (stream->broken)
    end(stream, NT_E_RESET);
  else if (ops->on_half_closed != NULL && ops->on_half_closed(stream))
    stream->half_closed = true;
  else
    end(stream, 0);
}

/* False when there is nothing to read now, or the stream has ended. */
static bool read_some(nt__stream_t* stream) {
  nt_context_t* ctx = nt__transfer_context(&stream->transfer);
  nt__streams_t* streams = streams_of(stream);
  size_t size = 0;
  CURLcode code;

  if (!make_input(streams)) {
    end(stream, NT_E_NOMEM);
    return false;
  }
  code = receive_bytes(stream, streams->in->data, READ_SIZE, &size);
  if (code == CURLE_AGAIN)
    return false;
  if (code != CURLE_OK) {
    end(stream, NT_E_RESET);
    return false;
  }
  if (size == 0) {
    end_input(stream);
    return false;
  }
  nt__count_in(ctx, size);
  hand_over(stream, streams->in->data, size);
  /* Less than asked for was all there is, unless TLS has more. */
  return size == READ_SIZE || !stream->plain;
}

/* The quota is spent, and the owner waits for the next minute. */
static bool has_to_wait(nt__stream_t* stream) {
  return nt__meter_is_spent(&nt__transfer_context(&stream->transfer)->meter) &&
         stream->ops->on_spent(stream);
}

/* True when there may be more than what a turn reads. */
static bool read_on(nt__stream_t* stream) {
  unsigned left = READS_A_TURN;

  if (stream->rest.size > 0) {
    nt__buf_t rest = stream->rest;

    stream->rest.data = NULL;
    stream->rest.size = stream->rest.capacity = 0;
    hand_over(stream, rest.data, rest.size);
    nt__buf_free(&rest);
  }
  while (reads(stream) && !has_to_wait(stream))
    if (left-- == 0)
      return true;
    else if (!read_some(stream))
      return false;
  return false;
}

/* ---- The turn ------------------------------------------------------------ */

static void watch(nt__stream_t* stream) {
  int events = reads(stream) ? UV_READABLE : 0;

  if (stream->blocked)
    events |= stream->waits_input ? UV_READABLE : UV_WRITABLE;
  if (nt__socket_watch(stream->socket, events) != 0)
    end(stream, NT_E_SYSTEM);
}

/* True when there is more to do. */
static bool work(nt__stream_t* stream) {
  int ready = stream->ready;
  bool more = false;

  stream->ready = 0;
  if (may_flush(stream, ready))
    flush(stream, ready);
  if (stream->broken)
    ready |= UV_READABLE;
  if (reads(stream) && (ready & UV_READABLE))
    more = read_on(stream);
  if (stream->open && may_flush(stream, 0)) /* an answer to what was read */
    flush(stream, 0);
  if (stream->open && stream->broken && !more && !stream->held)
    end(stream, NT_E_RESET); /* held back, there may be more to read */
  if (stream->open && !more)
    watch(stream);
  return stream->open && (more || may_flush(stream, 0));
}

static bool run(nt__stream_t* stream) {
  bool more;

  stream->running = true;
  more = work(stream);
  stream->running = false;
  if (!more)
    return false;
  stream->ready |= UV_READABLE;
  activate(stream);
  return true;
}

bool nt__streams_run(nt__streams_t* streams) {
  bool more = false;
  nt__node_t now;
  nt__node_t* node;

  if (nt__list_empty(&streams->active))
    return false;
  now = streams->active;
  now.next->prev = now.prev->next = &now;
  nt__list_init(&streams->active);
  while ((node = nt__list_shift(&now)) != NULL)
    more = run(nt__container_of(node, nt__stream_t, active)) || more;
  return more || !nt__list_empty(&streams->active);
}
