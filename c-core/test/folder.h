/* A folder for the files of a test, removed with all that is in it. */
#ifndef NT_TEST_FOLDER_H
#define NT_TEST_FOLDER_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

typedef struct folder {
  char path[64];
} folder_t;

static inline void folder_make(folder_t* folder) {
  char real[PATH_MAX];

  snprintf(folder->path, sizeof(folder->path), "/tmp/nettask.test.XXXXXX");
  assert_non_null(mkdtemp(folder->path));
  assert_non_null(realpath(folder->path, real));
  assert_string_equal(real, folder->path); /* tests compare paths */
}

static inline int folder_remove_one(const char* path, const struct stat* info,
                                    int type, struct FTW* where) {
  (void) info;
  (void) type;
  (void) where;
  return remove(path);
}

static inline void folder_remove(folder_t* folder) {
  nftw(folder->path, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of a file in it, in one of a few buffers in turn. */
static inline const char* in_folder(const folder_t* folder, const char* name) {
  static char paths[8][PATH_MAX];
  static unsigned next;
  char* path = paths[next++ % COUNT(paths)];

  snprintf(path, PATH_MAX, "%s/%s", folder->path, name);
  return path;
}

static inline bool file_exists(const char* path) {
  struct stat info;

  return lstat(path, &info) == 0;
}

static inline void file_put(const char* path, const void* data, size_t size) {
  FILE* file = fopen(path, "wb");

  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

/* What is in it, to be freed, with a NUL behind. */
static inline char* file_get(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  struct stat info;
  char* data;

  if (file == NULL || fstat(fileno(file), &info) != 0)
    fail_msg("%s cannot be read", path);
  *size = (size_t) info.st_size;
  data = malloc(*size + 1);
  assert_non_null(data);
  assert_int_equal(fread(data, 1, *size, file), *size);
  data[*size] = '\0';
  fclose(file);
  return data;
}

static inline void assert_file(const char* path, const char* text) {
  size_t size;
  char* data = file_get(path, &size);

  assert_string_equal(data, text);
  free(data);
}

/* Entries of the folder, but for "." and "..". */
static inline unsigned folder_count(const char* path) {
  DIR* dir = opendir(path);
  struct dirent* entry;
  unsigned count = 0;

  assert_non_null(dir);
  while ((entry = readdir(dir)) != NULL)
    count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
  closedir(dir);
  return count;
}

/* Nothing but the files with these names; NULL ends them. */
static inline void assert_only(const folder_t* folder,
                               const char* const* names) {
  unsigned count = 0;

  for (; names[count] != NULL; count++)
    if (!file_exists(in_folder(folder, names[count])))
      fail_msg("%s is missing", names[count]);
  assert_int_equal(folder_count(folder->path), count);
}

#define ASSERT_ONLY(folder, ...)                                               \
  assert_only(folder, (const char* const[]){ __VA_ARGS__, NULL })

#endif
