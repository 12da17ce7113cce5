/* SHA-256 (FIPS 180-4), a piece at a time. Pure logic, any thread. */
#ifndef NT_SHA256_H
#define NT_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum {
  NT__SHA256_SIZE = 32,
  NT__SHA256_BLOCK = 64
};

typedef struct nt__sha256 {
  uint32_t state[8];
  uint64_t size; /* bytes so far */
  unsigned char block[NT__SHA256_BLOCK];
} nt__sha256_t;

void nt__sha256_init(nt__sha256_t* hash);
void nt__sha256_update(nt__sha256_t* hash, const void* data, size_t size);
void nt__sha256_final(nt__sha256_t* hash, unsigned char out[NT__SHA256_SIZE]);

/* Reads 64 hex digits: 0, or NT_E_INVALID when `text` is anything else. */
int nt__sha256_parse(const char* text, unsigned char out[NT__SHA256_SIZE]);

#endif
