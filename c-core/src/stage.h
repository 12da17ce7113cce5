/* The time-outs of a transfer: of its stage, and of the whole. */
#ifndef NT_STAGE_H
#define NT_STAGE_H

#include "transfer.h"

/* The stage begins now. */
void nt__stage_enter(nt__transfer_t* transfer, nt__stage_t stage);
/* Sets the timer to the nearer of the two deadlines. */
void nt__stage_arm(nt__transfer_t* transfer);
/* None from now on, and no total time either. */
void nt__stage_rest(nt__transfer_t* transfer);
/* A byte moved: the stage's time starts again. The timer finds out when it is
 * due, which is cheaper than moving it for each byte. */
void nt__stage_touch(nt__transfer_t* transfer);
/* The time of the stage is over, and the total is not. */
bool nt__stage_lapsed(const nt__transfer_t* transfer);
/* The timer is due: what is over, for people, or NULL after arming anew. */
const char* nt__stage_expired(nt__transfer_t* transfer);

/* The clocks stand still while the host holds the source back. */
void nt__stage_hold(nt__transfer_t* transfer);
/* That of the stage does while the disk is behind. */
void nt__stage_wait(nt__transfer_t* transfer);
void nt__stage_go_on(nt__transfer_t* transfer);

#endif
