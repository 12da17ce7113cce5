/* What went wrong in libcurl, as one of our codes. */
#ifndef NT_FAILURE_H
#define NT_FAILURE_H

#include <curl/curl.h>

/* `code` is not CURLE_OK. `curl` is as the transfer left it, `message` what it
 * wrote into its error buffer. */
int nt__failure(CURL* curl, CURLcode code, const char* message);

#endif
