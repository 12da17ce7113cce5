/* File roots. What counts is where a path leads, not how it reads: links are
 * resolved first and the result must lie below a root, links of which are
 * resolved too. ".." is refused all the same, as it has no honest use there.
 * Storage thread only. */
#include "file_root.h"

#include <stdbool.h>
#include <string.h>

#include "alloc.h"
#include "file.h"

static bool is_separator(char c) {
#ifdef _WIN32
  return c == '/' || c == '\\';
#else
  return c == '/';
#endif
}

static bool goes_up(const char* path) {
  const char* p = path;

  while (*p != '\0') {
    size_t size = 0;

    while (p[size] != '\0' && !is_separator(p[size]))
      size++;
    if (size == 2 && p[0] == '.' && p[1] == '.')
      return true;
    p += size;
    while (is_separator(*p))
      p++;
  }
  return false;
}

static bool is_below(const char* path, const char* root) {
  size_t size = strlen(root);

  while (size > 0 && is_separator(root[size - 1])) /* the root of all */
    size--;
  return strncmp(path, root, size) == 0 &&
         (path[size] == '\0' || is_separator(path[size]));
}

static bool is_allowed(const char* resolved, const char* const* roots,
                       size_t count) {
  bool allowed = roots == NULL;
  size_t i;

  for (i = 0; i < count && !allowed; i++) {
    char* root;

    if (nt__file_resolve(roots[i], &root) == 0)
      allowed = is_below(resolved, root);
    nt__free(root);
  }
  return allowed;
}

/* Cuts the last part of a path off; false when nothing would be left. */
static bool cut_last(char* path) {
  size_t size = strlen(path);

  while (size > 0 && is_separator(path[size - 1]))
    size--;
  while (size > 0 && !is_separator(path[size - 1]))
    size--;
  path[size] = '\0';
  return size > 0;
}

/* Whether the nearest folder that is there is allowed: of what lies elsewhere
 * nothing is told, not even that it is missing. */
static bool may_be_told(const char* path, const char* const* roots,
                        size_t count) {
  char* above;
  char* resolved = NULL;
  bool may;

  if (roots == NULL)
    return true;
  above = nt__strdup(path);
  if (above == NULL)
    return false;
  while (nt__file_resolve(above, &resolved) != 0 && cut_last(above))
    ;
  if (resolved == NULL) /* relative: below where we are */
    nt__file_resolve(".", &resolved);
  may = resolved != NULL && is_allowed(resolved, roots, count);
  nt__free(resolved);
  nt__free(above);
  return may;
}

/* Resolves what must be there and checks it; `*out` is NULL on error. */
static int resolve(const char* path, const char* const* roots, size_t count,
                   int missing, char** out) {
  int err = nt__file_error(nt__file_resolve(path, out), missing);

  if (err ? !may_be_told(path, roots, count) : !is_allowed(*out, roots, count))
    err = NT_E_OUTSIDE;
  if (err) {
    nt__free(*out);
    *out = NULL;
  }
  return err;
}

int nt__file_root_read(const nt_policy_t* policy, const char* path,
                       char** out) {
  *out = NULL;
  if (policy->read_roots != NULL && goes_up(path))
    return NT_E_OUTSIDE;
  return resolve(path, policy->read_roots, policy->read_root_count,
                 NT_E_NO_FILE, out);
}

static size_t folder_size(const char* path) {
  size_t size = strlen(path);

  while (size > 0 && !is_separator(path[size - 1]))
    size--;
  return size;
}

int nt__file_root_write(const nt_policy_t* policy, const char* path,
                        char** out) {
  size_t size = folder_size(path);
  const char* name = path + size;
  char* folder;
  char* resolved;
  int err;

  *out = NULL;
  if (policy->write_roots != NULL && goes_up(path))
    return NT_E_OUTSIDE;
  if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return NT_E_NOT_A_FILE;
  folder = nt__malloc(size + 2);
  if (folder == NULL)
    return NT_E_NOMEM;
  memcpy(folder, path, size);
  memcpy(folder + size, size == 0 ? "." : "", size == 0 ? 2 : 1);
  err = resolve(folder, policy->write_roots, policy->write_root_count,
                NT_E_NO_FOLDER, &resolved);
  nt__free(folder);
  if (err)
    return err;
  *out = nt__file_join(resolved, name, "");
  nt__free(resolved);
  return *out == NULL ? NT_E_NOMEM : 0;
}
