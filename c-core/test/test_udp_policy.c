/* Whom a UDP socket may send to and hear. Loopback addresses are private, all
 * of 127/8 is ours, and names lead where a test says. */
#include <netdb.h>
#include <pthread.h>

#include "resolve.h"
#include "udp_peer.h"

enum {
  REMEMBERED = 64 /* addresses that names have led to */
};

/* ---- Names --------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char leads_to[64]; /* all names but "slow" and "none" */
static unsigned asked, answered;
static bool silent; /* "slow" has to wait */

static int ask(const char* name, int family, nt__sockaddr_t* out) {
  int code = strcmp(name, "none") == 0 ? EAI_NONAME : 0;

  pthread_mutex_lock(&mutex);
  asked++;
  while (silent && strcmp(name, "slow") == 0)
    pthread_cond_wait(&changed, &mutex);
  if (code == 0)
    nt__address_parse(leads_to, family, out);
  answered++;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
  return code;
}

static void lead(const char* address) {
  pthread_mutex_lock(&mutex);
  snprintf(leads_to, sizeof(leads_to), "%s", address);
  pthread_mutex_unlock(&mutex);
}

static void set_silent(bool value) {
  pthread_mutex_lock(&mutex);
  silent = value;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static unsigned lookups(void) {
  unsigned value;

  pthread_mutex_lock(&mutex);
  value = asked;
  pthread_mutex_unlock(&mutex);
  return value;
}

static int set_up(void** state) {
  nt__resolve_ask = ask;
  asked = answered = 0;
  silent = false;
  lead("127.0.0.1");
  return host_set_up(state);
}

/* Threads that are left behind have to end before the test does. */
static int tear_down(void** state) {
  int err = host_tear_down(state);

  set_silent(false);
  pthread_mutex_lock(&mutex);
  while (answered < asked)
    pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
  return err;
}

#define POLICY_TEST(name)                                                      \
  cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- Policies ------------------------------------------------------------ */

static void refuse_private(host_t* host, const char* allowed) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.flags |= NT_POLICY_REFUSE_PRIVATE;
  if (allowed != NULL) {
    policy.allow_private.items = &allowed;
    policy.allow_private.count = 1;
  }
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
}

/* NULL: the list is there and empty. */
static void allow_alone(host_t* host, const char* entry) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.domains[NT_ACCESS_UDP].items = &entry;
  policy.domains[NT_ACCESS_UDP].count = entry != NULL;
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
}

static void allow_all(host_t* host) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_OPEN);
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
}

/* ---- What is told -------------------------------------------------------- */

static void check_record(const nt_event_t* ev, nt_id_t id, int error,
                         const char* target) {
  assert_int_equal(ev->type, NT_EV_REFUSED);
  assert_true(ev->id == id);
  assert_int_equal(ev->error, error);
  assert_string_equal(ev->message, target);
}

/* The record of a call that was refused. */
static void expect_record(host_t* host, nt_id_t id, int error,
                          const char* target) {
  nt_event_t ev;

  host_next(host, &ev);
  check_record(&ev, id, error, target);
}

/* The record and the ERROR of what was found out later. */
static void expect_refusal(host_t* host, nt_id_t id, int error,
                           const char* operation, const char* target) {
  bool told = false;
  bool recorded = false;

  while (!told || !recorded) {
    nt_event_t ev;

    host_next(host, &ev);
    if (ev.type == NT_EV_REFUSED) {
      check_record(&ev, id, error, target);
      recorded = true;
      continue;
    }
    assert_int_equal(ev.type, NT_EV_ERROR);
    assert_true(ev.id == id);
    assert_int_equal(ev.error, error);
    assert_string_equal(ev.operation, operation);
    assert_string_equal(ev.message, target);
    assert_string_equal(ev.remote.ip, ""); /* nobody learns where it led */
    told = true;
  }
}

static void expect_refused_call(host_t* host, nt_id_t id, const char* to,
                                int port, int error, const char* target) {
  assert_int_equal(nt_udp_send(host->net, id, to, port, "no", 2), error);
  expect_record(host, id, error, target);
  assert_int_equal(nt_udp_connect(host->net, id, to, port), error);
  expect_record(host, id, error, target);
  UNTIL(nt_udp_buffered(host->net, id) == 0);
}

static uint64_t dropped(host_t* host) {
  nt_stats_t stats;

  nt_stats(host->net, &stats);
  return stats.dropped;
}

static uint64_t bytes_in(host_t* host) {
  nt_stats_t stats;

  nt_stats(host->net, &stats);
  return stats.bytes_in;
}

/* A datagram of that peer is not handed on, and counts nowhere else. */
static void expect_deaf(host_t* host, const peer_t* peer, int port) {
  uint64_t before = dropped(host);
  uint64_t heard = bytes_in(host);
  nt_event_t ev;

  peer_send(peer, port, "psst", 4);
  UNTIL(dropped(host) == before + 1);
  assert_int_equal(nt_poll(host->net, &ev), 0);
  assert_true(bytes_in(host) == heard);
}

static void expect_hearing(host_t* host, nt_id_t id, const peer_t* peer,
                           int port) {
  peer_send(peer, port, "hello", 5);
  udp_expect_text(host, id, "hello");
}

static void expect_silence(const peer_t* peer) {
  assert_false(peer_readable(peer, 0));
}

/* A peer on another of our addresses. */
static peer_t peer_open_at(const char* ip) {
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t size = sizeof(address);
  peer_t peer;

  peer.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  assert_true(peer.fd >= 0);
  assert_int_equal(inet_pton(AF_INET, ip, &address.sin_addr), 1);
  assert_int_equal(bind(peer.fd, (void*) &address, size), 0);
  assert_int_equal(getsockname(peer.fd, (void*) &address, &size), 0);
  peer.port = ntohs(address.sin_port);
  return peer;
}

static const char* with_port(const char* host, int port) {
  static char texts[2][80];
  static unsigned turn;
  char* text = texts[turn++ % 2];

  snprintf(text, sizeof(texts[0]), "%s:%d", host, port);
  return text;
}

static const char* target(const char* host, int port) {
  static char text[100];

  snprintf(text, sizeof(text), "udp://%s:%d", host, port);
  return text;
}

/* ---- Addresses ----------------------------------------------------------- */

static const struct {
  nt_family_t family;
  const char* host;
  int err;
  const char* shown;
} hosts[] = {
  { NT_FAMILY_IPV4, "127.0.0.1", NT_E_PRIVATE, "127.0.0.1" },
  { NT_FAMILY_IPV4, "127.255.0.3", NT_E_PRIVATE, "127.255.0.3" },
  { NT_FAMILY_IPV4, "0.0.0.0", NT_E_PRIVATE, "0.0.0.0" },
  { NT_FAMILY_IPV4, "10.1.2.3", NT_E_PRIVATE, "10.1.2.3" },
  { NT_FAMILY_IPV4, "100.64.0.1", NT_E_PRIVATE, "100.64.0.1" },
  { NT_FAMILY_IPV4, "169.254.169.254", NT_E_PRIVATE, "169.254.169.254" },
  { NT_FAMILY_IPV4, "172.31.255.255", NT_E_PRIVATE, "172.31.255.255" },
  { NT_FAMILY_IPV4, "192.168.1.255", NT_E_PRIVATE, "192.168.1.255" },
  { NT_FAMILY_IPV4, "224.0.0.251", NT_E_PRIVATE, "224.0.0.251" },
  { NT_FAMILY_IPV4, "239.255.255.250", NT_E_PRIVATE, "239.255.255.250" },
  { NT_FAMILY_IPV4, "255.255.255.255", NT_E_PRIVATE, "255.255.255.255" },
  { NT_FAMILY_IPV4, "localhost", NT_E_PRIVATE, "localhost" },
  { NT_FAMILY_IPV4, "LocalHost.", NT_E_PRIVATE, "LocalHost." },
  { NT_FAMILY_IPV4, "a.localhost", NT_E_PRIVATE, "a.localhost" },
  { NT_FAMILY_IPV6, "localhost", NT_E_PRIVATE, "localhost" },
  { NT_FAMILY_IPV6, "::", NT_E_PRIVATE, "[::]" },
  { NT_FAMILY_IPV6, "::1", NT_E_PRIVATE, "[::1]" },
  { NT_FAMILY_IPV6, "0:0:0:0:0:0:0:1", NT_E_PRIVATE, "[0:0:0:0:0:0:0:1]" },
  { NT_FAMILY_IPV6, "fe80::1%lo", NT_E_PRIVATE, "[fe80::1%lo]" },
  { NT_FAMILY_IPV6, "fd00::1", NT_E_PRIVATE, "[fd00::1]" },
  { NT_FAMILY_IPV6, "ff02::1", NT_E_PRIVATE, "[ff02::1]" },
  { NT_FAMILY_IPV6, "::ffff:127.0.0.1", NT_E_PRIVATE, "[::ffff:127.0.0.1]" },
  { NT_FAMILY_IPV6, "::ffff:7f00:1", NT_E_PRIVATE, "[::ffff:7f00:1]" },
  { NT_FAMILY_IPV6, "64:ff9b::7f00:1", NT_E_PRIVATE, "[64:ff9b::7f00:1]" },
  { NT_FAMILY_IPV6, "2002:7f00:1::", NT_E_PRIVATE, "[2002:7f00:1::]" },
  /* What getaddrinfo() would take for 127.0.0.1. */
  { NT_FAMILY_IPV4, "127.1", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "127.0.0.1.", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "0x7f000001", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "0x7f.1", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "0X7F.0.0.0x1", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "2130706433", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "2130706433.", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "017700000001", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "0177.0.0.1", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "127.0.0.1 ", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "127.0.0.1%lo", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV4, "user@127.0.0.1", NT_E_ADDRESS, NULL },
  { NT_FAMILY_IPV6, "[::1]", NT_E_ADDRESS, NULL },
};

static void private_hosts(void** state) {
  host_t* host = *state;
  nt_stats_t stats;
  uint64_t refusals = 0;
  size_t i;

  refuse_private(host, NULL);
  for (i = 0; i < COUNT(hosts); i++) {
    nt_id_t id = udp_open(host, hosts[i].family);

    if (hosts[i].err == NT_E_PRIVATE) {
      expect_refused_call(host, id, hosts[i].host, 9, NT_E_PRIVATE,
                          target(hosts[i].shown, 9));
      refusals += 2;
    } else {
      assert_int_equal(nt_udp_send(host->net, id, hosts[i].host, 9, "x", 1),
                       hosts[i].err);
    }
    udp_close(host, id);
  }
  nt_stats(host->net, &stats);
  assert_int_equal(stats.refusals, refusals);
  assert_int_equal(stats.bytes_out, 0);
}

static void allowed_address(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  peer_t other = peer_open_at("127.0.0.2");
  nt_id_t id;
  int port;

  refuse_private(host, "127.0.0.1");
  id = udp_bound(host, &port);
  udp_send(host, id, "127.0.0.1", peer.port, "hello");
  peer_expect_text(&peer, "hello");
  expect_refused_call(host, id, "127.0.0.2", other.port, NT_E_PRIVATE,
                      target("127.0.0.2", other.port));
  expect_hearing(host, id, &peer, port);
  expect_deaf(host, &other, port);
  expect_hearing(host, id, &peer, port);
  expect_silence(&other);
  udp_close(host, id);
  peer_close(&peer);
  peer_close(&other);
}

/* What a socket may do is settled when it is opened. */
static void policy_of_the_socket(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t before, after;
  int port, late_port;

  before = udp_bound(host, &port);
  refuse_private(host, NULL);
  after = udp_bound(host, &late_port);
  udp_send(host, before, "127.0.0.1", peer.port, "early");
  peer_expect_text(&peer, "early");
  expect_refused_call(host, after, "127.0.0.1", peer.port, NT_E_PRIVATE,
                      target("127.0.0.1", peer.port));
  expect_deaf(host, &peer, late_port);
  expect_hearing(host, before, &peer, port);
  allow_all(host);
  expect_refused_call(host, after, "127.0.0.1", peer.port, NT_E_PRIVATE,
                      target("127.0.0.1", peer.port));
  expect_deaf(host, &peer, late_port);
  udp_close(host, before);
  udp_close(host, after);
  peer_close(&peer);
}

/* ---- Lists --------------------------------------------------------------- */

static void listed_port(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  peer_t other = peer_open(AF_INET);
  nt_id_t id;
  int i, port;

  allow_alone(host, with_port("127.0.0.1", peer.port));
  id = udp_bound(host, &port);
  for (i = 0; i < 3; i++) { /* what was allowed last is remembered */
    udp_send(host, id, "127.0.0.1", peer.port, "hello");
    peer_expect_text(&peer, "hello");
    expect_refused_call(host, id, "127.0.0.1", other.port, NT_E_DOMAIN,
                        target("127.0.0.1", other.port));
    expect_refused_call(host, id, "127.0.0.2", peer.port, NT_E_DOMAIN,
                        target("127.0.0.2", peer.port));
    expect_refused_call(host, id, "name.test", peer.port, NT_E_DOMAIN,
                        target("name.test", peer.port));
    expect_hearing(host, id, &peer, port);
    expect_deaf(host, &other, port);
  }
  assert_int_equal(nt_udp_connect(host->net, id, "127.0.0.1", peer.port), 0);
  assert_int_equal(nt_udp_connect(host->net, id, "127.0.0.1", other.port),
                   NT_E_DOMAIN);
  expect_record(host, id, NT_E_DOMAIN, target("127.0.0.1", other.port));
  udp_send(host, id, NULL, 0, "to the peer");
  peer_expect_text(&peer, "to the peer");
  assert_int_equal(lookups(), 0);
  udp_close(host, id);
  peer_close(&peer);
  peer_close(&other);
}

static void empty_list(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id;
  int port;

  allow_alone(host, NULL);
  id = udp_bound(host, &port);
  expect_refused_call(host, id, "127.0.0.1", peer.port, NT_E_DOMAIN,
                      target("127.0.0.1", peer.port));
  expect_deaf(host, &peer, port);
  udp_close(host, id);
  peer_close(&peer);
}

static void required_list(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_policy_t policy;
  nt_id_t id;
  int port;

  nt_policy_init(&policy, NT_PRESET_STRICT);
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
  id = udp_bound(host, &port);
  expect_refused_call(host, id, "93.184.216.34", 9, NT_E_DOMAIN,
                      target("93.184.216.34", 9));
  expect_deaf(host, &peer, port);
  udp_close(host, id);
  peer_close(&peer);
}

/* ---- Names --------------------------------------------------------------- */

static void name_that_leads_home(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t open = udp_open(host, NT_FAMILY_IPV4);
  nt_id_t id;

  refuse_private(host, NULL);
  id = udp_open(host, NT_FAMILY_IPV4);
  udp_send(host, id, "name.test", peer.port, "no");
  expect_refusal(host, id, NT_E_PRIVATE, "send",
                 target("name.test", peer.port));
  /* From the cache, which another socket may use as it likes. */
  udp_send(host, id, "name.test", peer.port, "no");
  expect_refusal(host, id, NT_E_PRIVATE, "send",
                 target("name.test", peer.port));
  assert_int_equal(nt_udp_buffered(host->net, id), 0);
  udp_send(host, open, "name.test", peer.port, "yes");
  peer_expect_text(&peer, "yes");
  assert_int_equal(lookups(), 1);
  assert_int_equal(nt_state(host->net, id), NT_STATE_OPEN);
  expect_silence(&peer);
  udp_close(host, id);
  udp_close(host, open);
  peer_close(&peer);
}

static void every_address_of_the_kind(void** state) {
  static const char* const addresses[] = { "10.0.0.1", "169.254.169.254",
                                           "0.0.0.0", "255.255.255.255",
                                           "224.0.0.1" };
  host_t* host = *state;
  nt_id_t id;
  size_t i;

  refuse_private(host, "127.0.0.1");
  id = udp_open(host, NT_FAMILY_IPV4);
  for (i = 0; i < COUNT(addresses); i++) {
    char name[32];

    snprintf(name, sizeof(name), "name%d.test", (int) i);
    lead(addresses[i]);
    udp_send(host, id, name, 9, "no");
    expect_refusal(host, id, NT_E_PRIVATE, "send", target(name, 9));
  }
  udp_close(host, id);
}

static void peer_that_leads_home(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_event_t ev;
  nt_id_t id;

  refuse_private(host, NULL);
  id = udp_open(host, NT_FAMILY_IPV4);
  assert_int_equal(nt_udp_connect(host->net, id, "name.test", peer.port), 0);
  expect_refusal(host, id, NT_E_PRIVATE, "connect",
                 target("name.test", peer.port));
  udp_send(host, id, NULL, 0, "no");
  expect_refusal(host, id, NT_E_PRIVATE, "send",
                 target("name.test", peer.port));
  assert_int_equal(nt_udp_connect(host->net, id, "none", 9), 0);
  udp_expect_error(host, id, NT_E_RESOLVE, &ev);
  assert_string_equal(ev.operation, "connect");
  udp_send(host, id, NULL, 0, "no");
  udp_expect_error(host, id, NT_E_RESOLVE, &ev);
  assert_string_equal(ev.operation, "send");
  expect_silence(&peer);
  udp_close(host, id);
  peer_close(&peer);
}

/* Who sends and closes at once does not escape the records. */
static void refused_after_close(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id;

  refuse_private(host, NULL);
  set_silent(true);
  id = udp_open(host, NT_FAMILY_IPV4);
  udp_send(host, id, "slow", peer.port, "no");
  assert_int_equal(nt_udp_close(host->net, id), 0);
  set_silent(false);
  expect_refusal(host, id, NT_E_PRIVATE, "send", target("slow", peer.port));
  udp_end(host, id, 0);
  expect_silence(&peer);
  peer_close(&peer);
}

/* The quota is spent by what is refused. */
static void refused_above_a_mark(void** state) {
  host_t* host = *state;
  nt_policy_t policy;
  nt_id_t id;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.flags |= NT_POLICY_REFUSE_PRIVATE;
  policy.bytes_per_minute = 1;
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
  id = udp_open(host, NT_FAMILY_IPV4);
  udp_send(host, id, "name.test", 9, "no");
  expect_refusal(host, id, NT_E_PRIVATE, "send", target("name.test", 9));
  udp_close(host, id);
}

/* A host that does not look is not told without end. */
static void many_refused(void** state) {
  enum {
    SENDS = 3000,
    LATE = 256 /* after the mark */
  };
  host_t* host = *state;
  unsigned told = 0;
  nt_policy_t policy;
  nt_event_t ev;
  nt_id_t id;
  int i;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.flags |= NT_POLICY_REFUSE_PRIVATE;
  policy.task_high_water = 1;
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
  id = udp_open(host, NT_FAMILY_IPV4);
  udp_send(host, id, "name.test", 9, "no"); /* now it is known */
  expect_refusal(host, id, NT_E_PRIVATE, "send", target("name.test", 9));
  for (i = 0; i < SENDS; i++)
    udp_send(host, id, "name.test", 9, "no");
  UNTIL(nt_udp_buffered(host->net, id) == 0);
  assert_int_equal(nt_udp_close(host->net, id), 0);
  do {
    host_next(host, &ev);
    told += ev.type == NT_EV_ERROR;
  } while (ev.type != NT_EV_END);
  assert_true(told > LATE && told < SENDS / 2);
}

static void name_that_is_allowed(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  peer_t neighbour = peer_open(AF_INET);
  nt_id_t id;
  int port;

  refuse_private(host, "game.test");
  id = udp_bound(host, &port);
  expect_deaf(host, &peer, port);
  udp_send(host, id, "game.test", peer.port, "hello");
  peer_expect_text(&peer, "hello");
  expect_hearing(host, id, &peer, port);
  expect_deaf(host, &neighbour, port); /* of the same address */
  udp_send(host, id, "other.test", peer.port, "no");
  expect_refusal(host, id, NT_E_PRIVATE, "send",
                 target("other.test", peer.port));
  expect_refused_call(host, id, "127.0.0.1", peer.port, NT_E_PRIVATE,
                      target("127.0.0.1", peer.port));
  expect_hearing(host, id, &peer, port);
  udp_close(host, id);
  peer_close(&peer);
  peer_close(&neighbour);
}

static void name_on_the_list(void** state) {
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  peer_t other = peer_open(AF_INET);
  nt_id_t id;
  int port;

  allow_alone(host, with_port("*.game.test", peer.port));
  id = udp_bound(host, &port);
  assert_int_equal(nt_udp_connect(host->net, id, "EU.game.test", peer.port), 0);
  expect_deaf(host, &peer, port); /* nothing was sent yet */
  udp_send(host, id, NULL, 0, "hello");
  peer_expect_text(&peer, "hello");
  expect_hearing(host, id, &peer, port);
  expect_deaf(host, &other, port);
  expect_refused_call(host, id, "game.test", peer.port, NT_E_DOMAIN,
                      target("game.test", peer.port));
  expect_refused_call(host, id, "eu.game.test", other.port, NT_E_DOMAIN,
                      target("eu.game.test", other.port));
  expect_refused_call(host, id, "eu.game.test.evil", peer.port, NT_E_DOMAIN,
                      target("eu.game.test.evil", peer.port));
  expect_refused_call(host, id, "xgame.test", peer.port, NT_E_DOMAIN,
                      target("xgame.test", peer.port));
  udp_close(host, id);
  peer_close(&peer);
  peer_close(&other);
}

/* The oldest of those that may answer is forgotten for the newest. */
static void many_that_answer(void** state) {
  host_t* host = *state;
  peer_t peers[REMEMBERED + 1];
  nt_id_t id;
  int i, port;

  refuse_private(host, "game.test");
  id = udp_bound(host, &port);
  for (i = 0; i <= REMEMBERED; i++) {
    peers[i] = peer_open(AF_INET);
    udp_send(host, id, "game.test", peers[i].port, "hello");
    peer_expect_text(&peers[i], "hello");
  }
  for (i = 1; i <= REMEMBERED; i++)
    expect_hearing(host, id, &peers[i], port);
  expect_deaf(host, &peers[0], port);
  udp_send(host, id, "game.test", peers[0].port, "again");
  peer_expect_text(&peers[0], "again");
  expect_hearing(host, id, &peers[0], port);
  expect_deaf(host, &peers[1], port);
  udp_close(host, id);
  for (i = 0; i <= REMEMBERED; i++)
    peer_close(&peers[i]);
}

/* ---- Groups -------------------------------------------------------------- */

static void groups_are_private(void** state) {
  host_t* host = *state;
  nt_id_t id;

  refuse_private(host, NULL);
  id = udp_open(host, NT_FAMILY_IPV4);
  assert_int_equal(nt_udp_join(host->net, id, "239.1.2.3", "127.0.0.1"),
                   NT_E_PRIVATE);
  expect_record(host, id, NT_E_PRIVATE, "udp://239.1.2.3");
  assert_int_equal(nt_udp_join(host->net, id, "10.0.0.1", NULL), NT_E_ADDRESS);
  udp_close(host, id);
  id = udp_open(host, NT_FAMILY_IPV6);
  assert_int_equal(nt_udp_join(host->net, id, "ff02::1", NULL), NT_E_PRIVATE);
  expect_record(host, id, NT_E_PRIVATE, "udp://[ff02::1]");
  udp_close(host, id);
}

/* The group is allowed, and so nobody else is who speaks to it. */
static void group_that_is_allowed(void** state) {
  host_t* host = *state;
  nt_id_t id, speaker;
  uint64_t before;
  int port;

  speaker = udp_open(host, NT_FAMILY_IPV4);
  assert_int_equal(nt_udp_join(host->net, speaker, "239.1.2.4", "127.0.0.1"),
                   0);
  refuse_private(host, "224.0.0.0/4");
  id = udp_bound(host, &port);
  assert_int_equal(nt_udp_join(host->net, id, "239.1.2.3", "127.0.0.1"), 0);
  before = dropped(host);
  udp_send(host, speaker, "239.1.2.3", port, "private");
  UNTIL(dropped(host) == before + 1);
  udp_close(host, id);
  udp_close(host, speaker);
}

static void group_on_the_list(void** state) {
  host_t* host = *state;
  peer_t free_port = peer_open(AF_INET);
  int port = free_port.port;
  nt_id_t id;

  peer_close(&free_port);
  allow_alone(host, with_port("239.1.2.3", port));
  id = udp_open(host, NT_FAMILY_IPV4);
  assert_int_equal(nt_udp_join(host->net, id, "239.1.2.3", "127.0.0.1"),
                   NT_E_DOMAIN);
  expect_record(host, id, NT_E_DOMAIN, "udp://239.1.2.3");
  assert_int_equal(nt_udp_bind(host->net, id, port, NULL), 0);
  assert_int_equal(nt_udp_join(host->net, id, "239.1.2.3", "127.0.0.1"), 0);
  assert_int_equal(nt_udp_join(host->net, id, "239.1.2.9", "127.0.0.1"),
                   NT_E_DOMAIN);
  expect_record(host, id, NT_E_DOMAIN, target("239.1.2.9", port));
  assert_int_equal(nt_udp_leave(host->net, id, "239.1.2.3", "127.0.0.1"), 0);
  udp_close(host, id);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    POLICY_TEST(private_hosts),
    POLICY_TEST(allowed_address),
    POLICY_TEST(policy_of_the_socket),
    POLICY_TEST(listed_port),
    POLICY_TEST(empty_list),
    POLICY_TEST(required_list),
    POLICY_TEST(name_that_leads_home),
    POLICY_TEST(every_address_of_the_kind),
    POLICY_TEST(peer_that_leads_home),
    POLICY_TEST(refused_after_close),
    POLICY_TEST(refused_above_a_mark),
    POLICY_TEST(many_refused),
    POLICY_TEST(name_that_is_allowed),
    POLICY_TEST(name_on_the_list),
    POLICY_TEST(many_that_answer),
    POLICY_TEST(groups_are_private),
    POLICY_TEST(group_that_is_allowed),
    POLICY_TEST(group_on_the_list),
  };

  return cmocka_run_group_tests_name("udp_policy", tests, NULL, NULL);
}
