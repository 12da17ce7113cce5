/* SHA-256 (FIPS 180-4), plainly: the disk is slower. Pure logic. */
#include "sha256.h"

#include <string.h>

#include "nettask.h"

/* The first 32 bits of the fractional parts of the cube roots of the first 64
 * primes (4.2.2). */
static const uint32_t constants[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
  0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
  0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
  0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
  0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
  0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
  0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
  0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int bits) {
  return x >> bits | x << (32 - bits);
}

/* 6.2.2, step 1. */
static void schedule(uint32_t w[64], const unsigned char* block) {
  int i;

  for (i = 0; i < 16; i++, block += 4)
    w[i] = (uint32_t) block[0] << 24 | (uint32_t) block[1] << 16 |
           (uint32_t) block[2] << 8 | block[3];
  for (; i < 64; i++) {
    uint32_t a = w[i - 15];
    uint32_t b = w[i - 2];

    w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
           (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
  }
}

/* 6.2.2, steps 2 to 4. */
static void compress(uint32_t state[8], const unsigned char* block) {
  uint32_t w[64];
  uint32_t s[8];
  int i;

  schedule(w, block);
  memcpy(s, state, sizeof(s));
  for (i = 0; i < 64; i++) {
    uint32_t e = s[4];
    uint32_t a = s[0];
    uint32_t t1 = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                  ((e & s[5]) ^ (~e & s[6])) + constants[i] + w[i];
    uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                  ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));

    memmove(s + 1, s, 7 * sizeof(s[0]));
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (i = 0; i < 8; i++)
    state[i] += s[i];
}

void nt__sha256_init(nt__sha256_t* hash) {
  static const uint32_t initial[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372,
                                       0xa54ff53a, 0x510e527f, 0x9b05688c,
                                       0x1f83d9ab, 0x5be0cd19 };

  memcpy(hash->state, initial, sizeof(initial));
  hash->size = 0;
}

void nt__sha256_update(nt__sha256_t* hash, const void* data, size_t size) {
  const unsigned char* p = data;
  size_t used = (size_t) (hash->size % NT__SHA256_BLOCK);

  hash->size += size;
  while (size > 0) {
    size_t n = NT__SHA256_BLOCK - used;

    if (used == 0 && size >= NT__SHA256_BLOCK) {
      compress(hash->state, p);
    } else {
      n = n < size ? n : size;
      memcpy(hash->block + used, p, n);
      if (used + n == NT__SHA256_BLOCK)
        compress(hash->state, hash->block);
    }
    used = (used + n) % NT__SHA256_BLOCK;
    p += n;
    size -= n;
  }
}

/* 5.1.1: a one bit, zeros, and the length in bits. */
void nt__sha256_final(nt__sha256_t* hash, unsigned char out[NT__SHA256_SIZE]) {
  static const unsigned char padding[NT__SHA256_BLOCK] = { 0x80 };
  uint64_t bits = hash->size * 8;
  unsigned char length[8];
  size_t used = (size_t) (hash->size % NT__SHA256_BLOCK);
  int i;

  for (i = 0; i < 8; i++)
    length[i] = (unsigned char) (bits >> (56 - 8 * i));
  nt__sha256_update(hash, padding, used < 56 ? 56 - used : 120 - used);
  nt__sha256_update(hash, length, sizeof(length));
  for (i = 0; i < NT__SHA256_SIZE; i++)
    out[i] = (unsigned char) (hash->state[i / 4] >> (24 - 8 * (i % 4)));
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

int nt__sha256_parse(const char* text, unsigned char out[NT__SHA256_SIZE]) {
  int i;

  for (i = 0; i < NT__SHA256_SIZE; i++, text += 2) {
    int high = hex_value(text[0]);
    int low = high < 0 ? -1 : hex_value(text[1]);

    if (low < 0)
      return NT_E_INVALID;
    out[i] = (unsigned char) (high << 4 | low);
  }
  return *text == '\0' ? 0 : NT_E_INVALID;
}
