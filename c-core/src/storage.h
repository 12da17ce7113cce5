/* The storage thread of a context: all blocking file work. */
#ifndef NT_STORAGE_H
#define NT_STORAGE_H

#include "internal.h"
#include "part_file.h"

/* A piece of work; lies inside what it works on. */
typedef struct nt__job {
  nt__link_t link;
  /* Storage thread. */
  void (*run)(struct nt__job* job, nt__files_t* files);
  /* I/O thread, in a turn, outside libcurl. If the context ends first: on the
   * storage thread, when nobody uses what the job lies in any more. */
  void (*done)(struct nt__job* job);
  /* That it is done need not be told before the jobs behind it are. */
  bool patient;
} nt__job_t;

/* I/O thread: makes ctx->io.storage, unless it is there. NT_E_NOMEM,
 * NT_E_SYSTEM. */
int nt__storage_open(nt_context_t* ctx);
/* I/O thread, once it is open. Jobs run in the order in which they come. */
void nt__storage_post(nt_context_t* ctx, nt__job_t* job);

/* The part of a turn: what was done is told. NULL is ignored by these. */
void nt__storage_run(nt__storage_t* storage);
bool nt__storage_pending(const nt__storage_t* storage);

/* I/O thread, at its end: the thread ends after the jobs that it has, and
 * leaves the context alone. */
void nt__storage_stop(nt__storage_t* storage);

/* After stop, one thread at a time: true when the thread has ended before
 * `deadline` (uv_hrtime), and is joined. */
bool nt__storage_wait(nt__storage_t* storage, uint64_t deadline);
/* Host thread, last of all: joins, or lets go of a thread that is late. */
void nt__storage_close(nt__storage_t* storage, uint64_t deadline);

#endif
