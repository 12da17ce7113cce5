/* What the host sees of a jar: a copy. */
#include "cookie_list.h"

#include <string.h>

#include "alloc.h"

/* The texts of a list lie behind it. */
struct nt_cookies {
  size_t count;
  nt_cookie_t items[];
};

static size_t text_size(const nt__cookie_t* cookie) {
  return strlen(cookie->name) + strlen(cookie->value) + strlen(cookie->domain) +
         strlen(cookie->path) + 4;
}

static const char* keep(char** at, const char* text) {
  size_t size = strlen(text) + 1;
  char* copy = memcpy(*at, text, size);

  *at += size;
  return copy;
}

static nt_cookies_t* copy_list(nt__cookie_t** from, size_t count) {
  size_t size = sizeof(nt_cookies_t) + count * sizeof(nt_cookie_t);
  nt_cookies_t* list;
  char* at;
  size_t i;

  for (i = 0; i < count; i++)
    size += text_size(from[i]);
  list = nt__calloc(size);
  if (list == NULL)
    return NULL;
  list->count = count;
  at = (char*) (list->items + count);
  for (i = 0; i < count; i++) {
    nt_cookie_t* item = &list->items[i];

    item->name = keep(&at, from[i]->name);
    item->value = keep(&at, from[i]->value);
    item->domain = keep(&at, from[i]->domain);
    item->path = keep(&at, from[i]->path);
    if (from[i]->expires_ms != NT__COOKIE_SESSION)
      item->expires_ms = from[i]->expires_ms;
    item->host_only = from[i]->host_only;
    item->secure = from[i]->secure;
    item->http_only = from[i]->http_only;
  }
  return list;
}

nt_cookies_t* nt__cookie_list(nt__jar_t* jar, const nt__cookie_place_t* place,
                              int64_t now) {
  size_t count;
  nt__cookie_t** found = nt__jar_list(jar, place, now, &count);
  nt_cookies_t* list;

  if (found == NULL)
    return NULL;
  list = copy_list(found, count);
  nt__free(found);
  return list;
}

const nt_cookie_t* nt_cookies_items(const nt_cookies_t* list, size_t* count) {
  *count = list->count;
  return list->items;
}

void nt_cookies_free(nt_cookies_t* list) {
  nt__free(list);
}
