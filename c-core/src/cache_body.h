/* Bodies that are too large for a row of the cache's table: each is a file of
 * its own, with a checksum for each of its blocks. Storage thread only. */
#ifndef NT_CACHE_BODY_H
#define NT_CACHE_BODY_H

#include <stdbool.h>
#include <uv.h>

#include "cache_answer.h"

enum {
  NT__BLOCK_BYTES = 64 << 10, /* that have one checksum */
  NT__BODY_READERS = 16       /* files that are kept open */
};

/* One that is being written. Zeroed until it is created. */
typedef struct nt__body_file {
  char* path; /* NULL: it is not there */
  uv_file file;
  uint64_t size;
  nt__buf_t sums;
} nt__body_file_t;

/* Files of a folder that are being read: whoever is in the middle of one that
 * was removed meanwhile gets the rest of it. Zeroed until it is used. */
typedef struct nt__body_readers {
  struct nt__body_reader {
    uint64_t name;
    uv_file file;
  } items[NT__BODY_READERS]; /* used last is last */
  size_t count;
} nt__body_readers_t;

/* How large the checksums of a body are. */
uint64_t nt__body_sums_size(uint64_t size);
/* Appends the checksums of the blocks of a whole body. 0, NT_E_NOMEM. */
int nt__body_sums(const void* data, size_t size, nt__buf_t* sums);

/* A new file. 0 or one of our errors, as for all of these. */
int nt__body_file_create(nt__body_file_t* body, const char* folder,
                         uint64_t name);
/* `size` is a multiple of NT__BLOCK_BYTES, but for the last of them. */
int nt__body_file_append(nt__body_file_t* body, const void* data, size_t size);
/* Closed, and removed if it is not to be kept. Harmless when it is not open. */
void nt__body_file_close(nt__body_file_t* body, bool keep);

/* Of a body of `total` bytes with these checksums the piece from `offset` on,
 * of `size` bytes at most. NT_E_CACHE_MISS when it is not there or is damaged.
 */
int nt__body_read(nt__body_readers_t* readers, const char* folder,
                  uint64_t name, uint64_t total, const nt__buf_t* sums,
                  uint64_t offset, size_t size, nt__body_t** out);
void nt__body_readers_close(nt__body_readers_t* readers);

void nt__body_remove(const char* folder, uint64_t name);
/* The name of such a file, or 0. */
uint64_t nt__body_name(const char* name);

#endif
