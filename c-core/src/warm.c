/* Warming up TLS. I/O thread only.
 *
 * libcurl parses the bundle of trusted certificates at the first handshake of
 * a multi, 15 to 30 ms in which nothing else on the loop moves, and keeps it.
 * So when a context has had nothing to do for a moment we begin a handshake
 * with a listener of our own on the loopback interface that never answers, and
 * drop it. That is an optimisation: where it fails, the first real
 * handshake pays. */
#include "warm.h"

#include <stdio.h>

#include "driver.h"

enum {
  DELAY_MS = 100 /* before it begins, and for the handshake to get there */
};

struct nt__warm {
  nt_context_t* ctx;
  nt__timer_t timer;
  uint64_t seen; /* tasks that had begun when it looked last */
  nt__easy_t easy;
  uv_tcp_t listener;
  bool listening;
};

static void on_connection(uv_stream_t* listener, int status) {
  (void) listener;
  (void) status;
}

/* The port that the listener got, or 0. */
static int listen_on_loopback(nt__warm_t* warm) {
  struct sockaddr_storage address;
  int size = sizeof(address);
  uv_tcp_t* tcp = &warm->listener;

  if (uv_tcp_init(&warm->ctx->io.loop, tcp) != 0)
    return 0;
  warm->listening = true;
  uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in*) &address);
  if (uv_tcp_bind(tcp, (const struct sockaddr*) &address, 0) != 0 ||
      uv_listen((uv_stream_t*) tcp, 1, on_connection) != 0 ||
      uv_tcp_getsockname(tcp, (struct sockaddr*) &address, &size) != 0)
    return 0;
  return ntohs(((struct sockaddr_in*) &address)->sin_port);
}

static bool on_socket(nt__easy_t* easy, const struct sockaddr* address) {
  (void) easy;
  (void) address;
  return true; /* our own listener */
}

static void on_done(nt__easy_t* easy, CURLcode code) {
  (void) code;
  nt__driver_release(easy);
}

static void end(nt__warm_t* warm) {
  nt__driver_release(&warm->easy);
  if (warm->listening)
    uv_close((uv_handle_t*) &warm->listener, NULL);
  warm->listening = false;
}

static void begin(nt__timer_t* timer);

static void on_end(nt__timer_t* timer) {
  nt__warm_t* warm = nt__container_of(timer, nt__warm_t, timer);

  end(warm);
  if (++warm->easy.kind == NT__MULTI_COUNT)
    return;
  timer->on_due = begin;
  nt__timer_set(&warm->ctx->io.timers, timer, nt__now(warm->ctx) + DELAY_MS);
}

/* Between two requests of which one follows the other there is no task either,
 * and yet somebody waits. */
static bool is_idle(nt__warm_t* warm) {
  const nt__io_t* io = &warm->ctx->io;
  bool idle = io->tasks.count == 0 && io->begun == warm->seen;

  warm->seen = io->begun;
  return idle;
}

static void begin(nt__timer_t* timer) {
  nt__warm_t* warm = nt__container_of(timer, nt__warm_t, timer);
  nt__io_t* io = &warm->ctx->io;
  char url[64];
  int port;

  nt__timer_set(&io->timers, timer, nt__now(warm->ctx) + DELAY_MS);
  if (!is_idle(warm))
    return;
  timer->on_due = on_end;
  port = listen_on_loopback(warm);
  warm->easy.on_socket = on_socket;
  warm->easy.on_done = on_done;
  if (port == 0 || nt__driver_acquire(io->driver, &warm->easy, io->policy) != 0)
    return;
  snprintf(url, sizeof(url), "https://127.0.0.1:%d/", port);
  curl_easy_setopt(warm->easy.curl, CURLOPT_URL, url);
  curl_easy_setopt(warm->easy.curl, CURLOPT_CONNECT_ONLY, 1L);
  nt__driver_add(&warm->easy);
}

int nt__warm_open(nt_context_t* ctx) {
  nt__warm_t* warm = nt__calloc(sizeof(*warm));

  ctx->io.warm = warm;
  if (warm == NULL)
    return NT_E_NOMEM;
  warm->ctx = ctx; /* for nt__warm_close(), which also follows an error */
  if (nt__timers_reserve(&ctx->io.timers, NT__OWN_TIMERS) != 0)
    return NT_E_NOMEM;
  warm->timer.on_due = begin;
  warm->easy.kind = NT__MULTI_TRANSFERS;
  nt__timer_set(&ctx->io.timers, &warm->timer, nt__now(ctx) + DELAY_MS);
  return 0;
}

void nt__warm_again(nt__warm_t* warm) {
  end(warm);
  warm->easy.kind = NT__MULTI_TRANSFERS;
  warm->timer.on_due = begin;
  nt__timer_set(&warm->ctx->io.timers, &warm->timer,
                nt__now(warm->ctx) + DELAY_MS);
}

void nt__warm_close(nt__warm_t* warm) {
  if (warm == NULL)
    return;
  nt__timer_clear(&warm->ctx->io.timers, &warm->timer);
  end(warm);
}
