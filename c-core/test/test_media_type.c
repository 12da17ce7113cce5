/* media_type.c: extensions for downloads, types for uploads. */
#include <string.h>

#include "check.h"
#include "media_type.h"

static const struct {
  const char* type;
  const char* url;
  const char* extension;
} downloads[] = {
  { "image/jpeg", "http://a/b", ".jpg" },
  { "IMAGE/JPEG", "http://a/b.png", ".jpg" },
  { "image/png; charset=x", "http://a/", ".png" },
  { "text/plain;charset=utf-8", "http://a/b", ".txt" },
  { "application/json", "http://a/b", ".json" },
  { "audio/mpeg", "http://a/b", ".mp3" },
  { "video/mp4", "http://a/b", ".mp4" },
  /* the type says nothing */
  { NULL, "http://a/b.png", ".png" },
  { "", "http://a/b.png", ".png" },
  { "application/octet-stream", "http://a/level.pak", ".pak" },
  { "application/octet-stream", "http://a/level.pak?x=1.2", ".pak" },
  { "no-such/type", "http://a/b.c/d.tar.gz#x.y", ".gz" },
  { "no-such/type", "http://user.name/", "" },
  { "no-such/type", "http://a.com", "" },
  { "no-such/type", "http://a/b", "" },
  { "no-such/type", "http://a/b.c/d", "" },
  { "no-such/type", "http://a/b.", "" },
  { "no-such/type", "http://a/b.%2e%2e", "" },
  { "no-such/type", "http://a/b.c d", "" },
  { "no-such/type", "http://a/b.12345678901234", ".12345678901234" },
  { "no-such/type", "http://a/b.123456789012345", "" },
  { "a/"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "http://a/b.c", ".c" },
};

static void extensions(void** state) {
  char extension[NT__EXTENSION_MAX];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(downloads); i++) {
    memset(extension, 'x', sizeof(extension));
    nt__media_extension(downloads[i].type, downloads[i].url, extension);
    assert_string_equal(extension, downloads[i].extension);
  }
}

static const struct {
  const char* file;
  const char* type;
} uploads[] = {
  { "a.jpg", "image/jpeg" },
  { "a.JPEG", "image/jpeg" },
  { "a.b.png", "image/png" },
  { ".mp3", "audio/mpeg" },
  { "a.json", "application/json" },
  { "a", NULL },
  { "a.", NULL },
  { "jpg", NULL },
  { "a.jpg.unknown", NULL },
};

static void types(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(uploads); i++) {
    const char* type = nt__media_type_of(uploads[i].file);

    if (uploads[i].type == NULL)
      assert_null(type);
    else
      assert_string_equal(type, uploads[i].type);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(extensions),
    cmocka_unit_test(types),
  };

  return cmocka_run_group_tests_name("media_type", tests, NULL, NULL);
}
