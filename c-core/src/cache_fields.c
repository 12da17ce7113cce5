/* The fields of stored answers: which are kept, for which requests they are
 * (Vary), how they are validated and what a 304 or an answer to HEAD does to
 * them. RFC 9111, sections 3.1, 3.2, 4.1 and 4.3. Pure logic, but for memory.
 *
 * Everything here is quadratic in something, which is why nothing that has too
 * many fields or names is stored in the first place. */
#include <string.h>

#include "ascii.h"
#include "cache_control.h"
#include "cache_rules.h"
#include "header.h"
#include "http_date.h"
#include "sha256.h"

static bool is_one_of(const char* name, const char* const* list, size_t count) {
  size_t i;

  for (i = 0; i < count; i++)
    if (nt__header_is(name, list[i]))
      return true;
  return false;
}
#define IS_ONE_OF(name, list)                                                  \
  is_one_of(name, list, sizeof(list) / sizeof((list)[0]))

static int append_text(nt__buf_t* out, const char* text) {
  return nt__buf_append(out, text, strlen(text) + 1);
}

static void names_init(nt__names_t* names) {
  names->count = 0;
  names->full = names->broken = false;
}

/* ---- Which are kept ------------------------------------------------------ */

/* Of one connection, of its proxy, or of how the bytes came. */
static bool is_passing(const char* name) {
  static const char* const passing[] = {
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authentication-Info",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
  };

  return IS_ONE_OF(name, passing);
}

/* RFC 9110 7.6.1: these are never for one connection, whatever it says. A
 * server that names them takes away what it has said of caches. */
static bool is_for_all(const char* name) {
  static const char* const for_all[] = {
    "Age",  "Cache-Control", "Content-Encoding", "Content-Type", "Date",
    "ETag", "Expires",       "Last-Modified",    "Vary",
  };

  return IS_ONE_OF(name, for_all);
}

/* Adds the fields that no-cache leaves out. */
static void add_no_cache(nt__names_t* names, const nt_headers_t* control) {
  nt__directives_t directives;

  nt__directives_read(&directives, control);
  if (directives.no_cache_fields && !directives.no_cache)
    nt__names_add_no_cache(names, control);
}

/* Fields that are left out beside those that always are. `control`: whose
 * Cache-Control counts. */
static void find_left_out(nt__names_t* names, const nt_headers_t* headers,
                          const nt_headers_t* control) {
  names_init(names);
  nt__names_add(names, headers, "connection");
  add_no_cache(names, control);
}

static bool is_kept(const nt__names_t* left_out, const char* name) {
  return !is_passing(name) &&
         (is_for_all(name) || !nt__names_have(left_out, name));
}

int nt__cache_keep_headers(const nt_headers_t* headers, nt__buf_t* out) {
  nt__names_t left_out;
  size_t cursor = 0;
  const char* name;
  const char* value;
  int err = 0;

  find_left_out(&left_out, headers, headers);
  while (err == 0 && nt_headers_next(headers, &cursor, &name, &value))
    if (is_kept(&left_out, name))
      err = nt__header_append(out, name, value, strlen(value));
  return err;
}

/* ---- Vary ---------------------------------------------------------------- */

static int compare_names(nt__slice_t a, nt__slice_t b) {
  size_t i;

  for (i = 0; i < a.size && i < b.size; i++)
    if (nt__lower(a.at[i]) != nt__lower(b.at[i]))
      return nt__lower(a.at[i]) < nt__lower(b.at[i]) ? -1 : 1;
  return a.size == b.size ? 0 : a.size < b.size ? -1 : 1;
}

/* In one order and once each, so that the same names look the same however they
 * were written. */
static void put_name(nt__names_t* names, nt__slice_t name) {
  nt__slice_t* items = names->items;
  size_t k = 0;

  while (k < names->count && compare_names(items[k], name) < 0)
    k++;
  if (k < names->count && compare_names(items[k], name) == 0)
    return;
  memmove(items + k + 1, items + k, (names->count - k) * sizeof(items[0]));
  items[k] = name;
  names->count++;
}

/* What a server says to one user is not for another, whether it says so or not.
 */
static bool put_user(nt__names_t* names) {
  if (names->count == NT__CACHE_NAMES_MAX)
    return false;
  put_name(names, nt__slice("authorization"));
  return true;
}

/* False: no request ever matches. */
static bool read_vary(nt__names_t* names, const nt_headers_t* headers) {
  nt__names_t found;
  size_t i;

  names_init(&found);
  names_init(names);
  nt__names_add(&found, headers, "vary");
  for (i = 0; i < found.count; i++) {
    if (nt__slice_is(found.items[i], nt__slice("*")))
      return false;
    put_name(names, found.items[i]);
  }
  return !found.full && !found.broken && put_user(names);
}

/* How values are compared. */
typedef enum kind {
  KIND_LIST, /* blanks around members do not matter */
  KIND_TAGS, /* a list in which neither blanks nor case matter at all */
  KIND_TEXT  /* each byte matters */
} kind_t;

static kind_t kind_of(const char* name) {
  static const char* const tags[] = { "Accept-Charset", "Accept-Encoding",
                                      "Accept-Language" };
  static const char* const texts[] = { "Authorization", "Cookie", "Origin",
                                       "Referer", "User-Agent" };

  if (IS_ONE_OF(name, tags))
    return KIND_TAGS;
  return IS_ONE_OF(name, texts) ? KIND_TEXT : KIND_LIST;
}

static void hash_tag(nt__sha256_t* hash, nt__slice_t tag) {
  size_t i;

  for (i = 0; i < tag.size; i++) {
    char c = nt__lower(tag.at[i]);

    if (c != ' ' && c != '\t')
      nt__sha256_update(hash, &c, 1);
  }
}

static void hash_value(nt__sha256_t* hash, kind_t kind, const char* value) {
  nt__slice_t rest = nt__slice(value);
  nt__slice_t member;

  if (kind == KIND_TEXT) {
    nt__sha256_update(hash, value, rest.size + 1); /* with the NUL */
    return;
  }
  while (nt__list_next(&rest, &member, NULL)) {
    if (kind == KIND_TAGS)
      hash_tag(hash, member);
    else
      nt__sha256_update(hash, member.at, member.size);
    nt__sha256_update(hash, ",", 1);
  }
}

enum {
  PRINT_SIZE = 2 * NT__SHA256_SIZE + 1
};

/* What stands for the value of all fields of that name: credentials and cookies
 * vary too, and have no business on a disk. False: there is none. */
static bool print_value(const nt_headers_t* request, nt__slice_t field,
                        char out[PRINT_SIZE]) {
  static const char digits[] = "0123456789abcdef";
  unsigned char sum[NT__SHA256_SIZE];
  nt__sha256_t hash;
  size_t cursor = 0;
  const char* name;
  const char* value;
  bool found = false;
  size_t i;

  nt__sha256_init(&hash);
  while (nt_headers_next(request, &cursor, &name, &value)) {
    if (compare_names(field, nt__slice(name)) != 0)
      continue;
    hash_value(&hash, kind_of(name), value);
    found = true;
  }
  if (!found)
    return false;
  nt__sha256_final(&hash, sum);
  for (i = 0; i < NT__SHA256_SIZE; i++) {
    out[2 * i] = digits[sum[i] >> 4];
    out[2 * i + 1] = digits[sum[i] & 15];
  }
  out[2 * i] = '\0';
  return true;
}

static int append_name(nt__buf_t* out, nt__slice_t name) {
  size_t start = out->size;
  int err = nt__buf_append(out, name.at, name.size);

  if (err == 0)
    err = nt__buf_append(out, "", 1);
  for (; err == 0 && start < out->size; start++)
    out->data[start] = nt__lower(out->data[start]);
  return err;
}

int nt__cache_keep_varying(const nt_headers_t* headers,
                           const nt_headers_t* request, nt__buf_t* out) {
  char print[PRINT_SIZE];
  nt__names_t names;
  size_t i;
  int err = 0;

  read_vary(&names, headers);
  for (i = 0; err == 0 && i < names.count; i++) {
    if (!print_value(request, names.items[i], print))
      continue;
    err = append_name(out, names.items[i]);
    if (err == 0)
      err = append_text(out, print);
  }
  return err;
}

static const char* find_name(const nt_headers_t* fields, nt__slice_t wanted) {
  size_t cursor = 0;
  const char* name;
  const char* value;

  while (nt_headers_next(fields, &cursor, &name, &value))
    if (compare_names(wanted, nt__slice(name)) == 0)
      return value;
  return NULL;
}

bool nt__cache_matches(const nt__stored_t* stored,
                       const nt_headers_t* request) {
  char print[PRINT_SIZE];
  nt__names_t names;
  size_t i;

  if (!read_vary(&names, &stored->headers))
    return false;
  for (i = 0; i < names.count; i++) {
    const char* then = find_name(&stored->varying, names.items[i]);
    bool now = print_value(request, names.items[i], print);

    if (now != (then != NULL) || (now && strcmp(then, print) != 0))
      return false;
  }
  return true;
}

bool nt__cache_can_keep(const nt_headers_t* headers) {
  nt__names_t names;

  if (headers->count > NT__CACHE_FIELDS_MAX || !read_vary(&names, headers))
    return false;
  find_left_out(&names, headers, headers);
  return !names.full;
}

/* ---- Validators ---------------------------------------------------------- */

/* RFC 9110 8.8.3, and what some send without quotes; not "*", which any answer
 * would match, nor a list. */
static bool is_tag(const char* tag) {
  nt__slice_t text = nt__slice(tag);

  if (text.size > 2 && memcmp(tag, "W/", 2) == 0)
    text = nt__slice(tag + 2);
  if (text.size > 1 && text.at[0] == '"') {
    const char* end = strchr(text.at + 1, '"');

    return end != NULL && end[1] == '\0';
  }
  return text.size > 0 && strpbrk(text.at, "\"*, \t") == NULL;
}

static const char* tag_of(const nt_headers_t* headers) {
  const char* tag = nt__fields_find(headers, "etag");

  return tag != NULL && is_tag(tag) ? tag : NULL;
}

static int append_line(nt__buf_t* out, const char* name, const char* value) {
  int err;

  if (nt_header_check(name, value) != 0)
    return 0; /* it is from a disk that anybody may have written to */
  err = nt__buf_append(out, name, strlen(name));
  if (err == 0)
    err = nt__buf_append(out, ": ", 2);
  return err ? err : append_text(out, value);
}

int nt__cache_validators(const nt__stored_t* stored, nt__buf_t* out) {
  const char* tag = tag_of(&stored->headers);
  const char* modified = nt__fields_find(&stored->headers, "last-modified");
  int err = 0;

  if (tag != NULL)
    err = append_line(out, "If-None-Match", tag);
  if (err == 0 && modified != NULL &&
      nt__http_date(modified, stored->answered) >= 0)
    err = append_line(out, "If-Modified-Since", modified);
  return err;
}

static bool is_weak(const char* tag) {
  return strncmp(tag, "W/", 2) == 0;
}

/* RFC 9110 8.8.3.2, the weak comparison: a server that compresses as it goes
 * makes its tags weak, and those of a 304 strong. */
static bool is_same_tag(const char* a, const char* b) {
  return strcmp(is_weak(a) ? a + 2 : a, is_weak(b) ? b + 2 : b) == 0;
}

static bool is_same_date(const char* a, const char* b, int64_t now) {
  int64_t x = nt__http_date(a, now);

  return strcmp(a, b) == 0 || (x >= 0 && x == nt__http_date(b, now));
}

static bool is_same_list(const nt__names_t* a, const nt__names_t* b) {
  size_t i;

  for (i = 0; i < a->count && i < b->count; i++)
    if (compare_names(a->items[i], b->items[i]) != 0)
      return false;
  return a->count == b->count;
}

/* Under another Vary it would be for other requests than it was kept for. */
static bool varies_alike(const nt_headers_t* old, const nt_headers_t* fresh) {
  nt__names_t names, new_names;

  if (nt__fields_find(fresh, "vary") == NULL)
    return true;
  return read_vary(&names, old) && read_vary(&new_names, fresh) &&
         is_same_list(&names, &new_names);
}

/* No part of an answer with no-store may become part of a stored one. */
static bool can_merge(const nt__stored_t* stored, const nt_headers_t* fresh) {
  nt__directives_t control;

  nt__directives_read(&control, fresh);
  return (!control.no_store || control.must_understand) &&
         varies_alike(&stored->headers, fresh) && nt__cache_can_keep(fresh) &&
         stored->headers.count + fresh->count <= NT__CACHE_FIELDS_MAX;
}

/* A 304 with a tag that is not the stored one's although that was asked about:
 * some servers change it as they compress. */
static bool is_foreign(const nt__stored_t* stored, const nt_headers_t* fresh) {
  const char* tag = tag_of(&stored->headers);
  const char* new_tag = nt__fields_find(fresh, "etag");

  return tag != NULL && new_tag != NULL && !is_same_tag(tag, new_tag);
}

/* RFC 9111 4.3.4. A 304 without any validator is about the one that was asked
 * for. So is the answer to If-None-Match, which names one tag; but what else it
 * says is not taken from it when its own tag is another. */
bool nt__cache_confirms(const nt__stored_t* stored, const nt_headers_t* fresh) {
  const char* new_tag = nt__fields_find(fresh, "etag");
  const char* date = nt__fields_find(&stored->headers, "last-modified");
  const char* new_date = nt__fields_find(fresh, "last-modified");

  if (!can_merge(stored, fresh))
    return false;
  if (tag_of(&stored->headers) != NULL && new_tag != NULL)
    return true;
  if (date != NULL && new_date != NULL)
    return is_same_date(date, new_date, stored->answered);
  return new_tag == NULL || is_weak(new_tag);
}

/* RFC 9111 4.3.5. */
bool nt__cache_head_confirms(const nt__stored_t* stored,
                             const nt_headers_t* fresh) {
  const nt_headers_t* headers = &stored->headers;
  const char* tag = nt__fields_find(fresh, "etag");
  const char* date = nt__fields_find(fresh, "last-modified");
  const char* length = nt__fields_find(fresh, "content-length");
  const char* old;

  old = nt__fields_find(headers, "etag");
  if (tag != NULL && (old == NULL || !is_same_tag(old, tag)))
    return false;
  old = nt__fields_find(headers, "last-modified");
  if (date != NULL &&
      (old == NULL || !is_same_date(old, date, stored->answered)))
    return false;
  old = nt__fields_find(headers, "content-length");
  if (length != NULL && (old == NULL || strcmp(old, length) != 0))
    return false;
  return can_merge(stored, fresh);
}

/* ---- Merging ------------------------------------------------------------- */

/* What was done to the body by these stays done. The tag is the same one, or
 * the weaker of two. */
static bool is_settled(const char* name) {
  static const char* const settled[] = { "Content-Encoding", "Content-Length",
                                         "Content-MD5", "Content-Range",
                                         "ETag" };

  return IS_ONE_OF(name, settled);
}

/* Of the answer that is no longer the last one. RFC 9110 6.6.1: one without
 * Date is dated by when it came. */
static bool is_outdated(const char* name) {
  return nt__header_is(name, "Age") || nt__header_is(name, "Date");
}

static bool is_updated(const nt__stored_t* stored, const char* name) {
  if (nt__header_is(name, "ETag"))
    return nt__fields_find(&stored->headers, name) == NULL;
  return !is_settled(name);
}

static int merge_old(const nt__stored_t* stored, const nt_headers_t* fresh,
                     const nt_headers_t* control, const nt__names_t* not_fresh,
                     nt__buf_t* out) {
  nt__names_t left_out;
  size_t cursor = 0;
  const char* name;
  const char* value;
  int err = 0;

  names_init(&left_out);
  add_no_cache(&left_out, control);
  while (err == 0 &&
         nt_headers_next(&stored->headers, &cursor, &name, &value)) {
    bool replaced = !is_settled(name) && is_kept(not_fresh, name) &&
                    nt__fields_find(fresh, name) != NULL;

    if (!replaced && !is_outdated(name) && is_kept(&left_out, name))
      err = nt__header_append(out, name, value, strlen(value));
  }
  return err;
}

int nt__cache_merge(const nt__stored_t* stored, const nt_headers_t* fresh,
                    nt__buf_t* out) {
  static const nt_headers_t none = { 0 };
  bool foreign = is_foreign(stored, fresh);
  const nt_headers_t* taken = foreign ? &none : fresh;
  const nt_headers_t* control = taken;
  nt__names_t left_out;
  size_t cursor = 0;
  const char* name;
  const char* value;
  int err;

  if (nt__fields_find(taken, "cache-control") == NULL)
    control = &stored->headers;
  find_left_out(&left_out, taken, control);
  err = merge_old(stored, taken, control, &left_out, out);
  while (err == 0 && nt_headers_next(fresh, &cursor, &name, &value))
    if (is_kept(&left_out, name) && is_updated(stored, name) &&
        (!foreign || is_outdated(name)))
      err = nt__header_append(out, name, value, strlen(value));
  return err;
}
