/* The cache between requests and a server in this process: each mode, what a
 * 304 does, redirects, streams, errors that are covered, what invalidates, and
 * ends at every moment. What HTTP says is tested in test_cache_rules.c. */
#include "folder.h"
#include "http_date.h"
#include "internal.h"
#include "site.h"

enum {
  LARGE = 300000
};

#define FRESH "Cache-Control: max-age=1000\r\n"
#define STALE "Cache-Control: max-age=0\r\n"

static folder_t folder;

/* Until so many answers are held: a release before that would be lost. */
static void wait_holding(fixture_t* f, unsigned count) {
  assert_true(server_wait(f->host->server, &f->host->server->holding, count,
                          PATIENCE_MS));
}

/* ---- Modes --------------------------------------------------------------- */

static void a_fresh_answer_is_used(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one ");
  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "two" });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one hit");
  assert_string_equal(site_get(f, "/a#part", NT_CACHE_DEFAULT), "200 one hit");
  assert_int_equal(site_asked(f), 1);
}

static void a_mode_of_none_neither_uses_nor_stores(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  assert_string_equal(site_get(f, "/a", NT_CACHE_NONE), "200 one ");
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one ");
  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "two" });
  assert_string_equal(site_get(f, "/a", NT_CACHE_NONE), "200 two ");
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one hit");
}

static const struct {
  nt_cache_t mode;
  const char* without; /* what comes of it: with nothing stored, */
  const char* fresh;   /* with a fresh answer, */
  const char* stale;   /* and with a stale one */
} modes[] = {
  { NT_CACHE_DEFAULT, "200 new ", "200 old hit", "200 old revalidated" },
  { NT_CACHE_NO_CACHE, "200 new ", "200 old revalidated",
    "200 old revalidated" },
  { NT_CACHE_RELOAD, "200 new ", "200 new ", "200 new " },
  { NT_CACHE_FORCE, "200 new ", "200 old hit", "200 old stale" },
  { NT_CACHE_ONLY, "CACHE_MISS", "200 old hit", "200 old stale" },
};

static void modes_do_what_fetch_says(void** state) {
  static const char* const fields[] = { "", FRESH "ETag: \"e\"\r\n",
                                        STALE "ETag: \"e\"\r\n" };
  fixture_t* f = *state;
  size_t i;
  size_t k;

  for (i = 0; i < COUNT(modes); i++) {
    const char* expected[] = { modes[i].without, modes[i].fresh,
                               modes[i].stale };

    for (k = 0; k < COUNT(fields); k++) {
      assert_int_equal(nt_cache_clear(f->host->net, NULL), 0);
      site_put(f, (page_t){ .path = "/a", .fields = fields[k], .body = "old" });
      if (k > 0)
        assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 old ");
      site_put(f, (page_t){ .path = "/a", .body = "new", .etag = "\"e\"" });
      assert_string_equal(site_get(f, "/a", modes[i].mode), expected[k]);
    }
  }
}

static void what_is_missing_is_not_asked_for(void** state) {
  fixture_t* f = *state;

  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
  assert_int_equal(site_asked(f), 0);
}

/* So that caches on the way do the same. */
static void modes_are_told_on_the_way(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  assert_false(site_saw(f, "Cache-Control"));
  site_get(f, "/a", NT_CACHE_NO_CACHE);
  assert_true(site_saw(f, "\r\nCache-Control: max-age=0\r\n"));
  site_get(f, "/a", NT_CACHE_RELOAD);
  assert_true(site_saw(f, "\r\nCache-Control: no-cache\r\n"));
  assert_true(site_saw(f, "\r\nPragma: no-cache\r\n"));
}

static void own_conditions_are_left_alone(void** state) {
  static const nt_header_t field = { "If-None-Match", "\"e\"" };
  fixture_t* f = *state;
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.headers = &field;
  options.header_count = 1;
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH "ETag: \"e\"\r\n",
                        .body = "one",
                        .etag = "\"e\"" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  assert_string_equal(
      site_end(f, site_start(f, "/a", NT_CACHE_DEFAULT, &options)), "304  ");
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one hit");
}

/* ---- 304 ----------------------------------------------------------------- */

/* The value of the only field of that name, "" without one. */
static const char* value_of(const nt_headers_t* headers, const char* wanted) {
  const char* found = "";
  const char* name;
  const char* value;
  size_t cursor = 0;

  while (nt_headers_next(headers, &cursor, &name, &value))
    if (strcasecmp(name, wanted) == 0) {
      assert_string_equal(found, "");
      found = value;
    }
  return found;
}

static void a_hit_without_a_date_gets_one(void** state) {
  fixture_t* f = *state;
  int64_t now = nt__unix_ms() / 1000;
  nt_event_t ev;
  int64_t date;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "a" });
  site_put(f, (page_t){ .path = "/b",
                        .fields = FRESH "Date: not one\r\n",
                        .body = "b" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_get(f, "/b", NT_CACHE_DEFAULT);
  host_end(f->host, site_start(f, "/a", NT_CACHE_ONLY, NULL), &ev);
  date = nt__http_date(value_of(&ev.headers, "date"), now * 1000);
  assert_in_range(date, now, nt__unix_ms() / 1000);
  host_end(f->host, site_start(f, "/b", NT_CACHE_ONLY, NULL), &ev);
  assert_string_equal(value_of(&ev.headers, "date"), "not one");
}

static void a_304_renews_headers_and_freshness(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;

  site_put(f, (page_t){ .path = "/a",
                        .fields = STALE "ETag: \"e\"\r\nX-A: 1\r\nX-B: 1\r\n",
                        .body = "one",
                        .etag = "\"e\"",
                        .renewed = FRESH "ETag: \"e\"\r\nX-B: 2\r\n" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  host_end(f->host, site_start(f, "/a", NT_CACHE_DEFAULT, NULL), &ev);
  assert_true(site_saw(f, "\r\nIf-None-Match: \"e\"\r\n"));
  assert_int_equal(ev.status, 200);
  assert_string_equal(ev.profile->cache, "revalidated");
  assert_true(ev.profile->bytes_received > 0);
  assert_string_equal(value_of(&ev.headers, "x-a"), "1");
  assert_string_equal(value_of(&ev.headers, "x-b"), "2");
  assert_string_equal(value_of(&ev.headers, "age"), "0");
  assert_int_equal(ev.size, 3);
  assert_string_equal(ev.data, "one");
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one hit");
  assert_int_equal(site_asked(f), 2);
}

static void another_answer_takes_the_place(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a",
                        .fields = STALE "ETag: \"e\"\r\n",
                        .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "two" });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 two ");
  assert_true(site_saw(f, "If-None-Match"));
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 two hit");
}

/* Of something else than what is stored: it is asked for as a whole, once. */
static void a_304_that_does_not_fit_is_asked_again(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a",
                        .fields = STALE "ETag: \"e\"\r\nLast-Modified: "
                                        "Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                        .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH,
                        .body = "two",
                        .flags = SITE_WRONG_304,
                        .renewed = "Last-Modified: "
                                   "Sun, 06 Nov 1994 08:49:38 GMT\r\n" });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 two ");
  assert_int_equal(site_asked(f), 3);
  assert_false(site_saw(f, "If-None-Match"));
}

static void a_304_with_another_tag_changes_no_fields(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;

  site_put(f, (page_t){ .path = "/a",
                        .fields = "Cache-Control: max-age=60\r\nAge: 90\r\n"
                                  "ETag: \"e\"\r\nX-A: 1\r\n",
                        .body = "one",
                        .etag = "\"e\"",
                        .renewed = "ETag: \"other\"\r\nX-A: 2\r\n" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  host_end(f->host, site_start(f, "/a", NT_CACHE_DEFAULT, NULL), &ev);
  assert_string_equal(ev.profile->cache, "revalidated");
  assert_string_equal(value_of(&ev.headers, "etag"), "\"e\"");
  assert_string_equal(value_of(&ev.headers, "x-a"), "1");
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one hit");
  assert_int_equal(site_asked(f), 2);
}

static void head_tells_of_what_is_stored(void** state) {
  fixture_t* f = *state;
  nt_request_options_t head;

  nt_request_options_init(&head);
  head.method = "HEAD";
  site_put(f, (page_t){ .path = "/a",
                        .fields = STALE "ETag: \"e\"\r\n",
                        .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH "ETag: \"e\"\r\n",
                        .body = "one" });
  assert_string_equal(site_end(f, site_start(f, "/a", NT_CACHE_DEFAULT, &head)),
                      "200  ");
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one hit");
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH "ETag: \"f\"\r\n",
                        .body = "two" });
  site_end(f, site_start(f, "/a", NT_CACHE_DEFAULT, &head));
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
}

/* ---- What is told of a hit ----------------------------------------------- */

static void a_hit_looks_like_an_answer(void** state) {
  fixture_t* f = *state;
  char url[64];
  nt_id_t id;
  nt_event_t ev;

  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH "Age: 7\r\nX-A: 1\r\n",
                        .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  id = site_start(f, "/a", NT_CACHE_DEFAULT, NULL);
  host_next(f->host, &ev);
  assert_int_equal(ev.type, NT_EV_HEADERS);
  assert_int_equal(ev.status, 200);
  host_end(f->host, id, &ev);
  assert_string_equal(ev.url, host_url(f->host, "/a", url, sizeof(url)));
  assert_string_equal(value_of(&ev.headers, "x-a"), "1");
  assert_true(atoi(value_of(&ev.headers, "age")) >= 7);
  assert_int_equal(ev.headers.count, 5); /* with a Date */
  assert_string_equal(ev.profile->cache, "hit");
  assert_string_equal(ev.profile->protocol, "unknown");
  assert_string_equal(ev.profile->peer_ip, "");
  assert_int_equal(ev.profile->bytes_sent, 0);
  assert_int_equal(ev.profile->bytes_received, 0);
  assert_int_equal(ev.profile->connect_start, 0);
  assert_true(ev.profile->fetch_start >= ev.profile->invoke_start);
  assert_true(ev.profile->response_end >= ev.profile->response_start);
}

static void empty_bodies_are_bodies(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200  ");
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200  hit");
}

static void small_cap(nt_policy_t* policy) {
  policy->response_max_bytes = 2;
}

static void the_cap_of_bodies_holds(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  host_policy(f->host, small_cap);
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "BODY_SIZE");
  assert_int_equal(site_asked(f), 1);
}

/* ---- Whom an answer is for ------------------------------------------------
 */

static nt_id_t start_with(fixture_t* f, const char* path, const char* name,
                          const char* value) {
  nt_header_t field = { name, value };
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.headers = &field;
  options.header_count = 1;
  return site_start(f, path, NT_CACHE_DEFAULT, &options);
}

static void vary_keeps_answers_apart(void** state) {
  static const char fields[] = FRESH "Vary: Accept-Language\r\n";
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = fields, .body = "de" });
  site_end(f, start_with(f, "/a", "Accept-Language", "de"));
  site_put(f, (page_t){ .path = "/a", .fields = fields, .body = "en" });
  assert_string_equal(site_end(f, start_with(f, "/a", "Accept-Language", "en")),
                      "200 en ");
  assert_string_equal(site_end(f, start_with(f, "/a", "accept-language", "de")),
                      "200 de hit");
  assert_string_equal(site_end(f, start_with(f, "/a", "Accept-Language", "en")),
                      "200 en hit");
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 en ");
}

static void what_is_for_one_is_not_given_to_another(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "hers" });
  site_end(f, start_with(f, "/a", "Authorization", "Bearer hers"));
  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "his" });
  assert_string_equal(
      site_end(f, start_with(f, "/a", "Authorization", "Bearer his")),
      "200 his ");
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
  assert_string_equal(
      site_end(f, start_with(f, "/a", "Authorization", "Bearer hers")),
      "200 hers hit");
}

static nt_id_t start_as(fixture_t* f, const char* user) {
  nt_request_options_t options;
  nt_id_t id = host_open(f->host);
  char url[128];

  nt_request_options_init(&options);
  snprintf(url, sizeof(url), "http://%s127.0.0.1:%d/a", user,
           f->host->server->port);
  options.url = url;
  options.cache = NT_CACHE_DEFAULT;
  options.flags = NT_REQUEST_PROFILE;
  assert_int_equal(nt_request_start(f->host->net, id, &options), 0);
  return id;
}

static void the_user_of_a_url_counts(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "hers" });
  assert_string_equal(site_end(f, start_as(f, "she:pw@")), "200 hers ");
  assert_true(site_saw(f, "\r\nAuthorization: Basic "));
  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "his" });
  assert_string_equal(site_end(f, start_as(f, "he:pw@")), "200 his ");
  assert_string_equal(site_end(f, start_as(f, "")), "200 his ");
  assert_string_equal(site_end(f, start_as(f, "she:pw@")), "200 hers hit");
}

static const char* get_with_jar(fixture_t* f, const char* path) {
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.flags = NT_REQUEST_COOKIES_SEND | NT_REQUEST_COOKIES_STORE;
  return site_end(f, site_start(f, path, NT_CACHE_DEFAULT, &options));
}

static void the_jar_counts_where_cookies_vary(void** state) {
  fixture_t* f = *state;
  char url[64];

  host_url(f->host, "/a", url, sizeof(url));
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH "Vary: Cookie\r\n"
                                        "Set-Cookie: a=1\r\n",
                        .body = "stranger" });
  assert_string_equal(get_with_jar(f, "/a"), "200 stranger ");
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH "Vary: Cookie\r\n",
                        .body = "friend" });
  assert_string_equal(get_with_jar(f, "/a"), "200 friend ");
  assert_string_equal(get_with_jar(f, "/a"), "200 friend hit");
  assert_int_equal(nt_cookies_clear(f->host->net, url), 0);
  assert_string_equal(get_with_jar(f, "/a"), "200 stranger hit");
  /* What is played sets nothing: that was done when it came. */
  assert_string_equal(get_with_jar(f, "/a"), "200 stranger hit");
  assert_int_equal(site_asked(f), 2);
}

/* ---- Secrets ------------------------------------------------------------- */

static const char* get_with_key(fixture_t* f, const char* name,
                                const char* value) {
  nt_header_t field = { name, "{{key}}" };
  char host[64];
  const char* const hosts[] = { host_url(f->host, "", host, sizeof(host)) };
  nt_secret_t secret = { .name = "key",
                         .placeholder = "{{key}}",
                         .value = value,
                         .hosts = { hosts, 1 } };
  nt_request_options_t options;
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.secrets = &secret;
  policy.secret_count = 1;
  assert_int_equal(nt_policy_set(f->host->net, &policy), 0);
  nt_request_options_init(&options);
  options.headers = &field;
  options.header_count = 1;
  options.flags = NT_REQUEST_COOKIES_SEND;
  return site_end(f, site_start(f, "/a", NT_CACHE_DEFAULT, &options));
}

/* The script writes the same for both. */
static void another_secret_is_another_request(void** state) {
  static const char* const names[] = { "Authorization", "Cookie", "X-Key" };
  fixture_t* f = *state;
  char url[64];
  size_t i;

  host_url(f->host, "/a", url, sizeof(url));
  for (i = 0; i < COUNT(names); i++) {
    assert_int_equal(nt_cache_clear(f->host->net, NULL), 0);
    site_put(f, (page_t){ .path = "/a",
                          .fields = FRESH "Vary: Cookie, X-Key\r\n",
                          .body = "hers" });
    assert_string_equal(get_with_key(f, names[i], "hers"), "200 hers ");
    site_put(f, (page_t){ .path = "/a",
                          .fields = FRESH "Vary: Cookie, X-Key\r\n",
                          .body = "his" });
    assert_string_equal(get_with_key(f, names[i], "his"), "200 his ");
    assert_string_equal(get_with_key(f, names[i], "hers"), "200 hers hit");
    assert_int_equal(nt_cookies_set(f->host->net, url, "a=1"), 0);
  }
}

/* ---- Redirects ----------------------------------------------------------- */

static void redirects_are_hits_and_lead_on(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;

  site_put(f, (page_t){ .path = "/from",
                        .status = "301 Moved",
                        .fields = FRESH "Location: /to\r\n",
                        .body = "moved" });
  site_put(f, (page_t){ .path = "/to", .fields = FRESH, .body = "here" });
  assert_string_equal(site_get(f, "/from", NT_CACHE_DEFAULT), "200 here ");
  assert_int_equal(site_asked(f), 2);
  host_end(f->host, site_start(f, "/from", NT_CACHE_DEFAULT, NULL), &ev);
  assert_int_equal(ev.status, 200);
  assert_int_equal(ev.redirects, 1);
  assert_non_null(strstr(ev.url, "/to"));
  assert_string_equal(ev.profile->cache, "hit");
  assert_true(ev.profile->redirect_start > 0);
  assert_int_equal(site_asked(f), 2);
}

static void the_body_of_a_redirect_is_stored_too(void** state) {
  fixture_t* f = *state;
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.redirect = NT_REDIRECT_MANUAL;
  site_put(f, (page_t){ .path = "/from",
                        .status = "301 Moved",
                        .fields = FRESH "Location: /to\r\n",
                        .body = "moved" });
  site_get(f, "/from", NT_CACHE_DEFAULT);
  assert_string_equal(
      site_end(f, site_start(f, "/from", NT_CACHE_DEFAULT, &options)),
      "301 moved hit");
}

static void many_redirects(nt_policy_t* policy) {
  policy->max_redirects = 10000;
}

/* The loop goes on meanwhile, and the stack does not grow. */
static void stored_redirects_in_a_circle_end(void** state) {
  fixture_t* f = *state;

  host_policy(f->host, many_redirects);
  site_put(f, (page_t){ .path = "/round",
                        .status = "301 Moved",
                        .fields = FRESH "Location: /round\r\n" });
  assert_string_equal(site_get(f, "/round", NT_CACHE_DEFAULT), "REDIRECTS");
  assert_int_equal(site_asked(f), 1);
}

static void the_verdict_is_that_of_the_last_hop(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/from",
                        .status = "301 Moved",
                        .fields = FRESH "Location: /to\r\n" });
  site_put(f, (page_t){ .path = "/to",
                        .fields = "Cache-Control: no-store\r\n",
                        .body = "here" });
  site_get(f, "/from", NT_CACHE_DEFAULT);
  assert_string_equal(site_get(f, "/from", NT_CACHE_DEFAULT), "200 here ");
  assert_int_equal(site_asked(f), 3);
  assert_string_equal(site_get(f, "/from", NT_CACHE_ONLY), "CACHE_MISS");
}

/* ---- Origins ------------------------------------------------------------- */

static const char* get_as(fixture_t* f, const char* path, const char* origin,
                          nt_mode_t mode) {
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.origin = origin;
  options.mode = mode;
  return site_end(f, site_start(f, path, NT_CACHE_DEFAULT, &options));
}

/* Whoever stored it: what may be told of it is decided anew. */
static void origins_are_judged_anew(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH
                        "Access-Control-Allow-Origin: http://good.test\r\n",
                        .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  assert_string_equal(get_as(f, "/a", "http://good.test/", NT_MODE_CORS),
                      "200 one hit");
  assert_string_equal(get_as(f, "/a", "http://bad.test/", NT_MODE_CORS),
                      "CORS");
  assert_string_equal(get_as(f, "/a", "http://bad.test/", NT_MODE_NO_CORS),
                      "0  hit");
  assert_string_equal(get_as(f, "/a", "http://bad.test/", NT_MODE_SAME_ORIGIN),
                      "CROSS_ORIGIN");
  assert_int_equal(site_asked(f), 1);
}

static void what_nobody_may_see_is_not_stored(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  assert_string_equal(get_as(f, "/a", "http://bad.test/", NT_MODE_NO_CORS),
                      "0  ");
  assert_string_equal(get_as(f, "/a", "http://bad.test/", NT_MODE_CORS),
                      "CORS");
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
}

/* ---- Streams ------------------------------------------------------------- */

static void small_mark(nt_policy_t* policy) {
  policy->task_high_water = 64 << 10;
}

/* Takes chunks, `done` bytes of which came before, until there are `size` of
 * them, and compares them with the pattern. */
static void take(fixture_t* f, nt_id_t id, uint64_t done, uint64_t size) {
  nt_event_t ev;

  while (done < size) {
    host_next(f->host, &ev);
    assert_true(ev.id == id);
    if (ev.type != NT_EV_CHUNK)
      continue;
    for (size_t i = 0; i < ev.size; i++)
      assert_int_equal(((const char*) ev.data)[i], *server_bytes(done + i));
    done += ev.size;
  }
  assert_true(done == size);
}

/* The same until the end. */
static const char* drain_from(fixture_t* f, nt_id_t id, uint64_t done,
                              uint64_t size) {
  static char verdict[32];
  nt_event_t ev;

  take(f, id, done, size);
  host_next(f->host, &ev);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, 0);
  snprintf(verdict, sizeof(verdict), "%s", ev.profile->cache);
  return verdict;
}

static const char* drain(fixture_t* f, nt_id_t id, uint64_t size) {
  return drain_from(f, id, 0, size);
}

static nt_id_t start_stream(fixture_t* f, const char* path) {
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.flags = NT_REQUEST_STREAM;
  return site_start(f, path, NT_CACHE_DEFAULT, &options);
}

/* Waits until the host's marks hold it back: nothing comes any more. */
static void let_fill(fixture_t* f) {
  nt_stats_t stats;
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  do {
    nt_collect(f->host->net);
    nt_stats(f->host->net, &stats);
    assert_true(uv_hrtime() < end);
    sched_yield();
  } while (stats.waiting_bytes < (64 << 10));
}

static void streams_are_stored_and_played_piecewise(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;

  host_policy(f->host, small_mark);
  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = LARGE });
  id = start_stream(f, "/s");
  let_fill(f);
  assert_string_equal(drain(f, id, LARGE), "");
  id = start_stream(f, "/s");
  let_fill(f);
  assert_string_equal(drain(f, id, LARGE), "hit");
  host_end(f->host, site_start(f, "/s", NT_CACHE_DEFAULT, NULL), &ev);
  assert_int_equal(ev.size, LARGE);
  assert_memory_equal(ev.data, server_bytes(0), SERVER_BLOCK);
  assert_int_equal(site_asked(f), 1);
}

static void what_was_gathered_is_streamed(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = LARGE });
  host_expect(f->host, site_start(f, "/s", NT_CACHE_DEFAULT, NULL), 0);
  assert_string_equal(drain(f, start_stream(f, "/s"), LARGE), "hit");
}

/* ---- What is not stored -------------------------------------------------- */

static void what_is_cut_short_is_not_stored(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH,
                        .body = "hello",
                        .flags = SITE_CUT });
  host_expect(f->host, site_start(f, "/a", NT_CACHE_DEFAULT, NULL),
              NT_E_LENGTH_MISMATCH);
  host_expect(f->host, start_stream(f, "/a"), NT_E_LENGTH_MISMATCH);
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
}

static void small_store(nt_policy_t* policy) {
  policy->cache_max_bytes = 64 << 10;
}

static void what_is_too_large_is_not_stored(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;

  host_policy(f->host, small_store);
  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = LARGE });
  host_end(f->host, site_start(f, "/s", NT_CACHE_DEFAULT, NULL), &ev);
  assert_int_equal(ev.size, LARGE);
  assert_string_equal(drain(f, start_stream(f, "/s"), LARGE), "");
  assert_string_equal(site_get(f, "/s", NT_CACHE_ONLY), "CACHE_MISS");
}

static void a_get_with_a_body_is_left_alone(void** state) {
  fixture_t* f = *state;
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.body = "query";
  options.body_size = 5;
  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  assert_string_equal(
      site_end(f, site_start(f, "/a", NT_CACHE_DEFAULT, &options)), "200 one ");
}

/* What was asked of the core so far is done. */
static void let_pass(fixture_t* f) {
  assert_string_equal(site_get(f, "/nothing", NT_CACHE_ONLY), "CACHE_MISS");
}

static void what_is_cleared_meanwhile_is_not_stored(void** state) {
  fixture_t* f = *state;
  nt_id_t ids[2];

  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH,
                        .body = "hello",
                        .flags = SITE_HOLD });
  ids[0] = site_start(f, "/a", NT_CACHE_DEFAULT, NULL);
  wait_holding(f, 1);
  assert_int_equal(nt_cache_clear(f->host->net, NULL), 0);
  let_pass(f);
  server_release(f->host->server);
  assert_string_equal(site_end(f, ids[0]), "200 hello ");
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
}

static void in_a_folder(nt_policy_t* policy) {
  policy->cache_dir = folder.path;
}

/* It may be another user's. */
static void what_was_asked_for_another_folder_is_not_stored(void** state) {
  fixture_t* f = *state;
  nt_id_t gathered;
  nt_id_t streamed;

  folder_make(&folder);
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH,
                        .body = "hers",
                        .flags = SITE_HOLD });
  site_put(f, (page_t){ .path = "/s",
                        .fields = FRESH,
                        .size = LARGE,
                        .flags = SITE_HOLD_BODY });
  gathered = site_start(f, "/a", NT_CACHE_DEFAULT, NULL);
  wait_holding(f, 1);
  host_policy(f->host, in_a_folder);
  let_pass(f);
  server_release(f->host->server);
  assert_string_equal(site_end(f, gathered), "200 hers ");
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
  streamed = start_stream(f, "/s");
  wait_holding(f, 1);
  take(f, streamed, 0, LARGE / 2);
  host_policy(f->host, small_mark);
  let_pass(f);
  server_release(f->host->server);
  assert_string_equal(drain_from(f, streamed, LARGE / 2, LARGE), "");
  assert_string_equal(site_get(f, "/s", NT_CACHE_ONLY), "CACHE_MISS");
  host_policy(f->host, in_a_folder);
  assert_string_equal(site_get(f, "/s", NT_CACHE_ONLY), "CACHE_MISS");
  host_policy(f->host, small_mark);
  folder_remove(&folder);
}

/* Somebody else has heard of something newer meanwhile. */
static void a_late_304_brings_nothing_back(void** state) {
  fixture_t* f = *state;
  nt_id_t late;

  site_put(f, (page_t){ .path = "/a",
                        .fields = STALE "ETag: \"e\"\r\n",
                        .body = "old" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_put(f, (page_t){ .path = "/a",
                        .etag = "\"e\"",
                        .renewed = FRESH,
                        .flags = SITE_HOLD });
  late = site_start(f, "/a", NT_CACHE_DEFAULT, NULL);
  wait_holding(f, 1);
  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "new" });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 new ");
  server_release(f->host->server);
  assert_string_equal(site_end(f, late), "200 old revalidated");
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 new hit");
}

/* Nor does the answer to what was asked earlier. */
static void the_last_to_ask_is_the_one_that_counts(void** state) {
  static const unsigned flags[] = { 0, NT_REQUEST_STREAM };
  fixture_t* f = *state;
  nt_request_options_t options;
  nt_event_t ev;
  size_t i;

  for (i = 0; i < 4; i++) {
    nt_id_t late;

    nt_request_options_init(&options);
    options.flags = flags[i % 2];
    site_put(f, (page_t){ .path = "/a",
                          .fields = FRESH,
                          .body = "old",
                          .flags = SITE_HOLD });
    late = site_start(f, "/a", NT_CACHE_RELOAD, &options);
    wait_holding(f, 1);
    site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "new" });
    options.flags = flags[i / 2];
    host_expect(f->host, site_start(f, "/a", NT_CACHE_RELOAD, &options), 0);
    server_release(f->host->server);
    host_end(f->host, late, &ev);
    assert_int_equal(ev.error, 0);
    assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 new hit");
  }
}

static void small_headers(nt_policy_t* policy) {
  policy->header_max_bytes = 700;
}

/* What a server says bit by bit must not become more than it may say. */
static void headers_stay_within_their_cap(void** state) {
  static char fields[950];
  static char renewed[8][450];
  fixture_t* f = *state;
  nt_event_t ev;
  int i;

  host_policy(f->host, small_headers);
  site_put(f, (page_t){ .path = "/a", .fields = STALE "ETag: \"e\"\r\n" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  for (i = 0; i < 8; i++) {
    snprintf(renewed[i], sizeof(renewed[i]), STALE "X-%d: %0400d\r\n", i, i);
    site_put(f, (page_t){ .path = "/a",
                          .fields = STALE "ETag: \"e\"\r\n",
                          .etag = "\"e\"",
                          .renewed = renewed[i] });
    host_end(f->host, site_start(f, "/a", NT_CACHE_DEFAULT, NULL), &ev);
    assert_int_equal(ev.error, 0);
    assert_int_equal(ev.status, 200);
    assert_in_range(ev.headers.size, 1, 800);
  }
  host_policy(f->host, small_mark);
  snprintf(fields, sizeof(fields), FRESH "X-Long: %0800d\r\n", 1);
  site_put(f, (page_t){ .path = "/b", .fields = fields, .body = "long" });
  assert_string_equal(site_get(f, "/b", NT_CACHE_DEFAULT), "200 long ");
  host_policy(f->host, small_headers);
  assert_string_equal(site_get(f, "/b", NT_CACHE_DEFAULT), "HEADER_SIZE");
  assert_string_equal(site_get(f, "/b", NT_CACHE_ONLY), "CACHE_MISS");
}

static void one_url_can_be_cleared(void** state) {
  fixture_t* f = *state;
  char url[64];

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "a" });
  site_put(f, (page_t){ .path = "/b", .fields = FRESH, .body = "b" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_get(f, "/b", NT_CACHE_DEFAULT);
  host_url(f->host, "/a#x", url, sizeof(url));
  assert_int_equal(nt_cache_clear(f->host->net, url), 0);
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
  assert_string_equal(site_get(f, "/b", NT_CACHE_ONLY), "200 b hit");
  assert_int_equal(nt_cache_clear(f->host->net, "no url"), NT_E_URL);
  assert_int_equal(nt_cache_clear(f->host->net, "ftp://a/"), NT_E_URL);
}

/* ---- Invalidation -------------------------------------------------------- */

static void unsafe_methods_invalidate(void** state) {
  fixture_t* f = *state;
  nt_request_options_t post;

  nt_request_options_init(&post);
  post.method = "POST";
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH "Location: /b\r\n"
                                        "Content-Location: /c\r\n",
                        .body = "a" });
  site_put(f, (page_t){ .path = "/b", .fields = FRESH, .body = "b" });
  site_put(f, (page_t){ .path = "/c", .fields = FRESH, .body = "c" });
  site_put(f, (page_t){ .path = "/d", .fields = FRESH, .body = "d" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_get(f, "/b", NT_CACHE_DEFAULT);
  site_get(f, "/c", NT_CACHE_DEFAULT);
  site_get(f, "/d", NT_CACHE_DEFAULT);
  site_end(f, site_start(f, "/a", NT_CACHE_NONE, &post));
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
  assert_string_equal(site_get(f, "/b", NT_CACHE_ONLY), "CACHE_MISS");
  assert_string_equal(site_get(f, "/c", NT_CACHE_ONLY), "CACHE_MISS");
  assert_string_equal(site_get(f, "/d", NT_CACHE_ONLY), "200 d hit");
}

/* RFC 9110 4.2.3: however the URL is written. */
static void one_resource_has_one_place(void** state) {
  fixture_t* f = *state;
  nt_request_options_t post;

  nt_request_options_init(&post);
  post.method = "POST";
  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "a" });
  site_get(f, "/b/../a#b", NT_CACHE_DEFAULT);
  assert_string_equal(site_get(f, "/./a", NT_CACHE_ONLY), "200 a hit");
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "200 a hit");
  site_end(f, site_start(f, "/c/../a", NT_CACHE_NONE, &post));
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
}

static void uploads_invalidate(void** state) {
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .data = "x", .size = 1 };
  nt_upload_options_t options;
  char url[64];
  nt_id_t id;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "a" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  nt_upload_options_init(&options);
  options.request.url = host_url(f->host, "/a", url, sizeof(url));
  options.request.cache = NT_CACHE_DEFAULT; /* does not matter */
  options.parts = &part;
  options.part_count = 1;
  assert_int_equal(nt_upload_open(f->host->net, &id), 0);
  assert_int_equal(nt_upload_start(f->host->net, id, &options), 0);
  host_expect(f->host, id, 0);
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
}

/* ---- Errors -------------------------------------------------------------- */

#define COVERED "Cache-Control: max-age=0, stale-if-error=1000\r\n"

static void errors_are_covered(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = COVERED, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_put(f, (page_t){ .path = "/a", .status = "503 Busy", .body = "two" });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one stale");
  site_put(f, (page_t){ .path = "/a", .flags = SITE_CLOSE });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one stale");
  site_put(f, (page_t){ .path = "/a", .status = "501 No", .body = "two" });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "501 two ");
}

static void a_silent_server_is_an_error_that_is_covered(void** state) {
  fixture_t* f = *state;
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.timeouts.first_byte = 50;
  site_put(f, (page_t){ .path = "/a", .fields = COVERED, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_put(f, (page_t){ .path = "/a", .flags = SITE_HOLD });
  assert_string_equal(
      site_end(f, site_start(f, "/a", NT_CACHE_DEFAULT, &options)),
      "200 one stale");
  options.timeouts.first_byte = 0;
  options.timeouts.total = 50;
  assert_string_equal(
      site_end(f, site_start(f, "/a", NT_CACHE_DEFAULT, &options)), "TIMEOUT");
  server_release(f->host->server);
}

/* ---- Renewal ------------------------------------------------------------- */

#define RENEWED "Cache-Control: max-age=0, stale-while-revalidate=1000\r\n"

static void wait_asked(fixture_t* f, unsigned count) {
  assert_true(server_wait(f->host->server, &f->host->server->requests, count,
                          PATIENCE_MS));
}

/* Until what is stored is `text`. */
static void wait_stored(fixture_t* f, const char* path, const char* text) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  while (strcmp(site_get(f, path, NT_CACHE_ONLY), text) != 0)
    assert_true(uv_hrtime() < end);
}

static void stale_ones_are_renewed_meanwhile(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = RENEWED, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH,
                        .body = "two",
                        .flags = SITE_HOLD });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one stale");
  wait_holding(f, 1);
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one stale");
  assert_int_equal(site_asked(f), 2); /* one at a time */
  server_release(f->host->server);
  wait_stored(f, "/a", "200 two hit");
}

static void a_renewal_asks_what_the_task_asked(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a",
                        .fields = RENEWED "ETag: \"e\"\r\n",
                        .body = "one",
                        .etag = "\"e\"",
                        .renewed = FRESH });
  site_end(f, start_with(f, "/a", "X-Mine", "1"));
  site_end(f, start_with(f, "/a", "X-Mine", "2"));
  wait_asked(f, 2);
  assert_true(site_saw(f, "\r\nX-Mine: 2\r\n"));
  assert_true(site_saw(f, "\r\nIf-None-Match: \"e\"\r\n"));
  wait_stored(f, "/a", "200 one hit");
}

static void renewals_end_with_the_context(void** state) {
  fixture_t* f = *state;

  site_put(f, (page_t){ .path = "/a", .fields = RENEWED, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_put(f, (page_t){ .path = "/a", .body = "two", .flags = SITE_HOLD });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one stale");
  wait_asked(f, 2);
  host_policy(f->host, small_mark); /* ends it, too */
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one stale");
  wait_asked(f, 3);
}

static void no_grace(nt_policy_t* policy) {
  policy->background_grace_ms = 0;
}

static void renewals_end_in_the_background(void** state) {
  fixture_t* f = *state;
  nt_id_t id;

  host_policy(f->host, no_grace);
  site_put(f, (page_t){ .path = "/a", .fields = RENEWED, .body = "one" });
  site_put(f, (page_t){ .path = "/b", .flags = SITE_HOLD });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  site_put(f, (page_t){ .path = "/a", .body = "two", .flags = SITE_HOLD });
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one stale");
  id = site_start(f, "/b", NT_CACHE_NONE, NULL);
  wait_asked(f, 3);
  assert_int_equal(nt_background(f->host->net, 1), 0);
  host_expect(f->host, id, NT_E_INTERRUPTED);
  assert_int_equal(nt_background(f->host->net, 0), 0);
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one stale");
  wait_asked(f, 4); /* another one begins */
}

/* ---- Two at once, and ends at any moment --------------------------------- */

static void two_at_once_are_two(void** state) {
  fixture_t* f = *state;
  nt_id_t ids[2];
  nt_event_t ev;
  unsigned ended = 0;

  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH,
                        .body = "one",
                        .flags = SITE_HOLD });
  ids[0] = site_start(f, "/a", NT_CACHE_DEFAULT, NULL);
  ids[1] = site_start(f, "/a", NT_CACHE_DEFAULT, NULL);
  assert_true(
      server_wait(f->host->server, &f->host->server->holding, 2, PATIENCE_MS));
  server_release(f->host->server);
  while (ended < 2) {
    host_next(f->host, &ev);
    assert_true(ev.id == ids[0] || ev.id == ids[1]);
    if (ev.type != NT_EV_END)
      continue;
    assert_string_equal(ev.data, "one");
    ended++;
  }
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one hit");
}

static void hits_can_be_aborted(void** state) {
  fixture_t* f = *state;
  nt_id_t id;

  host_policy(f->host, small_mark);
  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = LARGE });
  host_expect(f->host, site_start(f, "/s", NT_CACHE_DEFAULT, NULL), 0);
  id = start_stream(f, "/s");
  let_fill(f);
  nt_abort(f->host->net, id);
  host_expect(f->host, id, NT_E_ABORTED);
  assert_string_equal(drain(f, start_stream(f, "/s"), LARGE), "hit");
}

static void what_is_aborted_is_not_stored(void** state) {
  fixture_t* f = *state;
  nt_id_t id;

  site_put(f, (page_t){ .path = "/s",
                        .fields = FRESH,
                        .size = LARGE,
                        .flags = SITE_HOLD_BODY });
  id = start_stream(f, "/s");
  assert_true(
      server_wait(f->host->server, &f->host->server->holding, 1, PATIENCE_MS));
  nt_abort(f->host->net, id);
  host_expect(f->host, id, NT_E_ABORTED);
  server_release(f->host->server);
  assert_string_equal(site_get(f, "/s", NT_CACHE_ONLY), "CACHE_MISS");
}

static nt_id_t start_any(fixture_t* f, uint64_t random) {
  static const char* const paths[] = { "/s", "/v", "/from", "/r" };
  static const nt_cache_t some[] = { NT_CACHE_DEFAULT, NT_CACHE_DEFAULT,
                                     NT_CACHE_NO_CACHE, NT_CACHE_RELOAD };
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.flags = random & 16 ? NT_REQUEST_STREAM : 0;
  return site_start(f, paths[random % 4], some[random / 4 % 4], &options);
}

static void ends_at_any_moment(void** state) {
  fixture_t* f = *state;
  uint64_t random = 88172645463325252u;
  unsigned ended = 0;
  nt_event_t ev;
  unsigned i;

  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = LARGE });
  site_put(f, (page_t){ .path = "/v",
                        .fields = STALE "ETag: \"e\"\r\n",
                        .body = "one",
                        .etag = "\"e\"" });
  site_put(f, (page_t){ .path = "/from",
                        .status = "301 Moved",
                        .fields = FRESH "Location: /s\r\n" });
  site_put(f, (page_t){ .path = "/r", .fields = RENEWED, .body = "one" });
  for (i = 0; i < 400; i++) {
    nt_id_t id = start_any(f, next_random(&random));
    uint64_t spins = next_random(&random) % 8000;

    if (i % 32 == 0)
      assert_int_equal(nt_cache_clear(f->host->net, NULL), 0);
    while (spins-- > 0)
      ended += nt_poll(f->host->net, &ev) && ev.type == NT_EV_END;
    nt_abort(f->host->net, id);
  }
  while (ended < 400) {
    host_next(f->host, &ev);
    assert_true(ev.error == 0 || ev.error == NT_E_ABORTED);
    ended += ev.type == NT_EV_END;
  }
  assert_string_equal(site_get(f, "/v", NT_CACHE_RELOAD), "200 one ");
}

/* The context closes over what is being played and recorded. */
static void the_context_closes_over_all(void** state) {
  fixture_t* f = *state;
  int i;

  host_policy(f->host, small_mark);
  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = LARGE });
  site_put(f, (page_t){ .path = "/t",
                        .fields = FRESH,
                        .size = LARGE,
                        .flags = SITE_HOLD_BODY });
  host_expect(f->host, site_start(f, "/s", NT_CACHE_DEFAULT, NULL), 0);
  start_stream(f, "/s");
  let_fill(f);
  start_stream(f, "/t");
  assert_true(
      server_wait(f->host->server, &f->host->server->holding, 1, PATIENCE_MS));
  for (i = 0; i < 4; i++)
    site_start(f, "/s", NT_CACHE_DEFAULT, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    SITE_TEST(a_fresh_answer_is_used),
    SITE_TEST(a_mode_of_none_neither_uses_nor_stores),
    SITE_TEST(modes_do_what_fetch_says),
    SITE_TEST(what_is_missing_is_not_asked_for),
    SITE_TEST(modes_are_told_on_the_way),
    SITE_TEST(own_conditions_are_left_alone),
    SITE_TEST(a_hit_without_a_date_gets_one),
    SITE_TEST(a_304_renews_headers_and_freshness),
    SITE_TEST(another_answer_takes_the_place),
    SITE_TEST(a_304_that_does_not_fit_is_asked_again),
    SITE_TEST(a_304_with_another_tag_changes_no_fields),
    SITE_TEST(head_tells_of_what_is_stored),
    SITE_TEST(a_hit_looks_like_an_answer),
    SITE_TEST(empty_bodies_are_bodies),
    SITE_TEST(the_cap_of_bodies_holds),
    SITE_TEST(vary_keeps_answers_apart),
    SITE_TEST(what_is_for_one_is_not_given_to_another),
    SITE_TEST(the_user_of_a_url_counts),
    SITE_TEST(the_jar_counts_where_cookies_vary),
    SITE_TEST(another_secret_is_another_request),
    SITE_TEST(redirects_are_hits_and_lead_on),
    SITE_TEST(the_body_of_a_redirect_is_stored_too),
    SITE_TEST(stored_redirects_in_a_circle_end),
    SITE_TEST(the_verdict_is_that_of_the_last_hop),
    SITE_TEST(origins_are_judged_anew),
    SITE_TEST(what_nobody_may_see_is_not_stored),
    SITE_TEST(streams_are_stored_and_played_piecewise),
    SITE_TEST(what_was_gathered_is_streamed),
    SITE_TEST(what_is_cut_short_is_not_stored),
    SITE_TEST(what_is_too_large_is_not_stored),
    SITE_TEST(a_get_with_a_body_is_left_alone),
    SITE_TEST(what_is_cleared_meanwhile_is_not_stored),
    SITE_TEST(what_was_asked_for_another_folder_is_not_stored),
    SITE_TEST(a_late_304_brings_nothing_back),
    SITE_TEST(the_last_to_ask_is_the_one_that_counts),
    SITE_TEST(headers_stay_within_their_cap),
    SITE_TEST(one_url_can_be_cleared),
    SITE_TEST(unsafe_methods_invalidate),
    SITE_TEST(one_resource_has_one_place),
    SITE_TEST(uploads_invalidate),
    SITE_TEST(errors_are_covered),
    SITE_TEST(a_silent_server_is_an_error_that_is_covered),
    SITE_TEST(stale_ones_are_renewed_meanwhile),
    SITE_TEST(a_renewal_asks_what_the_task_asked),
    SITE_TEST(renewals_end_with_the_context),
    SITE_TEST(renewals_end_in_the_background),
    SITE_TEST(two_at_once_are_two),
    SITE_TEST(hits_can_be_aborted),
    SITE_TEST(what_is_aborted_is_not_stored),
    SITE_TEST(ends_at_any_moment),
    SITE_TEST(the_context_closes_over_all),
  };

  return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
