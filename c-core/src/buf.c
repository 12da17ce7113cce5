/* Growing bytes: doubling, up to a maximum. Pure logic, any thread. */
#include "buf.h"

#include <string.h>

#include "alloc.h"
#include "nettask.h"

void nt__buf_init(nt__buf_t* buf, uint64_t max) {
  memset(buf, 0, sizeof(*buf));
  buf->max = max;
}

void nt__buf_free(nt__buf_t* buf) {
  nt__free(buf->data);
  nt__buf_init(buf, buf->max);
}

int nt__buf_reserve(nt__buf_t* buf, size_t size) {
  char* data;

  if (buf->max != 0 && size > buf->max)
    return NT_E_FULL;
  if (buf->data != NULL && size <= buf->capacity)
    return 0;
  if (size > SIZE_MAX / 4)
    return NT_E_NOMEM;
  data = nt__realloc(buf->data, size + 1);
  if (data == NULL)
    return NT_E_NOMEM;
  data[buf->size] = '\0';
  buf->data = data;
  buf->capacity = size;
  return 0;
}

/* Doubles, so that n appends cost O(n), but never past the maximum. */
static size_t grown(const nt__buf_t* buf, size_t needed) {
  size_t capacity = buf->capacity < 512 ? 512 : buf->capacity * 2;

  if (buf->max != 0 && capacity > buf->max)
    capacity = (size_t) buf->max;
  return capacity < needed ? needed : capacity;
}

int nt__buf_room(nt__buf_t* buf, size_t size) {
  size_t needed = buf->size + size;

  if (needed < size)
    return NT_E_NOMEM;
  if (buf->max != 0 && needed > buf->max) /* it may have had a larger one */
    return NT_E_FULL;
  if (buf->data == NULL || needed > buf->capacity)
    return nt__buf_reserve(buf, grown(buf, needed));
  return 0;
}

int nt__buf_append(nt__buf_t* buf, const void* data, size_t size) {
  int err = nt__buf_room(buf, size);

  if (err)
    return err;
  if (size != 0)
    memcpy(buf->data + buf->size, data, size);
  buf->size += size;
  buf->data[buf->size] = '\0';
  return 0;
}
