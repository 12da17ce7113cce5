/* What is under way between the cache's store and the disk. I/O thread, for
 * cache_store.c and cache_record.c alone. */
#ifndef NT_CACHE_JOB_H
#define NT_CACHE_JOB_H

#include "cache_file.h"
#include "cache_store.h"
#include "storage.h"

struct nt__cache_store {
  nt_context_t* ctx;
  nt__memory_t memory;
  nt__cache_file_t* file; /* NULL: in memory alone */
  uint64_t max;           /* of the policy; 0: no limit */
  nt__node_t jobs;        /* nt__cache_job_t that are under way */
  nt__node_t recorders;
  uint64_t writing;  /* bytes of bodies in the jobs */
  uint64_t checked;  /* nt__now() when the disk was last heard of */
  uint64_t known_ms; /* since then: what is in memory is believed; in the second
                      * half of it the disk is asked meanwhile */
  int64_t clock;     /* of the file, about */
  nt__node_t bars;   /* URLs whose removal the disk has not taken: it is not
                      * asked for them, */
  unsigned bar_count;
  bool unsure; /* or for any */
  bool checking;
  bool trimming;
  bool used; /* the file has had a job */
};

typedef struct nt__cache_job {
  nt__job_t job;
  nt__node_t node;          /* among the store's */
  nt__cache_store_t* store; /* NULL once it is closed */
  nt__cache_file_t* file;   /* one reference, or NULL */
  void (*on_done)(struct nt__cache_job* job);
  nt__node_t waits;                    /* nt__cache_wait_t */
  struct nt__cache_recorder* recorder; /* NULL once it is gone */
  uint64_t weight;                     /* in `writing` */
  unsigned tries;
  bool stale;   /* of what it finds something has changed since */
  bool removed; /* all of it was removed since */
  nt__tape_t tape;
  nt__cache_call_t call; /* owns what it points to, but for the tape */
  char key[];
} nt__cache_job_t;

/* Whether the disk is asked for the URL, and has what is put. */
bool nt__cache_has_disk(const nt__cache_store_t* store, const char* key);

/* One for that file; `key` may be NULL. NULL without memory. */
nt__cache_job_t* nt__cache_job_new(nt__cache_file_t* file,
                                   nt__cache_action_t action, const char* key);
/* One that was never posted; NULL is ignored. */
void nt__cache_job_free(nt__cache_job_t* job);
/* Takes it. `store` NULL: nobody wants to know. 0, NT_E_NOMEM, NT_E_SYSTEM:
 * then it is freed. */
int nt__cache_job_post(nt_context_t* ctx, nt__cache_store_t* store,
                       nt__cache_job_t* job);

/* The disk is not asked for the URL from now on; NULL, or too many of them: not
 * at all. */
void nt__cache_bar(nt__cache_store_t* store, const char* key);
/* True: it was barred. */
bool nt__cache_unbar(nt__cache_store_t* store, const char* key);
void nt__cache_unbar_all(nt__cache_store_t* store);

/* What is looked for under that key, or any, is no longer what is stored. */
void nt__cache_outdate(nt__cache_store_t* store, const char* key, bool removed);
/* The answer for that key was put on disk, and is not in memory. */
void nt__cache_forget_key(nt__cache_store_t* store, const char* key);

/* The recorders' part in nt__cache_remove() and nt__cache_store_close(). */
void nt__cache_recorders_doom(nt__cache_store_t* store, const char* key);
void nt__cache_recorders_close(nt__cache_store_t* store);

#endif
