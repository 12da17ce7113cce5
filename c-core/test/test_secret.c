/* Secrets: placeholders in texts, and what a server, a redirect and the host
 * see of them. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "host.h"
#include "secret.h"

/* ---- Texts --------------------------------------------------------------- */

static const nt_secret_t some[] = {
  { "a", "{a}", "ALPHA-IS-LONG", { NULL, 0 } },
  { "b", "{bbbbbbbbbbbb}", "B", { NULL, 0 } },
  { "none", "{none}", "", { NULL, 0 } },
  { "again", "{again}", "{a}", { NULL, 0 } },
  { "begin", "<x", "SHORT", { NULL, 0 } },
  { "whole", "<x>", "WHOLE", { NULL, 0 } },
  { "empty", "", "NEVER", { NULL, 0 } },
};

static const nt_policy_t policy = { .secrets = some,
                                    .secret_count = COUNT(some) };

static const struct {
  const char* text;
  const char* revealed;
} texts[] = {
  { "", "" },
  { "Bearer", "Bearer" },
  { "{a}", "ALPHA-IS-LONG" },
  { "Bearer {a}", "Bearer ALPHA-IS-LONG" },
  { "{a} it is", "ALPHA-IS-LONG it is" },
  { "{a}{a}{a}", "ALPHA-IS-LONGALPHA-IS-LONGALPHA-IS-LONG" },
  { "{bbbbbbbbbbbb}:{a}:{bbbbbbbbbbbb}", "B:ALPHA-IS-LONG:B" },
  { "x{none}y", "xy" },
  { "{none}", "" },
  { "{again}", "{a}" }, /* what was put in is not read again */
  { "{ag{a}in}", "{agALPHA-IS-LONGin}" },
  { "<x> <x", "WHOLE SHORT" }, /* the longest */
  { "{A}{ a}{a", "{A}{ a}{a" },
  { "{{a}}", "{ALPHA-IS-LONG}" },
  { "{unknown} {bbbbbbbbbbb}", "{unknown} {bbbbbbbbbbb}" },
};

static void reveals(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(texts); i++) {
    const char* text = texts[i].text;
    size_t size = strlen(texts[i].revealed);
    char out[128];

    memset(out, '#', sizeof(out));
    assert_int_equal(nt__secret_reveal(&policy, text, strlen(text), NULL),
                     size);
    assert_int_equal(nt__secret_reveal(&policy, text, strlen(text), out), size);
    assert_memory_equal(out, texts[i].revealed, size);
    assert_int_equal(out[size], '#');
    assert_int_equal(nt__secret_is_in(&policy, text, strlen(text)),
                     strcmp(text, texts[i].revealed) != 0);
  }
}

/* Full of one, with no end of others to look for, in time of the processor. */
static void reads_a_long_text_once(void** state) {
  static const char one[] = "{bbbbbbbbbbbb}";
  enum {
    COPIES = 200000,
    SIZE = COPIES * (sizeof(one) - 1)
  };
  char* text = malloc(SIZE);
  clock_t start = clock();
  size_t i;

  (void) state;
  assert_non_null(text);
  for (i = 0; i < COPIES; i++)
    memcpy(text + i * (sizeof(one) - 1), one, sizeof(one) - 1);
  assert_int_equal(nt__secret_reveal(&policy, text, SIZE, NULL), COPIES);
  assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
  free(text);
}

static void looks_no_further_than_the_text(void** state) {
  static const nt_policy_t none;

  (void) state;
  assert_false(nt__secret_is_in(&policy, "12{a}", 4));
  assert_true(nt__secret_is_in(&policy, "12{a}", 5));
  assert_int_equal(nt__secret_reveal(&policy, "{a}{a}", 5, NULL), 15);
  assert_false(nt__secret_is_in(&none, "{a}", 3));
  assert_int_equal(nt__secret_reveal(&none, "{a}", 3, NULL), 3);
}

/* ---- Who may get them ---------------------------------------------------- */

static const char* const tls_hosts[] = { "api.example.com", "*.cdn.example" };
static const char* const plain_hosts[] = { "http://10.0.0.1" };

static const nt_secret_t kept[] = {
  { "tls", "{tls}", "VALUE-ONE", { tls_hosts, COUNT(tls_hosts) } },
  { "plain", "{plain}", "VALUE-TWO", { plain_hosts, COUNT(plain_hosts) } },
  { "nobody's", "{nobody}", "VALUE-THREE", { NULL, 0 } },
};

static const struct {
  const char* url;
  const char* text;
  bool overheard;
  const char* message; /* NULL: it may */
} uses[] = {
  { "https://api.example.com/", "{tls}", false, NULL },
  { "https://API.example.com.:8443/x", "{tls}", false, NULL },
  { "https://a.b.cdn.example/", "{tls}", false, NULL },
  { "https://api.example.com/", "{tls}", true,
    "https://api.example.com:443, secret \"tls\"" },
  { "http://10.0.0.1/", "{plain}", false, NULL },
  { "https://evil.example/", "no secret", true, NULL },
  { "https://evil.example/", "{unknown}", true, NULL },
  { "https://evil.example/", "{tls}", false,
    "https://evil.example:443, secret \"tls\"" },
  { "http://api.example.com/", "{tls}", false,
    "http://api.example.com:80, secret \"tls\"" },
  { "https://cdn.example/", "{tls}", false,
    "https://cdn.example:443, secret \"tls\"" },
  { "https://api.example.com.evil.example/", "{tls}", false,
    "https://api.example.com.evil.example:443, secret \"tls\"" },
  { "https://api.example.com@evil.example/", "{tls}", false,
    "https://evil.example:443, secret \"tls\"" },
  { "https://evil.example/#@api.example.com", "{tls}", false,
    "https://evil.example:443, secret \"tls\"" },
  { "http://10.0.0.1/", "{plain}", true,
    "http://10.0.0.1:80, secret \"plain\"" },
  { "https://api.example.com/", "{tls} {plain}", false,
    "https://api.example.com:443, secret \"plain\"" },
  { "https://api.example.com/", "{nobody}", false,
    "https://api.example.com:443, secret \"nobody's\"" },
};

static void checks(void** state) {
  static const nt_policy_t values = { .secrets = kept,
                                      .secret_count = COUNT(kept) };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(uses); i++) {
    const char* text = uses[i].text;
    char message[256] = "";
    nt__url_t url;
    int err;

    assert_int_equal(nt__url_parse(&url, NULL, uses[i].url), 0);
    err = nt__secret_check(&values, text, strlen(text), &url, uses[i].overheard,
                           message, sizeof(message));
    nt__url_free(&url);
    assert_int_equal(err, uses[i].message == NULL ? 0 : NT_E_SECRET);
    assert_string_equal(message,
                        uses[i].message == NULL ? "" : uses[i].message);
  }
}

/* ---- On the wire --------------------------------------------------------- */

enum {
  VALUE_SIZE = 20000
};

static char long_value[VALUE_SIZE + 1];
static char own_host[64];
static const char* const own_hosts[] = { own_host };

static void set_secrets(nt_policy_t* values) {
  static nt_secret_t secrets[] = {
    { "key", "{key}", "k3y-VALUE", { own_hosts, 1 } },
    { "long", "{long}", long_value, { own_hosts, 1 } },
  };

  memset(long_value, 'L', VALUE_SIZE);
  values->secrets = secrets;
  values->secret_count = COUNT(secrets);
}

static void use_secrets(host_t* host) {
  snprintf(own_host, sizeof(own_host), "http://127.0.0.1:%d",
           host->server->port);
  host_policy(host, set_secrets);
}

static void end_with(host_t* host, const char* path, const char* value,
                     const char* method, nt_event_t* ev) {
  nt_header_t headers[] = { { "X-Before", "1" },
                            { "X-Key", value },
                            { "X-After", "2" } };
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.headers = headers;
  options.header_count = COUNT(headers);
  options.method = method;
  host_end(host, host_start(host, path, &options), ev);
}

static void sends_the_value(void** state) {
  host_t* host = *state;
  nt_event_t ev;

  use_secrets(host);
  end_with(host, "/echo", "a {key} b {key}", "GET", &ev);
  assert_int_equal(ev.error, 0);
  assert_non_null(strstr(ev.data,
                         "X-Before: 1\r\nX-Key: a k3y-VALUE b "
                         "k3y-VALUE\r\nX-After: 2\r\n"));
  end_with(host, "/echo", "{long}{long}", "GET", &ev);
  assert_int_equal(ev.error, 0);
  assert_true(ev.size > (size_t) 2 * VALUE_SIZE);
  assert_non_null(strstr(ev.data, long_value));
}

static void sends_nothing_to_others(void** state) {
  host_t* host = *state;
  char message[64];
  nt_event_t ev;

  snprintf(own_host, sizeof(own_host), "http://127.0.0.1:1");
  host_policy(host, set_secrets);
  end_with(host, "/echo", "{key}", "GET", &ev);
  assert_int_equal(ev.error, NT_E_SECRET);
  snprintf(message, sizeof(message), "http://127.0.0.1:%d, secret \"key\"",
           host->server->port);
  assert_string_equal(ev.message, message);
  assert_int_equal(ev.status, 0);
  assert_int_equal(host->server->requests, 0);
  assert_null(host->server->connections);
  host_still_works(host);
}

static void asks_for_no_echo(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  static const char* const methods[] = { "TRACE", "trace", "TRACK" };
  size_t i;

  use_secrets(host);
  for (i = 0; i < COUNT(methods); i++) {
    end_with(host, "/echo", "{key}", methods[i], &ev);
    assert_int_equal(ev.error, NT_E_SECRET);
  }
  assert_null(host->server->connections);
  end_with(host, "/echo", "key", "TRACE", &ev);
  assert_int_equal(ev.error, 0);
}

/* The first origin may have it, and the second is another by its name alone. */
static void redirect_elsewhere(connection_t* c, void* arg) {
  char answer[256];

  (void) arg;
  while (connection_read(c)) {
    if (strncmp(c->request, "GET /go ", 8) == 0) {
      snprintf(answer, sizeof(answer),
               "Location: http://localhost:%d/there\r\n", c->server->port);
      if (!connection_answer(c, "302 Found", answer, "", 0))
        return;
    } else if (strncmp(c->request, "GET /near ", 10) == 0) {
      if (!connection_answer(c, "302 Found", "Location: /there\r\n", "", 0))
        return;
    } else if (!connection_answer(c, "200 OK", "", c->request, c->size)) {
      return;
    }
  }
}

static void serve_redirects(host_t* host) {
  pthread_mutex_lock(&host->server->mutex);
  host->server->serve = redirect_elsewhere;
  pthread_mutex_unlock(&host->server->mutex);
}

static void looks_at_values_alone(void** state) {
  host_t* host = *state;
  nt_event_t ev;

  serve_redirects(host);
  use_secrets(host);
  end_with(host, "/{key}?{key}", "{unknown}", "GET", &ev);
  assert_int_equal(ev.error, 0);
  assert_non_null(strstr(ev.data, "X-Key: {unknown}\r\n"));
  assert_null(strstr(ev.data, "k3y-VALUE"));
}

static void drops_it_at_another_origin(void** state) {
  host_t* host = *state;
  nt_event_t ev;

  serve_redirects(host);
  use_secrets(host);
  end_with(host, "/near", "is {key}", "GET", &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.redirects, 1);
  assert_non_null(strstr(ev.data, "X-Key: is k3y-VALUE\r\n"));
  end_with(host, "/go", "is {key}", "GET", &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.redirects, 1);
  assert_non_null(strstr(ev.data, "GET /there "));
  assert_non_null(strstr(ev.data, "X-Before: 1\r\nX-After: 2\r\n"));
  assert_null(strstr(ev.data, "X-Key"));
}

/* What the script's own proxy reads, the script reads. */
static void hides_it_from_a_proxy_of_the_task(void** state) {
  host_t* host = *state;
  nt_websocket_options_t options;
  nt_header_t header = { "X-Key", "{key}" };
  char proxy[64];
  char url[64];
  nt_event_t ev;
  nt_id_t id = 0;

  use_secrets(host);
  snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", host->server->port);
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", host->server->port);
  nt_websocket_options_init(&options);
  options.url = url;
  options.proxy = proxy;
  options.headers = &header;
  options.header_count = 1;
  assert_int_equal(nt_websocket_open(host->net, &id), 0);
  assert_int_equal(nt_websocket_start(host->net, id, &options), 0);
  host_end(host, id, &ev);
  assert_int_equal(ev.error, NT_E_SECRET);
  assert_null(host->server->connections);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reveals),
    cmocka_unit_test(looks_no_further_than_the_text),
    cmocka_unit_test(reads_a_long_text_once),
    cmocka_unit_test(checks),
    HOST_TEST(sends_the_value),
    HOST_TEST(sends_nothing_to_others),
    HOST_TEST(asks_for_no_echo),
    HOST_TEST(looks_at_values_alone),
    HOST_TEST(drops_it_at_another_origin),
    HOST_TEST(hides_it_from_a_proxy_of_the_task),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
