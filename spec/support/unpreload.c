/* Loaded into an interpreter right after a sanitizer's library: keeps both away
 * from what the interpreter starts. Some programs, dash among them, crash with
 * that library inside, and their leaks are not for us to count. */
#include <stdlib.h>

__attribute__((constructor)) static void unpreload(void) {
  unsetenv("LD_PRELOAD");
}
