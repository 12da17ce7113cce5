/* What the answers of a URL are stored under. Pure logic. */
#ifndef NT_CACHE_KEY_H
#define NT_CACHE_KEY_H

#include "url.h"

/* The URL as it is asked for, so that URLs that mean the same have one key.
 * That of most is their own text, and then `*own` is NULL; else it is for
 * nt__free(). NULL without memory. */
const char* nt__cache_key(const nt__url_t* url, char** own);

#endif
