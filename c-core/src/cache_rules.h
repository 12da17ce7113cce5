/* What HTTP says of caches, for a private one: RFC 9111, 5861 (stale-*) and
 * 8246 (immutable). Pure logic; times are Unix ms.
 *
 * Fields are lists of name NUL value NUL, as nt_headers_t has them. Those of a
 * request are what is really sent, with what the core adds to the caller's:
 * Vary may name any of them. */
#ifndef NT_CACHE_RULES_H
#define NT_CACHE_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "nettask.h"

/* An answer as it is stored. */
typedef struct nt__stored {
  int status;
  int64_t asked;        /* when its request was sent */
  int64_t answered;     /* when its headers came */
  nt_headers_t headers; /* without those that are of one connection alone */
  nt_headers_t varying; /* the fields of its request that its Vary names, with
                         * a digest for a value; one that was not sent is not
                         * in it */
} nt__stored_t;

typedef enum nt__cache_use {
  NT__CACHE_FETCH,    /* ask as if there were none */
  NT__CACHE_USE,      /* it is the answer */
  NT__CACHE_RENEW,    /* the same, and it is validated meanwhile */
  NT__CACHE_VALIDATE, /* ask whether it still holds */
  NT__CACHE_REFUSE    /* nothing may be asked: NT_E_CACHE_MISS */
} nt__cache_use_t;

/* Whether a request with these fields has anything to do with the cache: it is
 * a GET, and has no If-* or Range of its own. */
bool nt__cache_concerns(const char* method, const nt_headers_t* request);

/* Whether the answer may be stored; Vary "*", 206, no-store and the like. */
bool nt__cache_may_store(const nt_headers_t* request, int status,
                         const nt_headers_t* headers);
/* Of that, whether the fields can be stored as they are: not too many, lists
 * included, and no Vary that never matches. */
bool nt__cache_can_keep(const nt_headers_t* headers);
/* Appends what is stored of the answer's headers. 0, NT_E_NOMEM. */
int nt__cache_keep_headers(const nt_headers_t* headers, nt__buf_t* out);
/* Appends Authorization and those fields that the answer's Vary names, in one
 * order, each with a digest of its normalised value: equal bytes mean the same.
 * 0, NT_E_NOMEM. */
int nt__cache_keep_varying(const nt_headers_t* headers,
                           const nt_headers_t* request, nt__buf_t* out);
/* Whether it was stored for a request like this one. */
bool nt__cache_matches(const nt__stored_t* stored, const nt_headers_t* request);

/* What to do; `stored` NULL: there is none that matches. `*stale`: it is used
 * although it is no longer fresh. */
nt__cache_use_t nt__cache_judge(const nt__stored_t* stored, nt_cache_t mode,
                                const nt_headers_t* request, int64_t now,
                                bool* stale);
/* The Age that it has now, in seconds. */
int64_t nt__cache_age(const nt__stored_t* stored, int64_t now);
/* Whether it may be given in place of an error: no answer came, `status` 0, or
 * one of 500, 502, 503 and 504. */
bool nt__cache_covers_error(const nt__stored_t* stored,
                            const nt_headers_t* request, int status,
                            int64_t now);

/* Appends the fields that ask whether it still holds, "Name: value" NUL each;
 * none when it has no validator. 0, NT_E_NOMEM. */
int nt__cache_validators(const nt__stored_t* stored, nt__buf_t* out);
/* Whether a 304 is about it, and it may be used with the 304's headers. */
bool nt__cache_confirms(const nt__stored_t* stored, const nt_headers_t* fresh);
/* Appends its headers with those of the 304, or of the answer to HEAD, in place
 * of theirs (RFC 9111 3.2). 0, NT_E_NOMEM. */
int nt__cache_merge(const nt__stored_t* stored, const nt_headers_t* fresh,
                    nt__buf_t* out);
/* Whether the answer to HEAD shows that the stored one still holds. */
bool nt__cache_head_confirms(const nt__stored_t* stored,
                             const nt_headers_t* fresh);

/* Whether an answer with this status to this method makes what is stored for
 * the URL invalid, and for what Location and Content-Location name within the
 * same origin. */
bool nt__cache_invalidates(const char* method, int status);

#endif
