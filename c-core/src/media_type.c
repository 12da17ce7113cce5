/* Media types and file extensions: what games load and save. Pure logic. */
#include "media_type.h"

#include <stdbool.h>
#include <string.h>

#include "header.h"

/* The first extension of a type is the one that a file gets. */
static const struct {
  const char* extension;
  const char* type;
} types[] = {
  { "jpg", "image/jpeg" },        { "jpeg", "image/jpeg" },
  { "png", "image/png" },         { "gif", "image/gif" },
  { "webp", "image/webp" },       { "bmp", "image/bmp" },
  { "svg", "image/svg+xml" },     { "ico", "image/x-icon" },
  { "tiff", "image/tiff" },       { "avif", "image/avif" },
  { "ktx", "image/ktx" },         { "mp3", "audio/mpeg" },
  { "mp3", "audio/mp3" },         { "m4a", "audio/mp4" },
  { "aac", "audio/aac" },         { "ogg", "audio/ogg" },
  { "oga", "audio/ogg" },         { "wav", "audio/wav" },
  { "wav", "audio/x-wav" },       { "flac", "audio/flac" },
  { "amr", "audio/amr" },         { "mid", "audio/midi" },
  { "mp4", "video/mp4" },         { "m4v", "video/mp4" },
  { "mov", "video/quicktime" },   { "webm", "video/webm" },
  { "ogv", "video/ogg" },         { "avi", "video/x-msvideo" },
  { "mkv", "video/x-matroska" },  { "3gp", "video/3gpp" },
  { "mpeg", "video/mpeg" },       { "txt", "text/plain" },
  { "html", "text/html" },        { "htm", "text/html" },
  { "css", "text/css" },          { "csv", "text/csv" },
  { "js", "text/javascript" },    { "js", "application/javascript" },
  { "xml", "application/xml" },   { "xml", "text/xml" },
  { "json", "application/json" }, { "pdf", "application/pdf" },
  { "zip", "application/zip" },   { "gz", "application/gzip" },
  { "tar", "application/x-tar" }, { "7z", "application/x-7z-compressed" },
  { "wasm", "application/wasm" }, { "lua", "text/x-lua" },
  { "ttf", "font/ttf" },          { "otf", "font/otf" },
  { "woff", "font/woff" },        { "woff2", "font/woff2" },
  { "glb", "model/gltf-binary" }, { "gltf", "model/gltf+json" },
};

enum {
  TYPE_COUNT = sizeof(types) / sizeof(types[0])
};

const char* nt__media_type_of(const char* file_name) {
  const char* dot = strrchr(file_name, '.');
  size_t i;

  for (i = 0; dot != NULL && i < TYPE_COUNT; i++)
    if (nt__header_is(types[i].extension, dot + 1))
      return types[i].type;
  return NULL;
}

/* The extension of a Content-Type value, which may have parameters, or NULL. */
static const char* extension_of(const char* type) {
  char name[64];
  size_t size = strcspn(type, "; \t,");
  size_t i;

  if (size >= sizeof(name))
    return NULL;
  memcpy(name, type, size);
  name[size] = '\0';
  for (i = 0; i < TYPE_COUNT; i++)
    if (nt__header_is(types[i].type, name))
      return types[i].extension;
  return NULL;
}

static bool is_plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
         (c >= 'A' && c <= 'Z');
}

/* Behind the last dot of the URL's path, if it looks like one: it becomes part
 * of a file name. NULL otherwise. */
static const char* extension_in(const char* url, size_t* size) {
  const char* scheme = strstr(url, "://");
  const char* path = strchr(scheme == NULL ? url : scheme + 3, '/');
  const char* dot = NULL;
  const char* p;

  for (p = path; p != NULL && *p != '\0' && *p != '?' && *p != '#'; p++) {
    if (*p == '.')
      dot = p + 1;
    else if (!is_plain(*p)) /* a slash, too */
      dot = NULL;
  }
  *size = dot == NULL ? 0 : (size_t) (p - dot);
  return *size == 0 || *size > NT__EXTENSION_MAX - 2 ? NULL : dot;
}

void nt__media_extension(const char* type, const char* url,
                         char out[NT__EXTENSION_MAX]) {
  const char* found = type == NULL ? NULL : extension_of(type);
  size_t size = found == NULL ? 0 : strlen(found);

  if (found == NULL)
    found = extension_in(url, &size);
  out[0] = '\0';
  if (found == NULL)
    return;
  out[0] = '.';
  memcpy(out + 1, found, size);
  out[1 + size] = '\0';
}
