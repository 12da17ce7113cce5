/* cache_rules.c: what RFC 9111 says, by sections, in tables. Each answer came
 * at the same moment; "@" is a date, so many seconds after it. */
#include "cache_rules.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "header_lines.h"

#define NOW_S INT64_C(1700000000)
#define NOW (NOW_S * 1000)
#define S *INT64_C(1000)
#define H *INT64_C(3600000)

#define FETCH NT__CACHE_FETCH
#define USE NT__CACHE_USE
#define RENEW NT__CACHE_RENEW
#define ASK NT__CACHE_VALIDATE
#define REFUSE NT__CACHE_REFUSE

/* What a test has in hands: an answer, and a request. */
typedef struct hands {
  nt__headers_t headers, request;
  nt_headers_t asked_with;
  nt__stored_t stored;
} hands_t;

static hands_t take(const char* headers, const char* request) {
  hands_t hands;

  memset(&hands, 0, sizeof(hands));
  hands.headers = lines_read(headers, NOW_S);
  hands.request = lines_read(request, NOW_S);
  hands.stored.status = 200;
  hands.stored.asked = hands.stored.answered = NOW;
  hands.stored.headers = nt__headers_view(&hands.headers);
  hands.asked_with = nt__headers_view(&hands.request);
  return hands;
}

static void drop(hands_t* hands) {
  nt__headers_free(&hands->headers);
  nt__headers_free(&hands->request);
}

/* ---- Freshness, 4.2 and 5.2.2 -------------------------------------------- */

/* For how long it is used without a question, in ms; the age begins with 0
 * unless the fields say otherwise. */
static const struct {
  const char* headers;
  int64_t fresh_ms;
} lifetimes[] = {
  { "", 0 },
  { "Date: @0", 0 },
  { "ETag: \"a\"", 0 },
  { "Cache-Control: max-age=10", 10 S },
  { "cache-control: MaX-AgE=10", 10 S },
  { "Cache-Control: max-age=0", 0 },
  { "Cache-Control: foo, max-age=10", 10 S },
  { "Cache-Control: ,, max-age=10 ,", 10 S },
  { "Cache-Control:\nCache-Control: max-age=10", 10 S },
  { "Cache-Control: private=\"max-age=20\", max-age=10", 10 S },
  { "Cache-Control: max-age=0010", 10 S },
  { "Cache-Control: max-age=\"10\"", 10 S },
  /* One that is larger than any is the largest that there is. */
  { "Cache-Control: max-age=2147483647", INT64_C(2147483647) S },
  { "Cache-Control: max-age=2147483648", INT64_C(2147483648) S },
  { "Cache-Control: max-age=2147483649", INT64_C(2147483648) S },
  { "Cache-Control: max-age=99999999999", INT64_C(2147483648) S },
  { "Cache-Control: max-age=99999999999999999999999999999999",
    INT64_C(2147483648) S },
  /* What makes no sense is stale, and no Expires helps it. */
  { "Cache-Control: max-age", 0 },
  { "Cache-Control: max-age=", 0 },
  { "Cache-Control: max-age=\"\"", 0 },
  { "Cache-Control: max-age=-10", 0 },
  { "Cache-Control: max-age=+10", 0 },
  { "Cache-Control: max-age=10.0", 0 },
  { "Cache-Control: max-age=10.5", 0 },
  { "Cache-Control: max-age=a10", 0 },
  { "Cache-Control: max-age=10a", 0 },
  { "Cache-Control: max-age='10'", 0 },
  { "Cache-Control: max-age=0x10", 0 },
  { "Cache-Control: max-age=\"10", 0 },
  { "Cache-Control: max-age=\"10\"0", 0 },
  { "Cache-Control: max-age =10", 0 },
  { "Cache-Control: max-age= 10", 0 },
  { "Cache-Control: max-age=a\nExpires: @10\nDate: @0", 0 },
  /* Not a max-age at all. */
  { "Cache-Control: xmax-age=10", 0 },
  { "Cache-Control: max-agex=10", 0 },
  { "Cache-Control: foo=\"max-age=10\"", 0 },
  { "Cache-Control: foo=\"a\\\", max-age=10\"", 0 },
  { "Cache-Control: foo=\"max-age=20\", max-age=10", 10 S },
  { "Cache-Control: max-age=10, foo=\"max-age=20\"", 10 S },
  { "Cache-Control: max-age=\"10\", foo=\"max-age=20\"", 10 S },
  { "Cache-Control: foo=\"a\\\"b\", max-age=10", 10 S },
  { "X-Cache-Control: max-age=10", 0 },
  /* Said twice: the shorter. */
  { "Cache-Control: max-age=10, max-age=10", 10 S },
  { "Cache-Control: max-age=10, max-age=20", 10 S },
  { "Cache-Control: max-age=20, max-age=10", 10 S },
  { "Cache-Control: max-age=20\nCache-Control: max-age=10", 10 S },
  { "Cache-Control: max-age=10, max-age=x", 0 },
  /* For others than us. */
  { "Cache-Control: s-maxage=20", 0 },
  { "Cache-Control: s-maxage=20, max-age=10", 10 S },
  { "Cache-Control: s-maxage=5, max-age=10", 10 S },
  { "Cache-Control: max-age=10, proxy-revalidate", 10 S },
  { "Cache-Control: max-age=10, private", 10 S },
  { "Cache-Control: max-age=10, private=\"x\"", 10 S },
  { "Cache-Control: max-age=10, must-revalidate", 10 S },
  { "Cache-Control: max-age=10\nPragma: no-cache", 10 S },
  { "Surrogate-Control: max-age=10", 0 },
  /* 5.2.2.4 */
  { "Cache-Control: max-age=10, no-cache", 0 },
  { "Cache-Control: no-cache, max-age=10", 0 },
  { "Cache-Control: max-age=10, NO-CACHE", 0 },
  { "Cache-Control: max-age=10\nCache-Control: no-cache", 0 },
  { "Cache-Control: no-cache\nExpires: @10\nDate: @0", 0 },
  { "Cache-Control: max-age=10, no-cache=\"set-cookie\"", 10 S },
  { "Cache-Control: max-age=10, no-cache=\"a, b\"", 10 S },
  { "Cache-Control: max-age=10, no-cache=a", 10 S },
  { "Cache-Control: max-age=10, no-cache=\"a\", no-cache", 0 },
  { "Cache-Control: max-age=10, no-cache=\"\"", 0 },
  { "Cache-Control: max-age=10, no-cache=", 0 },
  { "Cache-Control: max-age=10, no-cache=\"a", 0 },
  { "Cache-Control: max-age=10, no-cache=\"a b\"", 0 },
  { "Cache-Control: max-age=10, no-cache=\"vary\"", 0 },
  { "Cache-Control: max-age=10, no-cache=\"a, Cache-Control\"", 0 },
  { "Cache-Control: max-age=10, foo=\"bar", 0 },
  { "Cache-Control: max-age=10, no-store", 0 },
  { "Cache-Control: max-age=10, no-store, must-understand", 10 S },
  /* Expires, 5.3 */
  { "Expires: @10\nDate: @0", 10 S },
  { "Expires: @10", 10 S },
  { "Expires: @10\nDate: foo", 10 S },
  { "Expires: @0\nDate: @0", 0 },
  { "Expires: @-10\nDate: @0", 0 },
  { "Expires: @300\nDate: @400", 0 },
  { "Expires: 0\nDate: @0", 0 },
  { "Expires: -1\nDate: @0", 0 },
  { "Expires:\nDate: @0", 0 },
  { "Expires: never\nDate: @0", 0 },
  { "Expires: Fri, 31 Dec 9999 23:59:59 UTC\nDate: @0", 0 },
  { "Expires: @10\nExpires: @20\nDate: @0", 10 S },
  { "Expires: @20\nExpires: @10\nDate: @0", 10 S },
  { "Expires: @20\nExpires: 0\nDate: @0", 0 },
  { "Expires: @-10\nDate: @0\nCache-Control: max-age=10", 10 S },
  { "Expires: 0\nDate: @0\nCache-Control: max-age=10", 10 S },
  { "Expires: @10\nDate: @0\nCache-Control: max-age=0", 0 },
  { "Expires: @10\nDate: @0\nCache-Control: s-maxage=0", 10 S },
  { "Expires: @20\nDate: @10", 10 S },
  /* Age and Date, 4.2.3 and 5.1 */
  { "Cache-Control: max-age=10\nAge: 4", 6 S },
  { "Cache-Control: max-age=10\nAge: 10", 0 },
  { "Cache-Control: max-age=10\nAge: 0", 10 S },
  { "Cache-Control: max-age=10\nAge: 4, 7", 6 S },
  { "Cache-Control: max-age=10\nAge: 0,20", 10 S },
  { "Cache-Control: max-age=10\nAge: 20, 0", 0 },
  { "Cache-Control: max-age=10\nAge: 4\nAge: 7", 6 S },
  { "Cache-Control: max-age=10\nAge: abc", 10 S },
  { "Cache-Control: max-age=10\nAge: -4", 10 S },
  { "Cache-Control: max-age=10\nAge: 4.0", 10 S },
  { "Cache-Control: max-age=10\nAge: 4;a=b", 10 S },
  { "Cache-Control: max-age=10\nAge:", 10 S },
  { "Cache-Control: max-age=10\nAge: 2147483647", 0 },
  { "Cache-Control: max-age=10\nAge: 99999999999999999999999999", 0 },
  { "Cache-Control: max-age=10\nDate: @-20", 0 },
  { "Cache-Control: max-age=10\nDate: @-4", 6999 },
  { "Cache-Control: max-age=10\nDate: @-4\nAge: 5", 5 S },
  { "Cache-Control: max-age=10\nDate: @-6\nAge: 4", 4999 },
  { "Cache-Control: max-age=10\nDate: @400", 10 S },
  { "Cache-Control: max-age=10\nDate: foo", 10 S },
  { "Expires: @10\nDate: @-10\nAge: 25", 0 },
  { "Expires: @20\nDate: @10\nAge: 15", 0 },
  { "Expires: @10\nDate: @-10", 10999 },
  /* Heuristics, 4.2.2 */
  { "Last-Modified: @-100\nDate: @0", 10 S },
  { "Last-Modified: @-864000\nDate: @0", 24 H },
  { "Last-Modified: @-8640000\nDate: @0", 24 H },
  { "Last-Modified: @0\nDate: @0", 0 },
  { "Last-Modified: @100\nDate: @0", 0 },
  { "Last-Modified: foo\nDate: @0", 0 },
  { "Last-Modified: @-100", 0 },
  { "Last-Modified: @-100\nDate: foo", 0 },
  { "Last-Modified: @-100\nDate: @0\nPragma: no-cache", 10 S },
  { "Last-Modified: @-100\nDate: @0\nCache-Control: no-cache", 0 },
  { "Last-Modified: @-100\nDate: @0\nCache-Control: max-age=0", 0 },
  { "Last-Modified: @-100\nDate: @0\nCache-Control: max-age=x", 0 },
  { "Last-Modified: @-100\nDate: @0\nExpires: 0", 0 },
  { "Last-Modified: @-100\nDate: @0\nCache-Control: must-revalidate", 10 S },
};

static nt__cache_use_t judge(const hands_t* hands, nt_cache_t mode,
                             int64_t after_ms, bool* stale) {
  return nt__cache_judge(&hands->stored, mode, &hands->asked_with,
                         NOW + after_ms, stale);
}

static void expect_lifetime(const char* headers, int64_t fresh_ms) {
  hands_t hands = take(headers, "");
  bool stale;

  if (fresh_ms > 0 &&
      (judge(&hands, NT_CACHE_DEFAULT, fresh_ms - 1, &stale) != USE || stale))
    fail_msg("not used: %s", headers);
  if (judge(&hands, NT_CACHE_DEFAULT, fresh_ms, &stale) != ASK || stale)
    fail_msg("not validated: %s", headers);
  drop(&hands);
}

static void knows_how_long_it_is_fresh(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(lifetimes); i++)
    expect_lifetime(lifetimes[i].headers, lifetimes[i].fresh_ms);
}

static void guesses_for_some_statuses(void** state) {
  static const short some[] = { 200, 203, 204, 300, 301, 308,
                                404, 405, 410, 414, 501 };
  hands_t hands = take("Last-Modified: @-100\nDate: @0", "");
  hands_t open = take(
      "Last-Modified: @-100\nDate: @0\n"
      "Cache-Control: public",
      "");
  bool stale;
  int status;
  size_t i;

  (void) state;
  for (status = 200; status < 600; status++) {
    bool expected = false;

    for (i = 0; i < COUNT(some); i++)
      expected = expected || some[i] == status;
    hands.stored.status = open.stored.status = status;
    assert_int_equal(judge(&hands, NT_CACHE_DEFAULT, 9 S, &stale),
                     expected ? USE : ASK);
    assert_int_equal(judge(&open, NT_CACHE_DEFAULT, 9 S, &stale), USE);
  }
  drop(&hands);
  drop(&open);
}

static void counts_the_age(void** state) {
  hands_t hands = take("Age: 30\nDate: @-10", "");

  (void) state;
  assert_int_equal(nt__cache_age(&hands.stored, NOW), 30);
  assert_int_equal(nt__cache_age(&hands.stored, NOW + 2999), 32);
  assert_int_equal(nt__cache_age(&hands.stored, NOW + 3000), 33);
  /* The time that the request took is part of it, */
  hands.stored.asked = NOW - 5 S;
  assert_int_equal(nt__cache_age(&hands.stored, NOW), 35);
  /* unless the clock was set meanwhile; */
  hands.stored.asked = NOW + 5 S;
  assert_int_equal(nt__cache_age(&hands.stored, NOW), 30);
  /* and a clock that was set back since does not make it younger. */
  assert_int_equal(nt__cache_age(&hands.stored, NOW - 100 S), 130);
  drop(&hands);

  hands = take("Date: @-10", "");
  assert_int_equal(nt__cache_age(&hands.stored, NOW), 9);
  hands.stored.asked = NOW - 60 S;
  assert_int_equal(nt__cache_age(&hands.stored, NOW), 60);
  drop(&hands);

  hands = take("Age: 4, 9", "");
  assert_int_equal(nt__cache_age(&hands.stored, NOW), 4);
  drop(&hands);
}

static void survives_any_time(void** state) {
  static const int64_t times[] = { INT64_MIN, -1, 0, 1, NOW, INT64_MAX };
  hands_t hands = take(
      "Age: 99999999999\nDate: Fri, 31 Dec 9999 23:59:59 GMT\n"
      "Expires: Thu, 01 Jan 1970 00:00:00 GMT\n"
      "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT",
      "");
  size_t i, k, l;
  bool stale;

  (void) state;
  for (i = 0; i < COUNT(times); i++)
    for (k = 0; k < COUNT(times); k++)
      for (l = 0; l < COUNT(times); l++) {
        hands.stored.asked = times[i];
        hands.stored.answered = times[k];
        assert_true(nt__cache_age(&hands.stored, times[l]) >= 0);
        assert_int_equal(nt__cache_judge(&hands.stored, NT_CACHE_DEFAULT,
                                         &hands.asked_with, times[l], &stale),
                         ASK);
      }
  drop(&hands);
}

/* ---- What is stored, 3 --------------------------------------------------- */

static const struct {
  const char* request;
  const char* headers;
  int status;
  bool stored;
} stores[] = {
  { "", "", 200, true },
  { "", "Cache-Control: max-age=10", 200, true },
  { "", "Cache-Control: no-store", 200, false },
  { "", "Cache-Control: No-StOrE", 200, false },
  { "", "Cache-Control: max-age=10, no-store", 200, false },
  { "", "Cache-Control: max-age=10\nCache-Control: no-store", 200, false },
  { "", "Cache-Control: no-store=1", 200, false },
  { "", "Cache-Control: no-store\nExpires: @10", 200, false },
  { "", "Cache-Control: foo=\"no-store\"", 200, true },
  { "", "Cache-Control: foo=\"bar, no-store", 200, false },
  { "", "Cache-Control: no-cache", 200, true },
  { "", "Cache-Control: private", 200, true },
  { "", "Pragma: no-cache", 200, true },
  { "", "Pragma: no-store", 200, true },
  { "", "Set-Cookie: a=b\nCache-Control: max-age=10", 200, true },
  { "", "Content-Range: bytes 0-1/2\nCache-Control: max-age=10", 206, false },
  { "", "Cache-Control: max-age=10, must-understand", 206, false },
  { "", "Cache-Control: max-age=10", 304, false },
  { "", "Cache-Control: max-age=10", 100, false },
  { "", "Cache-Control: max-age=10", 199, false },
  { "", "Cache-Control: max-age=10", 0, false },
  { "", "Cache-Control: max-age=10", 999, false },
  /* Explicitly: any; else those that may be guessed. */
  { "", "Cache-Control: max-age=10", 299, true },
  { "", "Cache-Control: max-age=10", 302, true },
  { "", "Cache-Control: max-age=10", 599, true },
  { "", "Cache-Control: max-age=x", 500, true },
  { "", "Cache-Control: public", 599, true },
  { "", "Cache-Control: private", 599, true },
  { "", "Expires: 0", 500, true },
  { "", "Cache-Control: s-maxage=10", 302, false },
  { "", "Cache-Control: no-cache\nETag: \"a\"", 302, false },
  { "", "", 201, false },
  { "", "", 202, false },
  { "", "", 302, false },
  { "", "", 303, false },
  { "", "", 307, false },
  { "", "", 400, false },
  { "", "", 403, false },
  { "", "", 500, false },
  { "", "", 503, false },
  { "", "", 203, true },
  { "", "", 204, true },
  { "", "", 300, true },
  { "", "", 301, true },
  { "", "", 308, true },
  { "", "", 404, true },
  { "", "", 405, true },
  { "", "", 410, true },
  { "", "", 414, true },
  { "", "", 501, true },
  /* 5.2.2.3 */
  { "", "Cache-Control: max-age=10, must-understand", 599, false },
  { "", "Cache-Control: max-age=10, must-understand, no-store", 599, false },
  { "", "Cache-Control: max-age=10, must-understand, no-store", 200, true },
  { "", "Cache-Control: max-age=10, must-understand", 404, true },
  /* 4.1 */
  { "", "Vary: Accept, Foo", 200, true },
  { "", "Vary: *", 200, false },
  { "", "Vary: *, *", 200, false },
  { "", "Vary: , *", 200, false },
  { "", "Vary:\nVary: *", 200, false },
  { "", "Vary: Foo, *", 200, false },
  { "", "Vary: *, Foo", 200, false },
  { "", "Vary: a b", 200, false },
  { "", "Vary: \"a", 200, false },
  { "", "Vary:", 200, true },
  /* 5.2.1.5 */
  { "Cache-Control: no-store", "Cache-Control: max-age=10", 200, false },
  { "Cache-Control: no-store",
    "Cache-Control: max-age=10, must-understand, no-store", 200, false },
  { "Cache-Control: no-cache", "Cache-Control: max-age=10", 200, true },
  { "Pragma: no-cache", "Cache-Control: max-age=10", 200, true },
  { "Authorization: Basic x", "Cache-Control: max-age=10", 200, true },
  { "Authorization: Basic x", "", 200, true },
};

static void knows_what_to_store(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(stores); i++) {
    hands_t hands = take(stores[i].headers, stores[i].request);

    if (nt__cache_may_store(&hands.asked_with, stores[i].status,
                            &hands.stored.headers) != stores[i].stored)
      fail_msg("%d %s", stores[i].status, stores[i].headers);
    drop(&hands);
  }
}

/* A text of so many members or lines. */
static char* repeat(const char* head, const char* part, size_t count) {
  size_t size = strlen(part);
  char* text = malloc(strlen(head) + count * size + 1);
  size_t i;

  assert_non_null(text);
  strcpy(text, head);
  for (i = 0; i < count; i++)
    memcpy(text + strlen(head) + i * size, part, size + 1);
  return text;
}

static bool would_store(const char* head, const char* part, size_t count) {
  char* text = repeat(head, part, count);
  hands_t hands = take(text, "");
  bool stored =
      nt__cache_may_store(&hands.asked_with, 200, &hands.stored.headers);

  drop(&hands);
  free(text);
  return stored;
}

static void stores_nothing_too_large(void** state) {
  (void) state;
  assert_true(would_store("Vary: ", "a,", 64));
  assert_false(would_store("Vary: ", "a,", 65));
  assert_true(would_store("Connection: ", "a,", 64));
  assert_false(would_store("Connection: ", "a,", 65));
  assert_true(would_store("", "A: b\n", 1024));
  assert_false(would_store("", "A: b\n", 1025));
}

static void leaves_requests_alone(void** state) {
  static const struct {
    const char* method;
    const char* request;
    bool concerned;
  } cases[] = {
    { "GET", "", true },
    { "GET", "Accept: */*\nCache-Control: no-store", true },
    { "GET", "If: x\nIffy: x\nRanged: y\nX-If-Match: z", true },
    { "GET", "Range: bytes=0-1", false },
    { "GET", "range: bytes=0-1", false },
    { "GET", "If-None-Match: \"a\"", false },
    { "GET", "IF-MODIFIED-SINCE: @0", false },
    { "GET", "A: b\nIf-Unmodified-Since: @0", false },
    { "GET", "If-Match: *", false },
    { "GET", "If-Range: \"a\"", false },
    { "get", "", false },
    { "HEAD", "", false },
    { "POST", "", false },
    { "", "", false },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    hands_t hands = take("", cases[i].request);

    assert_int_equal(nt__cache_concerns(cases[i].method, &hands.asked_with),
                     cases[i].concerned);
    drop(&hands);
  }
}

static void knows_what_makes_invalid(void** state) {
  static const char* const safe[] = { "GET",      "HEAD",   "OPTIONS", "TRACE",
                                      "PROPFIND", "REPORT", "SEARCH" };
  static const char* const others[] = { "POST",  "PUT",      "DELETE",
                                        "PATCH", "M-SEARCH", "CONNECT",
                                        "FOO",   "get" };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(safe); i++)
    assert_false(nt__cache_invalidates(safe[i], 200));
  for (i = 0; i < COUNT(others); i++) {
    assert_true(nt__cache_invalidates(others[i], 200));
    assert_true(nt__cache_invalidates(others[i], 204));
    assert_true(nt__cache_invalidates(others[i], 303));
    assert_true(nt__cache_invalidates(others[i], 399));
    assert_false(nt__cache_invalidates(others[i], 100));
    assert_false(nt__cache_invalidates(others[i], 400));
    assert_false(nt__cache_invalidates(others[i], 500));
    assert_false(nt__cache_invalidates(others[i], 0));
  }
}

/* ---- What is done, 4 and 5.2.1 ------------------------------------------- */

#define MAX_AGE "Cache-Control: max-age=100"
#define DEFAULT NT_CACHE_DEFAULT
#define NO_CACHE NT_CACHE_NO_CACHE
#define RELOAD NT_CACHE_RELOAD
#define FORCE NT_CACHE_FORCE
#define ONLY NT_CACHE_ONLY

static const struct {
  nt_cache_t mode;
  const char* request;
  const char* headers;
  int64_t after_ms;
  nt__cache_use_t use;
  bool stale;
} cases[] = {
  /* Modes. */
  { NT_CACHE_NONE, "", MAX_AGE, 0, FETCH, false },
  { DEFAULT, "", MAX_AGE, 99 S, USE, false },
  { DEFAULT, "", MAX_AGE, 100 S, ASK, false },
  { NO_CACHE, "", MAX_AGE, 0, ASK, false },
  { NO_CACHE, "", MAX_AGE, 200 S, ASK, false },
  { RELOAD, "", MAX_AGE, 0, FETCH, false },
  { RELOAD, "", MAX_AGE ", immutable", 0, FETCH, false },
  { FORCE, "", MAX_AGE, 0, USE, false },
  { FORCE, "", MAX_AGE, 200 S, USE, true },
  { FORCE, "", "", 0, USE, true },
  { FORCE, "", MAX_AGE ", must-revalidate", 200 S, USE, true },
  { FORCE, "", "Cache-Control: no-cache", 200 S, USE, true },
  { FORCE, "Cache-Control: max-age=0", MAX_AGE, 5 S, USE, false },
  { ONLY, "", MAX_AGE, 0, USE, false },
  { ONLY, "", MAX_AGE ", must-revalidate", 200 S, USE, true },
  { ONLY, "", "", 0, USE, true },
  /* 5.2.1.1 max-age */
  { DEFAULT, "Cache-Control: max-age=10", MAX_AGE, 10 S, USE, false },
  { DEFAULT, "Cache-Control: max-age=10", MAX_AGE, 10001, ASK, false },
  { DEFAULT, "Cache-Control: max-age=10", MAX_AGE "\nAge: 20", 0, ASK, false },
  { DEFAULT, "Cache-Control: max-age=0", MAX_AGE, 0, ASK, false },
  { DEFAULT, "Cache-Control: max-age=x", MAX_AGE, 0, ASK, false },
  { DEFAULT, "Cache-Control: max-age=200", MAX_AGE, 150 S, ASK, false },
  { DEFAULT, "Cache-Control: max-age=200, max-stale", MAX_AGE, 150 S, USE,
    true },
  { DEFAULT, "Cache-Control: max-age=120, max-stale", MAX_AGE, 150 S, ASK,
    false },
  /* 5.2.1.2 max-stale */
  { DEFAULT, "Cache-Control: max-stale=10", MAX_AGE, 50 S, USE, false },
  { DEFAULT, "Cache-Control: max-stale=10", MAX_AGE, 110 S, USE, true },
  { DEFAULT, "Cache-Control: max-stale=10", MAX_AGE, 110001, ASK, false },
  { DEFAULT, "Cache-Control: max-stale", MAX_AGE, 9999 H, USE, true },
  { DEFAULT, "Cache-Control: max-stale=99999999999", MAX_AGE, 9999999 H, USE,
    true },
  { DEFAULT, "Cache-Control: max-stale=x", MAX_AGE, 110 S, ASK, false },
  { DEFAULT, "Cache-Control: max-stale, max-stale=10", MAX_AGE, 150 S, ASK,
    false },
  { DEFAULT, "Cache-Control: max-stale", MAX_AGE ", must-revalidate", 150 S,
    ASK, false },
  { DEFAULT, "Cache-Control: max-stale", MAX_AGE ", proxy-revalidate", 150 S,
    USE, true },
  { DEFAULT, "Cache-Control: max-stale", MAX_AGE ", no-cache", 0, ASK, false },
  { DEFAULT, "Cache-Control: max-stale=1000",
    "Cache-Control: max-age=1500\nAge: 2000", 0, USE, true },
  /* 5.2.1.3 min-fresh */
  { DEFAULT, "Cache-Control: min-fresh=10", MAX_AGE, 90 S, USE, false },
  { DEFAULT, "Cache-Control: min-fresh=10", MAX_AGE, 90001, ASK, false },
  { DEFAULT, "Cache-Control: min-fresh=200", MAX_AGE, 0, ASK, false },
  { DEFAULT, "Cache-Control: min-fresh=90", MAX_AGE "\nAge: 20", 0, ASK,
    false },
  { DEFAULT, "Cache-Control: min-fresh=0", MAX_AGE, 99 S, USE, false },
  { DEFAULT, "Cache-Control: min-fresh=0", MAX_AGE, 100 S, ASK, false },
  { DEFAULT, "Cache-Control: min-fresh=x", MAX_AGE, 0, ASK, false },
  { DEFAULT, "Cache-Control: min-fresh=10, min-fresh=20", MAX_AGE, 85 S, ASK,
    false },
  /* 5.2.1.4 no-cache, 5.4 Pragma */
  { DEFAULT, "Cache-Control: no-cache", MAX_AGE, 0, ASK, false },
  { DEFAULT, "Cache-Control: No-Cache", MAX_AGE, 0, ASK, false },
  { DEFAULT, "Cache-Control: no-cache=x", MAX_AGE, 0, ASK, false },
  { DEFAULT, "Cache-Control: foo", MAX_AGE, 0, USE, false },
  { DEFAULT, "Pragma: no-cache", MAX_AGE, 0, ASK, false },
  { DEFAULT, "Pragma: foo, No-Cache", MAX_AGE, 0, ASK, false },
  { DEFAULT, "Pragma: foo", MAX_AGE, 0, USE, false },
  { DEFAULT, "Pragma: no-cache\nCache-Control: max-age=50", MAX_AGE, 0, USE,
    false },
  { DEFAULT, "Pragma: no-cache\nCache-Control: max-age=50", MAX_AGE, 60 S, ASK,
    false },
  { DEFAULT, "", MAX_AGE "\nPragma: no-cache", 0, USE, false },
  /* 5.2.1.5 no-store */
  { DEFAULT, "Cache-Control: no-store", MAX_AGE, 0, FETCH, false },
  { NO_CACHE, "Cache-Control: no-store", MAX_AGE, 0, FETCH, false },
  /* 5.2.1.7 only-if-cached */
  { DEFAULT, "Cache-Control: only-if-cached", MAX_AGE, 0, USE, false },
  { DEFAULT, "Cache-Control: only-if-cached", MAX_AGE, 100 S, REFUSE, false },
  { DEFAULT, "Cache-Control: only-if-cached, max-stale", MAX_AGE, 100 S, USE,
    true },
  { DEFAULT, "Cache-Control: only-if-cached",
    MAX_AGE ", stale-while-revalidate=50", 120 S, USE, true },
  { NO_CACHE, "Cache-Control: only-if-cached", MAX_AGE, 0, REFUSE, false },
  /* RFC 5861 3 */
  { DEFAULT, "", MAX_AGE ", stale-while-revalidate=50", 99 S, USE, false },
  { DEFAULT, "", MAX_AGE ", stale-while-revalidate=50", 120 S, RENEW, true },
  { DEFAULT, "", MAX_AGE ", stale-while-revalidate=50", 150 S, RENEW, true },
  { DEFAULT, "", MAX_AGE ", stale-while-revalidate=50", 150001, ASK, false },
  { DEFAULT, "", MAX_AGE ", stale-while-revalidate=0", 100 S, ASK, false },
  { DEFAULT, "", MAX_AGE ", stale-while-revalidate", 120 S, ASK, false },
  { DEFAULT, "", MAX_AGE ", stale-while-revalidate=x", 120 S, ASK, false },
  { DEFAULT, "",
    MAX_AGE ", stale-while-revalidate=50, stale-while-revalidate=10", 120 S,
    ASK, false },
  { DEFAULT, "", MAX_AGE ", must-revalidate, stale-while-revalidate=50", 120 S,
    ASK, false },
  { DEFAULT, "", MAX_AGE ", no-cache, stale-while-revalidate=50", 0, ASK,
    false },
  { DEFAULT, "Cache-Control: max-age=200",
    MAX_AGE ", stale-while-revalidate=50", 120 S, ASK, false },
  { DEFAULT, "Cache-Control: min-fresh=0",
    MAX_AGE ", stale-while-revalidate=50", 120 S, ASK, false },
  { NO_CACHE, "", MAX_AGE ", stale-while-revalidate=50", 120 S, ASK, false },
  /* RFC 8246 */
  { NO_CACHE, "", MAX_AGE ", immutable", 99 S, USE, false },
  { NO_CACHE, "", MAX_AGE ", immutable=1", 99 S, USE, false },
  { NO_CACHE, "", MAX_AGE ", immutable", 100 S, ASK, false },
  { NO_CACHE, "", MAX_AGE ", immutable, no-cache", 0, ASK, false },
  { NO_CACHE, "", MAX_AGE ", immutable, stale-while-revalidate=50", 120 S, ASK,
    false },
  { NO_CACHE, "Cache-Control: no-cache", MAX_AGE ", immutable", 0, ASK, false },
  { NO_CACHE, "Cache-Control: max-stale", MAX_AGE ", immutable", 150 S, ASK,
    false },
  { DEFAULT, "", MAX_AGE ", immutable", 150 S, ASK, false },
};

static void knows_what_to_do(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    hands_t hands = take(cases[i].headers, cases[i].request);
    bool stale = !cases[i].stale;
    nt__cache_use_t use =
        judge(&hands, cases[i].mode, cases[i].after_ms, &stale);

    if (use != cases[i].use || stale != cases[i].stale)
      fail_msg("mode %d, %s: %s: %d, stale %d", (int) cases[i].mode,
               cases[i].request, cases[i].headers, (int) use, stale);
    drop(&hands);
  }
}

static void knows_what_to_do_without_one(void** state) {
  static const struct {
    nt_cache_t mode;
    const char* request;
    nt__cache_use_t use;
  } none[] = {
    { NT_CACHE_NONE, "", FETCH },
    { NT_CACHE_NONE, "Cache-Control: only-if-cached", FETCH },
    { DEFAULT, "", FETCH },
    { DEFAULT, "Cache-Control: max-stale", FETCH },
    { DEFAULT, "Cache-Control: only-if-cached", REFUSE },
    { NO_CACHE, "", FETCH },
    { RELOAD, "", FETCH },
    { FORCE, "", FETCH },
    { FORCE, "Cache-Control: only-if-cached", REFUSE },
    { ONLY, "", REFUSE },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(none); i++) {
    hands_t hands = take("", none[i].request);
    bool stale = true;

    assert_int_equal(
        nt__cache_judge(NULL, none[i].mode, &hands.asked_with, NOW, &stale),
        none[i].use);
    assert_false(stale);
    drop(&hands);
  }
}

/* ---- Errors, RFC 5861 4 -------------------------------------------------- */

#define IF_ERROR MAX_AGE ", stale-if-error=50"

static void stands_in_for_errors(void** state) {
  static const struct {
    const char* request;
    const char* headers;
    int64_t after_ms;
    int status;
    bool covers;
  } errors[] = {
    { "", IF_ERROR, 120 S, 0, true },
    { "", IF_ERROR, 120 S, 500, true },
    { "", IF_ERROR, 120 S, 502, true },
    { "", IF_ERROR, 120 S, 503, true },
    { "", IF_ERROR, 120 S, 504, true },
    { "", IF_ERROR, 120 S, 501, false },
    { "", IF_ERROR, 120 S, 505, false },
    { "", IF_ERROR, 120 S, 404, false },
    { "", IF_ERROR, 120 S, 200, false },
    { "", IF_ERROR, 50 S, 0, true },
    { "", IF_ERROR, 150 S, 0, true },
    { "", IF_ERROR, 150001, 0, false },
    { "", MAX_AGE, 50 S, 0, false },
    { "", MAX_AGE, 120 S, 0, false },
    { "", MAX_AGE ", stale-if-error=x", 120 S, 0, false },
    { "", MAX_AGE ", stale-if-error", 120 S, 0, false },
    { "", IF_ERROR ", stale-if-error=10", 120 S, 0, false },
    { "", IF_ERROR ", must-revalidate", 120 S, 0, false },
    { "", IF_ERROR ", proxy-revalidate", 120 S, 0, true },
    { "", IF_ERROR ", no-cache", 120 S, 0, false },
    { "Cache-Control: stale-if-error=50", MAX_AGE, 150 S, 503, true },
    { "Cache-Control: stale-if-error=50", MAX_AGE, 150001, 503, false },
    { "Cache-Control: stale-if-error=10", IF_ERROR, 120 S, 503, false },
    { "Cache-Control: stale-if-error=90", IF_ERROR, 190 S, 503, true },
    { "Cache-Control: stale-if-error=90", MAX_AGE ", must-revalidate", 120 S,
      503, false },
    { "Cache-Control: no-cache", IF_ERROR, 120 S, 0, false },
    { "Pragma: no-cache", IF_ERROR, 120 S, 0, false },
    { "Cache-Control: no-store", IF_ERROR, 120 S, 0, false },
    { "Cache-Control: max-age=0", IF_ERROR, 120 S, 0, false },
    { "Cache-Control: max-age=0, stale-if-error=50", MAX_AGE, 120 S, 0, true },
    { "Cache-Control: min-fresh=1", IF_ERROR, 120 S, 0, false },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(errors); i++) {
    hands_t hands = take(errors[i].headers, errors[i].request);

    if (nt__cache_covers_error(&hands.stored, &hands.asked_with,
                               errors[i].status,
                               NOW + errors[i].after_ms) != errors[i].covers)
      fail_msg("%d, %s: %s", errors[i].status, errors[i].request,
               errors[i].headers);
    drop(&hands);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(knows_how_long_it_is_fresh),
    cmocka_unit_test(guesses_for_some_statuses),
    cmocka_unit_test(counts_the_age),
    cmocka_unit_test(survives_any_time),
    cmocka_unit_test(knows_what_to_store),
    cmocka_unit_test(stores_nothing_too_large),
    cmocka_unit_test(leaves_requests_alone),
    cmocka_unit_test(knows_what_makes_invalid),
    cmocka_unit_test(knows_what_to_do),
    cmocka_unit_test(knows_what_to_do_without_one),
    cmocka_unit_test(stands_in_for_errors),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
