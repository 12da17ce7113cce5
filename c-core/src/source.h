/* A body that is read while it is sent: text in memory and files, in order.
 * The storage thread reads ahead, the I/O thread hands out. */
#ifndef NT_SOURCE_H
#define NT_SOURCE_H

#include "internal.h"

typedef struct nt__source nt__source_t;

/* What the owner hears, on the I/O thread, in a turn. */
typedef struct nt__source_ops {
  /* The files are open, and the size is known. */
  void (*on_open)(void* owner, int error, const char* message);
  /* There is something, or an error, after NT__WAIT. */
  void (*on_ready)(void* owner);
} nt__source_ops_t;

/* Host thread: builds it up. NULL, NT_E_NOMEM without memory. */
nt__source_t* nt__source_new(void);
/* Text is appended to what this returns. */
nt__buf_t* nt__source_text(nt__source_t* source);
/* A file comes behind the text so far. */
int nt__source_add_file(nt__source_t* source, const char* path);
/* These bytes count as a file. */
void nt__source_count(nt__source_t* source, uint64_t size);
/* One that never was opened. NULL is ignored. */
void nt__source_free(nt__source_t* source);

/* I/O thread from here on. on_open() follows, unless an error is returned. */
int nt__source_open(nt__source_t* source, nt__task_t* task,
                    const nt__source_ops_t* ops, void* owner);
/* After on_open(): of all of it. */
uint64_t nt__source_size(const nt__source_t* source);

/* Up to `*size` bytes: 0 and how many (none at the end), NT__WAIT, or an
 * error. */
int nt__source_read(nt__source_t* source, char* out, size_t* size);
/* The next byte to be read is that at `offset`. */
void nt__source_rewind(nt__source_t* source, uint64_t offset);
/* The owner goes: the files are closed and the source is freed. */
void nt__source_close(nt__source_t* source);

#endif
