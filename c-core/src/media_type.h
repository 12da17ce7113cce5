/* Media types and file extensions, in both directions. Pure logic. */
#ifndef NT_MEDIA_TYPE_H
#define NT_MEDIA_TYPE_H

#include <stddef.h>

enum {
  NT__EXTENSION_MAX = 16 /* with dot and NUL */
};

/* The type of a file by its name, or NULL. */
const char* nt__media_type_of(const char* file_name);

/* Writes ".jpg" for "image/jpeg; ..."; if the type (may be NULL) says nothing,
 * the extension at the end of the URL's path; or "". */
void nt__media_extension(const char* type, const char* url,
                         char out[NT__EXTENSION_MAX]);

#endif
