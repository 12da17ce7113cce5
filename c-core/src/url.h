/* One parsed URL. The parser is libcurl's own, so that what the policy checks
 * is what is connected to. */
#ifndef NT_URL_H
#define NT_URL_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct nt__url {
  CURLU* handle;      /* given to libcurl */
  char* text;         /* absolute, without user and password */
  char* host;         /* as it will be looked up: in Punycode if that can be
                       * done, IPv6 in brackets; NULL unless http */
  char* authority;    /* host:port, the port always there; NULL unless http */
  int port;           /* 0 unless http */
  bool http;          /* the scheme is http or https */
  bool secure;        /* the scheme is https */
  bool foreign;       /* `host` is not in ASCII */
  bool literal;       /* the host is an address: there is nothing to look up */
  bool explicit_port; /* the port stood in the URL */
  bool plain;         /* `text` is what was given, and all of it */
} nt__url_t;

/* Parses `text`, resolved against `base` unless that is NULL. 0, NT_E_NOMEM,
 * or NT_E_URL; on error there is nothing to free. */
int nt__url_parse(nt__url_t* url, const char* base, const char* text);
void nt__url_free(nt__url_t* url);

/* The user and password of the URL are forgotten. */
void nt__url_drop_credentials(nt__url_t* url);

/* Those of `from`, unless the URL has its own. */
void nt__url_inherit_credentials(nt__url_t* url, const nt__url_t* from);

/* A URL of a proxy: http, https or one of the socks kinds. */
bool nt__url_is_proxy(const char* text);
/* "env" in place of one: whatever the environment says. */
bool nt__url_is_env(const char* text);

/* The same, and its host as nt__url_t has it, for nt__free(). 0, NT_E_NOMEM,
 * NT_E_INVALID. */
int nt__url_read_proxy(const char* text, char** host, int* port, bool* secure);

/* Same scheme, host and port. */
bool nt__url_same_origin(const nt__url_t* a, const nt__url_t* b);

#endif
