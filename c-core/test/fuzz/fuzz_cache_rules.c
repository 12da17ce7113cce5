/* Answers and requests as anybody may write them: the input is cut at NUL into
 * the fields of an answer, those of a request and those of a 304, each line of
 * which ends with LF. Two bytes in front choose a mode and a status. Whatever
 * is stored has to match the request that it came for, to stay the same when
 * it is stored again, and to get no fresher with time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache_control.h"
#include "cache_rules.h"
#include "header.h"
#include "http_date.h"

#define NOW INT64_C(1700000000000)

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static void require(int condition) {
  if (!condition)
    abort();
}

/* Takes one part of the input; what is not given is empty. */
static nt__headers_t take_fields(const uint8_t** data, size_t* size) {
  const uint8_t* end = *size == 0 ? NULL : memchr(*data, '\0', *size);
  size_t part = end == NULL ? *size : (size_t) (end - *data);
  nt__headers_t fields;
  size_t done = 0;

  nt__headers_init(&fields, 0);
  while (done < part) {
    const uint8_t* line = *data + done;
    const uint8_t* lf = memchr(line, '\n', part - done);
    size_t length = lf == NULL ? part - done : (size_t) (lf - line) + 1;

    require(nt__headers_add_line(&fields, (const char*) line, length) == 0);
    done += length;
  }
  part += end == NULL ? 0 : 1;
  *data += part;
  *size -= part;
  return fields;
}

static size_t count_fields(const nt__buf_t* bytes) {
  size_t count = 0;
  size_t i;

  for (i = 0; i < bytes->size; i++)
    count += bytes->data[i] == '\0';
  require(count % 2 == 0);
  return count / 2;
}

static nt_headers_t view_of(const nt__buf_t* bytes) {
  nt_headers_t view = { bytes->data, bytes->size, count_fields(bytes) };

  return view;
}

static void check_kept(const nt__buf_t* kept) {
  nt_headers_t view = view_of(kept);
  nt__buf_t again;

  nt__buf_init(&again, 0);
  require(nt__cache_keep_headers(&view, &again) == 0);
  require(again.size == kept->size);
  require(again.size == 0 || memcmp(again.data, kept->data, kept->size) == 0);
  require(nt__fields_find(&view, "connection") == NULL);
  require(nt__fields_find(&view, "transfer-encoding") == NULL);
  nt__buf_free(&again);
}

static void check_validators(const nt__stored_t* stored) {
  nt__buf_t lines;
  size_t i, size;

  nt__buf_init(&lines, 0);
  require(nt__cache_validators(stored, &lines) == 0);
  for (i = 0; i < lines.size; i += size + 1) {
    size = strlen(lines.data + i);
    require(strncmp(lines.data + i, "If-", 3) == 0);
    require(strstr(lines.data + i, ": ") != NULL);
    require(strpbrk(lines.data + i, "\r\n") == NULL);
  }
  nt__buf_free(&lines);
}

static void check_merged(const nt__stored_t* stored,
                         const nt_headers_t* fresh) {
  nt__buf_t merged;

  nt__buf_init(&merged, 0);
  require(nt__cache_merge(stored, fresh, &merged) == 0);
  check_kept(&merged);
  nt__buf_free(&merged);
  nt__cache_confirms(stored, fresh);
  nt__cache_head_confirms(stored, fresh);
}

static bool is_fresh(const nt__stored_t* stored, nt_cache_t mode,
                     const nt_headers_t* request, int64_t now) {
  bool stale;
  nt__cache_use_t use = nt__cache_judge(stored, mode, request, now, &stale);

  require(!stale || use == NT__CACHE_USE || use == NT__CACHE_RENEW);
  require(use != NT__CACHE_RENEW || stale);
  return use == NT__CACHE_USE && !stale;
}

static void check_time(const nt__stored_t* stored, nt_cache_t mode,
                       const nt_headers_t* request) {
  static const int64_t steps[] = {
    0, 1, 500, 1000, 60000, 3600000, 86400000, INT64_C(2147483648000)
  };
  bool fresh = true;
  int64_t age = 0;
  size_t i;

  for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
    int64_t now = NOW + steps[i];
    bool still = is_fresh(stored, mode, request, now);

    require(i == 0 || fresh || !still);
    require(nt__cache_age(stored, now) >= age);
    age = nt__cache_age(stored, now);
    fresh = still;
    nt__cache_covers_error(stored, request, 503, now);
  }
}

static void check_judged(const nt__stored_t* stored, nt_cache_t mode,
                         const nt_headers_t* request) {
  bool stale;
  nt__cache_use_t use = nt__cache_judge(NULL, mode, request, NOW, &stale);

  require(!stale && (use == NT__CACHE_FETCH || use == NT__CACHE_REFUSE));
  use = nt__cache_judge(stored, NT_CACHE_ONLY, request, NOW, &stale);
  require(use == NT__CACHE_USE);
  check_time(stored, mode, request);
}

/* A date that was read is read again from what it says. */
static void check_dates(const nt_headers_t* headers) {
  size_t cursor = 0;
  const char* name;
  const char* value;

  while (nt_headers_next(headers, &cursor, &name, &value)) {
    int64_t seconds = nt__http_date(value, NOW);
    time_t at = (time_t) seconds;
    struct tm parts;
    char text[64];

    require(seconds >= -1 && seconds <= INT64_C(253402300800));
    if (seconds < 0 || seconds > INT64_C(253402300799))
      continue; /* a leap second at the end of time */
    require(gmtime_r(&at, &parts) != NULL);
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    require(nt__http_date(text, NOW) == seconds);
  }
}

static void check(const nt_headers_t* answer, const nt_headers_t* request,
                  const nt_headers_t* fresh, nt_cache_t mode, int status) {
  bool storable = nt__cache_may_store(request, status, answer);
  nt__stored_t stored = { .status = status, .asked = NOW, .answered = NOW };
  nt__buf_t kept;
  nt__buf_t varying;

  nt__buf_init(&kept, 0);
  nt__buf_init(&varying, 0);
  require(nt__cache_keep_headers(answer, &kept) == 0);
  require(nt__cache_keep_varying(answer, request, &varying) == 0);
  check_kept(&kept);
  stored.headers = view_of(&kept);
  stored.varying = view_of(&varying);
  require(!storable || nt__cache_matches(&stored, request));
  check_validators(&stored);
  check_merged(&stored, fresh);
  check_judged(&stored, mode, request);
  check_dates(answer);
  nt__cache_matches(&stored, fresh);
  nt__buf_free(&kept);
  nt__buf_free(&varying);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nt__headers_t parts[3];
  nt_headers_t views[3];
  nt_cache_t mode;
  int status;
  size_t i;

  if (size < 2)
    return 0;
  mode = (nt_cache_t) (data[0] % (NT_CACHE_ONLY + 1));
  status = data[1] < 64 ? 200 : 100 + data[1] * 2;
  data += 2;
  size -= 2;
  for (i = 0; i < 3; i++) {
    parts[i] = take_fields(&data, &size);
    views[i] = nt__headers_view(&parts[i]);
  }
  check(&views[0], &views[1], &views[2], mode, status);
  nt__cache_concerns("GET", &views[1]);
  for (i = 0; i < 3; i++)
    nt__headers_free(&parts[i]);
  return 0;
}
