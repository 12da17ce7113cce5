/* Bytes from the system's generator. Any thread. */
#include <uv.h>

#include "nettask.h"

int nt_random(void* out, size_t size) {
  return uv_random(NULL, NULL, out, size, 0, NULL) == 0 ? 0 : NT_E_SYSTEM;
}
