/* What happens while the game is in the background. I/O thread. */
#ifndef NT_BACKGROUND_H
#define NT_BACKGROUND_H

#include <stdbool.h>

#include "timer.h"

struct nt_context;

typedef struct nt__background {
  bool on;
  bool over; /* the grace is: what runs is to end */
  nt__timer_t grace;
} nt__background_t;

void nt__background_init(struct nt_context* ctx);
/* NT__CMD_BACKGROUND. */
void nt__background_set(struct nt_context* ctx, bool on);
/* The part of a turn, after the commands. */
void nt__background_run(struct nt_context* ctx);

#endif
