/* Scans for services against scripted responders, on loopback and on interfaces
 * that come and go. The program starts itself anew through unshare(1), in a
 * network namespace of its own: no other machine hears it. */
#include <sys/resource.h>

#include "mdns_peer.h"
#include "mdns_service.h"

enum {
  MANY = 300,
  SILENCE_MS = 300 /* in which nothing comes */
};

/* ---- Scans --------------------------------------------------------------- */

static nt_id_t scan_open(host_t* host) {
  nt_id_t id = 0;

  assert_int_equal(nt_mdns_open(host->net, &id), 0);
  assert_int_equal(nt_state(host->net, id), NT_STATE_IDLE);
  return id;
}

static int scan_try(host_t* host, nt_id_t id, const char* type) {
  nt_mdns_options_t options;

  nt_mdns_options_init(&options);
  options.service_type = type;
  return nt_mdns_start(host->net, id, &options);
}

static nt_id_t scan_start(host_t* host) {
  nt_id_t id = scan_open(host);

  assert_int_equal(scan_try(host, id, TYPE), 0);
  assert_int_equal(nt_state(host->net, id), NT_STATE_OPEN);
  return id;
}

static void scan_expect(host_t* host, nt_id_t id, nt_event_type_t type,
                        const char* name, nt_event_t* ev) {
  host_next(host, ev);
  assert_true(ev->id == id);
  if (ev->type != type)
    fail_msg("event %d (%s), not %d", ev->type,
             ev->service == NULL ? ev->message : ev->service->name, type);
  assert_string_equal(ev->service->name, name);
  assert_string_equal(ev->service->type, TYPE);
}

static void scan_found(host_t* host, nt_id_t id, const char* name, int port,
                       const char* ip) {
  nt_event_t ev;

  scan_expect(host, id, NT_EV_FOUND, name, &ev);
  assert_int_equal(ev.service->port, port);
  assert_string_equal(ev.service->ips[0], ip);
}

static void scan_lost(host_t* host, nt_id_t id, const char* name) {
  nt_event_t ev;

  scan_expect(host, id, NT_EV_SERVICE_LOST, name, &ev);
  assert_string_equal(ev.service->host, "");
  assert_null(ev.service->ips);
  assert_int_equal(ev.service->ip_count, 0);
  assert_int_equal(ev.service->txt_count, 0);
}

static void scan_end(host_t* host, nt_id_t id, int error) {
  nt_event_t ev;

  host_next(host, &ev);
  assert_true(ev.id == id);
  if (ev.type != NT_EV_END || ev.error != error)
    fail_msg("event %d, %s (%s)", ev.type, nt_error_name(ev.error), ev.message);
  assert_null(ev.service);
  assert_int_equal(nt_state(host->net, id), NT_STATE_DONE);
}

static void scan_stop(host_t* host, nt_id_t id) {
  assert_int_equal(nt_mdns_stop(host->net, id), 0);
  assert_int_equal(nt_mdns_stop(host->net, id), NT_E_NOT_OPEN);
  scan_end(host, id, 0);
  assert_int_equal(nt_mdns_stop(host->net, id), NT_E_NOT_OPEN);
}

static void expect_nothing(host_t* host, int ms) {
  nt_event_t ev;

  nt_wait(host->net, ms);
  if (nt_poll(host->net, &ev))
    fail_msg("event %d", ev.type);
}

static void expect_silence(host_t* host) {
  expect_nothing(host, SILENCE_MS);
}

/* ---- Life ---------------------------------------------------------------- */

static void calls(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id = scan_open(host);

  assert_int_equal(nt_mdns_stop(host->net, id), NT_E_NOT_OPEN);
  assert_int_equal(scan_try(host, id, NULL), NT_E_INVALID);
  assert_int_equal(scan_try(host, id, "_game"), NT_E_INVALID);
  assert_int_equal(nt_state(host->net, id), NT_STATE_IDLE);
  assert_false(responder_hears(&r, 50)); /* nothing is sent before the start */
  assert_int_equal(scan_try(host, id, TYPE ".local."), 0);
  assert_int_equal(scan_try(host, id, TYPE), NT_E_STATE);
  responder_expect(&r, NT__DNS_PTR, true);
  assert_int_equal(ntohs(r.from.sin_port), MDNS_PORT);
  scan_stop(host, id);
  assert_int_equal(scan_try(host, id, TYPE), NT_E_CLOSED);
  assert_int_equal(nt_mdns_stop(host->net, 12345), NT_E_NOT_OPEN);
  responder_close(&r);
}

static void all_fields(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id = scan_start(host);
  nt__dns_record_t* record;
  const nt_service_t* s;
  nt_event_t ev;
  packet_t p;

  responder_expect(&r, NT__DNS_PTR, true);
  packet_begin(&p);
  packet_ptr(&p, "Dot\\.dot \xc3\xbc." TYPE ".local", TTL);
  packet_srv(&p, "Dot\\.dot \xc3\xbc." TYPE ".local", "box.local", 65535, TTL);
  record =
      packet_record(&p, "Dot\\.dot \xc3\xbc." TYPE ".local", NT__DNS_TXT, TTL);
  record->data = (const void*) "\x07key=a\0b\x04"
                               "flag\x06"
                               "empty=\x06"
                               "Key=no\x03\x01=x";
  record->data_size = 8 + 5 + 7 + 7 + 4;
  packet_add(&p);
  packet_address(&p, "box.local", "127.0.0.1", TTL);
  packet_address(&p, "box.local", "10.1.2.3", TTL);
  packet_address(&p, "box.local", "2001:db8::1", TTL);
  responder_send(&r, &p, &r.from); /* by unicast, as it was asked */
  scan_expect(host, id, NT_EV_FOUND, "Dot.dot \xc3\xbc", &ev);
  s = ev.service;
  assert_string_equal(s->host, "box.local");
  assert_int_equal(s->port, 65535);
  assert_int_equal(s->ip_count, 3);
  assert_string_equal(s->ips[0], "127.0.0.1");
  assert_string_equal(s->ips[1], "10.1.2.3");
  assert_string_equal(s->ips[2], "2001:db8::1");
  assert_int_equal(s->txt_count, 3);
  assert_string_equal(s->txt[0].key, "key");
  assert_int_equal(s->txt[0].size, 3);
  assert_memory_equal(s->txt[0].value, "a\0b", 4);
  assert_string_equal(s->txt[1].key, "flag");
  assert_null(s->txt[1].value);
  assert_string_equal(s->txt[2].key, "empty");
  assert_string_equal(s->txt[2].value, "");
  scan_stop(host, id);
  responder_close(&r);
}

static void set_short_scan(nt_policy_t* policy) {
  policy->mdns_scan_ms = 300;
}

static void ends_in_time(void** state) {
  host_t* host = *state;
  uint64_t start = uv_hrtime();
  nt_id_t id;

  host_policy(host, set_short_scan);
  id = scan_start(host);
  scan_end(host, id, 0);
  assert_true(uv_hrtime() - start >= 290u * 1000000);
}

static void aborted(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id = scan_open(host);
  int i;

  nt_abort(host->net, id);
  scan_end(host, id, NT_E_ABORTED);
  for (i = 0; i < 3; i++) {
    id = scan_start(host);
    if (i > 0)
      responder_expect(&r, NT__DNS_PTR, true);
    if (i > 1) {
      responder_announce(&r, "Room", 1, "127.0.0.1", TTL);
      nt_wait(host->net, PATIENCE_MS);
    }
    nt_abort(host->net, id);
    assert_int_equal(nt_mdns_stop(host->net, id), NT_E_NOT_OPEN);
    scan_end(host, id, NT_E_ABORTED);
    while (i == 0 && responder_hears(&r, 20))
      ;
  }
  id = scan_start(host);
  assert_int_equal(nt_mdns_stop(host->net, id), 0);
  nt_abort(host->net, id);
  scan_end(host, id, NT_E_ABORTED);
  host_still_works(host);
  responder_close(&r);
}

/* Torn down with scans in every state; the sanitizers say the rest. */
static void closed_in_any_state(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id = scan_open(host);

  nt_abort(host->net, id);
  scan_open(host);
  id = scan_start(host);
  responder_expect(&r, NT__DNS_PTR, true);
  responder_announce(&r, "Room", 1, "127.0.0.1", TTL);
  nt_wait(host->net, PATIENCE_MS);
  scan_start(host);
  assert_int_equal(nt_mdns_stop(host->net, id), 0);
  responder_close(&r);
}

static void several_scans(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t ids[2];
  unsigned found = 0;
  nt_event_t ev;
  nt_context_t* other;

  ids[0] = scan_start(host);
  ids[1] = scan_start(host);
  assert_int_equal(nt_open(&other), 0);
  responder_expect(&r, NT__DNS_PTR, true);
  responder_expect(&r, NT__DNS_PTR, true);
  responder_announce(&r, "Room", 1, "127.0.0.1", TTL);
  while (found < 2) {
    host_next(host, &ev);
    assert_int_equal(ev.type, NT_EV_FOUND);
    assert_true(ev.id == ids[0] || ev.id == ids[1]);
    found++;
  }
  scan_stop(host, ids[0]);
  responder_announce(&r, "Hall", 2, "127.0.0.1", TTL);
  scan_found(host, ids[1], "Hall", 2, "127.0.0.1");
  scan_stop(host, ids[1]);
  nt_close(other, CLOSE_MS);
  responder_close(&r);
}

/* ---- Lost ---------------------------------------------------------------- */

static void goodbye(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id = scan_start(host);
  uint64_t start;

  responder_expect(&r, NT__DNS_PTR, true);
  responder_announce(&r, "Room", 1, "127.0.0.1", TTL);
  scan_found(host, id, "Room", 1, "127.0.0.1");
  start = uv_hrtime();
  responder_announce(&r, "Room", 1, "127.0.0.1", 0);
  scan_lost(host, id, "Room");
  assert_true(uv_hrtime() - start >= 490u * 1000000);
  scan_stop(host, id);
  responder_close(&r);
}

static void expiry(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id = scan_start(host);

  responder_expect(&r, NT__DNS_PTR, true);
  responder_announce(&r, "Room", 1, "127.0.0.1", 1);
  scan_found(host, id, "Room", 1, "127.0.0.1");
  assert_true(responder_hears(&r, PATIENCE_MS)); /* asked for again in time */
  scan_lost(host, id, "Room");
  scan_stop(host, id);
  responder_close(&r);
}

/* ---- Interfaces ---------------------------------------------------------- */

static void one_that_comes_and_goes(void** state) {
  host_t* host = *state;
  nt_id_t id = scan_start(host);
  responder_t r;

  run("ip link add lan0 type veth peer name far0 && ip link set far0 up");
  run("ip link set lan0 up");
  run("ip addr add 10.5.0.1/24 dev lan0");
  r = responder_open("10.5.0.1");
  responder_expect(&r, NT__DNS_PTR, true);
  responder_announce(&r, "Room", 1, "10.5.0.2", TTL);
  scan_found(host, id, "Room", 1, "10.5.0.2");
  /* With another address it is in another network. */
  run("ip addr del 10.5.0.1/24 dev lan0 && ip addr add 10.6.0.1/24 dev lan0");
  scan_lost(host, id, "Room");
  responder_close(&r);
  r = responder_open("10.6.0.1");
  responder_announce(&r, "Room", 1, "10.6.0.2", TTL);
  scan_found(host, id, "Room", 1, "10.6.0.2");
  run("ip link del lan0");
  scan_lost(host, id, "Room");
  responder_close(&r);
  r = responder_open("127.0.0.1");
  responder_announce(&r, "Room", 1, "127.0.0.1", TTL);
  scan_found(host, id, "Room", 1, "127.0.0.1");
  scan_stop(host, id);
  responder_close(&r);
}

/* More of them than a scan has use for. */
static void very_many(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id;

  run("for i in $(seq 36); do"
      "  echo link add many$i type veth peer name far$i;"
      "  echo link set many$i up;"
      "  echo link set far$i up;"
      "  echo addr add 10.7.$i.1/24 dev many$i; done | ip -batch -");
  id = scan_start(host);
  responder_expect(&r, NT__DNS_PTR, true);
  responder_announce(&r, "Room", 1, "127.0.0.1", TTL);
  scan_found(host, id, "Room", 1, "127.0.0.1");
  scan_stop(host, id);
  run("for i in $(seq 36); do echo link del many$i; done | ip -batch -");
  responder_close(&r);
}

static void none_at_all(void** state) {
  host_t* host = *state;
  nt_id_t id;
  responder_t r;

  run("ip link set lo down");
  id = scan_start(host);
  expect_silence(host);
  run("ip link set lo up");
  r = responder_open("127.0.0.1");
  responder_expect(&r, NT__DNS_PTR, true);
  responder_announce(&r, "Room", 1, "127.0.0.1", TTL);
  scan_found(host, id, "Room", 1, "127.0.0.1");
  scan_stop(host, id);
  responder_close(&r);
}

/* Whoever has the port for itself: answers come by unicast, to another. */
static void port_that_is_taken(void** state) {
  host_t* host = *state;
  struct sockaddr_in at = mdns_address("0.0.0.0", MDNS_PORT);
  responder_t owner = { .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
  struct ip_mreq group;
  nt_id_t id;
  packet_t p;

  assert_int_equal(bind(owner.fd, (void*) &at, sizeof(at)), 0);
  group.imr_multiaddr = mdns_address("224.0.0.251", 0).sin_addr;
  group.imr_interface = mdns_address("127.0.0.1", 0).sin_addr;
  assert_int_equal(setsockopt(owner.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group,
                              sizeof(group)),
                   0);
  id = scan_start(host);
  responder_expect(&owner, NT__DNS_PTR, true);
  assert_int_not_equal(ntohs(owner.from.sin_port), MDNS_PORT);
  packet_begin(&p);
  packet_service(&p, "Room", "box.local", 1, "127.0.0.1", TTL);
  responder_send(&owner, &p, &owner.from);
  scan_found(host, id, "Room", 1, "127.0.0.1");
  scan_stop(host, id);
  responder_close(&owner);
}

static void no_socket(void** state) {
  host_t* host = *state;
  nt_id_t warm = scan_start(host);
  struct rlimit old, few;
  nt_id_t id;
  nt_event_t ev;

  scan_stop(host, warm);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
  few = old;
  few.rlim_cur = 0;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
  id = scan_start(host);
  host_next(host, &ev);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
  assert_true(ev.id == id);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, NT_E_SYSTEM);
  assert_non_null(strstr(ev.message, "too many open files"));
  host_still_works(host);
}

/* ---- Hostile ------------------------------------------------------------- */

static void who_may_answer(void** state) {
  host_t* host = *state;
  responder_t port = responder_open_at("127.0.0.1", 5354, "0.0.0.0");
  responder_t far = responder_open_at("127.0.0.1", MDNS_PORT, "203.0.113.5");
  responder_t near = responder_open("127.0.0.1");
  nt_id_t id = scan_start(host);

  responder_expect(&near, NT__DNS_PTR, true);
  responder_announce(&port, "Port", 1, "127.0.0.1", TTL);
  responder_announce(&far, "Far", 1, "127.0.0.1", TTL);
  responder_announce(&near, "Near", 1, "127.0.0.1", TTL);
  scan_found(host, id, "Near", 1, "127.0.0.1");
  expect_silence(host);
  scan_stop(host, id);
  responder_close(&port);
  responder_close(&far);
  responder_close(&near);
}

static uint64_t refused(host_t* host) {
  nt_stats_t stats;

  nt_stats(host->net, &stats);
  return stats.services_refused;
}

static void set_few_services(nt_policy_t* policy) {
  policy->max_services = 2;
}

static void too_many_services(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id;

  host_policy(host, set_few_services);
  id = scan_start(host);
  responder_expect(&r, NT__DNS_PTR, true);
  responder_announce(&r, "A", 1, "127.0.0.1", TTL);
  responder_announce(&r, "B", 1, "127.0.0.1", TTL);
  responder_announce(&r, "C", 1, "127.0.0.1", TTL);
  responder_announce(&r, "D", 1, "127.0.0.1", TTL);
  scan_found(host, id, "A", 1, "127.0.0.1");
  scan_found(host, id, "B", 1, "127.0.0.1");
  expect_silence(host);
  assert_int_equal(refused(host), 2);
  responder_announce(&r, "A", 1, "127.0.0.1", 0);
  scan_lost(host, id, "A");
  responder_announce(&r, "D", 1, "127.0.0.1", TTL);
  scan_found(host, id, "D", 1, "127.0.0.1");
  scan_stop(host, id);
  responder_close(&r);
}

/* The largest messages there are, one behind the other: what is read of them is
 * bounded, and the loop serves others. */
static void flood(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id = scan_start(host);
  nt_event_t ev;
  packet_t p;
  unsigned i;

  packet_begin(&p);
  for (i = 0; i < 120; i++) {
    char name[64];

    snprintf(name, sizeof(name), "%u: a name that takes some room, a bit", i);
    packet_ptr(&p, name, TTL);
  }
  responder_expect(&r, NT__DNS_PTR, true);
  for (i = 0; i < 3000; i++)
    sendto(r.fd, p.bytes, p.writer.size, 0, (void*) &r.from, sizeof(r.from));
  host_end(host, host_get(host, "/hello"), &ev);
  assert_int_equal(ev.status, 200);
  nt_abort(host->net, id);
  scan_end(host, id, NT_E_ABORTED);
  responder_close(&r);
}

/* What nobody listens to makes a socket pause, too, but no longer than the rest
 * does. */
static void flood_of_strangers(void** state) {
  host_t* host = *state;
  responder_t stranger = responder_open_at("127.0.0.1", 5354, "0.0.0.0");
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id = scan_start(host);
  nt_event_t ev;
  int i;

  responder_expect(&r, NT__DNS_PTR, true);
  for (i = 0; i < 510; i++)
    responder_announce(&stranger, "Stranger", 1, "127.0.0.1", TTL);
  i = 0;
  do {
    assert_true(i++ < 30); /* of 20 ms; however long this thread is stopped */
    responder_announce(&r, "Room", 1, "127.0.0.1", TTL);
    nt_wait(host->net, 20);
  } while (nt_poll(host->net, &ev) == 0);
  assert_int_equal(ev.type, NT_EV_FOUND);
  assert_string_equal(ev.service->name, "Room");
  scan_stop(host, id);
  responder_close(&stranger);
  responder_close(&r);
}

/* The name that a reader has most to do with: of 127 labels, each behind a
 * pointer. It lies in data, `first` says where it begins. */
static void write_long_chain(packet_t* p, unsigned* first) {
  static unsigned char data[1 + 4 * 126];
  nt__dns_record_t* record = packet_record(p, ".", NT__DNS_TXT, TTL);
  unsigned at = NT__DNS_HEADER_SIZE + 11; /* behind the root and the numbers */
  unsigned to = at;
  size_t i;

  for (i = 1; i < sizeof(data); i += 4) {
    data[i] = 1;
    data[i + 1] = 'a';
    data[i + 2] = (unsigned char) (0xc0 | to >> 8);
    data[i + 3] = (unsigned char) to;
    to = at + (unsigned) i;
  }
  record->data = data;
  record->data_size = sizeof(data);
  packet_add(p);
  *first = to;
}

/* As many records as there is room for, each with that name twice. */
static void write_slow(packet_t* p) {
  static const unsigned char rest[] = {
    0, NT__DNS_PTR, 0, 1, 0, 0, 0, 1, 0, 2
  };
  unsigned char* at;
  unsigned count = 1;
  unsigned first;

  packet_begin(p);
  write_long_chain(p, &first);
  at = p->bytes + p->writer.size;
  for (; at + 14 <= p->bytes + sizeof(p->bytes); at += 14, count++) {
    at[0] = at[12] = (unsigned char) (0xc0 | first >> 8);
    at[1] = at[13] = (unsigned char) first;
    memcpy(at + 2, rest, sizeof(rest));
  }
  p->bytes[6] = (unsigned char) (count >> 8);
  p->bytes[7] = (unsigned char) count;
  p->writer.size = (size_t) (at - p->bytes);
}

/* The least of some: what else the machine does is not counted. */
static uint64_t time_to_take(const packet_t* p) {
  static const nt__mdns_origin_t from;
  char text[NT__MDNS_TYPE_SIZE];
  nt__mdns_cache_t cache;
  uint64_t least = UINT64_MAX;

  assert_true(nt__mdns_parse_type(TYPE, &cache.question, &cache.type, text));
  nt__mdns_cache_init(&cache, 1, 1, 1);
  for (int i = 0; i < 10; i++) {
    uint64_t start = uv_hrtime();
    uint64_t took;

    nt__mdns_take(&cache, p->bytes, p->writer.size, &from, 1);
    took = uv_hrtime() - start;
    if (took < least)
      least = took;
  }
  return least;
}

static uint64_t bytes_in(host_t* host) {
  nt_stats_t stats;

  nt_stats(host->net, &stats);
  return stats.bytes_in;
}

/* Messages of 40 ms of work together are not taken in one go: 10 ms of it, and
 * then nothing for the rest of 100. The first 100 may have begun before. */
static void flood_of_work(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_id_t id = scan_start(host);
  uint64_t each, count, before, start;
  packet_t p;
  uint64_t i;

  write_slow(&p);
  each = time_to_take(&p);
  count = 40000000 / each + 1;
  if (count > 20) /* what a socket has room for */
    count = 20;
  responder_expect(&r, NT__DNS_PTR, true);
  before = bytes_in(host);
  start = uv_hrtime();
  for (i = 0; i < count; i++)
    responder_send(&r, &p, &r.from);
  while (bytes_in(host) - before < count * p.writer.size)
    expect_nothing(host, 5);
  if (count * each >= 25u * 1000000)
    assert_true(uv_hrtime() - start >= 50u * 1000000);
  scan_stop(host, id);
  responder_close(&r);
}

/* ---- A host that does not listen ----------------------------------------- */

static void set_low_mark(nt_policy_t* policy) {
  policy->task_high_water = 64 * 1024;
  policy->max_services = MANY;
}

static void above_the_mark(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  static bool seen[MANY];
  nt_stats_t stats;
  nt_event_t ev;
  nt_id_t id;
  int i;

  host_policy(host, set_low_mark);
  id = scan_start(host);
  responder_expect(&r, NT__DNS_PTR, true);
  for (i = 0; i < MANY; i++) {
    char name[16];

    snprintf(name, sizeof(name), "%d", i);
    responder_announce(&r, name, i + 1, "127.0.0.1", TTL);
  }
  assert_true(responder_hears(&r, PATIENCE_MS)); /* a second is over */
  nt_collect(host->net);
  nt_stats(host->net, &stats);
  assert_true(stats.waiting_bytes < 64 * 1024 + 1024);
  for (i = 0; i < MANY; i++) {
    int n;

    host_next(host, &ev);
    assert_int_equal(ev.type, NT_EV_FOUND);
    n = (int) strtol(ev.service->name, NULL, 10);
    assert_int_equal(ev.service->port, n + 1);
    assert_false(seen[n]);
    seen[n] = true;
  }
  expect_silence(host);
  scan_stop(host, id);
  responder_close(&r);
}

/* ---- Policy -------------------------------------------------------------- */

static void refuse_private(host_t* host, const char* allowed) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.flags |= NT_POLICY_REFUSE_PRIVATE;
  policy.allow_private.items = &allowed;
  policy.allow_private.count = allowed != NULL;
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
}

static void refused_by_policy(void** state) {
  static const char* const others[] = { NULL, "127.0.0.0/8", "224.0.0.250",
                                        "ff02::fc", "box.local" };
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  nt_event_t ev;
  size_t i;

  for (i = 0; i < COUNT(others); i++) {
    nt_id_t id = scan_open(host);

    refuse_private(host, others[i]);
    assert_int_equal(scan_try(host, id, "_game"), NT_E_INVALID);
    assert_int_equal(scan_try(host, id, TYPE), NT_E_PRIVATE);
    assert_int_equal(nt_state(host->net, id), NT_STATE_IDLE);
    host_next(host, &ev);
    assert_int_equal(ev.type, NT_EV_REFUSED);
    assert_true(ev.id == id);
    assert_int_equal(ev.error, NT_E_PRIVATE);
    assert_string_equal(ev.message, "udp://224.0.0.251:5353");
    nt_abort(host->net, id);
    scan_end(host, id, NT_E_ABORTED);
  }
  assert_false(responder_hears(&r, 50));
  responder_close(&r);
}

static uint64_t bytes_out(host_t* host) {
  nt_stats_t stats;

  nt_stats(host->net, &stats);
  return stats.bytes_out;
}

static void allowed_by_policy(void** state) {
  static const char* const groups[] = { "224.0.0.251", "224.0.0.0/4",
                                        "0.0.0.0/0" };
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  size_t i;

  for (i = 0; i < COUNT(groups); i++) {
    nt_id_t id;

    refuse_private(host, groups[i]);
    id = scan_start(host);
    responder_expect(&r, NT__DNS_PTR, true);
    responder_announce(&r, "Room", 1, "10.1.2.3", TTL);
    scan_found(host, id, "Room", 1, "10.1.2.3"); /* where nobody connects */
    scan_stop(host, id);
  }
  responder_close(&r);
}

/* A question to each family, or to the one whose group is allowed. */
static void each_family_by_its_group(void** state) {
  host_t* host = *state;
  responder_t r = responder_open("127.0.0.1");
  uint64_t before = bytes_out(host);
  nt_id_t id;

  run("ip link add pair0 type veth peer name pair1");
  run("echo 0 >/proc/sys/net/ipv6/conf/pair0/accept_dad");
  run("ip link set pair0 up && ip link set pair1 up");
  refuse_private(host, "ff02::/16");
  id = scan_start(host);
  while (bytes_out(host) == before)
    expect_nothing(host, 5);
  assert_false(responder_hears(&r, SILENCE_MS));
  scan_stop(host, id);
  run("ip link del pair0");
  responder_close(&r);
}

static int set_up_network(void** state) {
  (void) state;
  run("ip link set lo up");
  return 0;
}

int main(int argc, char** argv) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(calls),
    HOST_TEST(all_fields),
    HOST_TEST(ends_in_time),
    HOST_TEST(aborted),
    HOST_TEST(closed_in_any_state),
    HOST_TEST(several_scans),
    HOST_TEST(goodbye),
    HOST_TEST(expiry),
    HOST_TEST(one_that_comes_and_goes),
    HOST_TEST(very_many),
    HOST_TEST(none_at_all),
    HOST_TEST(port_that_is_taken),
    HOST_TEST(no_socket),
    HOST_TEST(who_may_answer),
    HOST_TEST(too_many_services),
    HOST_TEST(flood),
    HOST_TEST(flood_of_strangers),
    HOST_TEST(flood_of_work),
    HOST_TEST(above_the_mark),
    HOST_TEST(refused_by_policy),
    HOST_TEST(allowed_by_policy),
    HOST_TEST(each_family_by_its_group),
  };

  if (argc > 0 && getenv(INSIDE) == NULL)
    return go_inside(argv[0]);
  return cmocka_run_group_tests_name("mdns", tests, set_up_network, NULL);
}
