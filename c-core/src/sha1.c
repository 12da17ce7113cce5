/* SHA-1 (FIPS 180-4), all at once: what is hashed here is 60 bytes long. Pure
 * logic. */
#include "sha1.h"

#include <stdint.h>
#include <string.h>

enum {
  BLOCK = 64,
  LENGTH_SIZE = 8 /* of the message, behind the padding */
};

static uint32_t rotate(uint32_t x, int bits) {
  return x << bits | x >> (32 - bits);
}

/* 6.1.2, step 1. */
static void schedule(uint32_t w[80], const unsigned char* block) {
  int i;

  for (i = 0; i < 16; i++, block += 4)
    w[i] = (uint32_t) block[0] << 24 | (uint32_t) block[1] << 16 |
           (uint32_t) block[2] << 8 | block[3];
  for (; i < 80; i++)
    w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
}

/* 4.1.1 and 4.2.1: the function and the constant of step `t`. */
static uint32_t mix(int t, uint32_t b, uint32_t c, uint32_t d) {
  if (t < 20)
    return ((b & c) ^ (~b & d)) + 0x5a827999;
  if (t < 40)
    return (b ^ c ^ d) + 0x6ed9eba1;
  if (t < 60)
    return ((b & c) ^ (b & d) ^ (c & d)) + 0x8f1bbcdc;
  return (b ^ c ^ d) + 0xca62c1d6;
}

/* 6.1.2, steps 2 to 4. */
static void compress(uint32_t state[5], const unsigned char* block) {
  uint32_t w[80];
  uint32_t s[5];
  int t;

  schedule(w, block);
  memcpy(s, state, sizeof(s));
  for (t = 0; t < 80; t++) {
    uint32_t next = rotate(s[0], 5) + mix(t, s[1], s[2], s[3]) + s[4] + w[t];

    memmove(s + 1, s, 4 * sizeof(s[0]));
    s[2] = rotate(s[2], 30);
    s[0] = next;
  }
  for (t = 0; t < 5; t++)
    state[t] += s[t];
}

/* 5.1.1: the rest, a one bit, zeros, and the length in bits. */
static void finish(uint32_t state[5], const unsigned char* rest, size_t left,
                   uint64_t size) {
  unsigned char last[2 * BLOCK] = { 0 };
  size_t end = left < BLOCK - LENGTH_SIZE ? BLOCK : sizeof(last);
  int i;

  if (left > 0)
    memcpy(last, rest, left);
  last[left] = 0x80;
  for (i = 0; i < LENGTH_SIZE; i++)
    last[end - 1 - i] = (unsigned char) (size * 8 >> 8 * i);
  compress(state, last);
  if (end > BLOCK)
    compress(state, last + BLOCK);
}

void nt__sha1(const void* data, size_t size, unsigned char out[NT__SHA1_SIZE]) {
  uint32_t state[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
                        0xc3d2e1f0 };
  const unsigned char* p = data;
  size_t left;
  int i;

  for (left = size; left >= BLOCK; left -= BLOCK, p += BLOCK)
    compress(state, p);
  finish(state, p, left, size);
  for (i = 0; i < NT__SHA1_SIZE; i++)
    out[i] = (unsigned char) (state[i / 4] >> (24 - 8 * (i % 4)));
}
