/* A part of a text, not terminated. Pure logic, no memory. */
#ifndef NT_SLICE_H
#define NT_SLICE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct nt__slice {
  const char* at;
  size_t size;
} nt__slice_t;

nt__slice_t nt__slice(const char* text);
bool nt__slice_is(nt__slice_t a, nt__slice_t b);
/* The same without case; `word` has none in upper case. */
bool nt__slice_is_word(nt__slice_t slice, const char* word);
/* Without the blanks and tabs around. */
nt__slice_t nt__slice_trim(nt__slice_t slice);

#endif
