/* The HTTP cache between a transfer and the network: what is done with a hop
 * and with its answer. What HTTP says of it is in cache_rules.c, what is stored
 * in cache_store.c, and how it is handed out in cache_play.c.
 *
 * Each hop of a GET that uses the cache has a *visit*, from before its name is
 * looked up until it is over. Bodies are not copied: what an owner has gathered
 * becomes a body that the event and the store share. I/O thread, but for the
 * host's call at the end. */
#include "cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "fields.h"

/* ---- Of a context -------------------------------------------------------- */

int nt__cache_open(nt_context_t* ctx) {
  nt__cache_t* cache = nt__calloc(sizeof(*cache));

  ctx->io.cache = cache;
  if (cache == NULL)
    return NT_E_NOMEM;
  cache->ctx = ctx;
  nt__list_init(&cache->visits);
  nt__list_init(&cache->renewals);
  return 0;
}

void nt__cache_stop(nt__cache_t* cache) {
  if (cache == NULL)
    return;
  nt__renewals_end(cache);
  nt__cache_store_close(cache->store);
  cache->store = NULL;
}

void nt__cache_free(nt__cache_t* cache) {
  nt__free(cache);
}

void nt__cache_configure(nt__cache_t* cache) {
  nt__renewals_end(cache);
  if (cache->store != NULL)
    nt__cache_store_configure(cache->store);
}

static nt__cache_t* cache_of(const nt__transfer_t* t) {
  return nt__transfer_context(t)->io.cache;
}

static nt__cache_store_t* need_store(nt__cache_t* cache) {
  if (cache->store == NULL &&
      nt__cache_store_open(cache->ctx, &cache->store) != 0)
    cache->store = NULL;
  return cache->store;
}

/* ---- What is no longer valid --------------------------------------------- */

char* nt__cache_key(const char* url) {
  size_t size = strcspn(url, "#");
  char* key = nt__malloc(size + 1);

  if (key == NULL)
    return NULL;
  memcpy(key, url, size);
  key[size] = '\0';
  return key;
}

void nt__cache_clear(nt__cache_t* cache, const char* key) {
  nt__node_t* node;

  for (node = cache->visits.next; node != &cache->visits; node = node->next) {
    nt__visit_t* visit = nt__container_of(node, nt__visit_t, node);

    if (key == NULL || strcmp(visit->key, key) == 0)
      visit->spoiled = true;
  }
  /* Without a folder there is nothing that was stored before it was opened. */
  if (cache->store == NULL && cache->ctx->io.policy->values.cache_dir == NULL)
    return;
  if (need_store(cache) != NULL)
    nt__cache_remove(cache->store, key);
}

static void clear_url(nt__cache_t* cache, const char* url) {
  char* key = nt__cache_key(url);

  if (key != NULL)
    nt__cache_clear(cache, key);
  nt__free(key);
}

/* What another header names, if it is of the same origin. */
static void clear_named(nt__transfer_t* t, const char* name) {
  const char* value = nt__headers_find(&t->headers, name);
  nt__url_t url;

  if (value == NULL || nt__url_parse(&url, t->url.text, value) != 0)
    return;
  if (nt__url_same_origin(&url, &t->url))
    clear_url(cache_of(t), url.text);
  nt__url_free(&url);
}

void nt__cache_hear(nt__transfer_t* t) {
  if (!nt__cache_invalidates(t->method, t->status))
    return;
  clear_url(cache_of(t), t->url.text);
  clear_named(t, "location");
  clear_named(t, "content-location");
}

static nt_headers_t view_of(const nt__buf_t* fields) {
  nt_headers_t view = { fields->data, fields->size, 0 };
  const char* name;
  const char* value;
  size_t cursor = 0;

  while (nt_headers_next(&view, &cursor, &name, &value))
    view.count++;
  return view;
}

/* ---- A visit ------------------------------------------------------------- */

static nt_headers_t fields_of(const nt__visit_t* visit) {
  return nt__headers_view(&visit->fields);
}

static bool is_head(const nt__transfer_t* t) {
  return nt__transfer_is_method(t, "HEAD");
}

static void free_visit(nt__visit_t* visit) {
  nt__cache_forget(&visit->wait);
  nt__cache_record_drop(visit->recorder);
  if (visit->answer != NULL)
    nt__answer_unref(visit->answer);
  nt__body_unref(visit->body);
  nt__headers_free(&visit->fields);
  nt__free(visit->own_key);
  nt__free(visit);
}

static int set_key(nt__visit_t* visit) {
  const char* url = visit->t->url.text;

  visit->key = url;
  if (strchr(url, '#') == NULL)
    return 0;
  visit->key = visit->own_key = nt__cache_key(url);
  return visit->key == NULL ? NT_E_NOMEM : 0;
}

/* What has a body is a GET in name alone. */
static bool may_concern(const nt__transfer_t* t) {
  return t->cache != NT_CACHE_NONE && !t->raw && !t->connects &&
         t->body_size == 0 && (nt__transfer_is_method(t, "GET") || is_head(t));
}

/* `*out` stays NULL for a hop that the cache does not concern. */
static int new_visit(nt__transfer_t* t, nt__visit_t** out) {
  nt__visit_t* visit = nt__calloc(sizeof(*visit));
  nt_headers_t fields;
  int err;

  if (visit == NULL)
    return NT_E_NOMEM;
  visit->t = t;
  visit->verdict = "";
  err = nt__buf_reserve(&visit->fields.bytes, 512);
  if (err == 0)
    err = nt__fields_list(t, &visit->fields);
  if (err == 0)
    err = set_key(visit);
  fields = fields_of(visit);
  if (err || !nt__cache_concerns("GET", &fields)) {
    free_visit(visit);
    return err;
  }
  nt__list_append(&cache_of(t)->visits, &visit->node);
  *out = visit;
  return 0;
}

void nt__visit_end(nt__transfer_t* t) {
  nt__visit_t* visit = t->visit;

  if (visit == NULL)
    return;
  t->visit = NULL;
  nt__list_remove(&visit->node);
  free_visit(visit);
}

/* ---- Finding ------------------------------------------------------------- */

/* Keeps the newest that matches. */
static void choose(nt__visit_t* visit) {
  nt_headers_t fields = fields_of(visit);
  size_t i;

  for (i = 0; i < visit->wait.count; i++) {
    nt__answer_t* answer = visit->wait.answers[i];

    if (visit->answer == NULL && !visit->spoiled &&
        nt__cache_matches(&answer->stored, &fields))
      visit->answer = answer;
    else
      nt__answer_unref(answer);
  }
}

static void judge(nt__visit_t* visit) {
  const nt__transfer_t* t = visit->t;
  nt_headers_t fields = fields_of(visit);

  visit->use = NT__CACHE_FETCH;
  if (is_head(t))
    return;
  visit->use =
      nt__cache_judge(visit->answer == NULL ? NULL : &visit->answer->stored,
                      t->cache, &fields, nt__unix_ms(), &visit->stale);
  if (visit->use != NT__CACHE_USE && visit->use != NT__CACHE_RENEW)
    return;
  visit->plays = true;
  visit->verdict = visit->stale ? "stale" : "hit";
}

static void on_loaded(nt__cache_wait_t* wait, int error);

/* A body that is larger than the owner takes is not even read. */
static bool is_wanted(const nt__visit_t* visit) {
  uint64_t max = nt__transfer_policy(visit->t)->response_max_bytes;
  uint64_t size = visit->answer->size;

  return size > 0 && !visit->t->renews &&
         (max == 0 || size <= max || !nt__transfer_gathers(visit->t));
}

/* What has to be there before anything is told. True when it is. */
static bool load(nt__visit_t* visit) {
  nt__cache_store_t* store = cache_of(visit->t)->store;
  nt__answer_t* answer = visit->answer;

  if (!is_wanted(visit))
    return true;
  if (answer->body != NULL) {
    visit->body = nt__body_ref(answer->body);
    return true;
  }
  memset(&visit->wait, 0, sizeof(visit->wait));
  visit->wait.on_done = on_loaded;
  visit->waits =
      !(nt__transfer_gathers(visit->t)
            ? nt__cache_load(store, answer, &visit->wait)
            : nt__cache_read(store, answer, 0, NT__PIECE_SIZE, &visit->wait));
  if (visit->waits)
    return false;
  visit->body = visit->wait.body;
  return true;
}

int nt__visit_give_up(nt__visit_t* visit) {
  visit->plays = visit->loaded = false;
  visit->reloads = true;
  visit->verdict = "";
  visit->use = NT__CACHE_FETCH;
  if (visit->failure != 0)
    return visit->failure;
  return visit->t->cache == NT_CACHE_ONLY ? NT_E_CACHE_MISS : 0;
}

/* 0, NT__WAIT, or why it cannot go on. */
static int prepare_playing(nt__visit_t* visit) {
  if (!visit->plays || visit->loaded)
    return 0;
  visit->loaded = true;
  if (!load(visit))
    return NT__WAIT;
  if (visit->body == NULL && is_wanted(visit))
    return nt__visit_give_up(visit);
  return 0;
}

static void on_loaded(nt__cache_wait_t* wait, int error) {
  nt__visit_t* visit = nt__container_of(wait, nt__visit_t, wait);
  int err = 0;

  visit->waits = false;
  visit->body = error ? NULL : wait->body;
  if (visit->body == NULL)
    err = nt__visit_give_up(visit);
  if (err)
    nt__transfer_fail(visit->t, err, NULL);
  else
    nt__transfer_proceed(visit->t);
}

static int judge_found(nt__visit_t* visit) {
  choose(visit);
  judge(visit);
  return visit->use == NT__CACHE_REFUSE ? NT_E_CACHE_MISS
                                        : prepare_playing(visit);
}

static void on_found(nt__cache_wait_t* wait, int error) {
  nt__visit_t* visit = nt__container_of(wait, nt__visit_t, wait);
  int err;

  (void) error; /* it is as if nothing were stored */
  visit->waits = false;
  err = judge_found(visit);
  if (err < 0)
    nt__transfer_fail(visit->t, err, NULL);
  else if (err == 0)
    nt__transfer_proceed(visit->t);
}

static int look(nt__visit_t* visit) {
  nt__cache_store_t* store = need_store(cache_of(visit->t));

  if (store != NULL) {
    visit->wait.on_done = on_found;
    visit->waits = !nt__cache_find(store, visit->key, &visit->wait);
    if (visit->waits)
      return NT__WAIT;
  }
  return judge_found(visit);
}

int nt__visit_begin(nt__transfer_t* t) {
  int err;

  if (t->visit != NULL)
    return t->visit->waits ? NT__WAIT : prepare_playing(t->visit);
  if (!may_concern(t))
    return 0;
  err = new_visit(t, &t->visit);
  if (err)
    return err;
  return t->visit == NULL ? 0 : look(t->visit);
}

bool nt__visit_plays(const nt__transfer_t* t) {
  return t->visit != NULL && t->visit->plays && !t->visit->waits;
}

/* ---- Asking -------------------------------------------------------------- */

int nt__visit_ask(nt__transfer_t* t, nt__buf_t* out) {
  const nt__visit_t* visit = t->visit;

  if (visit == NULL || visit->use != NT__CACHE_VALIDATE || visit->reloads)
    return 0;
  return nt__cache_validators(&visit->answer->stored, out);
}

/* The answer to HEAD tells of the stored one, too. */
static void hear_head(nt__visit_t* visit, const nt_headers_t* headers);

static bool covers(const nt__visit_t* visit, int status) {
  nt_headers_t fields = fields_of(visit);

  return visit->answer != NULL && !visit->reloads && !visit->t->renews &&
         !is_head(visit->t) &&
         nt__cache_covers_error(&visit->answer->stored, &fields, status,
                                nt__unix_ms());
}

static bool is_error(int status) {
  return status == 500 || (status >= 502 && status <= 504);
}

bool nt__visit_hides(nt__transfer_t* t) {
  nt__visit_t* visit = t->visit;
  nt_headers_t headers = nt__headers_view(&t->headers);

  if (visit == NULL)
    return false;
  visit->answered = nt__unix_ms();
  if (is_head(t)) {
    hear_head(visit, &headers);
    return false;
  }
  if (visit->use == NT__CACHE_VALIDATE && !visit->reloads && t->status == 304) {
    visit->confirmed = nt__cache_confirms(&visit->answer->stored, &headers);
    visit->denied = !visit->confirmed;
    return true;
  }
  visit->covered = is_error(t->status) && covers(visit, t->status);
  return visit->covered;
}

/* ---- Merging ------------------------------------------------------------- */

/* The stored answer with new headers in place of its own; NULL without
 * memory. */
static nt__answer_t* merge(const nt__visit_t* visit,
                           const nt_headers_t* headers) {
  nt__stored_t stored = visit->answer->stored;
  nt__answer_t* fresh = NULL;
  nt__buf_t merged;

  nt__buf_init(&merged, 0);
  if (nt__cache_merge(&stored, headers, &merged) == 0) {
    stored.asked = visit->t->profile.fetch_start;
    stored.answered = visit->answered;
    stored.headers = view_of(&merged);
    fresh = nt__answer_new(visit->answer->key, &stored);
  }
  nt__buf_free(&merged);
  return fresh;
}

/* Without memory, and when it is not to be stored any more, the old headers
 * have to do. */
static void renew(nt__visit_t* visit, const nt_headers_t* headers) {
  nt__answer_t* fresh = visit->spoiled ? NULL : merge(visit, headers);

  if (fresh == NULL)
    return;
  nt__cache_replace(cache_of(visit->t)->store, visit->answer, fresh);
  nt__answer_unref(visit->answer);
  visit->answer = fresh;
}

static void hear_head(nt__visit_t* visit, const nt_headers_t* headers) {
  if (visit->answer == NULL || visit->t->status != 200)
    return;
  if (nt__cache_head_confirms(&visit->answer->stored, headers))
    renew(visit, headers);
  else
    nt__cache_remove(cache_of(visit->t)->store, visit->key);
}

/* ---- Recording ----------------------------------------------------------- */

/* False for a body whose length says that it is too large. */
static bool has_room(const nt__transfer_t* t, const nt__cache_store_t* store) {
  const char* length = nt__headers_find(&t->headers, "content-length");

  return length == NULL ||
         nt__headers_find(&t->headers, "content-encoding") != NULL ||
         strtoull(length, NULL, 10) <= nt__cache_body_max(store);
}

typedef struct kept {
  nt__stored_t stored; /* points into these */
  nt__buf_t headers;
  nt__buf_t varying;
} kept_t;

static void free_kept(kept_t* kept) {
  nt__buf_free(&kept->headers);
  nt__buf_free(&kept->varying);
}

/* To be freed, whatever comes of it. */
static int keep(const nt__visit_t* visit, kept_t* out) {
  nt_headers_t headers = nt__headers_view(&visit->t->headers);
  nt_headers_t fields = fields_of(visit);
  int err;

  nt__buf_init(&out->headers, 0);
  nt__buf_init(&out->varying, 0);
  err = nt__cache_keep_headers(&headers, &out->headers);
  if (err == 0)
    err = nt__cache_keep_varying(&headers, &fields, &out->varying);
  out->stored.status = visit->t->status;
  out->stored.asked = visit->t->profile.fetch_start;
  out->stored.answered = visit->answered;
  out->stored.headers = view_of(&out->headers);
  out->stored.varying = view_of(&out->varying);
  return err;
}

static void open_recorder(nt__visit_t* visit) {
  kept_t kept;

  if (keep(visit, &kept) == 0)
    visit->recorder =
        nt__cache_record(cache_of(visit->t)->store, visit->key, &kept.stored);
  free_kept(&kept);
}

static bool may_record(const nt__visit_t* visit) {
  const nt__transfer_t* t = visit->t;
  const nt__cache_store_t* store = cache_of(t)->store;
  nt_headers_t headers = nt__headers_view(&t->headers);
  nt_headers_t fields = fields_of(visit);

  return store != NULL && !t->opaque && !visit->spoiled && !is_head(t) &&
         nt__cache_may_store(&fields, t->status, &headers) &&
         has_room(t, store);
}

void nt__visit_record(nt__transfer_t* t) {
  nt__visit_t* visit = t->visit;

  if (visit == NULL || !may_record(visit))
    return;
  visit->keeps = nt__transfer_gathers(t) && !t->following;
  if (!visit->keeps)
    open_recorder(visit);
}

static void on_ready(void* arg) {
  nt__transfer_resume(arg);
}

static void drop_recorder(nt__visit_t* visit) {
  nt__cache_record_drop(visit->recorder);
  visit->recorder = NULL;
}

/* What the owner did not take comes again, maybe in other pieces. */
int nt__visit_write(nt__transfer_t* t, const char* data, size_t size) {
  nt__visit_t* visit = t->visit;
  size_t known;
  int err;

  if (visit == NULL || visit->recorder == NULL)
    return 0;
  known = visit->ahead < size ? visit->ahead : size;
  if (known == size)
    return 0;
  err = nt__cache_record_write(visit->recorder, data + known, size - known,
                               on_ready, t);
  if (err == 0)
    visit->ahead = size;
  if (err >= 0)
    return err;
  drop_recorder(visit);
  return 0;
}

void nt__visit_wrote(nt__transfer_t* t, size_t size) {
  if (t->visit != NULL)
    t->visit->ahead -= t->visit->ahead < size ? t->visit->ahead : size;
}

static void put(nt__visit_t* visit) {
  nt__cache_store_t* store = cache_of(visit->t)->store;
  nt__body_t* body = visit->t->ops->on_keep(visit->t);
  nt__answer_t* answer = NULL;
  kept_t kept;

  if (body == NULL)
    return;
  if (body->size <= nt__cache_body_max(store)) {
    if (keep(visit, &kept) == 0)
      answer = nt__answer_new(visit->key, &kept.stored);
    free_kept(&kept);
  }
  if (answer == NULL) {
    nt__body_unref(body);
    return;
  }
  answer->body = body;
  answer->size = body->size;
  nt__cache_put(store, answer);
  nt__answer_unref(answer);
}

void nt__visit_commit(nt__transfer_t* t) {
  nt__visit_t* visit = t->visit;

  if (visit == NULL || visit->spoiled || t->complete)
    return;
  if (visit->keeps)
    put(visit);
  if (visit->recorder != NULL) {
    nt__cache_record_commit(visit->recorder);
    visit->recorder = NULL;
  }
}

/* ---- The end of a hop ---------------------------------------------------- */

/* Whether nobody could be reached, or the answer is nothing. What somebody
 * refuses, what fails because of the answer's own size, and what nobody can
 * vouch for stays the error that it is. */
static bool is_outage(int error) {
  switch (error) {
    case NT_E_TIMEOUT:
    case NT_E_RESOLVE:
    case NT_E_REFUSED:
    case NT_E_RESET:
    case NT_E_DROPPED:
    case NT_E_CONNECT:
    case NT_E_CONNECT_TIMEOUT:
    case NT_E_UNREACHABLE:
    case NT_E_OFFLINE:
    case NT_E_PROXY:
      return true;
    default:
      return false;
  }
}

static void play_instead(nt__visit_t* visit, const char* verdict) {
  visit->plays = true;
  visit->verdict = verdict;
}

bool nt__visit_turns(nt__transfer_t* t, int error) {
  nt__visit_t* visit = t->visit;
  nt_headers_t headers = nt__headers_view(&t->headers);

  if (visit == NULL || is_head(t))
    return false;
  if (visit->confirmed) {
    renew(visit, &headers);
    play_instead(visit, "revalidated");
  } else if (visit->denied) {
    nt__visit_give_up(visit);
  } else if (visit->covered) {
    play_instead(visit, "stale");
  } else if (is_outage(error) && !t->headers_done && covers(visit, 0)) {
    visit->failure = error;
    play_instead(visit, "stale");
  } else {
    return false;
  }
  visit->confirmed = visit->denied = visit->covered = false;
  return true;
}

/* ---- The host ------------------------------------------------------------ */

static int read_key(const char* url, char** key) {
  nt__url_t parsed;
  int err = nt__url_parse(&parsed, NULL, url);

  if (err)
    return err;
  *key = parsed.http ? nt__cache_key(parsed.text) : NULL;
  if (*key == NULL)
    err = parsed.http ? NT_E_NOMEM : NT_E_URL;
  nt__url_free(&parsed);
  return err;
}

int nt_cache_clear(nt_context_t* ctx, const char* url) {
  nt__command_t* command;
  char* key = NULL;
  int err;

  if (atomic_load(&ctx->forked))
    return NT_E_FORKED;
  err = url == NULL ? 0 : read_key(url, &key);
  if (err)
    return err;
  command = nt__command_new(NT__CMD_CACHE_CLEAR, 0);
  if (command == NULL) {
    nt__free(key);
    return NT_E_NOMEM;
  }
  command->text = key;
  nt__command_post(ctx, command);
  return 0;
}
