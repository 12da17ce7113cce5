/* Hosts in the one form in which they are compared, and the patterns of a
 * policy's lists. Pure logic, any thread, no memory. */
#ifndef NT_PATTERN_H
#define NT_PATTERN_H

#include "address.h"

/* An IPv4 address is one however it is written: also ::ffff:10.0.0.1. */
typedef struct nt__ip {
  bool v6;
  uint8_t bytes[16]; /* IPv4: the first 4 */
} nt__ip_t;

/* False: of neither family. */
bool nt__ip_read(nt__ip_t* out, const struct sockaddr* address);
/* Not of the public internet, or a way to something that is not: see
 * nt_policy_t. */
bool nt__ip_is_private(const nt__ip_t* ip);

typedef struct nt__host {
  bool literal;
  nt__ip_t ip; /* of a literal */
  size_t size;
  char name[NT__NAME_MAX + 2]; /* else: lower case, without a dot at its end */
} nt__host_t;

/* Reads a name in ASCII or an address, with or without brackets and a zone, in
 * every form that inet_aton() or libcurl would take for one. False: nothing
 * that a lookup should get. */
bool nt__host_read(nt__host_t* out, const char* text);
/* "localhost" and what is below it. */
bool nt__host_is_local(const nt__host_t* host);

enum {
  NT__SCHEME_PLAIN = 1 << 0,
  NT__SCHEME_TLS = 1 << 1
};

typedef enum nt__pattern_kind {
  NT__PATTERN_NAME,
  NT__PATTERN_BELOW, /* "*.name" */
  NT__PATTERN_BLOCK  /* an address, or a block of them */
} nt__pattern_kind_t;

/* One entry of a list. `name` lies in the text it was read from. */
typedef struct nt__pattern {
  nt__pattern_kind_t kind;
  uint8_t schemes; /* NT__SCHEME_*; 0: it names none */
  uint8_t bits;    /* of the block */
  uint16_t port;   /* 0: any */
  const char* name;
  size_t size;
  nt__ip_t ip;
} nt__pattern_t;

/* "scheme://host:port", the scheme and the port being optional, where the
 * scheme is one for that kind of access. */
bool nt__pattern_read(nt__pattern_t* out, const char* text, nt_access_t access);
/* A host alone. */
bool nt__pattern_read_host(nt__pattern_t* out, const char* text);
/* A host, or a block like "10.0.0.0/8"; IPv6 needs no brackets. */
bool nt__pattern_read_block(nt__pattern_t* out, const char* text);

bool nt__pattern_has_host(const nt__pattern_t* pattern, const nt__host_t* host);
bool nt__pattern_has_ip(const nt__pattern_t* pattern, const nt__ip_t* ip);
/* The port and the scheme, too; `scheme` is one of NT__SCHEME_*. */
bool nt__pattern_has(const nt__pattern_t* pattern, const nt__host_t* host,
                     int port, int scheme);

#endif
