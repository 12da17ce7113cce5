/* Answers as they are stored, and their bodies. Any thread. */
#include "cache_answer.h"

#include <string.h>

#include "alloc.h"
#include "cache_file.h"

/* ---- Bodies -------------------------------------------------------------- */

/* What the buffer has to spare is given back when it is worth it. */
static char* take_bytes(nt__buf_t* buf) {
  char* data = buf->data;

  if (buf->capacity - buf->size > buf->size / 8) {
    char* less = nt__realloc(data, buf->size + 1);

    if (less != NULL)
      data = less;
  }
  buf->data = NULL;
  nt__buf_free(buf);
  return data;
}

nt__body_t* nt__body_take(nt__buf_t* buf) {
  nt__body_t* body = nt__calloc(sizeof(*body));

  if (body == NULL)
    return NULL;
  atomic_init(&body->refs, 1);
  body->size = buf->size;
  if (buf->size > 0)
    body->data = take_bytes(buf);
  else
    nt__buf_free(buf);
  return body;
}

nt__body_t* nt__body_ref(nt__body_t* body) {
  atomic_fetch_add_explicit(&body->refs, 1, memory_order_relaxed);
  return body;
}

void nt__body_unref(nt__body_t* body) {
  if (body == NULL)
    return;
  if (atomic_fetch_sub_explicit(&body->refs, 1, memory_order_acq_rel) != 1)
    return;
  nt__free(body->data);
  nt__free(body);
}

/* ---- Answers ------------------------------------------------------------- */

static const char* keep(char** at, const void* bytes, size_t size) {
  char* copy = *at;

  if (size > 0)
    memcpy(copy, bytes, size);
  *at = copy + size;
  return copy;
}

nt__answer_t* nt__answer_new(const char* key, const nt__stored_t* stored) {
  size_t key_size = strlen(key) + 1;
  nt__answer_t* answer = nt__malloc(
      sizeof(*answer) + key_size + stored->headers.size + stored->varying.size);
  char* at;

  if (answer == NULL)
    return NULL;
  memset(answer, 0, sizeof(*answer));
  atomic_init(&answer->refs, 1);
  answer->stored = *stored;
  at = answer->bytes;
  answer->key = keep(&at, key, key_size);
  answer->stored.headers.bytes =
      keep(&at, stored->headers.bytes, stored->headers.size);
  answer->stored.varying.bytes =
      keep(&at, stored->varying.bytes, stored->varying.size);
  return answer;
}

nt__answer_t* nt__answer_ref(nt__answer_t* answer) {
  atomic_fetch_add_explicit(&answer->refs, 1, memory_order_relaxed);
  return answer;
}

void nt__answer_unref(nt__answer_t* answer) {
  if (answer == NULL)
    return;
  if (atomic_fetch_sub_explicit(&answer->refs, 1, memory_order_acq_rel) != 1)
    return;
  nt__body_unref(answer->body);
  nt__spot_unref(answer->spot);
  nt__free(answer);
}
