/* background.c: in the background nothing starts, and what runs ends after the
 * grace, each kind in its own way. */
#include "folder.h"
#include "peer.h"

enum {
  LONG_MS = 3600000,
  SHORT_MS = 20,
  GRACE_MS = 300,
  NS_PER_MS = 1000000
};

static void no_grace(nt_policy_t* policy) {
  nt_policy_init(policy, NT_PRESET_OPEN);
  policy->background_grace_ms = 0;
}

static void short_grace(nt_policy_t* policy) {
  nt_policy_init(policy, NT_PRESET_OPEN);
  policy->background_grace_ms = GRACE_MS;
}

static void long_grace(nt_policy_t* policy) {
  nt_policy_init(policy, NT_PRESET_OPEN);
  policy->background_grace_ms = LONG_MS;
}

static void one_at_once(nt_policy_t* policy) {
  policy->max_requests = 1;
  policy->background_grace_ms = SHORT_MS;
}

static void go(host_t* host, int on) {
  assert_int_equal(nt_background(host->net, on), 0);
}

static nt_id_t open_tcp(host_t* host) {
  nt_tcp_options_t options;
  nt_event_t ev;
  nt_id_t id;

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

static int start_download(host_t* host, const char* file, uint32_t flags,
                          nt_id_t* id) {
  nt_download_options_t options;
  char url[256];

  nt_download_options_init(&options);
  options.request.url = host_url(host, "/part-then-hold", url, sizeof(url));
  options.path = file;
  options.flags = flags;
  assert_int_equal(nt_download_open(host->net, id), 0);
  return nt_download_start(host->net, *id, &options);
}

static int start_upload(host_t* host, nt_id_t* id) {
  static const nt_part_t part = { .name = "a", .data = "b", .size = 1 };
  nt_upload_options_t options;
  char url[256];

  nt_upload_options_init(&options);
  options.request.url = host_url(host, "/hold", url, sizeof(url));
  options.parts = &part;
  options.part_count = 1;
  assert_int_equal(nt_upload_open(host->net, id), 0);
  return nt_upload_start(host->net, *id, &options);
}

static int start_scan(host_t* host, nt_id_t* id) {
  nt_mdns_options_t options;

  nt_mdns_options_init(&options);
  options.service_type = "_nettask-test._tcp";
  assert_int_equal(nt_mdns_open(host->net, id), 0);
  return nt_mdns_start(host->net, *id, &options);
}

/* ---- Nothing starts ------------------------------------------------------ */

static int start_request(host_t* host, nt_id_t* id) {
  nt_request_options_t options;
  char url[256];

  *id = host_open(host);
  nt_request_options_init(&options);
  options.url = host_url(host, "/hello", url, sizeof(url));
  return nt_request_start(host->net, *id, &options);
}

static int start_tcp(host_t* host, nt_id_t* id) {
  nt_tcp_options_t options;

  nt_tcp_options_init(&options);
  options.host = "127.0.0.1";
  options.port = host->server->port;
  assert_int_equal(nt_tcp_open(host->net, id), 0);
  return nt_tcp_start(host->net, *id, &options);
}

static int start_websocket(host_t* host, nt_id_t* id) {
  nt_websocket_options_t options;

  nt_websocket_options_init(&options);
  options.url = "ws://127.0.0.1/";
  assert_int_equal(nt_websocket_open(host->net, id), 0);
  return nt_websocket_start(host->net, *id, &options);
}

static void nothing_starts(void** state) {
  host_t* host = *state;
  nt_store_options_t store = { NT_STORE_GET, "a", 1, NULL, 0 };
  nt_id_t ids[6];
  nt_id_t id;

  host_policy(host, long_grace);
  go(host, 1);
  assert_int_equal(start_request(host, &ids[0]), NT_E_INTERRUPTED);
  assert_int_equal(start_download(host, NULL, 0, &ids[1]), NT_E_INTERRUPTED);
  assert_int_equal(start_upload(host, &ids[2]), NT_E_INTERRUPTED);
  assert_int_equal(start_websocket(host, &ids[3]), NT_E_INTERRUPTED);
  assert_int_equal(start_tcp(host, &ids[4]), NT_E_INTERRUPTED);
  assert_int_equal(start_scan(host, &ids[5]), NT_E_INTERRUPTED);
  assert_int_equal(nt_udp_open(host->net, NT_FAMILY_ANY, &id),
                   NT_E_INTERRUPTED);
  for (size_t i = 0; i < COUNT(ids); i++)
    assert_int_equal(nt_state(host->net, ids[i]), NT_STATE_IDLE);

  assert_int_equal(nt_sleep_open(host->net, &id), 0);
  assert_int_equal(nt_sleep_start(host->net, id, 0), 0);
  host_expect(host, id, 0);
  assert_int_equal(nt_store_open(host->net, &id), 0);
  assert_int_equal(nt_store_start(host->net, id, &store), 0);
  host_expect(host, id, 0);

  go(host, 0);
  host_still_works(host);
}

/* A game that is not seen is no offender. */
static void is_no_refusal(void** state) {
  host_t* host = *state;
  nt_stats_t stats;
  nt_id_t id;

  host_policy(host, no_grace);
  id = host_get(host, "/hold");
  go(host, 1);
  host_expect(host, id, NT_E_INTERRUPTED);
  start_request(host, &id);
  nt_stats(host->net, &stats);
  assert_true(stats.refusals == 0);
  assert_int_equal(nt_waiting(host->net), 0);
}

/* ---- What runs ends ------------------------------------------------------ */

/* Those that run, and those that wait for their turn. */
static void requests(void** state) {
  host_t* host = *state;
  nt_id_t streaming;
  nt_id_t waiting;
  nt_id_t upload;
  nt_event_t ev;
  int left = 3;

  host_policy(host, one_at_once);
  streaming = host_stream(host, "/part-then-hold");
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_HEADERS);
  waiting = host_get(host, "/hello");
  assert_int_equal(start_upload(host, &upload), 0);
  host_reach(host, waiting, NT_STATE_QUEUED);
  go(host, 1);
  while (left > 0) {
    host_next(host, &ev);
    if (ev.type == NT_EV_CHUNK)
      continue;
    assert_int_equal(ev.type, NT_EV_END);
    assert_int_equal(ev.error, NT_E_INTERRUPTED);
    assert_string_equal(ev.message, nt_error_message(NT_E_INTERRUPTED));
    left--;
  }
  assert_true(ev.id == streaming || ev.id == waiting || ev.id == upload);
  go(host, 0);
  host_still_works(host);
}

static void sockets(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  nt_id_t tcp, udp, scan, sleep;

  host_policy(host, short_grace);
  tcp = open_tcp(host);
  assert_int_equal(nt_udp_open(host->net, NT_FAMILY_ANY, &udp), 0);
  assert_int_equal(nt_udp_bind(host->net, udp, 0, NULL), 0);
  assert_int_equal(start_scan(host, &scan), 0);
  assert_int_equal(nt_sleep_open(host->net, &sleep), 0);
  assert_int_equal(nt_sleep_start(host->net, sleep, 2 * GRACE_MS), 0);
  go(host, 1);
  assert_int_equal(nt_tcp_send(host->net, tcp, "x", 1), 0); /* the grace */
  for (int left = 3; left > 0; left--) {
    host_next(host, &ev);
    assert_int_equal(ev.type, NT_EV_END);
    assert_int_equal(ev.error, NT_E_INTERRUPTED);
    assert_true(ev.id == tcp || ev.id == udp || ev.id == scan);
  }
  host_expect(host, sleep, 0);
}

static void after_the_grace(void** state) {
  host_t* host = *state;
  uint64_t began;
  nt_id_t id;

  host_policy(host, short_grace);
  id = host_get(host, "/hold");
  host_reach(host, id, NT_STATE_CONNECTING);
  began = uv_hrtime();
  go(host, 1);
  go(host, 1); /* nothing new */
  host_expect(host, id, NT_E_INTERRUPTED);
  /* The loop's clock may be a little behind. */
  assert_true(uv_hrtime() - began >= (uint64_t) (GRACE_MS - 10) * NS_PER_MS);
}

static void back_in_time(void** state) {
  host_t* host = *state;
  nt_id_t id, sleep;
  int i;

  host_policy(host, short_grace);
  id = host_get(host, "/hold");
  go(host, 1);
  go(host, 0);
  assert_int_equal(nt_sleep_open(host->net, &sleep), 0);
  assert_int_equal(nt_sleep_start(host->net, sleep, GRACE_MS * 3 / 2), 0);
  for (i = 0; i < 100; i++) { /* the grace begins anew each time */
    go(host, 1);
    go(host, 0);
  }
  host_expect(host, sleep, 0);
  server_release(host->server);
  host_expect(host, id, 0);
}

/* What starts after a return is not ended by what went before. */
static void away_back_and_away(void** state) {
  host_t* host = *state;
  nt_id_t first, second;

  host_policy(host, no_grace);
  first = host_get(host, "/hold");
  nt_cork(host->net);
  go(host, 1);
  go(host, 0);
  second = host_get(host, "/hello");
  nt_uncork(host->net);
  host_expect(host, second, 0);
  go(host, 1);
  host_expect(host, first, NT_E_INTERRUPTED);
}

/* With many in the table each is found. */
static void all_of_them(void** state) {
  enum {
    TASKS = 300
  };
  host_t* host = *state;
  nt_event_t ev;

  host_policy(host, no_grace);
  for (int i = 0; i < TASKS; i++) {
    nt_id_t id;

    assert_int_equal(nt_udp_open(host->net, NT_FAMILY_ANY, &id), 0);
    assert_int_equal(nt_udp_bind(host->net, id, 0, NULL), 0);
  }
  go(host, 1);
  for (int i = 0; i < TASKS; i++) {
    host_next(host, &ev);
    assert_int_equal(ev.type, NT_EV_END);
    assert_int_equal(ev.error, NT_E_INTERRUPTED);
  }
}

/* An abort tells what it always told, before and after. */
static void aborted(void** state) {
  host_t* host = *state;
  nt_id_t id;

  host_policy(host, no_grace);
  id = host_get(host, "/hold");
  nt_abort(host->net, id);
  go(host, 1);
  host_expect(host, id, NT_E_ABORTED);
  go(host, 0);
  id = host_get(host, "/hold");
  go(host, 1);
  nt_abort(host->net, id);
  host_expect(host, id, NT_E_ABORTED);
}

static void closed_in_the_background(void** state) {
  host_t* host = *state;

  host_policy(host, long_grace);
  host_get(host, "/hold");
  open_tcp(host);
  go(host, 1);
}

/* ---- Downloads ----------------------------------------------------------- */

static void wait_file(const char* path) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  while (!file_exists(path)) {
    assert_true(uv_hrtime() < end);
    sched_yield();
  }
}

static void nothing_is_left_of_a_download(void** state) {
  host_t* host = *state;
  folder_t folder;
  nt_id_t id;

  folder_make(&folder);
  host_policy(host, no_grace);
  assert_int_equal(start_download(host, in_folder(&folder, "a"), 0, &id), 0);
  wait_file(in_folder(&folder, "a.part"));
  go(host, 1);
  host_expect(host, id, NT_E_INTERRUPTED);
  assert_int_equal(folder_count(folder.path), 0);
  folder_remove(&folder);
}

/* Whenever it comes: the file is there and it is a success, or neither. */
static void a_download_at_any_moment(void** state) {
  host_t* host = *state;
  folder_t folder;
  char url[256];
  int i;

  folder_make(&folder);
  host_policy(host, no_grace);
  for (i = 0; i < 60; i++) {
    uint64_t until = uv_hrtime() + (uint64_t) i * 50000;
    nt_download_options_t options;
    nt_event_t ev;
    nt_id_t id;

    nt_download_options_init(&options);
    options.request.url = host_url(host, "/hello", url, sizeof(url));
    options.path = in_folder(&folder, "a");
    assert_int_equal(nt_download_open(host->net, &id), 0);
    assert_int_equal(nt_download_start(host->net, id, &options), 0);
    while (uv_hrtime() < until)
      sched_yield();
    go(host, 1);
    host_end(host, id, &ev);
    if (ev.error != 0)
      assert_int_equal(ev.error, NT_E_INTERRUPTED);
    assert_int_equal(folder_count(folder.path), ev.error == 0);
    unlink(in_folder(&folder, "a"));
    go(host, 0);
  }
  folder_remove(&folder);
}

/* ---- WebSockets ---------------------------------------------------------- */

static void expect_interrupted(fixture_t* f, nt_id_t id, int code,
                               const char* reason) {
  nt_event_t ev;

  expect_event(f, id, NT_EV_END, &ev);
  assert_int_equal(ev.error, NT_E_INTERRUPTED);
  assert_int_equal(ev.code, code);
  assert_string_equal(ev.reason, reason);
  assert_int_equal(ev.opened, code != 0);
}

static void an_open_websocket(void** state) {
  nt_websocket_options_t options;
  fixture_t* f = *state;
  nt_id_t id;

  host_policy(f->host, no_grace);
  nt_websocket_options_init(&options);
  options.reconnect.tries = 5; /* it does not come back */
  id = start(f, &options);
  expect_open(f, id, 0);
  go(f->host, 1);
  expect_interrupted(f, id, 1006, "interrupted");
  peers_wait(f, &f->peers->ended, 1);
  assert_int_equal(peers_count(f, &f->peers->asked), 1);
}

static void a_websocket_that_connects(void** state) {
  fixture_t* f = *state;
  nt_id_t id;

  host_policy(f->host, no_grace);
  peers_play(f, play_silence);
  id = start(f, NULL);
  peers_wait(f, &f->peers->asked, 1);
  go(f->host, 1);
  expect_interrupted(f, id, 0, "");
}

static void play_once(peer_t* peer) {
  peer_accept(peer);
}

static void a_websocket_between_connections(void** state) {
  nt_websocket_options_t options;
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;

  host_policy(f->host, no_grace);
  peers_play(f, play_once);
  nt_websocket_options_init(&options);
  options.reconnect.tries = 5;
  options.reconnect.base_ms = options.reconnect.max_ms = LONG_MS;
  id = start(f, &options);
  expect_open(f, id, 0);
  expect_event(f, id, NT_EV_LOST, &ev);
  go(f->host, 1);
  expect_interrupted(f, id, 1006, "interrupted");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(nothing_starts),
    HOST_TEST(is_no_refusal),
    HOST_TEST(requests),
    HOST_TEST(sockets),
    HOST_TEST(after_the_grace),
    HOST_TEST(back_in_time),
    HOST_TEST(away_back_and_away),
    HOST_TEST(all_of_them),
    HOST_TEST(aborted),
    HOST_TEST(closed_in_the_background),
    HOST_TEST(nothing_is_left_of_a_download),
    HOST_TEST(a_download_at_any_moment),
    PEER_TEST(an_open_websocket),
    PEER_TEST(a_websocket_that_connects),
    PEER_TEST(a_websocket_between_connections),
  };

  return cmocka_run_group_tests_name("background", tests, NULL, NULL);
}
