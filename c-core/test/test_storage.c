/* storage.c: jobs in order, results in a turn of the loop, and an end that
 * waits for nothing that hangs. */
#include "storage.h"

#include <unistd.h>

#include "host.h"

enum {
  JOBS = 1000
};

/* What runs on the I/O thread of a context: a task of our own. */
typedef struct work {
  nt__task_t task;
  void (*start)(struct work* work);
  int pipe[2];
  atomic_int done;
  int order;
  struct numbered {
    nt__job_t job;
    struct work* work;
    int number;
    int ran; /* how many had run before */
  } jobs[JOBS];
} work_t;

static atomic_int ran;
static atomic_int leftovers; /* told after the task had gone */

static work_t* work_of(const nt__task_t* task) {
  return nt__container_of(task, work_t, task);
}

static void work_start(nt__task_t* task) {
  assert_int_equal(nt__storage_open(task->ctx), 0);
  work_of(task)->start(work_of(task));
}

static void work_abort(nt__task_t* task) {
  nt__task_end(task, 0);
}

static void work_resume(nt__task_t* task) {
  (void) task;
}

static void work_show(nt__task_t* task, nt_event_t* event) {
  (void) task;
  (void) event;
}

static void work_release(nt__task_t* task) {
  nt__task_fini(task); /* the jobs may still lie in it: see tear_down() */
}

static const nt__task_class_t work_class = { .start = work_start,
                                             .abort = work_abort,
                                             .resume = work_resume,
                                             .show = work_show,
                                             .release = work_release };

static nt_id_t start_work(nt_context_t* net, work_t* work) {
  nt_id_t id;

  work->task.class_ = &work_class;
  assert_int_equal(nt__task_open(net, &id), 0);
  nt__task_start(net, id, &work->task);
  return id;
}

static work_t* new_work(void (*start)(work_t*)) {
  work_t* work = calloc(1, sizeof(*work));
  int i;

  assert_non_null(work);
  work->start = start;
  for (i = 0; i < JOBS; i++) {
    work->jobs[i].work = work;
    work->jobs[i].number = i;
  }
  atomic_store(&ran, 0);
  atomic_store(&leftovers, 0);
  return work;
}

/* ---- Order -------------------------------------------------------------- */

static void run_numbered(nt__job_t* job, nt__files_t* files) {
  assert_non_null(files);
  nt__container_of(job, struct numbered, job)->ran = atomic_fetch_add(&ran, 1);
}

static void on_numbered(nt__job_t* job) {
  struct numbered* numbered = nt__container_of(job, struct numbered, job);
  work_t* work = numbered->work;

  if (numbered->number != work->order || numbered->ran != work->order)
    work->task.error = NT_E_STATE;
  work->order++;
  if (work->order == JOBS)
    nt__task_end(&work->task, 0);
}

static void post_all(work_t* work) {
  int i;

  for (i = 0; i < JOBS; i++) {
    work->jobs[i].job.run = run_numbered;
    work->jobs[i].job.done = on_numbered;
    nt__storage_post(work->task.ctx, &work->jobs[i].job);
  }
}

static void jobs_stay_in_order(void** state) {
  host_t* host = *state;
  work_t* work = new_work(post_all);

  host_expect(host, start_work(host->net, work), 0);
  assert_int_equal(work->order, JOBS);
  nt_close(host->net, CLOSE_MS); /* also ends the thread */
  assert_int_equal(nt_open(&host->net), 0);
  free(work);
}

/* ---- The end ------------------------------------------------------------ */

static void on_leftover(nt__job_t* job) {
  (void) job;
  atomic_fetch_add(&leftovers, 1);
}

/* Hangs until the test writes into the pipe. */
static void run_hanging(nt__job_t* job, nt__files_t* files) {
  work_t* work = nt__container_of(job, struct numbered, job)->work;
  char byte;

  (void) files;
  atomic_fetch_add(&ran, 1);
  if (read(work->pipe[0], &byte, 1) != 1)
    abort();
}

static void post_hanging(work_t* work) {
  int i;

  for (i = 0; i < 3; i++) {
    work->jobs[i].job.run = i == 0 ? run_hanging : run_numbered;
    work->jobs[i].job.done = on_leftover;
    nt__storage_post(work->task.ctx, &work->jobs[i].job);
  }
}

static void wait_for(atomic_int* number, int value) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  while (atomic_load(number) < value) {
    assert_true(uv_hrtime() < end);
    sched_yield();
  }
}

/* A request is served while a file call hangs; closing does not wait for it;
 * and when it comes back at last, what was posted is still done and told. */
static void a_disk_that_hangs(void** state) {
  host_t* host = *state;
  work_t* work = new_work(post_hanging);
  nt_event_t ev;
  nt_id_t id;
  uint64_t start;

  assert_int_equal(pipe(work->pipe), 0);
  start_work(host->net, work);
  wait_for(&ran, 1);
  id = host_get(host, "/hello");
  host_end(host, id, &ev);
  assert_int_equal(ev.error, 0);

  start = uv_hrtime();
  nt_close(host->net, 200);
  assert_true(uv_hrtime() - start < 2000 * 1000000u);
  assert_int_equal(atomic_load(&leftovers), 0);

  assert_int_equal(write(work->pipe[1], "x", 1), 1);
  wait_for(&leftovers, 3);
  assert_int_equal(atomic_load(&ran), 3);
  close(work->pipe[0]);
  close(work->pipe[1]);
  assert_int_equal(nt_open(&host->net), 0);
  free(work);
}

static void post_some(work_t* work) {
  int i;

  for (i = 0; i < JOBS; i++) {
    work->jobs[i].job.run = run_numbered;
    work->jobs[i].job.done = on_leftover;
    nt__storage_post(work->task.ctx, &work->jobs[i].job);
  }
}

/* What was posted before the end is run and told before close returns. */
static void closing_with_work(void** state) {
  host_t* host = *state;
  work_t* work = new_work(post_some);

  start_work(host->net, work);
  wait_for(&ran, 1);
  assert_int_equal(host_close(host->net), 0);
  assert_int_equal(atomic_load(&ran), JOBS);
  assert_int_equal(atomic_load(&leftovers), JOBS);
  assert_int_equal(nt_open(&host->net), 0);
  free(work);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(jobs_stay_in_order),
    HOST_TEST(a_disk_that_hangs),
    HOST_TEST(closing_with_work),
  };

  return cmocka_run_group_tests_name("storage", tests, NULL, NULL);
}
