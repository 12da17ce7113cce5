/* A jar: cookies by the site that they belong to. Pure logic: whoever has it
 * hands in the time, in ms of Unix time, and lets nobody else use it. */
#ifndef NT_COOKIE_JAR_H
#define NT_COOKIE_JAR_H

#include "buf.h"
#include "cookie.h"
#include "list.h"

enum {
  NT__JAR_MAX = 3000,        /* cookies in all */
  NT__JAR_DOMAIN_MAX = 50,   /* of one domain */
  NT__JAR_SITES = 256,       /* lists that sites are hashed to */
  NT__JAR_LINE_MAX = 65536,  /* of what is sent to one place */
  NT__JAR_FILE_MAX = 1 << 25 /* more than what a full jar writes */
};

/* The texts lie behind it, terminated. */
typedef struct nt__cookie {
  nt__node_t node;  /* among those whose sites have the same hash */
  uint64_t created; /* in which order, as the next */
  uint64_t used;
  int64_t expires_ms; /* or NT__COOKIE_SESSION */
  bool host_only;
  bool literal; /* the domain is an address */
  bool secure;
  bool http_only;
  const char* domain; /* in lower case, without a dot in front */
  const char* path;
  const char* name;
  const char* value;
} nt__cookie_t;

typedef struct nt__jar {
  nt__node_t sites[NT__JAR_SITES];
  size_t count;
  uint64_t clock;
  bool
      changed; /* in what nt__jar_write() writes, since somebody set it false */
} nt__jar_t;

void nt__jar_init(nt__jar_t* jar);
void nt__jar_free(nt__jar_t* jar);

/* RFC 6265 5.3: what an answer from `place` says. 0, NT_E_NOMEM, or
 * NT_E_INVALID for a cookie that may not be set there. */
int nt__jar_store(nt__jar_t* jar, const nt__cookie_place_t* place,
                  const char* line, size_t size, int64_t now_ms);

/* RFC 6265 5.4: appends "a=1; b=2" for a request to `place`, or nothing, and
 * counts those as used. A name that the caller's own field `own` has (NULL:
 * none; it ends with NUL or CR) is left out. 0, NT_E_NOMEM. */
int nt__jar_pick(nt__jar_t* jar, const nt__cookie_place_t* place,
                 const char* own, int64_t now_ms, nt__buf_t* out);

/* Those that a request to `place` would have, in its order, or with NULL all,
 * by age: an array to be freed, of `*count`. The cookies stay the jar's. NULL
 * without memory. */
nt__cookie_t** nt__jar_list(nt__jar_t* jar, const nt__cookie_place_t* place,
                            int64_t now_ms, size_t* count);

/* Forgets what that host would be given anywhere; NULL: everything. Returns how
 * many there were. */
size_t nt__jar_clear(nt__jar_t* jar, const nt__cookie_place_t* place);

/* Appends the lines of a Netscape cookie file, without cookies of the session.
 * 0, NT_E_NOMEM. */
int nt__jar_write(nt__jar_t* jar, int64_t now_ms, nt__buf_t* out);

/* Takes in such lines; what is none is passed over, and what the jar has
 * already stays. 0, NT_E_NOMEM. */
int nt__jar_read(nt__jar_t* jar, const char* text, size_t size, int64_t now_ms);

#endif
