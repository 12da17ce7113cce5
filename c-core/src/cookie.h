/* The grammar of cookies, RFC 6265: what a Set-Cookie field says, and whether a
 * cookie goes along to a place. Pure logic, no memory. */
#ifndef NT_COOKIE_H
#define NT_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

enum {
  NT__COOKIE_MAX = 4096,           /* name and value together */
  NT__COOKIE_ATTRIBUTE_MAX = 1024, /* one that is longer counts as absent */
  NT__COOKIE_HOST_MAX = 256        /* with a NUL */
};

/* A cookie of the session: it has no date. */
#define NT__COOKIE_SESSION INT64_MAX

/* Where a request goes, or an answer came from. */
typedef struct nt__cookie_place {
  char host[NT__COOKIE_HOST_MAX]; /* lower case, no dot at its end */
  bool literal;                   /* an address */
  bool secure;                    /* https */
  nt__slice_t path;               /* without the query; at least "/" */
} nt__cookie_place_t;

/* Reads an absolute http or https URL without user and password, whose host
 * libcurl has parsed. `path` lies in `text`. False for a host that is too long
 * or empty. */
bool nt__cookie_place(nt__cookie_place_t* out, const char* text,
                      const char* host, bool literal, bool secure);

/* What a Set-Cookie field says. The slices lie in it. */
typedef struct nt__set_cookie {
  nt__slice_t name, value;
  nt__slice_t domain; /* without a dot in front; empty: none */
  nt__slice_t path;   /* begins with "/"; empty: none */
  int64_t expires_ms; /* Unix time, or NT__COOKIE_SESSION */
  bool secure;
  bool http_only;
} nt__set_cookie_t;

/* False when it sets no cookie. */
bool nt__cookie_parse(nt__set_cookie_t* out, const char* line, size_t size,
                      int64_t now_ms);

/* A cookie of these may be sent: nothing in it ends it or the field, and it is
 * not too large. A tab may be in the value. */
bool nt__cookie_is_clean(nt__slice_t name, nt__slice_t value, nt__slice_t path);

/* RFC 6265 5.1.1, in ms of Unix time. False: no date. */
bool nt__cookie_date(nt__slice_t text, int64_t* out);

/* "__Secure-" and "__Host-" promise what the cookie has to be. */
bool nt__cookie_keeps_prefix(const nt__set_cookie_t* cookie, bool secure_place);

/* RFC 6265 5.1.4. */
nt__slice_t nt__cookie_default_path(nt__slice_t path);
bool nt__cookie_path_matches(nt__slice_t cookie_path, nt__slice_t path);
/* RFC 6265 5.1.3: the host is that domain or below it. Both in lower case; of
 * an address only the whole. */
bool nt__cookie_domain_matches(nt__slice_t domain, const char* host,
                               bool literal);

/* A domain under which strangers register theirs: "com", "co.uk",
 * "github.io". */
bool nt__cookie_is_suffix(const char* domain);
/* What a host and all its neighbours have in common, a part of `host`: its
 * registrable domain, or all of it. */
const char* nt__cookie_site(const char* host, bool literal);

#endif
