/* What is stored: in memory, and behind it on disk. All that is known of a URL
 * is on its shelf, or nothing; so a shelf answers at once, and an empty one
 * says that there is nothing. Where there is none the disk is asked, by one job
 * for all who want to know. Jobs run in order: what is put or removed is
 * written behind the reads that were asked for before, and ahead of those that
 * come.
 *
 * Other processes share the disk, not the memory. What they write shows with
 * the next job, and a shelf that was last compared with the disk a while ago
 * asks it first: so what they have stored or removed is known in two seconds.
 *
 * A removal that the disk does not take must hold all the same: the disk is not
 * asked for that URL any more. I/O thread. */
#include "cache_store.h"

#include <string.h>

#include "cache_job.h"

enum {
  MEMORY_MAX = 16 << 20,  /* of what the disk has as well */
  WRITING_MAX = 32 << 20, /* of bodies that wait to be written */
  KNOWN_MS = 2000,
  REMOVE_TRIES = 3
};

/* ---- Opening ------------------------------------------------------------- */

static bool is_folder(const nt__cache_file_t* file, const char* folder) {
  if (file == NULL || folder == NULL)
    return file == NULL && folder == NULL;
  return strcmp(file->folder, folder) == 0;
}

static void post_simple(nt__cache_store_t* store, nt__cache_action_t action) {
  nt__cache_job_t* job = nt__cache_job_new(store->file, action, NULL);

  if (job != NULL)
    nt__cache_job_post(store->ctx, store, job);
}

/* Without memory for it there is none. What is under way ends in the old one,
 * which is closed behind it. */
static void choose_folder(nt__cache_store_t* store, const char* folder) {
  nt__cache_file_t* file = folder == NULL ? NULL : nt__cache_file_new(folder);
  bool had_one = store->file != NULL && store->used;

  nt__cache_outdate(store, NULL, false);
  nt__memory_clear(&store->memory);
  nt__cache_file_unref(store->file);
  store->file = file;
  store->clock = 0;
  nt__cache_unbar_all(store);
  store->trimming = store->checking = false;
  if (had_one)
    post_simple(store, NT__CACHE_CHECK);
}

static uint64_t memory_max(const nt__cache_store_t* store) {
  if (store->file == NULL)
    return store->max;
  return store->max == 0 || store->max > MEMORY_MAX ? MEMORY_MAX : store->max;
}

void nt__cache_store_configure(nt__cache_store_t* store) {
  const nt_policy_t* policy = &store->ctx->io.policy->values;
  uint64_t before = store->max;

  store->max = policy->cache_max_bytes;
  if (!is_folder(store->file, policy->cache_dir))
    choose_folder(store, policy->cache_dir);
  store->memory.alone = store->file == NULL;
  nt__memory_limit(&store->memory, memory_max(store));
  if (store->file != NULL && store->used && store->max != 0 &&
      (before == 0 || store->max < before))
    post_simple(store, NT__CACHE_TRIM);
}

int nt__cache_store_open(nt_context_t* ctx, nt__cache_store_t** out) {
  nt__cache_store_t* store = nt__calloc(sizeof(*store));

  if (store == NULL)
    return NT_E_NOMEM;
  store->ctx = ctx;
  store->known_ms = KNOWN_MS;
  nt__list_init(&store->jobs);
  nt__list_init(&store->recorders);
  nt__list_init(&store->bars);
  nt__memory_init(&store->memory);
  nt__cache_store_configure(store);
  *out = store;
  return 0;
}

static nt__cache_job_t* of_node(nt__node_t* node) {
  return nt__container_of(node, nt__cache_job_t, node);
}

void nt__cache_store_close(nt__cache_store_t* store) {
  nt__node_t* node;

  if (store == NULL)
    return;
  nt__cache_recorders_close(store);
  while ((node = nt__list_shift(&store->jobs)) != NULL) {
    nt__cache_job_t* job = of_node(node);

    while (nt__list_shift(&job->waits) != NULL)
      continue;
    job->store = NULL;
  }
  nt__cache_unbar_all(store);
  nt__memory_free(&store->memory);
  nt__cache_file_unref(store->file);
  nt__free(store);
}

/* ---- Finding ------------------------------------------------------------- */

void nt__cache_outdate(nt__cache_store_t* store, const char* key,
                       bool removed) {
  nt__node_t* node;

  for (node = store->jobs.next; node != &store->jobs; node = node->next) {
    nt__cache_job_t* job = of_node(node);

    if (job->call.action != NT__CACHE_FIND ||
        (key != NULL && strcmp(job->key, key) != 0))
      continue;
    job->stale = true;
    job->removed = job->removed || removed;
  }
}

static void show(nt__cache_wait_t* wait, nt__answer_t** answers, size_t count) {
  size_t i;

  for (i = 0; i < count; i++)
    nt__answer_ref(answers[i]);
  wait->answers = answers;
  wait->count = count;
}

static void tell_error(nt__cache_job_t* job) {
  nt__node_t* node;

  while ((node = nt__list_shift(&job->waits)) != NULL) {
    nt__cache_wait_t* wait = nt__container_of(node, nt__cache_wait_t, node);

    wait->on_done(wait, job->call.error);
  }
}

static void forget_found(nt__cache_call_t* call) {
  while (call->count > 0)
    nt__answer_unref(call->answers[--call->count]);
}

/* The shelf is what the disk has. */
static void fill_shelf(nt__cache_store_t* store, nt__cache_job_t* job) {
  nt__cache_call_t* call = &job->call;
  nt__shelf_t* shelf = nt__memory_add(&store->memory, job->key);
  size_t i = call->count;

  /* Each may be what the memory has no room for: then the shelf has gone. */
  while (shelf != NULL && i-- > 0) {
    nt__memory_put(&store->memory, shelf, call->answers[i]);
    shelf = nt__memory_find(&store->memory, job->key);
  }
  nt__memory_limit(&store->memory, store->memory.max);
}

/* Another time there may be something; a folder that cannot be used has
 * nothing. */
static bool is_unusable(int error) {
  return error != 0 && error != NT_E_BUSY && error != NT_E_NOMEM;
}

/* A shelf that is there is newer than what was found, and right after all. */
static void settle(nt__cache_store_t* store, nt__cache_job_t* job) {
  nt__cache_call_t* call = &job->call;
  nt__shelf_t* shelf;

  if (job->removed || call->error != 0)
    forget_found(call);
  if (job->file != store->file)
    return;
  shelf = nt__memory_find(&store->memory, job->key);
  if (shelf == NULL) {
    if (!job->stale && (call->error == 0 || is_unusable(call->error)))
      fill_shelf(store, job);
    return;
  }
  forget_found(call);
  for (; call->count < shelf->count; call->count++)
    call->answers[call->count] = nt__answer_ref(shelf->answers[call->count]);
}

static void on_found(nt__cache_job_t* job) {
  nt__node_t* node;

  settle(job->store, job);
  if (job->call.error != 0 && job->call.count == 0) {
    tell_error(job);
    return;
  }
  while ((node = nt__list_shift(&job->waits)) != NULL) {
    nt__cache_wait_t* wait = nt__container_of(node, nt__cache_wait_t, node);

    show(wait, job->call.answers, job->call.count);
    wait->on_done(wait, 0);
  }
}

/* One that asks the same already. */
static nt__cache_job_t* finding(const nt__cache_store_t* store,
                                const char* key) {
  nt__node_t* node;

  for (node = store->jobs.next; node != &store->jobs; node = node->next) {
    nt__cache_job_t* job = of_node(node);

    if (job->call.action == NT__CACHE_FIND && !job->stale &&
        strcmp(job->key, key) == 0)
      return job;
  }
  return NULL;
}

/* False: there is no memory for it. */
static bool ask_disk(nt__cache_store_t* store, const char* key,
                     nt__cache_wait_t* wait) {
  nt__cache_job_t* job = finding(store, key);

  if (job == NULL) {
    job = nt__cache_job_new(store->file, NT__CACHE_FIND, key);
    if (job == NULL)
      return false;
    job->on_done = on_found;
    if (nt__cache_job_post(store->ctx, store, job) != 0)
      return false;
  }
  nt__list_append(&job->waits, &wait->node);
  return true;
}

static void on_checked(nt__cache_job_t* job) {
  job->store->checking = false;
}

static void check_disk(nt__cache_store_t* store) {
  nt__cache_job_t* job;

  if (store->checking)
    return;
  job = nt__cache_job_new(store->file, NT__CACHE_CHECK, NULL);
  if (job == NULL)
    return;
  job->on_done = on_checked;
  store->checking = nt__cache_job_post(store->ctx, store, job) == 0;
}

/* Whether what is in memory may be believed. */
static bool is_known(nt__cache_store_t* store, const char* key) {
  uint64_t age = nt__now(store->ctx) - store->checked;

  if (!nt__cache_has_disk(store, key))
    return true;
  if (age >= store->known_ms)
    return false;
  if (age >= store->known_ms / 2)
    check_disk(store);
  return true;
}

bool nt__cache_find(nt__cache_store_t* store, const char* key,
                    nt__cache_wait_t* wait) {
  nt__shelf_t* shelf = nt__memory_find(&store->memory, key);

  if (shelf != NULL && is_known(store, key)) {
    show(wait, shelf->answers, shelf->count);
    return true;
  }
  return !nt__cache_has_disk(store, key) || !ask_disk(store, key, wait);
}

void nt__cache_forget(nt__cache_wait_t* wait) {
  if (wait->node.next != NULL && nt__node_linked(&wait->node))
    nt__list_remove(&wait->node);
}

/* ---- Bodies -------------------------------------------------------------- */

static bool fits_memory(const nt__cache_store_t* store, uint64_t size) {
  return store->memory.alone || size <= store->memory.max / 8;
}

/* The answer is in memory with its body from now on. */
static void keep_body(nt__cache_store_t* store, const nt__cache_job_t* job) {
  const nt__answer_t* old = job->call.answer;
  nt__shelf_t* shelf = nt__memory_find(&store->memory, old->key);
  nt__answer_t* twin;

  if (shelf == NULL || job->file != store->file ||
      !fits_memory(store, old->size))
    return;
  twin = nt__answer_new(old->key, &old->stored);
  if (twin == NULL)
    return;
  twin->size = old->size;
  twin->body = nt__body_ref(job->call.body);
  twin->spot = nt__spot_ref(old->spot);
  nt__memory_swap(&store->memory, shelf, old, twin);
  nt__answer_unref(twin);
}

static void tell_body(nt__cache_job_t* job) {
  nt__node_t* node = nt__list_shift(&job->waits);
  nt__cache_wait_t* wait;

  if (node == NULL)
    return;
  wait = nt__container_of(node, nt__cache_wait_t, node);
  wait->body = nt__body_ref(job->call.body);
  wait->on_done(wait, 0);
}

static void on_read(nt__cache_job_t* job) {
  nt__shelf_t* shelf;

  if (job->call.error == 0) {
    if (job->call.size == job->call.answer->size)
      keep_body(job->store, job);
    tell_body(job);
    return;
  }
  /* It is not on disk any more, whatever the memory says. */
  shelf = nt__memory_find(&job->store->memory, job->call.answer->key);
  if (shelf != NULL && job->file == job->store->file)
    nt__memory_drop(&job->store->memory, shelf);
  tell_error(job);
}

static bool read_disk(nt__cache_store_t* store, nt__answer_t* answer,
                      uint64_t offset, size_t size, nt__cache_wait_t* wait) {
  nt__cache_job_t* job;

  if (answer->spot == NULL)
    return false;
  job = nt__cache_job_new(answer->spot->file, NT__CACHE_READ, NULL);
  if (job == NULL)
    return false;
  job->on_done = on_read;
  job->call.answer = nt__answer_ref(answer);
  job->call.spot = nt__spot_ref(answer->spot);
  job->call.offset = offset;
  job->call.size = size;
  if (nt__cache_job_post(store->ctx, store, job) != 0)
    return false;
  nt__list_append(&job->waits, &wait->node);
  return true;
}

bool nt__cache_load(nt__cache_store_t* store, nt__answer_t* answer,
                    nt__cache_wait_t* wait) {
  return nt__cache_read(
      store, answer, 0,
      answer->size > SIZE_MAX ? SIZE_MAX : (size_t) answer->size, wait);
}

bool nt__cache_read(nt__cache_store_t* store, nt__answer_t* answer,
                    uint64_t offset, size_t size, nt__cache_wait_t* wait) {
  if (answer->body != NULL) {
    wait->body = nt__body_ref(answer->body);
    return true;
  }
  return !read_disk(store, answer, offset, size, wait);
}

/* ---- Putting ------------------------------------------------------------- */

uint64_t nt__cache_body_max(const nt__cache_store_t* store) {
  bool disk = store->file != NULL && !store->unsure;
  uint64_t max = disk ? store->max : store->memory.max;

  return max == 0 ? UINT64_MAX : max / 2;
}

void nt__cache_forget_key(nt__cache_store_t* store, const char* key) {
  nt__shelf_t* shelf = nt__memory_find(&store->memory, key);

  nt__cache_outdate(store, key, false);
  if (shelf != NULL)
    nt__memory_drop(&store->memory, shelf);
}

/* On a shelf that is there; only without a disk one can be begun, since there
 * is nothing else to be known then. */
static void put_in_memory(nt__cache_store_t* store, nt__answer_t* answer) {
  nt__shelf_t* shelf = nt__memory_find(&store->memory, answer->key);

  if (shelf == NULL && !nt__cache_has_disk(store, answer->key))
    shelf = nt__memory_add(&store->memory, answer->key);
  if (shelf == NULL)
    return;
  if (fits_memory(store, answer->body == NULL ? 0 : answer->body->size))
    nt__memory_put(&store->memory, shelf, answer);
  else
    nt__memory_drop(&store->memory, shelf);
}

static void post_removal(nt__cache_store_t* store, const char* key,
                         unsigned tries);

/* It stays in memory, and what it was to take the place of goes all the
 * same. */
static void on_put(nt__cache_job_t* job) {
  if (job->call.error == 0 || job->file != job->store->file)
    return;
  nt__cache_outdate(job->store, job->call.answer->key, true);
  post_removal(job->store, job->call.answer->key, 1);
}

static bool put_on_disk(nt__cache_store_t* store, nt__answer_t* answer) {
  nt__cache_job_t* job = nt__cache_job_new(store->file, NT__CACHE_PUT, NULL);

  if (job == NULL)
    return false;
  answer->spot = nt__spot_new(store->file);
  if (answer->spot == NULL) {
    nt__cache_job_free(job);
    return false;
  }
  answer->spot->used = store->clock;
  store->clock += (int64_t) nt__answer_cost(answer, answer->size);
  job->call.answer = nt__answer_ref(answer);
  job->on_done = on_put;
  job->weight = answer->size;
  job->job.patient = true;
  return nt__cache_job_post(store->ctx, store, job) == 0;
}

static bool may_put(const nt__cache_store_t* store,
                    const nt__answer_t* answer) {
  return answer->body != NULL && answer->size <= nt__cache_body_max(store) &&
         (store->writing == 0 || store->writing + answer->size <= WRITING_MAX);
}

void nt__cache_put(nt__cache_store_t* store, nt__answer_t* answer) {
  bool disk = nt__cache_has_disk(store, answer->key);

  nt__cache_outdate(store, answer->key, false);
  if (!may_put(store, answer) || (disk && !put_on_disk(store, answer))) {
    nt__cache_remove(store, answer->key);
    return;
  }
  if (!disk && store->file != NULL)
    nt__cache_remove(store, answer->key); /* it may work by now */
  put_in_memory(store, answer);
}

/* ---- Replacing ----------------------------------------------------------- */

static void update_disk(nt__cache_store_t* store, nt__answer_t* fresh) {
  nt__cache_job_t* job =
      nt__cache_job_new(store->file, NT__CACHE_REPLACE, NULL);

  if (job == NULL)
    return; /* the old headers do as well, and are validated again */
  job->call.answer = nt__answer_ref(fresh);
  job->job.patient = true;
  nt__cache_job_post(store->ctx, store, job);
}

void nt__cache_replace(nt__cache_store_t* store, nt__answer_t* old,
                       nt__answer_t* fresh) {
  nt__shelf_t* shelf = nt__memory_find(&store->memory, old->key);

  fresh->size = old->size;
  if (old->body != NULL)
    fresh->body = nt__body_ref(old->body);
  if (!nt__cache_has_disk(store, old->key) || old->spot == NULL ||
      old->spot->file != store->file) {
    /* Not where there is something newer by now. */
    if (shelf != NULL && fresh->body != NULL)
      nt__memory_swap(&store->memory, shelf, old, fresh);
    return;
  }
  fresh->spot = nt__spot_ref(old->spot);
  nt__cache_outdate(store, old->key, false);
  if (shelf != NULL && !nt__memory_swap(&store->memory, shelf, old, fresh))
    nt__memory_drop(&store->memory, shelf);
  update_disk(store, fresh);
}

/* ---- Touching ------------------------------------------------------------ */

/* What is among the newest eighth does not have to be told of. */
void nt__cache_touch(nt__cache_store_t* store, nt__answer_t* answer) {
  nt__spot_t* spot = answer->spot;
  nt__cache_job_t* job;

  nt__memory_find(&store->memory, answer->key);
  if (spot == NULL || spot->file != store->file || store->max == 0 ||
      !nt__cache_has_disk(store, answer->key) ||
      store->clock - spot->used < (int64_t) (store->max / 8))
    return;
  job = nt__cache_job_new(store->file, NT__CACHE_TOUCH, NULL);
  if (job == NULL)
    return;
  spot->used = store->clock;
  job->call.spot = nt__spot_ref(spot);
  job->job.patient = true;
  nt__cache_job_post(store->ctx, store, job);
}

/* ---- Removing ------------------------------------------------------------ */

/* Until now the disk was not asked, and what was put in memory meanwhile may
 * not be all that there is. */
static void be_sure(nt__cache_store_t* store, const char* key) {
  nt__shelf_t* shelf;

  if (key == NULL && (store->unsure || store->bar_count > 0)) {
    nt__cache_unbar_all(store);
    nt__memory_clear(&store->memory);
  } else if (key != NULL && nt__cache_unbar(store, key)) {
    shelf = nt__memory_find(&store->memory, key);
    if (shelf != NULL)
      nt__memory_drop(&store->memory, shelf);
  }
}

static void on_removed(nt__cache_job_t* job) {
  nt__cache_store_t* store = job->store;

  if (job->file != store->file)
    return;
  if (job->call.error == 0) {
    be_sure(store, job->call.key);
    return;
  }
  /* Who has asked since gets what should be there. */
  nt__cache_outdate(store, job->call.key, true);
  nt__cache_bar(store, job->call.key);
  if (job->tries < REMOVE_TRIES)
    post_removal(store, job->call.key, job->tries + 1);
}

static void post_removal(nt__cache_store_t* store, const char* key,
                         unsigned tries) {
  nt__cache_job_t* job = nt__cache_job_new(store->file, NT__CACHE_REMOVE, key);
  int err = NT_E_NOMEM;

  if (job != NULL) {
    job->tries = tries;
    job->on_done = on_removed;
    err = nt__cache_job_post(store->ctx, store, job);
  }
  if (err)
    nt__cache_bar(store, key);
}

void nt__cache_remove(nt__cache_store_t* store, const char* key) {
  nt__shelf_t* shelf;

  nt__cache_outdate(store, key, true);
  nt__cache_recorders_doom(store, key);
  if (key == NULL) {
    nt__memory_clear(&store->memory);
  } else {
    shelf = nt__memory_find(&store->memory, key);
    if (shelf != NULL)
      nt__memory_drop(&store->memory, shelf);
  }
  if (store->file != NULL)
    post_removal(store, key, 1);
}
