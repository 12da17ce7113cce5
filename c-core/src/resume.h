/* Going on with a download: pure logic. */
#ifndef NT_RESUME_H
#define NT_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "header.h"

enum {
  NT__VALIDATOR_MAX = 256,    /* an ETag or a date, with the NUL */
  NT__SIDECAR_MAX = 16 * 1024 /* bytes of the file */
};

/* What the sidecar of a part says. */
typedef struct nt__sidecar {
  char validator[NT__VALIDATOR_MAX]; /* for If-Range; never "" */
  uint64_t length;                   /* of the whole file; 0: unknown */
} nt__sidecar_t;

/* The strong validator of a response (RFC 9110, 8.8): its ETag, or its
 * Last-Modified. False when there is none, or it is too long. */
bool nt__resume_validator(const nt__headers_t* headers,
                          char out[NT__VALIDATOR_MAX]);

/* Text for the file. 0 or NT_E_NOMEM. */
int nt__sidecar_write(nt__buf_t* out, const char* url,
                      const nt__sidecar_t* sidecar);
/* False when the text is cut off, no sidecar, or that of another URL. */
bool nt__sidecar_read(const char* text, size_t size, const char* url,
                      nt__sidecar_t* out);

typedef struct nt__content_range {
  uint64_t first, last;
  uint64_t total; /* 0: unknown */
} nt__content_range_t;

/* "bytes 5-9/10". False for anything else. */
bool nt__content_range_parse(const char* text, nt__content_range_t* out);

/* The 206 goes on where it was asked to, with the file that the sidecar is
 * about. */
bool nt__resume_matches(const nt__headers_t* headers, uint64_t offset,
                        const nt__sidecar_t* sidecar,
                        nt__content_range_t* range);

#endif
