/* What a part of a download is a part of, and whether an answer goes on with
 * it. A validator that begins with a quote is an ETag, else it is the date of
 * Last-Modified. Pure logic: no loop, no threads, no files. */
#include "resume.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "nettask.h"

static const char first_line[] = "nettask download 1";
static const char last_line[] = "end";

/* RFC 9110, 8.8.2.2: a date is strong when the answer is younger by a second
 * at least. */
static bool is_strong_date(const char* modified, const nt__headers_t* headers) {
  const char* date = nt__headers_find(headers, "date");
  time_t then = curl_getdate(modified, NULL);
  time_t now = date == NULL ? -1 : curl_getdate(date, NULL);

  return then != -1 && now != -1 && now - then >= 1;
}

bool nt__resume_validator(const nt__headers_t* headers,
                          char out[NT__VALIDATOR_MAX]) {
  const char* found = nt__headers_find(headers, "etag");

  if (found == NULL || found[0] != '"') { /* none, or a weak one: W/"..." */
    found = nt__headers_find(headers, "last-modified");
    if (found == NULL || !is_strong_date(found, headers))
      return false;
  }
  if (found[0] == '\0' || strlen(found) >= NT__VALIDATOR_MAX)
    return false;
  memcpy(out, found, strlen(found) + 1);
  return true;
}

/* ---- The sidecar --------------------------------------------------------- */

int nt__sidecar_write(nt__buf_t* out, const char* url,
                      const nt__sidecar_t* sidecar) {
  char length[32];
  const char* lines[] = { first_line, url, sidecar->validator, length,
                          last_line };
  size_t i;
  int err = 0;

  snprintf(length, sizeof(length), "%" PRIu64, sidecar->length);
  for (i = 0; i < sizeof(lines) / sizeof(lines[0]) && err == 0; i++) {
    err = nt__buf_append(out, lines[i], strlen(lines[i]));
    if (err == 0)
      err = nt__buf_append(out, "\n", 1);
  }
  return err;
}

/* The next line, without its end; NULL when there is none that has an end. */
static const char* next_line(const char** text, size_t* left, size_t* size) {
  const char* line = *text;
  const char* end = *left == 0 ? NULL : memchr(line, '\n', *left);

  if (end == NULL)
    return NULL;
  *size = (size_t) (end - line);
  *text += *size + 1;
  *left -= *size + 1;
  return line;
}

static bool next_is(const char** text, size_t* left, const char* expected) {
  size_t size = 0;
  const char* line = next_line(text, left, &size);

  return line != NULL && size == strlen(expected) &&
         memcmp(line, expected, size) == 0;
}

static bool read_number(const char** text, uint64_t* out) {
  const char* p = *text;
  uint64_t value = 0;

  while (*p >= '0' && *p <= '9' && value < UINT64_MAX / 10 - 1)
    value = value * 10 + (uint64_t) (*p++ - '0');
  if (p == *text)
    return false;
  *text = p;
  *out = value;
  return true;
}

bool nt__sidecar_read(const char* text, size_t size, const char* url,
                      nt__sidecar_t* out) {
  const char* line;
  size_t length = 0;

  if (!next_is(&text, &size, first_line) || !next_is(&text, &size, url))
    return false;
  line = next_line(&text, &size, &length);
  if (line == NULL || length == 0 || length >= sizeof(out->validator) ||
      memchr(line, '\0', length) != NULL)
    return false;
  memcpy(out->validator, line, length);
  out->validator[length] = '\0';
  line = next_line(&text, &size, &length);
  if (line == NULL || !read_number(&line, &out->length) || *line != '\n')
    return false;
  return next_is(&text, &size, last_line);
}

/* ---- The answer ---------------------------------------------------------- */

bool nt__content_range_parse(const char* text, nt__content_range_t* out) {
  if (strncmp(text, "bytes ", 6) != 0)
    return false;
  text += 6;
  if (!read_number(&text, &out->first) || *text++ != '-' ||
      !read_number(&text, &out->last) || *text++ != '/' ||
      out->last < out->first)
    return false;
  out->total = 0;
  if (*text == '*')
    return text[1] == '\0';
  return read_number(&text, &out->total) && *text == '\0' &&
         out->last < out->total;
}

bool nt__resume_matches(const nt__headers_t* headers, uint64_t offset,
                        const nt__sidecar_t* sidecar,
                        nt__content_range_t* range) {
  const char* text = nt__headers_find(headers, "content-range");
  const char* validator = nt__headers_find(
      headers, sidecar->validator[0] == '"' ? "etag" : "last-modified");

  if (text == NULL || !nt__content_range_parse(text, range) ||
      range->first != offset)
    return false;
  if (validator != NULL && strcmp(validator, sidecar->validator) != 0)
    return false;
  return sidecar->length == 0 || range->total == 0 ||
         sidecar->length == range->total;
}
