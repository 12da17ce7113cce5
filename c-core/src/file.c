/* Files, one blocking call after the other, through libuv for the sake of
 * other systems. Storage thread only: a slow disk stops whoever calls this. */
#include "file.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "nettask.h"

#ifdef _WIN32
#  include <io.h>
#  include <windows.h>
#else
#  include <errno.h>
#  include <sys/file.h>
#  include <sys/stat.h>
#  include <unistd.h>
#endif

enum {
  FILE_MODE = 0666, /* the process's umask decides */
  OWN_FILE_MODE = 0600,
  OWN_FOLDER_MODE = 0700
};

/* The result of a request that is done. */
static int finish(uv_fs_t* request) {
  ssize_t result = request->result;

  uv_fs_req_cleanup(request);
  return result < 0 ? (int) result : 0;
}

int nt__file_open(const char* path, int flags, uv_file* file) {
  uv_fs_t request;

  flags |= UV_FS_O_NONBLOCK;
#ifdef O_CLOEXEC
  flags |= O_CLOEXEC;
#endif
  uv_fs_open(NULL, &request, path, flags, FILE_MODE, NULL);
  *file = (uv_file) request.result;
  return finish(&request);
}

void nt__file_close(uv_file file) {
#ifdef _WIN32
  uv_fs_t request;

  uv_fs_close(NULL, &request, file, NULL);
  finish(&request);
#else
  close(file); /* which sanitizers see, unlike libuv's system call */
#endif
}

static int read_info(uv_fs_t* request, nt__file_info_t* info) {
  const uv_stat_t* stat = &request->statbuf;

  memset(info, 0, sizeof(*info));
  if (request->result == 0) {
    info->size = stat->st_size;
    info->device = stat->st_dev;
    info->inode = stat->st_ino;
    info->owner = stat->st_uid;
    info->regular = (stat->st_mode & S_IFMT) == S_IFREG;
    info->folder = (stat->st_mode & S_IFMT) == S_IFDIR;
  }
  return finish(request);
}

int nt__file_info(uv_file file, nt__file_info_t* info) {
  uv_fs_t request;

  uv_fs_fstat(NULL, &request, file, NULL);
  return read_info(&request, info);
}

int nt__file_look(const char* path, nt__file_info_t* info) {
  uv_fs_t request;

  uv_fs_lstat(NULL, &request, path, NULL);
  return read_info(&request, info);
}

int nt__file_write(uv_file file, const void* data, size_t* size,
                   uint64_t offset) {
  uv_buf_t rest = uv_buf_init((char*) data, (unsigned) *size);
  uv_fs_t request;
  ssize_t n = 1;

  while (rest.len > 0 && n > 0) {
    uv_fs_write(NULL, &request, file, &rest, 1, (int64_t) offset, NULL);
    n = request.result;
    uv_fs_req_cleanup(&request);
    if (n <= 0)
      break;
    rest.base += n;
    rest.len -= (size_t) n;
    offset += (uint64_t) n;
  }
  *size -= rest.len;
  if (n < 0)
    return (int) n;
  return n == 0 ? UV_EIO : 0;
}

int nt__file_read(uv_file file, void* data, size_t* size, uint64_t offset) {
  uv_buf_t rest = uv_buf_init(data, (unsigned) *size);
  uv_fs_t request;
  ssize_t n = 1;

  while (rest.len > 0 && n > 0) {
    uv_fs_read(NULL, &request, file, &rest, 1, (int64_t) offset, NULL);
    n = request.result;
    uv_fs_req_cleanup(&request);
    if (n < 0)
      return (int) n;
    rest.base += n;
    rest.len -= (size_t) n;
    offset += (uint64_t) n;
  }
  *size -= rest.len;
  return 0;
}

int nt__file_truncate(uv_file file, uint64_t size) {
  uv_fs_t request;

  uv_fs_ftruncate(NULL, &request, file, (int64_t) size, NULL);
  return finish(&request);
}

int nt__file_protect(uv_file file) {
  uv_fs_t request;

  uv_fs_fchmod(NULL, &request, file, OWN_FILE_MODE, NULL);
  return finish(&request);
}

int nt__file_protect_path(const char* path) {
  uv_fs_t request;

  uv_fs_chmod(NULL, &request, path, OWN_FILE_MODE, NULL);
  return finish(&request);
}

int nt__file_sync(uv_file file) {
  uv_fs_t request;

  uv_fs_fsync(NULL, &request, file, NULL);
  return finish(&request);
}

/* ---- Locks --------------------------------------------------------------- */

#ifdef _WIN32

int nt__file_lock(uv_file file) {
  OVERLAPPED all = { 0 };
  DWORD flags = LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY;

  /* A byte far behind the end: locks are mandatory here. */
  all.OffsetHigh = 0x7fffffff;
  return LockFileEx((HANDLE) _get_osfhandle(file), flags, 0, 1, 0, &all)
             ? 0
             : UV_EBUSY;
}

void nt__file_unlock(uv_file file) {
  OVERLAPPED all = { 0 };

  all.OffsetHigh = 0x7fffffff;
  UnlockFileEx((HANDLE) _get_osfhandle(file), 0, 1, 0, &all);
}

#else

int nt__file_lock(uv_file file) {
  if (flock(file, LOCK_EX | LOCK_NB) == 0)
    return 0;
  /* Some file systems have no locks. Tasks of one context are kept apart all
   * the same. */
  return errno == EWOULDBLOCK ? UV_EBUSY : 0;
}

void nt__file_unlock(uv_file file) {
  flock(file, LOCK_UN);
}

#endif

/* ---- Paths --------------------------------------------------------------- */

int nt__file_rename(const char* from, const char* to) {
  uv_fs_t request;

  uv_fs_rename(NULL, &request, from, to, NULL);
  return finish(&request);
}

int nt__file_remove(const char* path) {
  uv_fs_t request;

  uv_fs_unlink(NULL, &request, path, NULL);
  return finish(&request);
}

int nt__file_make_folder(const char* path) {
  uv_fs_t request;

  uv_fs_mkdir(NULL, &request, path, OWN_FOLDER_MODE, NULL);
  return finish(&request);
}

int nt__file_remove_folder(const char* path) {
  uv_fs_t request;

  uv_fs_rmdir(NULL, &request, path, NULL);
  return finish(&request);
}

int nt__file_sync_folder(const char* path) {
#ifdef _WIN32
  (void) path; /* a rename is in the journal there */
  return 0;
#else
  uv_file folder;
  int err = nt__file_open(path, UV_FS_O_RDONLY | UV_FS_O_DIRECTORY, &folder);

  if (err)
    return err;
  err = nt__file_sync(folder);
  nt__file_close(folder);
  return err;
#endif
}

int nt__file_list(const char* path, size_t max,
                  void (*each)(void* arg, const char* name), void* arg) {
  uv_fs_t request;
  uv_dirent_t entry;
  int err = uv_fs_scandir(NULL, &request, path, 0, NULL);

  while (err >= 0 && max-- > 0 && uv_fs_scandir_next(&request, &entry) == 0)
    each(arg, entry.name);
  uv_fs_req_cleanup(&request);
  return err < 0 ? err : 0;
}

int nt__file_resolve(const char* path, char** out) {
  uv_fs_t request;
  int err = uv_fs_realpath(NULL, &request, path, NULL);

  *out = NULL;
  if (err == 0) {
    *out = nt__strdup(request.ptr);
    err = *out == NULL ? UV_ENOMEM : 0;
  }
  uv_fs_req_cleanup(&request);
  return err;
}

char* nt__file_join(const char* folder, const char* name, const char* suffix) {
  size_t size = strlen(folder) + strlen(name) + strlen(suffix) + 2;
  size_t end = strlen(folder);
  char* path = nt__malloc(size);

  if (path != NULL)
    snprintf(path, size, "%s%s%s%s", folder,
             end > 0 && folder[end - 1] == '/' ? "" : "/", name, suffix);
  return path;
}

int nt__file_error(int error, int missing) {
  switch (error) {
    case 0:
      return 0;
    case UV_ENOMEM:
      return NT_E_NOMEM;
    case UV_ENOENT:
    case UV_ENOTDIR:
      return missing;
    case UV_EACCES:
    case UV_EPERM:
    case UV_EROFS:
      return NT_E_PERMISSION;
    case UV_EISDIR:
    case UV_ELOOP:
    case UV_ENXIO:
      return NT_E_NOT_A_FILE;
    case UV_ENOSPC:
#ifdef EDQUOT
    case -EDQUOT:
#endif
      return NT_E_DISK_FULL;
    case UV_EBUSY:
    case UV_ETXTBSY:
      return NT_E_BUSY;
    case UV_EMFILE:
    case UV_ENFILE:
      return NT_E_SYSTEM;
    default:
      return NT_E_FILE;
  }
}
