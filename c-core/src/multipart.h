/* The text between the bodies of multipart/form-data (RFC 7578), escaped as
 * browsers do. Pure logic. */
#ifndef NT_MULTIPART_H
#define NT_MULTIPART_H

#include "buf.h"
#include "nettask.h"

enum {
  NT__BOUNDARY_MAX = 64 /* with the NUL */
};

/* A boundary from random bytes. */
void nt__multipart_boundary(const unsigned char random[16],
                            char out[NT__BOUNDARY_MAX]);

/* 0, NT_E_INVALID without a name, NT_E_HEADER for a type that would start
 * another field. */
int nt__multipart_check(const nt_part_t* part);

/* Counts as a file: has a path or a file name. */
int nt__multipart_is_file(const nt_part_t* part);

/* Append what comes before the content of a part, and behind the last one. 0
 * or NT_E_NOMEM. Before a part that is not the first, a line end belongs to
 * the delimiter. */
int nt__multipart_head(nt__buf_t* out, const char* boundary,
                       const nt_part_t* part, int is_first);
int nt__multipart_tail(nt__buf_t* out, const char* boundary, int is_empty);

#endif
