/* What the test server serves for the cache: pages with fields of their own,
 * which change when a test says so, and which know conditions. */
#ifndef NT_TEST_SITE_H
#define NT_TEST_SITE_H

#include "host.h"

enum {
  SITE_PAGES = 16,
  SITE_HEADS = 32
};

enum {                     /* what else a page does */
  SITE_HOLD = 1 << 0,      /* waits for server_release() before its answer */
  SITE_HOLD_BODY = 1 << 1, /* half-way through the body */
  SITE_CUT = 1 << 2,       /* ends the connection there */
  SITE_CLOSE = 1 << 3,     /* ends it without an answer */
  SITE_WRONG_304 = 1 << 4  /* a 304 to whatever it is asked */
};

typedef struct page {
  const char* path;
  const char* status; /* "200 OK" */
  const char* fields; /* "Name: value\r\n"... */
  const char* body;
  const char* etag;    /* what If-None-Match has to be for a 304, or NULL */
  const char* renewed; /* fields of the 304 */
  uint64_t size;       /* of the pattern in place of the body; 0: none */
  unsigned flags;
} page_t;

typedef struct site {
  pthread_mutex_t mutex; /* guards all that follows */
  page_t pages[SITE_PAGES];
  size_t count;
  unsigned asked;
  char heads[SITE_HEADS][2048]; /* of the last requests */
} site_t;

/* A copy of the page; false when there is none. */
static inline bool site_find(site_t* site, const char* path, page_t* out) {
  bool found = false;
  size_t i;

  pthread_mutex_lock(&site->mutex);
  for (i = 0; i < site->count && !found; i++) {
    found = strcmp(site->pages[i].path, path) == 0;
    if (found)
      *out = site->pages[i];
  }
  pthread_mutex_unlock(&site->mutex);
  return found;
}

static inline void site_note(site_t* site, const char* head) {
  pthread_mutex_lock(&site->mutex);
  snprintf(site->heads[site->asked % SITE_HEADS], sizeof(site->heads[0]),
           "%.*s", (int) sizeof(site->heads[0]) - 1, head);
  site->asked++;
  pthread_mutex_unlock(&site->mutex);
}

static inline bool site_is_same(const page_t* page, const char* head) {
  char line[128];

  if (page->flags & SITE_WRONG_304)
    return strstr(head, "\r\nIf-None-Match: ") != NULL;
  if (page->etag == NULL)
    return false;
  snprintf(line, sizeof(line), "\r\nIf-None-Match: %s\r\n", page->etag);
  return strstr(head, line) != NULL;
}

static inline bool site_send(connection_t* c, const page_t* page, uint64_t from,
                             uint64_t to) {
  if (page->size == 0)
    return connection_send(c, page->body + from, (size_t) (to - from), true);
  while (from < to) {
    uint64_t n = to - from < SERVER_BLOCK ? to - from : SERVER_BLOCK;

    if (!connection_send(c, server_bytes(from), (size_t) n, true))
      return false;
    from += n;
  }
  return true;
}

static inline bool site_answer(connection_t* c, const page_t* page,
                               bool is_head) {
  uint64_t size = page->size == 0 ? strlen(page->body) : page->size;
  char head[1024];

  if (page->flags & SITE_CLOSE)
    return false;
  snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n%sContent-Length: %llu\r\n\r\n",
           page->status, page->fields, (unsigned long long) size);
  if (!connection_send_text(c, head))
    return false;
  if (is_head)
    return true;
  if (!site_send(c, page, 0, size / 2) || (page->flags & SITE_CUT))
    return false;
  if ((page->flags & SITE_HOLD_BODY) && !connection_hold(c))
    return false;
  return site_send(c, page, size / 2, size);
}

static inline bool site_confirm(connection_t* c, const page_t* page) {
  char head[512];

  snprintf(head, sizeof(head), "HTTP/1.1 304 Not Modified\r\n%s\r\n",
           page->renewed == NULL ? "" : page->renewed);
  return connection_send_text(c, head);
}

static inline void site_serve(connection_t* c, void* arg) {
  site_t* site = arg;
  bool more = true;
  char path[64];

  while (more && connection_read(c)) {
    page_t page = { .status = "404 Not Found", .fields = "", .body = "" };
    bool is_head = strncmp(c->request, "HEAD ", 5) == 0;

    if (sscanf(c->request, "%*s %63s", path) != 1)
      return;
    site_note(site, c->request);
    site_find(site, path, &page);
    connection_note(c, path);
    if ((page.flags & SITE_HOLD) && !connection_hold(c))
      return;
    more = site_is_same(&page, c->request) ? site_confirm(c, &page)
                                           : site_answer(c, &page, is_head);
  }
}

/* ---- The test's side ---------------------------------------------------- */

typedef struct fixture {
  host_t* host;
  site_t* site;
} fixture_t;

static inline int site_set_up(void** state) {
  fixture_t* f = calloc(1, sizeof(*f));
  void* host;

  f->site = calloc(1, sizeof(*f->site));
  pthread_mutex_init(&f->site->mutex, NULL);
  if (host_set_up(&host) != 0)
    return -1;
  f->host = host;
  pthread_mutex_lock(&f->host->server->mutex);
  f->host->server->serve = site_serve;
  f->host->server->serve_arg = f->site;
  pthread_mutex_unlock(&f->host->server->mutex);
  *state = f;
  return 0;
}

static inline int site_tear_down(void** state) {
  fixture_t* f = *state;
  void* host = f->host;
  int err = host_tear_down(&host);

  pthread_mutex_destroy(&f->site->mutex);
  free(f->site);
  free(f);
  return err;
}

#define SITE_TEST(name)                                                        \
  cmocka_unit_test_setup_teardown(name, site_set_up, site_tear_down)

/* Adds the page, or changes it. */
static inline void site_put(fixture_t* f, page_t page) {
  site_t* site = f->site;
  size_t i = 0;

  if (page.status == NULL)
    page.status = "200 OK";
  if (page.fields == NULL)
    page.fields = "";
  if (page.body == NULL)
    page.body = "";
  pthread_mutex_lock(&site->mutex);
  while (i < site->count && strcmp(site->pages[i].path, page.path) != 0)
    i++;
  assert_true(i < SITE_PAGES);
  site->pages[i] = page;
  if (i == site->count)
    site->count++;
  pthread_mutex_unlock(&site->mutex);
}

/* How many requests have come. */
static inline unsigned site_asked(fixture_t* f) {
  unsigned asked;

  pthread_mutex_lock(&f->site->mutex);
  asked = f->site->asked;
  pthread_mutex_unlock(&f->site->mutex);
  return asked;
}

/* The newest request has these words in its head. */
static inline bool site_saw(fixture_t* f, const char* words) {
  bool saw;

  pthread_mutex_lock(&f->site->mutex);
  saw =
      f->site->asked > 0 &&
      strstr(f->site->heads[(f->site->asked - 1) % SITE_HEADS], words) != NULL;
  pthread_mutex_unlock(&f->site->mutex);
  return saw;
}

/* A GET with that mode; `options` NULL: the defaults. */
static inline nt_id_t site_start(fixture_t* f, const char* path,
                                 nt_cache_t mode,
                                 const nt_request_options_t* options) {
  nt_request_options_t own;

  nt_request_options_init(&own);
  if (options != NULL)
    own = *options;
  own.cache = mode;
  own.flags |= NT_REQUEST_PROFILE;
  return host_start(f->host, path, &own);
}

/* What came of it, "status body verdict", or the name of its error; in one
 * place, so that a test says what it expects in one line. */
static inline const char* site_end(fixture_t* f, nt_id_t id) {
  static char text[512];
  nt_event_t ev;

  host_end(f->host, id, &ev);
  if (ev.error != 0)
    snprintf(text, sizeof(text), "%s", nt_error_name(ev.error));
  else
    snprintf(text, sizeof(text), "%d %.*s %s", ev.status,
             ev.size < 64 ? (int) ev.size : 64,
             ev.size > 0 ? (const char*) ev.data : "", ev.profile->cache);
  return text;
}

static inline const char* site_get(fixture_t* f, const char* path,
                                   nt_cache_t mode) {
  return site_end(f, site_start(f, path, mode, NULL));
}

#endif
