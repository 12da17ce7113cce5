/* A jar of cookies. They lie in lists by the hash of their site, which a host
 * shares with all that may set cookies for it: so one list has everything that
 * a request may need. Order and age are numbers of a counter of the jar's own,
 * as a clock may stand still or go back.
 *
 * A server may set what it likes: 50 cookies a domain and 3000 in all stay, and
 * those that were not used for longest make room. */
#include "cookie_jar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "ascii.h"
#include "nettask.h"

static const char file_head[] =
    "# Netscape HTTP Cookie File\n"
    "# Written by nettask, which replaces this file as a whole.\n\n";

static const char http_only_mark[] = "#HttpOnly_";

/* ---- Sites --------------------------------------------------------------- */

/* FNV-1a. */
static nt__node_t* site_of(nt__jar_t* jar, const char* host, bool literal) {
  const char* site = nt__cookie_site(host, literal);
  uint32_t hash = 2166136261u;

  for (; *site != '\0'; site++)
    hash = (hash ^ (unsigned char) *site) * 16777619u;
  return &jar->sites[hash % NT__JAR_SITES];
}

static nt__cookie_t* of_node(nt__node_t* node) {
  return nt__container_of(node, nt__cookie_t, node);
}

void nt__jar_init(nt__jar_t* jar) {
  size_t i;

  memset(jar, 0, sizeof(*jar));
  for (i = 0; i < NT__JAR_SITES; i++)
    nt__list_init(&jar->sites[i]);
}

static void note_change(nt__jar_t* jar, const nt__cookie_t* cookie) {
  if (cookie->expires_ms != NT__COOKIE_SESSION)
    jar->changed = true;
}

/* Values are as good as passwords. */
static void free_cookie(nt__cookie_t* cookie) {
  nt__wipe((char*) cookie->value, strlen(cookie->value));
  nt__free(cookie);
}

static void drop(nt__jar_t* jar, nt__cookie_t* cookie) {
  note_change(jar, cookie);
  nt__list_remove(&cookie->node);
  jar->count--;
  free_cookie(cookie);
}

void nt__jar_free(nt__jar_t* jar) {
  nt__jar_clear(jar, NULL);
}

static bool is_over(const nt__cookie_t* cookie, int64_t now_ms) {
  return cookie->expires_ms <= now_ms;
}

static void drop_old_of(nt__jar_t* jar, nt__node_t* site, int64_t now_ms) {
  nt__node_t* node = site->next;

  while (node != site) {
    nt__cookie_t* cookie = of_node(node);

    node = node->next;
    if (is_over(cookie, now_ms))
      drop(jar, cookie);
  }
}

static void drop_old(nt__jar_t* jar, int64_t now_ms) {
  size_t i;

  for (i = 0; i < NT__JAR_SITES; i++)
    drop_old_of(jar, &jar->sites[i], now_ms);
}

/* ---- Room ---------------------------------------------------------------- */

/* The one of `domain`, or of any with NULL, that was not used for longest. */
static nt__cookie_t* oldest_of(nt__node_t* site, const char* domain,
                               nt__cookie_t* oldest, size_t* count) {
  nt__node_t* node;

  for (node = site->next; node != site; node = node->next) {
    nt__cookie_t* cookie = of_node(node);

    if (domain != NULL && strcmp(cookie->domain, domain) != 0)
      continue;
    (*count)++;
    if (oldest == NULL || cookie->used < oldest->used)
      oldest = cookie;
  }
  return oldest;
}

static void make_room(nt__jar_t* jar, nt__node_t* site, const char* domain,
                      int64_t now_ms) {
  nt__cookie_t* oldest;
  size_t count = 0;
  size_t i;

  drop_old_of(jar, site, now_ms);
  oldest = oldest_of(site, domain, NULL, &count);
  if (count >= NT__JAR_DOMAIN_MAX)
    drop(jar, oldest);
  if (jar->count < NT__JAR_MAX)
    return;
  drop_old(jar, now_ms);
  if (jar->count < NT__JAR_MAX)
    return;
  oldest = NULL;
  for (i = 0; i < NT__JAR_SITES; i++)
    oldest = oldest_of(&jar->sites[i], NULL, oldest, &count);
  drop(jar, oldest);
}

/* ---- Storing ------------------------------------------------------------- */

static const char* put(char** at, nt__slice_t slice) {
  char* copy = *at;

  if (slice.size > 0)
    memcpy(copy, slice.at, slice.size);
  copy[slice.size] = '\0';
  *at += slice.size + 1;
  return copy;
}

static nt__cookie_t* new_cookie(nt__slice_t domain, nt__slice_t path,
                                const nt__set_cookie_t* from) {
  size_t size =
      domain.size + path.size + from->name.size + from->value.size + 4;
  nt__cookie_t* cookie = nt__calloc(sizeof(*cookie) + size);
  char* at;

  if (cookie == NULL)
    return NULL;
  at = (char*) (cookie + 1);
  cookie->domain = put(&at, domain);
  cookie->path = put(&at, path);
  cookie->name = put(&at, from->name);
  cookie->value = put(&at, from->value);
  cookie->expires_ms = from->expires_ms;
  cookie->secure = from->secure;
  cookie->http_only = from->http_only;
  return cookie;
}

/* RFC 6265 knows a cookie by name, domain and path. One for the host alone is
 * another than one for all below it: else whoever is below could change what
 * the host relies on. */
static nt__cookie_t* find_same(nt__node_t* site, const nt__cookie_t* cookie) {
  nt__node_t* node;

  for (node = site->next; node != site; node = node->next) {
    nt__cookie_t* other = of_node(node);

    if (other->host_only == cookie->host_only &&
        strcmp(other->name, cookie->name) == 0 &&
        strcmp(other->domain, cookie->domain) == 0 &&
        strcmp(other->path, cookie->path) == 0)
      return other;
  }
  return NULL;
}

/* A connection without TLS, which anybody may have written on, leaves what came
 * over TLS alone, whatever domain and path it has. */
static bool hides_secure(nt__node_t* site, const nt__cookie_t* cookie) {
  nt__node_t* node;

  for (node = site->next; node != site; node = node->next) {
    const nt__cookie_t* other = of_node(node);

    if (other->secure && strcmp(other->name, cookie->name) == 0 &&
        (nt__cookie_domain_matches(nt__slice(other->domain), cookie->domain,
                                   cookie->literal) ||
         nt__cookie_domain_matches(nt__slice(cookie->domain), other->domain,
                                   other->literal)) &&
        nt__cookie_path_matches(nt__slice(other->path),
                                nt__slice(cookie->path)))
      return true;
  }
  return false;
}

/* Takes it. One that is over takes the one before away. */
static void keep(nt__jar_t* jar, nt__node_t* site, nt__cookie_t* cookie,
                 int64_t now_ms) {
  nt__cookie_t* same = find_same(site, cookie);

  cookie->created = cookie->used = ++jar->clock;
  if (same != NULL) {
    cookie->created = same->created;
    drop(jar, same);
  }
  if (is_over(cookie, now_ms)) {
    free_cookie(cookie);
    return;
  }
  make_room(jar, site, cookie->domain, now_ms);
  nt__list_append(site, &cookie->node);
  jar->count++;
  note_change(jar, cookie);
}

/* The domain of a cookie, in lower case: the host, or what the cookie says if
 * the host is below it. False for the domain of others. */
static bool find_domain(const nt__cookie_place_t* place,
                        const nt__set_cookie_t* set, char* domain,
                        bool* host_only) {
  size_t i;

  *host_only = set->domain.size == 0;
  if (*host_only) {
    memcpy(domain, place->host, sizeof(place->host));
    return true;
  }
  if (set->domain.size >= NT__COOKIE_HOST_MAX)
    return false;
  for (i = 0; i < set->domain.size; i++)
    domain[i] = nt__lower(set->domain.at[i]);
  domain[i] = '\0';
  if (!nt__cookie_domain_matches(nt__slice(domain), place->host,
                                 place->literal))
    return false;
  if (place->literal || nt__cookie_is_suffix(domain)) {
    *host_only = true;
    return strcmp(domain, place->host) == 0;
  }
  return true;
}

/* RFC 6265 5.3. NULL with `*err`. */
static nt__cookie_t* make(const nt__cookie_place_t* place,
                          const nt__set_cookie_t* set, int* err) {
  char domain[NT__COOKIE_HOST_MAX];
  nt__slice_t path = set->path;
  nt__cookie_t* cookie;
  bool host_only;

  *err = NT_E_INVALID;
  if ((set->secure && !place->secure) ||
      !nt__cookie_keeps_prefix(set, place->secure) ||
      !find_domain(place, set, domain, &host_only))
    return NULL;
  if (path.size == 0)
    path = nt__cookie_default_path(place->path);
  cookie = new_cookie(nt__slice(domain), path, set);
  *err = cookie == NULL ? NT_E_NOMEM : 0;
  if (cookie == NULL)
    return NULL;
  cookie->host_only = host_only;
  cookie->literal = place->literal;
  return cookie;
}

int nt__jar_store(nt__jar_t* jar, const nt__cookie_place_t* place,
                  const char* line, size_t size, int64_t now_ms) {
  nt__node_t* site = site_of(jar, place->host, place->literal);
  nt__set_cookie_t set;
  nt__cookie_t* cookie;
  int err;

  if (!nt__cookie_parse(&set, line, size, now_ms))
    return NT_E_INVALID;
  cookie = make(place, &set, &err);
  if (cookie == NULL)
    return err;
  if (!place->secure && hides_secure(site, cookie)) {
    free_cookie(cookie);
    return NT_E_INVALID;
  }
  keep(jar, site, cookie, now_ms);
  return 0;
}

/* ---- Finding ------------------------------------------------------------- */

static bool is_of_host(const nt__cookie_t* cookie,
                       const nt__cookie_place_t* place) {
  if (cookie->host_only)
    return strcmp(cookie->domain, place->host) == 0;
  return nt__cookie_domain_matches(nt__slice(cookie->domain), place->host,
                                   place->literal);
}

static bool is_for(const nt__cookie_t* cookie,
                   const nt__cookie_place_t* place) {
  return (!cookie->secure || place->secure) && is_of_host(cookie, place) &&
         nt__cookie_path_matches(nt__slice(cookie->path), place->path);
}

static int by_age(const void* a, const void* b) {
  const nt__cookie_t* first = *(nt__cookie_t* const*) a;
  const nt__cookie_t* second = *(nt__cookie_t* const*) b;

  return first->created < second->created ? -1 : 1;
}

/* RFC 6265 5.4: longer paths first. */
static int by_path(const void* a, const void* b) {
  size_t first = strlen((*(nt__cookie_t* const*) a)->path);
  size_t second = strlen((*(nt__cookie_t* const*) b)->path);

  if (first != second)
    return first > second ? -1 : 1;
  return by_age(a, b);
}

static void collect(nt__node_t* site, const nt__cookie_place_t* place,
                    nt__cookie_t** list, size_t* count) {
  nt__node_t* node;

  for (node = site->next; node != site; node = node->next)
    if (place == NULL || is_for(of_node(node), place))
      list[(*count)++] = of_node(node);
}

static size_t size_of(const nt__node_t* site) {
  const nt__node_t* node;
  size_t count = 0;

  for (node = site->next; node != site; node = node->next)
    count++;
  return count;
}

nt__cookie_t** nt__jar_list(nt__jar_t* jar, const nt__cookie_place_t* place,
                            int64_t now_ms, size_t* count) {
  nt__node_t* site = NULL;
  nt__cookie_t** list;
  size_t i;

  *count = 0;
  if (place != NULL) {
    site = site_of(jar, place->host, place->literal);
    drop_old_of(jar, site, now_ms);
  } else {
    drop_old(jar, now_ms);
  }
  i = site == NULL ? jar->count : size_of(site);
  list = nt__malloc((i + 1) * sizeof(nt__cookie_t*));
  if (list == NULL)
    return NULL;
  if (site != NULL)
    collect(site, place, list, count);
  else
    for (i = 0; i < NT__JAR_SITES; i++)
      collect(&jar->sites[i], NULL, list, count);
  qsort(list, *count, sizeof(nt__cookie_t*), place == NULL ? by_age : by_path);
  return list;
}

/* Whether "a=1; b=2" has that name. */
static bool has_name(const char* line, const char* name) {
  size_t size = strlen(name);

  while (line != NULL && *line != '\0' && *line != '\r') {
    line += strspn(line, "; \t");
    if (strncmp(line, name, size) == 0 &&
        line[size + strspn(line + size, " \t")] == '=')
      return true;
    line += strcspn(line, ";\r");
  }
  return false;
}

static int put_pair(const nt__cookie_t* cookie, nt__buf_t* out) {
  size_t name = strlen(cookie->name);
  size_t value = strlen(cookie->value);
  int err;

  if (out->size + name + value + 3 > NT__JAR_LINE_MAX)
    return 0;
  err = nt__buf_reserve(out, out->size + name + value + 3);
  if (err)
    return err;
  if (out->size > 0)
    nt__buf_append(out, "; ", 2);
  nt__buf_append(out, cookie->name, name);
  nt__buf_append(out, "=", 1);
  return nt__buf_append(out, cookie->value, value);
}

int nt__jar_pick(nt__jar_t* jar, const nt__cookie_place_t* place,
                 const char* own, int64_t now_ms, nt__buf_t* out) {
  nt__cookie_t** list;
  size_t count;
  size_t i;
  int err = 0;

  if (nt__list_empty(site_of(jar, place->host, place->literal)))
    return 0;
  list = nt__jar_list(jar, place, now_ms, &count);
  if (list == NULL)
    return NT_E_NOMEM;
  for (i = 0; i < count && err == 0; i++) {
    list[i]->used = ++jar->clock;
    if (!has_name(own, list[i]->name))
      err = put_pair(list[i], out);
  }
  nt__free(list);
  return err;
}

size_t nt__jar_clear(nt__jar_t* jar, const nt__cookie_place_t* place) {
  size_t before = jar->count;
  size_t i;

  for (i = 0; i < NT__JAR_SITES; i++) {
    nt__node_t* site = &jar->sites[i];
    nt__node_t* node = site->next;

    while (node != site) {
      nt__cookie_t* cookie = of_node(node);

      node = node->next;
      if (place == NULL || is_of_host(cookie, place))
        drop(jar, cookie);
    }
  }
  return before - jar->count;
}

/* ---- The file ------------------------------------------------------------ */

static int append(nt__buf_t* out, const char* text) {
  return nt__buf_append(out, text, strlen(text));
}

/* Domain, whether for all below it, path, secure, seconds, name, value. */
static int put_line(const nt__cookie_t* cookie, nt__buf_t* out) {
  const char* const parts[] = {
    cookie->http_only ? http_only_mark : "",
    cookie->host_only ? "" : ".",
    cookie->domain,
    cookie->host_only ? "\tFALSE\t" : "\tTRUE\t",
    cookie->path,
    cookie->secure ? "\tTRUE\t" : "\tFALSE\t",
  };
  char seconds[32];
  int err = 0;
  size_t i;

  for (i = 0; i < sizeof(parts) / sizeof(parts[0]) && err == 0; i++)
    err = append(out, parts[i]);
  snprintf(seconds, sizeof(seconds), "%lld\t",
           (long long) ((cookie->expires_ms + 999) / 1000));
  if (err == 0)
    err = append(out, seconds);
  if (err == 0)
    err = append(out, cookie->name);
  if (err == 0)
    err = append(out, "\t");
  if (err == 0)
    err = append(out, cookie->value);
  return err ? err : append(out, "\n");
}

int nt__jar_write(nt__jar_t* jar, int64_t now_ms, nt__buf_t* out) {
  nt__cookie_t** list;
  size_t count;
  size_t i;
  int err;

  list = nt__jar_list(jar, NULL, now_ms, &count);
  if (list == NULL)
    return NT_E_NOMEM;
  err = append(out, file_head);
  for (i = 0; i < count && err == 0; i++)
    if (list[i]->expires_ms != NT__COOKIE_SESSION)
      err = put_line(list[i], out);
  nt__free(list);
  return err;
}

static bool take_field(nt__slice_t* rest, nt__slice_t* field) {
  const char* end = rest->size == 0 ? NULL : memchr(rest->at, '\t', rest->size);

  if (end == NULL)
    return false;
  field->at = rest->at;
  field->size = (size_t) (end - rest->at);
  rest->at = end + 1;
  rest->size -= field->size + 1;
  return true;
}

static bool is_true(nt__slice_t slice) {
  return nt__slice_is(slice, nt__slice("TRUE"));
}

static bool read_seconds(nt__slice_t slice, int64_t* out) {
  int64_t value = 0;
  size_t i;

  if (slice.size == 0 || slice.size > 14)
    return false;
  for (i = 0; i < slice.size; i++) {
    if (slice.at[i] < '0' || slice.at[i] > '9')
      return false;
    value = value * 10 + (slice.at[i] - '0');
  }
  *out = value * 1000;
  return value > 0; /* 0 is a cookie of a session, which is over */
}

/* A name or an address as it can be looked up, in lower case. */
static bool is_domain(nt__slice_t domain) {
  static const char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.:[]";
  size_t i;

  for (i = 0; i < domain.size; i++)
    if (domain.at[i] == '\0' || strchr(digits, domain.at[i]) == NULL)
      return false;
  return domain.size > 0 && domain.size < NT__COOKIE_HOST_MAX &&
         domain.at[0] != '.' && domain.at[domain.size - 1] != '.';
}

typedef struct line {
  nt__set_cookie_t set;
  bool host_only;
} line_t;

static bool read_line(nt__slice_t text, line_t* out) {
  nt__set_cookie_t* set = &out->set;
  nt__slice_t mark = { text.at, sizeof(http_only_mark) - 1 };
  nt__slice_t below, secure, seconds;

  memset(out, 0, sizeof(*out));
  set->http_only =
      text.size > mark.size && nt__slice_is(mark, nt__slice(http_only_mark));
  if (set->http_only) {
    text.at += mark.size;
    text.size -= mark.size;
  } else if (text.size == 0 || text.at[0] == '#') {
    return false;
  }
  if (!take_field(&text, &set->domain) || !take_field(&text, &below) ||
      !take_field(&text, &set->path) || !take_field(&text, &secure) ||
      !take_field(&text, &seconds) || !take_field(&text, &set->name))
    return false;
  set->value = text;
  set->secure = is_true(secure);
  out->host_only = !is_true(below);
  if (set->domain.size > 0 && set->domain.at[0] == '.') {
    set->domain.at++;
    set->domain.size--;
  }
  return read_seconds(seconds, &set->expires_ms) && is_domain(set->domain) &&
         set->path.size > 0 && set->path.at[0] == '/' &&
         set->path.size <= NT__COOKIE_ATTRIBUTE_MAX &&
         nt__cookie_is_clean(set->name, set->value, set->path);
}

/* What is written as an address: its last label is a number, or it has
 * brackets. */
static bool is_address(const char* domain) {
  const char* label = strrchr(domain, '.');

  label = label == NULL ? domain : label + 1;
  return domain[0] == '[' || label[strspn(label, "0123456789")] == '\0';
}

static int take_line(nt__jar_t* jar, const line_t* line, int64_t now_ms) {
  nt__cookie_t* cookie =
      new_cookie(line->set.domain, line->set.path, &line->set);
  nt__node_t* site;

  if (cookie == NULL)
    return NT_E_NOMEM;
  cookie->literal = is_address(cookie->domain);
  cookie->host_only = line->host_only;
  site = site_of(jar, cookie->domain, cookie->literal);
  if (find_same(site, cookie) != NULL ||
      (!cookie->host_only &&
       (cookie->literal || nt__cookie_is_suffix(cookie->domain))))
    free_cookie(cookie);
  else
    keep(jar, site, cookie, now_ms);
  return 0;
}

int nt__jar_read(nt__jar_t* jar, const char* text, size_t size,
                 int64_t now_ms) {
  int err = 0;

  while (size > 0 && err == 0) {
    const char* end = memchr(text, '\n', size);
    nt__slice_t slice = { text, end == NULL ? size : (size_t) (end - text) };
    size_t taken = slice.size + (end == NULL ? 0 : 1);
    line_t line;

    text += taken;
    size -= taken;
    if (slice.size > 0 && slice.at[slice.size - 1] == '\r')
      slice.size--;
    if (memchr(slice.at, '\0', slice.size) == NULL && read_line(slice, &line))
      err = take_line(jar, &line, now_ms);
  }
  return err;
}
