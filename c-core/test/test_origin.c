/* origin.c: what Origin says, when a hop has left the origin, and which answers
 * have the permission to be told. */
#include <string.h>

#include "alloc.h"
#include "check.h"
#include "failing.h"
#include "header.h"
#include "origin.h"

static nt__transfer_t transfer_of(nt_mode_t mode, const char* origin,
                                  const char* url) {
  nt__transfer_t t;

  memset(&t, 0, sizeof(t));
  t.mode = mode;
  t.origin = origin;
  nt__headers_init(&t.headers, 0);
  assert_int_equal(nt__url_parse(&t.url, NULL, url), 0);
  return t;
}

static void go(nt__transfer_t* t, const char* url) {
  nt__url_free(&t->url);
  assert_int_equal(nt__url_parse(&t->url, NULL, url), 0);
  t->redirects++;
}

static void drop(nt__transfer_t* t) {
  nt__url_free(&t->url);
  nt__headers_free(&t->headers);
}

/* ---- Hops ---------------------------------------------------------------- */

static const struct {
  const char* origin;
  const char* url;
  bool abroad;
} places[] = {
  { "http://a.example", "http://a.example/x?y", false },
  { "http://a.example:80/any#thing", "http://A.EXAMPLE", false },
  { "http://user:word@a.example/", "http://a.example/", false },
  { "https://a.example", "https://a.example:443/", false },
  { "http://[::1]:8080", "http://[::1]:8080/", false },
  { "http://a.example", "https://a.example/", true },
  { "http://a.example", "http://b.a.example/", true },
  { "http://a.example", "http://a.example:8080/", true },
  { "http://a.example", "http://a.example./", true },
  { "ftp://a.example", "http://a.example/", true },
  { "nonsense", "http://a.example/", true },
  { "", "http://a.example/", true },
};

static void hops(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(places); i++) {
    nt__transfer_t t =
        transfer_of(NT_MODE_SAME_ORIGIN, places[i].origin, places[i].url);

    assert_int_equal(nt__origin_enter(&t),
                     places[i].abroad ? NT_E_CROSS_ORIGIN : 0);
    t.mode = NT_MODE_CORS;
    assert_int_equal(nt__origin_enter(&t), 0);
    assert_int_equal(t.abroad, places[i].abroad);
    drop(&t);
  }
}

static void once_abroad(void** state) {
  nt__transfer_t t =
      transfer_of(NT_MODE_NO_CORS, "http://a.example", "http://a.example/");

  (void) state;
  assert_int_equal(nt__origin_enter(&t), 0);
  assert_false(t.abroad);
  go(&t, "http://b.example/");
  assert_int_equal(nt__origin_enter(&t), 0);
  assert_true(t.abroad);
  go(&t, "http://a.example/");
  assert_int_equal(nt__origin_enter(&t), 0);
  assert_true(t.abroad);
  /* A spare block begins anew. */
  t.redirects = 0;
  assert_int_equal(nt__origin_enter(&t), 0);
  assert_false(t.abroad);
  drop(&t);
}

static void without_effect(void** state) {
  static const nt_mode_t modes[] = { NT_MODE_ANY, NT_MODE_SAME_ORIGIN,
                                     NT_MODE_CORS, NT_MODE_NO_CORS };
  char* line;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(modes); i++) {
    nt__transfer_t t = transfer_of(modes[i], i == 0 ? "http://b.example" : NULL,
                                   "http://a.example/");

    t.status = 200;
    assert_int_equal(nt__origin_enter(&t), 0);
    assert_int_equal(nt__origin_write(&t, &line), 0);
    assert_null(line);
    assert_int_equal(nt__origin_judge(&t), 0);
    assert_int_equal(t.status, 200);
    assert_false(t.opaque);
    drop(&t);
  }
}

/* ---- Origin -------------------------------------------------------------- */

static const struct {
  const char* origin;
  const char* line;
} lines[] = {
  { "http://a.example", "Origin: http://a.example" },
  { "HTTP://A.Example:80/path", "Origin: http://a.example" },
  { "https://u:p@a.example:443", "Origin: https://a.example" },
  { "https://a.example:80", "Origin: https://a.example:80" },
  { "http://[::1]", "Origin: http://[::1]" },
  { "http://[::1]:99/", "Origin: http://[::1]:99" },
  { "ftp://a.example", "Origin: null" },
  { "nonsense", "Origin: null" },
};

static void what_is_sent(void** state) {
  char* line;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(lines); i++) {
    nt__transfer_t t =
        transfer_of(NT_MODE_CORS, lines[i].origin, "http://a.example/");

    assert_int_equal(nt__origin_write(&t, &line), 0);
    assert_string_equal(line, lines[i].line);
    nt__free(line);
    t.mode = NT_MODE_NO_CORS;
    assert_int_equal(nt__origin_write(&t, &line), 0);
    assert_null(line);
    drop(&t);
  }
}

/* ---- Answers ------------------------------------------------------------- */

#define ALLOW "Access-Control-Allow-Origin: "
#define TOO "Access-Control-Allow-Credentials: "
#define HOME "http://home.example"

static const struct {
  const char* fields[3];
  bool plain; /* whether it may be told, */
  bool full;  /* and with credentials */
} answers[] = {
  { { NULL }, false, false },
  { { ALLOW "*" }, true, false },
  { { ALLOW "*", TOO "true" }, true, false },
  { { ALLOW HOME }, true, false },
  { { ALLOW HOME, TOO "true" }, true, true },
  { { "access-control-allow-origin: " HOME, TOO "true" }, true, true },
  { { ALLOW HOME, TOO "TRUE" }, true, false },
  { { ALLOW HOME, TOO "true", TOO "true" }, true, false },
  { { ALLOW "HTTP://home.example", TOO "true" }, false, false },
  { { ALLOW HOME "/" }, false, false },
  { { ALLOW HOME ":80" }, false, false },
  { { ALLOW "http://home.exampl" }, false, false },
  { { ALLOW "null" }, false, false },
  { { ALLOW }, false, false },
  { { ALLOW HOME, ALLOW HOME }, false, false },
  { { ALLOW "*", ALLOW "*" }, false, false },
  { { ALLOW HOME ", " HOME }, false, false },
};

static void permissions(void** state) {
  size_t i;
  size_t k;

  (void) state;
  for (i = 0; i < COUNT(answers); i++) {
    nt__transfer_t t = transfer_of(NT_MODE_CORS, HOME, "http://far.example/");

    for (k = 0; k < COUNT(answers[i].fields); k++) {
      const char* line = answers[i].fields[k];

      if (line != NULL)
        assert_int_equal(nt__headers_add_line(&t.headers, line, strlen(line)),
                         0);
    }
    assert_int_equal(nt__origin_enter(&t), 0);
    assert_int_equal(nt__origin_judge(&t), answers[i].plain ? 0 : NT_E_CORS);
    t.flags = NT_REQUEST_COOKIES_SEND;
    assert_int_equal(nt__origin_judge(&t), answers[i].full ? 0 : NT_E_CORS);
    t.flags |= NT_REQUEST_SAME_ORIGIN;
    assert_int_equal(nt__origin_judge(&t), answers[i].plain ? 0 : NT_E_CORS);
    drop(&t);
  }
}

static void opaque(void** state) {
  nt__transfer_t t = transfer_of(NT_MODE_NO_CORS, HOME, "http://far.example/");

  (void) state;
  assert_int_equal(nt__headers_add_line(&t.headers, "X: y", 4), 0);
  t.status = 200;
  assert_int_equal(nt__origin_enter(&t), 0);
  assert_int_equal(nt__origin_judge(&t), 0);
  assert_true(t.opaque);
  assert_int_equal(t.status, 0);
  assert_null(nt__headers_find(&t.headers, "x"));
  drop(&t);
}

/* ---- Without memory ------------------------------------------------------ */

static void without_memory(void** state) {
  nt__transfer_t t = transfer_of(NT_MODE_CORS, HOME, "http://far.example/");
  bool whole = false;
  char* line;
  long n;
  int err;

  (void) state;
  assert_int_equal(
      nt__headers_add_line(&t.headers, ALLOW "*", strlen(ALLOW "*")), 0);
  for (n = 1; !whole; n++) {
    long live = atomic_load(&failing_live);

    failing_start(FAILING_ONCE, n);
    err = nt__origin_enter(&t);
    if (err == 0)
      err = nt__origin_write(&t, &line);
    if (err == 0) {
      nt__free(line);
      err = nt__origin_judge(&t);
    }
    whole = failing_stop();
    assert_int_equal(err, whole ? 0 : NT_E_NOMEM);
    assert_int_equal(atomic_load(&failing_live), live);
    t.abroad = false;
    assert_true(n < 200);
  }
  drop(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(hops),           cmocka_unit_test(once_abroad),
    cmocka_unit_test(without_effect), cmocka_unit_test(what_is_sent),
    cmocka_unit_test(permissions),    cmocka_unit_test(opaque),
    cmocka_unit_test(without_memory),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("origin", tests, NULL, NULL);
}
