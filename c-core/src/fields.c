/* The header fields of a hop: those of the caller, with secrets in place of
 * their placeholders; the cookies of the jar; our Origin. What is made for the
 * hop lives until its end, since libcurl keeps no copy, and is wiped then. I/O
 * thread. */
#include "fields.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "base64.h"
#include "buf.h"
#include "cache.h"
#include "cookies.h"
#include "header.h"
#include "origin.h"
#include "secret.h"
#include "sha256.h"

enum {
  HASH_SIZE = (NT__SHA256_SIZE + 2) / 3 * 4 + 1
};

/* ---- Secrets ------------------------------------------------------------- */

struct nt__revealed {
  nt__revealed_t* next;
  struct curl_slist line;
  size_t size;
  char text[];
};

/* A name is a token, and what follows it is one separator. */
static const char* value_of(const nt__field_t* field) {
  return field->line.data + strlen(field->name) + 1;
}

bool nt__field_has_secret(const nt__transfer_t* t, const nt__field_t* field) {
  const nt_policy_t* policy = nt__transfer_policy(t);
  const char* value;

  if (policy->secret_count == 0)
    return false;
  value = value_of(field);
  return nt__secret_is_in(policy, value, strlen(value));
}

/* The script's own proxy, which reads along without TLS. */
static bool has_listener(const nt__transfer_t* t) {
  const char* own = nt__transfer_policy(t)->proxy;

  return !t->url.secure && t->proxy != NULL && t->proxy[0] != '\0' &&
         (own == NULL || strcmp(t->proxy, own) != 0);
}

/* RFC 9110 9.3.8: the answer is what was sent. TRACK is the same to some. */
static bool has_echo(const nt__transfer_t* t) {
  return curl_strequal(t->method, "TRACE") || curl_strequal(t->method, "TRACK");
}

static int check_text(nt__transfer_t* t, const char* text, size_t size) {
  nt__task_t* task = t->task;

  return nt__secret_check(nt__transfer_policy(t), text, size, &t->url,
                          has_listener(t) || has_echo(t), task->message,
                          sizeof(task->message));
}

int nt__fields_check(nt__transfer_t* t) {
  int err = 0;
  size_t i;

  if (nt__transfer_policy(t)->secret_count == 0)
    return 0;
  if (t->head != NULL)
    err = check_text(t, t->head, t->head_size);
  for (i = 0; err == 0 && i < t->field_count; i++)
    if (!t->fields[i].dropped)
      err = check_text(t, value_of(&t->fields[i]),
                       strlen(value_of(&t->fields[i])));
  return err;
}

/* Memory for a line that goes with the hop. NULL without any. */
static nt__revealed_t* new_line(nt__transfer_t* t, size_t size) {
  nt__revealed_t* revealed = nt__malloc(sizeof(*revealed) + size + 1);

  if (revealed == NULL)
    return NULL;
  revealed->text[size] = '\0';
  revealed->size = size;
  revealed->line.data = revealed->text;
  revealed->line.next = NULL;
  revealed->next = t->revealed;
  t->revealed = revealed;
  return revealed;
}

static struct curl_slist* reveal(nt__transfer_t* t, const nt__field_t* field) {
  const nt_policy_t* policy = nt__transfer_policy(t);
  const char* value = value_of(field);
  size_t head = (size_t) (value - field->line.data);
  size_t size = head + nt__secret_reveal(policy, value, strlen(value), NULL);
  nt__revealed_t* revealed = new_line(t, size);

  if (revealed == NULL)
    return NULL;
  memcpy(revealed->text, field->line.data, head);
  nt__secret_reveal(policy, value, strlen(value), revealed->text + head);
  return &revealed->line;
}

void nt__fields_wipe(nt__transfer_t* t) {
  nt__revealed_t* revealed;

  while ((revealed = t->revealed) != NULL) {
    t->revealed = revealed->next;
    nt__wipe(revealed->text, revealed->size);
    nt__free(revealed);
  }
}

/* ---- Cookies ------------------------------------------------------------- */

/* The first field of the caller's own that the jar's are put behind, or NULL.
 */
static const nt__field_t* find_cookies(const nt__transfer_t* t) {
  size_t i;

  if ((t->flags & NT_REQUEST_COOKIES_SEND) == 0)
    return NULL; /* it goes as it is */
  for (i = 0; i < t->field_count; i++)
    if (!t->fields[i].dropped && nt__header_is(t->fields[i].name, "cookie"))
      return &t->fields[i];
  return NULL;
}

/* One field for both, RFC 6265 5.4. Only in the caller's part a placeholder
 * stands for a secret: what a server has set is sent as it is. */
static struct curl_slist* cookie_line(nt__transfer_t* t, const char* own,
                                      const nt__buf_t* jar) {
  static const char head[] = "Cookie: ";
  const nt_policy_t* policy = nt__transfer_policy(t);
  size_t own_size = strlen(own);
  size_t size = nt__secret_reveal(policy, own, own_size, NULL);
  size_t gap = size > 0 ? 2 : 0;
  nt__revealed_t* line = new_line(t, sizeof(head) - 1 + size + gap + jar->size);
  char* at;

  if (line == NULL)
    return NULL;
  at = line->text;
  memcpy(at, head, sizeof(head) - 1);
  at += sizeof(head) - 1;
  nt__secret_reveal(policy, own, own_size, at);
  memcpy(at + size, "; ", gap);
  memcpy(at + size + gap, jar->data, jar->size);
  return &line->line;
}

/* `*line` stays NULL when the jar has nothing to say. */
static int join_cookies(nt__transfer_t* t, const nt__field_t* field,
                        struct curl_slist** line) {
  const char* own = field == NULL ? "" : value_of(field);
  nt__buf_t jar;
  int err;

  *line = NULL;
  own += strspn(own, " ");
  nt__buf_init(&jar, 0);
  err = nt__cookies_pick(t, own, &jar);
  if (err == 0 && jar.size > 0) {
    *line = cookie_line(t, own, &jar);
    err = *line == NULL ? NT_E_NOMEM : 0;
  }
  if (jar.data != NULL)
    nt__wipe(jar.data, jar.size);
  nt__buf_free(&jar);
  return err;
}

/* ---- All of them --------------------------------------------------------- */

/* Our Origin; `*line` stays NULL when none is sent. */
static int origin_line(nt__transfer_t* t, struct curl_slist** line) {
  nt__revealed_t* memory;
  char* text = NULL;
  int err = nt__origin_write(t, &text);

  *line = NULL;
  if (err || text == NULL)
    return err;
  memory = new_line(t, strlen(text));
  if (memory != NULL) {
    memcpy(memory->text, text, memory->size);
    *line = &memory->line;
  }
  nt__free(text);
  return memory == NULL ? NT_E_NOMEM : 0;
}

/* With a mode Origin is ours alone. */
static bool is_left_out(const nt__transfer_t* t, const nt__field_t* field) {
  return field->dropped ||
         (t->mode != NT_MODE_ANY && nt__header_is(field->name, "origin"));
}

/* What asks whether the stored answer still holds. Appends to the list. */
static int add_conditions(nt__transfer_t* t, struct curl_slist*** link) {
  nt__buf_t text;
  size_t at = 0;
  int err;

  nt__buf_init(&text, 0);
  err = nt__visit_ask(t, &text);
  while (err == 0 && at < text.size) {
    size_t size = strlen(text.data + at);
    nt__revealed_t* line = new_line(t, size);

    err = line == NULL ? NT_E_NOMEM : 0;
    if (line != NULL) {
      memcpy(line->text, text.data + at, size);
      **link = &line->line;
      *link = &line->line.next;
    }
    at += size + 1;
  }
  nt__buf_free(&text);
  return err;
}

static struct curl_slist* line_of(nt__transfer_t* t, nt__field_t* field) {
  return nt__field_has_secret(t, field) ? reveal(t, field) : &field->line;
}

int nt__fields_give(nt__transfer_t* t, CURL* curl) {
  const nt__field_t* own_cookies = find_cookies(t);
  struct curl_slist* cookies;
  struct curl_slist* origin = NULL;
  struct curl_slist* first = NULL;
  struct curl_slist** link = &first;
  size_t i;
  int err = join_cookies(t, own_cookies, &cookies);

  if (err == 0)
    err = origin_line(t, &origin);
  if (err)
    return err;
  for (i = 0; i < t->field_count; i++) {
    nt__field_t* field = &t->fields[i];

    if (is_left_out(t, field) || (field == own_cookies && cookies != NULL))
      continue;
    *link = line_of(t, field);
    if (*link == NULL)
      return NT_E_NOMEM;
    link = &(*link)->next;
  }
  err = add_conditions(t, &link);
  if (err)
    return err;
  *link = cookies;
  if (origin != NULL) {
    origin->next = first;
    first = origin;
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, first);
  return 0;
}

/* ---- For the cache ------------------------------------------------------- */

/* The value itself, or a hash of what is sent in its place: what is stored for
 * one secret is not for the next one, whose placeholder is the same. NULL
 * without memory. */
static const char* show(const nt__transfer_t* t, const char* value,
                        char hash[HASH_SIZE]) {
  const nt_policy_t* policy = nt__transfer_policy(t);
  unsigned char sum[NT__SHA256_SIZE];
  size_t length = strlen(value);
  nt__sha256_t sha;
  char* sent;
  size_t size;

  if (!nt__secret_is_in(policy, value, length))
    return value;
  size = nt__secret_reveal(policy, value, length, NULL);
  sent = nt__malloc(size + 1);
  if (sent == NULL)
    return NULL;
  nt__secret_reveal(policy, value, length, sent);
  nt__sha256_init(&sha);
  nt__sha256_update(&sha, sent, size);
  nt__sha256_final(&sha, sum);
  nt__base64_encode(sum, sizeof(sum), hash);
  nt__wipe(sent, size);
  nt__wipe(&sha, sizeof(sha));
  nt__free(sent);
  return hash;
}

/* "Name:" keeps libcurl from sending a field of its own. */
static bool is_sent(const nt__transfer_t* t, const nt__field_t* field) {
  const char* value = value_of(field);

  return !is_left_out(t, field) && (value[-1] == ';' || value[0] != '\0');
}

static int add_own(nt__transfer_t* t, nt__headers_t* out) {
  const nt__field_t* cookies = find_cookies(t);
  char hash[HASH_SIZE];
  int err = 0;
  size_t i;

  for (i = 0; err == 0 && i < t->field_count; i++) {
    const nt__field_t* field = &t->fields[i];
    const char* value = value_of(field);

    if (!is_sent(t, field) || field == cookies)
      continue;
    value = show(t, value + strspn(value, " \t"), hash);
    err = value == NULL
              ? NT_E_NOMEM
              : nt__headers_add(out, field->name, value, strlen(value));
  }
  return err;
}

static int add_cookies(nt__transfer_t* t, nt__headers_t* out) {
  const nt__field_t* field = find_cookies(t);
  const char* own = field == NULL ? "" : value_of(field);
  char hash[HASH_SIZE];
  nt__buf_t text;
  nt__buf_t jar;
  int err;

  own += strspn(own, " ");
  nt__buf_init(&text, 0);
  nt__buf_init(&jar, 0);
  err = nt__cookies_pick(t, own, &jar);
  own = show(t, own, hash);
  if (err == 0)
    err = own == NULL ? NT_E_NOMEM : nt__buf_append(&text, own, strlen(own));
  if (err == 0 && text.size > 0 && jar.size > 0)
    err = nt__buf_append(&text, "; ", 2);
  if (err == 0)
    err = nt__buf_append(&text, jar.data, jar.size);
  if (err == 0 && text.size > 0)
    err = nt__headers_add(out, "Cookie", text.data, text.size);
  if (jar.data != NULL)
    nt__wipe(jar.data, jar.size);
  if (text.data != NULL)
    nt__wipe(text.data, text.size);
  nt__buf_free(&jar);
  nt__buf_free(&text);
  return err;
}

/* What comes of "user:password@" in the URL. */
static int add_user(nt__transfer_t* t, nt__headers_t* out) {
  char* user = NULL;
  char* password = NULL;
  size_t size;
  char* both;
  CURLUcode code;
  int err = NT_E_NOMEM;

  if (nt__headers_find(out, "authorization") != NULL)
    return 0;
  code = curl_url_get(t->url.handle, CURLUPART_USER, &user, 0);
  if (code != CURLUE_OK)
    return code == CURLUE_OUT_OF_MEMORY ? NT_E_NOMEM : 0;
  curl_url_get(t->url.handle, CURLUPART_PASSWORD, &password, 0);
  size = strlen(user) + 1 + (password == NULL ? 0 : strlen(password));
  both = nt__malloc(size + 1);
  if (both != NULL) {
    snprintf(both, size + 1, "%s:%s", user, password == NULL ? "" : password);
    err = nt__headers_add(out, "Authorization", both, size);
    nt__wipe(both, size);
    nt__free(both);
  }
  nt__wipe(user, strlen(user));
  curl_free(user);
  if (password != NULL)
    nt__wipe(password, strlen(password));
  curl_free(password);
  return err;
}

static int add_default(nt__headers_t* out, const char* name,
                       const char* value) {
  if (value == NULL || nt__headers_find(out, name) != NULL)
    return 0;
  return nt__headers_add(out, name, value, strlen(value));
}

static int add_origin(nt__transfer_t* t, nt__headers_t* out) {
  char* line = NULL;
  int err = nt__origin_write(t, &line);
  const char* value = line == NULL ? NULL : strchr(line, ' ') + 1;

  if (err == 0)
    err = add_default(out, "Origin", value);
  nt__free(line);
  return err;
}

int nt__fields_list(nt__transfer_t* t, nt__headers_t* out) {
  const nt_policy_t* policy = nt__transfer_policy(t);
  int err = add_own(t, out);

  if (err == 0 && (t->flags & NT_REQUEST_COOKIES_SEND))
    err = add_cookies(t, out);
  if (err == 0)
    err = add_user(t, out);
  if (err == 0)
    err = add_origin(t, out);
  if (err == 0)
    err = add_default(out, "Referer", nt__policy_referer(policy, t->referer));
  if (err == 0)
    err = add_default(out, "User-Agent",
                      policy->user_agent == NULL ? "nettask/" NT_VERSION
                                                 : policy->user_agent);
  if (err == 0)
    err = add_default(out, "Accept", "*/*");
  /* Whatever it can decode, which is how it is stored. */
  return err ? err : add_default(out, "Accept-Encoding", "*");
}
