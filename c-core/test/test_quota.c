/* quota.c, and the quotas of a context: requests a second wait in order; bytes
 * a minute are read no more once they are spent, and sent no more. */
#include "quota.h"

#include "meter.h"
#include "peer.h"

enum {
  NS_PER_MS = 1000000,
  LATE_MS = 10, /* the loop's clock may be so much behind */
  QUOTA = 100000,
  READ_MAX = 64 * 1024, /* the most that is read at once */
  BODY = 300000,
  SHORT_MS = 150,
  LONG_MS = 3600000,
  SECONDS = 1000
};

static uint64_t since_ms(uint64_t began) {
  return (uv_hrtime() - began) / NS_PER_MS;
}

/* ---- Counting ------------------------------------------------------------ */

static uint64_t due(nt__quota_t* quota, uint32_t max) {
  uint64_t at;

  assert_int_equal(nt__quota_due(quota, max, 1000, &at), 0);
  return at;
}

static void when_one_is_due(void** state) {
  nt__quota_t quota = { NULL, 0, 0 };

  (void) state;
  assert_true(due(&quota, 0) == 0);
  assert_true(due(&quota, 2) == 0);
  assert_int_equal(nt__quota_take(&quota, 2, 1000, 100), 0);
  assert_true(due(&quota, 2) == 0);
  assert_int_equal(nt__quota_take(&quota, 2, 1000, 300), 0);
  assert_true(due(&quota, 2) == 1100);
  assert_int_equal(nt__quota_take(&quota, 2, 1000, 1099), NT_E_LIMIT);
  assert_int_equal(nt__quota_take(&quota, 2, 1000, 1100), 0);
  assert_true(due(&quota, 2) == 1300);
  assert_true(due(&quota, 1) == 2100); /* the newest stays */
  assert_true(due(&quota, 3) == 0);
  assert_true(due(&quota, 0) == 0);
  nt__quota_free(&quota);
}

/* ---- Requests a second --------------------------------------------------- */

static void three_a_second(nt_policy_t* policy) {
  policy->requests_per_second = 3;
}

static void one_a_second(nt_policy_t* policy) {
  policy->requests_per_second = 1;
}

static void no_limit(nt_policy_t* policy) {
  nt_policy_init(policy, NT_PRESET_OPEN);
}

static void expect_ends(host_t* host, int left) {
  nt_event_t ev;

  while (left > 0) {
    host_next(host, &ev);
    if (ev.type != NT_EV_END)
      continue;
    assert_int_equal(ev.error, 0);
    left--;
  }
}

static void others_wait_in_order(void** state) {
  host_t* host = *state;
  uint64_t began;
  char path[16];
  nt_id_t id = 0;
  int i;

  host_policy(host, three_a_second);
  began = uv_hrtime();
  for (i = 0; i < 7; i++) {
    snprintf(path, sizeof(path), "/%d", i);
    id = host_get(host, path);
  }
  host_reach(host, id, NT_STATE_QUEUED);
  expect_ends(host, 7);
  assert_true(since_ms(began) >= 2 * SECONDS - LATE_MS);
  /* Those of one second go out together, on connections of their own. */
  pthread_mutex_lock(&host->server->mutex);
  for (i = 0; i < 7; i++)
    assert_int_equal((host->server->order[i][1] - '0') / 3, i / 3);
  pthread_mutex_unlock(&host->server->mutex);
}

static void a_limit_that_is_lifted(void** state) {
  host_t* host = *state;
  uint64_t began = uv_hrtime();
  nt_id_t id = 0;
  int i;

  host_policy(host, one_a_second);
  for (i = 0; i < 30; i++)
    id = host_get(host, "/hello");
  host_reach(host, id, NT_STATE_QUEUED);
  host_policy(host, no_limit);
  expect_ends(host, 30);
  assert_true(since_ms(began) < 29 * SECONDS);
}

/* An idle context needs no CPU for those that wait, and wakes in time. */
static void one_that_waits_can_be_aborted(void** state) {
  host_t* host = *state;
  nt_id_t first, second, third;

  host_policy(host, one_a_second);
  first = host_get(host, "/hello");
  second = host_get(host, "/hello");
  third = host_get(host, "/hello");
  host_expect(host, first, 0);
  nt_abort(host->net, second);
  host_expect(host, second, NT_E_ABORTED);
  host_expect(host, third, 0);
}

/* ---- Bytes a minute ------------------------------------------------------ */

static void bytes(nt_policy_t* policy) {
  nt_policy_init(policy, NT_PRESET_OPEN);
  policy->bytes_per_minute = QUOTA;
}

static void few_bytes(nt_policy_t* policy) {
  nt_policy_init(policy, NT_PRESET_OPEN);
  policy->bytes_per_minute = 5000;
}

static void minutes_of(uint32_t ms) {
  nt__meter_minute_ms = ms;
}

/* A stream until nothing more comes of it for a while. */
static uint64_t read_until_silence(host_t* host, nt_id_t id) {
  uint64_t size = 0;
  nt_event_t ev;

  for (;;) {
    if (!nt_poll(host->net, &ev)) {
      if (size >= QUOTA / 2 && !nt_wait(host->net, 200))
        return size;
      continue;
    }
    assert_true(ev.id == id);
    assert_int_not_equal(ev.type, NT_EV_END);
    size += ev.size;
  }
}

static void read_rest(host_t* host, nt_id_t id, uint64_t size) {
  nt_event_t ev;

  do {
    host_next(host, &ev);
    assert_true(ev.id == id);
    size += ev.size;
  } while (ev.type != NT_EV_END);
  assert_int_equal(ev.error, 0);
  assert_int_equal(size, BODY);
}

static void no_more_is_read(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  uint64_t size;
  nt_id_t id, refused;

  minutes_of(LONG_MS);
  host_policy(host, bytes);
  id = host_stream(host, "/stream/300000");
  size = read_until_silence(host, id);
  assert_true(size <= QUOTA);

  refused = host_get(host, "/hello");
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);
  assert_true(ev.id == refused);
  host_expect(host, refused, NT_E_QUOTA);

  host_policy(host, no_limit);
  read_rest(host, id, size);
  host_still_works(host);
}

static void goes_on_with_the_next_minute(void** state) {
  host_t* host = *state;
  uint64_t began;
  nt_event_t ev;

  minutes_of(SHORT_MS);
  began = uv_hrtime();
  host_policy(host, bytes);
  host_end(host, host_get(host, "/stream/300000"), &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.size, BODY);
  assert_memory_equal(ev.data, server_bytes(0), SERVER_BLOCK);
  assert_true(since_ms(began) >= 2 * SHORT_MS - LATE_MS);
}

/* Each is small, and none has ended when the last one begins. */
static void many_small_ones(void** state) {
  enum {
    TASKS = 300
  };
  host_t* host = *state;
  unsigned done = 0;
  unsigned good = 0;
  nt_event_t ev;
  int i;

  minutes_of(SHORT_MS);
  host_policy(host, few_bytes);
  nt_cork(host->net);
  for (i = 0; i < TASKS; i++)
    host_get(host, "/hello");
  nt_uncork(host->net);
  while (done < TASKS) {
    host_next(host, &ev);
    if (ev.type != NT_EV_END)
      continue;
    done++;
    good += ev.error == 0;
    if (ev.error != 0)
      assert_int_equal(ev.error, NT_E_QUOTA);
  }
  assert_in_range(good, 1, 5000 / 30 + 1); /* "GET", and the URL */
}

/* What is held back runs into no time-out. */
static void clocks_stand_still(void** state) {
  nt_request_options_t options;
  host_t* host = *state;
  nt_event_t ev;

  minutes_of(1500);
  host_policy(host, bytes);
  nt_request_options_init(&options);
  options.timeouts.total = options.timeouts.stall = 1000;
  host_end(host, host_start(host, "/stream/150000", &options), &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.size, 150000);
}

/* Of a body, too, that is in memory: a piece a minute. */
static void bodies(void** state) {
  static char body[60000];
  nt_request_options_t options;
  host_t* host = *state;
  uint64_t began = uv_hrtime();
  nt_event_t ev;

  minutes_of(SHORT_MS);
  host_policy(host, few_bytes);
  memset(body, 'x', sizeof(body));
  nt_request_options_init(&options);
  options.method = "POST";
  options.body = body;
  options.body_size = sizeof(body);
  host_end(host, host_start(host, "/hello", &options), &ev);
  assert_int_equal(ev.error, 0);
  assert_true(since_ms(began) >= 3 * SHORT_MS - LATE_MS);
  host_policy(host, no_limit);
  host_end(host, host_start(host, "/echo", &options), &ev);
  assert_memory_equal((const char*) ev.data + ev.size - sizeof(body), body,
                      sizeof(body));
}

static void uploads(void** state) {
  static char body[50000];
  nt_part_t part = { .name = "a", .data = body, .size = sizeof(body) };
  nt_upload_options_t options;
  host_t* host = *state;
  uint64_t began = uv_hrtime();
  nt_event_t ev;
  char url[64];
  nt_id_t id;

  minutes_of(SHORT_MS);
  host_policy(host, few_bytes);
  memset(body, 'x', sizeof(body));
  nt_upload_options_init(&options);
  options.request.url = host_url(host, "/hello", url, sizeof(url));
  options.parts = &part;
  options.part_count = 1;
  assert_int_equal(nt_upload_open(host->net, &id), 0);
  assert_int_equal(nt_upload_start(host->net, id, &options), 0);
  host_end(host, id, &ev);
  assert_int_equal(ev.error, 0);
  assert_true(since_ms(began) >= 3 * SHORT_MS - LATE_MS);
}

static void downloads(void** state) {
  nt_download_options_t options;
  host_t* host = *state;
  uint64_t began;
  nt_event_t ev;
  char url[64];
  nt_id_t id;

  minutes_of(SHORT_MS);
  began = uv_hrtime();
  host_policy(host, bytes);
  nt_download_options_init(&options);
  options.request.url = host_url(host, "/stream/300000", url, sizeof(url));
  assert_int_equal(nt_download_open(host->net, &id), 0);
  assert_int_equal(nt_download_start(host->net, id, &options), 0);
  host_end(host, id, &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.done, BODY);
  assert_true(since_ms(began) >= 2 * SHORT_MS - LATE_MS);
}

/* ---- Sockets ------------------------------------------------------------- */

static void serve_stream(connection_t* c, void* arg) {
  uint64_t done;

  (void) arg;
  for (done = 0; done < BODY; done += 10000)
    if (!connection_send(c, server_bytes(done), 10000, true))
      return;
  while (recv(c->fd, c->request, SERVER_MAX_REQUEST, 0) > 0)
    ;
}

static void serve_sink(connection_t* c, void* arg) {
  (void) arg;
  while (recv(c->fd, c->request, SERVER_MAX_REQUEST, 0) > 0)
    ;
}

static nt_id_t open_tcp(host_t* host, void (*serve)(connection_t*, void*)) {
  nt_tcp_options_t options;
  nt_event_t ev;
  nt_id_t id;

  pthread_mutex_lock(&host->server->mutex);
  host->server->serve = serve;
  pthread_mutex_unlock(&host->server->mutex);
  nt_tcp_options_init(&options);
  options.host = "127.0.0.1";
  options.port = host->server->port;
  options.timeout_ms = PATIENCE_MS;
  assert_int_equal(nt_tcp_open(host->net, &id), 0);
  assert_int_equal(nt_tcp_start(host->net, id, &options), 0);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_OPEN);
  return id;
}

static void tcp_is_read_no_more(void** state) {
  nt_tcp_options_t options;
  host_t* host = *state;
  uint64_t size;
  nt_event_t ev;
  nt_id_t id, other;

  minutes_of(LONG_MS);
  host_policy(host, bytes);
  id = open_tcp(host, serve_stream);
  size = read_until_silence(host, id);
  assert_true(size >= QUOTA && size <= QUOTA + READ_MAX);

  assert_int_equal(nt_tcp_send(host->net, id, "x", 1), NT_E_QUOTA);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);
  assert_true(ev.id == id);
  assert_int_equal(ev.error, NT_E_QUOTA);
  nt_tcp_options_init(&options);
  options.host = "127.0.0.1";
  options.port = host->server->port;
  assert_int_equal(nt_tcp_open(host->net, &other), 0);
  assert_int_equal(nt_tcp_start(host->net, other, &options), NT_E_QUOTA);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);

  host_policy(host, no_limit);
  while (size < BODY) {
    host_next(host, &ev);
    assert_int_equal(ev.type, NT_EV_CHUNK);
    size += ev.size;
  }
  assert_int_equal(nt_tcp_send(host->net, id, "x", 1), 0);
}

static void tcp_in_the_next_minute(void** state) {
  host_t* host = *state;
  uint64_t size = 0;
  nt_event_t ev;

  minutes_of(SHORT_MS);
  host_policy(host, bytes);
  open_tcp(host, serve_stream);
  while (size < BODY) {
    host_next(host, &ev);
    assert_int_equal(ev.type, NT_EV_CHUNK);
    size += ev.size;
  }
}

/* What was given counts before it is sent: the quota is passed by one send. */
static void sends_count_at_the_call(void** state) {
  static char data[10000];
  host_t* host = *state;
  uint64_t given = 0;
  nt_event_t ev;
  nt_id_t id;
  int err;

  minutes_of(LONG_MS);
  host_policy(host, bytes);
  id = open_tcp(host, serve_sink);
  do {
    err = nt_tcp_send(host->net, id, data, sizeof(data));
    given += err == 0 ? sizeof(data) : 0;
  } while (err == 0);
  assert_int_equal(err, NT_E_QUOTA);
  assert_true(given >= QUOTA - sizeof(data) && given <= QUOTA + sizeof(data));
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);
}

/* A peer that does not read keeps nobody out for longer than a minute. */
static void what_is_not_sent_is_forgotten(void** state) {
  static char data[QUOTA];
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * NS_PER_MS;
  host_t* host = *state;
  nt_id_t id;

  minutes_of(SHORT_MS);
  host_policy(host, bytes);
  nt_cork(host->net); /* the I/O thread hears of nothing */
  {
    nt_tcp_options_t options;

    nt_tcp_options_init(&options);
    options.host = "127.0.0.1";
    options.port = host->server->port;
    assert_int_equal(nt_tcp_open(host->net, &id), 0);
    assert_int_equal(nt_tcp_start(host->net, id, &options), 0);
  }
  assert_int_equal(nt_tcp_send(host->net, id, data, sizeof(data)), 0);
  assert_int_equal(nt_tcp_send(host->net, id, "x", 1), NT_E_QUOTA);
  while (nt_tcp_send(host->net, id, "x", 1) != 0) {
    assert_true(uv_hrtime() < end);
    nt_wait(host->net, 10);
    nt_collect(host->net);
  }
  nt_uncork(host->net);
}

/* At once, for calls of the same frame as well. */
static void a_new_quota_is_unused(void** state) {
  host_t* host = *state;
  nt_id_t id;

  minutes_of(LONG_MS);
  host_policy(host, bytes);
  id = open_tcp(host, serve_stream);
  read_until_silence(host, id);
  nt_cork(host->net); /* the I/O thread hears of nothing */
  host_policy(host, no_limit);
  host_policy(host, bytes);
  assert_int_equal(nt_tcp_send(host->net, id, "x", 1), 0);
  nt_uncork(host->net);
}

static void udp_drops_and_counts(void** state) {
  struct sockaddr_in to = { .sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  static char data[10000];
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * NS_PER_MS;
  host_t* host = *state;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  nt_stats_t stats = { 0 };
  uint64_t got = 0;
  nt_event_t ev;
  nt_id_t id;
  int port;

  minutes_of(LONG_MS);
  host_policy(host, bytes);
  assert_int_equal(nt_udp_open(host->net, NT_FAMILY_ANY, &id), 0);
  assert_int_equal(nt_udp_bind(host->net, id, 0, &port), 0);
  to.sin_port = htons((uint16_t) port);
  while (stats.dropped < 5) {
    assert_true(uv_hrtime() < end);
    sendto(fd, data, sizeof(data), 0, (struct sockaddr*) &to, sizeof(to));
    if (nt_wait(host->net, 1) && nt_poll(host->net, &ev))
      got += ev.size;
    nt_stats(host->net, &stats);
  }
  close(fd);
  while (nt_poll(host->net, &ev))
    got += ev.size;
  assert_true(got >= QUOTA - sizeof(data) && got <= QUOTA);
  assert_int_equal(nt_udp_send(host->net, id, "127.0.0.1", port, "x", 1),
                   NT_E_QUOTA);
}

/* ---- WebSockets ---------------------------------------------------------- */

/* One message that is more than the quota, and another behind it. */
static void play_large(peer_t* peer) {
  static char data[BODY];

  if (!peer_accept(peer) ||
      !peer_frame(peer, PEER_BINARY, data, sizeof(data)) ||
      !peer_text(peer, "behind"))
    return;
  peer_listen(peer);
}

static void a_message_larger_than_the_quota(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  uint64_t began;
  nt_id_t id;

  minutes_of(SHORT_MS);
  began = uv_hrtime();
  host_policy(f->host, bytes);
  peers_play(f, play_large);
  id = start(f, NULL);
  expect_open(f, id, 0);
  expect_event(f, id, NT_EV_MESSAGE, &ev);
  assert_int_equal(ev.size, BODY);
  expect_event(f, id, NT_EV_MESSAGE, &ev);
  assert_int_equal(ev.size, 6);
  assert_true(since_ms(began) >= SHORT_MS - LATE_MS);
}

static void websocket_sends(void** state) {
  static char data[QUOTA];
  nt_websocket_options_t options;
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id, other;

  minutes_of(LONG_MS);
  host_policy(f->host, bytes);
  peers_play(f, play_listen);
  id = start(f, NULL);
  expect_open(f, id, 0);
  assert_int_equal(
      nt_websocket_send(f->net, id, NT_MESSAGE_BINARY, data, sizeof(data)), 0);
  assert_int_equal(nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, "x", 1),
                   NT_E_QUOTA);
  nt_websocket_options_init(&options);
  options.url = "ws://127.0.0.1/";
  assert_int_equal(nt_websocket_open(f->net, &other), 0);
  assert_int_equal(nt_websocket_start(f->net, other, &options), NT_E_QUOTA);
  expect_event(f, id, NT_EV_REFUSED, &ev);
  expect_event(f, other, NT_EV_REFUSED, &ev);
  /* A close is no message. */
  assert_int_equal(nt_websocket_close(f->net, id, 1000, ""), 0);
  expect_close_frame(f, 1000, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(when_one_is_due),
    HOST_TEST(others_wait_in_order),
    HOST_TEST(a_limit_that_is_lifted),
    HOST_TEST(one_that_waits_can_be_aborted),
    HOST_TEST(no_more_is_read),
    HOST_TEST(goes_on_with_the_next_minute),
    HOST_TEST(many_small_ones),
    HOST_TEST(clocks_stand_still),
    HOST_TEST(bodies),
    HOST_TEST(uploads),
    HOST_TEST(downloads),
    HOST_TEST(tcp_is_read_no_more),
    HOST_TEST(tcp_in_the_next_minute),
    HOST_TEST(sends_count_at_the_call),
    HOST_TEST(what_is_not_sent_is_forgotten),
    HOST_TEST(a_new_quota_is_unused),
    HOST_TEST(udp_drops_and_counts),
    PEER_TEST(a_message_larger_than_the_quota),
    PEER_TEST(websocket_sends),
  };

  return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
