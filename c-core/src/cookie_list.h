/* What the host sees of a jar. */
#ifndef NT_COOKIE_LIST_H
#define NT_COOKIE_LIST_H

#include "cookie_jar.h"
#include "nettask.h"

/* Of those for `place`, or NULL: of all. NULL without memory. */
nt_cookies_t* nt__cookie_list(nt__jar_t* jar, const nt__cookie_place_t* place,
                              int64_t now_ms);

#endif
