/* The cache of a context: its store, and what is no longer valid in it. I/O
 * thread, but for the host's call at the end. */
#include "cache.h"

#include <stdatomic.h>
#include <string.h>

#include "alloc.h"
#include "cache_key.h"

/* ---- Of a context -------------------------------------------------------- */

int nt__cache_open(nt_context_t* ctx) {
  nt__cache_t* cache = nt__calloc(sizeof(*cache));

  ctx->io.cache = cache;
  if (cache == NULL)
    return NT_E_NOMEM;
  cache->ctx = ctx;
  nt__list_init(&cache->visits);
  nt__list_init(&cache->renewals);
  return 0;
}

void nt__cache_stop(nt__cache_t* cache) {
  if (cache == NULL)
    return;
  nt__renewals_end(cache);
  nt__cache_store_close(cache->store);
  cache->store = NULL;
}

void nt__cache_free(nt__cache_t* cache) {
  nt__free(cache);
}

bool nt__cache_is_for(const nt__transfer_t* t) {
  const char* now = nt__transfer_context(t)->io.policy->values.cache_dir;
  const char* then = nt__transfer_policy(t)->cache_dir;

  if (now == NULL || then == NULL)
    return now == then;
  return strcmp(now, then) == 0;
}

static nt__visit_t* of_node(nt__node_t* node) {
  return nt__container_of(node, nt__visit_t, node);
}

/* Another folder may be another user's: what is under way stays out of it. */
void nt__cache_configure(nt__cache_t* cache) {
  nt__node_t* node;

  nt__renewals_end(cache);
  for (node = cache->visits.next; node != &cache->visits; node = node->next)
    if (!nt__cache_is_for(of_node(node)->t))
      of_node(node)->spoiled = true;
  if (cache->store != NULL)
    nt__cache_store_configure(cache->store);
}

nt__cache_store_t* nt__cache_need_store(nt__cache_t* cache) {
  if (cache->store == NULL &&
      nt__cache_store_open(cache->ctx, &cache->store) != 0)
    cache->store = NULL;
  return cache->store;
}

/* ---- What is no longer valid --------------------------------------------- */

void nt__cache_clear(nt__cache_t* cache, const char* key) {
  nt__node_t* node;

  for (node = cache->visits.next; node != &cache->visits; node = node->next) {
    if (key == NULL || strcmp(of_node(node)->key, key) == 0)
      of_node(node)->spoiled = true;
  }
  /* Without a folder there is nothing that was stored before it was opened. */
  if (cache->store == NULL && cache->ctx->io.policy->values.cache_dir == NULL)
    return;
  if (nt__cache_need_store(cache) != NULL)
    nt__cache_remove(cache->store, key);
}

void nt__cache_overtake(nt__visit_t* visit) {
  nt__cache_t* cache = nt__cache_of(visit->t);
  nt__node_t* node;

  for (node = cache->visits.next; node != &cache->visits; node = node->next) {
    nt__visit_t* other = of_node(node);

    if (other->asked < visit->asked && other->asked != 0 &&
        strcmp(other->key, visit->key) == 0)
      other->spoiled = true;
  }
}

/* Without memory nothing is known to be valid. */
static void clear_url(nt__cache_t* cache, const nt__url_t* url) {
  char* own;

  nt__cache_clear(cache, nt__cache_key(url, &own));
  nt__free(own);
}

/* What another header names, if it is of the same origin. */
static void clear_named(nt__transfer_t* t, const char* name) {
  const char* value = nt__headers_find(&t->headers, name);
  nt__url_t url;

  if (value == NULL || nt__url_parse(&url, t->url.text, value) != 0)
    return;
  if (nt__url_same_origin(&url, &t->url))
    clear_url(nt__cache_of(t), &url);
  nt__url_free(&url);
}

void nt__cache_hear(nt__transfer_t* t) {
  if (!nt__cache_invalidates(t->method, t->status))
    return;
  clear_url(nt__cache_of(t), &t->url);
  clear_named(t, "location");
  clear_named(t, "content-location");
}

/* ---- The host ------------------------------------------------------------ */

static int read_key(const char* url, char** key) {
  nt__url_t parsed;
  const char* found;
  int err = nt__url_parse(&parsed, NULL, url);

  if (err)
    return err;
  found = parsed.http ? nt__cache_key(&parsed, key) : NULL;
  if (found != NULL && *key == NULL)
    *key = nt__strdup(found);
  if (*key == NULL)
    err = parsed.http ? NT_E_NOMEM : NT_E_URL;
  nt__url_free(&parsed);
  return err;
}

int nt_cache_clear(nt_context_t* ctx, const char* url) {
  nt__command_t* command;
  char* key = NULL;
  int err;

  if (atomic_load(&ctx->forked))
    return NT_E_FORKED;
  err = url == NULL ? 0 : read_key(url, &key);
  if (err)
    return err;
  command = nt__command_new(NT__CMD_CACHE_CLEAR, 0);
  if (command == NULL) {
    nt__free(key);
    return NT_E_NOMEM;
  }
  command->text = key;
  nt__command_post(ctx, command);
  return 0;
}
