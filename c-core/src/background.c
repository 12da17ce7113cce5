/* The background rule of the platforms: a game that is not seen starts nothing,
 * and what it has under way ends after a time of grace. The host thread refuses
 * to start (nt__task_check_start()); the clock of the grace is here, on the I/O
 * thread, since a game in the background may have stopped its frames. */
#include "background.h"

#include "cache.h"
#include "internal.h"

/* ---- I/O thread ---------------------------------------------------------- */

/* A file that is being put in place is as good as there: that is a success. One
 * that ends already ends as it does. */
static bool is_too_late(nt__task_t* task) {
  return task->fate != NULL &&
         (task->error != 0 || !nt__fate_abort(task->fate));
}

static bool can_interrupt(const nt__task_t* task) {
  return !task->interrupted && !task->class_->stays_in_background;
}

/* Some end later, when nothing is left of them on the disk. */
static void interrupt(nt__task_t* task) {
  task->interrupted = true;
  if (is_too_late(task))
    return;
  task->error = NT_E_INTERRUPTED;
  task->class_->abort(task);
  task->message[0] = '\0'; /* the block is the host's after this turn only */
}

/* Ending one moves others about in the table: so again until none is new. */
static void interrupt_all(nt_context_t* ctx) {
  bool found;

  do {
    size_t cursor = 0;
    nt__task_t* task;

    found = false;
    while ((task = nt__table_next(&ctx->io.tasks, &cursor)) != NULL)
      if (can_interrupt(task)) {
        found = true;
        interrupt(task);
      }
  } while (found);
}

/* That the game is back may have been told by now: the turn knows. */
static void on_due(nt__timer_t* timer) {
  nt__container_of(timer, nt__background_t, grace)->over = true;
}

void nt__background_run(nt_context_t* ctx) {
  if (!ctx->io.background.over)
    return;
  ctx->io.background.over = false;
  nt__renewals_end(ctx->io.cache);
  interrupt_all(ctx);
}

void nt__background_init(nt_context_t* ctx) {
  ctx->io.background.grace.on_due = on_due;
}

void nt__background_set(nt_context_t* ctx, bool on) {
  nt__io_t* io = &ctx->io;

  if (io->background.on == on)
    return;
  io->background.on = on;
  io->background.over = false;
  if (on)
    nt__timer_set(&io->timers, &io->background.grace,
                  nt__now(ctx) + io->policy->values.background_grace_ms);
  else
    nt__timer_clear(&io->timers, &io->background.grace);
}

/* ---- Host thread --------------------------------------------------------- */

int nt_background(nt_context_t* ctx, int on) {
  nt__command_t* command;

  if (atomic_load(&ctx->forked))
    return NT_E_FORKED;
  if (ctx->in_background == (on != 0))
    return 0;
  command = nt__command_new(NT__CMD_BACKGROUND, 0);
  if (command == NULL)
    return NT_E_NOMEM;
  command->on = on != 0;
  ctx->in_background = on != 0;
  nt__command_post(ctx, command);
  return 0;
}
