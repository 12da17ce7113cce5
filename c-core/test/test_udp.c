/* UDP sockets against plain ones of the system. */
#include <dirent.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/wait.h>

#include "resolve.h"
#include "udp_peer.h"

/* ---- Names, as the tests want them --------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned asked, answered;
static bool silent; /* "slow..." has to wait */

static int ask(const char* name, int family, nt__sockaddr_t* out) {
  pthread_mutex_lock(&mutex);
  asked++;
  pthread_cond_broadcast(&changed);
  while (silent && strncmp(name, "slow", 4) == 0)
    pthread_cond_wait(&changed, &mutex);
  answered++;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
  if (strncmp(name, "none", 4) == 0)
    return EAI_NONAME;
  nt__address_parse(family == AF_INET ? "127.0.0.1" : "::1", family, out);
  return 0;
}

static void set_silent(bool value) {
  pthread_mutex_lock(&mutex);
  silent = value;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static unsigned read_counter(const unsigned* counter) {
  unsigned value;

  pthread_mutex_lock(&mutex);
  value = *counter;
  pthread_mutex_unlock(&mutex);
  return value;
}

/* Threads that are left behind have to end before the test does. */
static void await_answers(void) {
  pthread_mutex_lock(&mutex);
  while (answered < asked)
    pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
}

static void await_asked(unsigned value) {
  pthread_mutex_lock(&mutex);
  while (asked < value)
    pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
}

static int set_up(void** state) {
  nt__resolve_ask = ask;
  asked = answered = 0;
  silent = false;
  return host_set_up(state);
}

static int tear_down(void** state) {
  int err = host_tear_down(state);

  set_silent(false);
  await_answers();
  return err;
}

#define UDP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- There and back ------------------------------------------------------ */

static void talk(host_t* host, nt_family_t family, int af, const char* self) {
  nt_id_t id = udp_open(host, family);
  peer_t peer = peer_open(af);
  nt_event_t ev;
  nt_id_t other = udp_open(host, family);
  int port = udp_bind(host, id);

  udp_send(host, id, self, peer.port, "ping");
  assert_int_equal(peer_expect_text(&peer, "ping"), port);
  udp_send(host, other, self, port, "hello");
  udp_expect(host, id, "hello", 5, &ev);
  assert_string_equal(ev.remote.ip, self);
  assert_true(ev.remote.port > 0 && ev.remote.port != port);
  assert_int_equal(ev.remote.ipv6, af == AF_INET6);
  assert_string_equal(ev.local.ip, af == AF_INET6 ? "::" : "0.0.0.0");
  assert_int_equal(ev.local.port, port);
  assert_int_equal(ev.local.ipv6, af == AF_INET6);
  udp_send(host, id, ev.remote.ip, ev.remote.port, "you too");
  udp_expect(host, other, "you too", 7, &ev);
  assert_int_equal(ev.remote.port, port);
  udp_close(host, id);
  udp_close(host, other);
  peer_close(&peer);
}

static void datagrams_go_and_come(void** state) {
  talk(*state, NT_FAMILY_IPV4, AF_INET, "127.0.0.1");
  talk(*state, NT_FAMILY_ANY, AF_INET, "127.0.0.1");
}

static void over_ipv6(void** state) {
  talk(*state, NT_FAMILY_IPV6, AF_INET6, "::1");
}

static void families_share_a_port(void** state) {
  host_t* host = *state;
  nt_id_t four = udp_open(host, NT_FAMILY_IPV4);
  nt_id_t six = udp_open(host, NT_FAMILY_IPV6);
  int port = udp_bind(host, six);

  assert_int_equal(nt_udp_bind(host->net, four, port, NULL), 0);
  udp_send(host, four, "127.0.0.1", port, "4");
  udp_expect_text(host, four, "4");
  udp_send(host, six, "::1", port, "6");
  udp_expect_text(host, six, "6");
  udp_close(host, four);
  udp_close(host, six);
}

static void all_sizes(void** state) {
  static const size_t sizes[] = { 0, 1, 2, 1472, 1473, 9000, 65506, 65507 };
  host_t* host = *state;
  char* data = malloc(DATAGRAM_MAX + 1);
  peer_t peer = peer_open(AF_INET);
  nt_event_t ev;
  nt_id_t id;
  int port;
  size_t i;

  id = udp_bound(host, &port);
  memset(data, 'x', DATAGRAM_MAX + 1);
  for (i = 0; i < COUNT(sizes); i++) {
    assert_int_equal(
        nt_udp_send(host->net, id, "127.0.0.1", peer.port, data, sizes[i]), 0);
    assert_int_equal(peer_expect(&peer, data, sizes[i]), port);
    peer_send(&peer, port, data, sizes[i]);
    udp_expect(host, id, data, sizes[i], &ev);
    assert_int_equal(ev.binary, 1);
  }
  assert_int_equal(nt_udp_send(host->net, id, "127.0.0.1", peer.port, data,
                               DATAGRAM_MAX + 1),
                   NT_E_TOO_BIG);
  udp_close(host, id);
  peer_close(&peer);
  free(data);
}

/* ---- Binding ------------------------------------------------------------- */

static void binding(void** state) {
  host_t* host = *state;
  peer_t taken = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  nt_id_t second = udp_open(host, NT_FAMILY_IPV4);
  int port = -1;
  int again = -1;

  assert_int_equal(nt_udp_bind(host->net, id, -1, &port), NT_E_PORT);
  assert_int_equal(nt_udp_bind(host->net, id, 65536, &port), NT_E_PORT);
  assert_int_equal(nt_udp_bind(host->net, id, taken.port, &port), NT_E_IN_USE);
  assert_int_equal(port, -1);
  port = udp_bind(host, id);
  assert_int_equal(nt_udp_bind(host->net, id, 0, &again), NT_E_STATE);
  /* libuv has the first by now, or soon: it must not let others in. */
  udp_send(host, id, "127.0.0.1", port, "x");
  udp_expect_text(host, id, "x");
  assert_int_equal(nt_udp_bind(host->net, second, port, NULL), NT_E_IN_USE);
  udp_close(host, id);
  assert_int_equal(nt_udp_bind(host->net, second, port, &again), 0);
  assert_int_equal(again, port);
  udp_close(host, second);
  peer_close(&taken);
}

static void sending_binds(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  int port;

  udp_send(host, id, "127.0.0.1", peer.port, "a");
  assert_int_equal(nt_udp_bind(host->net, id, 0, NULL), NT_E_STATE);
  port = peer_expect_text(&peer, "a");
  peer_send(&peer, port, "b", 1);
  udp_expect_text(host, id, "b");
  udp_close(host, id);
  peer_close(&peer);
}

/* ---- Refusals ------------------------------------------------------------ */

static const struct {
  nt_family_t family;
  const char* host;
  int port;
  int err;
} targets[] = {
  { NT_FAMILY_IPV4, "127.0.0.1", 0, NT_E_PORT },
  { NT_FAMILY_IPV4, "127.0.0.1", -1, NT_E_PORT },
  { NT_FAMILY_IPV4, "127.0.0.1", 65536, NT_E_PORT },
  { NT_FAMILY_IPV4, "name.test", 65536, NT_E_PORT },
  { NT_FAMILY_IPV4, "", 9, NT_E_ADDRESS },
  { NT_FAMILY_IPV4, "300.1.1.1", 9, NT_E_ADDRESS },
  { NT_FAMILY_IPV4, "a b", 9, NT_E_ADDRESS },
  { NT_FAMILY_IPV4, "::1", 9, NT_E_ADDRESS },
  { NT_FAMILY_IPV6, "127.0.0.1", 9, NT_E_ADDRESS },
  { NT_FAMILY_IPV6, "[::1]", 9, NT_E_ADDRESS },
};

static void bad_targets(void** state) {
  host_t* host = *state;
  size_t i;

  for (i = 0; i < COUNT(targets); i++) {
    nt_id_t id = udp_open(host, targets[i].family);

    assert_int_equal(
        nt_udp_send(host->net, id, targets[i].host, targets[i].port, "x", 1),
        targets[i].err);
    assert_int_equal(
        nt_udp_connect(host->net, id, targets[i].host, targets[i].port),
        targets[i].err);
    assert_int_equal(nt_udp_send(host->net, id, NULL, 9, "x", 1), NT_E_ADDRESS);
    udp_close(host, id);
  }
}

static void other_ids(void** state) {
  host_t* host = *state;
  nt_id_t request = host_open(host);
  nt_id_t ids[3];
  size_t i;

  ids[0] = request;
  ids[1] = udp_open(host, NT_FAMILY_IPV4);
  ids[2] = 0;
  udp_close(host, ids[1]);
  for (i = 0; i < COUNT(ids); i++) {
    nt_context_t* net = host->net;

    assert_int_equal(nt_udp_bind(net, ids[i], 0, NULL), NT_E_NOT_OPEN);
    assert_int_equal(nt_udp_send(net, ids[i], "::1", 1, "", 0), NT_E_NOT_OPEN);
    assert_int_equal(nt_udp_connect(net, ids[i], "::1", 1), NT_E_NOT_OPEN);
    assert_int_equal(nt_udp_set_ttl(net, ids[i], 1), NT_E_NOT_OPEN);
    assert_int_equal(nt_udp_set_broadcast(net, ids[i], 1), NT_E_NOT_OPEN);
    assert_int_equal(nt_udp_join(net, ids[i], "::", NULL), NT_E_NOT_OPEN);
    assert_int_equal(nt_udp_close(net, ids[i]), NT_E_NOT_OPEN);
    assert_int_equal(nt_udp_buffered(net, ids[i]), 0);
  }
  nt_abort(host->net, request);
  host_expect(host, request, NT_E_ABORTED);
}

/* ---- Bursts -------------------------------------------------------------- */

enum {
  BURST = 500, /* the kernel's backlog of loopback has room for 1000 */
  MOST_PEERS = 40
};

/* The number, repeated up to that size. */
static void fill(char* data, size_t size, uint32_t number) {
  size_t i;

  for (i = 0; i < size; i++)
    data[i] = (char) (number >> 8 * (i % 4));
}

static size_t same_size(uint32_t i) {
  (void) i;
  return 64;
}

static size_t some_sizes(uint32_t i) {
  return 4 + i * 7919 % 1400;
}

/* Runs with a shorter one at their end, and empty ones between. */
static size_t short_ends(uint32_t i) {
  return i % 10 == 9 ? 7 : i % 50 == 25 ? 0 : 100;
}

/* More than what a run may have at once. */
static size_t large(uint32_t i) {
  return i % 2 == 0 ? 30000 : 20000;
}

static size_t largest(uint32_t i) {
  (void) i;
  return 32753;
}

static void burst(host_t* host, size_t (*size_of)(uint32_t), uint32_t count) {
  static char data[DATAGRAM_MAX];
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  uint32_t i;

  nt_cork(host->net);
  for (i = 0; i < count; i++) {
    fill(data, size_of(i), i);
    assert_int_equal(
        nt_udp_send(host->net, id, "127.0.0.1", peer.port, data, size_of(i)),
        0);
  }
  assert_true(nt_udp_buffered(host->net, id) > 0);
  nt_uncork(host->net);
  for (i = 0; i < count; i++) {
    fill(data, size_of(i), i);
    peer_expect(&peer, data, size_of(i));
  }
  assert_false(peer_readable(&peer, 0));
  udp_close(host, id);
  peer_close(&peer);
}

static void bursts_arrive_in_order(void** state) {
  burst(*state, same_size, BURST);
  burst(*state, some_sizes, BURST);
  burst(*state, short_ends, BURST);
  burst(*state, large, 50);
  burst(*state, largest, 20);
}

/* Each of them gets its own in order. */
static void burst_to_several(host_t* host, size_t (*size_of)(uint32_t),
                             uint32_t count) {
  static char data[1500];
  peer_t peers[MOST_PEERS];
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  uint32_t i;

  for (i = 0; i < count; i++)
    peers[i] = peer_open(AF_INET);
  nt_cork(host->net);
  for (i = 0; i < BURST; i++) {
    fill(data, size_of(i), i);
    nt_udp_send(host->net, id, "127.0.0.1", peers[i * 7919 % 47 % count].port,
                data, size_of(i));
  }
  nt_uncork(host->net);
  for (i = 0; i < BURST; i++) {
    fill(data, size_of(i), i);
    peer_expect(&peers[i * 7919 % 47 % count], data, size_of(i));
  }
  for (i = 0; i < count; i++) {
    assert_false(peer_readable(&peers[i], 0));
    peer_close(&peers[i]);
  }
  udp_close(host, id);
}

static void bursts_to_several(void** state) {
  static const uint32_t counts[] = { 2, 3, 10, MOST_PEERS };
  size_t i;

  for (i = 0; i < COUNT(counts); i++) {
    burst_to_several(*state, same_size, counts[i]);
    burst_to_several(*state, some_sizes, counts[i]);
    burst_to_several(*state, short_ends, counts[i]);
  }
}

static void bursts_come_in(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  char data[64];
  nt_event_t ev;
  nt_id_t id;
  uint32_t i;
  int port;

  id = udp_bound(host, &port);
  udp_send(host, id, "127.0.0.1", peer.port, "ready");
  peer_expect_text(&peer, "ready");
  for (i = 0; i < BURST; i++) {
    fill(data, sizeof(data), i);
    peer_send(&peer, port, data, sizeof(data));
  }
  for (i = 0; i < BURST; i++) {
    fill(data, sizeof(data), i);
    udp_expect(host, id, data, sizeof(data), &ev);
    assert_int_equal(ev.remote.port, peer.port);
  }
  udp_close(host, id);
  peer_close(&peer);
}

/* ---- Bounds -------------------------------------------------------------- */

static void small_marks(nt_policy_t* policy) {
  policy->task_high_water = 0; /* the least there is */
}

static void what_is_too_much_is_dropped(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  static char data[1000];
  nt_stats_t stats;
  nt_event_t ev;
  uint64_t end;
  nt_id_t id;
  unsigned got = 0;
  unsigned i;
  int port;

  host_policy(host, small_marks);
  id = udp_bound(host, &port);
  for (i = 0; i < 300; i++) {
    fill(data, sizeof(data), i);
    peer_send(&peer, port, data, sizeof(data));
  }
  end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;
  do {
    sched_yield();
    nt_stats(host->net, &stats);
    assert_true(uv_hrtime() < end);
  } while (stats.bytes_in < 300 * sizeof(data));
  assert_true(stats.dropped > 0 && stats.dropped < 300);
  for (; got < 300 - stats.dropped; got++) { /* the oldest were kept */
    fill(data, sizeof(data), got);
    udp_expect(host, id, data, sizeof(data), &ev);
  }
  assert_int_equal(nt_poll(host->net, &ev), 0);
  peer_send(&peer, port, "on", 2);
  udp_expect_text(host, id, "on");
  nt_stats(host->net, &stats);
  assert_int_equal(stats.dropped, 300 - got);
  udp_close(host, id);
  peer_close(&peer);
}

static void small_queue(nt_policy_t* policy) {
  policy->send_queue_bytes = 10000;
}

static void queues_are_bounded(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  static char data[1000];
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  unsigned sent = 0;
  int err = 0;

  set_silent(true);
  host_policy(host, small_queue);
  while (err == 0 && sent < 100) {
    err =
        nt_udp_send(host->net, id, "slow.test", peer.port, data, sizeof(data));
    sent += err == 0;
  }
  assert_int_equal(err, NT_E_QUEUE_FULL);
  assert_true(sent > 5 && sent < 10);
  assert_int_equal(nt_udp_buffered(host->net, id), sent * sizeof(data));
  set_silent(false);
  while (sent-- > 0)
    peer_expect(&peer, data, sizeof(data));
  UNTIL(nt_udp_buffered(host->net, id) == 0);
  udp_send(host, id, "slow.test", peer.port, "room");
  peer_expect_text(&peer, "room");
  udp_close(host, id);
  peer_close(&peer);
}

/* ---- What fails ---------------------------------------------------------- */

static void nobody_listens(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  int port = closed_port();
  nt_event_t ev;
  char text[200] = "";
  unsigned i;

  udp_send(host, id, "127.0.0.1", port, "?");
  udp_expect_error(host, id, NT_E_REFUSED, &ev);
  assert_string_equal(ev.remote.ip, "127.0.0.1");
  assert_int_equal(ev.remote.port, port);
  assert_non_null(strstr(ev.message, "ECONNREFUSED"));
  udp_send(host, id, "127.0.0.1", peer.port, "still here");
  peer_send(&peer, peer_expect_text(&peer, "still here"), "yes", 3);
  udp_expect_text(host, id, "yes");
  /* No report costs a datagram that has nothing to do with it. Each goes by
   * itself, since it is longer than the one before. */
  nt_cork(host->net);
  for (i = 0; i < 50; i++) {
    text[i] = '?';
    udp_send(host, id, "127.0.0.1", port, text);
    udp_send(host, id, "127.0.0.1", peer.port, text);
  }
  nt_uncork(host->net);
  memset(text, 0, sizeof(text));
  for (i = 0; i < 50; i++) {
    text[i] = '?';
    peer_expect_text(&peer, text);
    udp_expect_error(host, id, NT_E_REFUSED, &ev);
  }
  assert_int_equal(nt_poll(host->net, &ev), 0);
  udp_close(host, id);
  peer_close(&peer);
}

static void nobody_listens_in_ipv6(void** state) {
  host_t* host = *state;
  nt_id_t id = udp_open(host, NT_FAMILY_IPV6);
  peer_t peer = peer_open(AF_INET6);
  nt_event_t ev;

  peer_close(&peer);
  udp_send(host, id, "::1", peer.port, "?");
  udp_expect_error(host, id, NT_E_REFUSED, &ev);
  assert_string_equal(ev.remote.ip, "::1");
  assert_int_equal(ev.remote.port, peer.port);
  assert_int_equal(ev.remote.ipv6, 1);
  udp_close(host, id);
}

static uint64_t cpu_us(void) {
  uv_rusage_t usage;

  uv_getrusage(&usage);
  return (uint64_t) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
         (uint64_t) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* What is left in the queue of errors would keep the loop awake. */
static void the_loop_rests_after_reports(void** state) {
  host_t* host = *state;
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  int port = closed_port();
  nt_event_t ev;
  uint64_t before;
  unsigned i;

  /* Datagrams that go out in one call may have one report for all. */
  for (i = 0; i < 300; i++)
    udp_send(host, id, "127.0.0.1", port, "?");
  udp_expect_error(host, id, NT_E_REFUSED, &ev);
  while (nt_wait(host->net, 100))
    while (nt_poll(host->net, &ev))
      assert_int_equal(ev.error, NT_E_REFUSED);
  before = cpu_us();
  assert_int_equal(nt_wait(host->net, 200), 0);
  assert_true(cpu_us() - before < 100000);
  udp_close(host, id);
}

static void broadcasts(void** state) {
  host_t* host = *state;
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  nt_event_t ev;
  nt_id_t all;
  int port;

  all = udp_bound(host, &port);
  udp_send(host, id, "127.255.255.255", port, "not allowed");
  udp_expect_error(host, id, NT_E_ACCESS, &ev);
  assert_string_equal(ev.remote.ip, "127.255.255.255");
  assert_int_equal(nt_udp_set_broadcast(host->net, id, 1), 0);
  udp_send(host, id, "127.255.255.255", port, "allowed");
  udp_expect_text(host, all, "allowed");
  assert_int_equal(nt_udp_set_broadcast(host->net, id, 0), 0);
  udp_send(host, id, "127.255.255.255", port, "not any more");
  udp_expect_error(host, id, NT_E_ACCESS, &ev);
  udp_close(host, id);
  udp_close(host, all);
}

/* ---- Peers and names ----------------------------------------------------- */

static void connecting(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  peer_t other = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  int port;

  assert_int_equal(nt_udp_send(host->net, id, NULL, 0, "x", 1), NT_E_ADDRESS);
  assert_int_equal(nt_udp_connect(host->net, id, "127.0.0.1", peer.port), 0);
  udp_send(host, id, NULL, 0, "to the peer");
  port = peer_expect_text(&peer, "to the peer");
  udp_send(host, id, "127.0.0.1", other.port, "to another");
  peer_expect_text(&other, "to another");
  peer_send(&other, port, "from another", 12);
  udp_expect_text(host, id, "from another");
  assert_int_equal(nt_udp_connect(host->net, id, "127.0.0.1", other.port), 0);
  udp_send(host, id, NULL, 0, "a new peer");
  peer_expect_text(&other, "a new peer");
  assert_int_equal(nt_udp_connect(host->net, id, "peer.test", peer.port), 0);
  udp_send(host, id, NULL, 0, "by name");
  peer_expect_text(&peer, "by name");
  udp_close(host, id);
  peer_close(&peer);
  peer_close(&other);
}

static void a_peer_is_looked_up_once(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  nt_event_t ev;
  unsigned i;

  set_silent(true);
  assert_int_equal(nt_udp_connect(host->net, id, "slow.test", peer.port), 0);
  udp_send(host, id, NULL, 0, "0");
  await_asked(1);
  udp_send(host, id, NULL, 0, "1");
  set_silent(false);
  peer_expect_text(&peer, "0");
  peer_expect_text(&peer, "1");
  for (i = 0; i < 100; i++) {
    udp_send(host, id, NULL, 0, "more");
    peer_expect_text(&peer, "more");
  }
  assert_int_equal(read_counter(&asked), 1);
  assert_int_equal(nt_udp_connect(host->net, id, "none.test", peer.port), 0);
  udp_expect_error(host, id, NT_E_RESOLVE, &ev);
  assert_non_null(strstr(ev.message, "none.test"));
  udp_send(host, id, NULL, 0, "lost");
  udp_expect_error(host, id, NT_E_RESOLVE, &ev);
  assert_int_equal(read_counter(&asked), 2);
  udp_close(host, id);
  peer_close(&peer);
}

static void a_name_is_looked_up_once(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  char data[8];
  uint32_t i;

  for (i = 0; i < BURST; i++) {
    fill(data, sizeof(data), i);
    assert_int_equal(
        nt_udp_send(host->net, id, "a.test", peer.port, data, sizeof(data)), 0);
  }
  for (i = 0; i < BURST; i++) {
    fill(data, sizeof(data), i);
    peer_expect(&peer, data, sizeof(data));
  }
  assert_int_equal(read_counter(&asked), 1);
  udp_close(host, id);
  peer_close(&peer);
}

static void only_a_name_is_waited_for(void** state) {
  host_t* host = *state;
  peer_t slow = peer_open(AF_INET);
  peer_t fast = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  char text[16];
  unsigned i;

  set_silent(true);
  for (i = 0; i < 20; i++) {
    snprintf(text, sizeof(text), "%u", i);
    udp_send(host, id, "slow.test", slow.port, text);
    udp_send(host, id, i % 2 ? "127.0.0.1" : "fast.test", fast.port, text);
    peer_expect_text(&fast, text);
  }
  assert_false(peer_readable(&slow, 0));
  set_silent(false);
  for (i = 0; i < 20; i++) {
    snprintf(text, sizeof(text), "%u", i);
    peer_expect_text(&slow, text);
  }
  assert_int_equal(read_counter(&asked), 2);
  udp_close(host, id);
  peer_close(&slow);
  peer_close(&fast);
}

static void names_in_ipv6(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET6);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV6);

  udp_send(host, id, "a.test", peer.port, "six");
  peer_expect_text(&peer, "six");
  udp_close(host, id);
  peer_close(&peer);
}

static void names_that_are_none(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  nt_event_t ev;

  udp_send(host, id, "none.test", peer.port, "lost");
  udp_expect_error(host, id, NT_E_RESOLVE, &ev);
  assert_string_equal(ev.remote.ip, "");
  udp_send(host, id, "none.test", peer.port, "lost"); /* remembered */
  udp_expect_error(host, id, NT_E_RESOLVE, &ev);
  assert_int_equal(read_counter(&asked), 1);
  assert_int_equal(nt_udp_buffered(host->net, id), 0);
  udp_send(host, id, "127.0.0.1", peer.port, "alive");
  peer_expect_text(&peer, "alive");
  udp_close(host, id);
  peer_close(&peer);
}

static void the_system_resolves(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);

  udp_send(host, id, "localhost", peer.port, "home");
  peer_expect_text(&peer, "home");
  udp_close(host, id);
  peer_close(&peer);
}

/* ---- Options ------------------------------------------------------------- */

static int read_ttl(const peer_t* peer) {
  char data[16];
  struct iovec part = { data, sizeof(data) };
  _Alignas(struct cmsghdr) char control[64];
  struct msghdr message = { .msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control) };
  int ttl = -1;

  assert_true(peer_readable(peer, PATIENCE_MS));
  assert_true(recvmsg(peer->fd, &message, 0) >= 0);
  assert_non_null(CMSG_FIRSTHDR(&message));
  memcpy(&ttl, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(ttl));
  return ttl;
}

static void hop_limits(void** state) {
  static const int bad[] = { -1, 0, 256, 1000 };
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  int on = 1;
  size_t i;

  setsockopt(peer.fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
  for (i = 0; i < COUNT(bad); i++)
    assert_int_equal(nt_udp_set_ttl(host->net, id, bad[i]), NT_E_INVALID);
  assert_int_equal(nt_udp_set_multicast_ttl(host->net, id, -1), NT_E_INVALID);
  assert_int_equal(nt_udp_set_multicast_ttl(host->net, id, 256), NT_E_INVALID);
  assert_int_equal(nt_udp_set_multicast_ttl(host->net, id, 0), 0);
  assert_int_equal(nt_udp_set_ttl(host->net, id, 3), 0); /* not bound yet */
  nt_cork(host->net);
  udp_send(host, id, "127.0.0.1", peer.port, "a");
  assert_int_equal(nt_udp_set_ttl(host->net, id, 255), 0);
  udp_send(host, id, "127.0.0.1", peer.port, "b");
  nt_uncork(host->net);
  assert_int_equal(read_ttl(&peer), 3);
  assert_int_equal(read_ttl(&peer), 255);
  udp_close(host, id);
  peer_close(&peer);
}

static void groups(void** state) {
  host_t* host = *state;
  nt_id_t ids[2];
  nt_event_t ev;
  int port;

  ids[0] = udp_bound(host, &port);
  ids[1] = udp_open(host, NT_FAMILY_IPV4);
  assert_int_equal(nt_udp_join(host->net, ids[0], "127.0.0.1", NULL),
                   NT_E_ADDRESS);
  assert_int_equal(nt_udp_join(host->net, ids[0], "ff02::1", NULL),
                   NT_E_ADDRESS);
  assert_int_equal(nt_udp_join(host->net, ids[0], "name.test", NULL),
                   NT_E_ADDRESS);
  assert_int_equal(nt_udp_leave(host->net, ids[0], "239.1.2.3", "127.0.0.1"),
                   0);
  udp_expect_error(host, ids[0], NT_E_ADDRESS, &ev);
  assert_string_equal(ev.remote.ip, "239.1.2.3");
  assert_int_equal(nt_udp_join(host->net, ids[0], "239.1.2.3", "no-such-one"),
                   0);
  udp_expect_error(host, ids[0], NT_E_SYSTEM, &ev);
  /* The sender joins another group: the interface is what it wants. */
  assert_int_equal(nt_udp_join(host->net, ids[0], "239.1.2.3", "127.0.0.1"), 0);
  assert_int_equal(nt_udp_join(host->net, ids[1], "239.1.2.4", "lo"), 0);
  udp_send(host, ids[1], "239.1.2.3", port, "to the group");
  udp_expect_text(host, ids[0], "to the group");
  assert_int_equal(nt_udp_leave(host->net, ids[0], "239.1.2.3", "127.0.0.1"),
                   0);
  udp_send(host, ids[0], "127.0.0.1", port, "left"); /* has left by now */
  udp_expect_text(host, ids[0], "left");
  udp_send(host, ids[1], "239.1.2.3", port, "to nobody");
  udp_send(host, ids[1], "127.0.0.1", port, "last");
  udp_expect_text(host, ids[0], "last");
  udp_close(host, ids[0]);
  udp_close(host, ids[1]);
}

/* Loopback has no route for them: test_udp_network.c sends some. */
static void groups_in_ipv6(void** state) {
  host_t* host = *state;
  nt_id_t id = udp_open(host, NT_FAMILY_IPV6);
  nt_event_t ev;

  assert_int_equal(nt_udp_join(host->net, id, "ff15::7:7", "lo"), 0);
  assert_int_equal(nt_udp_leave(host->net, id, "ff15::7:7", "lo"), 0);
  assert_int_equal(nt_udp_leave(host->net, id, "ff15::7:7", "lo"), 0);
  udp_expect_error(host, id, NT_E_ADDRESS, &ev);
  assert_string_equal(ev.remote.ip, "ff15::7:7");
  assert_int_equal(nt_poll(host->net, &ev), 0);
  udp_close(host, id);
}

/* ---- The end ------------------------------------------------------------- */

static void closing_sends_what_is_left(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  char data[100];
  uint32_t i;

  nt_cork(host->net);
  for (i = 0; i < BURST; i++) {
    fill(data, 1 + i % sizeof(data), i);
    nt_udp_send(host->net, id, i % 2 ? "127.0.0.1" : "a.test", peer.port, data,
                1 + i % sizeof(data));
  }
  assert_int_equal(nt_udp_close(host->net, id), 0);
  assert_int_equal(nt_udp_send(host->net, id, "127.0.0.1", 9, "x", 1),
                   NT_E_NOT_OPEN);
  nt_uncork(host->net);
  udp_end(host, id, 0);
  for (i = 0; i < BURST; i++) {
    size_t size;

    peer_read(&peer, data, sizeof(data), &size);
  }
  assert_false(peer_readable(&peer, 0));
  peer_close(&peer);
}

static void closing_waits_a_moment_for_a_name(void** state) {
  host_t* host = *state;
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  uint64_t start = uv_hrtime();
  uint64_t took;

  set_silent(true);
  udp_send(host, id, "slow.test", 9, "never");
  assert_int_equal(nt_udp_close(host->net, id), 0);
  udp_end(host, id, 0);
  took = (uv_hrtime() - start) / 1000000;
  assert_true(took >= 900 && took < PATIENCE_MS);
}

typedef enum stage {
  STAGE_NEW,
  STAGE_BOUND,
  STAGE_SENDING,
  STAGE_NAMED,
  STAGE_CONNECTED,
  STAGE_JOINED,
  STAGE_FAILING,
  STAGES
} stage_t;

static nt_id_t reach(host_t* host, stage_t stage) {
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  unsigned i;

  if (stage == STAGE_BOUND)
    udp_bind(host, id);
  if (stage == STAGE_SENDING)
    for (i = 0; i < 100; i++)
      udp_send(host, id, "127.0.0.1", host->server->port, "x");
  if (stage == STAGE_NAMED)
    udp_send(host, id, "slow.test", 9, "x");
  if (stage == STAGE_CONNECTED)
    nt_udp_connect(host->net, id, "slow2.test", 9);
  if (stage == STAGE_JOINED)
    nt_udp_join(host->net, id, "239.1.2.3", "lo");
  if (stage == STAGE_FAILING)
    udp_send(host, id, "127.0.0.1", closed_port(), "x");
  return id;
}

static unsigned open_files(void) {
  DIR* dir = opendir("/proc/self/fd");
  unsigned count = 0;

  assert_non_null(dir);
  while (readdir(dir) != NULL)
    count++;
  closedir(dir);
  return count;
}

/* At once, or when the I/O thread has seen something of it. */
static void pause_maybe(host_t* host, unsigned round) {
  if (round % 2 == 1)
    nt_wait(host->net, 1);
}

static void ends_in_every_stage(void** state) {
  host_t* host = *state;
  unsigned before, round;
  nt_event_t ev;
  int stage;

  set_silent(true);
  udp_close(host, udp_open(host, NT_FAMILY_IPV4));
  host_still_works(host); /* a first request opens more than later ones */
  before = open_files();
  for (round = 0; round < 20; round++)
    for (stage = 0; stage < STAGES; stage++) {
      nt_id_t id = reach(host, stage);

      pause_maybe(host, round);
      nt_abort(host->net, id);
      assert_int_equal(nt_udp_close(host->net, id), NT_E_NOT_OPEN);
      do {
        host_next(host, &ev);
      } while (ev.type != NT_EV_END);
      assert_true(ev.id == id);
      assert_int_equal(ev.error, NT_E_ABORTED);
    }
  for (stage = 0; stage < STAGES; stage++) {
    nt_id_t id = reach(host, stage);

    set_silent(false);
    assert_int_equal(nt_udp_close(host->net, id), 0);
    host_expect(host, id, 0);
  }
  host_still_works(host);
  UNTIL(open_files() <= before + 4); /* of the warm-up of TLS */
}

static void contexts_end_in_every_stage(void** state) {
  host_t* host = *state;
  unsigned round;
  int stage;

  set_silent(true);
  for (round = 0; round < 10; round++) {
    for (stage = 0; stage < STAGES; stage++)
      reach(host, stage);
    pause_maybe(host, round);
    if (round % 3 == 0)
      for (stage = 0; stage < STAGES; stage++)
        nt_udp_close(host->net, reach(host, stage));
    assert_int_equal(host_close(host->net), 0);
    assert_int_equal(nt_open(&host->net), 0);
  }
}

static void many_sockets(void** state) {
  enum {
    MANY = 300
  };
  host_t* host = *state;
  nt_id_t ids[MANY];
  int ports[MANY];
  nt_stats_t stats;
  nt_event_t ev;
  unsigned i;

  for (i = 0; i < MANY; i++)
    ids[i] = udp_bound(host, &ports[i]);
  nt_stats(host->net, &stats);
  assert_int_equal(stats.open, MANY);
  for (i = 0; i < MANY; i++)
    udp_send(host, ids[i], "127.0.0.1", ports[(i + 1) % MANY], "next");
  for (i = 0; i < MANY; i++) {
    host_next(host, &ev);
    assert_int_equal(ev.type, NT_EV_MESSAGE);
  }
  for (i = 0; i < MANY; i++)
    assert_int_equal(nt_udp_close(host->net, ids[i]), 0);
  udp_drain(host, MANY);
  nt_stats(host->net, &stats);
  assert_int_equal(stats.open, 0);
}

static void after_fork(void** state) {
  host_t* host = *state;
  int status;
  nt_id_t id;
  pid_t child;
  int port;

  id = udp_bound(host, &port);
  fflush(stdout);
  child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    nt_id_t other;

    host_is_child = true;
    _exit(nt_udp_send(host->net, id, "127.0.0.1", port, "x", 1) !=
              NT_E_FORKED ||
          nt_udp_bind(host->net, id, 0, NULL) != NT_E_FORKED ||
          nt_udp_open(host->net, NT_FAMILY_IPV4, &other) != NT_E_FORKED ||
          nt_udp_close(host->net, id) != NT_E_FORKED ||
          nt_udp_buffered(host->net, id) != 0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  udp_send(host, id, "127.0.0.1", port, "parent");
  udp_expect_text(host, id, "parent");
  udp_close(host, id);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    /* First, while the system itself is asked. */
    HOST_TEST(the_system_resolves),
    UDP_TEST(datagrams_go_and_come),
    UDP_TEST(over_ipv6),
    UDP_TEST(families_share_a_port),
    UDP_TEST(all_sizes),
    UDP_TEST(binding),
    UDP_TEST(sending_binds),
    UDP_TEST(bad_targets),
    UDP_TEST(other_ids),
    UDP_TEST(bursts_arrive_in_order),
    UDP_TEST(bursts_to_several),
    UDP_TEST(bursts_come_in),
    UDP_TEST(what_is_too_much_is_dropped),
    UDP_TEST(queues_are_bounded),
    UDP_TEST(nobody_listens),
    UDP_TEST(nobody_listens_in_ipv6),
    UDP_TEST(the_loop_rests_after_reports),
    UDP_TEST(broadcasts),
    UDP_TEST(connecting),
    UDP_TEST(a_peer_is_looked_up_once),
    UDP_TEST(a_name_is_looked_up_once),
    UDP_TEST(only_a_name_is_waited_for),
    UDP_TEST(names_in_ipv6),
    UDP_TEST(names_that_are_none),
    UDP_TEST(hop_limits),
    UDP_TEST(groups),
    UDP_TEST(groups_in_ipv6),
    UDP_TEST(closing_sends_what_is_left),
    UDP_TEST(closing_waits_a_moment_for_a_name),
    UDP_TEST(ends_in_every_stage),
    UDP_TEST(contexts_end_in_every_stage),
    UDP_TEST(many_sockets),
    UDP_TEST(after_fork),
  };

  return cmocka_run_group_tests_name("udp", tests, NULL, NULL);
}
