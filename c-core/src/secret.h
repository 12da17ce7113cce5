/* Secrets: texts that stand for them become them. Pure logic, any thread. */
#ifndef NT_SECRET_H
#define NT_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "nettask.h"
#include "url.h"

bool nt__secret_is_in(const nt_policy_t* policy, const char* text, size_t size);

/* Whether all the secrets in it may be sent there: 0 or NT_E_SECRET, and then
 * `message` says which one may not. `overheard`: the script would learn what is
 * sent, so none may. */
int nt__secret_check(const nt_policy_t* policy, const char* text, size_t size,
                     const nt__url_t* url, bool overheard, char* message,
                     size_t message_size);

/* The text with the values of its secrets, without a NUL, into `out` unless
 * that is NULL. Returns its size. */
size_t nt__secret_reveal(const nt_policy_t* policy, const char* text,
                         size_t size, char* out);

#endif
