/* HTTP header fields: what may be sent, and what was received. */
#ifndef NT_HEADER_H
#define NT_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "nettask.h"

/* RFC 9110 token: a method or a field name. */
bool nt__header_is_token(const char* text);
/* The field carries a credential, so it stays with its origin. */
bool nt__header_is_secret(const char* name);
/* Names are compared without case. */
bool nt__header_is(const char* name, const char* other);

/* Received fields: name NUL value NUL ..., behind one another. */
typedef struct nt__headers {
  nt__buf_t bytes;
  size_t count;
} nt__headers_t;

void nt__headers_init(nt__headers_t* headers, uint64_t max_bytes);
void nt__headers_free(nt__headers_t* headers);
/* Forgets the fields, keeps the memory. */
void nt__headers_reset(nt__headers_t* headers);

/* Takes in one line as it came, line end included: a field, or the folded
 * rest of the one before; lines that are neither are passed over. 0,
 * NT_E_NOMEM, NT_E_FULL above the maximum. */
int nt__headers_add_line(nt__headers_t* headers, const char* line, size_t size);

/* Appends name NUL value NUL, of the value so many bytes; neither has a NUL. On
 * an error, NT_E_NOMEM or NT_E_FULL, nothing was appended. */
int nt__header_append(nt__buf_t* out, const char* name, const char* value,
                      size_t size);
/* The same, and counts it. */
int nt__headers_add(nt__headers_t* headers, const char* name, const char* value,
                    size_t size);

nt_headers_t nt__headers_view(const nt__headers_t* headers);
/* The first value of that name, or NULL. */
const char* nt__headers_find(const nt__headers_t* headers, const char* name);

#endif
