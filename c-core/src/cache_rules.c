/* What HTTP lets a private cache do, and when: what is stored, how old it is,
 * for how long it is fresh, and what is done with it then. RFC 9111, sections
 * 3, 4.2, 4.4 and 5; RFC 5861; RFC 8246. Pure logic.
 *
 * A private cache is nobody's proxy: s-maxage and proxy-revalidate say nothing
 * to it, an answer that is private or was asked for with credentials is stored
 * like any other.
 *
 * Times are in ms although HTTP counts seconds: an age that is rounded up would
 * make what lives for a second be born dead. */
#include "cache_rules.h"

#include <string.h>

#include "cache_control.h"
#include "header.h"
#include "http_date.h"

static bool is_among(int status, const short* list, size_t count) {
  size_t i;

  for (i = 0; i < count; i++)
    if (list[i] == status)
      return true;
  return false;
}
#define IS_AMONG(status, list)                                                 \
  is_among(status, list, sizeof(list) / sizeof((list)[0]))

/* ---- What is stored ------------------------------------------------------ */

bool nt__cache_concerns(const char* method, const nt_headers_t* request) {
  static const char prefix[] = "if-";
  size_t cursor = 0;
  const char* name;
  const char* value;

  if (strcmp(method, "GET") != 0)
    return false;
  while (nt_headers_next(request, &cursor, &name, &value)) {
    nt__slice_t head = { name, sizeof(prefix) - 1 };

    if (nt__header_is(name, "range") ||
        (strlen(name) > head.size && nt__slice_is_word(head, prefix)))
      return false;
  }
  return true;
}

/* RFC 9110 15.1: without a word about caches as well. */
static bool is_cacheable(int status) {
  static const short list[] = { 200, 203, 204, 300, 301, 308,
                                404, 405, 410, 414, 501 };

  return IS_AMONG(status, list);
}

/* Those that RFC 9110 describes. 206 and 304 are parts of something else, and
 * never stored by themselves. */
static bool is_understood(int status) {
  return (status >= 200 && status <= 205) || (status >= 300 && status <= 303) ||
         status == 305 || status == 307 || status == 308 ||
         (status >= 400 && status <= 417) || status == 421 || status == 422 ||
         status == 426 || (status >= 500 && status <= 505);
}

static bool is_final(int status) {
  return status >= 200 && status <= 599 && status != 206 && status != 304;
}

/* RFC 9111 3: must-understand takes the place of no-store where it is
 * understood. */
static bool is_forbidden(int status, const nt__directives_t* control) {
  if (control->must_understand)
    return !is_understood(status);
  return control->no_store;
}

bool nt__cache_may_store(const nt_headers_t* request, int status,
                         const nt_headers_t* headers) {
  nt__directives_t wish;
  nt__directives_t control;

  if (!is_final(status) || !nt__cache_can_keep(headers))
    return false;
  nt__directives_read_request(&wish, request);
  nt__directives_read(&control, headers);
  if (wish.no_store || is_forbidden(status, &control))
    return false;
  return control.is_public || control.is_private || control.max_age >= 0 ||
         nt__fields_find(headers, "expires") != NULL || is_cacheable(status);
}

bool nt__cache_invalidates(const char* method, int status) {
  static const char* const safe[] = { "GET",      "HEAD",   "OPTIONS", "TRACE",
                                      "PROPFIND", "REPORT", "SEARCH" };
  size_t i;

  for (i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
    if (strcmp(method, safe[i]) == 0)
      return false;
  return status >= 200 && status <= 399;
}

/* ---- Age and lifetime ---------------------------------------------------- */

enum {
  SECOND = 1000,
  DAY = 24 * 3600 * SECOND
};

/* So that no sum of them can overflow, whatever a disk says. */
static int64_t sane(int64_t time) {
  static const int64_t max = INT64_C(1) << 53;

  return time < 0 ? 0 : time > max ? max : time;
}

/* In ms; -1: none that is one. */
static int64_t date_of(const nt__stored_t* stored, const char* field) {
  const char* text = nt__fields_find(&stored->headers, field);
  int64_t date = text == NULL ? -1 : nt__http_date(text, stored->answered);

  return date < 0 ? -1 : date * SECOND;
}

/* RFC 9111 5.1: of a list the first member; what is no number is ignored. */
static int64_t age_value(const nt__stored_t* stored) {
  const char* text = nt__fields_find(&stored->headers, "age");
  nt__slice_t rest, member;
  int64_t seconds;

  if (text == NULL)
    return 0;
  rest = nt__slice(text);
  if (!nt__list_next(&rest, &member, NULL))
    return 0;
  seconds = nt__delta_seconds(member);
  return seconds < 0 ? 0 : seconds * SECOND;
}

/* RFC 9111 4.2.3. Date leaves up to a second out, which counts for the answer.
 * A clock that was set back says nothing of the time that has passed: it counts
 * as if it had gone forward as far. */
static int64_t age_of(const nt__stored_t* stored, int64_t now) {
  int64_t asked = sane(stored->asked);
  int64_t answered = sane(stored->answered);
  int64_t date = date_of(stored, "date");
  int64_t apparent = date < 0 ? 0 : answered - date - (SECOND - 1);
  int64_t age = age_value(stored);

  if (answered > asked)
    age += answered - asked;
  if (age < apparent)
    age = apparent;
  now = sane(now);
  return age + (now > answered ? now - answered : answered - now);
}

int64_t nt__cache_age(const nt__stored_t* stored, int64_t now) {
  return age_of(stored, now) / SECOND;
}

/* The shortest of all that is said; what is no date lies in the past, RFC 9111
 * 5.3. -1: nothing is said. */
static int64_t expires_in(const nt__stored_t* stored) {
  int64_t date = date_of(stored, "date");
  int64_t shortest = -1;
  size_t cursor = 0;
  const char* name;
  const char* value;

  if (date < 0)
    date = sane(stored->answered);
  while (nt_headers_next(&stored->headers, &cursor, &name, &value)) {
    int64_t left;

    if (!nt__header_is(name, "expires"))
      continue;
    left = nt__http_date(value, stored->answered) * SECOND - date;
    if (left < 0)
      left = 0;
    if (shortest < 0 || left < shortest)
      shortest = left;
  }
  return shortest;
}

/* RFC 9111 4.2.2. */
static int64_t guess(const nt__stored_t* stored) {
  int64_t date = date_of(stored, "date");
  int64_t modified = date_of(stored, "last-modified");
  int64_t lifetime = (date - modified) / 10;

  if (date < 0 || modified < 0 || lifetime < 0)
    return 0;
  return lifetime > DAY ? DAY : lifetime;
}

/* RFC 9111 4.2.1. */
static int64_t lifetime_of(const nt__stored_t* stored,
                           const nt__directives_t* control) {
  int64_t lifetime;

  if (control->max_age >= 0)
    return control->max_age * SECOND;
  lifetime = expires_in(stored);
  if (lifetime >= 0)
    return lifetime;
  return is_cacheable(stored->status) || control->is_public ? guess(stored) : 0;
}

/* ---- What is done -------------------------------------------------------- */

/* How the answer stands now. */
typedef struct standing {
  nt__directives_t control;
  int64_t age;  /* ms, as the next */
  int64_t left; /* that it is fresh; negative: that it is stale */
} standing_t;

static void stand(standing_t* out, const nt__stored_t* stored, int64_t now) {
  nt__directives_read(&out->control, &stored->headers);
  out->age = age_of(stored, now);
  out->left = lifetime_of(stored, &out->control) - out->age;
}

/* It has to be validated in any case: what is stored with no-store got that
 * from a 304 or from somebody else. */
static bool is_tied(const nt__stored_t* stored,
                    const nt__directives_t* control) {
  return control->no_cache || is_forbidden(stored->status, control);
}

/* `seconds` is what a directive allows, -1 for none. */
static bool is_within(int64_t stale, int64_t seconds) {
  return seconds >= NT__DELTA_MAX ||
         (seconds >= 0 && stale <= seconds * SECOND);
}

/* It may be as old for the request. "max-age=0" never means "at once": it is
 * how one asks for validation. */
static bool is_young(const standing_t* at, const nt__directives_t* wish) {
  if (wish->max_age < 0)
    return true;
  return wish->max_age > 0 && at->age <= wish->max_age * SECOND;
}

/* RFC 9111 4.2.4, RFC 5861 3. */
static nt__cache_use_t judge_stale(const standing_t* at,
                                   const nt__directives_t* wish) {
  if (at->control.must_revalidate || wish->min_fresh >= 0)
    return NT__CACHE_VALIDATE;
  if (wish->max_stale >= 0 && is_within(-at->left, wish->max_stale))
    return NT__CACHE_USE;
  if (at->control.stale_while_revalidate > 0 && wish->max_age < 0 &&
      is_within(-at->left, at->control.stale_while_revalidate))
    return NT__CACHE_RENEW;
  return NT__CACHE_VALIDATE;
}

/* RFC 9111 4 and 5.2.1. */
static nt__cache_use_t judge_default(const nt__stored_t* stored,
                                     const standing_t* at,
                                     const nt__directives_t* wish) {
  if (wish->no_store)
    return NT__CACHE_FETCH;
  if (wish->no_cache || is_tied(stored, &at->control) || !is_young(at, wish))
    return NT__CACHE_VALIDATE;
  if (at->left <= 0)
    return judge_stale(at, wish);
  if (wish->min_fresh >= 0 && at->left < wish->min_fresh * SECOND)
    return NT__CACHE_VALIDATE;
  return NT__CACHE_USE;
}

/* RFC 8246: what is immutable is not validated while it is fresh, not even by a
 * page that is reloaded. This mode is as near to that as a game comes; RELOAD,
 * and no-cache in the request's own fields, ask all the same. */
static nt__cache_use_t judge_no_cache(const nt__stored_t* stored,
                                      const standing_t* at,
                                      const nt__directives_t* wish) {
  nt__cache_use_t use = judge_default(stored, at, wish);

  if (use == NT__CACHE_FETCH)
    return use;
  if (use == NT__CACHE_USE && at->left > 0 && at->control.immutable)
    return use;
  return NT__CACHE_VALIDATE;
}

static nt__cache_use_t judge_mode(const nt__stored_t* stored, nt_cache_t mode,
                                  const standing_t* at,
                                  const nt__directives_t* wish) {
  switch (mode) {
    case NT_CACHE_DEFAULT:
      return judge_default(stored, at, wish);
    case NT_CACHE_NO_CACHE:
      return judge_no_cache(stored, at, wish);
    case NT_CACHE_FORCE:
    case NT_CACHE_ONLY: /* any age: the caller overrules the server */
      return NT__CACHE_USE;
    default:
      return NT__CACHE_FETCH;
  }
}

/* RFC 9111 5.2.1.7. */
static nt__cache_use_t without_network(nt__cache_use_t use) {
  if (use == NT__CACHE_RENEW)
    return NT__CACHE_USE;
  return use == NT__CACHE_USE ? use : NT__CACHE_REFUSE;
}

nt__cache_use_t nt__cache_judge(const nt__stored_t* stored, nt_cache_t mode,
                                const nt_headers_t* request, int64_t now,
                                bool* stale) {
  nt__cache_use_t use = NT__CACHE_FETCH;
  nt__directives_t wish;
  standing_t at = { .left = 0 };

  *stale = false;
  if (mode == NT_CACHE_NONE)
    return NT__CACHE_FETCH;
  nt__directives_read_request(&wish, request);
  if (stored != NULL) {
    stand(&at, stored, now);
    use = judge_mode(stored, mode, &at, &wish);
  }
  if (mode == NT_CACHE_ONLY || wish.only_if_cached)
    use = without_network(use);
  *stale = (use == NT__CACHE_USE || use == NT__CACHE_RENEW) && at.left <= 0;
  return use;
}

/* RFC 5861 4. Whoever insists on a validated answer, on either side, gets the
 * error. */
bool nt__cache_covers_error(const nt__stored_t* stored,
                            const nt_headers_t* request, int status,
                            int64_t now) {
  static const short errors[] = { 0, 500, 502, 503, 504 };
  nt__directives_t wish;
  standing_t at;

  if (!IS_AMONG(status, errors))
    return false;
  nt__directives_read_request(&wish, request);
  stand(&at, stored, now);
  if (is_tied(stored, &at.control) || at.control.must_revalidate ||
      wish.no_cache || wish.no_store)
    return false;
  if (wish.stale_if_error >= 0)
    return is_within(-at.left, wish.stale_if_error);
  return wish.max_age < 0 && wish.min_fresh < 0 &&
         at.control.stale_if_error >= 0 &&
         is_within(-at.left, at.control.stale_if_error);
}
