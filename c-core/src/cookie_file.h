/* The file of a cookie jar. Storage thread. */
#ifndef NT_COOKIE_FILE_H
#define NT_COOKIE_FILE_H

#include "buf.h"

/* Each 0 or an error of libuv. A file that is not there is an empty one. */
int nt__cookie_file_read(const char* path, nt__buf_t* out);
int nt__cookie_file_save(const char* path, const nt__buf_t* bytes);

#endif
