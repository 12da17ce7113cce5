/* Parts of texts. Pure logic, no memory. */
#include "slice.h"

#include <string.h>

#include "ascii.h"

nt__slice_t nt__slice(const char* text) {
  nt__slice_t slice = { text, strlen(text) };

  return slice;
}

bool nt__slice_is(nt__slice_t a, nt__slice_t b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}

bool nt__slice_is_word(nt__slice_t slice, const char* word) {
  size_t i;

  for (i = 0; i < slice.size && word[i] != '\0'; i++)
    if (nt__lower(slice.at[i]) != word[i])
      return false;
  return i == slice.size && word[i] == '\0';
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

nt__slice_t nt__slice_trim(nt__slice_t slice) {
  while (slice.size > 0 && is_blank(slice.at[0])) {
    slice.at++;
    slice.size--;
  }
  while (slice.size > 0 && is_blank(slice.at[slice.size - 1]))
    slice.size--;
  return slice;
}
