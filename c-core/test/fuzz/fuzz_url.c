/* URLs and references: the input is a base and a reference, with a NUL between
 * them, or a URL alone. Its first byte chooses how it begins: libcurl, which
 * parses, tells the fuzzer nothing, so it would hardly find "http://" by
 * itself. What resolves has to resolve to a URL again, without anything that
 * could end a request line. */
#include <stdlib.h>
#include <string.h>

#include "nettask.h"
#include "url.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static void require(int condition) {
  if (!condition)
    abort();
}

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

/* The text leads to the same place, without a password. */
static void check_parsed(const char* base, const char* text) {
  nt__url_t url;
  nt__url_t plain;

  if (nt__url_parse(&url, base, text) != 0)
    return;
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
