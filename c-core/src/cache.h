/* The HTTP cache between a transfer and the network. I/O thread.
 *
 *   hop begins -> find -> judge -+-> play what is stored -> end
 *                                +-> ask, with validators -> 304: play
 *                                +-> ask                  -> record */
#ifndef NT_CACHE_H
#define NT_CACHE_H

#include "cache_store.h"
#include "transfer.h"

#endif
