/* The file of a cookie jar. Storage thread.
 *
 * A save writes "<path>.new" under a lock and renames it: the file is there
 * whole, old or new, whenever the process dies. */
#include "cookie_file.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "alloc.h"
#include "cookie_jar.h"
#include "file.h"

enum {
  LOCK_TRIES = 50,
  LOCK_WAIT_MS = 10
};

static int read_open_file(uv_file file, nt__buf_t* out) {
  nt__file_info_t info;
  int err = nt__file_info(file, &info);
  size_t size;

  if (err)
    return err;
  if (!info.regular)
    return UV_EINVAL;
  if (info.size > NT__JAR_FILE_MAX)
    return UV_EFBIG;
  size = (size_t) info.size;
  if (nt__buf_reserve(out, size + 1) != 0)
    return UV_ENOMEM;
  err = nt__file_read(file, out->data, &size, 0);
  if (err == 0)
    out->data[out->size = size] = '\0';
  return err;
}

int nt__cookie_file_read(const char* path, nt__buf_t* out) {
  uv_file file;
  int err = nt__file_open(path, UV_FS_O_RDONLY, &file);

  if (err)
    return err == UV_ENOENT ? 0 : err;
  err = read_open_file(file, out);
  nt__file_close(file);
  return err;
}

/* The file that others may be writing, too: ours once it is locked and still
 * has that name. UV_EBUSY: not now. */
static int open_locked(const char* path, uv_file* file) {
  nt__file_info_t own, there;
  int err = nt__file_open(path, UV_FS_O_WRONLY | UV_FS_O_CREAT, file);

  if (err)
    return err;
  err = nt__file_lock(*file);
  if (err == 0)
    err = nt__file_info(*file, &own);
  if (err == 0) {
    err = nt__file_look(path, &there);
    if (err == UV_ENOENT ||
        (err == 0 && (own.inode != there.inode || own.device != there.device)))
      err = UV_EBUSY;
  }
  if (err)
    nt__file_close(*file);
  return err;
}

static int write_locked(uv_file file, const nt__buf_t* bytes) {
  size_t size = bytes->size;
  int err = nt__file_protect(file);

  if (err == 0)
    err = nt__file_truncate(file, 0);
  if (err == 0)
    err = nt__file_write(file, bytes->data, &size, 0);
  return err ? err : nt__file_sync(file);
}

static int save(const char* path, const char* part, const nt__buf_t* bytes) {
  uv_file file;
  int err = UV_EBUSY;
  int i;

  for (i = 0; i < LOCK_TRIES && err == UV_EBUSY; i++) {
    if (i > 0)
      uv_sleep(LOCK_WAIT_MS);
    err = open_locked(part, &file);
  }
  if (err)
    return err;
  err = write_locked(file, bytes);
  if (err == 0)
    err = nt__file_rename(part, path);
  else
    nt__file_remove(part);
  nt__file_unlock(file);
  nt__file_close(file);
  return err;
}

int nt__cookie_file_save(const char* path, const nt__buf_t* bytes) {
  size_t size = strlen(path) + sizeof(".new");
  char* part = nt__malloc(size);
  int err;

  if (part == NULL)
    return UV_ENOMEM;
  snprintf(part, size, "%s.new", path);
  err = save(path, part, bytes);
  nt__free(part);
  return err;
}
