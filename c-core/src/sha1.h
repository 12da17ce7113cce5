/* SHA-1 (FIPS 180-4) of few bytes, for the handshake of RFC 6455, which wants
 * it as a checksum and not for secrecy. Pure logic, any thread. */
#ifndef NT_SHA1_H
#define NT_SHA1_H

#include <stddef.h>

enum {
  NT__SHA1_SIZE = 20
};

void nt__sha1(const void* data, size_t size, unsigned char out[NT__SHA1_SIZE]);

#endif
