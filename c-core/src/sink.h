/* A file that a download writes: from the I/O thread to the storage thread, a
 * few large blocks at a time. */
#ifndef NT_SINK_H
#define NT_SINK_H

#include "internal.h"
#include "resume.h"
#include "sha256.h"

typedef struct nt__sink nt__sink_t;

typedef struct nt__sink_options {
  const char* path; /* NULL: a temporary file */
  const char* url;
  const unsigned char* digest; /* or NULL */
  bool resume;
  bool durable;
} nt__sink_options_t;

/* What the owner hears, on the I/O thread, in a turn. */
typedef struct nt__sink_ops {
  void (*on_open)(void* owner, int error, const char* message);
  /* There is room again after NT__WAIT. */
  void (*on_room)(void* owner);
  /* Writing failed: nothing is written from then on. */
  void (*on_error)(void* owner, int error, const char* message);
  /* What was started by finish() or discard() is over, and so is the sink.
   * `path` is where the file is, or NULL: the owner's from now on. */
  void (*on_close)(void* owner, int error, const char* message, char* path);
} nt__sink_ops_t;

/* Host thread. NULL without memory. */
nt__sink_t* nt__sink_new(const nt__sink_options_t* options, nt__fate_t* fate);
/* Host thread: one that never was opened. NULL is ignored. */
void nt__sink_free(nt__sink_t* sink);

/* I/O thread from here on. on_open() follows, unless an error is returned. */
int nt__sink_open(nt__sink_t* sink, nt__task_t* task, const nt__sink_ops_t* ops,
                  void* owner);
/* After on_open(): bytes that are there already, and what they are. */
uint64_t nt__sink_size(const nt__sink_t* sink);
const nt__sidecar_t* nt__sink_sidecar(const nt__sink_t* sink);

/* A body comes, from `offset` on. `sidecar` NULL: it cannot be gone on with;
 * `extension` is for temporary files. */
void nt__sink_begin(nt__sink_t* sink, uint64_t offset,
                    const nt__sidecar_t* sidecar, const char* extension);
/* All of the bytes or none: 0, NT__WAIT, or an error. */
int nt__sink_write(nt__sink_t* sink, const char* data, size_t size);

/* One of these ends it. Puts the file in place: on_close() follows. */
void nt__sink_finish(nt__sink_t* sink);
/* Removes it, but for what can be gone on with, unless `remove`: on_close()
 * follows. */
void nt__sink_discard(nt__sink_t* sink, bool remove);
/* The owner goes: like discard(), also after finish(), and nothing follows. */
void nt__sink_abandon(nt__sink_t* sink);

#endif
