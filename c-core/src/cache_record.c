/* Recorders: bodies that are stored while they come in. What fits into one
 * block is put as any other answer; of what is larger block after block goes to
 * disk, and no more of them are under way than the disk can keep up with.
 * Without a disk all of it is gathered in memory.
 *
 * The last job, which makes the answer whole or removes what there is of it, is
 * there from the beginning: so it cannot fail for want of memory, and it owns
 * the tape. I/O thread. */
#include <string.h>

#include "cache_job.h"
#include "transfer.h"

enum {
  RECORD_BYTES = 4 * NT__BLOCK_BYTES, /* of one job */
  RECORDS_MAX = 4                     /* that are under way */
};

struct nt__cache_recorder {
  nt__node_t node;          /* among the store's */
  nt__cache_store_t* store; /* NULL once it is closed */
  nt__answer_t* answer;
  nt__cache_job_t* last; /* NULL: in memory */
  nt__buf_t block;       /* what is not under way yet */
  uint64_t max;
  uint64_t size;               /* of all that came */
  unsigned posted;             /* blocks, */
  unsigned finished;           /* and of these, those that are written */
  int error;                   /* then nothing of it is stored */
  void (*on_ready)(void* arg); /* NULL: nobody waits */
  void* arg;
};

/* ---- Beginning ----------------------------------------------------------- */

static bool begin(nt__cache_recorder_t* recorder, const char* key,
                  const nt__stored_t* stored) {
  nt__cache_store_t* store = recorder->store;

  recorder->answer = nt__answer_new(key, stored);
  if (recorder->answer == NULL)
    return false;
  if (!nt__cache_has_disk(store, key)) {
    if (store->file != NULL && recorder->max > store->memory.max / 8)
      recorder->max = store->memory.max / 8;
    return true;
  }
  recorder->last = nt__cache_job_new(store->file, NT__TAPE_DROP, key);
  if (recorder->last == NULL)
    return false;
  recorder->last->call.answer = nt__answer_ref(recorder->answer);
  recorder->last->call.tape = &recorder->last->tape;
  return true;
}

static void free_recorder(nt__cache_recorder_t* recorder) {
  nt__cache_job_free(recorder->last);
  nt__answer_unref(recorder->answer);
  nt__buf_free(&recorder->block);
  nt__free(recorder);
}

nt__cache_recorder_t* nt__cache_record(nt__cache_store_t* store,
                                       const char* key,
                                       const nt__stored_t* stored) {
  nt__cache_recorder_t* recorder = nt__calloc(sizeof(*recorder));

  if (recorder == NULL)
    return NULL;
  recorder->store = store;
  recorder->max = nt__cache_body_max(store);
  nt__buf_init(&recorder->block, 0);
  if (!begin(recorder, key, stored)) {
    free_recorder(recorder);
    return NULL;
  }
  nt__list_append(&store->recorders, &recorder->node);
  return recorder;
}

/* ---- Writing ------------------------------------------------------------- */

static unsigned under_way(const nt__cache_recorder_t* recorder) {
  return recorder->posted - recorder->finished;
}

static void on_written(nt__cache_job_t* job) {
  nt__cache_recorder_t* recorder = job->recorder;
  void (*on_ready)(void* arg);

  if (recorder == NULL)
    return;
  recorder->finished++;
  if (job->call.error != 0 && recorder->error == 0)
    recorder->error = job->call.error;
  on_ready = recorder->on_ready;
  if (on_ready == NULL ||
      (recorder->error == 0 && under_way(recorder) > RECORDS_MAX / 2))
    return;
  recorder->on_ready = NULL;
  on_ready(recorder->arg);
}

/* The block goes over, and the next one is begun. */
static int post_block(nt__cache_recorder_t* recorder) {
  nt__cache_job_t* job =
      nt__cache_job_new(recorder->last->file, NT__TAPE_WRITE, NULL);
  int err;

  if (job == NULL)
    return NT_E_NOMEM;
  job->on_done = on_written;
  job->job.patient = recorder->posted % (RECORDS_MAX / 2) == 0;
  job->recorder = recorder;
  job->call.tape = &recorder->last->tape;
  job->call.answer = nt__answer_ref(recorder->answer);
  job->call.data = recorder->block.data;
  job->call.size = recorder->block.size;
  recorder->block.data = NULL;
  nt__buf_free(&recorder->block);
  err = nt__cache_job_post(recorder->store->ctx, recorder->store, job);
  if (err == 0)
    recorder->posted++;
  return err;
}

static int add(nt__cache_recorder_t* recorder, const char* data, size_t size) {
  int err = 0;

  if (recorder->last == NULL)
    return nt__buf_append(&recorder->block, data, size);
  while (err == 0 && size > 0) {
    size_t room = RECORD_BYTES - recorder->block.size;
    size_t part = size < room ? size : room;

    if (recorder->posted > 0 || recorder->block.size + size > RECORD_BYTES)
      err = nt__buf_reserve(&recorder->block, RECORD_BYTES);
    if (err == 0)
      err = nt__buf_append(&recorder->block, data, part);
    if (err == 0 && recorder->block.size == RECORD_BYTES)
      err = post_block(recorder);
    data += part;
    size -= part;
  }
  return err;
}

/* Whether the disk should have written more by now. */
static bool is_behind(const nt__cache_recorder_t* recorder, size_t size) {
  size_t blocks = (recorder->block.size + size) / RECORD_BYTES;

  return recorder->last != NULL && under_way(recorder) > 0 && blocks > 0 &&
         under_way(recorder) + blocks > RECORDS_MAX;
}

int nt__cache_record_write(nt__cache_recorder_t* recorder, const void* data,
                           size_t size, void (*on_ready)(void* arg),
                           void* arg) {
  if (recorder->error == 0 && recorder->size + size > recorder->max)
    recorder->error = NT_E_FULL;
  if (recorder->error != 0)
    return recorder->error;
  if (is_behind(recorder, size)) {
    recorder->on_ready = on_ready;
    recorder->arg = arg;
    return NT__WAIT;
  }
  recorder->size += size;
  recorder->error = add(recorder, data, size);
  return recorder->error;
}

/* ---- The end ------------------------------------------------------------- */

/* Its jobs go on without it. */
static void let_go(nt__cache_recorder_t* recorder) {
  nt__node_t* head;
  nt__node_t* node;

  if (recorder->store == NULL)
    return;
  head = &recorder->store->jobs;
  nt__list_remove(&recorder->node);
  for (node = head->next; node != head; node = node->next) {
    nt__cache_job_t* job = nt__container_of(node, nt__cache_job_t, node);

    if (job->recorder == recorder)
      job->recorder = NULL;
  }
}

/* What the answer was to take the place of goes all the same; it has gone
 * already when the answer went to make room, or was removed by others. */
static void on_committed(nt__cache_job_t* job) {
  if (job->call.error != 0 && job->call.error != NT_E_CACHE_MISS &&
      job->file == job->store->file)
    nt__cache_remove(job->store, job->key);
}

/* The last job takes what is left in the block. */
static void post_last(nt__cache_recorder_t* recorder,
                      nt__cache_action_t action) {
  nt__cache_job_t* last = recorder->last;

  recorder->last = NULL;
  last->call.action = action;
  if (action == NT__TAPE_COMMIT) {
    last->on_done = on_committed;
    last->call.data = recorder->block.data;
    last->call.size = recorder->block.size;
    recorder->block.data = NULL;
  }
  nt__cache_job_post(recorder->store->ctx, recorder->store, last);
}

static void put_gathered(nt__cache_recorder_t* recorder) {
  nt__answer_t* answer = recorder->answer;

  answer->size = recorder->block.size;
  answer->body = nt__body_take(&recorder->block);
  if (answer->body != NULL)
    nt__cache_put(recorder->store, answer);
}

void nt__cache_record_commit(nt__cache_recorder_t* recorder) {
  if (recorder->error != 0) {
    nt__cache_record_drop(recorder);
    return;
  }
  let_go(recorder);
  if (recorder->posted == 0) {
    put_gathered(recorder);
  } else {
    if (recorder->last->file == recorder->store->file)
      nt__cache_forget_key(recorder->store, recorder->answer->key);
    post_last(recorder, NT__TAPE_COMMIT);
  }
  free_recorder(recorder);
}

void nt__cache_record_drop(nt__cache_recorder_t* recorder) {
  if (recorder == NULL)
    return;
  let_go(recorder);
  if (recorder->posted > 0 && recorder->last != NULL)
    post_last(recorder, NT__TAPE_DROP);
  free_recorder(recorder);
}

void nt__cache_recorders_doom(nt__cache_store_t* store, const char* key) {
  nt__node_t* node;

  for (node = store->recorders.next; node != &store->recorders;
       node = node->next) {
    nt__cache_recorder_t* recorder =
        nt__container_of(node, nt__cache_recorder_t, node);

    if (recorder->error == 0 &&
        (key == NULL || strcmp(recorder->answer->key, key) == 0))
      recorder->error = NT_E_CACHE_MISS;
  }
}

/* What there is of them is removed. */
void nt__cache_recorders_close(nt__cache_store_t* store) {
  nt__node_t* node;

  while ((node = nt__list_shift(&store->recorders)) != NULL) {
    nt__cache_recorder_t* recorder =
        nt__container_of(node, nt__cache_recorder_t, node);

    let_go(recorder);
    if (recorder->posted > 0 && recorder->last != NULL)
      post_last(recorder, NT__TAPE_DROP);
    recorder->store = NULL;
    recorder->error = NT_E_CLOSED;
  }
}
