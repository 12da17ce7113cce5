/* The modes of Fetch, of which a native runtime needs little: the origin is
 * what the host has configured, and there is no preflight. Once a hop has led
 * elsewhere the answer counts as one from elsewhere, wherever it comes from in
 * the end. I/O thread. */
#include "origin.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "ascii.h"
#include "header.h"

/* What has a mode and no origin is bound to nothing. */
static bool is_bound(const nt__transfer_t* t) {
  return t->mode != NT_MODE_ANY && t->origin != NULL && !t->connects;
}

/* With an origin that cannot be read nothing has anything in common. */
int nt__origin_enter(nt__transfer_t* t) {
  nt__url_t origin;
  int err;

  if (t->redirects == 0)
    t->abroad = false;
  if (!is_bound(t) || t->abroad)
    return 0;
  err = nt__url_parse(&origin, NULL, t->origin);
  if (err == NT_E_NOMEM)
    return err;
  t->abroad = err != 0 || !nt__url_same_origin(&origin, &t->url);
  if (err == 0)
    nt__url_free(&origin);
  return t->abroad && t->mode == NT_MODE_SAME_ORIGIN ? NT_E_CROSS_ORIGIN : 0;
}

/* Lower case, and the port only where it is not the scheme's own. */
static char* serialize(const char* head, const nt__url_t* origin) {
  const char* scheme = origin->secure ? "https" : "http";
  size_t size = strlen(head) + strlen(scheme) + strlen(origin->authority) + 4;
  char* text = nt__malloc(size);
  char* p;

  if (text == NULL)
    return NULL;
  if (origin->port == (origin->secure ? 443 : 80))
    snprintf(text, size, "%s%s://%s", head, scheme, origin->host);
  else
    snprintf(text, size, "%s%s://%s", head, scheme, origin->authority);
  for (p = text + strlen(head); *p != '\0'; p++)
    *p = nt__lower(*p);
  return text;
}

/* `*text` is "null" behind the head for an origin that is none. */
static int write_origin(const nt__transfer_t* t, const char* head,
                        char** text) {
  nt__url_t origin;
  int err = nt__url_parse(&origin, NULL, t->origin);

  if (err == NT_E_NOMEM)
    return err;
  if (err == 0 && origin.http) {
    *text = serialize(head, &origin);
  } else {
    size_t size = strlen(head) + sizeof("null");

    *text = nt__malloc(size);
    if (*text != NULL)
      snprintf(*text, size, "%snull", head);
  }
  if (err == 0)
    nt__url_free(&origin);
  return *text == NULL ? NT_E_NOMEM : 0;
}

int nt__origin_write(const nt__transfer_t* t, char** line) {
  *line = NULL;
  if (!is_bound(t) || t->mode != NT_MODE_CORS)
    return 0;
  return write_origin(t, "Origin: ", line);
}

/* Fetch: "credentials mode is include". */
static bool has_credentials(const nt__transfer_t* t) {
  return (t->flags & NT_REQUEST_COOKIES_SEND) &&
         !(t->flags & NT_REQUEST_SAME_ORIGIN);
}

/* The only field of that name: of several none counts. */
static const char* only_field(const nt__transfer_t* t, const char* name) {
  nt_headers_t headers = nt__headers_view(&t->headers);
  const char *found, *value, *only = NULL;
  size_t cursor = 0;

  while (nt_headers_next(&headers, &cursor, &found, &value)) {
    if (!nt__header_is(found, name))
      continue;
    if (only != NULL)
      return NULL;
    only = value;
  }
  return only;
}

/* Fetch 4.10, the CORS check. */
static bool is_allowed(const nt__transfer_t* t, const char* origin) {
  const char* allowed = only_field(t, "access-control-allow-origin");
  const char* credentials;

  if (allowed == NULL)
    return false;
  if (!has_credentials(t))
    return strcmp(allowed, "*") == 0 || strcmp(allowed, origin) == 0;
  credentials = only_field(t, "access-control-allow-credentials");
  return strcmp(allowed, origin) == 0 && credentials != NULL &&
         strcmp(credentials, "true") == 0;
}

static int check_answer(const nt__transfer_t* t) {
  char* origin = NULL;
  int err = write_origin(t, "", &origin);

  if (err == 0 && !is_allowed(t, origin))
    err = NT_E_CORS;
  nt__free(origin);
  return err;
}

int nt__origin_judge(nt__transfer_t* t) {
  if (!is_bound(t) || !t->abroad)
    return 0;
  if (t->mode == NT_MODE_CORS)
    return check_answer(t);
  t->opaque = true;
  t->status = 0;
  nt__headers_reset(&t->headers);
  return 0;
}
