/* What the test server serves for downloads and uploads: one file with an ETag
 * and ranges, as well or as badly as a test asks for; and an address that takes
 * uploads, and answers early, late, or elsewhere. */
#ifndef NT_TEST_FILES_H
#define NT_TEST_FILES_H

#include "folder.h"
#include "host.h"

enum {
  FILES_BLOCK = 16384,
  FILES_KEPT = 1 << 20 /* of an upload, for a test to look at */
};

enum { /* flags */
  FILES_NO_ETAG = 1 << 0,
  FILES_WEAK_ETAG = 1 << 1,
  FILES_MODIFIED = 1 << 2,     /* a Last-Modified of long ago */
  FILES_NO_RANGES = 1 << 3,    /* 200 to everything */
  FILES_ALWAYS_416 = 1 << 4,   /* to every Range */
  FILES_WRONG_RANGE = 1 << 5,  /* a 206 that begins elsewhere */
  FILES_IGNORE_IF = 1 << 6,    /* a 206 whatever If-Range says */
  FILES_NO_LENGTH = 1 << 7,    /* chunked */
  FILES_GZIP = 1 << 8,         /* says that it is encoded */
  FILES_EARLY_413 = 1 << 9,    /* to an upload, before its body */
  FILES_EARLY_CLOSE = 1 << 10, /* and closes at once */
  FILES_NO_CONTINUE = 1 << 11, /* no 100 */
  FILES_417 = 1 << 12,         /* refuses every Expect */
  FILES_MOVED_EARLY = 1 << 13, /* 307 of /moved before the body */
  FILES_STATUS_503 = 1 << 14,
  FILES_SLOW_READER = 1 << 15, /* waits for server_release() half-way */
  FILES_HALF_413 = 1 << 16     /* after half of the body */
};

typedef struct files {
  pthread_mutex_t mutex; /* guards all that follows */
  unsigned flags;
  uint64_t size;
  unsigned version;    /* part of ETag and bytes */
  uint64_t cut_after;  /* bytes of a body, then the connection ends; 0: never */
  uint64_t hold_after; /* bytes, then it waits for server_release(); 0: never */
  const char* type;    /* Content-Type or NULL */

  unsigned gets, ranged, partial, posts; /* what came, and 206 answers */
  char head[8192];                       /* of the last request */
  uint64_t body_size;                    /* of the last upload that was whole */
  char body[FILES_KEPT + 1];
} files_t;

/* At most SERVER_BLOCK bytes of a version of the file. */
static inline const char* files_bytes(unsigned version, uint64_t offset) {
  return server_bytes(offset + (uint64_t) version * 7919);
}

static inline char files_byte(unsigned version, uint64_t offset) {
  return *files_bytes(version, offset);
}

/* A copy that a connection may look at without the mutex. */
typedef struct files_view {
  unsigned flags;
  unsigned version;
  uint64_t size, cut_after, hold_after;
  const char* type;
} files_view_t;

static inline files_view_t files_look(files_t* files) {
  files_view_t view;

  pthread_mutex_lock(&files->mutex);
  view.flags = files->flags;
  view.version = files->version;
  view.size = files->size;
  view.cut_after = files->cut_after;
  view.hold_after = files->hold_after;
  view.type = files->type;
  pthread_mutex_unlock(&files->mutex);
  return view;
}

/* ---- Reading ------------------------------------------------------------ */

/* Reads until the head is there; what came behind it stays in c->request. */
static inline char* files_read_head(connection_t* c) {
  char* end = NULL;

  while (end == NULL) {
    ssize_t n;

    if (c->size == SERVER_MAX_REQUEST)
      return NULL;
    n = recv(c->fd, c->request + c->size, SERVER_MAX_REQUEST - c->size, 0);
    if (n <= 0)
      return NULL;
    c->size += (size_t) n;
    c->request[c->size] = '\0';
    end = strstr(c->request, "\r\n\r\n");
  }
  end[2] = '\0';
  return end + 4;
}

/* The value of a field as the client of this test writes it, or NULL. */
static inline const char* files_field(const char* head, const char* name) {
  const char* line = strstr(head, name);

  return line == NULL ? NULL : line + strlen(name);
}

/* ---- Downloads ---------------------------------------------------------- */

static inline void files_etag(const files_view_t* view, char* out,
                              size_t size) {
  if (view->flags & FILES_NO_ETAG)
    out[0] = '\0';
  else
    snprintf(out, size, "%s\"v%u\"", view->flags & FILES_WEAK_ETAG ? "W/" : "",
             view->version);
}

/* Where to begin, if the range is to be honoured. */
static inline bool files_range(const files_view_t* view, const char* head,
                               uint64_t* first) {
  const char* range = files_field(head, "\r\nRange: bytes=");
  const char* condition = files_field(head, "\r\nIf-Range: ");
  char etag[64];

  if (range == NULL || (view->flags & FILES_NO_RANGES))
    return false;
  *first = strtoull(range, NULL, 10);
  files_etag(view, etag, sizeof(etag));
  if (condition == NULL || (view->flags & FILES_IGNORE_IF))
    return true;
  if (view->flags & FILES_MODIFIED)
    return strncmp(condition, "Sun, 06 Nov 1994 08:49:37 GMT\r\n", 31) == 0;
  return etag[0] != '\0' && strncmp(condition, etag, strlen(etag)) == 0;
}

static inline bool files_send_body(connection_t* c, const files_view_t* view,
                                   uint64_t first, uint64_t size) {
  char line[32];
  uint64_t done = 0;

  while (done < size) {
    uint64_t end = size;
    size_t n;

    if (view->hold_after > done && view->hold_after < end)
      end = view->hold_after;
    if (view->cut_after > done && view->cut_after < end)
      end = view->cut_after;
    n = end - done < SERVER_BLOCK ? (size_t) (end - done) : SERVER_BLOCK;
    snprintf(line, sizeof(line), "%zx\r\n", n);
    if (((view->flags & FILES_NO_LENGTH) && !connection_send_text(c, line)) ||
        !connection_send(c, files_bytes(view->version, first + done), n,
                         true) ||
        ((view->flags & FILES_NO_LENGTH) && !connection_send_text(c, "\r\n")))
      return false;
    done += n;
    if (done == view->cut_after)
      return false;
    if (done == view->hold_after && !connection_hold(c))
      return false;
  }
  return !(view->flags & FILES_NO_LENGTH) ||
         connection_send_text(c, "0\r\n\r\n");
}

static inline bool files_send_head(connection_t* c, const files_view_t* view,
                                   bool partial, uint64_t first,
                                   uint64_t size) {
  char head[1024];
  char etag[64];
  uint64_t said = first + (view->flags & FILES_WRONG_RANGE ? 1 : 0);
  int n;

  files_etag(view, etag, sizeof(etag));
  n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n",
               partial                          ? "206 Partial Content"
               : view->flags & FILES_STATUS_503 ? "503 Busy"
                                                : "200 OK");
  if (etag[0] != '\0')
    n += snprintf(head + n, sizeof(head) - n, "ETag: %s\r\n", etag);
  if (view->flags & FILES_MODIFIED)
    n += snprintf(head + n, sizeof(head) - n,
                  "Date: Sun, 06 Nov 1994 09:49:37 GMT\r\n"
                  "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
  if (view->type != NULL)
    n += snprintf(head + n, sizeof(head) - n, "Content-Type: %s\r\n",
                  view->type);
  if (view->flags & FILES_GZIP)
    n += snprintf(head + n, sizeof(head) - n, "Content-Encoding: gzip\r\n");
  if (partial)
    n += snprintf(
        head + n, sizeof(head) - n, "Content-Range: bytes %llu-%llu/%llu\r\n",
        (unsigned long long) said, (unsigned long long) (said + size - 1),
        (unsigned long long) (first + size));
  if (view->flags & FILES_NO_LENGTH)
    snprintf(head + n, sizeof(head) - n, "Transfer-Encoding: chunked\r\n\r\n");
  else
    snprintf(head + n, sizeof(head) - n, "Content-Length: %llu\r\n\r\n",
             (unsigned long long) size);
  return connection_send_text(c, head);
}

static inline bool files_get(connection_t* c, files_t* files,
                             const char* head) {
  files_view_t view = files_look(files);
  uint64_t first = 0;
  bool partial = files_range(&view, head, &first);
  bool refused =
      partial && (first >= view.size || (view.flags & FILES_ALWAYS_416));

  pthread_mutex_lock(&files->mutex);
  files->gets++;
  files->ranged += strstr(head, "\r\nRange: ") != NULL;
  files->partial += partial && !refused;
  pthread_mutex_unlock(&files->mutex);
  if (refused)
    return connection_answer(c, "416 Range Not Satisfiable", "", "no", 2);
  if (!partial)
    first = 0;
  return files_send_head(c, &view, partial, first, view.size - first) &&
         files_send_body(c, &view, first, view.size - first);
}

/* ---- Uploads ------------------------------------------------------------ */

/* Takes the body in; the first bytes of it are at `rest`. */
static inline bool files_take_body(connection_t* c, files_t* files,
                                   const files_view_t* view, const char* rest,
                                   uint64_t size) {
  size_t had = c->size - (size_t) (rest - c->request);
  char block[FILES_BLOCK];
  uint64_t done = 0;
  bool held = !(view->flags & FILES_SLOW_READER);

  while (done < size) {
    size_t n = had;

    if (had > 0) {
      memcpy(block, rest, had < sizeof(block) ? had : sizeof(block));
      n = had < sizeof(block) ? had : sizeof(block);
      rest += n;
      had -= n;
    } else {
      ssize_t got = recv(c->fd, block, sizeof(block), 0);

      if (got <= 0)
        return false;
      n = (size_t) got;
    }
    pthread_mutex_lock(&files->mutex);
    if (done < FILES_KEPT)
      memcpy(files->body + done, block,
             n < FILES_KEPT - done ? n : (size_t) (FILES_KEPT - done));
    pthread_mutex_unlock(&files->mutex);
    done += n;
    if (!held && done >= size / 2) {
      held = true;
      if (!connection_hold(c))
        return false;
    }
  }
  pthread_mutex_lock(&files->mutex);
  files->body_size = done;
  files->body[done < FILES_KEPT ? done : FILES_KEPT] = '\0';
  pthread_mutex_unlock(&files->mutex);
  return done == size;
}

static inline uint64_t files_length(const char* head) {
  const char* length = files_field(head, "\r\nContent-Length: ");

  return length == NULL ? 0 : strtoull(length, NULL, 10);
}

static inline bool files_skip_body(connection_t* c, files_t* files,
                                   const char* head, const char* rest) {
  files_view_t view = files_look(files);

  return files_take_body(c, files, &view, rest, files_length(head));
}

static inline bool files_expect(connection_t* c, const files_view_t* view,
                                const char* head, bool* refused) {
  bool expects = strstr(head, "\r\nExpect: 100-continue\r\n") != NULL;

  *refused = expects && (view->flags & FILES_417);
  if (*refused)
    return connection_answer(c, "417 Expectation Failed", "", "no", 2);
  if (expects && !(view->flags & FILES_NO_CONTINUE))
    return connection_send_text(c, "HTTP/1.1 100 Continue\r\n\r\n");
  return true;
}

static inline bool files_answer_early(connection_t* c,
                                      const files_view_t* view) {
  connection_answer(c, "413 Content Too Large", "Connection: close\r\n",
                    "too large", 9);
  if (view->flags & FILES_EARLY_CLOSE)
    return false;
  /* As good servers do: the client gets the time to read the answer. */
  shutdown(c->fd, SHUT_WR);
  while (recv(c->fd, c->request, SERVER_MAX_REQUEST, 0) > 0)
    ;
  return false;
}

static inline bool files_post(connection_t* c, files_t* files, char* path,
                              const char* head, const char* rest) {
  uint64_t size = files_length(head);
  files_view_t view = files_look(files);
  bool moved = strcmp(path, "/moved") == 0;
  bool refused;

  pthread_mutex_lock(&files->mutex);
  files->posts++;
  pthread_mutex_unlock(&files->mutex);
  if (view.flags & FILES_HALF_413)
    files_take_body(c, files, &view, rest, size / 2);
  if (view.flags & (FILES_EARLY_413 | FILES_HALF_413))
    return files_answer_early(c, &view);
  if (moved && (view.flags & FILES_MOVED_EARLY)) {
    connection_answer(c, "307 Moved", "Location: /upload\r\n", "", 0);
    return false;
  }
  if (!files_expect(c, &view, head, &refused))
    return false;
  if (refused)
    return true;
  if (!files_take_body(c, files, &view, rest, size))
    return false;
  if (moved)
    return connection_answer(c, "307 Moved", "Location: /upload\r\n", "", 0);
  return connection_answer(c, "200 OK", "", "taken", 5);
}

/* ---- The connection ----------------------------------------------------- */

static inline void files_serve(connection_t* c, void* arg) {
  files_t* files = arg;
  char path[64];
  bool more = true;

  while (more) {
    char head[sizeof(files->head)];
    char* rest;

    c->size = 0;
    rest = files_read_head(c);
    if (rest == NULL || sscanf(c->request, "%*s %63s", path) != 1)
      return;
    connection_note(c, path);
    snprintf(head, sizeof(head), "%.*s", (int) sizeof(head) - 1, c->request);
    pthread_mutex_lock(&files->mutex);
    memcpy(files->head, head, sizeof(head));
    pthread_mutex_unlock(&files->mutex);
    if (strcmp(path, "/other") == 0)
      more = files_skip_body(c, files, head, rest) &&
             connection_answer(c, "302 Found", "Location: /file\r\n", "", 0);
    else if (strncmp(head, "POST", 4) == 0 || strncmp(head, "PUT", 3) == 0)
      more = files_post(c, files, path, head, rest);
    else
      more = files_get(c, files, head);
  }
}

/* ---- The test's side ---------------------------------------------------- */

typedef struct fixture {
  host_t* host;
  files_t* files;
  folder_t folder;
} fixture_t;

static inline void use_temp_dir(host_t* host, const char* path) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.temp_dir = path;
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
}

static inline int files_set_up(void** state) {
  fixture_t* f = calloc(1, sizeof(*f));
  void* host;

  f->files = calloc(1, sizeof(*f->files));
  pthread_mutex_init(&f->files->mutex, NULL);
  f->files->size = 100000;
  folder_make(&f->folder);
  if (host_set_up(&host) != 0)
    return -1;
  f->host = host;
  pthread_mutex_lock(&f->host->server->mutex);
  f->host->server->serve = files_serve;
  f->host->server->serve_arg = f->files;
  pthread_mutex_unlock(&f->host->server->mutex);
  use_temp_dir(f->host, f->folder.path);
  *state = f;
  return 0;
}

static inline int files_tear_down(void** state) {
  fixture_t* f = *state;
  void* host = f->host;
  int err = host_tear_down(&host);

  folder_remove(&f->folder);
  pthread_mutex_destroy(&f->files->mutex);
  free(f->files);
  free(f);
  return err;
}

#define FILES_TEST(name)                                                       \
  cmocka_unit_test_setup_teardown(name, files_set_up, files_tear_down)

static inline void files_set(fixture_t* f, unsigned flags, uint64_t size) {
  pthread_mutex_lock(&f->files->mutex);
  f->files->flags = flags;
  f->files->size = size;
  pthread_mutex_unlock(&f->files->mutex);
}

/* After so many bytes of a body the server ends, or waits. */
static inline void files_stop_at(fixture_t* f, uint64_t cut, uint64_t hold) {
  pthread_mutex_lock(&f->files->mutex);
  f->files->cut_after = cut;
  f->files->hold_after = hold;
  pthread_mutex_unlock(&f->files->mutex);
}

static inline unsigned files_count(fixture_t* f, const unsigned* counter) {
  unsigned count;

  pthread_mutex_lock(&f->files->mutex);
  count = *counter;
  pthread_mutex_unlock(&f->files->mutex);
  return count;
}

/* The last request had these words in its head. */
static inline bool files_saw(fixture_t* f, const char* words) {
  bool saw;

  pthread_mutex_lock(&f->files->mutex);
  saw = strstr(f->files->head, words) != NULL;
  pthread_mutex_unlock(&f->files->mutex);
  return saw;
}

#endif
