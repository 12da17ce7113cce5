/* The life of a context: its thread, and what must happen to it when the
 * process forks or exits.
 *
 * All contexts are in one list, under one lock, for the sake of two moments:
 * after fork() a child marks them dead, as their threads are not in it; and at
 * exit() they are stopped, because a thread inside TLS while OpenSSL tears
 * itself down crashes. That handler is registered after curl_global_init(), so
 * it runs before OpenSSL's. */
#include <stdlib.h>
#include <string.h>

#include "cookies.h"
#include "internal.h"
#include "storage.h"
#include "trust.h"

#ifndef _WIN32
#  include <pthread.h>
#  include <signal.h>
#endif

enum {
  EXIT_IO_MS = 10000,
  EXIT_STORAGE_MS = 500
};

static uv_once_t once = UV_ONCE_INIT;
static int global_error;
static uv_mutex_t contexts_mutex;
static nt__node_t contexts = { &contexts, &contexts }; /* under the mutex */

/* ---- Stopping ------------------------------------------------------------ */

static void post_stop(nt_context_t* ctx) {
  if (atomic_exchange(&ctx->stop_posted, true))
    return;
  ctx->stop.type = NT__CMD_STOP;
  nt__command_post_now(ctx, &ctx->stop);
}

/* True when the I/O thread has ended before `deadline` (uv_hrtime). */
static bool wait_stopped(nt_context_t* ctx, uint64_t deadline) {
  bool done;

  uv_mutex_lock(&ctx->mutex);
  while (!ctx->io_done) {
    uint64_t now = uv_hrtime();

    if (now >= deadline)
      break;
    uv_cond_timedwait(&ctx->stopped, &ctx->mutex, deadline - now);
  }
  done = ctx->io_done;
  uv_mutex_unlock(&ctx->mutex);
  return done;
}

/* Done is not gone: OpenSSL's destructors run while a thread ends, and may not
 * meet OpenSSL's own exit handler. */
static void join_stopped(nt_context_t* ctx, uint64_t deadline) {
  if (!wait_stopped(ctx, deadline))
    return;
  if (!ctx->joined && !ctx->abandoned)
    uv_thread_join(&ctx->thread);
  ctx->joined = true;
}

static uint64_t deadline_in(uint32_t ms) {
  return uv_hrtime() + (uint64_t) ms * 1000000;
}

/* ---- The process --------------------------------------------------------- */

/* If it still runs it is joined like any other. */
static void take_back(nt_context_t* ctx) {
  uv_mutex_lock(&ctx->mutex);
  ctx->abandoned = ctx->abandoned && ctx->io_done;
  uv_mutex_unlock(&ctx->mutex);
}

/* The I/O threads wait for nobody: whoever takes longer than a moment is at
 * work inside OpenSSL, on a machine that has little time for it. A disk may
 * hang. */
static void on_exit_process(void) {
  uint64_t deadline = deadline_in(EXIT_IO_MS);
  nt__node_t* node;

  uv_mutex_lock(&contexts_mutex);
  for (node = contexts.next; node != &contexts; node = node->next) {
    nt_context_t* ctx = nt__container_of(node, nt_context_t, registered);

    take_back(ctx);
    post_stop(ctx);
  }
  for (node = contexts.next; node != &contexts; node = node->next)
    join_stopped(nt__container_of(node, nt_context_t, registered), deadline);
  deadline = deadline_in(EXIT_STORAGE_MS);
  for (node = contexts.next; node != &contexts; node = node->next) {
    nt_context_t* ctx = nt__container_of(node, nt_context_t, registered);

    if (ctx->joined) /* it may remove temporary files */
      nt__storage_wait(ctx->io.storage, deadline);
  }
  uv_mutex_unlock(&contexts_mutex);
}

#ifndef _WIN32
static void before_fork(void) {
  uv_mutex_lock(&contexts_mutex);
}

static void after_fork_parent(void) {
  uv_mutex_unlock(&contexts_mutex);
}

static void after_fork_child(void) {
  nt__node_t* node;

  for (node = contexts.next; node != &contexts; node = node->next)
    atomic_store(&nt__container_of(node, nt_context_t, registered)->forked,
                 true);
  nt__list_init(&contexts); /* exit() in the child has nothing to stop */
  uv_mutex_unlock(&contexts_mutex);
}
#endif

static void init_process(void) {
  global_error = nt__alloc_init_curl();
  if (global_error == 0 && uv_mutex_init(&contexts_mutex) != 0)
    global_error = NT_E_SYSTEM;
  if (global_error)
    return;
  atexit(on_exit_process);
#ifndef _WIN32
  pthread_atfork(before_fork, after_fork_parent, after_fork_child);
#endif
}

static void enlist(nt_context_t* ctx) {
  uv_mutex_lock(&contexts_mutex);
  nt__list_append(&contexts, &ctx->registered);
  uv_mutex_unlock(&contexts_mutex);
}

static void delist(nt_context_t* ctx) {
  uv_mutex_lock(&contexts_mutex);
  nt__list_remove(&ctx->registered);
  uv_mutex_unlock(&contexts_mutex);
}

static int init_sync(nt_context_t* ctx) {
  if (uv_mutex_init(&ctx->mutex) != 0)
    return NT_E_SYSTEM;
  if (uv_cond_init(&ctx->arrived) != 0)
    goto destroy_mutex;
  if (uv_cond_init(&ctx->stopped) != 0)
    goto destroy_arrived;
  return 0;

destroy_arrived:
  uv_cond_destroy(&ctx->arrived);
destroy_mutex:
  uv_mutex_destroy(&ctx->mutex);
  return NT_E_SYSTEM;
}

static void destroy_sync(nt_context_t* ctx) {
  uv_cond_destroy(&ctx->stopped);
  uv_cond_destroy(&ctx->arrived);
  uv_mutex_destroy(&ctx->mutex);
}

/* ---- The thread ---------------------------------------------------------- */

/* Nobody will join it. */
static void detach_thread(nt_context_t* ctx) {
#ifdef _WIN32
  CloseHandle(ctx->thread);
#else
  pthread_detach(ctx->thread);
#endif
}

/* The storage thread may be late, too: it is waited for until `deadline`. */
static void free_context(nt_context_t* ctx, uint64_t deadline) {
  nt__storage_close(ctx->io.storage, deadline);
  nt__host_free(ctx);
  nt__io_free(ctx);
  nt__cookies_free(ctx->cookies);
  destroy_sync(ctx);
  nt__free(ctx);
}

static void io_main(void* arg) {
  nt_context_t* ctx = arg;
  bool abandoned;

  nt__io_run(ctx);
  uv_mutex_lock(&ctx->mutex);
  ctx->io_done = true;
  abandoned = ctx->abandoned;
  uv_cond_signal(&ctx->stopped);
  uv_mutex_unlock(&ctx->mutex);
  if (!abandoned)
    return;
  detach_thread(ctx);
  delist(ctx);
  free_context(ctx, 0);
}

/* The thread is late: it frees the context when it gets there, unless exit()
 * comes first. False when it has ended after all. */
static bool abandon(nt_context_t* ctx) {
  bool late;

  uv_mutex_lock(&ctx->mutex);
  late = ctx->abandoned = !ctx->io_done;
  uv_mutex_unlock(&ctx->mutex); /* from here on the context may be gone */
  return late;
}

/* The thread, and those that libcurl starts from it, inherit a full mask: the
 * host's signals stay with the host, and a write to a dead peer raises none. */
static int start_thread(nt_context_t* ctx) {
  int err;
#ifndef _WIN32
  sigset_t all;
  sigset_t before;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  err = uv_thread_create(&ctx->thread, io_main, ctx);
#ifndef _WIN32
  pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif
  return err == 0 ? 0 : NT_E_SYSTEM;
}

/* ---- Public -------------------------------------------------------------- */

static nt__policy_t* default_policy(void) {
  nt_policy_t values;

  nt_policy_init(&values, NT_PRESET_MINIPROGRAM);
  return nt__policy_new(&values);
}

int nt_open(nt_context_t** out) {
  nt_context_t* ctx;
  int err;

  *out = NULL;
  uv_once(&once, init_process);
  if (global_error)
    return global_error;
  ctx = nt__calloc(sizeof(*ctx));
  if (ctx == NULL)
    return NT_E_NOMEM;
  ctx->policy = default_policy();
  if (ctx->policy == NULL) {
    nt__free(ctx);
    return NT_E_NOMEM;
  }
  ctx->io.policy = nt__policy_ref(ctx->policy);
  nt__host_init(ctx);
  err = init_sync(ctx);
  if (err)
    goto free_host;
  err = nt__cookies_open(ctx);
  if (err)
    goto free_sync;
  err = nt__io_init(ctx);
  if (err)
    goto free_cookies;
  enlist(ctx);
  err = start_thread(ctx);
  if (err)
    goto free_io;
  *out = ctx;
  return 0;

free_io:
  delist(ctx);
  post_stop(ctx);
  nt__io_run(ctx);
  nt__io_free(ctx);
  ctx->io.policy = NULL;
free_cookies:
  nt__cookies_free(ctx->cookies);
free_sync:
  destroy_sync(ctx);
free_host:
  nt__policy_unref(ctx->io.policy);
  nt__host_free(ctx);
  nt__free(ctx);
  return err;
}

void nt_close(nt_context_t* ctx, uint32_t deadline_ms) {
  uint64_t deadline = deadline_in(deadline_ms);

  if (ctx == NULL || atomic_load(&ctx->forked))
    return;
  post_stop(ctx);
  if (!wait_stopped(ctx, deadline) && abandon(ctx))
    return;
  delist(ctx);
  join_stopped(ctx, UINT64_MAX);
  free_context(ctx, deadline);
}

int nt_policy_set(nt_context_t* ctx, const nt_policy_t* values) {
  nt__policy_t* policy;
  nt__command_t* command;
  int err;

  if (values == NULL)
    return NT_E_INVALID;
  if (atomic_load(&ctx->forked))
    return NT_E_FORKED;
  err = nt_policy_check(values, NULL, 0);
  if (err)
    return err;
  policy = nt__policy_new(values);
  if (policy == NULL)
    return NT_E_NOMEM;
  command = nt__command_new(NT__CMD_POLICY, 0);
  if (command == NULL) {
    nt__policy_unref(policy);
    return NT_E_NOMEM;
  }
  if (nt__cookies_use(ctx->cookies, policy->values.cookie_file) != 0) {
    nt__command_discard(command);
    nt__policy_unref(policy);
    return NT_E_NOMEM;
  }
  policy->trust = ctx->policy->trust;
  if (!nt__trust_is_same(&ctx->policy->values, &policy->values))
    policy->trust++;
  command->policy = nt__policy_ref(policy);
  nt__credit_flush(ctx);
  nt__meter_change(ctx, values);
  nt__command_post(ctx, command);
  nt__policy_unref(ctx->policy);
  ctx->policy = policy;
  atomic_store(&ctx->spin_us, values->spin_us);
  return 0;
}
