/* The I/O thread: one libuv loop, one function that does the work of a turn.
 *
 * libuv's callbacks only note what happened; the turn, which runs before each
 * poll, takes the commands, starts transfers, lets libcurl go on, and hands the
 * events over. So no transfer is started inside a callback of libcurl, commands
 * and events cross in batches, and one place decides whether to sleep. */
#include "ask.h"
#include "cache.h"
#include "cookies.h"
#include "driver.h"
#include "internal.h"
#include "lookup.h"
#include "mdns.h"
#include "resolve.h"
#include "storage.h"
#include "stream.h"
#include "transfer.h"
#include "udp.h"
#include "warm.h"

static nt_context_t* context_of(void* handle) {
  return ((uv_handle_t*) handle)->data;
}

static void on_nothing(uv_idle_t* handle) {
  (void) handle;
}

/* The next poll does not sleep. */
static void stay_awake(nt_context_t* ctx) {
  uv_idle_start(&ctx->io.busy, on_nothing);
}

void nt__io_worked(nt_context_t* ctx) {
  if (atomic_load(&ctx->spin_us) != 0)
    ctx->io.active_at = uv_hrtime();
}

/* Spinning trades CPU for the time that waking up takes. */
static bool spins(nt_context_t* ctx) {
  uint64_t spin_ns = (uint64_t) atomic_load(&ctx->spin_us) * 1000;

  return spin_ns != 0 && uv_hrtime() - ctx->io.active_at < spin_ns;
}

static void close_handles(nt_context_t* ctx) {
  nt__io_t* io = &ctx->io;

  nt__wake_close(&io->wake);
  uv_close((uv_handle_t*) &io->turn, NULL);
  uv_close((uv_handle_t*) &io->woken, NULL);
  uv_close((uv_handle_t*) &io->busy, NULL);
  nt__timers_close(&io->timers);
}

/* libcurl calls back while it cleans up, so the loop must still be there; and
 * what it closes needs one more run of the loop. */
static void shut_down(nt_context_t* ctx) {
  nt__tasks_abort(ctx);
  nt__cache_stop(ctx->io.cache);
  nt__cookies_stop(ctx->cookies);
  nt__storage_stop(ctx->io.storage);
  nt__resolver_free(ctx->io.resolver);
  nt__asks_free(ctx->io.asks);
  nt__udps_free(ctx->io.udps);
  nt__streams_free(ctx->io.streams);
  nt__transfers_free(ctx->io.transfers);
  nt__cache_free(ctx->io.cache);
  nt__lookups_free(ctx->io.lookups);
  nt__warm_close(ctx->io.warm);
  nt__driver_close(ctx->io.driver);
  close_handles(ctx);
}

static void on_turn(uv_prepare_t* handle) {
  nt_context_t* ctx = context_of(handle);
  nt__io_t* io = &ctx->io;
  bool more;

  uv_idle_stop(&io->busy);
  nt__commands_run(ctx);
  if (io->stopping) {
    shut_down(ctx);
    return;
  }
  nt__background_run(ctx);
  nt__storage_run(io->storage);
  nt__cookies_run(ctx->cookies);
  nt__resolver_run(io->resolver);
  nt__tasks_resume(ctx);
  nt__transfers_run(io->transfers);
  nt__scans_run(ctx);
  more = nt__driver_run(io->driver);
  more = nt__streams_run(io->streams) || more;
  more = nt__udps_run(io->udps) || more;
  more = nt__transfers_pending(io->transfers) || more;
  nt__events_publish(ctx);
  if (more || spins(ctx)) {
    stay_awake(ctx);
    return;
  }
  atomic_store(&ctx->io_sleeps, true);
  /* Has something changed since we looked? */
  if (!nt__mailbox_empty(&ctx->commands) || nt__tasks_can_resume(ctx) ||
      nt__storage_pending(io->storage) || nt__resolver_pending(io->resolver) ||
      nt__cookies_pending(ctx->cookies))
    stay_awake(ctx);
}

static void on_woken(uv_check_t* handle) {
  atomic_store(&context_of(handle)->io_sleeps, false);
}

static int init_handles(nt_context_t* ctx) {
  nt__io_t* io = &ctx->io;

  /* Of these only the first can fail. */
  if (nt__wake_init(&io->wake, &io->loop) != 0)
    return NT_E_SYSTEM;
  uv_prepare_init(&io->loop, &io->turn);
  uv_check_init(&io->loop, &io->woken);
  uv_idle_init(&io->loop, &io->busy);
  nt__timers_init(&io->timers, &io->loop);
  io->turn.data = io->woken.data = io->busy.data = ctx;
  uv_prepare_start(&io->turn, on_turn);
  uv_check_start(&io->woken, on_woken);
  return 0;
}

int nt__io_init(nt_context_t* ctx) {
  nt__io_t* io = &ctx->io;

  nt__table_init(&io->tasks);
  nt__list_init(&io->held);
  nt__list_init(&io->scans);
  nt__background_init(ctx);
  nt__meter_init(ctx);
  if (uv_loop_init(&io->loop) != 0)
    return NT_E_SYSTEM;
  if (init_handles(ctx) != 0)
    goto close_loop;
  if (nt__driver_open(ctx) == 0 && nt__lookups_open(ctx) == 0 &&
      nt__transfers_open(ctx) == 0 && nt__cache_open(ctx) == 0 &&
      nt__streams_open(ctx) == 0 && nt__udps_open(ctx) == 0 &&
      nt__warm_open(ctx) == 0)
    return 0;

  shut_down(ctx);
  nt__io_run(ctx);
  uv_loop_close(&io->loop);
  nt__wake_free(&io->wake);
  return NT_E_NOMEM;

close_loop:
  uv_loop_close(&io->loop);
  nt__wake_free(&io->wake);
  return NT_E_SYSTEM;
}

void nt__io_run(nt_context_t* ctx) {
  uv_run(&ctx->io.loop, UV_RUN_DEFAULT);
  nt__events_publish(ctx);
  nt__driver_free(ctx->io.driver);
  nt__free(ctx->io.warm);
}

void nt__io_free(nt_context_t* ctx) {
  nt__table_free(&ctx->io.tasks);
  nt__policy_unref(ctx->io.policy);
  uv_loop_close(&ctx->io.loop);
  nt__wake_free(&ctx->io.wake);
}
