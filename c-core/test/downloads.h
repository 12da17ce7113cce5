/* Starting downloads of the test server's file, and looking at what comes. */
#ifndef NT_TEST_DOWNLOADS_H
#define NT_TEST_DOWNLOADS_H

#include <sched.h>

#include "files.h"
#include "sha256.h"

static inline nt_id_t start_options(fixture_t* f, const char* path,
                                    nt_download_options_t* options) {
  nt_id_t id = 0;
  char url[256];

  options->request.url = host_url(f->host, path, url, sizeof(url));
  assert_int_equal(nt_download_open(f->host->net, &id), 0);
  assert_int_equal(nt_download_start(f->host->net, id, options), 0);
  return id;
}

static inline nt_id_t start(fixture_t* f, const char* file, uint32_t flags) {
  nt_download_options_t options;

  nt_download_options_init(&options);
  options.path = file == NULL ? NULL : in_folder(&f->folder, file);
  options.flags = flags;
  return start_options(f, "/file", &options);
}

/* The last event, which the caller may look at. */
static inline void expect(fixture_t* f, nt_id_t id, int error, nt_event_t* ev) {
  host_end(f->host, id, ev);
  if (ev->error != error)
    fail_msg("%s (%s) instead of %s", nt_error_name(ev->error), ev->message,
             nt_error_name(error));
  assert_true((ev->path != NULL) == (error == 0));
}

static inline void expect_error(fixture_t* f, nt_id_t id, int error) {
  nt_event_t ev;

  expect(f, id, error, &ev);
}

/* That the file is the one that the server has. */
static inline void assert_served(const char* path, unsigned version,
                                 uint64_t size) {
  size_t got;
  char* data = file_get(path, &got);
  uint64_t i;

  assert_int_equal(got, size);
  for (i = 0; i < size; i++)
    if (data[i] != files_byte(version, i))
      fail_msg("%s differs at %llu", path, (unsigned long long) i);
  free(data);
}

static inline void assert_nothing_left(fixture_t* f) {
  assert_int_equal(folder_count(f->folder.path), 0);
}

static inline void wait_file(const char* path) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  while (!file_exists(path)) {
    assert_true(uv_hrtime() < end);
    sched_yield();
  }
}

static inline void digest_of_served(unsigned version, uint64_t size,
                                    char* out) {
  unsigned char digest[NT__SHA256_SIZE];
  nt__sha256_t hash;
  uint64_t i;

  nt__sha256_init(&hash);
  for (i = 0; i < size; i++) {
    char byte = files_byte(version, i);

    nt__sha256_update(&hash, &byte, 1);
  }
  nt__sha256_final(&hash, digest);
  for (i = 0; i < NT__SHA256_SIZE; i++)
    snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

#endif
