/* TCP sockets: a stream whose bytes are the host's.
 *
 *   connecting --> open --> flushing --> draining --> END
 *
 * Closing is orderly: what is queued goes out, our side ends, and what still
 * comes is dropped until the peer ends too, since a socket that is closed with
 * bytes unread resets the connection and takes what was sent along. */
#include <stdio.h>
#include <string.h>

#ifdef _WIN32
#  include <winsock2.h>
#else
#  include <netinet/in.h>
#  include <netinet/tcp.h>
#  include <sys/socket.h>
#endif

#include "ask.h"
#include "audit.h"
#include "gate.h"
#include "send_queue.h"
#include "stage.h"
#include "stream.h"

enum {
  DEFAULT_TIMEOUT_MS = 2000,
  PATIENCE_MS = 5000,       /* with a peer that does not read, or not end */
  STEAL_MIN = 16 * 1024,    /* less is copied out of the large buffer */
  KEEP_ALIVE_MAX_S = 32767, /* Linux's */
  URL_ROOM = sizeof("https://[%25]:65535/")
};

typedef enum tcp_state {
  TCP_CONNECTING,
  TCP_OPEN,
  TCP_FLUSHING, /* closes once the queue is empty */
  TCP_DRAINING, /* our side has ended */
  TCP_ENDED
} tcp_state_t;

typedef struct nt__tcp {
  nt__task_t task;
  nt__stream_t stream;
  nt__send_queue_t queue;
  uint32_t keep_alive_ms;

  /* Host thread. */
  bool closing;

  /* I/O thread. */
  tcp_state_t state;
  bool opened;
  bool delay_changed; /* since it began to connect */
  bool peer_ended;    /* and was read to its end */
  nt__timer_t timer;  /* the end of patience */
  uint64_t taken;     /* of the stream, when it began */
} nt__tcp_t;

/* What the host wants of a socket that runs. */
typedef enum tcp_wish {
  WISH_SEND,
  WISH_REPORT,
  WISH_CLOSE,
  WISH_NO_DELAY,
  WISH_KEEP_ALIVE
} tcp_wish_t;

typedef struct tcp_order {
  nt__command_t command; /* NT__CMD_TELL */
  tcp_wish_t wish;
  uint32_t value;
  nt__piece_t piece;
  char data[];
} tcp_order_t;

static nt__tcp_t* of_task(const nt__task_t* task) {
  return nt__container_of(task, nt__tcp_t, task);
}

static nt__tcp_t* of_stream(const nt__stream_t* stream) {
  return nt__container_of(stream, nt__tcp_t, stream);
}

/* ---- Ending -------------------------------------------------------------- */

static void finish(nt__tcp_t* tcp, int error) {
  if (tcp->state == TCP_ENDED)
    return;
  tcp->state = TCP_ENDED;
  nt__timer_clear(&tcp->task.ctx->io.timers, &tcp->timer);
  nt__stream_close(&tcp->stream);
  nt__send_queue_settle(&tcp->queue, &tcp->stream);
  tcp->task.error = error;
  nt__task_end(&tcp->task, 0);
}

static void be_patient(nt__tcp_t* tcp) {
  tcp->taken = tcp->stream.taken;
  nt__timer_set(&tcp->task.ctx->io.timers, &tcp->timer,
                nt__now(tcp->task.ctx) + PATIENCE_MS);
}

/* A peer that reads slowly does read. */
static void on_due(nt__timer_t* timer) {
  nt__tcp_t* tcp = nt__container_of(timer, nt__tcp_t, timer);

  if (tcp->stream.taken != tcp->taken)
    be_patient(tcp);
  else
    finish(tcp, 0);
}

/* Everything is with the system: end our side. */
static void drain(nt__tcp_t* tcp) {
  tcp->state = TCP_DRAINING;
  if (nt__stream_shutdown(&tcp->stream) && !tcp->peer_ended)
    be_patient(tcp);
  else
    finish(tcp, 0);
}

static void flush(nt__tcp_t* tcp) {
  tcp->state = TCP_FLUSHING;
  if (nt__stream_is_flushed(&tcp->stream))
    drain(tcp);
  else
    be_patient(tcp);
}

/* ---- The stream ---------------------------------------------------------- */

static void set_option(nt__tcp_t* tcp, int level, int name, int value) {
  /* A socket that cannot do it works all the same. */
  setsockopt(nt__socket_fd(tcp->stream.socket), level, name,
             (const char*) &value, sizeof(value));
}

static void apply_keep_alive(nt__tcp_t* tcp) {
  int seconds = (int) (((uint64_t) tcp->keep_alive_ms + 999) / 1000);

  if (seconds > KEEP_ALIVE_MAX_S)
    seconds = KEEP_ALIVE_MAX_S;
  set_option(tcp, SOL_SOCKET, SO_KEEPALIVE, seconds > 0);
  if (seconds == 0)
    return;
#if defined(TCP_KEEPIDLE)
  set_option(tcp, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
#elif defined(TCP_KEEPALIVE)
  set_option(tcp, IPPROTO_TCP, TCP_KEEPALIVE, seconds);
#endif
}

static void apply_no_delay(nt__tcp_t* tcp) {
  set_option(tcp, IPPROTO_TCP, TCP_NODELAY, !tcp->stream.transfer.nagle);
}

static void show_address(nt_address_t* address, const void* ip, int port) {
  address->ip = ip;
  address->port = port;
  address->ipv6 = strchr(ip, ':') != NULL;
}

static int post_open(nt__tcp_t* tcp) {
  const nt__stream_t* stream = &tcp->stream;
  const nt__transfer_t* t = &stream->transfer;
  size_t local = strlen(stream->local_ip) + 1;
  size_t peer = strlen(t->peer_ip) + 1;
  nt__parcel_t* parcel = nt__parcel_new(&tcp->task, NT_EV_OPEN, local + peer);
  char* cursor;

  if (parcel == NULL)
    return NT_E_NOMEM;
  cursor = parcel->bytes;
  show_address(&parcel->view.local, nt__pack(&cursor, stream->local_ip, local),
               stream->local_port);
  show_address(&parcel->view.remote, nt__pack(&cursor, t->peer_ip, peer),
               t->profile.peer_port);
  parcel->view.protocol = "";
  nt__ask_show(t, &parcel->view);
  nt__event_post(tcp->task.ctx, &parcel->event, local + peer);
  return 0;
}

static void on_connected(nt__stream_t* stream) {
  nt__tcp_t* tcp = of_stream(stream);
  bool closing = tcp->state == TCP_FLUSHING; /* was said while it connected */

  nt__stage_rest(&stream->transfer);
  if (tcp->keep_alive_ms > 0)
    apply_keep_alive(tcp);
  if (tcp->delay_changed)
    apply_no_delay(tcp);
  if (post_open(tcp) != 0) {
    finish(tcp, NT_E_NOMEM);
    return;
  }
  tcp->opened = true;
  tcp->state = TCP_OPEN;
  if (closing)
    flush(tcp);
}

/* Much data stays where it was read. */
static nt__chunk_t* chunk_of(nt__tcp_t* tcp, const char* data, size_t size) {
  nt__chunk_t* chunk = NULL;

  if (size >= STEAL_MIN)
    chunk = nt__stream_steal(&tcp->stream, data, size);
  if (chunk != NULL)
    return chunk;
  chunk = nt__chunk_new(&tcp->task, NT_EV_CHUNK, size);
  if (chunk != NULL)
    memcpy(chunk->data, data, size);
  return chunk;
}

static bool post_chunk(nt__tcp_t* tcp, const char* data, size_t size) {
  nt__chunk_t* chunk = chunk_of(tcp, data, size);

  if (chunk == NULL)
    return false;
  nt__event_post(tcp->task.ctx, &chunk->event, size);
  return true;
}

static void hold(nt__tcp_t* tcp) {
  nt__stream_hold(&tcp->stream);
  nt__task_hold(&tcp->task);
}

static bool on_spent(nt__stream_t* stream) {
  hold(of_stream(stream));
  return true;
}

static size_t on_data(nt__stream_t* stream, const char* data, size_t size) {
  nt__tcp_t* tcp = of_stream(stream);

  if (tcp->state != TCP_OPEN)
    return size; /* for nobody any more */
  if (!post_chunk(tcp, data, size)) {
    finish(tcp, NT_E_NOMEM);
  } else if (nt__is_over_mark(tcp->task.ctx, &tcp->task)) {
    hold(tcp);
  }
  return size;
}

static void on_sent(nt__stream_t* stream) {
  nt__tcp_t* tcp = of_stream(stream);

  nt__send_queue_settle(&tcp->queue, stream);
  if (nt__send_queue_report(&tcp->queue, &tcp->task) != 0)
    finish(tcp, NT_E_NOMEM);
  else if (tcp->state == TCP_FLUSHING)
    flush(tcp);
}

/* The peer wants to hear what is queued all the same. */
static bool on_half_closed(nt__stream_t* stream) {
  nt__tcp_t* tcp = of_stream(stream);

  if (tcp->state == TCP_DRAINING || nt__stream_is_flushed(stream))
    return false;
  tcp->peer_ended = true;
  flush(tcp);
  return true;
}

static void on_end(nt__stream_t* stream, int error) {
  nt__tcp_t* tcp = of_stream(stream);

  /* A peer that drops what it did not want is no news to one that closes. */
  finish(tcp, tcp->state == TCP_DRAINING ? 0 : error);
}

static const nt__stream_ops_t stream_ops = { .on_connected = on_connected,
                                             .on_data = on_data,
                                             .on_spent = on_spent,
                                             .on_sent = on_sent,
                                             .on_half_closed = on_half_closed,
                                             .on_end = on_end };

/* ---- The task, I/O thread ------------------------------------------------ */

static void tcp_start(nt__task_t* task) {
  nt__tcp_t* tcp = of_task(task);

  tcp->timer.on_due = on_due;
  tcp->stream.ops = &stream_ops;
  nt__stream_connect(&tcp->stream);
}

static void tcp_abort(nt__task_t* task) {
  finish(of_task(task), task->error);
}

static void tcp_resume(nt__task_t* task) {
  nt__stream_resume(&of_task(task)->stream);
}

/* One that connects with something to say says it first. */
static void close_tcp(nt__tcp_t* tcp) {
  if (tcp->state == TCP_OPEN) {
    nt__stream_resume(&tcp->stream); /* what comes is dropped */
    flush(tcp);
  } else if (tcp->state == TCP_CONNECTING) {
    if (nt__stream_is_flushed(&tcp->stream))
      finish(tcp, 0);
    else {
      tcp->state = TCP_FLUSHING;
      be_patient(tcp);
    }
  }
}

static void run_wish(nt__tcp_t* tcp, const tcp_order_t* order) {
  bool connected = tcp->stream.socket != NULL;

  switch (order->wish) {
    case WISH_REPORT:
      if (nt__send_queue_report(&tcp->queue, &tcp->task) != 0)
        finish(tcp, NT_E_NOMEM);
      return;
    case WISH_CLOSE:
      close_tcp(tcp);
      return;
    case WISH_NO_DELAY:
      tcp->stream.transfer.nagle = order->value == 0;
      tcp->delay_changed = true; /* libcurl has its copy */
      if (connected)
        apply_no_delay(tcp);
      return;
    case WISH_KEEP_ALIVE:
      tcp->keep_alive_ms = order->value;
      if (connected)
        apply_keep_alive(tcp);
      return;
    case WISH_SEND:
      return;
  }
}

static void tcp_tell(nt__task_t* task, nt__command_t* command) {
  nt__tcp_t* tcp = of_task(task);
  tcp_order_t* order = nt__container_of(command, tcp_order_t, command);

  if (order->wish == WISH_SEND) { /* the piece's memory is the order */
    nt__stream_write(&tcp->stream, &order->piece);
    return;
  }
  run_wish(tcp, order);
  nt__free(order);
}

/* ---- Host thread --------------------------------------------------------- */

/* Before its end the block is the I/O thread's. */
static void tcp_show(nt__task_t* task, nt_event_t* event) {
  const nt__tcp_t* tcp = of_task(task);

  if (event->type != NT_EV_END)
    return;
  event->opened = tcp->opened;
  event->flushed = tcp->stream.delivered == tcp->queue.bytes;
}

static void tcp_release(nt__task_t* task) {
  nt__tcp_t* tcp = of_task(task);

  nt__task_fini(task);
  nt__transfer_fini(&tcp->stream.transfer);
  nt__free(tcp);
}

static const nt__task_class_t tcp_class = { .start = tcp_start,
                                            .abort = tcp_abort,
                                            .resume = tcp_resume,
                                            .tell = tcp_tell,
                                            .show = tcp_show,
                                            .release = tcp_release };

void nt_tcp_options_init(nt_tcp_options_t* options) {
  memset(options, 0, sizeof(*options));
  options->timeout_ms = DEFAULT_TIMEOUT_MS;
}

/* libcurl takes a URL: that of an IPv6 address has brackets, and %25 before the
 * zone. */
static void write_url(char* out, size_t size, const nt_tcp_options_t* options) {
  const char* scheme = options->flags & NT_TCP_TLS ? "https" : "http";
  const char* zone = strchr(options->host, '%');

  if (strchr(options->host, ':') == NULL)
    snprintf(out, size, "%s://%s:%d/", scheme, options->host, options->port);
  else if (zone == NULL)
    snprintf(out, size, "%s://[%s]:%d/", scheme, options->host, options->port);
  else
    snprintf(out, size, "%s://[%.*s%%25%s]:%d/", scheme,
             (int) (zone - options->host), options->host, zone + 1,
             options->port);
}

/* As for UDP: libcurl would take more, 127.1 and the like. */
static bool is_host(const char* host, nt_family_t family) {
  bool v6 = family == NT_FAMILY_IPV6 ||
            (family == NT_FAMILY_ANY && strchr(host, ':') != NULL);
  nt__sockaddr_t address;

  return nt__address_parse(host, v6 ? AF_INET6 : AF_INET, &address) !=
         NT__HOST_BAD;
}

static int parse_address(nt__url_t* url, const nt_tcp_options_t* options) {
  size_t size = strlen(options->host) + URL_ROOM;
  char* text;
  int err;

  if (!is_host(options->host, options->family))
    return NT_E_ADDRESS;
  text = nt__malloc(size);
  if (text == NULL)
    return NT_E_NOMEM;
  write_url(text, size, options);
  err = nt__url_parse(url, NULL, text);
  nt__free(text);
  return err == NT_E_URL ? NT_E_ADDRESS : err;
}

static int check(const nt_tcp_options_t* options) {
  if (options == NULL || options->host == NULL)
    return NT_E_INVALID;
  return options->port < 1 || options->port > 65535 ? NT_E_PORT : 0;
}

/* What a name leads to is asked about when the connection is made. */
static int check_target(nt_context_t* ctx, nt_id_t id,
                        const nt_tcp_options_t* options, const nt__url_t* url) {
  char text[NT__HOST_TEXT];
  int err = nt__policy_check_tcp_port(ctx->policy, url->port);

  if (err == 0)
    err = nt__gate_host(ctx->policy, NT_ACCESS_TCP, url->host, url->port,
                        url->secure);
  if (err == 0)
    return 0;
  nt__host_show(url->secure ? "tls" : "tcp", options->host, url->port, text);
  return nt__refuse(ctx, id, err, text);
}

/* Its password is nobody's business. */
static int check_proxy(nt_context_t* ctx, nt_id_t id, const char* proxy) {
  int err = nt__gate_proxy(ctx->policy, NT_ACCESS_TCP, proxy);
  char text[NT__HOST_TEXT];

  if (err == 0)
    return 0;
  nt__gate_show_text(proxy, text, sizeof(text));
  return nt__refuse(ctx, id, err, text);
}

static size_t text_size(const char* text) {
  return text == NULL ? 0 : strlen(text) + 1;
}

static const char* keep_text(char** cursor, const char* text) {
  return text == NULL ? NULL : nt__pack(cursor, text, text_size(text));
}

static nt__tcp_t* new_block(const nt_tcp_options_t* options) {
  size_t size = text_size(options->proxy) + text_size(options->interface_name);
  nt__tcp_t* tcp = nt__calloc(sizeof(*tcp) + size);
  nt__transfer_t* t;
  char* cursor;

  if (tcp == NULL)
    return NULL;
  cursor = (char*) (tcp + 1);
  t = &tcp->stream.transfer;
  tcp->task.class_ = &tcp_class;
  tcp->keep_alive_ms = options->keep_alive_ms;
  t->task = &tcp->task;
  t->method = "GET";
  t->own_protocol = true;
  t->access = NT_ACCESS_TCP;
  t->family = options->family;
  t->nagle = (options->flags & NT_TCP_NO_DELAY) == 0;
  t->timeouts.total = options->timeout_ms;
  t->resolver = options->resolver;
  t->resolver_timeout = options->resolver_timeout;
  t->proxy = keep_text(&cursor, options->proxy);
  t->interface_name = keep_text(&cursor, options->interface_name);
  return tcp;
}

int nt_tcp_open(nt_context_t* ctx, nt_id_t* id) {
  const nt_policy_t* policy = &ctx->policy->values;
  int err = nt__task_open(ctx, id);

  if (err)
    return err;
  err = nt__quota_take(&ctx->tcp_opened, policy->tcp_per_window,
                       policy->tcp_window_ms, uv_hrtime() / 1000000);
  if (err)
    nt__task_forget(ctx, *id);
  return nt__refuse(ctx, 0, err, NULL);
}

int nt_tcp_start(nt_context_t* ctx, nt_id_t id,
                 const nt_tcp_options_t* options) {
  nt__tcp_t* tcp;
  int err = nt__task_check_start(ctx, id);

  if (err == 0)
    err = check(options);
  if (err == 0)
    err = nt__meter_check(ctx, id);
  if (err)
    return err;
  tcp = new_block(options);
  if (tcp == NULL)
    return NT_E_NOMEM;
  err = parse_address(&tcp->stream.transfer.url, options);
  if (err) {
    nt__free(tcp);
    return err;
  }
  err = check_target(ctx, id, options, &tcp->stream.transfer.url);
  if (err == 0)
    err = check_proxy(ctx, id, options->proxy);
  if (err) {
    nt__transfer_fini(&tcp->stream.transfer);
    nt__free(tcp);
    return err;
  }
  nt__task_start(ctx, id, &tcp->task);
  return 0;
}

/* ---- What a host says to one that runs ----------------------------------- */

static nt__tcp_t* find(const nt_context_t* ctx, nt_id_t id) {
  nt__task_t* task = nt__task_find(ctx, id, &tcp_class);

  return task == NULL ? NULL : of_task(task);
}

static tcp_order_t* new_order(nt_context_t* ctx, nt_id_t id, tcp_wish_t wish,
                              size_t size) {
  size_t capacity;
  tcp_order_t* order =
      nt__spare_take(&ctx->pieces, sizeof(*order) + size, &capacity);

  if (order == NULL)
    return NULL;
  memset(order, 0, sizeof(*order));
  order->piece.block.memory = order;
  order->piece.block.capacity = capacity;
  order->command.type = NT__CMD_TELL;
  order->command.id = id;
  order->wish = wish;
  return order;
}

int nt_tcp_send(nt_context_t* ctx, nt_id_t id, const void* data, size_t size) {
  nt__tcp_t* tcp = find(ctx, id);
  uint64_t max = ctx->policy->values.send_queue_bytes;
  tcp_order_t* order;
  int err;

  if (tcp == NULL)
    return nt__task_missing(ctx);
  if (tcp->closing || nt_state(ctx, id) == NT_STATE_CLOSING)
    return NT_E_NOT_OPEN;
  if (size == 0)
    return 0;
  if (!nt__send_queue_has_room(&tcp->queue, max, size)) {
    nt_tcp_report(ctx, id);
    return NT_E_QUEUE_FULL;
  }
  err = nt__meter_check(ctx, id);
  if (err)
    return err;
  order = new_order(ctx, id, WISH_SEND, size);
  if (order == NULL)
    return NT_E_NOMEM;
  memcpy(order->data, data, size);
  order->piece.data = order->data;
  order->piece.size = order->piece.charge = size;
  order->piece.sends = 1;
  order->piece.minute = nt__meter_give(ctx, size);
  nt__send_queue_add(&tcp->queue, size);
  nt__command_post(ctx, &order->command);
  return 0;
}

static int tell(nt_context_t* ctx, nt_id_t id, tcp_wish_t wish,
                uint32_t value) {
  tcp_order_t* order;

  if (find(ctx, id) == NULL)
    return nt__task_missing(ctx);
  order = new_order(ctx, id, wish, 0);
  if (order == NULL)
    return NT_E_NOMEM;
  order->value = value;
  nt__command_post(ctx, &order->command);
  return 0;
}

void nt_tcp_report(nt_context_t* ctx, nt_id_t id) {
  nt__tcp_t* tcp = find(ctx, id);

  if (tcp != NULL && nt__send_queue_ask(&tcp->queue))
    tell(ctx, id, WISH_REPORT, 0);
}

uint64_t nt_tcp_buffered(const nt_context_t* ctx, nt_id_t id) {
  const nt__tcp_t* tcp = find(ctx, id);

  return tcp == NULL ? 0 : nt__send_queue_left(&tcp->queue);
}

/* Without memory for the order the reserved one says it, and nothing is
 * flushed. */
int nt_tcp_close(nt_context_t* ctx, nt_id_t id) {
  nt__tcp_t* tcp = find(ctx, id);

  if (tcp == NULL && nt__task_check_idle(ctx, id) == 0) {
    nt_fail(ctx, id, 0, "");
    return 0;
  }
  if (tcp == NULL)
    return nt__task_missing(ctx);
  if (tcp->closing)
    return NT_E_NOT_OPEN;
  if (tell(ctx, id, WISH_CLOSE, 0) != 0)
    nt_fail(ctx, id, 0, "");
  else
    tcp->closing = true;
  return 0;
}

int nt_tcp_set_no_delay(nt_context_t* ctx, nt_id_t id, int on) {
  return tell(ctx, id, WISH_NO_DELAY, on != 0);
}

int nt_tcp_set_keep_alive(nt_context_t* ctx, nt_id_t id, uint32_t idle_ms) {
  return tell(ctx, id, WISH_KEEP_ALIVE, idle_ms);
}
