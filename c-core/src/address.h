/* Socket addresses and their texts. Any thread. */
#ifndef NT_ADDRESS_H
#define NT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "nettask.h"

/* All of it that an address does not use is zero. AF_UNSPEC: none. */
typedef union nt__sockaddr {
  struct sockaddr sa;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
} nt__sockaddr_t;

typedef enum nt__host_kind {
  NT__HOST_BAD,
  NT__HOST_LITERAL,
  NT__HOST_NAME
} nt__host_kind_t;

enum {
  NT__NAME_MAX = 253,               /* of a host name, RFC 1035 */
  NT__IP_SIZE = 64,                 /* of an address with its zone, and a NUL */
  NT__HOST_TEXT = NT__NAME_MAX + 32 /* what nt__host_show() writes */
};

/* What `host` is for a socket of that family (AF_*). Of a literal `*out` is the
 * address, with port 0; one of the other family is none. IPv6 has no brackets
 * and may have a zone, by name or number. */
nt__host_kind_t nt__address_parse(const char* host, int family,
                                  nt__sockaddr_t* out);

/* A copy of what the system gave, in a canonical form. */
void nt__address_copy(nt__sockaddr_t* out, const struct sockaddr* address);
bool nt__address_equal(const nt__sockaddr_t* a, const nt__sockaddr_t* b);
void nt__address_set_port(nt__sockaddr_t* address, int port);
int nt__address_port(const nt__sockaddr_t* address);
bool nt__address_is_multicast(const nt__sockaddr_t* address);
/* 255.255.255.255 */
bool nt__address_is_broadcast(const nt__sockaddr_t* address);
/* The address without its port, as nt__address_parse() reads it. */
void nt__address_write(const nt__sockaddr_t* address, char out[NT__IP_SIZE]);

/* "scheme://host:port", for people; a port of 0 is left out. */
void nt__host_show(const char* scheme, const char* host, int port,
                   char out[NT__HOST_TEXT]);

/* Texts of the addresses that were shown last: most datagrams come from few
 * peers. */
enum {
  NT__ADDRESS_TEXTS = 16
};

typedef struct nt__address_text {
  nt__sockaddr_t of; /* with port 0 */
  char ip[NT__IP_SIZE];
} nt__address_text_t;

/* Zeroed: empty. */
typedef struct nt__address_texts {
  nt__address_text_t slots[NT__ADDRESS_TEXTS];
} nt__address_texts_t;

/* The text stays until the next call. */
void nt__address_show(nt__address_texts_t* texts, const nt__sockaddr_t* address,
                      nt_address_t* out);

#endif
