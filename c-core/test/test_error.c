/* error.c and failure.c: every code has a name and a text of its own, and what
 * libcurl reports becomes the code that says why. */
#include <curl/curl.h>
#include <string.h>

#include "check.h"
#include "failure.h"
#include "nettask.h"

#define XX(name, value, text) { (value), #name, text },
static const struct {
  int code;
  const char* name;
  const char* text;
} errors[] = { NT_ERROR_MAP(XX) };
#undef XX

static void names_and_texts(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(errors); i++) {
    assert_true(errors[i].code < 0);
    assert_string_equal(nt_error_name(errors[i].code), errors[i].name);
    assert_string_equal(nt_error_message(errors[i].code), errors[i].text);
    assert_true(strlen(errors[i].text) > 0);
  }
  assert_string_equal(nt_error_name(NT_E_TIMEOUT), "TIMEOUT");
  assert_string_equal(nt_error_name(0), "OK");
  assert_string_equal(nt_error_message(0), "");
}

static void names_are_unique(void** state) {
  size_t i;
  size_t k;

  (void) state;
  for (i = 0; i < COUNT(errors); i++)
    for (k = 0; k < i; k++)
      assert_string_not_equal(errors[i].name, errors[k].name);
}

static void unknown_codes(void** state) {
  static const int codes[] = { 1, 200, -1000, INT32_MAX, INT32_MIN };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(codes); i++) {
    assert_string_equal(nt_error_name(codes[i]), "UNKNOWN");
    assert_string_equal(nt_error_message(codes[i]), "unknown error");
  }
}

/* Of a handle that did nothing: no errno, verify result 0, no length. */
static const struct {
  CURLcode curl;
  int code;
} failures[] = {
  { CURLE_OUT_OF_MEMORY, NT_E_NOMEM },
  { CURLE_URL_MALFORMAT, NT_E_URL },
  { CURLE_COULDNT_RESOLVE_HOST, NT_E_RESOLVE },
  { CURLE_COULDNT_RESOLVE_PROXY, NT_E_PROXY },
  { CURLE_COULDNT_CONNECT, NT_E_CONNECT },
  { CURLE_INTERFACE_FAILED, NT_E_INTERFACE },
  { CURLE_OPERATION_TIMEDOUT, NT_E_TIMEOUT },
  { CURLE_SEND_ERROR, NT_E_DROPPED },
  { CURLE_RECV_ERROR, NT_E_DROPPED },
  { CURLE_GOT_NOTHING, NT_E_EMPTY_RESPONSE },
  { CURLE_PARTIAL_FILE, NT_E_CHUNKED },
  { CURLE_UNSUPPORTED_PROTOCOL, NT_E_HTTP },
  { CURLE_WEIRD_SERVER_REPLY, NT_E_HTTP },
  { CURLE_HTTP2, NT_E_HTTP2 },
  { CURLE_HTTP2_STREAM, NT_E_HTTP2 },
  { CURLE_BAD_CONTENT_ENCODING, NT_E_DECODING },
  { CURLE_PEER_FAILED_VERIFICATION, NT_E_CERT_NAME },
  { CURLE_SSL_CACERT_BADFILE, NT_E_TRUST },
  { CURLE_SSL_CONNECT_ERROR, NT_E_TLS },
  { CURLE_TOO_MANY_REDIRECTS, NT_E_NETWORK },
};

static void libcurl_results(void** state) {
  CURL* curl = curl_easy_init();
  size_t i;

  (void) state;
  assert_non_null(curl);
  for (i = 0; i < COUNT(failures); i++)
    assert_int_equal(nt__failure(curl, failures[i].curl, ""), failures[i].code);
  assert_int_equal(
      nt__failure(curl, CURLE_RECV_ERROR, "No digit in chunked-encoding"),
      NT_E_HTTP);
  curl_easy_cleanup(curl);
}

static void refusals(void** state) {
  static const int refused[] = {
    NT_E_LIMIT,     NT_E_URL_TOO_LONG, NT_E_SCHEME,   NT_E_PORT,
    NT_E_BODY_SIZE, NT_E_DOMAIN,       NT_E_PRIVATE,  NT_E_SECRET,
    NT_E_QUOTA,     NT_E_OWN_PROXY,    NT_E_PIN,      NT_E_WS_SIZE,
    NT_E_OUTSIDE,   NT_E_FILE_SIZE,    NT_E_TEMP_SIZE
  };
  static const int others[] = { 0,
                                NT_E_ABORTED,
                                NT_E_INTERRUPTED,
                                NT_E_URL,
                                NT_E_REFUSED,
                                NT_E_PERMISSION,
                                NT_E_ACCESS,
                                1 };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(refused); i++)
    assert_int_equal(nt_error_is_refusal(refused[i]), 1);
  for (i = 0; i < COUNT(others); i++)
    assert_int_equal(nt_error_is_refusal(others[i]), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(names_and_texts), cmocka_unit_test(names_are_unique),
    cmocka_unit_test(unknown_codes),   cmocka_unit_test(libcurl_results),
    cmocka_unit_test(refusals),
  };

  return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
