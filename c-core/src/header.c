/* Header fields. Pure logic: no loop, no threads. */
#include "header.h"

#include <string.h>

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char) (c + ('a' - 'A')) : c;
}

static bool is_token_char(char c) {
  return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
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
  while (*name != '\0' && lower(*name) == lower(*other)) {
    name++;
    other++;
  }
  return *name == *other;
}

static bool contains(const char* text, const char* part) {
  size_t i;

  for (; *text != '\0'; text++) {
    for (i = 0; part[i] != '\0' && lower(text[i]) == part[i]; i++)
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

/* Appends bytes as one NUL-terminated text. A NUL among them would end it
 * early and shift all that follows, so it becomes a blank. */
static int append_text(nt__buf_t* buf, const char* text, size_t size) {
  size_t start = buf->size;
  int err = nt__buf_append(buf, text, size);
  char* nul;

  if (err == 0)
    err = nt__buf_append(buf, "", 1);
  if (err) {
    buf->size = start;
    return err;
  }
  while ((nul = memchr(buf->data + start, '\0', size)) != NULL)
    *nul = ' ';
  return 0;
}

/* RFC 9112 5.2: a line that starts with a blank goes on with the last value. */
static int append_folded(nt__headers_t* headers, const char* text,
                         size_t size) {
  nt__buf_t* buf = &headers->bytes;
  size_t end = buf->size;
  int err;

  text = trim(text, &size);
  if (headers->count == 0 || size == 0)
    return 0;
  buf->size = end - 1; /* over the NUL of the value */
  /* A value that is empty so far begins with the name's NUL before it. */
  err = buf->data[end - 2] == '\0' ? 0 : nt__buf_append(buf, " ", 1);
  if (err == 0)
    err = append_text(buf, text, size);
  if (err) {
    buf->size = end;
    buf->data[end - 1] = '\0';
  }
  return err;
}

int nt__headers_add_line(nt__headers_t* headers, const char* line,
                         size_t size) {
  const char* colon;
  const char* value;
  size_t name_size;
  size_t value_size;
  size_t start = headers->bytes.size;
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

  err = append_text(&headers->bytes, line, name_size);
  if (err == 0)
    err = append_text(&headers->bytes, value, value_size);
  if (err)
    headers->bytes.size = start;
  else
    headers->count++;
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
