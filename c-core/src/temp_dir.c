/* Run folders: "nettask-<pid>-<random>" in the place for temporary files, with
 * a lock file inside that is locked while its owner lives. Whoever gets the
 * lock of another one's folder knows that it is left over. Storage thread. */
#include "temp_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "alloc.h"
#include "file.h"
#include "nettask.h"

enum {
  NAME_MAX_SIZE = 64,
  PATH_SIZE = 4096,
  RANDOM_DIGITS = 16,
  MAX_ENTRIES = 1 << 20 /* of a folder, that are looked at */
};

static const char prefix[] = "nettask-";
static const char lock_name[] = ".lock";

typedef struct folder {
  nt__node_t node;
  char* base;
  char* path;
  uv_file lock;
} folder_t;

void nt__temp_dirs_init(nt__temp_dirs_t* dirs) {
  nt__list_init(&dirs->folders);
  dirs->files = 0;
  dirs->bytes = 0;
}

/* The system's place, if none is given; to be freed. */
static char* find_base(const char* base) {
  char path[PATH_SIZE];
  size_t size = sizeof(path);

  if (base != NULL)
    return nt__strdup(base);
  return uv_os_tmpdir(path, &size) == 0 ? nt__strdup(path) : NULL;
}

/* ---- Removing ------------------------------------------------------------ */

/* Without an allocation, as it must not fail for want of memory. */
static void remove_in(const char* folder, const char* name) {
  char path[PATH_SIZE];
  int size = snprintf(path, sizeof(path), "%s/%s", folder, name);

  if (size > 0 && size < (int) sizeof(path))
    nt__file_remove(path);
}

static void remove_entry(void* arg, const char* name) {
  if (strcmp(name, lock_name) != 0)
    remove_in(arg, name);
}

/* The lock goes last: until then nobody else touches the folder. */
static void remove_folder(const char* path, uv_file lock) {
  nt__file_list(path, MAX_ENTRIES, remove_entry, (void*) path);
  remove_in(path, lock_name);
  nt__file_remove_folder(path);
  nt__file_unlock(lock);
  nt__file_close(lock);
}

static void free_folder(folder_t* folder) {
  nt__free(folder->base);
  nt__free(folder->path);
  nt__free(folder);
}

void nt__temp_dirs_free(nt__temp_dirs_t* dirs) {
  nt__node_t* node;

  while ((node = nt__list_shift(&dirs->folders)) != NULL) {
    folder_t* folder = nt__container_of(node, folder_t, node);

    remove_folder(folder->path, folder->lock);
    free_folder(folder);
  }
}

/* ---- Sweeping ------------------------------------------------------------ */

#ifdef _WIN32
static bool is_ours(const nt__file_info_t* info) {
  return info->folder;
}
#else
#  include <signal.h>
#  include <unistd.h>

static bool is_ours(const nt__file_info_t* info) {
  return info->folder && info->owner == (uint64_t) geteuid();
}
#endif

/* The process that made a folder of that name; 0 when it is none of ours. */
static int owner_of(const char* name) {
  size_t start = sizeof(prefix) - 1;
  size_t digits;
  size_t random;

  if (strncmp(name, prefix, start) != 0)
    return 0;
  digits = strspn(name + start, "0123456789");
  if (digits == 0 || digits > 9 || name[start + digits] != '-')
    return 0;
  random = strspn(name + start + digits + 1, "0123456789abcdef");
  if (random != RANDOM_DIGITS || name[start + digits + 1 + random] != '\0')
    return 0;
  return (int) strtol(name + start, NULL, 10);
}

/* A folder without a lock file is one that is being made, or removed. */
static void remove_if_dead(const char* path, int owner) {
  char* lock_path = nt__file_join(path, lock_name, "");
  uv_file lock;

  if (lock_path == NULL)
    return;
  if (nt__file_open(lock_path, UV_FS_O_RDWR | UV_FS_O_NOFOLLOW, &lock) == 0) {
    if (nt__file_lock(lock) == 0)
      remove_folder(path, lock);
    else
      nt__file_close(lock);
  } else if (uv_kill(owner, 0) == UV_ESRCH) {
    nt__file_remove_folder(path);
  }
  nt__free(lock_path);
}

static void sweep_entry(void* arg, const char* name) {
  nt__file_info_t info;
  int owner = owner_of(name);
  char* path;

  if (owner <= 0)
    return;
  path = nt__file_join(arg, name, "");
  if (path != NULL && nt__file_look(path, &info) == 0 && is_ours(&info))
    remove_if_dead(path, owner);
  nt__free(path);
}

void nt__temp_dirs_sweep(const char* base) {
  char* path = find_base(base);

  if (path != NULL)
    nt__file_list(path, MAX_ENTRIES, sweep_entry, path);
  nt__free(path);
}

/* ---- Making -------------------------------------------------------------- */

/* Between making and locking another process may have taken the file for one
 * that is left over. */
static int lock_own(folder_t* folder, const char* path) {
  nt__file_info_t own;
  nt__file_info_t there;

  if (nt__file_lock(folder->lock) == 0 &&
      nt__file_info(folder->lock, &own) == 0 &&
      nt__file_look(path, &there) == 0 && own.inode == there.inode)
    return 0;
  nt__file_close(folder->lock);
  return UV_EAGAIN;
}

static int make_lock(folder_t* folder) {
  char* path = nt__file_join(folder->path, lock_name, "");
  int flags = UV_FS_O_RDWR | UV_FS_O_CREAT | UV_FS_O_EXCL | UV_FS_O_NOFOLLOW;
  int err;

  if (path == NULL)
    return UV_ENOMEM;
  err = nt__file_open(path, flags, &folder->lock);
  if (err == 0)
    err = lock_own(folder, path);
  nt__free(path);
  return err;
}

static int choose_path(folder_t* folder) {
  char name[NAME_MAX_SIZE];
  unsigned char random[8];
  int err = uv_random(NULL, NULL, random, sizeof(random), 0, NULL);

  if (err)
    return err;
  snprintf(name, sizeof(name), "%s%ld-%02x%02x%02x%02x%02x%02x%02x%02x", prefix,
           (long) uv_os_getpid(), random[0], random[1], random[2], random[3],
           random[4], random[5], random[6], random[7]);
  nt__free(folder->path);
  folder->path = nt__file_join(folder->base, name, "");
  return folder->path == NULL ? UV_ENOMEM : 0;
}

static int make_folder(folder_t* folder) {
  int tries = 8;
  int err;

  do {
    err = choose_path(folder);
    if (err == 0)
      err = nt__file_make_folder(folder->path);
    if (err)
      return err;
    err = make_lock(folder);
    if (err)
      nt__file_remove_folder(folder->path);
  } while (err == UV_EAGAIN && --tries > 0);
  return err;
}

static int add_folder(nt__temp_dirs_t* dirs, const char* base, folder_t** out) {
  folder_t* folder = nt__calloc(sizeof(*folder));
  int err;

  if (folder == NULL)
    return NT_E_NOMEM;
  folder->base = nt__strdup(base);
  err = folder->base == NULL ? UV_ENOMEM : make_folder(folder);
  if (err) {
    free_folder(folder);
    return nt__file_error(err, NT_E_NO_FOLDER);
  }
  nt__list_append(&dirs->folders, &folder->node);
  *out = folder;
  return 0;
}

static folder_t* find_folder(nt__temp_dirs_t* dirs, const char* base) {
  nt__node_t* node;

  for (node = dirs->folders.next; node != &dirs->folders; node = node->next) {
    folder_t* folder = nt__container_of(node, folder_t, node);

    if (strcmp(folder->base, base) == 0)
      return folder;
  }
  return NULL;
}

int nt__temp_dirs_name(nt__temp_dirs_t* dirs, const char* base, char** out) {
  char* place = find_base(base);
  folder_t* folder;
  char name[NAME_MAX_SIZE];
  int err = NT_E_FILE;

  *out = NULL;
  if (place == NULL)
    return NT_E_NOMEM;
  folder = find_folder(dirs, place);
  if (folder == NULL)
    err = add_folder(dirs, place, &folder);
  nt__free(place);
  if (folder == NULL)
    return err;
  snprintf(name, sizeof(name), "%lu", ++dirs->files);
  *out = nt__file_join(folder->path, name, "");
  return *out == NULL ? NT_E_NOMEM : 0;
}

/* ---- Counting ------------------------------------------------------------ */

typedef struct sum {
  const char* folder;
  uint64_t bytes;
} sum_t;

static void add_entry(void* arg, const char* name) {
  sum_t* sum = arg;
  char path[PATH_SIZE];
  nt__file_info_t info;
  int size = snprintf(path, sizeof(path), "%s/%s", sum->folder, name);

  if (size > 0 && size < (int) sizeof(path) &&
      nt__file_look(path, &info) == 0 && info.regular)
    sum->bytes += info.size;
}

/* Files go in many ways, of some of which nobody tells us: an abort, a host
 * that moves what it got. So what was written is added up, and only when that
 * is too much we look at what there is. Where that cannot be seen, the sum of
 * what was written stays: too much rather than too little. */
static void recount(nt__temp_dirs_t* dirs) {
  uint64_t bytes = 0;
  nt__node_t* node;

  for (node = dirs->folders.next; node != &dirs->folders; node = node->next) {
    sum_t sum = { nt__container_of(node, folder_t, node)->path, 0 };
    int err = nt__file_list(sum.folder, MAX_ENTRIES, add_entry, &sum);

    if (err != 0 && err != UV_ENOENT)
      return;
    bytes += sum.bytes;
  }
  dirs->bytes = bytes;
}

static bool has_room(const nt__temp_dirs_t* dirs, uint64_t max, uint64_t size) {
  return max == 0 || (dirs->bytes <= max && size <= max - dirs->bytes);
}

int nt__temp_dirs_grow(nt__temp_dirs_t* dirs, uint64_t max, uint64_t size) {
  if (!has_room(dirs, max, size))
    recount(dirs);
  if (!has_room(dirs, max, size))
    return NT_E_TEMP_SIZE;
  dirs->bytes += size;
  return 0;
}
