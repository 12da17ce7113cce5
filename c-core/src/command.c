/* Commands from the host to the I/O thread. The host posts, one wake-up serves
 * all that were posted while the I/O thread was awake, and nt_cork() gathers
 * those of a frame. */
#include <string.h>

#include "ask.h"
#include "cache.h"
#include "driver.h"
#include "internal.h"
#include "warm.h"

nt__command_t* nt__command_new(nt__command_type_t type, nt_id_t id) {
  nt__command_t* command = nt__calloc(sizeof(*command));

  if (command == NULL)
    return NULL;
  command->type = type;
  command->id = id;
  return command;
}

/* The I/O thread sets io_sleeps, then looks once more at the mailbox and at
 * what it holds back; we changed one of these, then look at io_sleeps: one of
 * us sees the other. */
void nt__io_wake(nt_context_t* ctx) {
  if (atomic_load(&ctx->io_sleeps) && atomic_exchange(&ctx->io_sleeps, false))
    nt__wake_send(&ctx->io.wake);
}

static void post_all(nt_context_t* ctx, nt__fifo_t* commands) {
  nt__mailbox_post(&ctx->commands, commands);
  nt__io_wake(ctx);
}

void nt__command_post_now(nt_context_t* ctx, nt__command_t* command) {
  nt__fifo_t one = { NULL, NULL };

  nt__fifo_push(&one, &command->link);
  post_all(ctx, &one);
}

void nt__command_post(nt_context_t* ctx, nt__command_t* command) {
  if (ctx->cork_depth > 0)
    nt__fifo_push(&ctx->corked, &command->link);
  else
    nt__command_post_now(ctx, command);
}

void nt_cork(nt_context_t* ctx) {
  ctx->cork_depth++;
}

void nt_uncork(nt_context_t* ctx) {
  if (ctx->cork_depth == 0 || --ctx->cork_depth > 0)
    return;
  if (ctx->corked.first != NULL && !atomic_load(&ctx->forked))
    post_all(ctx, &ctx->corked);
}

void nt__command_discard(nt__command_t* command) {
  switch (command->type) {
    case NT__CMD_START:
      command->task->class_->release(command->task);
      return;
    case NT__CMD_STOP: /* lies in the context */
      return;
    case NT__CMD_POLICY:
      nt__policy_unref(command->policy);
      break;
    case NT__CMD_CACHE_CLEAR:
      nt__free(command->text);
      break;
    case NT__CMD_ABORT:
    case NT__CMD_TELL:
    case NT__CMD_BACKGROUND:
    case NT__CMD_ANSWER:
      break;
  }
  nt__free(command);
}

static void run_abort(nt_context_t* ctx, nt_id_t id) {
  nt__task_t* task = nt__table_get(&ctx->io.tasks, id);

  if (task == NULL) /* it ended while the command was on its way */
    return;
  task->error = NT_E_ABORTED;
  task->class_->abort(task);
}

static void run_tell(nt_context_t* ctx, nt__command_t* command) {
  nt__task_t* task = nt__table_get(&ctx->io.tasks, command->id);

  if (task == NULL)
    nt__command_discard(command);
  else
    task->class_->tell(task, command);
}

static void run_policy(nt_context_t* ctx, nt__policy_t* policy) {
  bool renewed = policy->trust != ctx->io.policy->trust;

  nt__policy_unref(ctx->io.policy);
  ctx->io.policy = nt__policy_ref(policy);
  nt__meter_set(ctx);
  nt__cache_configure(ctx->io.cache);
  if (!renewed)
    return;
  nt__driver_renew(ctx->io.driver, policy);
  nt__warm_again(ctx->io.warm);
}

static void run(nt_context_t* ctx, nt__command_t* command) {
  switch (command->type) {
    case NT__CMD_START: /* the command lies in the block */
      nt__task_begin(ctx, command->task);
      return;
    case NT__CMD_ABORT:
      run_abort(ctx, command->id);
      break;
    case NT__CMD_TELL:
      run_tell(ctx, command);
      return;
    case NT__CMD_POLICY:
      run_policy(ctx, command->policy);
      break;
    case NT__CMD_BACKGROUND:
      nt__background_set(ctx, command->on);
      break;
    case NT__CMD_ANSWER:
      nt__asks_take(ctx, command);
      break;
    case NT__CMD_CACHE_CLEAR:
      nt__cache_clear(ctx->io.cache, command->text);
      break;
    case NT__CMD_STOP:
      ctx->io.stopping = true;
      return;
  }
  nt__command_discard(command);
}

void nt__commands_run(nt_context_t* ctx) {
  nt__fifo_t commands = { NULL, NULL };
  nt__link_t* link;

  if (nt__mailbox_empty(&ctx->commands))
    return;
  nt__io_worked(ctx);
  nt__mailbox_take(&ctx->commands, &commands);
  while ((link = nt__fifo_shift(&commands)) != NULL)
    run(ctx, nt__container_of(link, nt__command_t, link));
}
