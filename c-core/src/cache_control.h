/* What Cache-Control says (RFC 9111 5.2, RFC 5861, RFC 8246), and lists in
 * fields in general. Pure logic, no memory. */
#ifndef NT_CACHE_CONTROL_H
#define NT_CACHE_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "nettask.h"
#include "slice.h"

enum {
  NT__CACHE_NAMES_MAX = 64,   /* field names that a list may have for us */
  NT__CACHE_FIELDS_MAX = 1024 /* fields that a stored answer may have */
};

/* RFC 9111 1.2.2: as large as seconds need to be. It stands for no limit. */
#define NT__DELTA_MAX INT64_C(2147483648)

/* In seconds; -1: it is not there. */
typedef struct nt__directives {
  int64_t max_age;
  int64_t max_stale;
  int64_t min_fresh;
  int64_t stale_while_revalidate;
  int64_t stale_if_error;
  bool present; /* there is a Cache-Control at all */
  bool no_store;
  bool no_cache; /* without names, or with some that cannot be left out */
  bool no_cache_fields; /* with names that can */
  bool must_revalidate;
  bool must_understand;
  bool is_public;
  bool is_private;
  bool immutable;
  bool only_if_cached;
} nt__directives_t;

void nt__directives_read(nt__directives_t* out, const nt_headers_t* headers);
/* The same, and Pragma where there is no Cache-Control. */
void nt__directives_read_request(nt__directives_t* out,
                                 const nt_headers_t* request);

/* Field names that lists have named. */
typedef struct nt__names {
  size_t count;
  bool full;   /* there were more */
  bool broken; /* there was something that is none */
  nt__slice_t items[NT__CACHE_NAMES_MAX];
} nt__names_t;

/* Adds those of all fields of that name. */
void nt__names_add(nt__names_t* names, const nt_headers_t* headers,
                   const char* field);
/* Adds those that no-cache has, in Cache-Control. */
void nt__names_add_no_cache(nt__names_t* names, const nt_headers_t* headers);
bool nt__names_have(const nt__names_t* names, const char* name);

/* The next member of a list, without the blanks around; empty ones are passed
 * over, and a comma in quotes ends none. False: that was all. `*open`, if it is
 * not NULL: its quotes have no end, and it is all that was left. */
bool nt__list_next(nt__slice_t* rest, nt__slice_t* member, bool* open);

/* Digits alone, at most NT__DELTA_MAX; or -1. */
int64_t nt__delta_seconds(nt__slice_t text);

/* The first value of that name, or NULL. */
const char* nt__fields_find(const nt_headers_t* headers, const char* name);

#endif
