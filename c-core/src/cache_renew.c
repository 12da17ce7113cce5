/* Renewals: what was used although it is no longer fresh is asked for once
 * more (RFC 5861, stale-while-revalidate), by a transfer of the core's own,
 * under the policy of the task that used it. Its answer is stored and nothing
 * else; nobody hears of it, however it ends. I/O thread only. */
#include <string.h>

#include "alloc.h"
#include "cache.h"
#include "outgoing.h"

typedef struct renewal {
  nt__node_t node; /* in the cache's */
  nt__task_t task; /* in no table, and without an id */
  nt__transfer_t transfer;
  char* key;
  _Alignas(void*) char bytes[];
} renewal_t;

static renewal_t* of_transfer(nt__transfer_t* t) {
  return nt__container_of(t, renewal_t, transfer);
}

static void free_renewal(renewal_t* renewal) {
  nt__transfer_fini(&renewal->transfer);
  nt__policy_unref(renewal->task.policy);
  nt__free(renewal->key);
  nt__free(renewal);
}

/* Out of the list, and gone. */
static void leave(renewal_t* renewal) {
  nt__cache_t* cache = renewal->task.ctx->io.cache;

  cache->renewal_count--;
  nt__list_remove(&renewal->node);
  if (nt__node_linked(&renewal->task.held))
    nt__list_remove(&renewal->task.held);
  free_renewal(renewal);
}

/* ---- The transfer -------------------------------------------------------- */

static int on_headers(nt__transfer_t* t) {
  (void) t;
  return 0;
}

/* The store has it already, unless it does not want it. */
static int on_body(nt__transfer_t* t, const char* data, size_t size) {
  (void) data;
  (void) size;
  return t->visit != NULL && t->visit->recorder != NULL ? 0 : NT_E_BODY_SIZE;
}

static void on_end(nt__transfer_t* t) {
  leave(of_transfer(t));
}

static const nt__transfer_ops_t transfer_ops = { .on_headers = on_headers,
                                                 .on_body = on_body,
                                                 .on_end = on_end };

static void resume(nt__task_t* task) {
  nt__transfer_resume(&nt__container_of(task, renewal_t, task)->transfer);
}

static const nt__task_class_t task_class = { .resume = resume };

/* ---- What is asked ------------------------------------------------------- */

static const char* value_of(const nt__field_t* field) {
  const char* value = field->line.data + strlen(field->name) + 1;

  return value + strspn(value, " ");
}

/* "Name:" only keeps libcurl from sending one of its own. */
static bool is_sent(const nt__field_t* field) {
  return !field->dropped && (field->line.data[strlen(field->name)] == ';' ||
                             value_of(field)[0] != '\0');
}

/* The fields of the task. NULL without memory; for nt__free(). */
static nt_header_t* list_fields(const nt__transfer_t* t, size_t* count) {
  nt_header_t* list = nt__malloc((t->field_count + 1) * sizeof(*list));
  size_t i;

  *count = 0;
  if (list == NULL)
    return NULL;
  for (i = 0; i < t->field_count; i++) {
    const nt__field_t* field = &t->fields[i];

    if (!is_sent(field))
      continue;
    list[*count].name = field->name;
    list[(*count)++].value = value_of(field);
  }
  return list;
}

static void fill_options(const nt__transfer_t* t, nt_request_options_t* out) {
  nt_request_options_init(out);
  out->timeouts = t->timeouts;
  out->redirect = NT_REDIRECT_MANUAL;
  out->http = t->http;
  out->flags = (t->flags | NT_REQUEST_STREAM) & ~(uint32_t) NT_REQUEST_PROFILE;
  out->proxy = t->proxy;
  out->origin = t->origin;
  out->mode = t->mode;
  out->referer = t->referer;
  out->interface_name = t->interface_name;
  out->resolver = t->resolver;
  out->resolver_timeout = t->resolver_timeout;
}

static renewal_t* lay_out(const nt__transfer_t* t,
                          const nt_request_options_t* options) {
  renewal_t* renewal =
      nt__calloc(sizeof(*renewal) + nt__outgoing_size(options));

  if (renewal == NULL)
    return NULL;
  nt__node_init(&renewal->node);
  nt__node_init(&renewal->task.held);
  renewal->task.class_ = &task_class;
  renewal->task.ctx = t->task->ctx;
  renewal->task.policy = nt__policy_ref(t->task->policy);
  renewal->transfer.ops = &transfer_ops;
  renewal->transfer.task = &renewal->task;
  renewal->transfer.access = t->access;
  nt__outgoing_put(&renewal->transfer, options, renewal->bytes);
  renewal->transfer.cache = NT_CACHE_NO_CACHE;
  renewal->transfer.renews = true;
  return renewal;
}

static renewal_t* new_renewal(const nt__transfer_t* t) {
  nt_request_options_t options;
  nt_header_t* fields;
  renewal_t* renewal;

  fill_options(t, &options);
  fields = list_fields(t, &options.header_count);
  if (fields == NULL)
    return NULL;
  options.headers = fields;
  renewal = lay_out(t, &options);
  nt__free(fields);
  if (renewal == NULL)
    return NULL;
  renewal->key = nt__strdup(t->visit->key);
  if (renewal->key == NULL ||
      nt__url_parse(&renewal->transfer.url, NULL, t->url.text) != 0) {
    free_renewal(renewal);
    return NULL;
  }
  nt__url_inherit_credentials(&renewal->transfer.url, &t->url);
  return renewal;
}

/* ---- From the cache ------------------------------------------------------ */

static bool is_under_way(const nt__cache_t* cache, const char* key) {
  const nt__node_t* node;

  for (node = cache->renewals.next; node != &cache->renewals; node = node->next)
    if (strcmp(nt__container_of(node, renewal_t, node)->key, key) == 0)
      return true;
  return false;
}

void nt__renewal_begin(nt__transfer_t* t) {
  nt_context_t* ctx = nt__transfer_context(t);
  nt__cache_t* cache = ctx->io.cache;
  renewal_t* renewal;

  if (cache->renewal_count >= NT__RENEWALS_MAX || ctx->io.background.on ||
      is_under_way(cache, t->visit->key))
    return;
  renewal = new_renewal(t);
  if (renewal == NULL)
    return;
  cache->renewal_count++;
  nt__list_append(&cache->renewals, &renewal->node);
  nt__transfer_submit(&renewal->transfer);
}

void nt__renewals_end(nt__cache_t* cache) {
  while (!nt__list_empty(&cache->renewals)) {
    renewal_t* renewal =
        nt__container_of(cache->renewals.next, renewal_t, node);

    nt__transfer_cancel(&renewal->transfer);
    leave(renewal);
  }
}
