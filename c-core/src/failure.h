/* What went wrong in libcurl, as one of our codes. */
#ifndef NT_FAILURE_H
#define NT_FAILURE_H

#include <curl/curl.h>
#include <stdbool.h>

/* `code` is not CURLE_OK; `in_header` when the request was sent and the header
 * of the answer is not complete. `curl` is as the transfer left it, `message`
 * what it wrote into its error buffer. */
int nt__failure(CURL* curl, CURLcode code, bool in_header, const char* message);

#endif
