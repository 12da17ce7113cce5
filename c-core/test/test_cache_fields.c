/* cache_fields.c: which fields are stored, for whom (Vary), how they are
 * validated and what they become. "@" is a date, so many seconds after the
 * answer came. */
#include <stdio.h>
#include <string.h>

#include "cache_rules.h"
#include "check.h"
#include "header_lines.h"

#define NOW_S INT64_C(1700000000)
#define NOW (NOW_S * 1000)
#define ANSWERED "Tue, 14 Nov 2023 22:13:20 GMT"

/* An answer as it is stored for a request. */
typedef struct shelf {
  nt__headers_t headers, request;
  nt__buf_t varying;
  nt__stored_t stored;
} shelf_t;

static shelf_t put(const char* headers, const char* request) {
  nt_headers_t asked_with;
  shelf_t shelf;

  memset(&shelf, 0, sizeof(shelf));
  shelf.headers = lines_read(headers, NOW_S);
  shelf.request = lines_read(request, NOW_S);
  nt__buf_init(&shelf.varying, 0);
  shelf.stored.status = 200;
  shelf.stored.asked = shelf.stored.answered = NOW;
  shelf.stored.headers = nt__headers_view(&shelf.headers);
  asked_with = nt__headers_view(&shelf.request);
  assert_int_equal(nt__cache_keep_varying(&shelf.stored.headers, &asked_with,
                                          &shelf.varying),
                   0);
  shelf.stored.varying.bytes = shelf.varying.data;
  shelf.stored.varying.size = shelf.varying.size;
  return shelf;
}

static void clear(shelf_t* shelf) {
  nt__headers_free(&shelf->headers);
  nt__headers_free(&shelf->request);
  nt__buf_free(&shelf->varying);
}

/* ---- What is kept, 3.1 --------------------------------------------------- */

static void keeps_what_is_not_passing(void** state) {
  static const struct {
    const char* headers;
    const char* kept;
  } cases[] = {
    { "", "" },
    { "A: b\nX: \nA: c", "A:b\nX:\nA:c\n" },
    { "Set-Cookie: a=b\nSet-Cookie: c=d", "Set-Cookie:a=b\nSet-Cookie:c=d\n" },
    { "Content-Length: 5\nContent-Encoding: gzip\nTest: x",
      "Content-Length:5\nContent-Encoding:gzip\nTest:x\n" },
    { "Connection: close\nA: b", "A:b\n" },
    { "A: 1\nB: 2\nConnection: a, b\nC: 3", "C:3\n" },
    { "Connection: a\nConnection: ,B ,\nA: 1\nB: 2\nC: 3", "C:3\n" },
    { "Keep-Alive: a\nProxy-Connection: a\nTE: a\nTransfer-Encoding: a\n"
      "Upgrade: a\nTrailer: a\nB: c",
      "B:c\n" },
    { "Proxy-Authenticate: a\nproxy-authentication-info: a\n"
      "PROXY-AUTHORIZATION: a\nWWW-Authenticate: b",
      "WWW-Authenticate:b\n" },
    /* What we go by stays, whatever Connection says. */
    { "Connection: vary, cache-control, etag, date, content-encoding, a\n"
      "Vary: x\nCache-Control: y\nETag: z\nDate: u\nContent-Encoding: v\nA: b",
      "Vary:x\nCache-Control:y\nETag:z\nDate:u\nContent-Encoding:v\n" },
    /* 5.2.2.4 */
    { "Cache-Control: no-cache=\"a\"\nA: 1\nB: 2",
      "Cache-Control:no-cache=\"a\"\nB:2\n" },
    { "Cache-Control: no-cache=\"a, B\"\nA: 1\nb: 2\nC: 3",
      "Cache-Control:no-cache=\"a, B\"\nC:3\n" },
    { "Cache-Control: no-cache=a\nA: 1\nB: 2",
      "Cache-Control:no-cache=a\nB:2\n" },
    { "Cache-Control: no-cache=\"a\"\nCache-Control: no-cache=\"b\"\n"
      "A: 1\nB: 2",
      "Cache-Control:no-cache=\"a\"\nCache-Control:no-cache=\"b\"\n" },
    /* It is always validated, so they may stay. */
    { "Cache-Control: no-cache=\"a\", no-cache\nA: 1",
      "Cache-Control:no-cache=\"a\", no-cache\nA:1\n" },
    { "Cache-Control: no-cache=\"a, vary\"\nA: 1\nVary: x",
      "Cache-Control:no-cache=\"a, vary\"\nA:1\nVary:x\n" },
    { "Cache-Control: private=\"a\"\nA: 1",
      "Cache-Control:private=\"a\"\nA:1\n" },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    nt__headers_t headers = lines_read(cases[i].headers, NOW_S);
    nt_headers_t view = nt__headers_view(&headers);
    nt__buf_t out;
    char* text;

    nt__buf_init(&out, 0);
    assert_int_equal(nt__cache_keep_headers(&view, &out), 0);
    text = lines_write(out.data, out.size);
    assert_string_equal(text, cases[i].kept);
    free(text);
    nt__buf_free(&out);
    nt__headers_free(&headers);
  }
}

/* ---- Vary, 4.1 ----------------------------------------------------------- */

static const struct {
  const char* vary;
  const char* then;
  const char* now;
  bool matches;
} varying[] = {
  { "", "A: 1", "A: 2", true },
  { "Vary:", "A: 1", "A: 2", true },
  { "Vary: A", "A: 1", "A: 1", true },
  { "Vary: A", "A: 1", "A: 2", false },
  { "Vary: A", "A: 1", "", false },
  { "Vary: A", "", "A: 1", false },
  { "Vary: A", "", "", true },
  { "Vary: A", "A:", "", false },
  { "Vary: A", "A:", "A:", true },
  { "Vary: A", "A: 1\nB: 2", "B: 3\nA: 1", true },
  { "vary: a", "A: x", "a: x", true },
  { "Vary: A", "A: x", "A: X", false },
  { "Vary: A, B", "A: 1\nB: 2", "B: 2\nA: 1", true },
  { "Vary: A, B", "A: 1\nB: 2", "A: 1\nB: 3", false },
  { "Vary: A, B", "A: 1\nB: 2", "A: 1", false },
  { "Vary: A, B", "A: 1", "A: 1", true },
  { "Vary: A\nVary: B", "A: 1\nB: 2", "A: 1\nB: 3", false },
  { "Vary: , A ,, a", "A: 1", "A: 1", true },
  { "Vary: *", "A: 1", "A: 1", false },
  { "Vary: *, *", "", "", false },
  { "Vary: , *", "", "", false },
  { "Vary:\nVary: *", "", "", false },
  { "Vary: A, *", "A: 1", "A: 1", false },
  { "Vary: *, A", "A: 1", "A: 1", false },
  { "Vary: A B", "A: 1", "A: 1", false },
  /* Of users each has an answer of its own, said or not. */
  { "", "Authorization: a", "Authorization: a", true },
  { "", "Authorization: a", "authorization: b", false },
  { "", "Authorization: a", "", false },
  { "", "", "Authorization: a", false },
  { "Vary: Foo", "Authorization: a", "Authorization: b", false },
  /* The same however it is written. */
  { "Vary: A", "A: 1, 2", "A: 1\nA: 2", true },
  { "Vary: A", "A: 1,2", "A:  1, 2 ", true },
  { "Vary: A", "A: 1, 2", "A: 1 ,\t 2,", true },
  { "Vary: A", "A: 1, 2", "A: 2, 1", false },
  { "Vary: A", "A: 1\nA: 2", "A: 2\nA: 1", false },
  { "Vary: A", "A: 1 2", "A: 12", false },
  { "Vary: A", "A: \"1, 2\"", "A: \"1,2\"", false },
  { "Vary: A", "A: 12", "A: 1\nA: 2", false },
  { "Vary: Accept", "Accept: a/b, c/d", "Accept: a/b,c/d", true },
  { "Vary: Accept-Language", "Accept-Language: en, de",
    "Accept-Language: eN ,   De", true },
  { "Vary: Accept-Language", "Accept-Language: de;q=0.5",
    "Accept-Language: de ; q=0.5", true },
  { "Vary: Accept-Language", "Accept-Language: en, de",
    "Accept-Language: de, en", false },
  { "Vary: Accept-Encoding", "Accept-Encoding: gzip, br",
    "Accept-Encoding: GZIP,br", true },
  { "Vary: Cookie", "Cookie: a=1, 2", "Cookie: a=1,2", false },
  { "Vary: Cookie", "Cookie: a=1", "Cookie: a=1", true },
  { "Vary: User-Agent", "User-Agent: A (b, c)", "User-Agent: A (b,c)", false },
  { "Vary: Authorization", "Authorization: Basic x", "Authorization: basic x",
    false },
};

static void matches_what_varies(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(varying); i++) {
    shelf_t shelf = put(varying[i].vary, varying[i].then);
    nt__headers_t request = lines_read(varying[i].now, NOW_S);
    nt_headers_t view = nt__headers_view(&request);

    if (nt__cache_matches(&shelf.stored, &view) != varying[i].matches)
      fail_msg("%s, %s: %s", varying[i].vary, varying[i].then, varying[i].now);
    nt__headers_free(&request);
    clear(&shelf);
  }
}

/* Answers that are for the same requests have the same bytes there, by which
 * they take each other's place. */
static void writes_what_varies_in_one_way(void** state) {
  shelf_t a = put("Vary: Foo, Bar", "FOO: 1, 2\nBar: x");
  shelf_t b = put("Vary: bar\nVary: foo, BAR", "bar: x\nfoo: 1\nfoo: 2");
  shelf_t c = put("Vary: Foo, Bar", "Foo: 1, 3\nBar: x");
  shelf_t d = put("Vary: Foo, Bar", "Bar: x");

  (void) state;
  assert_true(a.varying.size > 0 && a.varying.size == b.varying.size);
  assert_memory_equal(a.varying.data, b.varying.data, a.varying.size);
  assert_int_equal(a.varying.size, c.varying.size);
  assert_memory_not_equal(a.varying.data, c.varying.data, a.varying.size);
  assert_true(d.varying.size < a.varying.size);
  clear(&a);
  clear(&b);
  clear(&c);
  clear(&d);
}

static void keeps_no_credentials(void** state) {
  shelf_t shelf = put("Vary: Authorization, X", "Authorization: hush\nX: hush");
  char* text = lines_write(shelf.varying.data, shelf.varying.size);

  (void) state;
  assert_non_null(strstr(text, "authorization:"));
  assert_non_null(strstr(text, "x:"));
  assert_null(strstr(text, "hush"));
  free(text);
  clear(&shelf);
}

/* ---- Validators, 4.3.1 --------------------------------------------------- */

static void asks_with_validators(void** state) {
  static const struct {
    const char* headers;
    const char* lines; /* "|" between them */
  } cases[] = {
    { "", "" },
    { "Date: @0", "" },
    { "ETag: \"a\"", "If-None-Match: \"a\"|" },
    { "ETag: W/\"a\"", "If-None-Match: W/\"a\"|" },
    { "ETag: \"\"", "If-None-Match: \"\"|" },
    { "ETag: \"a,b c\"", "If-None-Match: \"a,b c\"|" },
    { "ETag: \"\xc3\xbc\"", "If-None-Match: \"\xc3\xbc\"|" },
    { "ETag: abc", "If-None-Match: abc|" },
    { "Last-Modified: @0", "If-Modified-Since: " ANSWERED "|" },
    { "Last-Modified: Tuesday, 14-Nov-23 22:13:20 GMT",
      "If-Modified-Since: Tuesday, 14-Nov-23 22:13:20 GMT|" },
    { "Last-Modified: @0\nETag: \"a\"",
      "If-None-Match: \"a\"|If-Modified-Since: " ANSWERED "|" },
    { "ETag: \"a\"\nETag: \"b\"", "If-None-Match: \"a\"|" },
    /* What would match anything, or nothing. */
    { "ETag: *", "" },
    { "ETag:", "" },
    { "ETag: \"", "" },
    { "ETag: \"a", "" },
    { "ETag: \"a\", \"b\"", "" },
    { "ETag: a, *", "" },
    { "ETag: W/", "If-None-Match: W/|" },
    { "ETag: W/*", "" },
    { "Last-Modified: yesterday", "" },
  };
  size_t i, k;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    shelf_t shelf = put(cases[i].headers, "");
    nt__buf_t out;

    nt__buf_init(&out, 0);
    assert_int_equal(nt__cache_validators(&shelf.stored, &out), 0);
    for (k = 0; k < out.size; k++)
      if (out.data[k] == '\0')
        out.data[k] = '|';
    assert_string_equal(out.size == 0 ? "" : out.data, cases[i].lines);
    nt__buf_free(&out);
    clear(&shelf);
  }
}

/* Nobody knows who has written to a disk. */
static void sends_no_foreign_line(void** state) {
  static const char fields[] =
      "ETag\0a\r\nX:y\0Last-Modified\0" ANSWERED "\r\nX: y";
  nt__stored_t stored;
  nt__buf_t out;

  (void) state;
  memset(&stored, 0, sizeof(stored));
  stored.headers.bytes = fields;
  stored.headers.size = sizeof(fields);
  stored.headers.count = 2;
  nt__buf_init(&out, 0);
  assert_int_equal(nt__cache_validators(&stored, &out), 0);
  assert_int_equal(out.size, 0);
  nt__buf_free(&out);
}

/* ---- 304 and HEAD, 4.3.4, 4.3.5, 3.2 ------------------------------------- */

static void knows_what_a_304_is_about(void** state) {
  static const struct {
    const char* stored;
    const char* fresh;
    bool confirms;
  } cases[] = {
    { "ETag: \"a\"", "ETag: \"a\"", true },
    { "ETag: W/\"a\"", "ETag: W/\"a\"", true },
    { "ETag: W/\"a\"", "ETag: \"a\"", true },
    { "ETag: \"a\"", "ETag: W/\"a\"", true },
    { "ETag: \"a\"\nLast-Modified: @-9", "ETag: \"a\"\nLast-Modified: @-5",
      true },
    { "Last-Modified: @-9", "Last-Modified: @-9", true },
    { "Last-Modified: @-9", "Last-Modified: @-8", false },
    { "Last-Modified: @0", "Last-Modified: Tuesday, 14-Nov-23 22:13:20 GMT",
      true },
    { "Last-Modified: foo", "Last-Modified: foo", true },
    { "Last-Modified: foo", "Last-Modified: bar", false },
    { "ETag: \"a\"\nLast-Modified: @-9", "Last-Modified: @-9", true },
    { "ETag: \"a\"\nLast-Modified: @-9", "Last-Modified: @-8", false },
    { "ETag: \"a\"", "Last-Modified: @-8", true },
    { "Last-Modified: @-9", "Last-Modified: @-9\nETag: \"a\"", true },
    { "Last-Modified: @-9", "ETag: \"a\"", false },
    { "Last-Modified: @-9", "ETag: W/\"a\"", true },
    /* Without any it is about the one that was asked for. */
    { "ETag: \"a\"", "", true },
    { "Last-Modified: @-9", "Date: @0", true },
    { "", "", true },
    { "", "ETag: \"a\"", false },
    /* It was asked about the stored tag, whatever its own one is. */
    { "ETag: \"a\"", "ETag: \"b\"", true },
    { "ETag: \"a\"", "ETag: \"A\"", true },
    { "ETag: W/\"a\"", "ETag: W/\"b\"", true },
    { "ETag: \"a\"\nLast-Modified: @-9", "ETag: \"b\"\nLast-Modified: @-8",
      true },
    { "ETag: *", "ETag: \"b\"", false },
    { "ETag: \"a\"\nVary: A, B", "Vary: b\nVary: a, A", true },
    { "ETag: \"a\"\nVary: A, B", "ETag: \"a\"", true },
    { "ETag: \"a\"\nVary: A, B", "Vary: A", false },
    { "ETag: \"a\"\nVary: A", "Vary: A, B", false },
    { "ETag: \"a\"\nVary: A", "Vary: B", false },
    { "ETag: \"a\"", "Vary: A", false },
    { "ETag: \"a\"", "Cache-Control: no-store", false },
    { "ETag: \"a\"", "Cache-Control: no-store, must-understand", true },
    { "ETag: \"a\"", "Cache-Control: no-cache", true },
    /* It could not be stored again. */
    { "ETag: \"a\"", "ETag: \"a\"\nVary: *", false },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    shelf_t shelf = put(cases[i].stored, "");
    nt__headers_t fresh = lines_read(cases[i].fresh, NOW_S);
    nt_headers_t view = nt__headers_view(&fresh);

    if (nt__cache_confirms(&shelf.stored, &view) != cases[i].confirms)
      fail_msg("%s: %s", cases[i].stored, cases[i].fresh);
    nt__headers_free(&fresh);
    clear(&shelf);
  }
}

static void knows_what_a_head_confirms(void** state) {
  static const struct {
    const char* stored;
    const char* fresh;
    bool confirms;
  } cases[] = {
    { "", "", true },
    { "ETag: \"a\"\nLast-Modified: @-9\nContent-Length: 5",
      "ETag: \"a\"\nLast-Modified: @-9\nContent-Length: 5", true },
    { "ETag: \"a\"\nLast-Modified: @-9\nContent-Length: 5", "", true },
    { "ETag: \"a\"", "ETag: \"b\"", false },
    { "ETag: \"a\"", "ETag: W/\"a\"", true },
    { "", "ETag: \"a\"", false },
    { "Last-Modified: @-9", "Last-Modified: @-8", false },
    { "ETag: \"a\"\nLast-Modified: @-9", "ETag: \"a\"\nLast-Modified: @-8",
      false },
    { "", "Last-Modified: @-8", false },
    { "Content-Length: 5", "Content-Length: 6", false },
    { "", "Content-Length: 6", false },
    { "A: b", "A: c\nCache-Control: max-age=1", true },
    { "A: b", "Cache-Control: no-store", false },
    { "A: b", "Vary: A", false },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    shelf_t shelf = put(cases[i].stored, "");
    nt__headers_t fresh = lines_read(cases[i].fresh, NOW_S);
    nt_headers_t view = nt__headers_view(&fresh);

    if (nt__cache_head_confirms(&shelf.stored, &view) != cases[i].confirms)
      fail_msg("%s: %s", cases[i].stored, cases[i].fresh);
    nt__headers_free(&fresh);
    clear(&shelf);
  }
}

static const struct {
  const char* stored;
  const char* fresh;
  const char* merged;
} merges[] = {
  { "A: 1\nB: 2", "", "A:1\nB:2\n" },
  { "A: 1\nB: 2", "B: 3\nC: 4", "A:1\nB:3\nC:4\n" },
  { "A: 1\nA: 2\nB: 3", "a: 4\na: 5", "B:3\na:4\na:5\n" },
  { "Set-Cookie: a=b", "Set-Cookie: a=c", "Set-Cookie:a=c\n" },
  { "Content-Type: a/b\nContent-Location: /a",
    "Content-Type: c/d\nContent-Location: /b",
    "Content-Type:c/d\nContent-Location:/b\n" },
  { "Cache-Control: max-age=1\nExpires: 0", "Cache-Control: max-age=9",
    "Expires:0\nCache-Control:max-age=9\n" },
  /* The body is the old one. */
  { "Content-Length: 5\nContent-Encoding: br\nContent-MD5: a\n"
    "Content-Range: b\nETag: \"x\"",
    "Content-Length: 0\nContent-Encoding: gzip\nContent-MD5: c\n"
    "Content-Range: d\nETag: W/\"x\"",
    "Content-Length:5\nContent-Encoding:br\nContent-MD5:a\nContent-Range:b\n"
    "ETag:\"x\"\n" },
  { "A: 1", "Content-Length: 0\nContent-Encoding: gzip", "A:1\n" },
  { "A: 1", "ETag: \"x\"", "A:1\nETag:\"x\"\n" },
  /* An age is that of the last answer; what has no date came just now. */
  { "Age: 5\nDate: a", "Age: 7\nDate: b", "Age:7\nDate:b\n" },
  { "Age: 5\nDate: a", "Date: b", "Date:b\n" },
  { "Age: 5\nDate: a\nB: c", "", "B:c\n" },
  /* 4.3.4: all that is taken from what has another tag. */
  { "ETag: \"x\"\nAge: 5\nDate: a\nA: 1\nCache-Control: max-age=1",
    "ETag: \"y\"\nAge: 7\nDate: b\nA: 2\nB: 3\nCache-Control: max-age=9\n"
    "Connection: cache-control",
    "ETag:\"x\"\nA:1\nCache-Control:max-age=1\nAge:7\nDate:b\n" },
  /* Of one connection: neither taken, nor in place of what is there. */
  { "A: 1\nB: 2",
    "Connection: a, keep-alive\nA: 3\nB: 4\nKeep-Alive: x\n"
    "Transfer-Encoding: chunked",
    "A:1\nB:4\n" },
  /* 5.2.2.4 */
  { "A: 1\nB: 2", "Cache-Control: no-cache=\"a\"\nB: 3",
    "Cache-Control:no-cache=\"a\"\nB:3\n" },
  { "Cache-Control: no-cache=\"a\"", "A: 3\nB: 4",
    "Cache-Control:no-cache=\"a\"\nB:4\n" },
  { "Cache-Control: no-cache=\"a\"", "A: 3\nCache-Control: max-age=1",
    "A:3\nCache-Control:max-age=1\n" },
};

static void merges_headers(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(merges); i++) {
    shelf_t shelf = put(merges[i].stored, "");
    nt__headers_t fresh = lines_read(merges[i].fresh, NOW_S);
    nt_headers_t view = nt__headers_view(&fresh);
    nt__buf_t out;
    char* text;

    nt__buf_init(&out, 0);
    assert_int_equal(nt__cache_merge(&shelf.stored, &view, &out), 0);
    text = lines_write(out.data, out.size);
    assert_string_equal(text, merges[i].merged);
    free(text);
    nt__buf_free(&out);
    nt__headers_free(&fresh);
    clear(&shelf);
  }
}

static void grows_no_further(void** state) {
  shelf_t shelf = put("ETag: \"a\"", "");
  nt__headers_t fresh = lines_read("ETag: \"a\"", NOW_S);
  nt_headers_t view = nt__headers_view(&fresh);

  (void) state;
  shelf.stored.headers.count = 1023;
  assert_true(nt__cache_confirms(&shelf.stored, &view));
  assert_true(nt__cache_head_confirms(&shelf.stored, &view));
  shelf.stored.headers.count = 1024;
  assert_false(nt__cache_confirms(&shelf.stored, &view));
  assert_false(nt__cache_head_confirms(&shelf.stored, &view));
  nt__headers_free(&fresh);
  clear(&shelf);
}

/* ---- Want of memory ------------------------------------------------------ */

typedef int (*append_t)(const shelf_t* shelf, nt__buf_t* out);

static int append_kept(const shelf_t* shelf, nt__buf_t* out) {
  return nt__cache_keep_headers(&shelf->stored.headers, out);
}

static int append_varying(const shelf_t* shelf, nt__buf_t* out) {
  nt_headers_t request = nt__headers_view(&shelf->request);

  return nt__cache_keep_varying(&shelf->stored.headers, &request, out);
}

static int append_validators(const shelf_t* shelf, nt__buf_t* out) {
  return nt__cache_validators(&shelf->stored, out);
}

static int append_merged(const shelf_t* shelf, nt__buf_t* out) {
  nt_headers_t request = nt__headers_view(&shelf->request);

  return nt__cache_merge(&shelf->stored, &request, out);
}

/* With room for each number of bytes that is too small. */
static void says_when_there_is_no_room(void** state) {
  static const append_t appends[] = { append_kept, append_varying,
                                      append_validators, append_merged };
  shelf_t shelf =
      put("Vary: A, B\nETag: \"x\"\nLast-Modified: @-9", "A: 1\nB: 2");
  size_t i, room;

  (void) state;
  for (i = 0; i < COUNT(appends); i++) {
    nt__buf_t whole;

    nt__buf_init(&whole, 0);
    assert_int_equal(appends[i](&shelf, &whole), 0);
    for (room = 1; room < whole.size; room++) {
      nt__buf_t out;

      nt__buf_init(&out, room);
      assert_int_equal(appends[i](&shelf, &out), NT_E_FULL);
      assert_true(out.size <= room);
      nt__buf_free(&out);
    }
    nt__buf_free(&whole);
  }
  clear(&shelf);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(keeps_what_is_not_passing),
    cmocka_unit_test(matches_what_varies),
    cmocka_unit_test(writes_what_varies_in_one_way),
    cmocka_unit_test(keeps_no_credentials),
    cmocka_unit_test(asks_with_validators),
    cmocka_unit_test(sends_no_foreign_line),
    cmocka_unit_test(knows_what_a_304_is_about),
    cmocka_unit_test(knows_what_a_head_confirms),
    cmocka_unit_test(merges_headers),
    cmocka_unit_test(grows_no_further),
    cmocka_unit_test(says_when_there_is_no_room),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
