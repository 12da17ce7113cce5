/* Socket addresses and their texts. Pure logic, but for the zones of IPv6
 * addresses: the system knows the names of its interfaces. */
#include "address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#  include <iphlpapi.h>
#else
#  include <net/if.h>
#endif

/* ---- Reading ------------------------------------------------------------- */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* 0: no such interface. */
static unsigned read_zone(const char* zone) {
  unsigned index = if_nametoindex(zone);
  char* end;
  unsigned long number;

  if (index != 0 || !is_digit(zone[0]))
    return index;
  number = strtoul(zone, &end, 10);
  return *end == '\0' && number <= UINT32_MAX ? (unsigned) number : 0;
}

static nt__host_kind_t parse_v6(const char* host, nt__sockaddr_t* out) {
  const char* zone = strchr(host, '%');

  if (uv_inet_pton(AF_INET6, host, &out->in6.sin6_addr) != 0)
    return NT__HOST_BAD;
  if (zone != NULL) {
    out->in6.sin6_scope_id = read_zone(zone + 1);
    if (out->in6.sin6_scope_id == 0)
      return NT__HOST_BAD;
  }
  out->in6.sin6_family = AF_INET6;
  return NT__HOST_LITERAL;
}

/* 1, 0x7f: a name whose last label is a number is an address that is misspelt,
 * or an old way to write one, which getaddrinfo() would understand. */
static bool is_number(const char* label) {
  bool hex = label[0] == '0' && (label[1] == 'x' || label[1] == 'X');
  const char* digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
  size_t size;

  if (hex)
    label += 2;
  size = strspn(label, digits);
  return (size > 0 || hex) && (label[size] == '\0' || label[size] == '.');
}

static bool is_name(const char* host) {
  const char* label = host;
  const char* c;

  if (host[0] == '\0' || host[0] == '.' || strlen(host) > NT__NAME_MAX)
    return false;
  for (c = host; *c != '\0'; c++) {
    if ((unsigned char) *c <= ' ' || *c == 0x7f ||
        strchr("/?#@[]\\:%", *c) != NULL)
      return false;
    if (c[0] == '.' && c[1] == '.')
      return false;
    if (c[0] == '.' && c[1] != '\0')
      label = c + 1;
  }
  return !is_number(label);
}

nt__host_kind_t nt__address_parse(const char* host, int family,
                                  nt__sockaddr_t* out) {
  memset(out, 0, sizeof(*out));
  if (strchr(host, ':') != NULL)
    return family == AF_INET6 ? parse_v6(host, out) : NT__HOST_BAD;
  if (uv_inet_pton(AF_INET, host, &out->in.sin_addr) == 0) {
    out->in.sin_family = AF_INET;
    return family == AF_INET ? NT__HOST_LITERAL : NT__HOST_BAD;
  }
  return is_name(host) ? NT__HOST_NAME : NT__HOST_BAD;
}

/* ---- Addresses ----------------------------------------------------------- */

void nt__address_copy(nt__sockaddr_t* out, const struct sockaddr* address) {
  memset(out, 0, sizeof(*out));
  if (address->sa_family == AF_INET) {
    const struct sockaddr_in* in = (const void*) address;

    out->in.sin_family = AF_INET;
    out->in.sin_port = in->sin_port;
    out->in.sin_addr = in->sin_addr;
  } else if (address->sa_family == AF_INET6) {
    const struct sockaddr_in6* in6 = (const void*) address;

    out->in6.sin6_family = AF_INET6;
    out->in6.sin6_port = in6->sin6_port;
    out->in6.sin6_addr = in6->sin6_addr;
    out->in6.sin6_scope_id = in6->sin6_scope_id;
  }
}

bool nt__address_equal(const nt__sockaddr_t* a, const nt__sockaddr_t* b) {
  if (a->sa.sa_family != b->sa.sa_family)
    return false;
  if (a->sa.sa_family == AF_INET6)
    return a->in6.sin6_port == b->in6.sin6_port &&
           a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
           memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr,
                  sizeof(a->in6.sin6_addr)) == 0;
  return a->in.sin_port == b->in.sin_port &&
         a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
}

/* Both kinds have the port at the same place, but no standard says so. */
void nt__address_set_port(nt__sockaddr_t* address, int port) {
  if (address->sa.sa_family == AF_INET6)
    address->in6.sin6_port = htons((uint16_t) port);
  else
    address->in.sin_port = htons((uint16_t) port);
}

int nt__address_port(const nt__sockaddr_t* address) {
  return ntohs(address->sa.sa_family == AF_INET6 ? address->in6.sin6_port
                                                 : address->in.sin_port);
}

bool nt__address_is_multicast(const nt__sockaddr_t* address) {
  if (address->sa.sa_family == AF_INET6)
    return address->in6.sin6_addr.s6_addr[0] == 0xff;
  return ntohl(address->in.sin_addr.s_addr) >> 28 == 0xe;
}

bool nt__address_is_broadcast(const nt__sockaddr_t* address) {
  return address->sa.sa_family == AF_INET &&
         address->in.sin_addr.s_addr == htonl(INADDR_BROADCAST);
}

/* ---- Showing ------------------------------------------------------------- */

static void write_zone(char* ip, unsigned index) {
  char name[UV_IF_NAMESIZE];
  size_t name_size = sizeof(name);
  size_t size = strlen(ip);

  if (uv_if_indextoname(index, name, &name_size) == 0)
    snprintf(ip + size, NT__IP_SIZE - size, "%%%s", name);
  else
    snprintf(ip + size, NT__IP_SIZE - size, "%%%u", index);
}

void nt__address_write(const nt__sockaddr_t* address, char out[NT__IP_SIZE]) {
  out[0] = '\0';
  if (address->sa.sa_family == AF_INET6) {
    uv_ip6_name(&address->in6, out, NT__IP_SIZE);
    if (address->in6.sin6_scope_id != 0)
      write_zone(out, address->in6.sin6_scope_id);
  } else if (address->sa.sa_family == AF_INET) {
    uv_ip4_name(&address->in, out, NT__IP_SIZE);
  }
}

void nt__host_show(const char* scheme, const char* host, int port,
                   char out[NT__HOST_TEXT]) {
  bool v6 = strchr(host, ':') != NULL;
  int size = snprintf(out, NT__HOST_TEXT, "%s://%s%.*s%s", scheme,
                      v6 ? "[" : "", NT__NAME_MAX, host, v6 ? "]" : "");

  if (port != 0)
    snprintf(out + size, NT__HOST_TEXT - (size_t) size, ":%d", port);
}

static size_t slot_of(const nt__sockaddr_t* address) {
  uint32_t hash = 0;
  uint32_t word;
  size_t i;

  if (address->sa.sa_family != AF_INET6)
    hash = address->in.sin_addr.s_addr;
  else
    for (i = 0; i < 16; i += sizeof(word)) {
      memcpy(&word, &address->in6.sin6_addr.s6_addr[i], sizeof(word));
      hash = hash * 31 + word;
    }
  return (hash * 0x9e3779b1u) >> 28;
}

void nt__address_show(nt__address_texts_t* texts, const nt__sockaddr_t* address,
                      nt_address_t* out) {
  nt__address_text_t* text = &texts->slots[slot_of(address)];
  nt__sockaddr_t bare = *address;

  nt__address_set_port(&bare, 0);
  if (!nt__address_equal(&text->of, &bare)) {
    text->of = bare;
    nt__address_write(&bare, text->ip);
  }
  out->ip = text->ip;
  out->port = nt__address_port(address);
  out->ipv6 = address->sa.sa_family == AF_INET6;
}
