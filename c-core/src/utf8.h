/* UTF-8 (RFC 3629), piece by piece. Pure logic. */
#ifndef NT_UTF8_H
#define NT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed: at the start of a text. */
typedef struct nt__utf8 {
  uint8_t left;      /* continuation bytes that the character still needs */
  uint8_t low, high; /* what the next of them may be */
} nt__utf8_t;

/* False at the first byte that no text can have there: overlong forms,
 * surrogates, above U+10FFFF. */
bool nt__utf8_feed(nt__utf8_t* utf8, const char* data, size_t size);
/* No character is cut off. */
bool nt__utf8_done(const nt__utf8_t* utf8);
/* A whole text. */
bool nt__utf8_valid(const char* data, size_t size);

#endif
