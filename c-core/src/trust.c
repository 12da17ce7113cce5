/* Trust: authorities and pinned keys.
 *
 * libcurl parses a bundle once for all connections of a multi if it comes as a
 * file, and with each connection if it comes as text. So text becomes a file
 * that lies in memory and has no name in any folder: nobody else can write to
 * it, it needs no disk, and it is gone with its descriptor. */
#include "trust.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "gate.h"

#if defined(__linux__) && (!defined(__ANDROID_API__) || __ANDROID_API__ >= 30)
#  define HAS_MEMORY_FILES
#  include <fcntl.h>
#  include <sys/mman.h>
#  include <sys/types.h>
#  include <unistd.h>
#endif

/* ---- Authorities --------------------------------------------------------- */

#ifdef HAS_MEMORY_FILES

static bool write_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, data, size);

    if (n <= 0)
      return false;
    data += n;
    size -= (size_t) n;
  }
  return true;
}

/* From here on nobody changes it, whoever gets hold of the descriptor. */
static bool seal(int fd) {
  return fcntl(fd, F_ADD_SEALS,
               F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0;
}

/* Without /proc the path leads nowhere. */
static bool leads_there(const char* path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);

  if (fd >= 0)
    close(fd);
  return fd >= 0;
}

static int memory_file(const char* text, char path[NT__TRUST_PATH_SIZE]) {
  int fd = memfd_create("nettask-ca", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  if (fd < 0)
    return -1;
  snprintf(path, NT__TRUST_PATH_SIZE, "/proc/self/fd/%d", fd);
  if (write_all(fd, text, strlen(text)) && seal(fd) && leads_there(path))
    return fd;
  close(fd);
  return -1;
}

static void close_file(int fd) {
  close(fd);
}

#else

static int memory_file(const char* text, char path[NT__TRUST_PATH_SIZE]) {
  (void) text;
  (void) path;
  return -1;
}

static void close_file(int fd) {
  (void) fd;
}

#endif

void nt__trust_open(nt__trust_t* trust, const nt_policy_t* policy) {
  trust->fd = -1;
  if (policy->ca_data != NULL)
    trust->fd = memory_file(policy->ca_data, trust->path);
  if (trust->fd < 0)
    trust->path[0] = '\0';
}

void nt__trust_close(nt__trust_t* trust) {
  if (trust->fd >= 0)
    close_file(trust->fd);
  trust->fd = -1;
}

static int from_code(CURLcode code) {
  switch (code) {
    case CURLE_OK:
      return 0;
    case CURLE_OUT_OF_MEMORY:
      return NT_E_NOMEM;
    default:
      return NT_E_TRUST;
  }
}

/* A copy, since the text may go before the connection. */
static CURLcode set_text(CURL* curl, CURLoption option, const char* text) {
  struct curl_blob blob = { (void*) text, strlen(text), CURL_BLOB_COPY };

  return curl_easy_setopt(curl, option, &blob);
}

/* One of the two is for the server, or for the proxy. */
static CURLcode set_authorities(const nt__trust_t* trust,
                                const nt_policy_t* policy, CURL* curl,
                                CURLoption file, CURLoption text) {
  if (trust->path[0] != '\0')
    return curl_easy_setopt(curl, file, trust->path);
  if (policy->ca_data != NULL)
    return set_text(curl, text, policy->ca_data);
  if (policy->ca_file != NULL)
    return curl_easy_setopt(curl, file, policy->ca_file);
  return CURLE_OK;
}

int nt__trust_set(const nt__trust_t* trust, const nt_policy_t* policy,
                  CURL* curl) {
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
  /* A folder of certificates keeps libcurl from caching the parsed bundle. */
  curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
  curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, -1L);
  return from_code(set_authorities(trust, policy, curl, CURLOPT_CAINFO,
                                   CURLOPT_CAINFO_BLOB));
}

int nt__trust_set_proxy(const nt__trust_t* trust, const nt_policy_t* policy,
                        CURL* curl) {
  curl_easy_setopt(curl, CURLOPT_PROXY_SSLVERSION,
                   (long) CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, NULL);
  return from_code(set_authorities(trust, policy, curl, CURLOPT_PROXY_CAINFO,
                                   CURLOPT_PROXY_CAINFO_BLOB));
}

/* ---- Pins ---------------------------------------------------------------- */

/* "sha256/..." is ours, "sha256//..." libcurl's. */
static int add_key(nt__buf_t* out, const char* key) {
  static const char prefix[] = "sha256//";
  const char* slash = strchr(key, '/');
  const char* digest = slash == NULL ? key : slash + 1;
  int err = 0;

  if (out->size > 0)
    err = nt__buf_append(out, ";", 1);
  if (err == 0)
    err = nt__buf_append(out, prefix, sizeof(prefix) - 1);
  if (err == 0)
    err = nt__buf_append(out, digest, strlen(digest));
  return err;
}

/* A host without keys that may be right has none that is. */
static int add_keys(nt__buf_t* out, const nt_pin_t* pin) {
  size_t count = pin->keys.items == NULL ? 0 : pin->keys.count;
  int err = count == 0 ? add_key(out, "") : 0;
  size_t i;

  for (i = 0; err == 0 && i < count; i++)
    err = add_key(out, pin->keys.items[i]);
  return err;
}

static int set_keys(CURL* curl, const char* keys) {
  switch (curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, keys)) {
    case CURLE_OK:
      return 0;
    case CURLE_OUT_OF_MEMORY:
      return NT_E_NOMEM;
    default:
      return NT_E_PIN;
  }
}

int nt__trust_pin(const nt_policy_t* policy, const char* name, CURL* curl) {
  nt__host_t host;
  nt__buf_t keys;
  int err = 0;
  size_t i;

  if (policy->pin_count == 0)
    return 0;
  if (!nt__host_read(&host, name)) /* whose it is nobody knows */
    return NT_E_PIN;
  nt__buf_init(&keys, 0);
  for (i = 0; err == 0 && i < policy->pin_count; i++)
    if (nt__gate_pin(&policy->pins[i], &host))
      err = add_keys(&keys, &policy->pins[i]);
  if (err == 0 && keys.size > 0)
    err = set_keys(curl, keys.data);
  nt__buf_free(&keys);
  return err;
}

/* ---- Comparing ----------------------------------------------------------- */

static bool same_text(const char* a, const char* b) {
  if (a == NULL || b == NULL)
    return a == b;
  return strcmp(a, b) == 0;
}

/* No list and an empty one are not the same. */
static bool same_list(const nt_list_t* a, const nt_list_t* b) {
  size_t i;

  if (a->items == NULL || b->items == NULL)
    return a->items == b->items;
  if (a->count != b->count)
    return false;
  for (i = 0; i < a->count; i++)
    if (!same_text(a->items[i], b->items[i]))
      return false;
  return true;
}

static bool same_pins(const nt_policy_t* a, const nt_policy_t* b) {
  size_t i;

  if (a->pin_count != b->pin_count)
    return false;
  for (i = 0; i < a->pin_count; i++)
    if (!same_text(a->pins[i].host, b->pins[i].host) ||
        !same_list(&a->pins[i].keys, &b->pins[i].keys))
      return false;
  return true;
}

bool nt__trust_is_same(const nt_policy_t* a, const nt_policy_t* b) {
  size_t i;

  for (i = 0; i < NT_ACCESS_COUNT; i++)
    if (!same_list(&a->domains[i], &b->domains[i]))
      return false;
  return a->flags == b->flags && same_text(a->ca_file, b->ca_file) &&
         same_text(a->ca_data, b->ca_data) && same_text(a->proxy, b->proxy) &&
         same_list(&a->allow_private, &b->allow_private) && same_pins(a, b);
}
