/* What happens while the game is in the background. I/O thread. */
#ifndef NT_BACKGROUND_H
#define NT_BACKGROUND_H

#include <stdbool.h>

#include "timer.h"

struct nt_context;

typedef struct nt__background {
  bool on;
  nt__timer_t grace; /* what runs ends when it is due */
} nt__background_t;

void nt__background_init(struct nt_context* ctx);
/* NT__CMD_BACKGROUND. */
void nt__background_set(struct nt_context* ctx, bool on);

#endif
