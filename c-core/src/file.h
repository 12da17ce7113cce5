/* Blocking file calls. Storage thread only. What returns int returns 0 or a
 * negative UV_E* code of libuv. */
#ifndef NT_FILE_H
#define NT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct nt__file_info {
  uint64_t size;
  uint64_t device, inode; /* which file it is */
  uint64_t owner;
  bool regular;
  bool folder;
} nt__file_info_t;

/* `flags` are UV_FS_O_*. Close-on-exec, and never waits for the other end of
 * a pipe. */
int nt__file_open(const char* path, int flags, uv_file* file);
void nt__file_close(uv_file file);
int nt__file_info(uv_file file, nt__file_info_t* info);
/* Of the path itself, not of what a link points to. */
int nt__file_look(const char* path, nt__file_info_t* info);

/* All `*size` bytes; less only with an error. */
int nt__file_write(uv_file file, const void* data, size_t* size,
                   uint64_t offset);
/* Up to `*size` bytes, less only at the end of the file. */
int nt__file_read(uv_file file, void* data, size_t* size, uint64_t offset);
int nt__file_truncate(uv_file file, uint64_t size);
/* For this user alone, whatever the umask. */
int nt__file_protect(uv_file file);
int nt__file_protect_path(const char* path);
int nt__file_sync(uv_file file);

/* Nobody else has locked it: 0, or UV_EBUSY. The lock is seen by other
 * processes and by other descriptors of this one, and ends with its holder. */
int nt__file_lock(uv_file file);
/* Before closing: a child process may hold a copy of the descriptor. */
void nt__file_unlock(uv_file file);

int nt__file_rename(const char* from, const char* to);
int nt__file_remove(const char* path);
int nt__file_make_folder(const char* path); /* for this user alone */
int nt__file_remove_folder(const char* path);
int nt__file_sync_folder(const char* path);

/* Calls `each` with the name of every entry of a folder, `max` at most. */
int nt__file_list(const char* path, size_t max,
                  void (*each)(void* arg, const char* name), void* arg);

/* The absolute path without links, to be freed. */
int nt__file_resolve(const char* path, char** out);

/* `folder`/`name``suffix`, to be freed; NULL without memory. */
char* nt__file_join(const char* folder, const char* name, const char* suffix);

/* Our error for one of libuv. `missing` is what ENOENT means. */
int nt__file_error(int error, int missing);

#endif
