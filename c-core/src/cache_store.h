/* Where answers are stored: in memory, and with a folder on disk as well, in
 * SQLite on the storage thread, shared with other processes. What an answer
 * means is not known here. I/O thread, but for references. */
#ifndef NT_CACHE_STORE_H
#define NT_CACHE_STORE_H

#include "cache_answer.h"
#include "internal.h"

typedef struct nt__cache_store nt__cache_store_t;

/* NT_E_NOMEM. The policy's folder and size; no file is touched yet. */
int nt__cache_store_open(nt_context_t* ctx, nt__cache_store_t** store);
/* The context's policy has changed: another folder, another size. */
void nt__cache_store_configure(nt__cache_store_t* store);
/* At the end, before the storage stops. What was put is still written; nobody
 * hears of anything any more. NULL is ignored. */
void nt__cache_store_close(nt__cache_store_t* store);

/* What somebody waits for; lies in what waits, zeroed before it is used. */
typedef struct nt__cache_wait {
  nt__node_t node;
  /* In a later turn. `error` 0, or what the disk says: then it is as if nothing
   * were stored. */
  void (*on_done)(struct nt__cache_wait* wait, int error);
  nt__answer_t** answers; /* of find: one reference each, newest first; the
                           * array is the store's, valid until on_done()
                           * returns */
  size_t count;
  nt__body_t* body; /* of load and read: a reference */
} nt__cache_wait_t;

/* All that is stored for the URL. True: `wait` is filled in already (also with
 * a count of 0; the array until the next call of the store then); false:
 * on_done() comes. */
bool nt__cache_find(nt__cache_store_t* store, const char* key,
                    nt__cache_wait_t* wait);
/* The whole body: true when it is in memory, or there is no memory for it: then
 * `body` is NULL. */
bool nt__cache_load(nt__cache_store_t* store, nt__answer_t* answer,
                    nt__cache_wait_t* wait);
/* A piece of it, of `size` bytes at most and less only at its end, for one that
 * is too large for memory or that is streamed. True: `body` is the whole of it,
 * which is in memory, or NULL without memory. Whoever reads one in order gets
 * the rest of it also when it is removed meanwhile. */
bool nt__cache_read(nt__cache_store_t* store, nt__answer_t* answer,
                    uint64_t offset, size_t size, nt__cache_wait_t* wait);
/* on_done() does not come. Harmless when nothing is waited for. */
void nt__cache_forget(nt__cache_wait_t* wait);

/* How large a body may be to be stored: half of what there is room for. */
uint64_t nt__cache_body_max(const nt__cache_store_t* store);
/* It takes the place of those with the same key and equal `varying`. Has its
 * body and is filled in, and is the store's and unchanged from now on. Keeps a
 * reference. It may not be stored after all, for want of memory or of disk. */
void nt__cache_put(nt__cache_store_t* store, nt__answer_t* answer);
/* The same with other headers: `fresh`, without body, takes the place of `old`,
 * whose body it gets at once; of nothing else that is there by now. */
void nt__cache_replace(nt__cache_store_t* store, nt__answer_t* old,
                       nt__answer_t* fresh);
/* It was used: counts as new in the order in which they go. */
void nt__cache_touch(nt__cache_store_t* store, nt__answer_t* answer);
/* All of that URL; NULL: all. */
void nt__cache_remove(nt__cache_store_t* store, const char* key);

/* A body that is stored while it comes in, because nobody gathers it. */
typedef struct nt__cache_recorder nt__cache_recorder_t;

/* NULL without memory. */
nt__cache_recorder_t* nt__cache_record(nt__cache_store_t* store,
                                       const char* key,
                                       const nt__stored_t* stored);
/* 0; NT__WAIT: the disk is behind, `on_ready` of record is called once it is
 * not, and the same bytes are to come again; an error: give up. */
int nt__cache_record_write(nt__cache_recorder_t* recorder, const void* data,
                           size_t size, void (*on_ready)(void* arg), void* arg);
/* It is whole: is put. Frees the recorder. */
void nt__cache_record_commit(nt__cache_recorder_t* recorder);
/* It is not: nothing is left of it. Frees the recorder. NULL is ignored. */
void nt__cache_record_drop(nt__cache_recorder_t* recorder);

#endif
