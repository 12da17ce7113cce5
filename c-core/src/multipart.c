/* multipart/form-data, the text of it. Names and file names are escaped as the
 * HTML standard says: only quotes and line ends, the rest is UTF-8 as it is.
 * Pure logic: no loop, no threads. */
#include "multipart.h"

#include <stdio.h>
#include <string.h>

#include "media_type.h"

void nt__multipart_boundary(const unsigned char random[16],
                            char out[NT__BOUNDARY_MAX]) {
  static const char prefix[] = "----nettask";
  size_t i;

  memcpy(out, prefix, sizeof(prefix));
  for (i = 0; i < 16; i++)
    snprintf(out + sizeof(prefix) - 1 + 2 * i, 3, "%02x", random[i]);
}

static int check_type(const char* type) {
  return type == NULL ? 0 : nt_header_check("Content-Type", type);
}

int nt__multipart_check(const nt_part_t* part) {
  if (part->name == NULL ||
      (part->path == NULL && part->data == NULL && part->size > 0) ||
      (part->path != NULL && part->path[0] == '\0'))
    return NT_E_INVALID;
  if (check_type(part->type) || check_type(part->fallback_type))
    return NT_E_HEADER;
  return 0;
}

int nt__multipart_is_file(const nt_part_t* part) {
  return part->path != NULL || part->file_name != NULL;
}

static int put(nt__buf_t* out, const char* text) {
  return nt__buf_append(out, text, strlen(text));
}

static int put_escaped(nt__buf_t* out, const char* text) {
  int err = 0;

  for (; *text != '\0' && err == 0; text++) {
    switch (*text) {
      case '"':
        err = put(out, "%22");
        break;
      case '\r':
        err = put(out, "%0D");
        break;
      case '\n':
        err = put(out, "%0A");
        break;
      default:
        err = nt__buf_append(out, text, 1);
    }
  }
  return err;
}

static int put_parameter(nt__buf_t* out, const char* name, const char* value) {
  int err = put(out, "; ");

  if (err == 0)
    err = put(out, name);
  if (err == 0)
    err = put(out, "=\"");
  if (err == 0)
    err = put_escaped(out, value);
  return err ? err : put(out, "\"");
}

static const char* base_name(const char* path) {
  const char* base = path;

  for (; *path != '\0'; path++)
#ifdef _WIN32
    if (*path == '/' || *path == '\\')
#else
    if (*path == '/')
#endif
      base = path + 1;
  return base;
}

static const char* file_name_of(const nt_part_t* part) {
  return part->file_name != NULL ? part->file_name : base_name(part->path);
}

static const char* type_of(const nt_part_t* part) {
  const char* type = part->type;

  if (type == NULL)
    type = nt__media_type_of(file_name_of(part));
  if (type == NULL && part->path != NULL)
    type = nt__media_type_of(part->path);
  if (type == NULL)
    type = part->fallback_type;
  return type == NULL ? "application/octet-stream" : type;
}

static int put_type(nt__buf_t* out, const char* type) {
  int err = put(out, "\r\nContent-Type: ");

  return err ? err : put(out, type);
}

static int put_delimiter(nt__buf_t* out, const char* boundary, int is_first) {
  int err = put(out, is_first ? "--" : "\r\n--");

  return err ? err : put(out, boundary);
}

int nt__multipart_head(nt__buf_t* out, const char* boundary,
                       const nt_part_t* part, int is_first) {
  int err = put_delimiter(out, boundary, is_first);

  if (err == 0)
    err = put(out, "\r\nContent-Disposition: form-data");
  if (err == 0)
    err = put_parameter(out, "name", part->name);
  if (err == 0 && nt__multipart_is_file(part))
    err = put_parameter(out, "filename", file_name_of(part));
  if (err == 0 && nt__multipart_is_file(part))
    err = put_type(out, type_of(part));
  else if (err == 0 && part->type != NULL)
    err = put_type(out, part->type);
  return err ? err : put(out, "\r\n\r\n");
}

int nt__multipart_tail(nt__buf_t* out, const char* boundary, int is_empty) {
  int err = put_delimiter(out, boundary, is_empty);

  return err ? err : put(out, "--\r\n");
}
