/* What is done with a hop and with its answer: whether what is stored is used,
 * validated, or put in place of an error. What HTTP says of it is in
 * cache_rules.c.
 *
 * Each hop of a GET that uses the cache has a *visit*, from before its name is
 * looked up until it is over; one of HEAD has one as well, since its answer
 * tells of what is stored. I/O thread only. */
#include "cache.h"

#include <string.h>

#include "alloc.h"
#include "cache_key.h"
#include "fields.h"

/* ---- A visit ------------------------------------------------------------- */

static void free_visit(nt__visit_t* visit) {
  nt__cache_forget(&visit->wait);
  nt__cache_record_drop(visit->recorder);
  if (visit->answer != NULL)
    nt__answer_unref(visit->answer);
  nt__body_unref(visit->body);
  if (visit->fields.bytes.data != NULL) /* there may be cookies among them */
    nt__wipe(visit->fields.bytes.data, visit->fields.bytes.capacity);
  nt__headers_free(&visit->fields);
  nt__free(visit->own_key);
  nt__free(visit);
}

static int set_key(nt__visit_t* visit) {
  visit->key = nt__cache_key(&visit->t->url, &visit->own_key);
  return visit->key == NULL ? NT_E_NOMEM : 0;
}

/* What has a body is a GET in name alone. */
static bool may_concern(const nt__transfer_t* t) {
  return t->cache != NT_CACHE_NONE && !t->raw && !t->connects &&
         t->body_size == 0 &&
         (nt__transfer_is_method(t, "GET") || nt__transfer_is_head(t));
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
  visit->spoiled = !nt__cache_is_for(t);
  err = nt__buf_reserve(&visit->fields.bytes, 512);
  if (err == 0)
    err = nt__fields_list(t, &visit->fields);
  if (err == 0)
    err = set_key(visit);
  fields = nt__visit_fields(visit);
  if (err || !nt__cache_concerns("GET", &fields)) {
    free_visit(visit);
    return err;
  }
  nt__list_append(&nt__cache_of(t)->visits, &visit->node);
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

/* Whether headers of that size may come to the task, which may have a smaller
 * cap than whoever stored them. */
static bool may_have(const nt__visit_t* visit, size_t size) {
  uint64_t max = nt__transfer_policy(visit->t)->header_max_bytes;

  return max == 0 || size <= max;
}

/* Keeps the newest that matches. */
static void choose(nt__visit_t* visit) {
  nt_headers_t fields = nt__visit_fields(visit);
  size_t i;

  for (i = 0; i < visit->wait.count; i++) {
    nt__answer_t* answer = visit->wait.answers[i];

    if (visit->answer == NULL && !visit->spoiled &&
        may_have(visit, answer->stored.headers.size) &&
        nt__cache_matches(&answer->stored, &fields))
      visit->answer = answer;
    else
      nt__answer_unref(answer);
  }
}

static void judge(nt__visit_t* visit) {
  const nt__transfer_t* t = visit->t;
  nt_headers_t fields = nt__visit_fields(visit);

  visit->use = NT__CACHE_FETCH;
  if (nt__transfer_is_head(t))
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
  nt__cache_store_t* store = nt__cache_of(visit->t)->store;
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
  nt__cache_store_t* store = nt__cache_need_store(nt__cache_of(visit->t));

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

static int add_line(const nt__visit_t* visit, const char* name,
                    const char* value, nt__buf_t* out) {
  int err;

  if (nt__headers_find(&visit->fields, name) != NULL)
    return 0;
  err = nt__buf_append(out, name, strlen(name));
  if (err == 0)
    err = nt__buf_append(out, ": ", 2);
  return err ? err : nt__buf_append(out, value, strlen(value) + 1);
}

/* Fetch 4.6: caches on the way are to do as this one does. */
static int add_mode(const nt__visit_t* visit, nt__buf_t* out) {
  int err;

  if (visit->t->cache == NT_CACHE_NO_CACHE)
    return add_line(visit, "Cache-Control", "max-age=0", out);
  if (visit->t->cache != NT_CACHE_RELOAD && !visit->reloads)
    return 0;
  err = add_line(visit, "Pragma", "no-cache", out);
  return err ? err : add_line(visit, "Cache-Control", "no-cache", out);
}

/* The jar may have changed since the store was asked: what comes now is stored
 * for what is sent now, and what was found may be another user's. */
static int list_again(nt__visit_t* visit) {
  nt_headers_t fields;
  int err;

  if ((visit->t->flags & NT_REQUEST_COOKIES_SEND) == 0)
    return 0;
  nt__headers_reset(&visit->fields);
  err = nt__fields_list(visit->t, &visit->fields);
  fields = nt__visit_fields(visit);
  if (err || visit->answer == NULL ||
      nt__cache_matches(&visit->answer->stored, &fields))
    return err;
  nt__answer_unref(visit->answer);
  visit->answer = NULL;
  visit->use = NT__CACHE_FETCH;
  return 0;
}

int nt__visit_ask(nt__transfer_t* t, nt__buf_t* out) {
  nt__visit_t* visit = t->visit;
  int err;

  if (visit == NULL)
    return 0;
  visit->asked = ++nt__cache_of(t)->asked;
  err = list_again(visit);
  if (err == 0)
    err = add_mode(visit, out);
  if (err || visit->use != NT__CACHE_VALIDATE || visit->reloads)
    return err;
  return nt__cache_validators(&visit->answer->stored, out);
}

/* Other modes want what the network says. */
static bool covers(const nt__visit_t* visit, int status) {
  nt_headers_t fields = nt__visit_fields(visit);

  return visit->answer != NULL && !visit->reloads && !visit->t->renews &&
         visit->t->cache == NT_CACHE_DEFAULT &&
         !nt__transfer_is_head(visit->t) &&
         nt__cache_covers_error(&visit->answer->stored, &fields, status,
                                nt__unix_ms());
}

static bool is_error(int status) {
  return status == 500 || (status >= 502 && status <= 504);
}

/* So that what is told bit by bit does not become more than may be told. */
static bool may_merge(const nt__visit_t* visit, const nt_headers_t* headers) {
  return may_have(visit, visit->answer->stored.headers.size + headers->size);
}

/* The answer to HEAD tells of the stored one, too. */
static void hear_head(nt__visit_t* visit, const nt_headers_t* headers) {
  if (visit->answer == NULL || visit->t->status != 200)
    return;
  if (nt__cache_head_confirms(&visit->answer->stored, headers) &&
      may_merge(visit, headers))
    nt__visit_renew(visit, headers);
  else
    nt__cache_remove(nt__cache_of(visit->t)->store, visit->key);
}

bool nt__visit_hides(nt__transfer_t* t) {
  nt__visit_t* visit = t->visit;
  nt_headers_t headers = nt__headers_view(&t->headers);

  if (visit == NULL)
    return false;
  visit->answered = nt__unix_ms();
  if (nt__transfer_is_head(t)) {
    hear_head(visit, &headers);
    return false;
  }
  if (visit->use == NT__CACHE_VALIDATE && !visit->reloads && t->status == 304) {
    visit->confirmed = nt__cache_confirms(&visit->answer->stored, &headers) &&
                       may_merge(visit, &headers);
    visit->denied = !visit->confirmed;
    return true;
  }
  visit->covered = is_error(t->status) && covers(visit, t->status);
  return visit->covered;
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
    case NT_E_EMPTY_RESPONSE:
    case NT_E_HTTP:
    case NT_E_HTTP2:
    case NT_E_NETWORK:
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

  if (visit == NULL || nt__transfer_is_head(t))
    return false;
  if (visit->confirmed) {
    nt__visit_renew(visit, &headers);
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
