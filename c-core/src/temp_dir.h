/* Folders for temporary files, one for each run and place. Storage thread
 * only. */
#ifndef NT_TEMP_DIR_H
#define NT_TEMP_DIR_H

#include <stdint.h>

#include "list.h"

typedef struct nt__temp_dirs {
  nt__node_t folders;
  unsigned long files; /* names given out */
  uint64_t bytes;      /* written to them, at least what there is of them */
} nt__temp_dirs_t;

void nt__temp_dirs_init(nt__temp_dirs_t* dirs);
/* Removes the folders of this run, with everything in them. */
void nt__temp_dirs_free(nt__temp_dirs_t* dirs);

/* Removes what processes that are dead have left in `base`; NULL is the
 * system's folder for such things. */
void nt__temp_dirs_sweep(const char* base);

/* A new path in the folder of this run, which is made if need be, to be freed.
 * 0 or one of our errors. */
int nt__temp_dirs_name(nt__temp_dirs_t* dirs, const char* base, char** out);

/* So many bytes are about to be written: 0, or NT_E_TEMP_SIZE when the files of
 * this run would be larger than `max` together. `max` 0: they may be. */
int nt__temp_dirs_grow(nt__temp_dirs_t* dirs, uint64_t max, uint64_t size);

#endif
