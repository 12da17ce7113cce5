/* The policy where connections are made: addresses that a name leads to,
 * connections that are used again, redirects, and proxies, against a server in
 * this process. "localhost" is the name that has two addresses everywhere. */
#include "host.h"

static const char* const list_localhost[] = { "localhost" };
static const char* const list_v4[] = { "127.0.0.1" };
static const char* const list_v6[] = { "::1" };

/* A context under MINIPROGRAM with what `change` points to. */
typedef struct change {
  uint32_t flags;
  const char* const* allowed; /* one entry */
  const char* proxy;
  nt_access_t access;         /* of the list */
  const char* const* domains; /* one entry */
} change_t;

static void set_policy(host_t* host, const change_t* change) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.flags = change->flags;
  policy.allow_private.items = change->allowed;
  policy.allow_private.count = 1;
  policy.proxy = change->proxy;
  policy.domains[change->access].items = change->domains;
  policy.domains[change->access].count = 1;
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
}

static void refuse_private(host_t* host, const char* const* allowed) {
  change_t change = { .flags = NT_POLICY_REFUSE_PRIVATE, .allowed = allowed };

  set_policy(host, &change);
}

static const char* at_server(const host_t* host, const char* format) {
  static char url[256];

  snprintf(url, sizeof(url), format, host->server->port);
  return url;
}

static nt_id_t get(host_t* host, const char* url, const char* proxy) {
  nt_request_options_t options;
  nt_id_t id = host_open(host);

  nt_request_options_init(&options);
  options.url = url;
  options.proxy = proxy;
  assert_int_equal(nt_request_start(host->net, id, &options), 0);
  return id;
}

/* The record of the refusal and then the end, both with what was refused. */
static void expect_refusal(host_t* host, nt_id_t id, int error,
                           const char* target) {
  nt_event_t ev;

  do {
    host_next(host, &ev);
    assert_true(ev.id == id);
  } while (ev.type == NT_EV_HEADERS);
  if (ev.type != NT_EV_REFUSED || ev.error != error)
    fail_msg("%d %s: %s", ev.type, nt_error_name(ev.error), ev.message);
  assert_string_equal(ev.message, target);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, error);
  assert_string_equal(ev.message, target);
}

static void expect_status(host_t* host, nt_id_t id, int status) {
  nt_event_t ev;

  host_end(host, id, &ev);
  if (ev.error != 0)
    fail_msg("%s: %s", nt_error_name(ev.error), ev.message);
  assert_int_equal(ev.status, status);
}

/* ---- Addresses ----------------------------------------------------------- */

static void refuses_a_literal(void** state) {
  host_t* host = *state;
  char target[64];

  snprintf(target, sizeof(target), "http://127.0.0.1:%d", host->server->port);
  refuse_private(host, NULL);
  expect_refusal(host, get(host, at_server(host, "http://0x7f.1:%d/a?b"), NULL),
                 NT_E_PRIVATE, target);
  refuse_private(host, list_v4);
  expect_status(host, get(host, at_server(host, "http://0x7f.1:%d/a?b"), NULL),
                200);
  assert_int_equal(server_requests(host->server), 1);
}

/* Connections are accepted in order, so those that there were before an answer
 * came have been counted by then. */
static unsigned connections(host_t* host) {
  unsigned count = 0;
  connection_t* c;

  pthread_mutex_lock(&host->server->mutex);
  for (c = host->server->connections; c != NULL; c = c->next)
    count++;
  pthread_mutex_unlock(&host->server->mutex);
  return count;
}

/* ::1 may be reached, and nobody is there; 127.0.0.1 may not. */
static void refuses_what_a_name_leads_to(void** state) {
  host_t* host = *state;
  const char* url = at_server(host, "http://localhost:%d/");
  char target[64];

  snprintf(target, sizeof(target), "http://localhost:%d", host->server->port);
  refuse_private(host, list_v6);
  expect_refusal(host, get(host, url, NULL), NT_E_PRIVATE, target);
  refuse_private(host, list_v4);
  expect_status(host, get(host, url, NULL), 200);
  assert_int_equal(connections(host), 1);
}

static void tries_the_other_addresses(void** state) {
  host_t* host = *state;
  const char* url = at_server(host, "http://localhost:%d/");

  refuse_private(host, list_v4);
  expect_status(host, get(host, url, NULL), 200);
  refuse_private(host, list_localhost);
  expect_status(host, get(host, url, NULL), 200);
  assert_int_equal(server_requests(host->server), 2);
}

/* Each request on a connection passes the gate. */
static void checks_what_is_used_again(void** state) {
  host_t* host = *state;
  const char* url = at_server(host, "http://localhost:%d/");
  nt_request_options_t options;
  nt_event_t ev;
  nt_id_t id;
  int i;

  refuse_private(host, list_v4);
  nt_request_options_init(&options);
  options.flags = NT_REQUEST_PROFILE;
  options.url = url;
  for (i = 0; i < 3; i++) {
    id = host_open(host);
    assert_int_equal(nt_request_start(host->net, id, &options), 0);
    host_end(host, id, &ev);
    assert_int_equal(ev.error, 0);
    assert_int_equal(ev.profile->reused, i > 0);
  }
  refuse_private(host, list_v6); /* the connection is still there */
  id = host_open(host);
  assert_int_equal(nt_request_start(host->net, id, &options), 0);
  while (!(ev.type == NT_EV_END && ev.id == id))
    host_next(host, &ev);
  assert_int_equal(ev.error, NT_E_PRIVATE);
  assert_int_equal(server_requests(host->server), 3);
}

/* ---- Redirects ----------------------------------------------------------- */

typedef struct redirect {
  char location[128];
} redirect_t;

static void serve_redirect(connection_t* c, void* arg) {
  redirect_t* redirect = arg;
  char fields[256];

  while (connection_read(c)) {
    connection_note(c, "");
    snprintf(fields, sizeof(fields), "Location: %s\r\n", redirect->location);
    if (!connection_answer(c, "307 Temporary Redirect", fields, "", 0))
      return;
  }
}

static void checks_each_redirect(void** state) {
  static const struct {
    const char* location;
    int error;
    const char* target;
  } cases[] = {
    { "http://127.0.0.1:1/", NT_E_PRIVATE, "http://127.0.0.1:1" },
    { "http://0177.1:1/", NT_E_PRIVATE, "http://127.0.0.1:1" },
    { "//[::ffff:127.0.0.1]:1/x?y", NT_E_PRIVATE,
      "http://[::ffff:127.0.0.1]:1" },
    { "http://localhost@10.0.0.1/", NT_E_PRIVATE, "http://10.0.0.1:80" },
    { "https://a.localhost/", NT_E_PRIVATE, "https://a.localhost:443" },
    { "ftp://localhost/", NT_E_SCHEME, "ftp://localhost" },
    { "file:///etc/passwd", NT_E_SCHEME, "file://" },
  };
  host_t* host = *state;
  redirect_t redirect = { "" };
  size_t i;

  pthread_mutex_lock(&host->server->mutex);
  host->server->serve = serve_redirect;
  host->server->serve_arg = &redirect;
  pthread_mutex_unlock(&host->server->mutex);
  refuse_private(host, list_localhost);
  for (i = 0; i < COUNT(cases); i++) {
    /* The server reads it after a request, which comes later. */
    snprintf(redirect.location, sizeof(redirect.location), "%s",
             cases[i].location);
    expect_refusal(host,
                   get(host, at_server(host, "http://localhost:%d/"), NULL),
                   cases[i].error, cases[i].target);
  }
  assert_int_equal(server_requests(host->server), COUNT(cases));
}

static void keeps_redirects_on_the_list(void** state) {
  static const char* const here[] = { "localhost" };
  host_t* host = *state;
  redirect_t redirect = { "http://127.0.0.1:1/" };
  change_t change = { .domains = here };

  pthread_mutex_lock(&host->server->mutex);
  host->server->serve = serve_redirect;
  host->server->serve_arg = &redirect;
  pthread_mutex_unlock(&host->server->mutex);
  set_policy(host, &change);
  expect_refusal(host, get(host, at_server(host, "http://localhost:%d/"), NULL),
                 NT_E_DOMAIN, "http://127.0.0.1:1");
}

/* ---- Kinds --------------------------------------------------------------- */

/* Each kind has a list of its own. */
static void keeps_kinds_apart(void** state) {
  static const char* const nowhere[] = { "nowhere.example" };
  host_t* host = *state;
  const char* url = at_server(host, "http://127.0.0.1:%d/");
  char target[64];
  nt_download_options_t download;
  nt_upload_options_t upload;
  change_t change = { .access = NT_ACCESS_DOWNLOAD, .domains = nowhere };
  nt_id_t id;

  snprintf(target, sizeof(target), "http://127.0.0.1:%d", host->server->port);
  set_policy(host, &change);
  nt_download_options_init(&download);
  download.request.url = url;
  assert_int_equal(nt_download_open(host->net, &id), 0);
  assert_int_equal(nt_download_start(host->net, id, &download), 0);
  expect_refusal(host, id, NT_E_DOMAIN, target);

  change.access = NT_ACCESS_UPLOAD;
  set_policy(host, &change);
  nt_upload_options_init(&upload);
  upload.request.url = url;
  assert_int_equal(nt_upload_open(host->net, &id), 0);
  assert_int_equal(nt_upload_start(host->net, id, &upload), 0);
  expect_refusal(host, id, NT_E_DOMAIN, target);

  expect_status(host, get(host, url, NULL), 200);
  change.access = NT_ACCESS_REQUEST;
  set_policy(host, &change);
  expect_refusal(host, get(host, url, NULL), NT_E_DOMAIN, target);
  assert_int_equal(server_requests(host->server), 1);
}

static void tells_sockets_at_once(void** state) {
  static const char* const nowhere[] = { "nowhere.example" };
  host_t* host = *state;
  change_t change = { .flags = NT_POLICY_REFUSE_PRIVATE,
                      .access = NT_ACCESS_SOCKET,
                      .domains = nowhere };
  nt_websocket_options_t options;
  nt_event_t ev;
  nt_id_t id;

  set_policy(host, &change);
  nt_websocket_options_init(&options);
  assert_int_equal(nt_websocket_open(host->net, &id), 0);
  options.url = "wss://a.example/secret";
  assert_int_equal(nt_websocket_start(host->net, id, &options), NT_E_DOMAIN);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);
  assert_int_equal(ev.error, NT_E_DOMAIN);
  assert_true(ev.id == id);
  assert_string_equal(ev.message, "https://a.example:443");
  change.domains = NULL;
  set_policy(host, &change);
  options.url = "ws://127.1/";
  assert_int_equal(nt_websocket_start(host->net, id, &options), NT_E_PRIVATE);
  options.url = "ws://a.example/";
  options.proxy = "http://u:p@localhost/";
  assert_int_equal(nt_websocket_start(host->net, id, &options), NT_E_PRIVATE);
  host_next(host, &ev);
  assert_string_equal(ev.message, "http://127.0.0.1:80");
  host_next(host, &ev);
  assert_string_equal(ev.message, "http://localhost:80");
  options.proxy = "http:/u:p@localhost:9"; /* which is one for libcurl */
  assert_int_equal(nt_websocket_start(host->net, id, &options), NT_E_PRIVATE);
  host_next(host, &ev);
  assert_string_equal(ev.message, "http://localhost:9");
}

/* ---- Proxies ------------------------------------------------------------- */

static void expect_path(host_t* host, size_t index, const char* path) {
  pthread_mutex_lock(&host->server->mutex);
  assert_true(host->server->requests > index);
  assert_string_equal(host->server->order[index], path);
  pthread_mutex_unlock(&host->server->mutex);
}

/* The policy's proxy needs no leave, and the environment no say. */
static void goes_through_the_proxy(void** state) {
  host_t* host = *state;
  char proxy[64];
  nt_event_t ev;
  change_t change = { .flags = NT_POLICY_REFUSE_PRIVATE, .proxy = proxy };

  snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", host->server->port);
  setenv("no_proxy", "*", 1);
  setenv("NO_PROXY", "*", 1);
  set_policy(host, &change);
  expect_status(host, get(host, "http://a.example/hello", NULL), 200);
  expect_status(host, get(host, "http://b.example:81/redirect/1", NULL), 200);
  expect_path(host, 0, "http://a.example/hello");
  expect_path(host, 1, "http://b.example:81/redirect/1");
  unsetenv("no_proxy");
  unsetenv("NO_PROXY");
  /* A tunnel, and what comes out of it is no TLS. */
  host_end(host, get(host, "https://c.example/", NULL), &ev);
  assert_int_equal(ev.error, NT_E_TLS);
  expect_path(host, 2, "c.example:443");
  /* What the target's host shows counts, through a proxy as well. */
  expect_refusal(host, get(host, "http://127.0.0.1:1/", NULL), NT_E_PRIVATE,
                 "http://127.0.0.1:1");
  assert_int_equal(server_requests(host->server), 3);
}

static void lets_tasks_choose(void** state) {
  host_t* host = *state;
  change_t change = { .proxy = "http://127.0.0.1:1" };
  char proxy[64];
  nt_request_options_t options;
  nt_id_t id = host_open(host);

  snprintf(proxy, sizeof(proxy), "http://u:p@127.0.0.1:%d", host->server->port);
  set_policy(host, &change);
  host_expect(host, get(host, "http://a.example/", NULL), NT_E_PROXY);
  expect_status(host, get(host, "http://a.example/", proxy), 200);
  expect_path(host, 0, "http://a.example/");
  expect_status(host, get(host, at_server(host, "http://127.0.0.1:%d/x"), ""),
                200);
  expect_path(host, 1, "/x");
  nt_request_options_init(&options);
  options.url = "http://a.example/";
  options.proxy = "ftp://a";
  assert_int_equal(nt_request_start(host->net, id, &options), NT_E_INVALID);
}

static void refuses_own_proxies(void** state) {
  static const char* const only[] = { "a.example" };
  host_t* host = *state;
  change_t change = { .flags = NT_POLICY_REFUSE_PROXY };
  const char* url = "http://a.example/";
  char proxy[64];
  char target[64];

  snprintf(proxy, sizeof(proxy), "http://u:p@localhost:%d", host->server->port);
  snprintf(target, sizeof(target), "http://localhost:%d", host->server->port);
  set_policy(host, &change);
  expect_refusal(host, get(host, url, proxy), NT_E_OWN_PROXY, target);
  expect_refusal(host, get(host, url, ""), NT_E_OWN_PROXY,
                 "http://a.example:80");
  change.flags = NT_POLICY_REFUSE_PRIVATE;
  set_policy(host, &change);
  expect_refusal(host, get(host, url, proxy), NT_E_PRIVATE, target);
  change.allowed = list_v6; /* now at its address */
  set_policy(host, &change);
  expect_refusal(host, get(host, url, proxy), NT_E_PRIVATE,
                 "http://a.example:80");
  change.flags = 0;
  change.domains = only;
  set_policy(host, &change);
  expect_refusal(host, get(host, url, proxy), NT_E_DOMAIN, target);
  change.domains = NULL;
  set_policy(host, &change);
  expect_status(host, get(host, url, proxy), 200);
  assert_int_equal(connections(host), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(refuses_a_literal),
    HOST_TEST(refuses_what_a_name_leads_to),
    HOST_TEST(tries_the_other_addresses),
    HOST_TEST(checks_what_is_used_again),
    HOST_TEST(checks_each_redirect),
    HOST_TEST(keeps_redirects_on_the_list),
    HOST_TEST(keeps_kinds_apart),
    HOST_TEST(tells_sockets_at_once),
    HOST_TEST(goes_through_the_proxy),
    HOST_TEST(lets_tasks_choose),
    HOST_TEST(refuses_own_proxies),
  };

  return cmocka_run_group_tests_name("reach", tests, NULL, NULL);
}
