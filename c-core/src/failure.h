/* What went wrong in libcurl, as one of our codes. */
#ifndef NT_FAILURE_H
#define NT_FAILURE_H

#include <curl/curl.h>
#include <stdbool.h>

/* `code` is not CURLE_OK; `in_header` when the answer had begun and its header
 * was not complete. `curl` is as the transfer left it. */
int nt__failure(CURL* curl, CURLcode code, bool in_header);

#endif
