/* Base64 (RFC 4648, section 4). Pure logic, any thread. */
#ifndef NT_BASE64_H
#define NT_BASE64_H

#include <stddef.h>

/* Characters that `size` bytes become, without a NUL. */
size_t nt__base64_size(size_t size);
/* Writes them and a NUL. */
void nt__base64_encode(const void* data, size_t size, char* out);

#endif
