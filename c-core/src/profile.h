/* What libcurl measured of a hop. */
#ifndef NT_PROFILE_H
#define NT_PROFILE_H

#include "transfer.h"

/* Adds the bytes of the hop to the transfer's and the context's. */
void nt__profile_count(nt__transfer_t* transfer);
/* Adds those that have come so far to the quota of the minute; counting adds
 * the rest. */
void nt__profile_meter(nt__transfer_t* transfer);
/* Fills in the profile from the hop that has ended. */
void nt__profile_read(nt__transfer_t* transfer);

#endif
