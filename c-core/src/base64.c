/* Base64 (RFC 4648, section 4). Pure logic. */
#include "base64.h"

size_t nt__base64_size(size_t size) {
  return (size + 2) / 3 * 4;
}

static char digit(unsigned bits) {
  static const char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

  return digits[bits & 63];
}

void nt__base64_encode(const void* data, size_t size, char* out) {
  const unsigned char* p = data;

  for (; size > 0; out += 4) {
    size_t n = size < 3 ? size : 3;
    unsigned bits = (unsigned) p[0] << 16;

    if (n > 1)
      bits |= (unsigned) p[1] << 8;
    if (n > 2)
      bits |= p[2];
    out[0] = digit(bits >> 18);
    out[1] = digit(bits >> 12);
    out[2] = n > 1 ? digit(bits >> 6) : '=';
    out[3] = n > 2 ? digit(bits) : '=';
    p += n;
    size -= n;
  }
  *out = '\0';
}
