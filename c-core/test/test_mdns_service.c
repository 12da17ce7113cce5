/* What a scan knows, tells and asks, with a clock of the test's own and no
 * network: each step is an instant, what happened in it a line of text. */
#include <stdlib.h>

#include "mdns_packet.h"
/* Needs cmocka. */
#include "guard.h"
#include "mdns_service.h"

enum {
  LOG_SIZE = 16384,
  MOST_STEPS = 100000,
  LONG = 4500 /* TTL */
};

typedef struct world {
  nt__mdns_cache_t cache;
  uint64_t now;
  packet_t packet;
  nt__mdns_origin_t from;     /* of the next packet */
  nt__mdns_telling_t refuses; /* to be told */
  char told[LOG_SIZE];
  char asked[LOG_SIZE];
} world_t;

static void write_to(char* log, const char* text) {
  size_t size = strlen(log);

  assert_true(size + strlen(text) < LOG_SIZE);
  memcpy(log + size, text, strlen(text) + 1);
}

/* ---- The world ----------------------------------------------------------- */

static const nt__mdns_origin_t first_interface = { .interface = 0,
                                                   .zone = 987654 };
static const nt__mdns_origin_t other_interface = { .interface = 3,
                                                   .zone = 987655 };

static int set_up(void** state) {
  char text[NT__MDNS_TYPE_SIZE];
  world_t* w = calloc(1, sizeof(*w));

  if (w == NULL ||
      !nt__mdns_parse_type(TYPE, &w->cache.question, &w->cache.type, text))
    return -1;
  w->now = 1000;
  w->from = first_interface;
  nt__mdns_cache_init(&w->cache, 256, 7, w->now);
  packet_begin(&w->packet);
  *state = w;
  return 0;
}

static int tear_down(void** state) {
  world_t* w = *state;
  bool hosts_left;

  nt__mdns_cache_free(&w->cache);
  hosts_left = !nt__list_empty(&w->cache.hosts);
  free(w);
  return hosts_left ? -1 : 0;
}

#define WORLD_TEST(name)                                                       \
  cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void write_addresses(world_t* w, const nt__mdns_service_t* service) {
  nt__sockaddr_t list[NT__MDNS_ADDRESSES];
  size_t count = nt__mdns_addresses(service, list);
  char ip[NT__IP_SIZE];
  size_t i;

  for (i = 0; i < count; i++) {
    nt__address_write(&list[i], ip);
    write_to(w->told, i == 0 ? " " : ",");
    write_to(w->told, ip);
  }
}

/* "FOUND Room:4711 10.0.0.1" */
static nt__mdns_telling_t tell(void* owner, const nt__mdns_service_t* service,
                               nt__mdns_told_t what) {
  static const char* const names[] = { "?", "FOUND", "LOST", "FAILED" };
  world_t* w = owner;
  char label[NT__DNS_LABEL_MAX + 1];
  char line[128];

  if (w->refuses != NT__MDNS_DONE)
    return w->refuses;
  nt__dns_name_label(&service->name, label);
  snprintf(line, sizeof(line), "%s %s", names[what], label);
  write_to(w->told, line);
  if (what == NT__MDNS_FOUND) {
    snprintf(line, sizeof(line), ":%d", service->port);
    write_to(w->told, line);
    write_addresses(w, service);
  }
  write_to(w->told, "\n");
  return NT__MDNS_DONE;
}

static const char* type_name(uint16_t type) {
  switch (type) {
    case NT__DNS_PTR:
      return "PTR";
    case NT__DNS_SRV:
      return "SRV";
    case NT__DNS_TXT:
      return "TXT";
    case NT__DNS_A:
      return "A";
    case NT__DNS_AAAA:
      return "AAAA";
    default:
      return "?";
  }
}

/* "PTR SRV:Room A:box knows 2 TC" */
static void note_question(void* owner, const void* data, size_t size) {
  world_t* w = owner;
  nt__dns_reader_t reader;
  unsigned known = 0;
  char line[128];

  assert_true(size <= NT__DNS_PACKET_MAX);
  assert_true(nt__dns_reader_init(&reader, data, size));
  while (nt__dns_reader_next(&reader) == NT__DNS_ENTRY) {
    const nt__dns_record_t* r = &reader.record;
    char label[NT__DNS_LABEL_MAX + 1];

    known += r->section == NT__DNS_ANSWER;
    if (r->section != NT__DNS_QUESTION)
      continue;
    nt__dns_name_label(&r->name, label);
    snprintf(line, sizeof(line), "%s%s%s%s ", type_name(r->type),
             r->type == NT__DNS_PTR ? "" : ":",
             r->type == NT__DNS_PTR ? "" : label, r->unicast ? " QU" : "");
    write_to(w->asked, line);
  }
  snprintf(line, sizeof(line), known > 0 ? "knows %u" : "%.0u", known);
  write_to(w->asked, line);
  write_to(w->asked, reader.flags & NT__DNS_TRUNCATED ? " TC\n" : "\n");
}

/* What the turn of the loop does; returns when the next one is due. */
static uint64_t step(world_t* w) {
  uint64_t due = nt__mdns_advance(&w->cache, w->now, tell, w);

  if (nt__mdns_choose(&w->cache, w->now))
    nt__mdns_write(&w->cache, w->from.interface, w->now, note_question, w);
  return nt__mdns_earlier(due, nt__mdns_question_due(&w->cache));
}

/* Lets the time go on, from one instant at which something is due to the next:
 * each has to be later than the one before. */
static void pass(world_t* w, uint64_t ms) {
  uint64_t end = w->now + ms;
  unsigned steps = 0;

  for (;;) {
    uint64_t due = step(w);

    assert_true(due > w->now);
    assert_true(++steps < MOST_STEPS);
    if (due > end)
      break;
    w->now = due;
  }
  w->now = end;
}

static void hear(world_t* w) {
  nt__mdns_take(&w->cache, w->packet.bytes, w->packet.writer.size, &w->from,
                w->now);
  packet_begin(&w->packet);
  step(w);
}

static void hear_service(world_t* w, const char* instance, const char* host,
                         int port, const char* ip, uint32_t ttl) {
  packet_service(&w->packet, instance, host, port, ip, ttl);
  hear(w);
}

static void expect_told(world_t* w, const char* text) {
  assert_string_equal(w->told, text);
  w->told[0] = '\0';
}

static void expect_asked(world_t* w, const char* text) {
  assert_string_equal(w->asked, text);
  w->asked[0] = '\0';
}

static void ignore_questions(world_t* w) {
  w->asked[0] = '\0';
}

/* ---- Types --------------------------------------------------------------- */

static void types(void** state) {
  static const struct {
    const char* given;
    const char* text; /* NULL: it is none */
    const char* question;
  } cases[] = {
    { "_http._tcp", "_http._tcp", "_http._tcp.local" },
    { "_http._tcp.", "_http._tcp", "_http._tcp.local" },
    { "_http._tcp.local", "_http._tcp", "_http._tcp.local" },
    { "_http._tcp.local.", "_http._tcp", "_http._tcp.local" },
    { "_http._tcp.LOCAL.", "_http._tcp", "_http._tcp.local" },
    { "_Game._UDP", "_Game._UDP", "_Game._UDP.local" },
    { "_printer._sub._http._tcp", "_http._tcp",
      "_printer._sub._http._tcp.local" },
    { "a b._SUB._http._tcp.local", "_http._tcp", "a b._SUB._http._tcp.local" },
    { "", NULL, NULL },
    { ".", NULL, NULL },
    { "_tcp", NULL, NULL },
    { "_tcp.local", NULL, NULL },
    { "http._tcp", NULL, NULL },
    { "_._tcp", NULL, NULL },
    { "_http._sctp", NULL, NULL },
    { "_http._tcp..", NULL, NULL },
    { "._http._tcp", NULL, NULL },
    { "_http._tcp.example", NULL, NULL },
    { "_http._tcp.local.local", NULL, NULL },
    { "x._http._tcp", NULL, NULL },
    { "x.sub._http._tcp", NULL, NULL },
    { "x.y._sub._http._tcp", NULL, NULL },
    { "_http._tcp\\000x", NULL, NULL },
    { "_http._tcp.local\\000", NULL, NULL },
    { "_a._sub\\000._http._tcp", NULL, NULL },
    { "_0123456789012345678901234567890123456789012345678901234567890123._tcp",
      NULL, NULL },
  };
  char text[NT__MDNS_TYPE_SIZE];
  char question[NT__DNS_TEXT_SIZE];
  nt__dns_name_t q, t;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    bool good = nt__mdns_parse_type(cases[i].given, &q, &t, text);

    if (good != (cases[i].text != NULL))
      fail_msg("%s: %d", cases[i].given, good);
    if (!good)
      continue;
    assert_string_equal(text, cases[i].text);
    nt__dns_name_write(&q, question);
    assert_string_equal(question, cases[i].question);
    nt__dns_name_write(&t, question);
    assert_memory_equal(question, text, strlen(text));
    assert_string_equal(question + strlen(text), ".local");
  }
}

/* ---- Found --------------------------------------------------------------- */

static void all_at_once(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 4711, "10.0.0.1", LONG);
  expect_told(w, "FOUND Room:4711 10.0.0.1\n");
  hear_service(w, "Room", "box.local", 4711, "10.0.0.1", LONG);
  expect_told(w, "");
}

static void in_any_order(void** state) {
  world_t* w = *state;

  packet_address(&w->packet, "box.local", "10.0.0.1", LONG);
  packet_txt(&w->packet, "Room", "a=b", LONG);
  packet_srv(&w->packet, "Room", "box.local", 1, LONG);
  packet_ptr(&w->packet, "Room", LONG);
  hear(w);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
}

/* What does not come by itself is asked for at once. */
static void step_by_step(void** state) {
  world_t* w = *state;

  packet_ptr(&w->packet, "Room", LONG);
  hear(w);
  expect_asked(w, "SRV:Room TXT:Room \n");
  packet_srv(&w->packet, "Room", "box.local", 1, LONG);
  packet_txt(&w->packet, "Room", "a=b", LONG);
  hear(w);
  expect_asked(w, "A:box AAAA:box \n");
  expect_told(w, "");
  packet_address(&w->packet, "box.local", "10.0.0.1", LONG);
  hear(w);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
}

static void letters_of_either_case(void** state) {
  world_t* w = *state;

  packet_record(&w->packet, "_GAME._tcp.LOCAL", NT__DNS_PTR, LONG)->target =
      packet_name("RoOm._Game._TCP.local");
  packet_add(&w->packet);
  packet_srv(&w->packet, "room", "BOX.local", 1, LONG);
  packet_txt(&w->packet, "ROOM", "a", LONG);
  packet_address(&w->packet, "box.LOCAL", "10.0.0.1", LONG);
  hear(w);
  expect_told(w, "FOUND RoOm:1 10.0.0.1\n");
  packet_ptr(&w->packet, "ROOM", LONG);
  hear(w);
  expect_told(w, "");
}

/* Answers take up to 120 ms, those over IPv4 and IPv6 each for itself. */
static void ipv4_is_waited_for(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "fe80::1", LONG);
  expect_asked(w, "A:box \n");
  pass(w, 100);
  packet_address(&w->packet, "box.local", "10.0.0.1", LONG);
  hear(w);
  expect_told(w, "FOUND Room:1 10.0.0.1,fe80::1%987654\n");
}

static void ipv6_alone(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "fe80::1", LONG);
  packet_address(&w->packet, "box.local", "2001:db8::1", LONG);
  hear(w);
  pass(w, 149);
  expect_told(w, "");
  pass(w, 1);
  expect_told(w, "FOUND Room:1 2001:db8::1,fe80::1%987654\n");
  packet_address(&w->packet, "box.local", "10.0.0.1", LONG);
  hear(w);
  expect_told(w, "FOUND Room:1 10.0.0.1,2001:db8::1,fe80::1%987654\n");
}

static void without_txt(void** state) {
  world_t* w = *state;

  packet_ptr(&w->packet, "Room", LONG);
  packet_srv(&w->packet, "Room", "box.local", 1, LONG);
  packet_address(&w->packet, "box.local", "10.0.0.1", LONG);
  hear(w);
  expect_asked(w, "TXT:Room \n");
  pass(w, 150);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
  packet_txt(&w->packet, "Room", "late=1", LONG);
  hear(w);
  expect_told(w, "");
}

static void several(void** state) {
  world_t* w = *state;
  const char* text = "";
  unsigned i;

  for (i = 0; i < 3; i++) {
    char name[16];

    snprintf(name, sizeof(name), "Room %u", i);
    packet_service(&w->packet, name, "box.local", (int) i + 1, "10.0.0.1",
                   LONG);
    packet_address(&w->packet, "box.local", "169.254.3.4", LONG);
    packet_address(&w->packet, "box.local", "10.0.0.2", LONG);
  }
  hear(w);
  text =
      "FOUND Room 0:1 10.0.0.1,10.0.0.2,169.254.3.4\n"
      "FOUND Room 1:2 10.0.0.1,10.0.0.2,169.254.3.4\n"
      "FOUND Room 2:3 10.0.0.1,10.0.0.2,169.254.3.4\n";
  expect_told(w, text);
}

static void once_on_all_interfaces(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  w->from = other_interface;
  hear_service(w, "Room", "box.local", 1, "192.168.0.1", LONG);
  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
  hear_service(w, "Room", "box.local", 2, "10.0.0.1", LONG);
  expect_told(w, ""); /* is of the first one's network to say */
}

/* Two boxes of one name in two networks. */
static void hosts_of_one_name(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  w->from = other_interface;
  hear_service(w, "Hall", "box.local", 1, "10.0.0.9", LONG);
  expect_told(w, "FOUND Room:1 10.0.0.1\nFOUND Hall:1 10.0.0.9\n");
}

/* ---- Changed ------------------------------------------------------------- */

static void moves_to_another_port(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  hear_service(w, "Room", "box.local", 2, "10.0.0.1", LONG);
  expect_told(w, "FOUND Room:1 10.0.0.1\nFOUND Room:2 10.0.0.1\n");
}

static void moves_to_another_address(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
  pass(w, 2000);
  packet_address(&w->packet, "box.local", "10.0.0.2", LONG);
  hear(w);
  expect_told(w, "FOUND Room:1 10.0.0.2,10.0.0.1\n");
  pass(w, 2000);
  packet_address(&w->packet, "box.local", "10.0.0.2", LONG);
  packet_address(&w->packet, "box.local", "10.0.0.3", LONG);
  hear(w);
  expect_told(w, ""); /* the first one is what it was */
}

/* Nothing is lost while the new host's address is asked for. */
static void moves_to_another_host(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  w->told[0] = '\0';
  packet_srv(&w->packet, "Room", "other.local", 1, LONG);
  hear(w);
  pass(w, 500);
  packet_address(&w->packet, "other.local", "10.0.0.9", LONG);
  hear(w);
  expect_told(w, "FOUND Room:1 10.0.0.9\n");
  packet_srv(&w->packet, "Room", "nowhere.local", 1, LONG);
  hear(w);
  pass(w, 1000);
  expect_told(w, "LOST Room\n");
  pass(w, 10000);
  expect_told(w, "");
  packet_address(&w->packet, "nowhere.local", "10.0.0.8", LONG);
  hear(w);
  expect_told(w, "FOUND Room:1 10.0.0.8\n");
}

/* ---- Lost ---------------------------------------------------------------- */

static void goodbye(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  pass(w, 2500);
  w->told[0] = '\0';
  ignore_questions(w);
  hear_service(w, "Room", "box.local", 1, "10.0.0.1", 0);
  expect_asked(w, "PTR \n"); /* is there another that has it? */
  pass(w, 499);
  expect_told(w, "");
  pass(w, 1);
  expect_told(w, "LOST Room\n");
  assert_int_equal(w->cache.count, 0);
  hear_service(w, "Room", "box.local", 1, "10.0.0.1", 0);
  expect_told(w, "");
  assert_int_equal(w->cache.count, 0);
}

static void goodbye_that_is_not_true(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  hear_service(w, "Room", "box.local", 1, "10.0.0.1", 0);
  pass(w, 400);
  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  pass(w, 60000);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
}

/* Of the service alone, its host stays. */
static void goodbye_of_one_record(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  w->told[0] = '\0';
  packet_address(&w->packet, "box.local", "10.0.0.1", 0);
  hear(w);
  pass(w, 1500);
  expect_told(w, "LOST Room\n");
  packet_address(&w->packet, "box.local", "10.0.0.1", LONG);
  hear(w);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
  packet_srv(&w->packet, "Room", "box.local", 1, 0);
  hear(w);
  pass(w, 1500);
  expect_told(w, "LOST Room\n");
}

static void expiry(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", 4);
  w->told[0] = '\0';
  pass(w, 3190);
  ignore_questions(w);
  pass(w, 809);
  expect_told(w, "");
  /* Asked for again at 80, 85, 90 and 95 %, and a bit. */
  assert_non_null(strstr(w->asked, "PTR"));
  assert_non_null(strstr(w->asked, "SRV:Room"));
  assert_non_null(strstr(w->asked, "A:box"));
  assert_null(strstr(w->asked, "knows"));
  pass(w, 1);
  expect_told(w, "LOST Room\n");
}

/* One that answers lives on, however short its records live. */
static void refreshed_in_time(void** state) {
  world_t* w = *state;
  unsigned i;

  for (i = 0; i < 20; i++) {
    hear_service(w, "Room", "box.local", 1, "10.0.0.1", 4);
    ignore_questions(w);
    while (strstr(w->asked, "SRV:Room") == NULL)
      pass(w, 10);
    pass(w, 120);
  }
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
  assert_true(w->now > 20 * 3000);
}

static void legacy_answers_live_briefly(void** state) {
  world_t* w = *state;

  w->from.legacy = true;
  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  pass(w, 9999);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
  pass(w, 1);
  expect_told(w, "LOST Room\n");
}

static void interface_gone(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  hear_service(w, "Hall", "hall.local", 1, "10.0.0.2", LONG);
  w->from = other_interface;
  hear_service(w, "Hall", "hall.local", 1, "192.168.0.2", LONG);
  w->told[0] = '\0';
  nt__mdns_forget(&w->cache, 0, w->now);
  step(w);
  expect_told(w, "LOST Room\nFOUND Hall:1 192.168.0.2\n");
  hear_service(w, "Hall", "hall.local", 2, "192.168.0.2", LONG);
  expect_told(w, "FOUND Hall:2 192.168.0.2\n");
  nt__mdns_forget(&w->cache, 3, w->now);
  step(w);
  expect_told(w, "LOST Hall\n");
}

/* ---- Not resolved -------------------------------------------------------- */

static void no_address(void** state) {
  world_t* w = *state;

  packet_ptr(&w->packet, "Room", LONG);
  hear(w);
  pass(w, 4999);
  expect_told(w, "");
  /* At once, after a second, two and four. */
  expect_asked(w,
               "SRV:Room TXT:Room \n"
               "SRV:Room TXT:Room PTR knows 1\n"
               "SRV:Room TXT:Room PTR knows 1\n");
  pass(w, 1);
  expect_told(w, "FAILED Room\n");
  pass(w, 60000);
  expect_told(w, "");
  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
}

static void gone_before_it_was_resolved(void** state) {
  world_t* w = *state;

  packet_ptr(&w->packet, "Room", LONG);
  packet_ptr(&w->packet, "Hall", 2);
  hear(w);
  packet_ptr(&w->packet, "Room", 0);
  hear(w);
  pass(w, 6000);
  expect_told(w, "");
  assert_int_equal(w->cache.count, 0);
}

/* ---- Telling ------------------------------------------------------------- */

static void told_later(void** state) {
  world_t* w = *state;

  w->refuses = NT__MDNS_AGAIN;
  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  pass(w, 1000);
  w->refuses = NT__MDNS_DONE;
  pass(w, 100);
  expect_told(w, "FOUND Room:1 10.0.0.1\n");
}

/* A host that does not listen: no turn is wasted on it, and then it hears the
 * newest alone. */
static void not_told_meanwhile(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", LONG);
  w->told[0] = '\0';
  w->refuses = NT__MDNS_HELD;
  hear_service(w, "Room", "box.local", 2, "10.0.0.1", 2);
  hear_service(w, "Hall", "hall.local", 2, "10.0.0.1", LONG);
  hear_service(w, "Hall", "hall.local", 3, "10.0.0.1", LONG);
  pass(w, 10000);
  w->refuses = NT__MDNS_DONE;
  step(w);
  expect_told(w, "LOST Room\nFOUND Hall:3 10.0.0.1\n");
  assert_int_equal(w->cache.count, 1);
}

/* ---- Asking -------------------------------------------------------------- */

static void ever_more_rarely(void** state) {
  world_t* w = *state;

  nt__mdns_write_first(&w->cache, note_question, w);
  expect_asked(w, "PTR QU \n");
  pass(w, 999);
  expect_asked(w, "");
  pass(w, 1);
  expect_asked(w, "PTR \n");
  pass(w, 1999);
  expect_asked(w, "");
  pass(w, 1);
  expect_asked(w, "PTR \n");
  pass(w, 28000);
  expect_asked(w, "PTR \nPTR \nPTR \n"); /* after 4, 8 and 16 seconds */
  nt__mdns_restart(&w->cache, w->now);
  pass(w, 3000);
  expect_asked(w, "PTR \nPTR \n");
  pass(w, 24u * 60 * 60 * 1000);
  assert_true(strlen(w->asked) < (24 + 12) * strlen("PTR \n"));
}

static void what_is_known(void** state) {
  world_t* w = *state;

  hear_service(w, "Room", "box.local", 1, "10.0.0.1", 10);
  hear_service(w, "Hall", "box.local", 1, "10.0.0.1", LONG);
  w->from = other_interface;
  hear_service(w, "Yard", "yard.local", 1, "192.168.0.1", LONG);
  w->from = first_interface;
  ignore_questions(w);
  pass(w, 1100);
  assert_non_null(strstr(w->asked, "AAAA:box PTR knows 2\n"));
  ignore_questions(w);
  pass(w, 5900); /* more than half of the first one's life */
  expect_asked(w, "PTR knows 2\nPTR knows 1\n");
}

static void more_than_goes_into_one(void** state) {
  enum {
    SERVICES = 200
  };
  world_t* w = *state;
  const char* line;
  unsigned i, sum = 0, part;
  unsigned messages = 0;

  for (i = 0; i < SERVICES; i++) {
    char name[64];

    snprintf(name, sizeof(name), "A room with a rather long name, number %u",
             i);
    hear_service(w, name, "box.local", 1, "10.0.0.1", LONG);
  }
  ignore_questions(w);
  w->told[0] = '\0';
  pass(w, 1000);
  for (line = w->asked; *line != '\0'; line = strchr(line, '\n') + 1) {
    const char* knows = strstr(line, "knows ");

    assert_non_null(knows);
    assert_int_equal(sscanf(knows, "knows %u", &part), 1);
    assert_int_equal(knows > line, messages == 0); /* with the question */
    sum += part;
    messages++;
    assert_int_equal(strncmp(strchr(line, '\n') - 2, "TC", 2) == 0,
                     sum < SERVICES);
  }
  assert_int_equal(sum, SERVICES);
  assert_true(messages > 5);
}

/* Questions are spread over as many messages as they need. */
static void many_questions(void** state) {
  world_t* w = *state;
  unsigned i;
  const char* at;
  unsigned count = 0;

  for (i = 0; i < 100; i++) {
    char name[64];

    snprintf(name, sizeof(name), "A room with a rather long name, number %u",
             i);
    packet_ptr(&w->packet, name, LONG);
  }
  hear(w);
  for (at = w->asked; (at = strstr(at, "SRV:A room")) != NULL; at++)
    count++;
  assert_int_equal(count, 100);
}

/* ---- Hostile ------------------------------------------------------------- */

static void no_more_than_allowed(void** state) {
  world_t* w = *state;
  unsigned i;

  w->cache.max = 2;
  for (i = 0; i < 5; i++) {
    char name[16];

    snprintf(name, sizeof(name), "Room %u", i);
    hear_service(w, name, "box.local", 1, "10.0.0.1", i == 0 ? 1 : LONG);
  }
  expect_told(w, "FOUND Room 0:1 10.0.0.1\nFOUND Room 1:1 10.0.0.1\n");
  assert_int_equal(w->cache.refused, 3);
  pass(w, 1000);
  hear_service(w, "Room 9", "box.local", 1, "10.0.0.1", LONG);
  expect_told(w, "LOST Room 0\nFOUND Room 9:1 10.0.0.1\n");
}

static void too_many_addresses(void** state) {
  world_t* w = *state;
  unsigned i;

  packet_ptr(&w->packet, "Room", LONG);
  packet_srv(&w->packet, "Room", "box.local", 1, LONG);
  packet_txt(&w->packet, "Room", "a", LONG);
  for (i = 0; i < 100; i++) {
    char ip[32];

    snprintf(ip, sizeof(ip), "10.0.1.%u", i);
    packet_address(&w->packet, "box.local", ip, LONG);
  }
  hear(w);
  assert_non_null(strstr(w->told, ",10.0.1.15\n"));
}

static void addresses_that_nobody_has(void** state) {
  static const char* const none[] = {
    "127.0.0.1",      "127.1.2.3", "0.0.0.0", "0.1.2.3", "224.0.0.1",
    "240.0.0.1",      "::",        "::1",     "ff02::1", "255.255.255.255",
    "::ffff:10.0.0.1"
  };
  world_t* w = *state;
  size_t i;

  for (i = 0; i < COUNT(none); i++)
    hear_service(w, "Room", "box.local", 1, none[i], LONG);
  w->from.zone = 0; /* "fe80::1" alone leads nowhere */
  hear_service(w, "Room", "box.local", 1, "fe80::1", LONG);
  pass(w, 4000);
  expect_told(w, "");
  w->from.loopback = true;
  hear_service(w, "Room", "box.local", 1, "127.0.0.1", LONG);
  expect_told(w, "FOUND Room:1 127.0.0.1\n");
}

static void names_that_nobody_can_read(void** state) {
  static const char* const names[] = { "a\\000b", "a\\010b", "a\\127",
                                       "\\255",   "a\\195",  "\\192\\128" };
  world_t* w = *state;
  size_t i;

  for (i = 0; i < COUNT(names); i++) {
    char name[64];

    snprintf(name, sizeof(name), "%s." TYPE ".local", names[i]);
    hear_service(w, name, "box.local", 1, "10.0.0.1", LONG);
  }
  hear_service(w, "Room._other._tcp.local", "box.local", 1, "10.0.0.1", LONG);
  hear_service(w, "Hall.Room." TYPE ".local", "box.local", 1, "10.0.0.1", LONG);
  assert_int_equal(w->cache.count, 0);
  hear_service(w, "Dot\\.dot \xc3\xbc." TYPE ".local", "box.local", 1,
               "10.0.0.1", LONG);
  expect_told(w, "FOUND Dot.dot \xc3\xbc:1 10.0.0.1\n");
}

static void messages_that_are_none(void** state) {
  static const uint16_t flags[] = { 0, NT__DNS_AUTHORITATIVE,
                                    NT__DNS_RESPONSE | 3,
                                    NT__DNS_RESPONSE | 0x2800 };
  world_t* w = *state;
  size_t i;

  for (i = 0; i < COUNT(flags); i++) {
    packet_service(&w->packet, "Room", "box.local", 1, "10.0.0.1", LONG);
    nt__dns_writer_set_flags(&w->packet.writer, flags[i]);
    hear(w);
  }
  assert_int_equal(w->cache.count, 0);
}

/* One that is cut anywhere says nothing. */
static void cut_off(void** state) {
  world_t* w = *state;
  packet_t whole;
  guard_t guard;
  size_t size;

  packet_begin(&whole);
  packet_service(&whole, "Room", "box.local", 1, "10.0.0.1", LONG);
  guard = guard_open(whole.writer.size);
  for (size = 0; size < whole.writer.size; size++) {
    nt__mdns_take(&w->cache, guard_put(&guard, whole.bytes, size), size,
                  &w->from, w->now);
    assert_int_equal(w->cache.count, 0);
  }
  guard_close(&guard);
}

/* Whatever comes, the next thing to do is later, and memory is bounded. */
static void noise(void** state) {
  world_t* w = *state;
  uint64_t seed = 99;
  packet_t whole;
  unsigned i;

  w->cache.max = 8;
  for (i = 0; i < 20000; i++) {
    unsigned flips = (unsigned) (next_random(&seed) % 6);
    char name[8];

    snprintf(name, sizeof(name), "%u", (unsigned) (next_random(&seed) % 12));
    packet_begin(&whole);
    packet_service(&whole, name, next_random(&seed) % 2 ? "a.local" : "b.local",
                   (int) (next_random(&seed) % 3), "10.0.0.1",
                   (uint32_t) (next_random(&seed) % 5));
    while (flips-- > 0)
      whole.bytes[next_random(&seed) % whole.writer.size] ^=
          (unsigned char) (1u << next_random(&seed) % 8);
    w->from = next_random(&seed) % 2 ? first_interface : other_interface;
    nt__mdns_take(&w->cache, whole.bytes, whole.writer.size, &w->from, w->now);
    if (next_random(&seed) % 64 == 0)
      nt__mdns_forget(&w->cache, w->from.interface, w->now);
    pass(w, next_random(&seed) % 400);
    assert_true(w->cache.count <= 8);
    w->told[0] = w->asked[0] = '\0';
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(types),
    WORLD_TEST(all_at_once),
    WORLD_TEST(in_any_order),
    WORLD_TEST(step_by_step),
    WORLD_TEST(letters_of_either_case),
    WORLD_TEST(ipv4_is_waited_for),
    WORLD_TEST(ipv6_alone),
    WORLD_TEST(without_txt),
    WORLD_TEST(several),
    WORLD_TEST(once_on_all_interfaces),
    WORLD_TEST(hosts_of_one_name),
    WORLD_TEST(moves_to_another_port),
    WORLD_TEST(moves_to_another_address),
    WORLD_TEST(moves_to_another_host),
    WORLD_TEST(goodbye),
    WORLD_TEST(goodbye_that_is_not_true),
    WORLD_TEST(goodbye_of_one_record),
    WORLD_TEST(expiry),
    WORLD_TEST(refreshed_in_time),
    WORLD_TEST(legacy_answers_live_briefly),
    WORLD_TEST(interface_gone),
    WORLD_TEST(no_address),
    WORLD_TEST(gone_before_it_was_resolved),
    WORLD_TEST(told_later),
    WORLD_TEST(not_told_meanwhile),
    WORLD_TEST(ever_more_rarely),
    WORLD_TEST(what_is_known),
    WORLD_TEST(more_than_goes_into_one),
    WORLD_TEST(many_questions),
    WORLD_TEST(no_more_than_allowed),
    WORLD_TEST(too_many_addresses),
    WORLD_TEST(addresses_that_nobody_has),
    WORLD_TEST(names_that_nobody_can_read),
    WORLD_TEST(messages_that_are_none),
    WORLD_TEST(cut_off),
    WORLD_TEST(noise),
  };

  return cmocka_run_group_tests_name("mdns_service", tests, NULL, NULL);
}
