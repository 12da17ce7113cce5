/* From a host's options to what libcurl gets: one piece of memory behind the
 * task with the fields and the text they point to. Host thread, but for
 * nt__outgoing_add() and nt__outgoing_drop(), which belong to whoever has the
 * block. */
#include "outgoing.h"

#include <string.h>

bool nt__outgoing_may_proxy(const char* proxy) {
  return proxy == NULL || proxy[0] == '\0' || nt__url_is_proxy(proxy);
}

int nt__outgoing_check(const nt_request_options_t* options) {
  size_t i;

  if (options->url == NULL || options->method == NULL ||
      (options->body == NULL && options->body_size > 0) ||
      (options->headers == NULL && options->header_count > 0) ||
      !nt__outgoing_may_proxy(options->proxy))
    return NT_E_INVALID;
  if (!nt__header_is_token(options->method))
    return NT_E_METHOD;
  for (i = 0; i < options->header_count; i++)
    if (nt_header_check(options->headers[i].name, options->headers[i].value))
      return NT_E_HEADER;
  return 0;
}

static bool has_header(const nt_request_options_t* options, const char* name) {
  size_t i;

  for (i = 0; i < options->header_count; i++)
    if (nt__header_is(options->headers[i].name, name))
      return true;
  return false;
}

/* libcurl adds these to a body in memory unless it is told not to. */
static const char* const unwanted[] = { "Content-Type", "Expect" };

enum {
  UNWANTED_COUNT = sizeof(unwanted) / sizeof(unwanted[0])
};

static size_t max_fields(const nt_request_options_t* options) {
  return options->header_count + UNWANTED_COUNT + NT__OUTGOING_EXTRA;
}

/* Name NUL, then "Name: value" NUL. */
static size_t field_size(const nt_header_t* header) {
  return 2 * strlen(header->name) + strlen(header->value) + 4;
}

size_t nt__outgoing_size(const nt_request_options_t* options) {
  nt_header_t none = { "", "" };
  size_t size = strlen(options->method) + 1 + options->body_size;
  size_t i;

  size += max_fields(options) * sizeof(nt__field_t);
  if (options->proxy != NULL)
    size += strlen(options->proxy) + 1;
  if (options->origin != NULL)
    size += strlen(options->origin) + 1;
  if (options->interface_name != NULL)
    size += strlen(options->interface_name) + 1;
  for (i = 0; i < options->header_count; i++)
    size += field_size(&options->headers[i]);
  for (i = 0; i < UNWANTED_COUNT; i++)
    size += field_size(&none) + 2 * strlen(unwanted[i]);
  return size;
}

static void* put(char** cursor, const void* bytes, size_t size) {
  void* place = *cursor;

  if (size > 0)
    memcpy(place, bytes, size);
  *cursor += size;
  return place;
}

/* The text is name, separator, value, as libcurl takes it: "Name: value",
 * "Name;" for an empty value, "Name:" for a field that is not to be sent. */
static void put_field(nt__transfer_t* t, char** cursor, const char* name,
                      const char* separator, const char* value) {
  nt__field_t* field = &t->fields[t->field_count++];
  size_t name_size = strlen(name);

  field->name = put(cursor, name, name_size + 1);
  field->dropped = false;
  field->line.next = NULL;
  field->line.data = put(cursor, name, name_size);
  put(cursor, separator, strlen(separator));
  put(cursor, value, strlen(value) + 1);
}

static void put_fields(nt__transfer_t* t, char** cursor,
                       const nt_request_options_t* options) {
  size_t i;

  for (i = 0; i < options->header_count; i++) {
    const nt_header_t* header = &options->headers[i];

    put_field(t, cursor, header->name, header->value[0] == '\0' ? ";" : ": ",
              header->value);
  }
  if (t->ops->on_read != NULL ||
      (options->body_size == 0 && strcmp(options->method, "GET") == 0))
    return;
  for (i = 0; i < UNWANTED_COUNT; i++)
    if (!has_header(options, unwanted[i]))
      put_field(t, cursor, unwanted[i], ":", "");
}

void nt__outgoing_put(nt__transfer_t* t, const nt_request_options_t* options,
                      char* bytes) {
  char* cursor = bytes;

  t->timeouts = options->timeouts;
  t->redirect = options->redirect;
  t->http = options->http;
  t->flags = options->flags;
  t->profile.invoke_start = nt__unix_ms();

  t->fields = (nt__field_t*) (void*) cursor;
  cursor += max_fields(options) * sizeof(nt__field_t);
  put_fields(t, &cursor, options);
  t->method = put(&cursor, options->method, strlen(options->method) + 1);
  t->body = put(&cursor, options->body, options->body_size);
  t->body_size = options->body_size;
  t->proxy = options->proxy;
  if (t->proxy != NULL)
    t->proxy = put(&cursor, t->proxy, strlen(t->proxy) + 1);
  t->origin = options->origin;
  if (t->origin != NULL)
    t->origin = put(&cursor, t->origin, strlen(t->origin) + 1);
  t->resolver = options->resolver;
  t->resolver_timeout = options->resolver_timeout;
  t->mode = options->mode;
  t->cache = t->ops->on_stored == NULL ? NT_CACHE_NONE : options->cache;
  t->referer = options->referer;
  t->interface_name = options->interface_name;
  if (t->interface_name != NULL)
    t->interface_name =
        put(&cursor, t->interface_name, strlen(t->interface_name) + 1);
}

int nt__outgoing_put_url(nt__transfer_t* t,
                         const nt_request_options_t* options) {
  int err = nt__url_parse(&t->url, options->base_url, options->url);

  if (err == 0 && (options->flags & NT_REQUEST_ANONYMOUS))
    nt__url_drop_credentials(&t->url);
  return err;
}

nt__field_t* nt__outgoing_add(nt__transfer_t* t, const char* name, char* line) {
  nt__field_t* field = &t->fields[t->field_count++];

  field->name = name;
  field->dropped = false;
  field->line.next = NULL;
  field->line.data = line;
  return field;
}

bool nt__outgoing_drop(nt__transfer_t* t, const char* name) {
  bool found = false;
  size_t i;

  for (i = 0; i < t->field_count; i++) {
    if (!nt__header_is(t->fields[i].name, name))
      continue;
    t->fields[i].dropped = true;
    found = true;
  }
  return found;
}
