/* The gate: what a policy lets a task reach. Pure logic, any thread.
 *
 * A name says nothing of where it leads, and an address nothing of the name
 * that a list has. So names are checked when a URL or a host is given, and
 * addresses when a socket is about to be connected and once more when a request
 * is about to use a connection, which may have been made for another task. */
#include "gate.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"

bool nt__gate_has_private(const nt__policy_t* policy) {
  return (policy->values.flags & NT_POLICY_REFUSE_PRIVATE) != 0;
}

bool nt__gate_has_list(const nt__policy_t* policy, nt_access_t access) {
  return policy->values.domains[access].items != NULL ||
         (policy->values.flags & NT_POLICY_REQUIRE_DOMAINS) != 0;
}

static bool is_listed(const nt__patterns_t* patterns, const nt__host_t* host,
                      int port, int scheme) {
  size_t i;

  for (i = 0; i < patterns->count; i++)
    if (nt__pattern_has(&patterns->items[i], host, port, scheme))
      return true;
  return false;
}

/* ---- Private addresses --------------------------------------------------- */

static bool is_allowed_ip(const nt__policy_t* policy, const nt__ip_t* ip) {
  const nt__patterns_t* allowed = &policy->allow_private;
  size_t i;

  for (i = 0; i < allowed->count; i++)
    if (nt__pattern_has_ip(&allowed->items[i], ip))
      return true;
  return false;
}

static bool is_allowed_name(const nt__policy_t* policy,
                            const nt__host_t* host) {
  const nt__patterns_t* allowed = &policy->allow_private;
  size_t i;

  for (i = 0; i < allowed->count; i++)
    if (nt__pattern_has_host(&allowed->items[i], host))
      return true;
  return false;
}

/* "localhost" is a name for these, whatever a resolver says (RFC 6761). */
static bool is_allowed_local(const nt__policy_t* policy,
                             const nt__host_t* host) {
  static const nt__ip_t v4 = { false, { 127, 0, 0, 1 } };
  static const nt__ip_t v6 = { true, { [15] = 1 } };

  return is_allowed_name(policy, host) || is_allowed_ip(policy, &v4) ||
         is_allowed_ip(policy, &v6);
}

/* What the host itself shows, before anything is looked up. */
static int check_private(const nt__policy_t* policy, const nt__host_t* host) {
  if (!nt__gate_has_private(policy))
    return 0;
  if (host->literal)
    return nt__ip_is_private(&host->ip) && !is_allowed_ip(policy, &host->ip)
               ? NT_E_PRIVATE
               : 0;
  return nt__host_is_local(host) && !is_allowed_local(policy, host)
             ? NT_E_PRIVATE
             : 0;
}

int nt__gate_address(const nt__policy_t* policy, const char* text,
                     const struct sockaddr* address) {
  nt__host_t host;
  nt__ip_t ip;

  if (!nt__gate_has_private(policy))
    return 0;
  if (!nt__ip_read(&ip, address)) /* of a kind that is on this machine */
    return NT_E_PRIVATE;
  if (!nt__ip_is_private(&ip) || is_allowed_ip(policy, &ip))
    return 0;
  if (text == NULL || !nt__host_read(&host, text) || host.literal)
    return NT_E_PRIVATE;
  return is_allowed_name(policy, &host) ? 0 : NT_E_PRIVATE;
}

/* ---- Hosts and URLs ------------------------------------------------------ */

static int check_host(const nt__policy_t* policy, nt_access_t access,
                      const char* text, int port, bool secure) {
  int scheme = secure ? NT__SCHEME_TLS : NT__SCHEME_PLAIN;
  nt__host_t host;

  if (!nt__host_read(&host, text))
    return NT_E_ADDRESS;
  if (nt__gate_has_list(policy, access) &&
      !is_listed(&policy->domains[access], &host, port, scheme))
    return NT_E_DOMAIN;
  return check_private(policy, &host);
}

static int check_form(const nt_policy_t* values, const nt__url_t* url) {
  if (values->url_max_bytes != 0 && strlen(url->text) > values->url_max_bytes)
    return NT_E_URL_TOO_LONG;
  if (!url->http)
    return NT_E_SCHEME;
  if (!url->secure && (values->flags & NT_POLICY_REQUIRE_SECURE))
    return NT_E_SCHEME;
  if (url->explicit_port && (values->flags & NT_POLICY_NO_URL_PORT))
    return NT_E_PORT;
  return url->foreign ? NT_E_URL : 0;
}

int nt__gate_url(const nt__policy_t* policy, nt_access_t access,
                 const nt__url_t* url) {
  int err = check_form(&policy->values, url);

  if (err || !policy->limits_hosts)
    return err;
  err = check_host(policy, access, url->host, url->port, url->secure);
  return err == NT_E_ADDRESS ? NT_E_URL : err;
}

int nt__gate_host(const nt__policy_t* policy, nt_access_t access,
                  const char* host, int port, bool secure) {
  if (!policy->limits_hosts)
    return 0;
  return check_host(policy, access, host, port, secure);
}

int nt__gate_proxy(const nt__policy_t* policy, nt_access_t access,
                   const char* proxy) {
  char* host;
  bool secure;
  int port;
  int err;

  if (proxy == NULL)
    return 0;
  if (policy->values.flags & NT_POLICY_REFUSE_PROXY)
    return NT_E_OWN_PROXY;
  if (proxy[0] == '\0' || nt__url_is_env(proxy))
    return 0;
  err = nt__url_read_proxy(proxy, &host, &port, &secure);
  if (err)
    return err;
  err = nt__gate_host(policy, access, host, port, secure);
  nt__free(host);
  return err == NT_E_ADDRESS ? NT_E_INVALID : err;
}

/* ---- Pins and secrets ---------------------------------------------------- */

/* They are few, and read where they are used. */
bool nt__gate_pin(const nt_pin_t* pin, const nt__host_t* host) {
  nt__pattern_t pattern;

  return nt__pattern_read_host(&pattern, pin->host) &&
         nt__pattern_has_host(&pattern, host);
}

static bool may_have(const char* text, const nt__host_t* host,
                     const nt__url_t* url) {
  nt__pattern_t pattern;
  int scheme = url->secure ? NT__SCHEME_TLS : NT__SCHEME_PLAIN;

  if (!nt__pattern_read(&pattern, text, NT_ACCESS_REQUEST))
    return false;
  if (pattern.schemes == 0 && !url->secure)
    return false;
  return nt__pattern_has(&pattern, host, url->port, scheme);
}

bool nt__gate_secret(const nt_secret_t* secret, const nt__url_t* url) {
  nt__host_t host;
  size_t i;

  if (!url->http || secret->hosts.items == NULL ||
      !nt__host_read(&host, url->host))
    return false;
  for (i = 0; i < secret->hosts.count; i++)
    if (may_have(secret->hosts.items[i], &host, url))
      return true;
  return false;
}

/* ---- Showing ------------------------------------------------------------- */

static void show_other(const nt__url_t* url, char* out, size_t size) {
  char* scheme = NULL;
  char* host = NULL;

  curl_url_get(url->handle, CURLUPART_SCHEME, &scheme, 0);
  curl_url_get(url->handle, CURLUPART_HOST, &host, 0);
  snprintf(out, size, "%s://%s", scheme == NULL ? "" : scheme,
           host == NULL ? "" : host);
  curl_free(scheme);
  curl_free(host);
}

void nt__gate_show(const nt__url_t* url, char* out, size_t size) {
  char* c;

  if (url->http)
    snprintf(out, size, "%s://%s", url->secure ? "https" : "http",
             url->authority);
  else
    show_other(url, out, size);
  for (c = out; *c != '\0'; c++)
    if (*c <= ' ' || *c >= 0x7f) /* a name that is not in Punycode */
      *c = '?';
}

void nt__gate_show_text(const char* text, char* out, size_t size) {
  nt__url_t url;

  out[0] = '\0';
  if (nt__url_parse(&url, NULL, text) != 0)
    return;
  nt__gate_show(&url, out, size);
  nt__url_free(&url);
}
