/* Bodies in files. SQLite writes every byte twice, and takes ten times as long
 * for a large one. A body that is shorter than it was, or is another, is found
 * out by its checksums; so nobody waits for the disk.
 *
 * Storage thread only. */
#include "cache_body.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "alloc.h"
#include "file.h"

enum {
  NAME_SIZE = 17 /* 16 hexadecimal digits */
};

static char* path_of(const char* folder, uint64_t name) {
  char text[NAME_SIZE];

  snprintf(text, sizeof(text), "%016" PRIx64, name);
  return nt__file_join(folder, text, "");
}

uint64_t nt__body_name(const char* name) {
  char* end;
  uint64_t number;

  if (strlen(name) != NAME_SIZE - 1 ||
      strspn(name, "0123456789abcdef") != NAME_SIZE - 1)
    return 0;
  number = strtoull(name, &end, 16);
  return *end == '\0' ? number : 0;
}

void nt__body_remove(const char* folder, uint64_t name) {
  char* path = path_of(folder, name);

  if (path != NULL)
    nt__file_remove(path);
  nt__free(path);
}

/* ---- Checksums ----------------------------------------------------------- */

static uint32_t sum_of(const void* data, size_t size) {
  return (uint32_t) crc32(0, data, (uInt) size);
}

static size_t block_at(uint64_t offset, uint64_t total) {
  uint64_t left = total - offset;

  return left < NT__BLOCK_BYTES ? (size_t) left : NT__BLOCK_BYTES;
}

uint64_t nt__body_sums_size(uint64_t size) {
  uint64_t blocks = size / NT__BLOCK_BYTES + (size % NT__BLOCK_BYTES != 0);

  return blocks * sizeof(uint32_t);
}

int nt__body_sums(const void* data, size_t size, nt__buf_t* sums) {
  const char* bytes = data;
  size_t offset;
  int err = 0;

  for (offset = 0; err == 0 && offset < size; offset += NT__BLOCK_BYTES) {
    uint32_t sum = sum_of(bytes + offset, block_at(offset, size));

    err = nt__buf_append(sums, &sum, sizeof(sum));
  }
  return err;
}

/* `data` begins with a block, that of `offset`. */
static bool is_right(const char* data, size_t size, const nt__buf_t* sums,
                     uint64_t offset) {
  size_t index = (size_t) (offset / NT__BLOCK_BYTES) * sizeof(uint32_t);
  size_t at;

  for (at = 0; at < size; at += NT__BLOCK_BYTES, index += sizeof(uint32_t)) {
    uint32_t sum = sum_of(data + at, block_at(at, size));

    if (index + sizeof(sum) > sums->size ||
        memcmp(sums->data + index, &sum, sizeof(sum)) != 0)
      return false;
  }
  return true;
}

/* ---- Writing ------------------------------------------------------------- */

int nt__body_file_create(nt__body_file_t* body, const char* folder,
                         uint64_t name) {
  const int flags = UV_FS_O_WRONLY | UV_FS_O_CREAT | UV_FS_O_EXCL;
  int err;

  memset(body, 0, sizeof(*body));
  nt__buf_init(&body->sums, 0);
  body->path = path_of(folder, name);
  if (body->path == NULL)
    return NT_E_NOMEM;
  err = nt__file_open(body->path, flags, &body->file);
  if (err) {
    nt__free(body->path);
    body->path = NULL;
    return nt__file_error(err, NT_E_NO_FOLDER);
  }
  nt__file_protect(body->file);
  return 0;
}

int nt__body_file_append(nt__body_file_t* body, const void* data, size_t size) {
  size_t written = size;
  int err = nt__body_sums(data, size, &body->sums);

  if (err)
    return err;
  err = nt__file_write(body->file, data, &written, body->size);
  body->size += written;
  return nt__file_error(err, NT_E_NO_FOLDER);
}

void nt__body_file_close(nt__body_file_t* body, bool keep) {
  if (body->path == NULL)
    return;
  nt__file_close(body->file);
  if (!keep)
    nt__file_remove(body->path);
  nt__free(body->path);
  body->path = NULL;
  nt__buf_free(&body->sums);
}

/* ---- Reading ------------------------------------------------------------- */

static void close_reader(nt__body_readers_t* readers, size_t index) {
  nt__file_close(readers->items[index].file);
  readers->count--;
  memmove(&readers->items[index], &readers->items[index + 1],
          (readers->count - index) * sizeof(readers->items[0]));
}

void nt__body_readers_close(nt__body_readers_t* readers) {
  while (readers->count > 0)
    close_reader(readers, readers->count - 1);
}

static int open_reader(nt__body_readers_t* readers, const char* folder,
                       uint64_t name) {
  char* path = path_of(folder, name);
  nt__file_info_t info;
  uv_file file;
  int err;

  if (path == NULL)
    return NT_E_NOMEM;
  err = nt__file_open(path, UV_FS_O_RDONLY, &file);
  nt__free(path);
  if (err)
    return nt__file_error(err, NT_E_CACHE_MISS);
  if (nt__file_info(file, &info) != 0 || !info.regular) {
    nt__file_close(file);
    return NT_E_CACHE_MISS;
  }
  if (readers->count == NT__BODY_READERS)
    close_reader(readers, 0);
  readers->items[readers->count].name = name;
  readers->items[readers->count].file = file;
  readers->count++;
  return 0;
}

/* The last of the readers is that of the body then. */
static int want_reader(nt__body_readers_t* readers, const char* folder,
                       uint64_t name) {
  struct nt__body_reader found;
  size_t i = readers->count;

  while (i-- > 0) {
    if (readers->items[i].name != name)
      continue;
    found = readers->items[i];
    memmove(&readers->items[i], &readers->items[i + 1],
            (readers->count - 1 - i) * sizeof(found));
    readers->items[readers->count - 1] = found;
    return 0;
  }
  return open_reader(readers, folder, name);
}

/* A body of `size` bytes to be filled in. */
static nt__body_t* new_body(size_t size) {
  nt__body_t* body;
  nt__buf_t buf;

  nt__buf_init(&buf, 0);
  if (nt__buf_reserve(&buf, size) != 0)
    return NULL;
  buf.size = size;
  buf.data[size] = '\0';
  body = nt__body_take(&buf);
  nt__buf_free(&buf);
  return body;
}

/* `skip` bytes were read for their checksum alone. */
static void cut(nt__body_t* body, size_t skip, size_t size) {
  if (skip > 0)
    memmove(body->data, body->data + skip, size);
  body->data[size] = '\0';
  body->size = size;
}

static int fill(nt__body_readers_t* readers, nt__body_t* body,
                const nt__buf_t* sums, uint64_t offset) {
  size_t size = body->size;
  int err = nt__file_read(readers->items[readers->count - 1].file, body->data,
                          &size, offset);

  if (err)
    return nt__file_error(err, NT_E_CACHE_MISS);
  if (size != body->size || !is_right(body->data, size, sums, offset))
    return NT_E_CACHE_MISS;
  return 0;
}

/* Whole blocks, from `first` to `end`; of these `offset` and `size` are
 * wanted. */
int nt__body_read(nt__body_readers_t* readers, const char* folder,
                  uint64_t name, uint64_t total, const nt__buf_t* sums,
                  uint64_t offset, size_t size, nt__body_t** out) {
  uint64_t first = offset - offset % NT__BLOCK_BYTES;
  uint64_t end;
  nt__body_t* body;
  int err;

  if (offset >= total || size == 0)
    return NT_E_CACHE_MISS;
  if (size > total - offset)
    size = (size_t) (total - offset);
  end = offset + size + NT__BLOCK_BYTES - 1;
  end -= end % NT__BLOCK_BYTES;
  if (end > total)
    end = total;
  if (end - first > INT32_MAX)
    return NT_E_NOMEM; /* nobody has room for that at once */
  err = want_reader(readers, folder, name);
  if (err)
    return err;
  body = new_body((size_t) (end - first));
  if (body == NULL)
    return NT_E_NOMEM;
  err = fill(readers, body, sums, first);
  if (err || offset + size == total)
    close_reader(readers, readers->count - 1);
  if (err) {
    nt__body_unref(body);
    return err;
  }
  cut(body, (size_t) (offset - first), size);
  *out = body;
  return 0;
}
