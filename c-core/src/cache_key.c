/* Keys of the cache: RFC 9110, section 4.2.3, as far as libcurl goes along with
 * it. What it sends for both is one resource to the server, and what
 * invalidates one has to invalidate the other. Pure logic. */
#include "cache_key.h"

#include <string.h>

#include "ascii.h"
#include "buf.h"

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

static int put(nt__buf_t* out, const char* text) {
  return nt__buf_append(out, text, strlen(text));
}

static void make_lower(nt__buf_t* text) {
  size_t i;

  for (i = 0; i < text->size; i++)
    text->data[i] = nt__lower(text->data[i]);
}

/* An address may have a zone, which is inside of its brackets. */
static int put_origin(nt__buf_t* out, const nt__url_t* url, const char* zone) {
  size_t host_size = strlen(url->host) - (zone == NULL ? 0 : 1);
  const char* port = strrchr(url->authority, ':');
  int err = put(out, scheme_of(url));

  if (err == 0)
    err = nt__buf_append(out, url->host, host_size);
  if (err)
    return err;
  make_lower(out);
  if (zone != NULL)
    err = put(out, "%25");
  if (err == 0 && zone != NULL)
    err = put(out, zone);
  if (err == 0 && zone != NULL)
    err = put(out, "]");
  return err == 0 && has_own_port(url) ? put(out, port) : err;
}

/* `query` may be NULL, which is not the same as "". NULL without memory. */
static char* write_key(const nt__url_t* url, const char* zone, const char* path,
                       const char* query) {
  nt__buf_t key;
  int err;

  nt__buf_init(&key, 0);
  err = put_origin(&key, url, zone);
  if (err == 0)
    err = put(&key, path);
  if (err == 0 && query != NULL)
    err = put(&key, "?");
  if (err == 0 && query != NULL)
    err = put(&key, query);
  if (err)
    nt__buf_free(&key);
  return key.data;
}

/* What libcurl makes of it. */
static char* write_parts(const nt__url_t* url) {
  char* path = NULL;
  char* query = NULL;
  char* zone = NULL;
  char* key = NULL;

  if (get_part(url->handle, CURLUPART_PATH, &path) &&
      get_part(url->handle, CURLUPART_QUERY, &query) &&
      get_part(url->handle, CURLUPART_ZONEID, &zone))
    key = write_key(url, zone, path == NULL ? "/" : path, query);
  curl_free(path);
  curl_free(query);
  curl_free(zone);
  return key;
}

const char* nt__cache_key(const nt__url_t* url, char** own) {
  *own = NULL;
  if (is_clean(url))
    return url->text;
  *own = write_parts(url);
  return *own;
}
