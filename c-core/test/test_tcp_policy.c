/* What the policy lets TCP sockets do: hosts, ports, how many, and by what
 * proxy. Loopback addresses are private, and the test server speaks no HTTP. */
#include "host.h"

enum {
  WINDOW = 20
};

/* ---- The server ---------------------------------------------------------- */

static void serve_echo(connection_t* c, void* arg) {
  ssize_t n;

  (void) arg;
  while ((n = recv(c->fd, c->request, SERVER_MAX_REQUEST, 0)) > 0)
    if (!connection_send(c, c->request, (size_t) n, true))
      return;
}

/* A proxy whose tunnels lead to an echo. */
static void serve_tunnel(connection_t* c, void* arg) {
  (void) arg;
  if (recv(c->fd, c->request, SERVER_MAX_REQUEST, 0) > 0)
    connection_send_text(c, "HTTP/1.1 200 OK\r\n\r\n");
  serve_echo(c, arg);
}

static void serve(host_t* host, void (*serve)(connection_t*, void*)) {
  pthread_mutex_lock(&host->server->mutex);
  host->server->serve = serve;
  pthread_mutex_unlock(&host->server->mutex);
}

/* ---- Policies ------------------------------------------------------------ */

static nt_policy_t without_limits(void) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_OPEN);
  return policy;
}

static void apply(host_t* host, const nt_policy_t* policy) {
  assert_int_equal(nt_policy_set(host->net, policy), 0);
}

static void refuse_private(host_t* host, const char* allowed) {
  nt_policy_t policy = without_limits();

  policy.flags |= NT_POLICY_REFUSE_PRIVATE;
  policy.allow_private.items = &allowed;
  policy.allow_private.count = allowed != NULL;
  apply(host, &policy);
}

static void allow_alone(host_t* host, const char* entry) {
  nt_policy_t policy = without_limits();

  policy.domains[NT_ACCESS_TCP].items = &entry;
  policy.domains[NT_ACCESS_TCP].count = 1;
  apply(host, &policy);
}

/* ---- Sockets ------------------------------------------------------------- */

static nt_id_t tcp_open(host_t* host) {
  nt_id_t id = 0;

  assert_int_equal(nt_tcp_open(host->net, &id), 0);
  return id;
}

static int tcp_try(host_t* host, nt_id_t id, const nt_tcp_options_t* given) {
  nt_tcp_options_t options = *given;

  options.timeout_ms = PATIENCE_MS;
  return nt_tcp_start(host->net, id, &options);
}

static int tcp_try_host(host_t* host, nt_id_t id, const char* to, int port,
                        uint32_t flags) {
  nt_tcp_options_t options;

  nt_tcp_options_init(&options);
  options.host = to;
  options.port = port;
  options.flags = flags;
  options.family = strchr(to, ':') == NULL ? NT_FAMILY_IPV4 : NT_FAMILY_IPV6;
  return tcp_try(host, id, &options);
}

static void expect_record(host_t* host, nt_id_t id, int error,
                          const char* target) {
  nt_event_t ev;

  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);
  assert_true(ev.id == id);
  assert_int_equal(ev.error, error);
  assert_string_equal(ev.message, target);
}

static void drop(host_t* host, nt_id_t id) {
  nt_abort(host->net, id);
  host_expect(host, id, NT_E_ABORTED);
}

/* The socket stays idle. */
static void expect_refused(host_t* host, const char* to, int port,
                           uint32_t flags, int error, const char* target) {
  nt_id_t id = tcp_open(host);

  assert_int_equal(tcp_try_host(host, id, to, port, flags), error);
  assert_int_equal(nt_state(host->net, id), NT_STATE_IDLE);
  expect_record(host, id, error, target);
  drop(host, id);
}

static void expect_echo(host_t* host, nt_id_t id) {
  nt_event_t ev;

  assert_int_equal(nt_tcp_send(host->net, id, "x", 1), 0);
  host_next(host, &ev);
  if (ev.type != NT_EV_OPEN)
    fail_msg("event %d: %s", ev.type, ev.message);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_CHUNK);
  assert_int_equal(nt_tcp_close(host->net, id), 0);
  host_expect(host, id, 0);
}

static void expect_talk(host_t* host, const char* to) {
  nt_id_t id = tcp_open(host);

  assert_int_equal(tcp_try_host(host, id, to, host->server->port, 0), 0);
  expect_echo(host, id);
}

static const char* target(const char* scheme, const char* host, int port) {
  static char text[100];

  snprintf(text, sizeof(text), "%s://%s:%d", scheme, host, port);
  return text;
}

static void expect_no_connection(host_t* host) {
  pthread_mutex_lock(&host->server->mutex);
  assert_null(host->server->connections);
  pthread_mutex_unlock(&host->server->mutex);
}

/* ---- Hosts --------------------------------------------------------------- */

static const struct {
  const char* host;
  int err;
  const char* shown;
} hosts[] = {
  { "127.0.0.1", NT_E_PRIVATE, "127.0.0.1" },
  { "127.9.9.9", NT_E_PRIVATE, "127.9.9.9" },
  { "0.0.0.0", NT_E_PRIVATE, "0.0.0.0" },
  { "10.0.0.1", NT_E_PRIVATE, "10.0.0.1" },
  { "172.16.0.1", NT_E_PRIVATE, "172.16.0.1" },
  { "192.168.0.1", NT_E_PRIVATE, "192.168.0.1" },
  { "169.254.169.254", NT_E_PRIVATE, "169.254.169.254" },
  { "224.0.0.1", NT_E_PRIVATE, "224.0.0.1" },
  { "localhost", NT_E_PRIVATE, "localhost" },
  { "LOCALHOST.", NT_E_PRIVATE, "LOCALHOST." },
  { "x.localhost", NT_E_PRIVATE, "x.localhost" },
  { "::1", NT_E_PRIVATE, "[::1]" },
  { "::", NT_E_PRIVATE, "[::]" },
  { "fe80::1%lo", NT_E_PRIVATE, "[fe80::1%lo]" },
  { "fd12::1", NT_E_PRIVATE, "[fd12::1]" },
  { "::ffff:127.0.0.1", NT_E_PRIVATE, "[::ffff:127.0.0.1]" },
  { "2002:7f00:1::", NT_E_PRIVATE, "[2002:7f00:1::]" },
  { "64:ff9b::a00:1", NT_E_PRIVATE, "[64:ff9b::a00:1]" },
  /* What libcurl would take for 127.0.0.1. */
  { "127.1", NT_E_ADDRESS, NULL },
  { "127.0.0.1.", NT_E_ADDRESS, NULL },
  { "0x7f000001", NT_E_ADDRESS, NULL },
  { "2130706433", NT_E_ADDRESS, NULL },
  { "0177.0.0.1", NT_E_ADDRESS, NULL },
  { "127.0.0.1:80", NT_E_ADDRESS, NULL },
  { "127.0.0.1/", NT_E_ADDRESS, NULL },
  { "public.test@127.0.0.1", NT_E_ADDRESS, NULL },
  { "127.0.0.1#.public.test", NT_E_ADDRESS, NULL },
  { "127.0.0.1?.public.test", NT_E_ADDRESS, NULL },
  { "127.0.0.1\\.public.test", NT_E_ADDRESS, NULL },
  { "127%2e0.0.1", NT_E_ADDRESS, NULL },
  { "[::1]", NT_E_ADDRESS, NULL },
  { "::1]:80/#", NT_E_ADDRESS, NULL },
};

static void private_hosts(void** state) {
  host_t* host = *state;
  int port = host->server->port;
  size_t i;

  refuse_private(host, NULL);
  for (i = 0; i < COUNT(hosts); i++) {
    nt_id_t id;

    if (hosts[i].err == NT_E_PRIVATE) {
      expect_refused(host, hosts[i].host, port, 0, NT_E_PRIVATE,
                     target("tcp", hosts[i].shown, port));
      expect_refused(host, hosts[i].host, port, NT_TCP_TLS, NT_E_PRIVATE,
                     target("tls", hosts[i].shown, port));
      continue;
    }
    id = tcp_open(host);
    if (tcp_try_host(host, id, hosts[i].host, port, 0) != hosts[i].err)
      fail_msg("%s", hosts[i].host);
    drop(host, id);
  }
  expect_no_connection(host);
}

static void allowed_hosts(void** state) {
  static const char* const allowed[] = { "127.0.0.1", "127.0.0.0/8",
                                         "10.0.0.0/8" };
  host_t* host = *state;
  size_t i;

  serve(host, serve_echo);
  for (i = 0; i < 2; i++) {
    refuse_private(host, allowed[i]);
    expect_talk(host, "127.0.0.1");
    expect_refused(host, "10.0.0.1", 9, 0, NT_E_PRIVATE, "tcp://10.0.0.1:9");
  }
  refuse_private(host, allowed[2]);
  expect_refused(host, "127.0.0.1", 9, 0, NT_E_PRIVATE, "tcp://127.0.0.1:9");
}

static void listed_hosts(void** state) {
  host_t* host = *state;
  int port = host->server->port;
  char entry[64];

  serve(host, serve_echo);
  snprintf(entry, sizeof(entry), "127.0.0.1:%d", port);
  allow_alone(host, entry);
  expect_talk(host, "127.0.0.1");
  expect_refused(host, "127.0.0.1", port + 1, 0, NT_E_DOMAIN,
                 target("tcp", "127.0.0.1", port + 1));
  expect_refused(host, "127.0.0.2", port, 0, NT_E_DOMAIN,
                 target("tcp", "127.0.0.2", port));
  allow_alone(host, "tcp://127.0.0.1");
  expect_talk(host, "127.0.0.1");
  expect_refused(host, "127.0.0.1", port, NT_TCP_TLS, NT_E_DOMAIN,
                 target("tls", "127.0.0.1", port));
  allow_alone(host, "tls://127.0.0.1");
  expect_refused(host, "127.0.0.1", port, 0, NT_E_DOMAIN,
                 target("tcp", "127.0.0.1", port));
  allow_alone(host, "*.game.test");
  expect_refused(host, "game.test", port, 0, NT_E_DOMAIN,
                 target("tcp", "game.test", port));
  expect_refused(host, "game.test.evil", port, 0, NT_E_DOMAIN,
                 target("tcp", "game.test.evil", port));
}

/* ---- Ports --------------------------------------------------------------- */

static const struct {
  int port;
  int err;
} ports[] = {
  { -1, NT_E_PORT },     { 0, NT_E_PORT },      { 1, NT_E_PORT },
  { 80, NT_E_PORT },     { 443, NT_E_PORT },    { 1023, NT_E_PORT },
  { 3306, NT_E_PORT },   { 8000, NT_E_PORT },   { 8100, NT_E_PORT },
  { 65536, NT_E_PORT },  { 65616, NT_E_PORT }, /* 80 in 16 bits */
  { 1024, NT_E_DOMAIN }, { 8101, NT_E_DOMAIN }, { 65535, NT_E_DOMAIN },
};

static void forbidden_ports(void** state) {
  host_t* host = *state;
  nt_policy_t policy;
  nt_event_t ev;
  size_t i;

  nt_policy_init(&policy, NT_PRESET_STRICT);
  apply(host, &policy);
  for (i = 0; i < COUNT(ports); i++) {
    nt_id_t id = tcp_open(host);

    if (tcp_try_host(host, id, "8.8.8.8", ports[i].port, 0) != ports[i].err)
      fail_msg("port %d", ports[i].port);
    drop(host, id);
    while (nt_poll(host->net, &ev))
      assert_int_equal(ev.type, NT_EV_REFUSED);
  }
}

/* ---- How many ------------------------------------------------------------ */

static void window_is_kept(void** state) {
  host_t* host = *state;
  nt_policy_t policy;
  nt_id_t id;
  int i;

  nt_policy_init(&policy, NT_PRESET_STRICT);
  apply(host, &policy);
  for (i = 0; i < WINDOW; i++)
    drop(host, tcp_open(host));
  assert_int_equal(nt_tcp_open(host->net, &id), NT_E_LIMIT);
  expect_record(host, 0, NT_E_LIMIT, "");
  apply(host, &policy);
  assert_int_equal(nt_tcp_open(host->net, &id), NT_E_LIMIT);
  expect_record(host, 0, NT_E_LIMIT, "");
}

/* ---- Proxies ------------------------------------------------------------- */

static int try_by(host_t* host, nt_id_t id, const char* to, const char* proxy) {
  nt_tcp_options_t options;

  nt_tcp_options_init(&options);
  options.host = to;
  options.port = 5000;
  options.proxy = proxy;
  return tcp_try(host, id, &options);
}

/* It may be at a private address, and asks nobody about the target but the
 * list. */
static void proxy_of_the_host(void** state) {
  host_t* host = *state;
  nt_policy_t policy = without_limits();
  const char* entry = "game.test";
  char proxy[64];
  nt_id_t id;

  serve(host, serve_tunnel);
  policy.proxy = host_url(host, "", proxy, sizeof(proxy));
  policy.flags |= NT_POLICY_REFUSE_PRIVATE | NT_POLICY_REFUSE_PROXY;
  policy.domains[NT_ACCESS_TCP].items = &entry;
  policy.domains[NT_ACCESS_TCP].count = 1;
  apply(host, &policy);
  id = tcp_open(host);
  assert_int_equal(try_by(host, id, "game.test", NULL), 0);
  expect_echo(host, id);
  expect_refused(host, "other.test", 5000, 0, NT_E_DOMAIN,
                 "tcp://other.test:5000");
}

static void own_proxy(void** state) {
  host_t* host = *state;
  nt_policy_t policy = without_limits();
  char proxy[64];
  nt_id_t id;

  serve(host, serve_tunnel);
  host_url(host, "", proxy, sizeof(proxy));
  apply(host, &policy);
  id = tcp_open(host);
  assert_int_equal(try_by(host, id, "game.test", "nonsense://"), NT_E_INVALID);
  assert_int_equal(try_by(host, id, "game.test", proxy), 0);
  expect_echo(host, id);
  policy.flags |= NT_POLICY_REFUSE_PROXY;
  apply(host, &policy);
  id = tcp_open(host);
  assert_int_equal(try_by(host, id, "game.test", proxy), NT_E_OWN_PROXY);
  expect_record(host, id, NT_E_OWN_PROXY, proxy);
  assert_int_equal(try_by(host, id, "game.test", "http://me:secret@p.test:8"),
                   NT_E_OWN_PROXY);
  expect_record(host, id, NT_E_OWN_PROXY, "http://p.test:8");
  assert_int_equal(try_by(host, id, "game.test", ""), NT_E_OWN_PROXY);
  expect_record(host, id, NT_E_OWN_PROXY, "");
  policy.flags = NT_POLICY_REFUSE_PRIVATE;
  apply(host, &policy);
  assert_int_equal(try_by(host, id, "game.test", proxy), NT_E_PRIVATE);
  expect_record(host, id, NT_E_PRIVATE, proxy);
  drop(host, id);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(private_hosts),  HOST_TEST(allowed_hosts),
    HOST_TEST(listed_hosts),   HOST_TEST(forbidden_ports),
    HOST_TEST(window_is_kept), HOST_TEST(proxy_of_the_host),
    HOST_TEST(own_proxy),
  };

  return cmocka_run_group_tests_name("tcp_policy", tests, NULL, NULL);
}
