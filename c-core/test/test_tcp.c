/* TCP sockets against the test server, which here speaks no HTTP; and without
 * memory: then each socket ends once all the same, and all that was taken is
 * given back. */
#include <sys/wait.h>

#include "failing_sweep.h"
#include "host.h"

enum {
  LULL_MS = 50, /* no event for so long: memory comes back */
  MOST_FDS = 256,
  MOST_SIZE = 40000,
  ALL_SIZE = 1 + 5000 + MOST_SIZE,
  KEEP_ALIVE_MAX_S = 32767
};

/* ---- The server ---------------------------------------------------------- */

static void serve_echo(connection_t* c, void* arg) {
  ssize_t n;

  (void) arg;
  while ((n = recv(c->fd, c->request, SERVER_MAX_REQUEST, 0)) > 0)
    if (!connection_send(c, c->request, (size_t) n, true))
      return;
}

/* A proxy that takes its time. */
static void serve_tunnel(connection_t* c, void* arg) {
  (void) arg;
  if (recv(c->fd, c->request, SERVER_MAX_REQUEST, 0) > 0 && connection_hold(c))
    connection_send_text(c, "HTTP/1.1 200 OK\r\n\r\n");
  while (recv(c->fd, c->request, SERVER_MAX_REQUEST, 0) > 0)
    ;
}

static void serve(host_t* host, void (*serve)(connection_t*, void*)) {
  pthread_mutex_lock(&host->server->mutex);
  host->server->serve = serve;
  pthread_mutex_unlock(&host->server->mutex);
}

/* ---- Options of the descriptor ------------------------------------------- */

static void lift_limits(nt_policy_t* policy) {
  nt_policy_init(policy, NT_PRESET_OPEN);
}

static nt_id_t connect_to(host_t* host, const char* proxy) {
  nt_tcp_options_t options;
  nt_id_t id;

  host_policy(host, lift_limits);
  nt_tcp_options_init(&options);
  options.host = "127.0.0.1";
  options.port = host->server->port;
  options.timeout_ms = PATIENCE_MS;
  options.proxy = proxy;
  assert_int_equal(nt_tcp_open(host->net, &id), 0);
  assert_int_equal(nt_tcp_start(host->net, id, &options), 0);
  return id;
}

/* The only socket of ours whose other end is the server's port. */
static int find_fd(const host_t* host) {
  struct sockaddr_in address;
  int fd;

  for (fd = 0; fd < MOST_FDS; fd++) {
    socklen_t size = sizeof(address);

    if (getpeername(fd, (struct sockaddr*) &address, &size) == 0 &&
        address.sin_family == AF_INET &&
        ntohs(address.sin_port) == host->server->port)
      return fd;
  }
  fail_msg("no connection to the server");
  return -1;
}

static int get_option(const host_t* host, int level, int name) {
  socklen_t size = sizeof(int);
  int value = -1;

  assert_int_equal(getsockopt(find_fd(host), level, name, &value, &size), 0);
  return value;
}

/* The I/O thread has dealt with all that it was told. */
static void settle(host_t* host) {
  nt_id_t id;

  assert_int_equal(nt_sleep_open(host->net, &id), 0);
  assert_int_equal(nt_sleep_start(host->net, id, 1), 0);
  host_expect(host, id, 0);
}

static void await_open(host_t* host, nt_id_t id) {
  nt_event_t ev;

  host_next(host, &ev);
  assert_true(ev.id == id);
  assert_int_equal(ev.type, NT_EV_OPEN);
}

static void expect_keep_alive(host_t* host, nt_id_t id, uint32_t ms,
                              int seconds) {
  assert_int_equal(nt_tcp_set_keep_alive(host->net, id, ms), 0);
  settle(host);
  assert_int_equal(get_option(host, SOL_SOCKET, SO_KEEPALIVE), seconds > 0);
#ifdef TCP_KEEPIDLE
  if (seconds > 0)
    assert_int_equal(get_option(host, IPPROTO_TCP, TCP_KEEPIDLE), seconds);
#endif
}

static void keep_alive_is_set(void** state) {
  host_t* host = *state;
  nt_id_t id;

  serve(host, serve_echo);
  id = connect_to(host, NULL);
  await_open(host, id);
  expect_keep_alive(host, id, 5000, 5);
  expect_keep_alive(host, id, 1, 1);
  expect_keep_alive(host, id, 0, 0);
  expect_keep_alive(host, id, 100000000, KEEP_ALIVE_MAX_S);
  expect_keep_alive(host, id, UINT32_MAX, KEEP_ALIVE_MAX_S);
  assert_int_equal(nt_tcp_close(host->net, id), 0);
  host_expect(host, id, 0);
}

static void no_delay_is_set(void** state) {
  host_t* host = *state;
  nt_id_t id;
  int on;

  serve(host, serve_echo);
  id = connect_to(host, NULL);
  await_open(host, id);
  for (on = 1; on >= 0; on--) {
    assert_int_equal(nt_tcp_set_no_delay(host->net, id, on), 0);
    settle(host);
    assert_int_equal(get_option(host, IPPROTO_TCP, TCP_NODELAY), on);
  }
  nt_abort(host->net, id);
  host_expect(host, id, NT_E_ABORTED);
}

/* The descriptor is libcurl's then. */
static void no_delay_is_set_while_it_connects(void** state) {
  host_t* host = *state;
  char proxy[64];
  nt_id_t id;

  serve(host, serve_tunnel);
  id = connect_to(host, host_url(host, "", proxy, sizeof(proxy)));
  assert_true(
      server_wait(host->server, &host->server->holding, 1, PATIENCE_MS));
  assert_int_equal(nt_tcp_set_no_delay(host->net, id, 1), 0);
  settle(host);
  server_release(host->server);
  await_open(host, id);
  assert_int_equal(get_option(host, IPPROTO_TCP, TCP_NODELAY), 1);
  assert_int_equal(nt_tcp_close(host->net, id), 0);
  host_expect(host, id, 0);
}

/* ---- Without memory ------------------------------------------------------ */

static void close_needs_no_memory(void** state) {
  host_t* host = *state;
  nt_id_t id;
  int err;

  serve(host, serve_echo);
  id = connect_to(host, NULL);
  await_open(host, id);
  failing_start(FAILING_ALWAYS, 1);
  err = nt_tcp_close(host->net, id);
  failing_stop();
  assert_int_equal(err, 0);
  assert_int_equal(nt_tcp_send(host->net, id, "x", 1), NT_E_NOT_OPEN);
  host_expect(host, id, 0);
}

typedef struct session {
  nt_context_t* net;
  nt_id_t id;
  size_t sent, echoed;
  bool ended;
} session_t;

static void accept_memory(int err) {
  if (err != 0)
    assert_int_equal(err, NT_E_NOMEM);
}

static void say(session_t* s, size_t size) {
  static const char data[MOST_SIZE];
  int err = nt_tcp_send(s->net, s->id, data, size);

  accept_memory(err);
  if (err == 0)
    s->sent += size;
}

static void begin(session_t* s, int port) {
  nt_tcp_options_t options;
  int err;

  nt_tcp_options_init(&options);
  options.host = "127.0.0.1";
  options.port = port;
  options.timeout_ms = PATIENCE_MS;
  options.keep_alive_ms = 1000;
  err = nt_tcp_start(s->net, s->id, &options);
  if (err != 0) {
    assert_int_equal(err, NT_E_NOMEM);
    nt_fail(s->net, s->id, err, NULL);
    return;
  }
  nt_tcp_report(s->net, s->id);
  say(s, 1);
  say(s, 5000);
  say(s, MOST_SIZE);
  accept_memory(nt_tcp_set_no_delay(s->net, s->id, 1));
}

static void take(session_t* s, const nt_event_t* ev) {
  int err;

  assert_true(ev->id == s->id && !s->ended);
  if (ev->type == NT_EV_CHUNK)
    s->echoed += ev->size;
  if (ev->type == NT_EV_CHUNK && s->echoed == s->sent) {
    err = nt_tcp_close(s->net, s->id);
    assert_true(err == 0 || err == NT_E_NOT_OPEN);
  }
  s->ended = ev->type == NT_EV_END;
  if (s->ended && ev->error != 0)
    assert_true(ev->error == NT_E_NOMEM || ev->error == NT_E_SYSTEM);
}

/* True when the socket has ended; `ms` without an event are the end, too. */
static bool poll_until_end(session_t* s, int ms) {
  nt_event_t ev;

  while (!s->ended && nt_wait(s->net, ms))
    while (nt_poll(s->net, &ev))
      take(s, &ev);
  return s->ended;
}

static void end_session(session_t* s, long n) {
  if (poll_until_end(s, n == LONG_MAX ? FAILING_PATIENCE_MS : LULL_MS))
    return;
  if (nt_tcp_close(s->net, s->id) == 0 && poll_until_end(s, LULL_MS))
    return;
  failing_relent();
  if (!poll_until_end(s, FAILING_PATIENCE_MS))
    fail_msg("n = %ld: the socket does not end", n);
}

/* A whole life; true when nothing was left to fail. */
static bool run_session(void* arg, failing_mode_t mode, long n) {
  const host_t* host = arg;
  session_t s = { NULL, 0, 0, 0, false };
  nt_policy_t policy;
  bool complete;
  nt_event_t ev;

  nt_policy_init(&policy, NT_PRESET_OPEN);
  failing_start(mode, n);
  if (nt_open(&s.net) == 0) {
    if (nt_policy_set(s.net, &policy) == 0 && nt_tcp_open(s.net, &s.id) == 0) {
      begin(&s, host->server->port);
      end_session(&s, n);
    }
    assert_int_equal(nt_poll(s.net, &ev), 0);
    assert_int_equal(host_close(s.net), 0);
  }
  complete = failing_stop();
  if (n == LONG_MAX)
    assert_int_equal(s.echoed, ALL_SIZE);
  return complete;
}

static void sweep(host_t* host, failing_mode_t mode) {
  serve(host, serve_echo);
  assert_int_equal(host_close(host->net), 0);
  host->net = NULL;
  assert_true(run_session(host, mode, LONG_MAX));
  failing_sweep(run_session, host, mode, 20);
  assert_int_equal(nt_open(&host->net), 0); /* for the end of the test */
}

static void one_failure(void** state) {
  sweep(*state, FAILING_ONCE);
}

static void no_memory_from_then_on(void** state) {
  sweep(*state, FAILING_ALWAYS);
}

/* In a child: every call says what it is, and none of them does anything. */
static int forked_calls(nt_context_t* net, nt_id_t open, nt_id_t idle) {
  nt_id_t other;

  return nt_tcp_open(net, &other) != NT_E_FORKED ||
         nt_tcp_send(net, open, "x", 1) != NT_E_FORKED ||
         nt_tcp_set_no_delay(net, open, 1) != NT_E_FORKED ||
         nt_tcp_set_keep_alive(net, open, 1000) != NT_E_FORKED ||
         nt_tcp_buffered(net, open) != 0 ||
         nt_tcp_close(net, open) != NT_E_FORKED ||
         nt_tcp_close(net, idle) != NT_E_FORKED;
}

static void after_fork(void** state) {
  host_t* host = *state;
  nt_id_t open, idle;
  pid_t child;
  int status;

  serve(host, serve_echo);
  open = connect_to(host, NULL);
  await_open(host, open);
  assert_int_equal(nt_tcp_open(host->net, &idle), 0);
  fflush(stdout);
  child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    host_is_child = true;
    _exit(forked_calls(host->net, open, idle));
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(nt_tcp_close(host->net, idle), 0);
  host_expect(host, idle, 0);
  assert_int_equal(nt_tcp_close(host->net, open), 0);
  host_expect(host, open, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(failing_keep_libcurl_out),
    HOST_TEST(keep_alive_is_set),
    HOST_TEST(no_delay_is_set),
    HOST_TEST(no_delay_is_set_while_it_connects),
    HOST_TEST(close_needs_no_memory),
    HOST_TEST(after_fork),
    HOST_TEST(one_failure),
    HOST_TEST(no_memory_from_then_on),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("tcp", tests, NULL, NULL);
}
