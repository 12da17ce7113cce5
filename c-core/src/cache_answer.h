/* Answers as they are stored, and their bodies: counted references, which any
 * thread may hold. */
#ifndef NT_CACHE_ANSWER_H
#define NT_CACHE_ANSWER_H

#include <stdatomic.h>

#include "cache_rules.h"

/* The bytes of a body; never change. */
typedef struct nt__body {
  atomic_uint refs;
  size_t size;
  char* data; /* with a NUL behind; NULL for an empty one */
} nt__body_t;

/* Takes the buffer's memory over; the buffer is empty then. NULL without
 * memory, and the buffer is as it was. */
nt__body_t* nt__body_take(nt__buf_t* buf);
nt__body_t* nt__body_ref(nt__body_t* body);
/* NULL is ignored. */
void nt__body_unref(nt__body_t* body);

struct nt__spot; /* cache_file.h */

/* A stored answer. Never changes; what replaces it is another one. Until it is
 * put whoever made it fills it in. */
typedef struct nt__answer {
  atomic_uint refs;
  nt__stored_t stored;   /* points into this block */
  uint64_t size;         /* of the body */
  nt__body_t* body;      /* NULL: it is on disk alone */
  struct nt__spot* spot; /* where it is there; NULL: nowhere */
  const char* key;       /* the URL without fragment and user */
  char bytes[];
} nt__answer_t;

/* A copy with no body. NULL without memory. */
nt__answer_t* nt__answer_new(const char* key, const nt__stored_t* stored);
nt__answer_t* nt__answer_ref(nt__answer_t* answer);
/* NULL is ignored. */
void nt__answer_unref(nt__answer_t* answer);

#endif
