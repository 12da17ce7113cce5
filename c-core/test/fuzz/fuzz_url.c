/* URLs and references: the input is a base and a reference, with a NUL between
 * them, or a URL alone. Its first byte chooses how it begins: libcurl, which
 * parses, tells the fuzzer nothing, so it would hardly find "http://" by
 * itself. What resolves has to resolve to a URL again, without anything that
 * could end a request line. */
#include "oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static int is_clean(const char* text) {
  const unsigned char* p = (const unsigned char*) text;

  while (*p > 0x20 && *p != 0x7f)
    p++;
  return *p == '\0';
}

static void check_resolved(const char* text) {
  size_t size = 4 * strlen(text) + 64;
  char* again = malloc(size);

  require(again != NULL);
  require(is_clean(text));
  require(nt_url_resolve(NULL, text, again, size) == 0);
  free(again);
}

static const nt__policy_t* list_policy(void) {
  static const char* const domains[] = { "*.example.com", "1.2.3.4",
                                         "https://b:8443" };
  static nt__policy_t* policy;

  if (policy == NULL)
    policy = new_policy(0, domains, 3);
  return policy;
}

static bool ends_with(const char* text, const char* tail) {
  size_t size = strlen(text);
  size_t tail_size = strlen(tail);

  return size >= tail_size && strcasecmp(text + size - tail_size, tail) == 0;
}

static void check_listed(const nt__url_t* url) {
  const char* host = url->host;
  nt__sockaddr_t address;

  if (is_numeric(host, &address)) {
    nt__ip_t ip;

    require(nt__ip_read(&ip, &address.sa) && !ip.v6 &&
            memcmp(ip.bytes, "\1\2\3\4", 4) == 0);
    return;
  }
  require(ends_with(host, ".example.com") || ends_with(host, ".example.com.") ||
          strcmp(host, "1.2.3.4.") == 0 || host[0] == 'b' || host[0] == 'B');
  if (strcasecmp(host, "b") == 0)
    require(url->secure && url->port == 8443);
}

/* What passes really is on the list, and public, as libcurl has the host. */
static void check_gate(const nt__url_t* url) {
  char* host = NULL;
  char text[64];

  if (url->http && !url->foreign) {
    require(curl_url_get(url->handle, CURLUPART_HOST, &host, 0) == CURLUE_OK);
    require(strcmp(host, url->host) == 0);
    curl_free(host);
  }
  if (nt__gate_url(private_policy(), NT_ACCESS_REQUEST, url) == 0)
    require_public(url->host);
  if (nt__gate_url(list_policy(), NT_ACCESS_REQUEST, url) == 0)
    check_listed(url);
  nt__gate_show(url, text, sizeof(text));
  require(is_clean(text));
}

/* The text leads to the same place, without a password. */
static void check_parsed(const char* base, const char* text) {
  nt__url_t url;
  nt__url_t plain;

  if (nt__url_parse(&url, base, text) != 0)
    return;
  check_gate(&url);
  require((url.authority != NULL) == url.http);
  require(!url.secure || url.http);
  require(nt__url_same_origin(&url, &url) == url.http);
  require(nt__url_parse(&plain, NULL, url.text) == 0);
  require(!url.http || (is_clean(url.authority) &&
                        strcmp(plain.authority, url.authority) == 0));
  nt__url_free(&plain);
  nt__url_drop_credentials(&url);
  nt__url_free(&url);
}

static const char* const heads[] = { "",          "http://",
                                     "https://",  "http://a/",
                                     "http://a:", "http://u:p@",
                                     "http://[",  "http://a/b/c?d#e" };

enum {
  HEAD_COUNT = sizeof(heads) / sizeof(heads[0])
};

/* The head, the input and a NUL. */
static char* compose(const uint8_t* data, size_t size, size_t* total) {
  const char* head = heads[data[0] % HEAD_COUNT];
  size_t head_size = strlen(head);
  char* input = malloc(head_size + size);

  require(input != NULL);
  memcpy(input, head, head_size);
  memcpy(input + head_size, data + 1, size - 1);
  *total = head_size + size - 1;
  input[*total] = '\0';
  return input;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const char* base = NULL;
  const char* text;
  char* input;
  char* out;
  size_t total;

  if (size == 0)
    return 0;
  text = input = compose(data, size, &total);
  if (strlen(input) < total) {
    base = input;
    text = input + strlen(input) + 1;
  }
  check_parsed(base, text);
  out = malloc(4 * total + 64);
  require(out != NULL);
  if (nt_url_resolve(base, text, out, 4 * total + 64) == 0)
    check_resolved(out);
  free(out);
  free(input);
  return 0;
}
