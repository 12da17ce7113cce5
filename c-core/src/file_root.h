/* Which files tasks may read and write. Storage thread only. */
#ifndef NT_FILE_ROOT_H
#define NT_FILE_ROOT_H

#include "nettask.h"

/* The path without links that `path` means, to be freed, if the policy allows
 * it: 0, NT_E_NO_FOLDER or NT_E_NO_FILE, NT_E_OUTSIDE, NT_E_PERMISSION,
 * NT_E_NOT_A_FILE for a name that cannot be that of a file, NT_E_NOMEM,
 * NT_E_FILE. Of a file to write only the folder must be there. */
int nt__file_root_write(const nt_policy_t* policy, const char* path,
                        char** out);
int nt__file_root_read(const nt_policy_t* policy, const char* path, char** out);

#endif
