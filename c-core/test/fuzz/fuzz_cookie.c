/* Set-Cookie fields and cookie files as anybody may have written them: the
 * input is cut into lines at LF. The first byte says where the fields come
 * from, and the same input is read as a file. What a jar then writes another
 * reads and writes in the same way, and nothing that it would send may start
 * another field. */
#include <stdlib.h>
#include <string.h>

#include "cookie_jar.h"
#include "nettask.h"

#define NOW INT64_C(1700000000000)

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static const char* const urls[] = { "http://a.test.com/x/y",
                                    "https://a.test.com/", "http://co.uk/",
                                    "http://10.0.0.1/x" };
static const char* const hosts[] = { "a.test.com", "a.test.com", "co.uk",
                                     "10.0.0.1" };

static void require(int condition) {
  if (!condition)
    abort();
}

static void check_sent(nt__jar_t* jar, const nt__cookie_place_t* place) {
  nt__buf_t out;

  nt__buf_init(&out, 0);
  require(nt__jar_pick(jar, place, "a=1", NOW, &out) == 0);
  require(out.size <= NT__JAR_LINE_MAX);
  require(out.size == 0 || strlen(out.data) == out.size);
  require(out.size == 0 || out.data[strcspn(out.data, "\r\n")] == '\0');
  nt__buf_free(&out);
}

static void check_file(nt__jar_t* jar) {
  nt__buf_t text, again;
  nt__jar_t copy;

  nt__jar_init(&copy);
  nt__buf_init(&text, 0);
  nt__buf_init(&again, 0);
  require(nt__jar_write(jar, NOW, &text) == 0);
  require(nt__jar_read(&copy, text.data, text.size, NOW) == 0);
  require(nt__jar_write(&copy, NOW, &again) == 0);
  require(text.size == again.size &&
          memcmp(text.data, again.data, text.size) == 0);
  nt__buf_free(&text);
  nt__buf_free(&again);
  nt__jar_free(&copy);
}

/* From memory of its own, so that a byte too far is seen. */
static void store(nt__jar_t* jar, const nt__cookie_place_t* place,
                  const uint8_t* data, size_t size) {
  char* line = malloc(size + 1);

  require(line != NULL);
  memcpy(line, data, size);
  line = realloc(line, size > 0 ? size : 1);
  require(line != NULL);
  nt__jar_store(jar, place, line, size, NOW);
  free(line);
}

static void store_lines(nt__jar_t* jar, const nt__cookie_place_t* place,
                        const uint8_t* data, size_t size) {
  while (size > 0) {
    const uint8_t* end = memchr(data, '\n', size);
    size_t n = end == NULL ? size : (size_t) (end - data);

    store(jar, place, data, n);
    n += end == NULL ? 0 : 1;
    data += n;
    size -= n;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nt__cookie_place_t place;
  nt__jar_t jar;
  size_t i;

  if (size == 0)
    return 0;
  i = data[0] % (sizeof(urls) / sizeof(urls[0]));
  require(nt__cookie_place(&place, urls[i], hosts[i], i == 3, i == 1));
  nt__jar_init(&jar);
  store_lines(&jar, &place, data + 1, size - 1);
  check_sent(&jar, &place);
  check_file(&jar);
  nt__jar_read(&jar, (const char*) data + 1, size - 1, NOW);
  check_sent(&jar, &place);
  check_file(&jar);
  nt__jar_free(&jar);
  return 0;
}
