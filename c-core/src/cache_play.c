/* Playing what is stored, as if it came from the network: the same rules for
 * redirects and origins, the same events, the same limits. But nothing is
 * copied: an owner that wants a whole body gets a reference to it.
 *
 * Unlike what libcurl tells, this happens in a turn, so that the hop may end in
 * it. I/O thread only. */
#include <stdio.h>
#include <string.h>

#include "cache.h"
#include "hop.h"
#include "http_date.h"
#include "stage.h"

/* ---- Headers ------------------------------------------------------------- */

/* RFC 9110 6.6.1: what came without a Date has that of its coming. */
static int put_date(const nt__stored_t* stored, nt__headers_t* out) {
  char date[NT__HTTP_DATE_SIZE];

  if (nt__headers_find(out, "date") != NULL)
    return 0;
  nt__http_date_write(stored->answered / 1000, date);
  return nt__headers_add(out, "Date", date, strlen(date));
}

/* Those that are stored, with the Age that they have now. */
static int put_headers(const nt__visit_t* visit, nt__headers_t* out) {
  const nt__stored_t* stored = &visit->answer->stored;
  char age[24];
  const char* name;
  const char* value;
  size_t cursor = 0;
  int err = nt__buf_reserve(&out->bytes, stored->headers.size + 64);

  while (err == 0 && nt_headers_next(&stored->headers, &cursor, &name, &value))
    if (!nt__header_is(name, "age"))
      err = nt__headers_add(out, name, value, strlen(value));
  if (err == 0)
    err = put_date(stored, out);
  snprintf(age, sizeof(age), "%lld",
           (long long) nt__cache_age(stored, nt__unix_ms()));
  return err ? err : nt__headers_add(out, "Age", age, strlen(age));
}

/* What was revalidated keeps the times of the network. */
static void note_profile(nt__transfer_t* t) {
  nt_profile_t* p = &t->profile;

  p->cache = t->visit->verdict;
  if (strcmp(p->cache, "revalidated") == 0)
    return;
  p->fetch_start = p->response_start = p->response_end = nt__unix_ms();
  p->lookup_start = p->lookup_end = 0;
  p->connect_start = p->connect_end = p->tls_start = p->tls_end = 0;
  p->request_start = p->request_end = 0;
  p->rtt_ms = p->http_rtt_ms = p->throughput_kbps = 0;
  p->protocol = "unknown";
  p->peer_ip = "";
  p->peer_port = p->reused = 0;
}

/* ---- The body ------------------------------------------------------------ */

static void on_piece(nt__cache_wait_t* wait, int error);

/* Sees to it that there is a piece at the offset. False: it comes later, or
 * never. */
static bool fetch_piece(nt__visit_t* visit) {
  nt__cache_t* cache = nt__transfer_context(visit->t)->io.cache;

  if (visit->body != NULL)
    return true;
  memset(&visit->wait, 0, sizeof(visit->wait));
  visit->wait.on_done = on_piece;
  visit->waits = !nt__cache_read(cache->store, visit->answer, visit->offset,
                                 NT__PIECE_SIZE, &visit->wait);
  if (visit->waits)
    return false;
  visit->body = visit->wait.body;
  if (visit->body != NULL)
    return true;
  nt__transfer_fail(visit->t, NT_E_NOMEM, NULL); /* to ask the disk */
  return false;
}

/* The next bytes of what is here: how many there are. */
static size_t next_bytes(const nt__visit_t* visit, const char** data) {
  uint64_t at = visit->offset - visit->body_at;
  uint64_t left = visit->body->size - at;

  *data = visit->body->data + at;
  return left < NT__PIECE_SIZE ? (size_t) left : NT__PIECE_SIZE;
}

static void advance(nt__visit_t* visit, size_t size) {
  visit->offset += size;
  if (visit->offset - visit->body_at < visit->body->size)
    return;
  nt__body_unref(visit->body);
  visit->body = NULL;
  visit->body_at = visit->offset;
}

/* False: the owner does not go on, for now or for good. */
static bool give(nt__transfer_t* t, const char* data, size_t size) {
  int result = t->ops->on_body(t, data, size);

  if (result == 0)
    return true;
  if (result == NT__HOLD) {
    nt__stage_hold(t);
    nt__task_hold(t->task);
  } else if (result == NT__WAIT) {
    nt__stage_wait(t);
  } else {
    nt__transfer_fail(t, result, NULL);
  }
  return false;
}

static void stream(nt__visit_t* visit) {
  nt__transfer_t* t = visit->t;

  while (visit->offset < visit->answer->size) {
    const char* data;
    size_t size;

    if (!fetch_piece(visit))
      return;
    size = next_bytes(visit, &data);
    if (!give(t, data, size))
      return;
    advance(visit, size);
  }
  nt__transfer_played(t);
}

static void on_piece(nt__cache_wait_t* wait, int error) {
  nt__visit_t* visit = nt__container_of(wait, nt__visit_t, wait);

  visit->waits = false;
  visit->body = wait->body;
  if (error != 0 || visit->body == NULL)
    nt__transfer_fail(visit->t, error == NT_E_NOMEM ? error : NT_E_FILE, NULL);
  else
    stream(visit);
}

void nt__visit_resume(nt__transfer_t* t) {
  if (t->held_since == 0 && !t->waiting)
    return;
  nt__stage_go_on(t);
  stream(t->visit);
}

static int give_whole(nt__visit_t* visit) {
  uint64_t max = nt__transfer_policy(visit->t)->response_max_bytes;
  nt__body_t* body = visit->body;

  if (max != 0 && visit->answer->size > max)
    return NT_E_BODY_SIZE;
  visit->body = NULL;
  return body == NULL ? 0 : visit->t->ops->on_stored(visit->t, body);
}

/* ---- All of it ----------------------------------------------------------- */

/* Tells the headers: 0 or an error. */
static int tell(nt__visit_t* visit) {
  nt__transfer_t* t = visit->t;
  int err = put_headers(visit, &t->headers);

  t->status = visit->answer->stored.status;
  note_profile(t);
  return err ? err : nt__hop_answer(t);
}

void nt__visit_play(nt__transfer_t* t) {
  nt__visit_t* visit = t->visit;
  int err;

  if (t->renews) { /* what it was to renew is still good */
    nt__transfer_played(t);
    return;
  }
  nt__cache_touch(nt__transfer_context(t)->io.cache->store, visit->answer);
  if (visit->use == NT__CACHE_RENEW)
    nt__renewal_begin(t);
  err = tell(visit);
  if (err == 0 && !t->following && !t->opaque) {
    if (!nt__transfer_gathers(t)) {
      nt__stage_enter(t, NT__STAGE_WAITING); /* the total time runs */
      stream(visit);
      return;
    }
    err = give_whole(visit);
  }
  if (err)
    nt__transfer_fail(t, err, NULL);
  else
    nt__transfer_played(t);
}
