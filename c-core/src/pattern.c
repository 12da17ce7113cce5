/* Hosts and patterns of hosts. Pure logic.
 *
 * What is compared must be what is connected to: so whatever some resolver on
 * the way would take for an address is read as that address here, and what is
 * neither a clean name nor an address is nothing at all. */
#include "pattern.h"

#include <string.h>

#include "ascii.h"

enum {
  V4_BITS = 32,
  V6_BITS = 128,
  BLOCK_SIZE = 80 /* of a block as text */
};

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* ---- Addresses ----------------------------------------------------------- */

static bool in_block(const uint8_t* bytes, const uint8_t* block,
                     unsigned bits) {
  unsigned whole = bits / 8;
  unsigned rest = bits % 8;

  if (memcmp(bytes, block, whole) != 0)
    return false;
  return rest == 0 || (bytes[whole] ^ block[whole]) >> (8 - rest) == 0;
}

static void set_v4(nt__ip_t* ip, const uint8_t* bytes) {
  memset(ip, 0, sizeof(*ip));
  memcpy(ip->bytes, bytes, 4);
}

static void set_v6(nt__ip_t* ip, const uint8_t* bytes) {
  static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff };

  if (in_block(bytes, mapped, 96)) {
    set_v4(ip, bytes + 12);
    return;
  }
  ip->v6 = true;
  memcpy(ip->bytes, bytes, 16);
}

bool nt__ip_read(nt__ip_t* out, const struct sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const struct sockaddr_in* in = (const void*) address;

    set_v4(out, (const uint8_t*) &in->sin_addr);
    return true;
  }
  if (address->sa_family == AF_INET6) {
    const struct sockaddr_in6* in6 = (const void*) address;

    set_v6(out, in6->sin6_addr.s6_addr);
    return true;
  }
  return false;
}

typedef struct block {
  uint8_t bytes[16];
  unsigned bits;
} block_t;

/* IANA's special-purpose registry: what is not globally reachable, and groups
 * and what is reserved. */
static bool is_private_v4(const uint8_t* bytes) {
  static const block_t blocks[] = {
    { { 0 }, 8 },          { { 10 }, 8 },        { { 100, 64 }, 10 },
    { { 127 }, 8 },        { { 169, 254 }, 16 }, { { 172, 16 }, 12 },
    { { 192, 0, 0 }, 24 }, { { 192, 168 }, 16 }, { { 198, 18 }, 15 },
    { { 224 }, 4 },        { { 240 }, 4 },
  };
  size_t i;

  for (i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
    if (in_block(bytes, blocks[i].bytes, blocks[i].bits))
      return true;
  return false;
}

/* RFC 4380: the client's address has its bits turned round. */
static bool is_private_teredo(const uint8_t* bytes) {
  uint8_t client[4];
  size_t i;

  for (i = 0; i < sizeof(client); i++)
    client[i] = bytes[12 + i] ^ 0xff;
  return is_private_v4(bytes + 4) || is_private_v4(client);
}

/* RFC 5214, with the universal bit or without. */
static bool is_isatap(const uint8_t* bytes) {
  return (bytes[8] & 0xfd) == 0 && bytes[9] == 0 && bytes[10] == 0x5e &&
         bytes[11] == 0xfe;
}

static bool is_private_v6(const uint8_t* bytes) {
  static const uint8_t nat64[16] = { 0, 0x64, 0xff, 0x9b };
  static const uint8_t global[16] = { 0x20 };
  static const uint8_t six_to_four[16] = { 0x20, 0x02 };
  static const uint8_t teredo[16] = { 0x20, 0x01 };

  if (in_block(bytes, nat64, 96)) /* how IPv6 networks reach IPv4 */
    return is_private_v4(bytes + 12);
  if (!in_block(bytes, global, 3))
    return true;
  if (in_block(bytes, six_to_four, 16) && is_private_v4(bytes + 2))
    return true;
  if (in_block(bytes, teredo, 32) && is_private_teredo(bytes))
    return true;
  return is_isatap(bytes) && is_private_v4(bytes + 12);
}

bool nt__ip_is_private(const nt__ip_t* ip) {
  return ip->v6 ? is_private_v6(ip->bytes) : is_private_v4(ip->bytes);
}

/* ---- Hosts --------------------------------------------------------------- */

static int digit_of(char c) {
  c = nt__lower(c);
  if (is_digit(c))
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Decimal, octal, or hexadecimal, as C writes them. */
static bool read_number(const char** text, uint64_t* out) {
  const char* at = *text;
  int base = 10;
  uint64_t value = 0;

  if (at[0] == '0' && nt__lower(at[1]) == 'x') {
    base = 16;
    at += 2;
  } else if (at[0] == '0') {
    base = 8;
  }
  *text = at;
  for (; digit_of(*at) < base; at++) {
    value = value * (uint64_t) base + (uint64_t) digit_of(*at);
    if (value > UINT32_MAX)
      return false;
  }
  *out = value;
  if (at == *text)
    return false;
  *text = at;
  return true;
}

/* What inet_aton() reads: 127.0.0.1, 127.1, 0x7f000001, 017700000001. */
static bool read_v4(const char* text, uint8_t out[4]) {
  uint64_t parts[4];
  uint64_t value = 0;
  int count = 0;
  int i;

  for (;;) {
    if (count == 4 || !read_number(&text, &parts[count++]))
      return false;
    if (*text == '\0')
      break;
    if (*text++ != '.')
      return false;
  }
  for (i = 0; i < count - 1; i++) {
    if (parts[i] > 0xff)
      return false;
    value |= parts[i] << (24 - 8 * i);
  }
  if (parts[i] >> (8 * (5 - count)) != 0)
    return false;
  value |= parts[i];
  for (i = 0; i < 4; i++)
    out[i] = (uint8_t) (value >> (24 - 8 * i));
  return true;
}

static bool read_v6(nt__host_t* out, const char* text) {
  const char* zone = strchr(text, '%');
  struct in6_addr address;

  if (zone != NULL && zone[1] == '\0')
    return false;
  if (uv_inet_pton(AF_INET6, text, &address) != 0) /* leaves the zone out */
    return false;
  out->literal = true;
  set_v6(&out->ip, address.s6_addr);
  return true;
}

static bool read_bracketed(nt__host_t* out, const char* text) {
  char inner[NT__IP_SIZE];
  size_t size = strlen(text);

  if (size < 3 || size - 2 >= sizeof(inner) || text[size - 1] != ']')
    return false;
  memcpy(inner, text + 1, size - 2);
  inner[size - 2] = '\0';
  return strchr(inner, ':') != NULL && read_v6(out, inner);
}

static bool is_number(const char* label) {
  bool hex = label[0] == '0' && nt__lower(label[1]) == 'x';
  int base = hex ? 16 : 10;

  for (label += hex ? 2 : 0; *label != '\0'; label++)
    if (digit_of(*label) >= base)
      return false;
  return true;
}

static bool is_name_char(char c) {
  c = nt__lower(c);
  return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}

/* Lower case, labels that are not empty, one dot at the end left out. */
static bool read_name(nt__host_t* out, const char* text) {
  size_t size = strlen(text);
  size_t label = 0;
  size_t i;

  if (size > 0 && text[size - 1] == '.')
    size--;
  if (size == 0 || size > NT__NAME_MAX)
    return false;
  for (i = 0; i < size; i++) {
    out->name[i] = nt__lower(text[i]);
    if (text[i] == '.' ? i == label : !is_name_char(text[i]))
      return false;
    if (text[i] == '.')
      label = i + 1;
  }
  out->name[size] = '\0';
  out->size = size;
  return label < size;
}

bool nt__host_read(nt__host_t* out, const char* text) {
  const char* label;
  uint8_t bytes[4];

  memset(out, 0, offsetof(nt__host_t, name));
  if (text[0] == '[')
    return read_bracketed(out, text);
  if (strchr(text, ':') != NULL)
    return read_v6(out, text);
  if (!read_name(out, text))
    return false;
  label = strrchr(out->name, '.');
  if (!is_number(label == NULL ? out->name : label + 1))
    return true;
  /* A name whose last label is a number is an address, or nothing. */
  if (!read_v4(out->name, bytes))
    return false;
  out->literal = true;
  set_v4(&out->ip, bytes);
  return true;
}

bool nt__host_is_local(const nt__host_t* host) {
  static const char local[] = "localhost";
  size_t size = sizeof(local) - 1;

  if (host->literal || host->size < size ||
      strcmp(host->name + host->size - size, local) != 0)
    return false;
  return host->size == size || host->name[host->size - size - 1] == '.';
}

/* ---- Reading patterns ---------------------------------------------------- */

typedef struct scheme {
  const char* name;
  uint8_t scheme;
  uint16_t port; /* 0: it has none of its own */
} scheme_t;

static const scheme_t url_schemes[] = { { "http", NT__SCHEME_PLAIN, 80 },
                                        { "https", NT__SCHEME_TLS, 443 },
                                        { "ws", NT__SCHEME_PLAIN, 80 },
                                        { "wss", NT__SCHEME_TLS, 443 },
                                        { NULL, 0, 0 } };
static const scheme_t tcp_schemes[] = { { "tcp", NT__SCHEME_PLAIN, 0 },
                                        { "tls", NT__SCHEME_TLS, 0 },
                                        { NULL, 0, 0 } };
static const scheme_t udp_schemes[] = { { "udp", NT__SCHEME_PLAIN, 0 },
                                        { NULL, 0, 0 } };

static const scheme_t* schemes_of(nt_access_t access) {
  if (access == NT_ACCESS_TCP)
    return tcp_schemes;
  return access == NT_ACCESS_UDP ? udp_schemes : url_schemes;
}

/* `a` is lower case. */
static bool is_same(const char* a, const char* b, size_t size) {
  size_t i;

  for (i = 0; i < size; i++)
    if (a[i] != nt__lower(b[i]))
      return false;
  return true;
}

/* Moves `*text` behind the scheme, if it has one. */
static bool read_scheme(nt__pattern_t* out, const char** text,
                        nt_access_t access) {
  const char* end = strstr(*text, "://");
  const scheme_t* scheme;

  if (end == NULL)
    return true;
  for (scheme = schemes_of(access); scheme->name != NULL; scheme++) {
    size_t size = strlen(scheme->name);

    if (size != (size_t) (end - *text) || !is_same(scheme->name, *text, size))
      continue;
    out->schemes = scheme->scheme;
    out->port = scheme->port;
    *text = end + 3;
    return true;
  }
  return false;
}

static bool read_port(nt__pattern_t* out, const char* text) {
  unsigned long port = 0;
  size_t i;

  for (i = 0; is_digit(text[i]) && i < 5; i++)
    port = port * 10 + (unsigned long) (text[i] - '0');
  if (text[i] != '\0' || text[0] == '0' || port == 0 || port > UINT16_MAX)
    return false;
  out->port = (uint16_t) port;
  return true;
}

/* Addresses are taken in their own form alone: who writes 010.0.0.1 into a
 * list should say what is meant. */
static bool read_literal(nt__pattern_t* out, const char* text) {
  int family = strchr(text, ':') == NULL ? AF_INET : AF_INET6;
  uint8_t bytes[16];

  if (strchr(text, '%') != NULL || uv_inet_pton(family, text, bytes) != 0)
    return false;
  out->kind = NT__PATTERN_BLOCK;
  if (family == AF_INET)
    set_v4(&out->ip, bytes);
  else
    set_v6(&out->ip, bytes);
  out->bits = out->ip.v6 ? V6_BITS : V4_BITS;
  return true;
}

/* The first `size` bytes of `text`, which go on. */
static bool read_host(nt__pattern_t* out, const char* text, size_t size) {
  char copy[NT__NAME_MAX + 2];
  nt__host_t host;

  out->kind = NT__PATTERN_NAME;
  if (size >= 2 && text[0] == '*' && text[1] == '.') {
    out->kind = NT__PATTERN_BELOW;
    text++;
    size--;
  }
  if (size == 0 || size >= sizeof(copy))
    return false;
  memcpy(copy, text, size);
  copy[size] = '\0';
  if (out->kind == NT__PATTERN_NAME && read_literal(out, copy))
    return true;
  if (!nt__host_read(&host, out->kind == NT__PATTERN_BELOW ? copy + 1 : copy) ||
      host.literal)
    return false;
  out->name = text;
  out->size = host.size + (out->kind == NT__PATTERN_BELOW);
  return true;
}

static bool read_brackets(nt__pattern_t* out, const char* text, size_t size) {
  char copy[NT__IP_SIZE];

  if (size >= sizeof(copy))
    return false;
  memcpy(copy, text, size);
  copy[size] = '\0';
  return strchr(copy, ':') != NULL && read_literal(out, copy);
}

bool nt__pattern_read(nt__pattern_t* out, const char* text,
                      nt_access_t access) {
  const char* end;

  memset(out, 0, sizeof(*out));
  if (!read_scheme(out, &text, access))
    return false;
  if (text[0] == '[') {
    end = strchr(text, ']');
    if (end == NULL || !read_brackets(out, text + 1, (size_t) (end - text) - 1))
      return false;
    end++;
  } else {
    end = text + strcspn(text, ":");
    if (!read_host(out, text, (size_t) (end - text)))
      return false;
  }
  return *end == '\0' || (*end == ':' && read_port(out, end + 1));
}

bool nt__pattern_read_host(nt__pattern_t* out, const char* text) {
  return strchr(text, '/') == NULL &&
         nt__pattern_read(out, text, NT_ACCESS_REQUEST) && out->port == 0;
}

/* Bits behind the prefix are a slip of whoever wrote it. */
static bool is_aligned(const nt__pattern_t* block) {
  nt__ip_t ip = block->ip;
  unsigned width = ip.v6 ? V6_BITS : V4_BITS;
  unsigned i;

  for (i = block->bits; i < width; i++)
    if (ip.bytes[i / 8] & 0x80 >> i % 8)
      return false;
  return true;
}

static bool read_prefix(nt__pattern_t* out, const char* text, bool written_v6) {
  unsigned bits = 0;
  size_t i;

  for (i = 0; is_digit(text[i]) && i < 3; i++)
    bits = bits * 10 + (unsigned) (text[i] - '0');
  if (i == 0 || text[i] != '\0' || (text[0] == '0' && i > 1))
    return false;
  if (written_v6 && !out->ip.v6) { /* ::ffff:10.0.0.0/104 is 10.0.0.0/8 */
    if (bits < V6_BITS - V4_BITS)
      return false;
    bits -= V6_BITS - V4_BITS;
  }
  if (bits > out->bits)
    return false;
  out->bits = (uint8_t) bits;
  return is_aligned(out);
}

bool nt__pattern_read_block(nt__pattern_t* out, const char* text) {
  const char* slash = strchr(text, '/');
  size_t size = slash == NULL ? strlen(text) : (size_t) (slash - text);
  char copy[BLOCK_SIZE];

  memset(out, 0, sizeof(*out));
  if (slash == NULL && strchr(text, ':') == NULL)
    return read_host(out, text, size);
  if (text[0] == '[' && slash == NULL)
    return nt__pattern_read_host(out, text);
  if (size >= sizeof(copy))
    return false;
  memcpy(copy, text, size);
  copy[size] = '\0';
  if (!read_literal(out, copy))
    return false;
  return slash == NULL ||
         read_prefix(out, slash + 1, strchr(copy, ':') != NULL);
}

/* ---- Matching ------------------------------------------------------------ */

bool nt__pattern_has_ip(const nt__pattern_t* pattern, const nt__ip_t* ip) {
  return pattern->kind == NT__PATTERN_BLOCK && pattern->ip.v6 == ip->v6 &&
         in_block(ip->bytes, pattern->ip.bytes, pattern->bits);
}

bool nt__pattern_has_host(const nt__pattern_t* pattern,
                          const nt__host_t* host) {
  if (host->literal)
    return nt__pattern_has_ip(pattern, &host->ip);
  switch (pattern->kind) {
    case NT__PATTERN_NAME:
      return host->size == pattern->size &&
             is_same(host->name, pattern->name, pattern->size);
    case NT__PATTERN_BELOW: /* begins with the dot */
      return host->size > pattern->size &&
             is_same(host->name + host->size - pattern->size, pattern->name,
                     pattern->size);
    default:
      return false;
  }
}

bool nt__pattern_has(const nt__pattern_t* pattern, const nt__host_t* host,
                     int port, int scheme) {
  if (pattern->schemes != 0 && !(pattern->schemes & scheme))
    return false;
  if (pattern->port != 0 && pattern->port != port)
    return false;
  return nt__pattern_has_host(pattern, host);
}
