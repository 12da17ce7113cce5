/* A file that appears at its path whole or not at all. Storage thread only. */
#ifndef NT_PART_FILE_H
#define NT_PART_FILE_H

#include <uv.h>

#include "fate.h"
#include "list.h"
#include "nettask.h"
#include "resume.h"
#include "sha256.h"
#include "store_file.h"
#include "temp_dir.h"

/* What the storage thread has open, and where it keeps temporary files. */
typedef struct nt__files {
  nt__node_t parts; /* nt__part_file_t that are open */
  nt__temp_dirs_t temp;
  nt__store_file_t store;
  struct nt__cache_file* caches; /* that are open */
} nt__files_t;

typedef struct nt__part_file {
  /* Set before it is opened; zeroed otherwise. */
  nt__files_t* files;
  const nt_policy_t* policy;
  const char* url; /* that a part is to be of, for resume */
  nt__fate_t* fate;
  const atomic_bool* cancelled; /* nobody waits for long work any more */
  const unsigned char* digest;  /* NT__SHA256_SIZE bytes, or NULL */
  bool resume;
  bool durable;

  /* While it is open. */
  nt__node_t node;
  uv_file file;
  uint64_t device, inode;
  uint64_t size;         /* of what is written, or of what there was */
  nt__sidecar_t sidecar; /* of what is there, if `resumable` */
  bool resumable;
  bool temporary;
  int error; /* the first one: nothing is written from then on */
  nt__sha256_t hash;
  char* target;
  char* part;
  char* sidecar_path;
  char message[256]; /* about the error, for people */
} nt__part_file_t;

/* `path` NULL: a temporary file. 0 with `size` and `sidecar` of a part that can
 * be gone on with, or size 0. On error there is nothing to close. */
int nt__part_open(nt__part_file_t* part, const char* path);

/* The body comes now, from `offset` on. `sidecar`: what says how to go on with
 * it one day, or NULL. */
int nt__part_begin(nt__part_file_t* part, uint64_t offset,
                   const nt__sidecar_t* sidecar);
int nt__part_write(nt__part_file_t* part, const void* data, size_t size);

/* Puts the file in place, a temporary one with that extension, and closes it:
 * 0, and `target` is where it is. On error it must still be closed. */
int nt__part_commit(nt__part_file_t* part, const char* extension);

/* Removes the part, unless it can be gone on with and `remove` is false.
 * Harmless when it is not open. */
void nt__part_close(nt__part_file_t* part, bool remove);

/* Frees the paths. */
void nt__part_fini(nt__part_file_t* part);

#endif
