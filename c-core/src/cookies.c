/* The cookies of a context. Both threads use the jar, under a mutex that is
 * held for one look into it and never while something waits; the file is read
 * and written on the storage thread alone.
 *
 * A jar and its file are a *book*: when another file is named the book is
 * changed, and the old one is saved by whoever runs the loop. A transfer that
 * wants cookies waits until the book's file was read. What the host clears in
 * the meantime is remembered, and cleared in what the file had. */
#include "cookies.h"

#include <string.h>

#include "cookie_file.h"
#include "cookie_jar.h"
#include "cookie_list.h"
#include "storage.h"

enum {
  SAVE_MS = 1000 /* after the first change, so that many are one */
};

typedef struct book {
  nt__link_t link; /* among the old ones */
  nt__jar_t jar;
  char* path;        /* NULL: in memory */
  bool read;         /* there is nothing to wait for */
  bool unreadable;   /* so it is left alone */
  bool cleared_all;  /* before it was read: by the host, */
  nt__buf_t cleared; /* or the URLs of these hosts, each with a NUL */
} book_t;

/* What the storage thread does for a book; it may outlive the context. */
typedef struct errand {
  nt__job_t job;
  nt__cookies_t* owner; /* I/O thread; NULL once nobody wants to know */
  book_t* book;         /* the same */
  char* path;
  nt__buf_t bytes;
  int error; /* of libuv */
} errand_t;

struct nt__cookies {
  nt_context_t* ctx;
  uv_mutex_t mutex; /* guards the books, old and new */
  book_t* book;
  nt__fifo_t old;
  atomic_bool touched; /* there is something to read or to save */

  /* I/O thread. */
  nt__node_t waiting; /* transfers */
  nt__timer_t timer;
  errand_t* reading;
  errand_t* writing;
};

/* ---- Books --------------------------------------------------------------- */

static void free_book(book_t* book) {
  if (book == NULL)
    return;
  nt__jar_free(&book->jar);
  nt__buf_free(&book->cleared);
  nt__free(book->path);
  nt__free(book);
}

static book_t* new_book(const char* path) {
  book_t* book = nt__calloc(sizeof(*book));

  if (book == NULL)
    return NULL;
  nt__jar_init(&book->jar);
  nt__buf_init(&book->cleared, 0);
  book->read = path == NULL;
  if (path == NULL)
    return book;
  book->path = nt__strdup(path);
  if (book->path == NULL) {
    free_book(book);
    return NULL;
  }
  return book;
}

static void touch(nt__cookies_t* cookies) {
  atomic_store(&cookies->touched, true);
}

/* ---- The host: open, change, close --------------------------------------- */

static void on_due(nt__timer_t* timer);

int nt__cookies_open(nt_context_t* ctx) {
  nt__cookies_t* cookies = nt__calloc(sizeof(*cookies));

  if (cookies == NULL)
    return NT_E_NOMEM;
  cookies->ctx = ctx;
  cookies->timer.on_due = on_due;
  nt__list_init(&cookies->waiting);
  cookies->book = new_book(NULL);
  if (cookies->book == NULL) {
    nt__free(cookies);
    return NT_E_NOMEM;
  }
  if (uv_mutex_init(&cookies->mutex) != 0) {
    free_book(cookies->book);
    nt__free(cookies);
    return NT_E_SYSTEM;
  }
  ctx->cookies = cookies;
  return 0;
}

void nt__cookies_free(nt__cookies_t* cookies) {
  nt__link_t* link;

  if (cookies == NULL)
    return;
  while ((link = nt__fifo_shift(&cookies->old)) != NULL)
    free_book(nt__container_of(link, book_t, link));
  free_book(cookies->book);
  uv_mutex_destroy(&cookies->mutex);
  nt__free(cookies);
}

static bool is_to_be_saved(const book_t* book) {
  return book->path != NULL && book->read && !book->unreadable &&
         book->jar.changed;
}

static bool is_path(const char* own, const char* path) {
  if (own == NULL || path == NULL)
    return own == path;
  return strcmp(own, path) == 0;
}

/* What was set before there was a file goes into it. */
static int give_file(book_t* book, const char* path) {
  char* copy = nt__strdup(path);

  if (copy == NULL)
    return NT_E_NOMEM;
  book->path = copy;
  book->read = false;
  return 0;
}

static int change_book(nt__cookies_t* cookies, const char* path) {
  book_t* book = new_book(path);

  if (book == NULL)
    return NT_E_NOMEM;
  nt__fifo_push(&cookies->old, &cookies->book->link);
  cookies->book = book;
  return 0;
}

int nt__cookies_use(nt__cookies_t* cookies, const char* path) {
  int err = 0;

  uv_mutex_lock(&cookies->mutex);
  if (!is_path(cookies->book->path, path)) {
    if (cookies->book->path == NULL)
      err = give_file(cookies->book, path);
    else
      err = change_book(cookies, path);
    touch(cookies);
  }
  uv_mutex_unlock(&cookies->mutex);
  return err;
}

/* ---- The storage thread -------------------------------------------------- */

static errand_t* new_errand(nt__cookies_t* cookies, const char* path) {
  errand_t* errand = nt__calloc(sizeof(*errand));

  if (errand == NULL)
    return NULL;
  errand->owner = cookies;
  errand->path = nt__strdup(path);
  nt__buf_init(&errand->bytes, NT__JAR_FILE_MAX);
  if (errand->path != NULL)
    return errand;
  nt__free(errand);
  return NULL;
}

static void free_errand(errand_t* errand) {
  if (errand->bytes.data != NULL)
    nt__wipe(errand->bytes.data, errand->bytes.size);
  nt__buf_free(&errand->bytes);
  nt__free(errand->path);
  nt__free(errand);
}

static void run_read(nt__job_t* job, nt__files_t* files) {
  errand_t* errand = nt__container_of(job, errand_t, job);

  (void) files;
  errand->error = nt__cookie_file_read(errand->path, &errand->bytes);
}

static void run_write(nt__job_t* job, nt__files_t* files) {
  errand_t* errand = nt__container_of(job, errand_t, job);

  (void) files;
  errand->error = nt__cookie_file_save(errand->path, &errand->bytes);
}

/* ---- Reading ------------------------------------------------------------- */

static void clear_host(nt__jar_t* jar, const char* url);

/* What the host has cleared is not to come back from the file, and what it or
 * an answer has set since is newer. */
static int read_book(book_t* book, const nt__buf_t* bytes) {
  int64_t now = nt__unix_ms();
  nt__jar_t jar;
  nt__buf_t text;
  const char* url;
  int err;

  if (book->cleared_all)
    return 0;
  nt__jar_init(&jar);
  nt__buf_init(&text, 0);
  err = nt__jar_read(&jar, bytes->data, bytes->size, now);
  for (url = book->cleared.data; err == 0 && book->cleared.size > 0 &&
                                 url < book->cleared.data + book->cleared.size;
       url += strlen(url) + 1)
    clear_host(&jar, url);
  if (err == 0)
    err = nt__jar_write(&jar, now, &text);
  if (err == 0)
    err = nt__jar_read(&book->jar, text.data, text.size, now);
  nt__jar_free(&jar);
  nt__buf_free(&text);
  return err;
}

/* Whether there is anything that its file does not have. */
static bool is_changed(const book_t* book) {
  return book->jar.changed || book->cleared_all || book->cleared.size > 0;
}

static void wake_waiting(nt__cookies_t* cookies) {
  nt__node_t* node;

  while ((node = nt__list_shift(&cookies->waiting)) != NULL)
    nt__transfer_proceed(nt__container_of(node, nt__transfer_t, node));
}

/* Under the mutex. */
static void finish_book(book_t* book, int error, const nt__buf_t* bytes) {
  bool changed = is_changed(book);

  if (error == 0 && bytes != NULL && bytes->size > 0)
    error = read_book(book, bytes);
  book->read = true;
  book->unreadable = error != 0;
  book->jar.changed = changed;
  nt__buf_free(&book->cleared);
}

static void on_read(nt__job_t* job) {
  errand_t* errand = nt__container_of(job, errand_t, job);
  nt__cookies_t* cookies = errand->owner;

  if (cookies != NULL) {
    cookies->reading = NULL;
    uv_mutex_lock(&cookies->mutex);
    if (errand->book != NULL)
      finish_book(errand->book, errand->error, &errand->bytes);
    uv_mutex_unlock(&cookies->mutex);
    touch(cookies);
    wake_waiting(cookies);
  }
  free_errand(errand);
}

/* Under the mutex. False: it cannot be done, and the book goes without. */
static bool begin_reading(nt__cookies_t* cookies, book_t* book) {
  errand_t* errand;

  if (nt__storage_open(cookies->ctx) != 0)
    return false;
  errand = new_errand(cookies, book->path);
  if (errand == NULL)
    return false;
  errand->book = book;
  errand->job.run = run_read;
  errand->job.done = on_read;
  cookies->reading = errand;
  nt__storage_post(cookies->ctx, &errand->job);
  return true;
}

bool nt__cookies_wait(nt__transfer_t* t) {
  nt__cookies_t* cookies = nt__transfer_context(t)->cookies;
  bool ready;

  if ((t->flags & (NT_REQUEST_COOKIES_SEND | NT_REQUEST_COOKIES_STORE)) == 0)
    return false;
  uv_mutex_lock(&cookies->mutex);
  ready = cookies->book->read;
  uv_mutex_unlock(&cookies->mutex);
  if (!ready)
    nt__list_append(&cookies->waiting, &t->node);
  return !ready;
}

/* ---- Saving -------------------------------------------------------------- */

/* What could not be saved is saved with the next change, or at the end. */
static void on_written(nt__job_t* job) {
  errand_t* errand = nt__container_of(job, errand_t, job);
  nt__cookies_t* cookies = errand->owner;

  if (cookies != NULL) {
    cookies->writing = NULL;
    uv_mutex_lock(&cookies->mutex);
    if (errand->error != 0 && errand->book == cookies->book)
      cookies->book->jar.changed = true;
    uv_mutex_unlock(&cookies->mutex);
    if (errand->error == 0)
      touch(cookies);
  }
  free_errand(errand);
}

/* Under the mutex. */
static errand_t* begin_writing(nt__cookies_t* cookies, book_t* book) {
  errand_t* errand;

  if (!is_to_be_saved(book) || nt__storage_open(cookies->ctx) != 0)
    return NULL;
  errand = new_errand(cookies, book->path);
  if (errand == NULL)
    return NULL;
  if (nt__jar_write(&book->jar, nt__unix_ms(), &errand->bytes) != 0) {
    free_errand(errand);
    return NULL;
  }
  book->jar.changed = false;
  errand->book = book;
  errand->job.run = run_write;
  errand->job.done = on_written;
  nt__storage_post(cookies->ctx, &errand->job);
  return errand;
}

static void on_due(nt__timer_t* timer) {
  nt__cookies_t* cookies = nt__container_of(timer, nt__cookies_t, timer);

  if (cookies->writing != NULL)
    return; /* on_written() looks again */
  uv_mutex_lock(&cookies->mutex);
  cookies->writing = begin_writing(cookies, cookies->book);
  uv_mutex_unlock(&cookies->mutex);
}

/* One that ends before its file was read: the errand has it to itself. */
static void run_merge(nt__job_t* job, nt__files_t* files) {
  errand_t* errand = nt__container_of(job, errand_t, job);
  book_t* book = errand->book;

  run_read(job, files);
  finish_book(book, errand->error, &errand->bytes);
  errand->bytes.size = 0;
  if (is_to_be_saved(book) &&
      nt__jar_write(&book->jar, nt__unix_ms(), &errand->bytes) == 0)
    run_write(job, files);
}

static void on_merged(nt__job_t* job) {
  errand_t* errand = nt__container_of(job, errand_t, job);

  free_book(errand->book);
  free_errand(errand);
}

/* True when the book is the errand's now. */
static bool begin_merging(nt__cookies_t* cookies, book_t* book) {
  errand_t* errand;

  if (book->read || !is_changed(book) || nt__storage_open(cookies->ctx) != 0)
    return false;
  errand = new_errand(cookies, book->path);
  if (errand == NULL)
    return false;
  errand->book = book;
  errand->job.run = run_merge;
  errand->job.done = on_merged;
  nt__storage_post(cookies->ctx, &errand->job);
  return true;
}

/* Under the mutex. Takes the book, and its jobs go on without it. */
static void close_book(nt__cookies_t* cookies, book_t* book) {
  errand_t* errand = begin_writing(cookies, book);

  if (errand != NULL)
    errand->owner = NULL;
  if (cookies->reading != NULL && cookies->reading->book == book)
    cookies->reading->book = NULL;
  if (cookies->writing != NULL && cookies->writing->book == book)
    cookies->writing->book = NULL;
  if (!begin_merging(cookies, book))
    free_book(book);
}

static void close_all_old(nt__cookies_t* cookies) {
  nt__link_t* link;

  while ((link = nt__fifo_shift(&cookies->old)) != NULL)
    close_book(cookies, nt__container_of(link, book_t, link));
}

bool nt__cookies_pending(const nt__cookies_t* cookies) {
  return atomic_load(&cookies->touched);
}

void nt__cookies_run(nt__cookies_t* cookies) {
  nt__timers_t* timers = &cookies->ctx->io.timers;
  bool gave_up = false;
  book_t* book;

  if (!nt__cookies_pending(cookies))
    return;
  atomic_store(&cookies->touched, false);
  uv_mutex_lock(&cookies->mutex);
  close_all_old(cookies);
  book = cookies->book;
  if (!book->read && cookies->reading == NULL &&
      !begin_reading(cookies, book)) {
    finish_book(book, NT_E_NOMEM, NULL);
    gave_up = true;
  }
  if (is_to_be_saved(book) && cookies->timer.index == 0)
    nt__timer_set(timers, &cookies->timer, nt__now(cookies->ctx) + SAVE_MS);
  uv_mutex_unlock(&cookies->mutex);
  if (gave_up)
    wake_waiting(cookies);
}

void nt__cookies_stop(nt__cookies_t* cookies) {
  nt__timer_clear(&cookies->ctx->io.timers, &cookies->timer);
  uv_mutex_lock(&cookies->mutex);
  close_all_old(cookies);
  close_book(cookies, cookies->book);
  cookies->book = NULL;
  uv_mutex_unlock(&cookies->mutex);
  if (cookies->reading != NULL)
    cookies->reading->owner = NULL;
  if (cookies->writing != NULL)
    cookies->writing->owner = NULL;
  cookies->reading = cookies->writing = NULL;
}

/* ---- Transfers ----------------------------------------------------------- */

static bool place_of(nt__cookie_place_t* out, const nt__url_t* url) {
  return nt__cookie_place(out, url->text, url->host, url->literal, url->secure);
}

/* What an origin is that cannot be read nothing has in common with. */
static bool is_of_origin(const nt__transfer_t* t) {
  nt__url_t origin;
  bool same;

  if ((t->flags & NT_REQUEST_SAME_ORIGIN) == 0)
    return true;
  if (t->origin == NULL || nt__url_parse(&origin, NULL, t->origin) != 0)
    return false;
  same = nt__url_same_origin(&origin, &t->url);
  nt__url_free(&origin);
  return same;
}

/* An answer to TRACE shows what was sent. */
static bool may(const nt__transfer_t* t, uint32_t flag,
                nt__cookie_place_t* place) {
  return (t->flags & flag) != 0 && !nt__transfer_is_method(t, "TRACE") &&
         !nt__transfer_is_method(t, "CONNECT") && place_of(place, &t->url) &&
         is_of_origin(t);
}

int nt__cookies_pick(nt__transfer_t* t, const char* own, nt__buf_t* out) {
  nt__cookies_t* cookies = nt__transfer_context(t)->cookies;
  nt__cookie_place_t place;
  int err;

  if (!may(t, NT_REQUEST_COOKIES_SEND, &place))
    return 0;
  uv_mutex_lock(&cookies->mutex);
  err = nt__jar_pick(&cookies->book->jar, &place, own, nt__unix_ms(), out);
  uv_mutex_unlock(&cookies->mutex);
  return err;
}

/* A cookie for which there is no memory is one that was refused. */
void nt__cookies_store(nt__transfer_t* t, const nt__headers_t* headers) {
  nt__cookies_t* cookies = nt__transfer_context(t)->cookies;
  nt_headers_t view = nt__headers_view(headers);
  nt__cookie_place_t place;
  const char* name;
  const char* value;
  size_t cursor = 0;

  if ((t->flags & NT_REQUEST_COOKIES_STORE) == 0 ||
      nt__headers_find(headers, "set-cookie") == NULL ||
      !may(t, NT_REQUEST_COOKIES_STORE, &place))
    return;
  uv_mutex_lock(&cookies->mutex);
  while (nt_headers_next(&view, &cursor, &name, &value))
    if (nt__header_is(name, "set-cookie"))
      nt__jar_store(&cookies->book->jar, &place, value, strlen(value),
                    nt__unix_ms());
  uv_mutex_unlock(&cookies->mutex);
  touch(cookies);
}

/* ---- The host: set, clear, list ------------------------------------------ */

/* An http or https URL, and what of it the jar wants to know, which lies in
 * it. 0, NT_E_URL, NT_E_NOMEM. */
static int parse(const char* text, nt__url_t* url, nt__cookie_place_t* place) {
  int err = text == NULL ? NT_E_URL : nt__url_parse(url, NULL, text);

  if (err)
    return err;
  if (url->http && place_of(place, url))
    return 0;
  nt__url_free(url);
  return NT_E_URL;
}

static void clear_host(nt__jar_t* jar, const char* text) {
  nt__cookie_place_t place;
  nt__url_t url;

  if (parse(text, &url, &place) != 0)
    return;
  nt__jar_clear(jar, &place);
  nt__url_free(&url);
}

static void note_touch(nt__cookies_t* cookies) {
  touch(cookies);
  nt__io_wake(cookies->ctx);
}

int nt_cookies_set(nt_context_t* ctx, const char* text, const char* line) {
  nt__cookies_t* cookies = ctx->cookies;
  nt__cookie_place_t place;
  nt__url_t url;
  int err;

  if (atomic_load(&ctx->forked))
    return NT_E_FORKED;
  if (line == NULL || nt_header_check("Set-Cookie", line) != 0)
    return NT_E_INVALID;
  err = parse(text, &url, &place);
  if (err)
    return err;
  uv_mutex_lock(&cookies->mutex);
  err = nt__jar_store(&cookies->book->jar, &place, line, strlen(line),
                      nt__unix_ms());
  uv_mutex_unlock(&cookies->mutex);
  nt__url_free(&url);
  note_touch(cookies);
  return err;
}

/* For what the file will have. */
static int note_cleared(book_t* book, const char* url) {
  if (book->read)
    return 0;
  if (url != NULL)
    return nt__buf_append(&book->cleared, url, strlen(url) + 1);
  book->cleared_all = true;
  return 0;
}

/* What a call of the host is about. */
typedef struct selection {
  nt__url_t url;
  nt__cookie_place_t place;
  const nt__cookie_place_t* which; /* NULL: all */
} selection_t;

/* To be freed by nt__url_free(&out->url), without an error. */
static int make_selection(const nt_context_t* ctx, const char* text,
                          selection_t* out) {
  memset(out, 0, sizeof(*out));
  if (atomic_load(&ctx->forked))
    return NT_E_FORKED;
  if (text == NULL)
    return 0;
  out->which = &out->place;
  return parse(text, &out->url, &out->place);
}

int nt_cookies_clear(nt_context_t* ctx, const char* text) {
  nt__cookies_t* cookies = ctx->cookies;
  selection_t selection;
  int err = make_selection(ctx, text, &selection);

  if (err)
    return err;
  uv_mutex_lock(&cookies->mutex);
  err = note_cleared(cookies->book, selection.url.text);
  if (err == 0)
    nt__jar_clear(&cookies->book->jar, selection.which);
  uv_mutex_unlock(&cookies->mutex);
  nt__url_free(&selection.url);
  note_touch(cookies);
  return err;
}

int nt_cookies_list(nt_context_t* ctx, const char* text, nt_cookies_t** out) {
  nt__cookies_t* cookies = ctx->cookies;
  selection_t selection;
  int err = make_selection(ctx, text, &selection);

  *out = NULL;
  if (err)
    return err;
  uv_mutex_lock(&cookies->mutex);
  *out = nt__cookie_list(&cookies->book->jar, selection.which, nt__unix_ms());
  uv_mutex_unlock(&cookies->mutex);
  nt__url_free(&selection.url);
  return *out == NULL ? NT_E_NOMEM : 0;
}

int nt_cookies_state(nt_context_t* ctx) {
  nt__cookies_t* cookies = ctx->cookies;
  int state = 0;

  if (atomic_load(&ctx->forked))
    return NT_E_FORKED;
  uv_mutex_lock(&cookies->mutex);
  if (!cookies->book->read)
    state = NT_E_STATE;
  else if (cookies->book->unreadable)
    state = NT_E_FILE;
  uv_mutex_unlock(&cookies->mutex);
  return state;
}
