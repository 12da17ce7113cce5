/* Header fields. Pure logic: no loop, no threads. */
#include "header.h"

#include <string.h>

#include "ascii.h"

static bool is_token_char(char c) {
  return (c >= '0' && c <= '9') ||
         (nt__lower(c) >= 'a' && nt__lower(c) <= 'z') ||
         (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool nt__header_is_token(const char* text) {
  const char* p = text;

  while (is_token_char(*p))
    p++;
  return p != text && *p == '\0';
}

static bool is_value(const char* text) {
  const unsigned char* p = (const unsigned char*) text;

  while (*p != '\0' && (*p >= 0x20 || *p == '\t') && *p != 0x7f)
    p++;
  return *p == '\0';
}

int nt_header_check(const char* name, const char* value) {
  return nt__header_is_token(name) && is_value(value) ? 0 : NT_E_HEADER;
}

bool nt__header_is(const char* name, const char* other) {
  while (*name != '\0' && nt__lower(*name) == nt__lower(*other)) {
    name++;
    other++;
  }
  return *name == *other;
}

static bool contains(const char* text, const char* part) {
  size_t i;

  for (; *text != '\0'; text++) {
    for (i = 0; part[i] != '\0' && nt__lower(text[i]) == part[i]; i++)
      ;
    if (part[i] == '\0')
      return true;
  }
  return false;
}

/* Besides the standard three, names that say that they carry one: APIs put
 * their keys into X-Api-Key, X-Auth-Token, X-Session-Id and the like. */
bool nt__header_is_secret(const char* name) {
  static const char* const parts[] = {
    "auth",    "cookie", "token",   "secret",   "api-key",
    "api_key", "apikey", "session", "password", "credential",
  };
  size_t i;

  for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
    if (contains(name, parts[i]))
      return true;
  return false;
}

void nt__headers_init(nt__headers_t* headers, uint64_t max_bytes) {
  nt__buf_init(&headers->bytes, max_bytes);
  headers->count = 0;
}

void nt__headers_free(nt__headers_t* headers) {
  nt__buf_free(&headers->bytes);
  headers->count = 0;
}

void nt__headers_reset(nt__headers_t* headers) {
  headers->bytes.size = 0;
  headers->count = 0;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

/* Cuts the line end and the blanks around. */
static const char* trim(const char* text, size_t* size) {
  while (*size > 0 && (is_blank(*text) || *text == '\r' || *text == '\n')) {
    text++;
    (*size)--;
  }
  while (*size > 0 && (is_blank(text[*size - 1]) || text[*size - 1] == '\r' ||
                       text[*size - 1] == '\n'))
    (*size)--;
  return text;
}

/* Copies bytes as one NUL-terminated text; returns what is behind it. A NUL
 * among them would end it early and shift all that follows, so it becomes a
 * blank. */
static char* put_text(char* to, const char* text, size_t size) {
  char* nul = to;

  memcpy(to, text, size);
  while ((nul = memchr(nul, '\0', (size_t) (to + size - nul))) != NULL)
    *nul = ' ';
  to[size] = '\0';
  return to + size + 1;
}

/* What lies before `end` is all of it now. */
static void end_bytes(nt__headers_t* headers, char* end) {
  headers->bytes.size = (size_t) (end - headers->bytes.data);
  *end = '\0';
}

/* RFC 9112 5.2: a line that starts with a blank goes on with the last value. */
static int append_folded(nt__headers_t* headers, const char* text,
                         size_t size) {
  nt__buf_t* buf = &headers->bytes;
  char* to;
  int err;

  text = trim(text, &size);
  if (headers->count == 0 || size == 0)
    return 0;
  err = nt__buf_room(buf, size + 1);
  if (err)
    return err;
  to = buf->data + buf->size - 1; /* over the NUL of the value */
  /* A value that is empty so far begins with the name's NUL before it. */
  if (to[-1] != '\0')
    *to++ = ' ';
  end_bytes(headers, put_text(to, text, size));
  return 0;
}

int nt__headers_add_line(nt__headers_t* headers, const char* line,
                         size_t size) {
  const char* colon;
  const char* value;
  size_t name_size;
  size_t value_size;
  char* to;
  int err;

  if (size > 0 && is_blank(line[0]))
    return append_folded(headers, line, size);
  colon = size > 0 ? memchr(line, ':', size) : NULL;
  if (colon == NULL || colon == line)
    return 0;
  name_size = (size_t) (colon - line);
  value_size = size - name_size - 1;
  line = trim(line, &name_size);
  value = trim(colon + 1, &value_size);
  if (name_size == 0)
    return 0;

  err = nt__buf_room(&headers->bytes, name_size + value_size + 2);
  if (err)
    return err;
  to = put_text(headers->bytes.data + headers->bytes.size, line, name_size);
  end_bytes(headers, put_text(to, value, value_size));
  headers->count++;
  return 0;
}

int nt__header_append(nt__buf_t* out, const char* name, const char* value,
                      size_t size) {
  size_t name_size = strlen(name) + 1;
  int err = nt__buf_room(out, name_size + size + 1);

  if (err)
    return err;
  nt__buf_append(out, name, name_size);
  nt__buf_append(out, value, size);
  return nt__buf_append(out, "", 1);
}

int nt__headers_add(nt__headers_t* headers, const char* name, const char* value,
                    size_t size) {
  int err = nt__header_append(&headers->bytes, name, value, size);

  headers->count += err == 0;
  return err;
}

nt_headers_t nt__headers_view(const nt__headers_t* headers) {
  nt_headers_t view = { headers->bytes.data, headers->bytes.size,
                        headers->count };

  return view;
}

int nt_headers_next(const nt_headers_t* headers, size_t* cursor,
                    const char** name, const char** value) {
  if (*cursor >= headers->size)
    return 0;
  *name = headers->bytes + *cursor;
  *cursor += strlen(*name) + 1;
  *value = headers->bytes + *cursor;
  *cursor += strlen(*value) + 1;
  return 1;
}

const char* nt__headers_find(const nt__headers_t* headers, const char* name) {
  nt_headers_t view = nt__headers_view(headers);
  size_t cursor = 0;
  const char* found;
  const char* value;

  while (nt_headers_next(&view, &cursor, &found, &value))
    if (nt__header_is(found, name))
      return value;
  return NULL;
}
