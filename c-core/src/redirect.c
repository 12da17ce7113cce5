/* What a redirect makes of a request: the method, the body and the fields that
 * the next hop may have. I/O thread. */
#include "redirect.h"

#include <string.h>

#include "fields.h"

static void drop_fields(nt__transfer_t* t, bool (*is_dropped)(const char*)) {
  size_t i;

  for (i = 0; i < t->field_count; i++)
    if (is_dropped(t->fields[i].name))
      t->fields[i].dropped = true;
}

static bool describes_body(const char* name) {
  return nt__header_is(name, "content-type") ||
         nt__header_is(name, "content-encoding") ||
         nt__header_is(name, "content-language") ||
         nt__header_is(name, "content-location");
}

/* Fetch: 303, and POST on 301 and 302, become GET without a body. */
static void change_method(nt__transfer_t* t) {
  bool post_moved = nt__transfer_is_method(t, "POST") &&
                    (t->status == 301 || t->status == 302);
  bool see_other = t->status == 303 && !nt__transfer_is_method(t, "GET") &&
                   !nt__transfer_is_method(t, "HEAD");

  if (!post_moved && !see_other)
    return;
  t->method = "GET";
  t->body_size = 0;
  drop_fields(t, describes_body);
}

static void drop_secrets(nt__transfer_t* t) {
  size_t i;

  drop_fields(t, nt__header_is_secret);
  for (i = 0; i < t->field_count; i++)
    if (nt__field_has_secret(t, &t->fields[i]))
      t->fields[i].dropped = true;
}

static void change_origin(nt__transfer_t* t, nt__url_t* next) {
  if (!nt__url_same_origin(&t->url, next))
    drop_secrets(t);
  else
    nt__url_inherit_credentials(next, &t->url);
  if (t->flags & NT_REQUEST_ANONYMOUS)
    nt__url_drop_credentials(next);
}

void nt__redirect_adapt(nt__transfer_t* t, nt__url_t* next) {
  change_method(t);
  change_origin(t, next);
}
