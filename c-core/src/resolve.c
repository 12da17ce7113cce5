/* Name lookups on threads of their own, one a lookup: getaddrinfo() cannot be
 * cancelled, and libuv's pool of four threads would stop other work, and the
 * end of the loop, while it hangs.
 *
 * Names are remembered for a while. One that is used goes on being answered
 * from memory while it is looked up anew, so that a game does not stumble every
 * 30 seconds. There are at most four lookups at once, and one a name.
 *
 * A thread may outlive the context. So it has nothing but the lookup, which is
 * its own while it runs, and the desk where it hands that in, which goes with
 * the last of those who know it. */
#include "resolve.h"

#include <assert.h>
#include <string.h>

#include "ascii.h"

#ifndef _WIN32
#  include <netdb.h>
#  include <pthread.h>
#endif

enum {
  MAX_RUNNING = 4,
  MAX_PENDING = 256, /* names that are waited for */
  MAX_KNOWN = 64,
  FRESH_MS = 30000,
  STALE_MS = 60000, /* after that it is not used any more */
  FAILED_MS = 1000
};

typedef struct resolve_desk {
  uv_mutex_t mutex;   /* guards what follows */
  nt__fifo_t results; /* of lookup_t */
  nt_context_t* ctx;  /* NULL after the end */

  atomic_bool has_results; /* the I/O thread looks without the mutex */
  atomic_uint refs;
} resolve_desk_t;

struct name;

/* The thread's while it runs, else the I/O thread's. */
typedef struct lookup {
  nt__link_t link;
  resolve_desk_t* desk; /* one reference while it runs */
  struct name* name;    /* for the I/O thread alone */
  int family;
  int code; /* of getaddrinfo() */
  nt__sockaddr_t address;
  char text[];
} lookup_t;

/* I/O thread. */
typedef struct name {
  nt__node_t node;    /* in resolver->names */
  nt__node_t turn;    /* in resolver->queue, if `lookup` does not run yet */
  nt__node_t waiters; /* of nt__resolve_t */
  lookup_t* lookup;   /* the one for this name, or NULL */
  int family;
  bool awaited; /* counts in resolver->pending */
  bool known;   /* `error`, or else `address`, until `stale_at` */
  int error;
  const char* why;
  nt__sockaddr_t address;
  uint64_t fresh_until, stale_at; /* loop time in ms */
  char text[];
} name_t;

struct nt__resolver {
  nt_context_t* ctx;
  resolve_desk_t* desk;
  nt__node_t names; /* the one used last first */
  nt__node_t queue;
  unsigned running, pending, count;
};

/* ---- The thread ---------------------------------------------------------- */

static int ask_system(const char* name, int family, nt__sockaddr_t* out) {
  struct addrinfo hints;
  struct addrinfo* found = NULL;
  int code;

  memset(&hints, 0, sizeof(hints));
  hints.ai_family = family;
  hints.ai_socktype = SOCK_DGRAM;
  code = getaddrinfo(name, NULL, &hints, &found);
  if (code != 0)
    return code;
  nt__address_copy(out, found->ai_addr);
  freeaddrinfo(found);
  return 0;
}

nt__resolve_ask_t nt__resolve_ask = ask_system;

static void unref(resolve_desk_t* desk) {
  if (atomic_fetch_sub(&desk->refs, 1) != 1)
    return;
  uv_mutex_destroy(&desk->mutex);
  nt__free(desk);
}

/* As storage.c does: under the mutex, so that the loop is still there. */
static void hand_in(resolve_desk_t* desk, lookup_t* lookup) {
  bool wanted;

  uv_mutex_lock(&desk->mutex);
  wanted = desk->ctx != NULL;
  if (wanted) {
    nt__fifo_push(&desk->results, &lookup->link);
    atomic_store(&desk->has_results, true);
    nt__io_wake(desk->ctx);
  }
  uv_mutex_unlock(&desk->mutex);
  if (!wanted)
    nt__free(lookup);
}

static void lookup_main(void* arg) {
  lookup_t* lookup = arg;
  resolve_desk_t* desk = lookup->desk;

  lookup->code =
      nt__resolve_ask(lookup->text, lookup->family, &lookup->address);
  hand_in(desk, lookup);
  unref(desk);
}

static void let_go(uv_thread_t thread) {
#ifdef _WIN32
  CloseHandle(thread);
#else
  pthread_detach(thread);
#endif
}

/* The thread inherits the full signal mask of this one. */
static int start_lookup(nt__resolver_t* resolver, lookup_t* lookup) {
  uv_thread_t thread;

  lookup->desk = resolver->desk;
  atomic_fetch_add(&lookup->desk->refs, 1);
  if (uv_thread_create(&thread, lookup_main, lookup) != 0) {
    unref(lookup->desk);
    return NT_E_SYSTEM;
  }
  let_go(thread);
  resolver->running++;
  return 0;
}

/* ---- Names --------------------------------------------------------------- */

static name_t* of_node(nt__node_t* node) {
  return nt__container_of(node, name_t, node);
}

static bool is_waited_for(const name_t* name) {
  return !nt__list_empty(&name->waiters);
}

static void forget(nt__resolver_t* resolver, name_t* name) {
  nt__list_remove(&name->node);
  resolver->count--;
  nt__free(name);
}

/* The names that were not used for longest go. */
static void forget_some(nt__resolver_t* resolver) {
  nt__node_t* node = resolver->names.prev;

  while (resolver->count > MAX_KNOWN && node != &resolver->names) {
    name_t* name = of_node(node);

    node = node->prev;
    if (name->lookup == NULL && !is_waited_for(name))
      forget(resolver, name);
  }
}

static bool same_text(const char* a, const char* b) {
  while (*a != '\0' && nt__lower(*a) == nt__lower(*b)) {
    a++;
    b++;
  }
  return *a == *b;
}

static name_t* find(nt__resolver_t* resolver, const char* text, int family) {
  nt__node_t* node;

  if (resolver == NULL)
    return NULL;
  for (node = resolver->names.next; node != &resolver->names;
       node = node->next) {
    name_t* name = of_node(node);

    if (name->family == family && same_text(name->text, text))
      return name;
  }
  return NULL;
}

static name_t* add(nt__resolver_t* resolver, const char* text, int family) {
  size_t size = strlen(text) + 1;
  name_t* name = nt__calloc(sizeof(*name) + size);

  if (name == NULL)
    return NULL;
  nt__node_init(&name->node);
  nt__node_init(&name->turn);
  nt__list_init(&name->waiters);
  name->family = family;
  memcpy(name->text, text, size);
  nt__list_append(&resolver->names, &name->node);
  resolver->count++;
  return name;
}

static void use(nt__resolver_t* resolver, name_t* name) {
  nt__list_remove(&name->node);
  nt__list_append(resolver->names.next, &name->node); /* before the first */
}

/* ---- Looking up ---------------------------------------------------------- */

static void tell(nt__resolver_t* resolver, name_t* name) {
  nt__node_t waiters;
  nt__node_t* node;

  if (!name->awaited)
    return;
  name->awaited = false;
  resolver->pending--;
  /* Who is told may wait again at once. */
  if (!is_waited_for(name)) /* they have all left */
    return;
  waiters = name->waiters;
  waiters.next->prev = waiters.prev->next = &waiters;
  nt__list_init(&name->waiters);
  while ((node = nt__list_shift(&waiters)) != NULL) {
    nt__resolve_t* wait = nt__container_of(node, nt__resolve_t, node);

    wait->on_done(wait, name->error, &name->address, name->why);
  }
}

static void set_failed(name_t* name, uint64_t now, int error, const char* why) {
  name->known = true;
  name->error = error;
  name->why = why;
  name->fresh_until = name->stale_at = now + FAILED_MS;
}

static bool has_address(const name_t* name, uint64_t now) {
  return name->known && name->error == 0 && now < name->stale_at;
}

static void set_result(name_t* name, const lookup_t* lookup, uint64_t now) {
  if (lookup->code == 0) {
    name->known = true;
    name->error = 0;
    name->address = lookup->address;
    name->fresh_until = now + FRESH_MS;
    name->stale_at = now + STALE_MS;
  } else if (has_address(name, now)) { /* it was right a minute ago */
    name->fresh_until = now + FAILED_MS;
  } else {
    set_failed(name, now, NT_E_RESOLVE, gai_strerror(lookup->code));
  }
}

static void take_result(nt__resolver_t* resolver, lookup_t* lookup) {
  name_t* name = lookup->name;

  resolver->running--;
  name->lookup = NULL;
  set_result(name, lookup, nt__now(resolver->ctx));
  nt__free(lookup);
  tell(resolver, name);
}

static void give_up(nt__resolver_t* resolver, name_t* name) {
  nt__free(name->lookup);
  name->lookup = NULL;
  tell(resolver, name);
}

static bool may_start(const nt__resolver_t* resolver) {
  return resolver->running < MAX_RUNNING && !nt__list_empty(&resolver->queue);
}

static void start_next(nt__resolver_t* resolver) {
  uint64_t now = nt__now(resolver->ctx);

  while (may_start(resolver)) {
    nt__node_t* node = nt__list_shift(&resolver->queue);
    name_t* name = nt__container_of(node, name_t, turn);
    bool wanted = is_waited_for(name) || has_address(name, now);

    assert(name->lookup != NULL); /* or it would not be in the queue */
    if (wanted && start_lookup(resolver, name->lookup) == 0)
      continue;
    if (wanted && !has_address(name, now))
      set_failed(name, now, NT_E_SYSTEM, "no thread for the lookup");
    give_up(resolver, name);
  }
}

/* Puts a lookup into the queue unless there is one. */
static int look_up(nt__resolver_t* resolver, name_t* name) {
  size_t size = strlen(name->text) + 1;
  lookup_t* lookup;

  if (name->lookup != NULL)
    return 0;
  lookup = nt__calloc(sizeof(*lookup) + size);
  if (lookup == NULL)
    return NT_E_NOMEM;
  lookup->name = name;
  lookup->family = name->family;
  memcpy(lookup->text, name->text, size);
  name->lookup = lookup;
  nt__list_append(&resolver->queue, &name->turn);
  return 0;
}

/* ---- What the others call ------------------------------------------------ */

static resolve_desk_t* new_desk(nt_context_t* ctx) {
  resolve_desk_t* desk = nt__calloc(sizeof(*desk));

  if (desk == NULL)
    return NULL;
  if (uv_mutex_init(&desk->mutex) != 0) {
    nt__free(desk);
    return NULL;
  }
  desk->ctx = ctx;
  atomic_init(&desk->refs, 1);
  return desk;
}

/* Made when the first name comes. */
static nt__resolver_t* open_resolver(nt_context_t* ctx) {
  nt__resolver_t* resolver = ctx->io.resolver;

  if (resolver != NULL)
    return resolver;
  resolver = nt__calloc(sizeof(*resolver));
  if (resolver == NULL)
    return NULL;
  resolver->desk = new_desk(ctx);
  if (resolver->desk == NULL) {
    nt__free(resolver);
    return NULL;
  }
  resolver->ctx = ctx;
  nt__list_init(&resolver->names);
  nt__list_init(&resolver->queue);
  ctx->io.resolver = resolver;
  return resolver;
}

int nt__resolve_known(nt_context_t* ctx, const char* text, int family,
                      nt__sockaddr_t* out, const char** why) {
  nt__resolver_t* resolver = ctx->io.resolver;
  name_t* name = find(resolver, text, family);
  uint64_t now = nt__now(ctx);

  if (name == NULL || !name->known || now >= name->stale_at)
    return NT__RESOLVE_UNKNOWN;
  use(resolver, name);
  if (now >= name->fresh_until)
    look_up(resolver, name); /* if it cannot, then the next time */
  *out = name->address;
  *why = name->why;
  return name->error;
}

int nt__resolve_wait(nt_context_t* ctx, const char* text, int family,
                     nt__resolve_t* wait) {
  nt__resolver_t* resolver = open_resolver(ctx);
  name_t* name = find(resolver, text, family);
  int err;

  if (resolver == NULL)
    return NT_E_NOMEM;
  if ((name == NULL || !name->awaited) && resolver->pending >= MAX_PENDING)
    return NT_E_FULL;
  if (name == NULL)
    name = add(resolver, text, family);
  if (name == NULL)
    return NT_E_NOMEM;
  use(resolver, name);
  err = look_up(resolver, name);
  if (err)
    return err;
  resolver->pending += !name->awaited;
  name->awaited = true;
  nt__list_append(&name->waiters, &wait->node);
  return 0;
}

void nt__resolve_cancel(nt__resolve_t* wait) {
  nt__list_remove(&wait->node);
}

/* ---- The turn ------------------------------------------------------------ */

bool nt__resolver_pending(const nt__resolver_t* resolver) {
  return resolver != NULL &&
         (atomic_load(&resolver->desk->has_results) || may_start(resolver));
}

static void take_results(nt__resolver_t* resolver) {
  resolve_desk_t* desk = resolver->desk;
  nt__fifo_t results;
  nt__link_t* link;

  uv_mutex_lock(&desk->mutex);
  results = desk->results;
  desk->results.first = desk->results.last = NULL;
  atomic_store(&desk->has_results, false);
  uv_mutex_unlock(&desk->mutex);
  while ((link = nt__fifo_shift(&results)) != NULL)
    take_result(resolver, nt__container_of(link, lookup_t, link));
}

void nt__resolver_run(nt__resolver_t* resolver) {
  if (resolver == NULL)
    return;
  if (atomic_load(&resolver->desk->has_results))
    take_results(resolver);
  start_next(resolver);
  if (resolver->count > MAX_KNOWN)
    forget_some(resolver);
}

/* ---- The end ------------------------------------------------------------- */

/* From here on nobody hands anything in. */
static void close_desk(resolve_desk_t* desk) {
  nt__link_t* link;

  uv_mutex_lock(&desk->mutex);
  desk->ctx = NULL;
  uv_mutex_unlock(&desk->mutex);
  while ((link = nt__fifo_shift(&desk->results)) != NULL)
    nt__free(nt__container_of(link, lookup_t, link));
  unref(desk);
}

void nt__resolver_free(nt__resolver_t* resolver) {
  nt__node_t* node;

  if (resolver == NULL)
    return;
  while ((node = nt__list_shift(&resolver->queue)) != NULL)
    nt__free(nt__container_of(node, name_t, turn)->lookup);
  while ((node = nt__list_shift(&resolver->names)) != NULL)
    nt__free(of_node(node));
  close_desk(resolver->desk);
  nt__free(resolver);
}
