/* The capability: one action on the store is one task. The work is done on the
 * storage thread; what is between the task and its job belongs to the job,
 * since a task may end while it is under way.
 *
 * I/O thread, but for the host's part at the end. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "storage.h"

typedef struct nt__errand {
  nt__job_t job;
  nt__policy_t* policy;
  struct nt__store_task* owner; /* NULL once the task has ended */
  nt__store_call_t call;
  char bytes[]; /* key and value */
} nt__errand_t;

typedef struct nt__store_task {
  nt__task_t task;
  nt__errand_t* errand; /* until it is done */
  void* data;
  size_t size;
} nt__store_task_t;

static nt__store_task_t* of_task(const nt__task_t* task) {
  return nt__container_of(task, nt__store_task_t, task);
}

static void free_errand(nt__errand_t* errand) {
  if (errand == NULL)
    return;
  nt__policy_unref(errand->policy);
  nt__free(errand->call.data);
  nt__free(errand);
}

/* ---- The job ------------------------------------------------------------- */

static void run(nt__job_t* job, nt__files_t* files) {
  nt__errand_t* errand = nt__container_of(job, nt__errand_t, job);

  nt__store_file_run(&files->store, &errand->policy->values, &errand->call);
}

/* The value changes hands. */
static void take_result(nt__store_task_t* owner, nt__store_call_t* call) {
  nt__task_t* task = &owner->task;

  task->error = call->error;
  snprintf(task->message, sizeof(task->message), "%s", call->message);
  owner->data = call->data;
  owner->size = call->size;
  owner->errand = NULL;
  call->data = NULL;
}

static void on_done(nt__job_t* job) {
  nt__errand_t* errand = nt__container_of(job, nt__errand_t, job);
  nt__store_task_t* owner = errand->owner;

  if (owner != NULL) {
    take_result(owner, &errand->call);
    nt__task_end(&owner->task, owner->size);
  }
  free_errand(errand);
}

/* ---- The task ------------------------------------------------------------ */

static void store_start(nt__task_t* task) {
  nt__store_task_t* owner = of_task(task);
  nt__errand_t* errand = owner->errand;

  task->error = nt__storage_open(task->ctx);
  if (task->error) {
    nt__task_end(task, 0);
    return;
  }
  errand->owner = owner;
  errand->policy = nt__policy_ref(task->policy);
  errand->job.run = run;
  errand->job.done = on_done;
  nt__storage_post(task->ctx, &errand->job);
}

/* What is under way is done all the same, and nobody hears of it. */
static void store_abort(nt__task_t* task) {
  nt__store_task_t* owner = of_task(task);

  owner->errand->owner = NULL;
  owner->errand = NULL;
  nt__task_end(task, 0);
}

static void store_resume(nt__task_t* task) {
  (void) task; /* one event, which is never held back */
}

/* ---- Host thread --------------------------------------------------------- */

static void store_show(nt__task_t* task, nt_event_t* event) {
  const nt__store_task_t* owner = of_task(task);

  event->data = owner->data;
  event->size = owner->size;
}

static void store_release(nt__task_t* task) {
  nt__store_task_t* owner = of_task(task);

  nt__task_fini(task);
  free_errand(owner->errand);
  nt__free(owner->data);
  nt__free(owner);
}

static const nt__task_class_t store_class = { .start = store_start,
                                              .abort = store_abort,
                                              .resume = store_resume,
                                              .show = store_show,
                                              .release = store_release,
                                              .opens_at_once = true,
                                              .stays_in_background = true };

int nt_store_open(nt_context_t* ctx, nt_id_t* id) {
  return nt__task_open(ctx, id);
}

static int check(const nt_context_t* ctx, const nt_store_options_t* options) {
  uint64_t max = ctx->policy->values.store_max_bytes;

  if (options == NULL || options->key == NULL || options->key_size == 0 ||
      options->action > NT_STORE_REMOVE ||
      (options->value == NULL && options->value_size != 0))
    return NT_E_INVALID;
  if (options->action == NT_STORE_PUT && max != 0 &&
      nt__store_cost(options->key_size, options->value_size) > max)
    return NT_E_VALUE_SIZE;
  return 0;
}

static const void* keep(char* to, const void* bytes, size_t size) {
  if (size > 0)
    memcpy(to, bytes, size);
  return to;
}

static nt__errand_t* new_errand(const nt_store_options_t* options) {
  bool has_value = options->action == NT_STORE_PUT;
  size_t value_size = has_value ? options->value_size : 0;
  nt__errand_t* errand =
      nt__calloc(sizeof(*errand) + options->key_size + value_size);
  nt__store_call_t* call;

  if (errand == NULL)
    return NULL;
  call = &errand->call;
  call->action = options->action;
  call->key = keep(errand->bytes, options->key, options->key_size);
  call->key_size = options->key_size;
  call->value =
      keep(errand->bytes + options->key_size, options->value, value_size);
  call->value_size = value_size;
  return errand;
}

int nt_store_start(nt_context_t* ctx, nt_id_t id,
                   const nt_store_options_t* options) {
  nt__store_task_t* owner;
  int err = nt__task_check_idle(ctx, id);

  if (err == 0)
    err = check(ctx, options);
  if (err)
    return err;
  owner = nt__calloc(sizeof(*owner));
  if (owner == NULL)
    return NT_E_NOMEM;
  owner->task.class_ = &store_class;
  owner->errand = new_errand(options);
  if (owner->errand == NULL) {
    nt__free(owner);
    return NT_E_NOMEM;
  }
  nt__task_start(ctx, id, &owner->task);
  return 0;
}
