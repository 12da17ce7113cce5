/* URLs, over libcurl's URL API. Pure logic: no loop, no threads. */
#include "url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "nettask.h"
#include "pattern.h"

/* Schemes other than http and https parse too, so that the policy can name
 * what it refuses; bytes above 0x7f are percent-encoded, as browsers do. */
enum {
  PARSE_FLAGS = CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE
};

static int from_curlu(CURLUcode code) {
  switch (code) {
    case CURLUE_OK:
      return 0;
    case CURLUE_OUT_OF_MEMORY:
      return NT_E_NOMEM;
    default:
      return NT_E_URL;
  }
}

/* Copies one part into our own memory: 0, NT_E_NOMEM, NT_E_URL. */
static int get_part(CURLU* handle, CURLUPart part, unsigned int flags,
                    char** out) {
  char* value = NULL;
  CURLUcode code = curl_url_get(handle, part, &value, flags);

  if (code != CURLUE_OK)
    return code == CURLUE_OUT_OF_MEMORY ? NT_E_NOMEM : NT_E_URL;
  *out = nt__strdup(value);
  curl_free(value);
  if (*out == NULL)
    return NT_E_NOMEM;
  return 0;
}

static bool is_digits(const char* text, size_t size) {
  size_t i;

  for (i = 0; i < size; i++)
    if (text[i] < '0' || text[i] > '9')
      return false;
  return size > 0;
}

/* libcurl has turned every numeric form into dotted quads by now. */
static bool is_address(const char* host) {
  const char* label = strrchr(host, '.');

  if (host[0] == '[')
    return true;
  label = label == NULL ? host : label + 1;
  return is_digits(label, strlen(label));
}

static bool has_part(CURLU* handle, CURLUPart part) {
  char* value = NULL;
  CURLUcode code = curl_url_get(handle, part, &value, 0);

  curl_free(value);
  /* Without memory it may be there, and a password may not slip through. */
  return code == CURLUE_OK || code == CURLUE_OUT_OF_MEMORY;
}

static bool is_ascii(const char* text) {
  while (*text != '\0' && (unsigned char) *text < 0x80)
    text++;
  return *text == '\0';
}

static int set_host(nt__url_t* url, const char* text) {
  char* host = NULL;
  int err = from_curlu(curl_url_set(url->handle, CURLUPART_HOST, text, 0));

  if (err == 0)
    err = get_part(url->handle, CURLUPART_HOST, 0, &host);
  if (err)
    return err;
  nt__free(url->host);
  url->host = host;
  return 0;
}

/* What libcurl would make of the name when it connects, and by then the locale,
 * on which that depends, may be another: so the URL gets it here. Where it
 * cannot be done the name stays, and the policy refuses it. */
static int set_ascii(nt__url_t* url) {
  char* name = NULL;
  CURLUcode code =
      curl_url_get(url->handle, CURLUPART_HOST, &name, CURLU_PUNYCODE);
  int err = 0;

  if (code == CURLUE_OK && is_ascii(name))
    err = set_host(url, name);
  curl_free(name);
  return err;
}

/* libcurl turns an address into dotted quads before it decodes the host, and
 * "%31%32%37.1" would be left to what getaddrinfo() makes of 127.1. */
static int set_quads(nt__url_t* url) {
  char quads[sizeof("255.255.255.255")];
  struct in_addr address;
  nt__host_t host;

  if (!is_digits(url->host, 1)) /* as every such form begins */
    return 0;
  if (uv_inet_pton(AF_INET, url->host, &address) == 0) /* it is all right */
    return 0;
  if (!nt__host_read(&host, url->host) || !host.literal || host.ip.v6)
    return 0;
  snprintf(quads, sizeof(quads), "%d.%d.%d.%d", host.ip.bytes[0],
           host.ip.bytes[1], host.ip.bytes[2], host.ip.bytes[3]);
  return set_host(url, quads);
}

/* libcurl lets an escaped DEL through, and what other releases may. */
static bool has_control(const char* host) {
  while ((unsigned char) *host > ' ' && *host != 0x7f)
    host++;
  return *host != '\0';
}

static int read_host(nt__url_t* url) {
  int err = get_part(url->handle, CURLUPART_HOST, 0, &url->host);

  if (err == 0 && !is_ascii(url->host))
    err = set_ascii(url);
  if (err == 0)
    err = set_quads(url);
  if (err == 0 && has_control(url->host))
    err = NT_E_URL;
  if (err)
    return err;
  url->foreign = !is_ascii(url->host);
  url->literal = is_address(url->host);
  return 0;
}

static int read_port(nt__url_t* url) {
  char* port = NULL;
  CURLUcode code = curl_url_get(url->handle, CURLUPART_PORT, &port, 0);

  if (code == CURLUE_OUT_OF_MEMORY)
    return NT_E_NOMEM;
  url->explicit_port = code == CURLUE_OK;
  if (url->explicit_port)
    url->port = atoi(port);
  else
    url->port = url->secure ? 443 : 80;
  curl_free(port);
  return 0;
}

/* What other schemes than http and https default to is not known and not
 * needed. */
static int read_authority(nt__url_t* url) {
  int err = read_port(url);
  size_t size;

  if (err == 0)
    err = read_host(url);
  if (err)
    return err;
  size = strlen(url->host) + sizeof(":65535");
  url->authority = nt__malloc(size);
  if (url->authority == NULL)
    return NT_E_NOMEM;
  snprintf(url->authority, size, "%s:%d", url->host, url->port);
  return 0;
}

/* Other schemes may have no host, and the policy refuses them. */
static int check_other(const nt__url_t* url) {
  char* host = NULL;
  CURLUcode code = curl_url_get(url->handle, CURLUPART_HOST, &host, 0);
  bool bad = code == CURLUE_OK && has_control(host);

  curl_free(host);
  if (code == CURLUE_OUT_OF_MEMORY)
    return NT_E_NOMEM;
  return bad ? NT_E_URL : 0;
}

/* Asking libcurl for the text costs as much as parsing it, so a URL that was
 * given whole stays as it was given. */
static int read_text(nt__url_t* url, const char* base, const char* text) {
  CURLU* plain;
  int err;

  if (base == NULL && !has_part(url->handle, CURLUPART_USER)) {
    url->plain = true;
    url->text = nt__strdup(text);
    return url->text == NULL ? NT_E_NOMEM : 0;
  }
  plain = curl_url_dup(url->handle);
  if (plain == NULL)
    return NT_E_NOMEM;
  curl_url_set(plain, CURLUPART_USER, NULL, 0);
  curl_url_set(plain, CURLUPART_PASSWORD, NULL, 0);
  err = get_part(plain, CURLUPART_URL, 0, &url->text);
  curl_url_cleanup(plain);
  return err;
}

static int read_parts(nt__url_t* url, const char* base, const char* text) {
  char* scheme = NULL;
  int err = get_part(url->handle, CURLUPART_SCHEME, 0, &scheme);

  if (err)
    return err;
  url->secure = strcmp(scheme, "https") == 0;
  url->http = url->secure || strcmp(scheme, "http") == 0;
  nt__free(scheme);
  err = url->http ? read_authority(url) : check_other(url);
  if (err)
    return err;
  return read_text(url, base, text);
}

/* RFC 3986 5.2.2: an empty reference, or one that is a fragment alone, keeps
 * the path and query of the base, which libcurl would drop. */
static int set_fragment(CURLU* handle, const char* text) {
  char* base = NULL;
  char* whole;
  size_t size;
  int err;

  curl_url_set(handle, CURLUPART_FRAGMENT, NULL, 0);
  err = get_part(handle, CURLUPART_URL, 0, &base);
  if (err)
    return err;
  size = strlen(base) + strlen(text) + 1;
  whole = nt__malloc(size);
  if (whole == NULL) {
    err = NT_E_NOMEM;
  } else {
    snprintf(whole, size, "%s%s", base, text);
    err = from_curlu(curl_url_set(handle, CURLUPART_URL, whole, PARSE_FLAGS));
  }
  nt__free(whole);
  nt__free(base);
  return err;
}

/* A blank becomes %20. libcurl would write + in a query, which only forms
 * mean; blanks at either end are no part of the URL. */
static char* without_blanks(const char* text) {
  size_t size = strlen(text);
  char* out;
  char* to;

  while (size > 0 && text[size - 1] == ' ')
    size--;
  out = nt__malloc(3 * size + 1);
  if (out == NULL)
    return NULL;
  for (to = out; size > 0; text++, size--) {
    if (*text != ' ')
      *to++ = *text;
    else if (to != out)
      to = (char*) memcpy(to, "%20", 3) + 3;
  }
  *to = '\0';
  return out;
}

static int set_text(CURLU* handle, const char* base, const char* text) {
  int err;

  if (base != NULL) {
    err = from_curlu(curl_url_set(handle, CURLUPART_URL, base, PARSE_FLAGS));
    if (err)
      return err;
    if (text[0] == '\0' || text[0] == '#')
      return set_fragment(handle, text);
  }
  return from_curlu(curl_url_set(handle, CURLUPART_URL, text, PARSE_FLAGS));
}

static int parse(nt__url_t* url, const char* base, const char* text) {
  int err;

  memset(url, 0, sizeof(*url));
  url->handle = curl_url();
  if (url->handle == NULL)
    return NT_E_NOMEM;
  err = set_text(url->handle, base, text);
  if (err == 0)
    err = read_parts(url, base, text);
  if (err)
    nt__url_free(url);
  return err;
}

int nt__url_parse(nt__url_t* url, const char* base, const char* text) {
  char* encoded;
  int err;

  if (strchr(text, ' ') == NULL)
    return parse(url, base, text);
  encoded = without_blanks(text);
  if (encoded == NULL)
    return NT_E_NOMEM;
  err = parse(url, base, encoded);
  nt__free(encoded);
  return err;
}

void nt__url_free(nt__url_t* url) {
  curl_url_cleanup(url->handle);
  nt__free(url->text);
  nt__free(url->host);
  nt__free(url->authority);
  memset(url, 0, sizeof(*url));
}

void nt__url_drop_credentials(nt__url_t* url) {
  curl_url_set(url->handle, CURLUPART_USER, NULL, 0);
  curl_url_set(url->handle, CURLUPART_PASSWORD, NULL, 0);
}

static void copy_part(CURLU* to, CURLU* from, CURLUPart part) {
  char* value;

  if (curl_url_get(from, part, &value, 0) != CURLUE_OK)
    return;
  curl_url_set(to, part, value, 0);
  curl_free(value);
}

void nt__url_inherit_credentials(nt__url_t* url, const nt__url_t* from) {
  if (has_part(url->handle, CURLUPART_USER))
    return;
  copy_part(url->handle, from->handle, CURLUPART_USER);
  copy_part(url->handle, from->handle, CURLUPART_PASSWORD);
}

static bool is_proxy_scheme(const char* scheme) {
  static const char* const schemes[] = { "http",    "https",  "socks4",
                                         "socks4a", "socks5", "socks5h" };
  size_t i;

  for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
    if (strcmp(scheme, schemes[i]) == 0)
      return true;
  return false;
}

/* libcurl reads "socks5h://localhost/path" as a socket in the file system. */
static bool has_path(CURLU* handle) {
  char* path = NULL;
  bool has = curl_url_get(handle, CURLUPART_PATH, &path, 0) != CURLUE_OK ||
             strcmp(path, "/") != 0;

  curl_free(path);
  return has || has_part(handle, CURLUPART_QUERY) ||
         has_part(handle, CURLUPART_FRAGMENT);
}

/* Where libcurl looks for a proxy whose URL names no port. */
static int proxy_port(CURLU* handle, bool secure) {
  char* port = NULL;
  int number = secure ? 443 : 1080;

  if (curl_url_get(handle, CURLUPART_PORT, &port, 0) == CURLUE_OK)
    number = atoi(port);
  curl_free(port);
  return number;
}

int nt__url_read_proxy(const char* text, char** host, int* port, bool* secure) {
  char* scheme = NULL;
  nt__url_t url;
  int err;

  *host = NULL;
  if (strchr(text, ' ') != NULL) /* libcurl gets it as it is */
    return NT_E_INVALID;
  err = nt__url_parse(&url, NULL, text);
  if (err)
    return err == NT_E_NOMEM ? err : NT_E_INVALID;
  err = get_part(url.handle, CURLUPART_SCHEME, 0, &scheme);
  if (err == 0 && (!is_proxy_scheme(scheme) || has_path(url.handle)))
    err = NT_E_INVALID;
  if (err == 0)
    err = get_part(url.handle, CURLUPART_HOST, 0, host);
  if (err == 0) {
    *secure = strcmp(scheme, "https") == 0;
    *port = proxy_port(url.handle, *secure);
  }
  nt__free(scheme);
  nt__url_free(&url);
  return err == NT_E_URL ? NT_E_INVALID : err;
}

bool nt__url_is_proxy(const char* text) {
  char* host;
  bool secure;
  int port;
  int err;

  if (nt__url_is_env(text))
    return true;
  err = nt__url_read_proxy(text, &host, &port, &secure);
  nt__free(host);
  return err == 0;
}

bool nt__url_is_env(const char* text) {
  return text != NULL && strcmp(text, "env") == 0;
}

bool nt__url_same_origin(const nt__url_t* a, const nt__url_t* b) {
  return a->http && b->http && a->secure == b->secure &&
         curl_strequal(a->authority, b->authority);
}

int nt_url_resolve(const char* base, const char* text, char* out,
                   size_t out_size) {
  nt__url_t url;
  char* whole = NULL;
  size_t size;
  int err;

  if (text == NULL || out == NULL)
    return NT_E_INVALID;
  err = nt__url_parse(&url, base, text);
  if (err)
    return err;
  err = get_part(url.handle, CURLUPART_URL, 0, &whole);
  nt__url_free(&url);
  if (err)
    return err;
  size = strlen(whole) + 1;
  if (size <= out_size)
    memcpy(out, whole, size);
  else
    err = NT_E_INVALID;
  nt__free(whole);
  return err;
}
