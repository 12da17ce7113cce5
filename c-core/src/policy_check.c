/* nt_policy_check(): what is wrong with a policy, in words. Pure logic.
 *
 * A list with a slip in it would allow too little or too much in silence, so
 * there is none. Values of secrets and proxies are never part of the words. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "header.h"
#include "pattern.h"
#include "policy.h"

typedef struct complaint {
  char* why; /* of `size` bytes */
  size_t size;
} complaint_t;

#ifdef __GNUC__
__attribute__((format(printf, 2, 3)))
#endif
static int
complain(const complaint_t* to, const char* format, ...) {
  va_list args;

  if (to->size > 0) {
    va_start(args, format);
    vsnprintf(to->why, to->size, format, args);
    va_end(args);
  }
  return NT_E_INVALID;
}

static const char* const kinds[NT_ACCESS_COUNT] = { "request", "download",
                                                    "upload",  "socket",
                                                    "tcp",     "udp" };

static const char* expected_of(nt_access_t access) {
  switch (access) {
    case NT_ACCESS_SOCKET:
      return "host, host:port or scheme://host[:port], where the scheme is "
             "wss, ws, https or http";
    case NT_ACCESS_TCP:
      return "host, host:port or scheme://host[:port], where the scheme is tls "
             "or tcp";
    case NT_ACCESS_UDP:
      return "host, host:port or udp://host[:port]";
    default:
      return "host, host:port or scheme://host[:port], where the scheme is "
             "https or http";
  }
}

static int check_domains(const complaint_t* to, const nt_policy_t* values,
                         nt_access_t access) {
  const nt_list_t* list = &values->domains[access];
  nt__pattern_t pattern;
  size_t i;

  for (i = 0; list->items != NULL && i < list->count; i++) {
    const char* text = list->items[i] == NULL ? "" : list->items[i];

    if (!nt__pattern_read(&pattern, text, access))
      return complain(to, "domains[%s][%zu] \"%s\": expected %s", kinds[access],
                      i + 1, text, expected_of(access));
  }
  return 0;
}

static int check_private(const complaint_t* to, const nt_list_t* list) {
  nt__pattern_t pattern;
  size_t i;

  for (i = 0; list->items != NULL && i < list->count; i++) {
    const char* text = list->items[i] == NULL ? "" : list->items[i];

    if (!nt__pattern_read_block(&pattern, text))
      return complain(to,
                      "allow_private[%zu] \"%s\": expected a name, an address "
                      "or a block of addresses like 10.0.0.0/8",
                      i + 1, text);
  }
  return 0;
}

/* "sha256/" and the base64 of 32 bytes. */
static bool is_key(const char* text) {
  static const char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static const char head[] = "sha256/";
  size_t size = sizeof(head) - 1;

  if (text == NULL || strncmp(text, head, size) != 0)
    return false;
  text += size;
  if (strspn(text, digits) != 43 || strcmp(text + 43, "=") != 0)
    return false;
  return (strchr(digits, text[42]) - digits) % 4 == 0;
}

static int check_pin(const complaint_t* to, const nt_pin_t* pin, size_t n) {
  const char* host = pin->host == NULL ? "" : pin->host;
  nt__pattern_t pattern;
  size_t i;

  if (!nt__pattern_read_host(&pattern, host))
    return complain(to, "pins[%zu] \"%s\": expected a host, or \"*.\" and one",
                    n, host);
  if (pin->keys.items == NULL || pin->keys.count == 0)
    return complain(to, "pins[%zu] \"%s\": expected at least one key", n, host);
  for (i = 0; i < pin->keys.count; i++) {
    const char* key = pin->keys.items[i] == NULL ? "" : pin->keys.items[i];

    if (!is_key(key))
      return complain(to,
                      "pins[%zu].keys[%zu] \"%s\": expected \"sha256/\" and 32 "
                      "bytes in base64",
                      n, i + 1, key);
  }
  return 0;
}

static bool is_empty(const char* text) {
  return text == NULL || text[0] == '\0';
}

static int check_secret_hosts(const complaint_t* to, const nt_secret_t* secret,
                              size_t n) {
  nt__pattern_t pattern;
  size_t i;

  if (secret->hosts.items == NULL || secret->hosts.count == 0)
    return complain(to, "secrets[%zu] \"%s\": expected at least one host", n,
                    secret->name);
  for (i = 0; i < secret->hosts.count; i++) {
    const char* host = secret->hosts.items[i];

    host = host == NULL ? "" : host;
    if (!nt__pattern_read(&pattern, host, NT_ACCESS_REQUEST))
      return complain(to, "secrets[%zu].hosts[%zu] \"%s\": expected %s", n,
                      i + 1, host, expected_of(NT_ACCESS_REQUEST));
  }
  return 0;
}

static int check_secret(const complaint_t* to, const nt_secret_t* secret,
                        size_t n) {
  if (is_empty(secret->name))
    return complain(to, "secrets[%zu].name: expected a text", n);
  if (is_empty(secret->placeholder) ||
      nt_header_check("name", secret->placeholder) != 0)
    return complain(to,
                    "secrets[%zu].placeholder of \"%s\": expected a text that "
                    "a header may have",
                    n, secret->name);
  if (secret->value == NULL || nt_header_check("name", secret->value) != 0)
    return complain(to,
                    "secrets[%zu].value of \"%s\": expected a text that a "
                    "header may have",
                    n, secret->name);
  return check_secret_hosts(to, secret, n);
}

/* Whether the certificates are any good, OpenSSL will say. */
static bool is_pem(const char* text) {
  return strstr(text, "-----BEGIN CERTIFICATE-----") != NULL ||
         strstr(text, "-----BEGIN TRUSTED CERTIFICATE-----") != NULL;
}

static int check_proxy(const char* proxy) {
  char* host;
  bool secure;
  int port;
  int err;

  if (proxy == NULL || nt__url_is_env(proxy))
    return 0;
  err = nt__url_read_proxy(proxy, &host, &port, &secure);
  nt__free(host);
  return err;
}

static int check_texts(const complaint_t* to, const nt_policy_t* values) {
  int err = check_proxy(values->proxy);

  if (err == NT_E_NOMEM)
    return err;
  if (err)
    return complain(to,
                    "proxy: expected a URL with the scheme http, https or "
                    "socks5, and no path, or \"env\"");
  if (values->ca_data != NULL && !is_pem(values->ca_data))
    return complain(to, "ca_data: expected certificates in PEM");
  if (values->cache_dir != NULL && is_empty(values->cache_dir))
    return complain(to, "cache_dir: expected the path of a folder");
  return 0;
}

static int check_lists(const complaint_t* to, const nt_policy_t* values) {
  int err = 0;
  int i;

  for (i = 0; err == 0 && i < NT_ACCESS_COUNT; i++)
    err = check_domains(to, values, (nt_access_t) i);
  return err ? err : check_private(to, &values->allow_private);
}

static int check_referers(const complaint_t* to, const nt_list_t* list) {
  size_t i;

  for (i = 0; list->items != NULL && i < list->count; i++)
    if (is_empty(list->items[i]) ||
        nt_header_check("referer", list->items[i]) != 0)
      return complain(to, "referers[%zu]: expected what a header may have",
                      i + 1);
  return 0;
}

int nt_policy_check(const nt_policy_t* values, char* why, size_t why_size) {
  complaint_t to = { why, why == NULL ? 0 : why_size };
  size_t i;
  int err;

  if (to.size > 0)
    why[0] = '\0';
  if (values == NULL)
    return complain(&to, "expected a policy");
  err = check_lists(&to, values);
  if (err == 0)
    err = check_referers(&to, &values->referers);
  for (i = 0; err == 0 && values->pins != NULL && i < values->pin_count; i++)
    err = check_pin(&to, &values->pins[i], i + 1);
  for (i = 0; err == 0 && values->secrets != NULL && i < values->secret_count;
       i++)
    err = check_secret(&to, &values->secrets[i], i + 1);
  return err ? err : check_texts(&to, values);
}
