/* The header fields of a hop: those of the caller, with secrets in place of
 * their placeholders; the cookies of the jar; our Origin. What is made for the
 * hop lives until its end, since libcurl keeps no copy, and is wiped then. I/O
 * thread. */
#include "fields.h"

#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "cookies.h"
#include "header.h"
#include "origin.h"
#include "secret.h"

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
  *link = cookies;
  if (origin != NULL) {
    origin->next = first;
    first = origin;
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, first);
  return 0;
}
