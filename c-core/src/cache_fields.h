/* What the rules ask of an answer's fields, apart from time. Pure logic. */
#ifndef NT_CACHE_FIELDS_H
#define NT_CACHE_FIELDS_H

#include "cache_control.h"

/* Whether fields can be stored as they are: not too many, lists included, and
 * no Vary that never matches. */
bool nt__cache_can_keep(const nt_headers_t* headers);

#endif
