/* Growing bytes. Every buffer is born with a maximum. */
#ifndef NT_BUF_H
#define NT_BUF_H

#include <stddef.h>
#include <stdint.h>

typedef struct nt__buf {
  char* data; /* NUL behind the last byte, or NULL while nothing was reserved */
  size_t size;
  size_t capacity; /* without the NUL */
  uint64_t max;    /* 0: no limit */
} nt__buf_t;

void nt__buf_init(nt__buf_t* buf, uint64_t max);
void nt__buf_free(nt__buf_t* buf);

/* Makes room for `size` bytes in all: 0, NT_E_NOMEM, NT_E_FULL above max. */
int nt__buf_reserve(nt__buf_t* buf, size_t size);

/* The same for `size` bytes more, and before it has to it doubles. */
int nt__buf_room(nt__buf_t* buf, size_t size);

/* 0, NT_E_NOMEM, NT_E_FULL; on error nothing was appended. */
int nt__buf_append(nt__buf_t* buf, const void* data, size_t size);

#endif
