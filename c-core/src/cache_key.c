/* Keys of the cache: RFC 9110, section 4.2.3, as far as libcurl goes along with
 * it. What it sends for both is one resource to the server, and what
 * invalidates one has to invalidate the other. Pure logic. */
#include "cache_key.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"

static const char* scheme_of(const nt__url_t* url) {
  return url->secure ? "https://" : "http://";
}

static bool has_own_port(const nt__url_t* url) {
  return url->port != (url->secure ? 443 : 80);
}

/* The host in lower case, with the port unless it is the scheme's. */
static bool starts_with_authority(const nt__url_t* url, const char** at) {
  const char* wanted = has_own_port(url) ? url->authority : url->host;
  size_t size = strlen(wanted);

  if (strncmp(*at, wanted, size) != 0 ||
      strpbrk(url->host, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL)
    return false;
  *at += size;
  return true;
}

/* Nothing that libcurl would leave out, take away or encode. */
static bool is_clean_path(const char* at) {
  bool in_path = true;

  if (*at != '/')
    return false;
  for (; *at != '\0'; at++) {
    if (*at == '#' || *at <= ' ' || *at >= 0x7f)
      return false;
    if (*at == '?')
      in_path = false;
    if (in_path && at[0] == '/' && at[1] == '.')
      return false;
  }
  return true;
}

static bool is_clean(const nt__url_t* url) {
  const char* at = url->text;
  size_t size = strlen(scheme_of(url));

  if (strncmp(at, scheme_of(url), size) != 0)
    return false;
  at += size;
  return starts_with_authority(url, &at) && is_clean_path(at);
}

/* NULL for one that is not there. False: no memory. */
static bool get_part(CURLU* handle, CURLUPart part, char** out) {
  *out = NULL;
  return curl_url_get(handle, part, out, 0) != CURLUE_OUT_OF_MEMORY;
}

/* `query` may be NULL, which is not the same as "". */
static char* write_key(const nt__url_t* url, const char* path,
                       const char* query) {
  const char* scheme = scheme_of(url);
  const char* authority = has_own_port(url) ? url->authority : url->host;
  const char* mark = query == NULL ? "" : "?";
  size_t head = strlen(scheme) + strlen(authority);
  size_t size;
  char* key;
  size_t i;

  if (query == NULL)
    query = "";
  size = head + strlen(path) + strlen(mark) + strlen(query) + 1;
  key = nt__malloc(size);
  if (key == NULL)
    return NULL;
  snprintf(key, size, "%s%s%s%s%s", scheme, authority, path, mark, query);
  for (i = 0; i < head; i++)
    if (key[i] >= 'A' && key[i] <= 'Z')
      key[i] = (char) (key[i] - 'A' + 'a');
  return key;
}

/* What libcurl makes of it. */
static char* write_parts(const nt__url_t* url) {
  char* path;
  char* query = NULL;
  char* key = NULL;

  if (get_part(url->handle, CURLUPART_PATH, &path) &&
      get_part(url->handle, CURLUPART_QUERY, &query))
    key = write_key(url, path == NULL ? "/" : path, query);
  curl_free(path);
  curl_free(query);
  return key;
}

/* An address may have a zone, which is in the text alone. */
static char* write_text(const char* text) {
  size_t size = strcspn(text, "#");
  char* key = nt__malloc(size + 1);

  if (key == NULL)
    return NULL;
  memcpy(key, text, size);
  key[size] = '\0';
  return key;
}

const char* nt__cache_key(const nt__url_t* url, char** own) {
  *own = NULL;
  if (is_clean(url))
    return url->text;
  *own = url->host[0] == '[' ? write_text(url->text) : write_parts(url);
  return *own;
}
