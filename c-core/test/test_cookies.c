/* cookies.c through the public API: both threads at one jar, what waits for
 * the file, and a life in which one allocation after the other fails. */
#include <curl/curl.h>

#include "failing.h"
#include "failing_sweep.h"
#include "folder.h"
#include "host.h"

enum {
  ROUNDS = 200
};

static const char old_file[] =
    "127.0.0.1\tFALSE\t/\tFALSE\t4102444800\told\t1\n";

/* As test_alloc.c explains: libcurl fails in ways of its own. */
static int keep_libcurl_out(void** state) {
  (void) state;
  if (failing_install() != 0)
    return -1;
  return curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK ? 0 : -1;
}

static size_t count_of(nt_context_t* net, const char* url) {
  nt_cookies_t* list;
  size_t count;

  assert_int_equal(nt_cookies_list(net, url, &list), 0);
  nt_cookies_items(list, &count);
  nt_cookies_free(list);
  return count;
}

static void use_file(nt_context_t* net, const char* path) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.cookie_file = path;
  assert_int_equal(nt_policy_set(net, &policy), 0);
}

static nt_id_t ask(host_t* host) {
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.flags = NT_REQUEST_COOKIES_SEND | NT_REQUEST_COOKIES_STORE;
  return host_start(host, "/echo", &options);
}

/* ---- Calls --------------------------------------------------------------- */

static void calls_say_what_is_wrong(void** state) {
  nt_context_t* net = ((host_t*) *state)->net;
  nt_cookies_t* list;

  assert_int_equal(nt_cookies_set(net, "ftp://a.test.com/", "a=1"), NT_E_URL);
  assert_int_equal(nt_cookies_set(net, NULL, "a=1"), NT_E_URL);
  assert_int_equal(nt_cookies_set(net, "http://a.test.com/", NULL),
                   NT_E_INVALID);
  assert_int_equal(nt_cookies_set(net, "http://a.test.com/", "a"),
                   NT_E_INVALID);
  assert_int_equal(nt_cookies_set(net, "http://a.test.com/", "a=1\n"),
                   NT_E_INVALID);
  assert_int_equal(nt_cookies_list(net, "nothing", &list), NT_E_URL);
  assert_null(list);
  assert_int_equal(nt_cookies_clear(net, ""), NT_E_URL);
  assert_int_equal(nt_cookies_state(net), 0);
  nt_cookies_free(NULL);
}

static void lists_are_copies(void** state) {
  nt_context_t* net = ((host_t*) *state)->net;
  const nt_cookie_t* items;
  nt_cookies_t* list;
  size_t count;

  assert_int_equal(
      nt_cookies_set(net, "https://a.test.com/x/y",
                     "name=value; Domain=test.com; Max-Age=9; Secure; "
                     "HttpOnly"),
      0);
  assert_int_equal(nt_cookies_list(net, NULL, &list), 0);
  assert_int_equal(nt_cookies_clear(net, "http://test.com"), 0);
  items = nt_cookies_items(list, &count);
  assert_int_equal(count, 1);
  assert_string_equal(items->name, "name");
  assert_string_equal(items->value, "value");
  assert_string_equal(items->domain, "test.com");
  assert_string_equal(items->path, "/x");
  assert_true(items->expires_ms > 0);
  assert_int_equal(items->host_only, 0);
  assert_int_equal(items->secure, 1);
  assert_int_equal(items->http_only, 1);
  nt_cookies_free(list);
  assert_int_equal(count_of(net, NULL), 0);
}

/* ---- Both threads -------------------------------------------------------- */

static void both_threads_use_the_jar(void** state) {
  host_t* host = *state;
  char url[64];
  char line[64];
  nt_event_t ev;
  int i;

  host_url(host, "/", url, sizeof(url));
  for (i = 0; i < ROUNDS; i++) {
    nt_id_t id = ask(host);

    snprintf(line, sizeof(line), "n%d=%d; Max-Age=9", i % 7, i);
    assert_int_equal(nt_cookies_set(host->net, url, line), 0);
    assert_true(count_of(host->net, url) <= 7);
    if (i % 20 == 0)
      assert_int_equal(nt_cookies_clear(host->net, i % 40 == 0 ? url : NULL),
                       0);
    host_end(host, id, &ev);
    assert_int_equal(ev.error, 0);
  }
}

/* The one request waits for the file, the one that is aborted too. */
static void a_task_waits_for_the_file(void** state) {
  host_t* host = *state;
  folder_t folder;
  const char* path;
  nt_id_t first, second;
  nt_event_t ev;

  folder_make(&folder);
  path = in_folder(&folder, "cookies");
  file_put(path, old_file, sizeof(old_file) - 1);
  use_file(host->net, path);
  first = ask(host);
  second = ask(host);
  nt_abort(host->net, first);
  host_end(host, first, &ev);
  assert_int_equal(ev.error, NT_E_ABORTED);
  host_end(host, second, &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(nt_cookies_state(host->net), 0);
  assert_int_equal(count_of(host->net, NULL), 1);
  folder_remove(&folder);
}

/* ---- Without memory ------------------------------------------------------ */

static void may_fail(int err, long n) {
  if (err != 0 && err != NT_E_NOMEM)
    fail_msg("n = %ld: %s", n, nt_error_name(err));
}

static void use_jar(nt_context_t* net, const char* path, long n) {
  nt_cookies_t* list;
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.cookie_file = path;
  may_fail(nt_policy_set(net, &policy), n);
  may_fail(nt_cookies_set(net, "http://a.test.com/", "new=1; Max-Age=9999"), n);
  may_fail(nt_cookies_set(net, "http://b.test.com/", "b=1; Max-Age=9999"), n);
  may_fail(nt_cookies_clear(net, "http://b.test.com/"), n);
  may_fail(nt_cookies_list(net, NULL, &list), n);
  nt_cookies_free(list);
  policy.cookie_file = NULL; /* the one before is saved */
  may_fail(nt_policy_set(net, &policy), n);
}

/* Whatever could not be done, the file is the old one or a whole new one. */
static void check_file(const char* path, long n) {
  size_t size;
  char* text = file_get(path, &size);
  bool is_old = strcmp(text, old_file) == 0;
  bool is_new = strncmp(text, "# Netscape", 10) == 0 &&
                strstr(text, "\told\t1\n") != NULL &&
                text[strlen(text) - 1] == '\n';

  if (!is_old && !is_new)
    fail_msg("n = %ld: the file is %s", n, text);
  free(text);
}

static bool run_session(void* folder, failing_mode_t mode, long n) {
  const char* path = in_folder(folder, "cookies");
  nt_context_t* net;

  file_put(path, old_file, sizeof(old_file) - 1);
  failing_start(mode, n);
  if (nt_open(&net) == 0) {
    use_jar(net, path, n);
    assert_int_equal(host_close(net), 0);
  }
  check_file(path, n);
  return failing_stop();
}

static void one_failure(void** state) {
  (void) state;
  failing_sweep_in_folder(run_session, FAILING_ONCE, 20);
}

static void no_memory_from_then_on(void** state) {
  (void) state;
  failing_sweep_in_folder(run_session, FAILING_ALWAYS, 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(calls_say_what_is_wrong),
    HOST_TEST(lists_are_copies),
    HOST_TEST(both_threads_use_the_jar),
    HOST_TEST(a_task_waits_for_the_file),
    cmocka_unit_test(one_failure),
    cmocka_unit_test(no_memory_from_then_on),
  };

  return cmocka_run_group_tests(tests, keep_libcurl_out, NULL);
}
