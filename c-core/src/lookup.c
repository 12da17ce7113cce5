/* The order of name lookups. I/O thread only. */
#include "lookup.h"

#include <string.h>

typedef struct nt__lookup {
  nt__node_t node;           /* in lookups->all */
  nt__lookup_turn_t* leader; /* looks it up; NULL while waiting for a place */
  nt__node_t waiting;        /* turns of the others */
  char authority[];
} nt__lookup_t;

struct nt__lookups {
  nt_context_t* ctx;
  nt__node_t all; /* in the order of arrival */
  unsigned active;
};

int nt__lookups_open(nt_context_t* ctx) {
  nt__lookups_t* lookups = nt__calloc(sizeof(*lookups));

  ctx->io.lookups = lookups;
  if (lookups == NULL)
    return NT_E_NOMEM;
  lookups->ctx = ctx;
  nt__list_init(&lookups->all);
  return 0;
}

void nt__lookups_free(nt__lookups_t* lookups) {
  nt__free(lookups);
}

static nt__lookup_t* find(nt__lookups_t* lookups, const char* authority) {
  nt__node_t* node;

  for (node = lookups->all.next; node != &lookups->all; node = node->next) {
    nt__lookup_t* lookup = nt__container_of(node, nt__lookup_t, node);

    if (strcmp(lookup->authority, authority) == 0)
      return lookup;
  }
  return NULL;
}

static nt__lookup_t* add(nt__lookups_t* lookups, const char* authority) {
  size_t size = strlen(authority) + 1;
  nt__lookup_t* lookup = nt__malloc(sizeof(*lookup) + size);

  if (lookup == NULL)
    return NULL;
  lookup->leader = NULL;
  nt__list_init(&lookup->waiting);
  memcpy(lookup->authority, authority, size);
  nt__list_append(&lookups->all, &lookup->node);
  return lookup;
}

static bool has_place(const nt__lookups_t* lookups) {
  uint32_t max = lookups->ctx->io.policy->values.max_lookups;

  return max == 0 || lookups->active < max;
}

static void lead(nt__lookups_t* lookups, nt__lookup_t* lookup,
                 nt__lookup_turn_t* turn) {
  lookup->leader = turn;
  turn->lookup = lookup;
  nt__node_init(&turn->node);
  lookups->active++;
}

bool nt__lookup_begin(nt__lookups_t* lookups, nt__lookup_turn_t* turn,
                      const char* authority) {
  nt__lookup_t* lookup = find(lookups, authority);

  if (lookup == NULL) {
    lookup = add(lookups, authority);
    if (lookup == NULL)
      return true;
    if (has_place(lookups)) {
      lead(lookups, lookup, turn);
      return true;
    }
  }
  turn->lookup = lookup;
  nt__list_append(&lookup->waiting, &turn->node);
  return false;
}

static nt__lookup_turn_t* shift_waiting(nt__lookup_t* lookup) {
  nt__node_t* node = nt__list_shift(&lookup->waiting);

  return node == NULL ? NULL : nt__container_of(node, nt__lookup_turn_t, node);
}

static void give_turn(nt__lookup_turn_t* turn, int error) {
  turn->lookup = NULL;
  turn->on_turn(turn, error);
}

/* The first of those that wait goes ahead in the leader's stead. */
static void promote(nt__lookups_t* lookups, nt__lookup_t* lookup) {
  nt__lookup_turn_t* turn = shift_waiting(lookup);

  lead(lookups, lookup, turn);
  turn->on_turn(turn, 0);
}

static void finish(nt__lookup_t* lookup, int error) {
  nt__lookup_turn_t* turn;

  nt__list_remove(&lookup->node);
  while ((turn = shift_waiting(lookup)) != NULL)
    give_turn(turn, error);
  nt__free(lookup);
}

/* A place has become free. */
static void start_next(nt__lookups_t* lookups) {
  nt__node_t* node;

  for (node = lookups->all.next; node != &lookups->all; node = node->next) {
    nt__lookup_t* lookup = nt__container_of(node, nt__lookup_t, node);

    if (!has_place(lookups))
      return;
    if (lookup->leader == NULL)
      promote(lookups, lookup);
  }
}

static void leave(nt__lookup_t* lookup, nt__lookup_turn_t* turn) {
  nt__list_remove(&turn->node);
  if (nt__list_empty(&lookup->waiting) && lookup->leader == NULL)
    finish(lookup, 0);
}

void nt__lookup_end(nt__lookups_t* lookups, nt__lookup_turn_t* turn,
                    int error) {
  nt__lookup_t* lookup = turn->lookup;

  if (lookup == NULL)
    return;
  turn->lookup = NULL;
  if (lookup->leader != turn) {
    leave(lookup, turn);
    return;
  }
  lookup->leader = NULL;
  lookups->active--;
  if (error == 0 || error == NT_E_RESOLVE || nt__list_empty(&lookup->waiting))
    finish(lookup, error);
  start_next(lookups);
}
