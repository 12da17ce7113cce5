/* UTF-8 (RFC 3629), piece by piece. Pure logic. What games send is ASCII for
 * the most part, or whole characters: both have a path of their own, and the
 * state between two calls only matters for a character that is cut. */
#include "utf8.h"

#include <string.h>

static uint64_t load(const unsigned char* p) {
  uint64_t word;

  memcpy(&word, p, sizeof(word));
  return word;
}

static const unsigned char* skip_ascii(const unsigned char* p,
                                       const unsigned char* end) {
  const uint64_t high = 0x8080808080808080;

  while (end - p >= 32 &&
         ((load(p) | load(p + 8) | load(p + 16) | load(p + 24)) & high) == 0)
    p += 32;
  while (end - p >= 8 && (load(p) & high) == 0)
    p += 8;
  while (p < end && *p < 0x80)
    p++;
  return p;
}

/* The bytes that may follow the first one: table 3-7 of the Unicode Standard.
 */
static bool begin(nt__utf8_t* utf8, unsigned char byte) {
  if (byte < 0xc2 || byte > 0xf4)
    return false;
  utf8->left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
  utf8->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
  utf8->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
  return true;
}

static bool go_on(nt__utf8_t* utf8, unsigned char byte) {
  if (byte < utf8->low || byte > utf8->high)
    return false;
  utf8->left--;
  utf8->low = 0x80;
  utf8->high = 0xbf;
  return true;
}

static bool is_next(unsigned char byte) {
  return (byte & 0xc0) == 0x80;
}

/* Skips what is most common behind ASCII: whole characters of two or three
 * bytes whose first byte allows any other. */
static const unsigned char* skip_plain(const unsigned char* p,
                                       const unsigned char* end) {
  while (end - p >= 3) {
    if (p[0] > 0xe0 && p[0] < 0xf0 && p[0] != 0xed && is_next(p[1]) &&
        is_next(p[2]))
      p += 3;
    else if (p[0] >= 0xc2 && p[0] < 0xe0 && is_next(p[1]))
      p += 2;
    else
      break;
  }
  return p;
}

bool nt__utf8_feed(nt__utf8_t* utf8, const char* data, size_t size) {
  const unsigned char* p = (const unsigned char*) data;
  const unsigned char* end = p + size;

  while (p < end) {
    if (utf8->left == 0) {
      p = skip_ascii(p, end);
      p = skip_plain(p, end);
      if (p < end && *p >= 0x80 && !begin(utf8, *p++))
        return false;
    } else if (!go_on(utf8, *p++)) {
      return false;
    }
  }
  return true;
}

bool nt__utf8_done(const nt__utf8_t* utf8) {
  return utf8->left == 0;
}

bool nt__utf8_valid(const char* data, size_t size) {
  nt__utf8_t utf8 = { 0 };

  return nt__utf8_feed(&utf8, data, size) && nt__utf8_done(&utf8);
}
