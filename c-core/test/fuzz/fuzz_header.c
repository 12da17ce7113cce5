/* Header lines as a server may send them: the input is cut into lines at LF,
 * and its first byte chooses a maximum. The fields must stay whole: as many as
 * are counted, each with a name, within the maximum. */
#include <stdlib.h>
#include <string.h>

#include "header.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static void require(int condition) {
  if (!condition)
    abort();
}

static void check_fields(const nt__headers_t* headers) {
  nt_headers_t view = nt__headers_view(headers);
  size_t cursor = 0;
  size_t count = 0;
  const char* name;
  const char* value;

  while (nt_headers_next(&view, &cursor, &name, &value)) {
    require(name[0] != '\0');
    require(nt__headers_find(headers, name) != NULL);
    require(nt__header_is(name, name));
    nt__header_is_secret(name);
    nt_header_check(name, value);
    count++;
  }
  require(cursor == view.size);
  require(count == view.count);
}

/* From memory of its own, so that a byte too far is seen. */
static int add_line(nt__headers_t* headers, const uint8_t* data, size_t size) {
  char* line = malloc(size);
  int err;

  require(line != NULL);
  memcpy(line, data, size);
  err = nt__headers_add_line(headers, line, size);
  free(line);
  return err;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nt__headers_t headers;
  uint64_t max;

  if (size == 0)
    return 0;
  max = *data++;
  size--;
  nt__headers_init(&headers, max);
  while (size > 0) {
    const uint8_t* end = memchr(data, '\n', size);
    size_t length = end == NULL ? size : (size_t) (end - data) + 1;
    int err = add_line(&headers, data, length);

    require(err == 0 || (err == NT_E_FULL && max != 0));
    require(max == 0 || headers.bytes.size <= max);
    check_fields(&headers);
    data += length;
    size -= length;
  }
  nt__headers_free(&headers);
  return 0;
}
