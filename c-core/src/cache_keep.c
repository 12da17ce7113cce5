/* What goes into the store: answers as they come in, and new headers for those
 * that are there. Bodies are not copied: what an owner has gathered becomes a
 * body that its event and the store share; what nobody gathers goes into the
 * store piece by piece. I/O thread only. */
#include "cache.h"

#include <stdlib.h>
#include <string.h>

static nt_headers_t view_of(const nt__buf_t* fields) {
  nt_headers_t view = { fields->data, fields->size, 0 };
  const char* name;
  const char* value;
  size_t cursor = 0;

  while (nt_headers_next(&view, &cursor, &name, &value))
    view.count++;
  return view;
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
void nt__visit_renew(nt__visit_t* visit, const nt_headers_t* headers) {
  nt__answer_t* fresh = visit->spoiled ? NULL : merge(visit, headers);

  if (fresh == NULL)
    return;
  nt__cache_replace(nt__cache_of(visit->t)->store, visit->answer, fresh);
  nt__cache_overtake(visit);
  nt__answer_unref(visit->answer);
  visit->answer = fresh;
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
  nt_headers_t fields = nt__visit_fields(visit);
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
    visit->recorder = nt__cache_record(nt__cache_of(visit->t)->store,
                                       visit->key, &kept.stored);
  free_kept(&kept);
}

static bool may_record(const nt__visit_t* visit) {
  const nt__transfer_t* t = visit->t;
  const nt__cache_store_t* store = nt__cache_of(t)->store;
  nt_headers_t headers = nt__headers_view(&t->headers);
  nt_headers_t fields = nt__visit_fields(visit);

  return store != NULL && !t->opaque && !visit->spoiled &&
         !nt__transfer_is_head(t) &&
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
  nt__cache_store_t* store = nt__cache_of(visit->t)->store;
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
  if (!visit->keeps && visit->recorder == NULL)
    return;
  nt__cache_overtake(visit);
  if (visit->keeps)
    put(visit);
  else
    nt__cache_record_commit(visit->recorder);
  visit->recorder = NULL;
}
