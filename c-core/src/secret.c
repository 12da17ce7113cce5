/* Secrets.
 *
 * A script sends a placeholder, and the value takes its place on the I/O
 * thread, in memory that lives as long as the hop and is wiped then: it never
 * lies in the block of a task, which the host's thread can look into. What was
 * put in is not searched again. */
#include "secret.h"

#include <stdio.h>
#include <string.h>

#include "gate.h"

enum {
  SHOWN_SIZE = 128 /* of what was to be reached */
};

/* A placeholder that is empty is nowhere. */
static bool begins_with(const char* text, const char* end, const char* what) {
  size_t size;

  if (what[0] == '\0' || what[0] != text[0])
    return false;
  size = strlen(what);
  return (size_t) (end - text) >= size && memcmp(text, what, size) == 0;
}

/* Of the placeholders that begin here the longest. */
static const nt_secret_t* secret_at(const nt_policy_t* policy, const char* text,
                                    const char* end) {
  const nt_secret_t* found = NULL;
  size_t i;

  for (i = 0; i < policy->secret_count; i++) {
    const nt_secret_t* secret = &policy->secrets[i];

    if (begins_with(text, end, secret->placeholder) &&
        (found == NULL ||
         strlen(secret->placeholder) > strlen(found->placeholder)))
      found = secret;
  }
  return found;
}

/* The first placeholder. Place by place: to look for one after the other would
 * take a script's header that is long and full of them many times over. */
static const nt_secret_t* next(const nt_policy_t* policy, const char* text,
                               const char* end, const char** place) {
  const nt_secret_t* found = NULL;

  for (; found == NULL && text < end; text++) {
    found = secret_at(policy, text, end);
    *place = text;
  }
  return found;
}

bool nt__secret_is_in(const nt_policy_t* policy, const char* text,
                      size_t size) {
  const char* place;

  return policy->secret_count > 0 &&
         next(policy, text, text + size, &place) != NULL;
}

int nt__secret_check(const nt_policy_t* policy, const char* text, size_t size,
                     const nt__url_t* url, bool overheard, char* message,
                     size_t message_size) {
  const char* end = text + size;
  const nt_secret_t* secret;
  char shown[SHOWN_SIZE];
  const char* place;

  while ((secret = next(policy, text, end, &place)) != NULL) {
    if (overheard || !nt__gate_secret(secret, url)) {
      nt__gate_show(url, shown, sizeof(shown));
      snprintf(message, message_size, "%s, secret \"%s\"", shown, secret->name);
      return NT_E_SECRET;
    }
    text = place + strlen(secret->placeholder);
  }
  return 0;
}

/* Appends, if there is a place to append to. */
static size_t put(char* out, size_t used, const char* text, size_t size) {
  if (out != NULL && size > 0)
    memcpy(out + used, text, size);
  return used + size;
}

size_t nt__secret_reveal(const nt_policy_t* policy, const char* text,
                         size_t size, char* out) {
  const char* end = text + size;
  const nt_secret_t* secret;
  const char* place;
  size_t used = 0;

  while ((secret = next(policy, text, end, &place)) != NULL) {
    used = put(out, used, text, (size_t) (place - text));
    used = put(out, used, secret->value, strlen(secret->value));
    text = place + strlen(secret->placeholder);
  }
  return put(out, used, text, (size_t) (end - text));
}
