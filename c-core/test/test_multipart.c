/* multipart.c: the text between the parts. */
#include <string.h>

#include "check.h"
#include "multipart.h"

/* A part and what stands before it; `first` without a line end. */
static const struct {
  nt_part_t part;
  int is_first;
  const char* text;
} heads[] = {
  { { .name = "a", .data = "x", .size = 1 },
    1,
    "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" },
  { { .name = "a" },
    0,
    "\r\n--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" },
  { { .name = "a\"b\r\nc", .type = "text/plain" },
    1,
    "--B\r\nContent-Disposition: form-data; name=\"a%22b%0D%0Ac\"\r\n"
    "Content-Type: text/plain\r\n\r\n" },
  { { .name = "f", .path = "/x/y.png" },
    1,
    "--B\r\nContent-Disposition: form-data; name=\"f\"; "
    "filename=\"y.png\"\r\nContent-Type: image/png\r\n\r\n" },
  { { .name = "f", .path = "y", .fallback_type = "audio/mpeg" },
    1,
    "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"y\"\r\n"
    "Content-Type: audio/mpeg\r\n\r\n" },
  { { .name = "f", .path = "y.png", .fallback_type = "audio/mpeg" },
    1,
    "--B\r\nContent-Disposition: form-data; name=\"f\"; "
    "filename=\"y.png\"\r\nContent-Type: image/png\r\n\r\n" },
  { { .name = "f", .path = "y.png", .type = "a/b", .file_name = "z\".jpg" },
    1,
    "--B\r\nContent-Disposition: form-data; name=\"f\"; "
    "filename=\"z%22.jpg\"\r\nContent-Type: a/b\r\n\r\n" },
  { { .name = "f", .path = "y.png", .file_name = "shot" },
    1,
    "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"shot\"\r\n"
    "Content-Type: image/png\r\n\r\n" },
  { { .name = "f", .data = "x", .size = 1, .file_name = "replay" },
    1,
    "--B\r\nContent-Disposition: form-data; name=\"f\"; "
    "filename=\"replay\"\r\nContent-Type: application/octet-stream\r\n\r\n" },
  { { .name = "\xc3\xa4\\;", .file_name = "" },
    1,
    "--B\r\nContent-Disposition: form-data; name=\"\xc3\xa4\\;\"; "
    "filename=\"\"\r\nContent-Type: application/octet-stream\r\n\r\n" },
};

static void parts(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(heads); i++) {
    nt__buf_t text;

    nt__buf_init(&text, 0);
    assert_int_equal(nt__multipart_check(&heads[i].part), 0);
    assert_int_equal(
        nt__multipart_head(&text, "B", &heads[i].part, heads[i].is_first), 0);
    assert_string_equal(text.data, heads[i].text);
    nt__buf_free(&text);
  }
}

static void the_end(void** state) {
  nt__buf_t text;

  (void) state;
  nt__buf_init(&text, 0);
  assert_int_equal(nt__multipart_tail(&text, "B", 0), 0);
  assert_string_equal(text.data, "\r\n--B--\r\n");
  nt__buf_free(&text);
  assert_int_equal(nt__multipart_tail(&text, "B", 1), 0);
  assert_string_equal(text.data, "--B--\r\n");
  nt__buf_free(&text);
}

static void full_buffers(void** state) {
  nt_part_t part = { .name = "a\"", .path = "y.png" };
  nt__buf_t text;
  uint64_t max;
  int err = NT_E_FULL;

  (void) state;
  for (max = 1; err != 0; max++) {
    assert_true(max < 200);
    nt__buf_init(&text, max);
    err = nt__multipart_head(&text, "B", &part, 1);
    assert_true(err == 0 || err == NT_E_FULL);
    nt__buf_free(&text);
  }
}

static const struct {
  nt_part_t part;
  int error;
} refused[] = {
  { { .data = "x", .size = 1 }, NT_E_INVALID },
  { { .name = "a", .size = 1 }, NT_E_INVALID },
  { { .name = "a", .path = "" }, NT_E_INVALID },
  { { .name = "a", .type = "a\r\nb" }, NT_E_HEADER },
  { { .name = "a", .path = "b", .fallback_type = "a\nb" }, NT_E_HEADER },
};

static void refusals(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(refused); i++)
    assert_int_equal(nt__multipart_check(&refused[i].part), refused[i].error);
}

static void boundaries(void** state) {
  static const unsigned char random[16] = { 0, 1, 0xfe, 0xff };
  char boundary[NT__BOUNDARY_MAX];

  (void) state;
  nt__multipart_boundary(random, boundary);
  assert_string_equal(boundary, "----nettask0001feff000000000000000000000000");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(parts),        cmocka_unit_test(the_end),
    cmocka_unit_test(full_buffers), cmocka_unit_test(refusals),
    cmocka_unit_test(boundaries),
  };

  return cmocka_run_group_tests_name("multipart", tests, NULL, NULL);
}
