/* Trust: which policies share connections, what becomes of those that are not
 * shared any more, and the file in which libcurl finds authorities. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "check.h"
#include "host.h"
#include "trust.h"

/* ---- Comparing ----------------------------------------------------------- */

static const char* const keys_a[] = { "sha256/A", "sha256/B" };
static const char* const keys_b[] = { "sha256/A", "sha256/b" };
static const char* const names[] = { "a.example", "b.example" };

static nt_pin_t pins_a = { "a.example", { keys_a, 2 } };
static nt_pin_t pins_b = { "a.example", { keys_b, 2 } };
static nt_pin_t pins_c = { "*.a.example", { keys_a, 2 } };
static nt_pin_t pins_d = { "a.example", { keys_a, 1 } };

static void change_flags(nt_policy_t* policy) {
  policy->flags |= NT_POLICY_REFUSE_PRIVATE;
}

static void change_ca_file(nt_policy_t* policy) {
  policy->ca_file = "/another.pem";
}

static void drop_ca_file(nt_policy_t* policy) {
  policy->ca_file = NULL;
}

static void change_ca_data(nt_policy_t* policy) {
  policy->ca_data = "other text";
}

static void drop_ca_data(nt_policy_t* policy) {
  policy->ca_data = NULL;
}

static void change_proxy(nt_policy_t* policy) {
  policy->proxy = "http://q:1";
}

static void change_pin_keys(nt_policy_t* policy) {
  policy->pins = &pins_b;
}

static void change_pin_host(nt_policy_t* policy) {
  policy->pins = &pins_c;
}

static void drop_pin_key(nt_policy_t* policy) {
  policy->pins = &pins_d;
}

static void drop_pins(nt_policy_t* policy) {
  policy->pins = NULL;
  policy->pin_count = 0;
}

static void add_domains(nt_policy_t* policy) {
  policy->domains[NT_ACCESS_UPLOAD].items = names;
  policy->domains[NT_ACCESS_UPLOAD].count = 1;
}

static void empty_domains(nt_policy_t* policy) {
  policy->domains[NT_ACCESS_SOCKET].count = 0;
}

static void drop_domains(nt_policy_t* policy) {
  policy->domains[NT_ACCESS_SOCKET].items = NULL;
}

static void change_private(nt_policy_t* policy) {
  policy->allow_private.items = &names[1];
}

static void change_nothing(nt_policy_t* policy) {
  (void) policy;
}

static void change_limits(nt_policy_t* policy) {
  policy->max_requests = 3;
  policy->user_agent = "another";
  policy->bytes_per_minute = 1;
  policy->secrets = NULL;
}

static const struct {
  void (*change)(nt_policy_t*);
  bool same;
} changes[] = {
  { change_nothing, true },   { change_limits, true },
  { change_flags, false },    { change_ca_file, false },
  { drop_ca_file, false },    { change_ca_data, false },
  { drop_ca_data, false },    { change_proxy, false },
  { change_pin_keys, false }, { change_pin_host, false },
  { drop_pin_key, false },    { drop_pins, false },
  { add_domains, false },     { empty_domains, false },
  { drop_domains, false },    { change_private, false },
};

static void fill(nt_policy_t* policy) {
  nt_policy_init(policy, NT_PRESET_MINIPROGRAM);
  policy->ca_file = "/one.pem";
  policy->ca_data = "text";
  policy->proxy = "http://p:1";
  policy->pins = &pins_a;
  policy->pin_count = 1;
  policy->domains[NT_ACCESS_SOCKET].items = names;
  policy->domains[NT_ACCESS_SOCKET].count = 2;
  policy->allow_private.items = names;
  policy->allow_private.count = 1;
}

static void compares(void** state) {
  nt_policy_t before;
  nt_policy_t after;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(changes); i++) {
    fill(&before);
    fill(&after);
    changes[i].change(&after);
    assert_int_equal(nt__trust_is_same(&before, &after), changes[i].same);
    assert_int_equal(nt__trust_is_same(&after, &before), changes[i].same);
  }
}

/* ---- Authorities that come as text --------------------------------------- */

static void keeps_text_in_a_file(void** state) {
  nt_policy_t policy;
  nt__trust_t trust = { -1, "" };
  char read_back[64] = "";
  int fd;

  (void) state;
  nt_policy_init(&policy, NT_PRESET_OPEN);
  nt__trust_open(&trust, &policy);
  assert_string_equal(trust.path, "");
  policy.ca_data = "-----BEGIN CERTIFICATE-----";
  nt__trust_open(&trust, &policy);
#ifdef __linux__
  assert_true(trust.path[0] == '/');
  fd = open(trust.path, O_RDONLY);
  assert_int_equal(read(fd, read_back, sizeof(read_back)), 27);
  assert_string_equal(read_back, policy.ca_data);
  close(fd);
  fd = open(trust.path, O_RDWR); /* nobody changes it any more */
  assert_int_equal(write(fd, "x", 1), -1);
  assert_int_equal(ftruncate(fd, 0), -1);
  close(fd);
#endif
  nt__trust_close(&trust);
  assert_int_equal(open(trust.path, O_RDONLY), -1);
  nt__trust_close(&trust);
}

/* ---- Connections --------------------------------------------------------- */

static unsigned count_connections(server_t* server) {
  unsigned count = 0;
  connection_t* c;

  pthread_mutex_lock(&server->mutex);
  for (c = server->connections; c != NULL; c = c->next)
    count++;
  pthread_mutex_unlock(&server->mutex);
  return count;
}

/* The nth that there was, from 1. */
static int descriptor(server_t* server, unsigned n) {
  unsigned i = count_connections(server);
  connection_t* c;
  int fd = -1;

  pthread_mutex_lock(&server->mutex);
  for (c = server->connections; c != NULL; c = c->next)
    if (i-- == n)
      fd = c->fd;
  pthread_mutex_unlock(&server->mutex);
  return fd;
}

/* By us, as the server sees it: within `ms`. */
static bool is_closed(server_t* server, unsigned n, int ms) {
  struct pollfd look = { descriptor(server, n), POLLRDHUP, 0 };

  return poll(&look, 1, ms) == 1;
}

static void get(host_t* host, const char* path) {
  nt_event_t ev;

  host_end(host, host_get(host, path), &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.status, 200);
}

static int turn;

static void set_another_file(nt_policy_t* policy) {
  static char name[32];

  snprintf(name, sizeof(name), "/no-such-%d", turn++);
  policy->ca_file = name;
}

static void set_limits(nt_policy_t* policy) {
  policy->header_max_bytes = 20000;
}

static void begins_anew_with_another_trust(void** state) {
  host_t* host = *state;
  int i;

  get(host, "/hello");
  get(host, "/hello");
  assert_int_equal(count_connections(host->server), 1);
  host_policy(host, set_limits);
  get(host, "/hello");
  assert_int_equal(count_connections(host->server), 1);
  for (i = 1; i < 4; i++) {
    host_policy(host, set_another_file);
    assert_true(is_closed(host->server, (unsigned) i, PATIENCE_MS));
    get(host, "/hello");
    assert_int_equal(count_connections(host->server), i + 1);
    assert_false(is_closed(host->server, (unsigned) i + 1, 0));
  }
}

static void lets_what_runs_go_on(void** state) {
  host_t* host = *state;
  nt_id_t id = host_get(host, "/part-then-hold");
  nt_event_t ev;

  assert_true(
      server_wait(host->server, &host->server->holding, 1, PATIENCE_MS));
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_HEADERS);
  host_policy(host, set_another_file);
  get(host, "/hello");
  get(host, "/hello");
  assert_int_equal(count_connections(host->server), 2);
  assert_false(is_closed(host->server, 1, 0));
  server_release(host->server);
  host_end(host, id, &ev);
  assert_int_equal(ev.error, 0);
  assert_string_equal(ev.data, "helloworld");
  assert_true(is_closed(host->server, 1, PATIENCE_MS)); /* of no use any more */
  get(host, "/hello");
  assert_int_equal(count_connections(host->server), 2);
}

/* The policy, and the I/O thread has it. */
static void take_policy(host_t* host, void (*set)(nt_policy_t*)) {
  nt_id_t id = 0;

  host_policy(host, set);
  assert_int_equal(nt_sleep_open(host->net, &id), 0);
  assert_int_equal(nt_sleep_start(host->net, id, 1), 0);
  host_expect(host, id, 0);
}

static void set_one_request(nt_policy_t* policy) {
  set_another_file(policy);
  policy->max_requests = 1;
}

/* What started under the old policy never leaves a connection to the new. */
static void keeps_the_queue_apart(void** state) {
  host_t* host = *state;
  nt_id_t ids[3];
  size_t done = 0;
  nt_event_t ev;

  host_policy(host, set_one_request);
  ids[0] = host_get(host, "/hold");
  ids[1] = host_get(host, "/hello");
  assert_true(
      server_wait(host->server, &host->server->holding, 1, PATIENCE_MS));
  take_policy(host, set_one_request);
  ids[2] = host_get(host, "/hello");
  server_release(host->server);
  while (done < COUNT(ids)) {
    host_next(host, &ev);
    if (ev.type != NT_EV_END)
      continue;
    assert_true(ev.id == ids[done++]);
    assert_int_equal(ev.error, 0);
  }
  assert_int_equal(count_connections(host->server), 3);
  assert_true(is_closed(host->server, 1, PATIENCE_MS));
  assert_true(is_closed(host->server, 2, PATIENCE_MS));
  get(host, "/hello");
  assert_int_equal(count_connections(host->server), 3);
}

static void redirect_late(connection_t* c, void* arg) {
  (void) arg;
  while (connection_read(c)) {
    bool go = strncmp(c->request, "GET /go ", 8) == 0;

    if (go && !connection_hold(c))
      return;
    if (!connection_answer(c, go ? "302 Found" : "200 OK",
                           go ? "Location: /there\r\n" : "", "", 0))
      return;
  }
}

static void redirects_under_the_old_one(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  nt_id_t id;

  pthread_mutex_lock(&host->server->mutex);
  host->server->serve = redirect_late;
  pthread_mutex_unlock(&host->server->mutex);
  id = host_get(host, "/go");
  assert_true(
      server_wait(host->server, &host->server->holding, 1, PATIENCE_MS));
  take_policy(host, set_another_file);
  server_release(host->server);
  host_end(host, id, &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.redirects, 1);
  assert_int_equal(count_connections(host->server), 2);
  assert_true(is_closed(host->server, 1, PATIENCE_MS));
  assert_true(is_closed(host->server, 2, PATIENCE_MS));
  get(host, "/there");
  assert_int_equal(count_connections(host->server), 3);
}

enum {
  STORM = 200
};

static void survives_a_storm(void** state) {
  host_t* host = *state;
  unsigned ended = 0;
  unsigned started;
  nt_event_t ev;

  for (started = 0; started < STORM; started++) {
    host_get(host, "/hello");
    if (started % 3 == 0)
      host_policy(host, set_another_file);
    while (nt_poll(host->net, &ev)) {
      ended += ev.type == NT_EV_END;
      assert_int_equal(ev.error, 0);
    }
  }
  for (; ended < STORM; ended += ev.type == NT_EV_END) {
    host_next(host, &ev);
    assert_int_equal(ev.error, 0);
  }
  host_still_works(host);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(compares),
    cmocka_unit_test(keeps_text_in_a_file),
    HOST_TEST(begins_anew_with_another_trust),
    HOST_TEST(lets_what_runs_go_on),
    HOST_TEST(keeps_the_queue_apart),
    HOST_TEST(redirects_under_the_old_one),
    HOST_TEST(survives_a_storm),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
