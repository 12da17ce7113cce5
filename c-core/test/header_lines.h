/* Header fields of tests, written as "Name: value" with line ends between. A
 * value that begins with "@" is a date: so many seconds after a moment, as
 * HTTP writes it. */
#ifndef NT_TEST_HEADER_LINES_H
#define NT_TEST_HEADER_LINES_H

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "header.h"

static inline void lines_date(char out[64], int64_t seconds) {
  time_t at = (time_t) seconds;
  struct tm parts;

  gmtime_r(&at, &parts);
  strftime(out, 64, "%a, %d %b %Y %H:%M:%S GMT", &parts);
}

static inline void lines_add(nt__headers_t* fields, const char* line,
                             size_t size, int64_t now_s) {
  char text[2048];
  char date[64];
  char* mark;

  assert_true(size < sizeof(text) - sizeof(date));
  memcpy(text, line, size);
  text[size] = '\0';
  mark = strstr(text, ": @");
  if (mark != NULL) {
    lines_date(date, now_s + strtol(mark + 3, NULL, 10));
    strcpy(mark + 2, date);
  }
  assert_int_equal(nt__headers_add_line(fields, text, strlen(text)), 0);
}

/* For nt__headers_free(). */
static inline nt__headers_t lines_read(const char* text, int64_t now_s) {
  nt__headers_t fields;

  nt__headers_init(&fields, 0);
  while (*text != '\0') {
    size_t size = strcspn(text, "\n");

    lines_add(&fields, text, size, now_s);
    text += size + (text[size] == '\n' ? 1 : 0);
  }
  return fields;
}

/* The other way round, "Name:value" and a line end each; for free(). */
static inline char* lines_write(const char* bytes, size_t size) {
  char* text = malloc(size + 1);
  bool value = false;
  size_t i;

  assert_non_null(text);
  for (i = 0; i < size; i++) {
    text[i] = bytes[i];
    if (bytes[i] != '\0')
      continue;
    text[i] = value ? '\n' : ':';
    value = !value;
  }
  assert_false(value);
  text[size] = '\0';
  return text;
}

#endif
