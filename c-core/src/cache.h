/* The HTTP cache between a transfer and the network. I/O thread.
 *
 *   hop begins -> find -> judge -+-> play what is stored -> end
 *                                +-> ask, with validators -> 304: play
 *                                +-> ask                  -> record */
#ifndef NT_CACHE_H
#define NT_CACHE_H

#include "cache_store.h"
#include "transfer.h"

enum {
  NT__PIECE_SIZE = 64 * 1024, /* of a stored body, for an owner that streams */
  NT__RENEWALS_MAX = 8        /* at once, of a context */
};

/* ---- Of a context -------------------------------------------------------- */

struct nt__cache {
  nt_context_t* ctx;
  nt__cache_store_t* store; /* NULL until somebody needs it */
  nt__node_t visits;
  nt__node_t renewals;
  size_t renewal_count;
  uint64_t asked; /* requests that visits have sent */
};

/* Makes ctx->io.cache. NT_E_NOMEM. */
int nt__cache_open(nt_context_t* ctx);
/* At the end, when no task is left, before the storage stops. */
void nt__cache_stop(nt__cache_t* cache);
/* Last of all. NULL is ignored by both. */
void nt__cache_free(nt__cache_t* cache);
/* The context's policy has changed. */
void nt__cache_configure(nt__cache_t* cache);
/* Whether the transfer's policy names the folder that the store has now. */
bool nt__cache_is_for(const nt__transfer_t* transfer);
/* What is stored for the key, NULL: all, is forgotten, and what comes in for it
 * now is not stored. */
void nt__cache_clear(nt__cache_t* cache, const char* key);
/* The visit's answer is stored: what was asked for earlier, and comes in later,
 * is not to take its place. */
void nt__cache_overtake(nt__visit_t* visit);
/* An answer has come: what it makes invalid is forgotten. */
void nt__cache_hear(nt__transfer_t* transfer);

/* NULL without memory. */
nt__cache_store_t* nt__cache_need_store(nt__cache_t* cache);

/* ---- Of a hop ------------------------------------------------------------ */

/* What a hop has to do with the cache, from its begin to its end. */
struct nt__visit {
  nt__transfer_t* t;
  nt__node_t node; /* in the cache's */
  const char* key;
  char* own_key;        /* NULL: the key is the URL's own text */
  nt__headers_t fields; /* of the request; those with a secret are hashes */
  nt__cache_wait_t wait;
  nt__answer_t* answer; /* that matches; a reference, or NULL */
  nt__body_t* body;     /* all of it, or the piece at `offset`; a reference */
  nt__cache_recorder_t* recorder;
  int64_t answered;
  uint64_t asked;   /* its place among those that have asked; 0: it has not */
  uint64_t offset;  /* of what is played */
  uint64_t body_at; /* where `body` begins */
  size_t ahead;     /* recorded of what the owner has not taken yet */
  int failure;      /* of the network, that what is stored covers */
  nt__cache_use_t use;
  const char* verdict; /* of the profile */
  bool stale;          /* what is used is no longer fresh */
  bool waits;          /* for the store */
  bool plays;          /* what is stored is the answer */
  bool loaded;         /* and as much of its body is here as has to be */
  bool confirmed;      /* 304 */
  bool denied;         /* 304, but not of what is stored */
  bool covered;        /* an error that what is stored covers */
  bool reloads;        /* nothing stored counts any more */
  bool keeps;          /* the owner gathers what is to be stored */
  bool spoiled;        /* nothing is used that is found now, and what comes in
                        * is not to be stored */
};

static inline nt__cache_t* nt__cache_of(const nt__transfer_t* t) {
  return nt__transfer_context(t)->io.cache;
}

static inline nt_headers_t nt__visit_fields(const nt__visit_t* visit) {
  return nt__headers_view(&visit->fields);
}

static inline bool nt__transfer_is_head(const nt__transfer_t* t) {
  return nt__transfer_is_method(t, "HEAD");
}

/* A hop begins, anew after nt__visit_turns(): 0, go on; NT__WAIT, until
 * nt__transfer_proceed(); NT_E_CACHE_MISS, NT_E_NOMEM. */
int nt__visit_begin(nt__transfer_t* transfer);
/* What is stored is the answer: nothing is sent. */
bool nt__visit_plays(const nt__transfer_t* transfer);
/* Ends the hop, now or later. */
void nt__visit_play(nt__transfer_t* transfer);
/* After NT__HOLD or NT__WAIT of one that plays. */
void nt__visit_resume(nt__transfer_t* transfer);

/* Fields that are added to the request, "Name: value" NUL each. NT_E_NOMEM. */
int nt__visit_ask(nt__transfer_t* transfer, nt__buf_t* out);
/* The headers of an answer are there: true when nobody is to hear of it. */
bool nt__visit_hides(nt__transfer_t* transfer);
/* They were told: it may be stored. */
void nt__visit_record(nt__transfer_t* transfer);
/* New headers for what is stored, of a 304 or of an answer to HEAD. */
void nt__visit_renew(nt__visit_t* visit, const nt_headers_t* headers);
/* A piece of the body, before the owner gets it: 0, NT__WAIT. */
int nt__visit_write(nt__transfer_t* transfer, const char* data, size_t size);
/* The owner has taken it. */
void nt__visit_wrote(nt__transfer_t* transfer, size_t size);
/* The answer is whole. */
void nt__visit_commit(nt__transfer_t* transfer);
/* The hop is over, with an error or 0. True: not for the owner; it begins
 * again, with what is stored or without. */
bool nt__visit_turns(nt__transfer_t* transfer, int error);
/* It leaves. Harmless without. */
void nt__visit_end(nt__transfer_t* transfer);

/* What is stored cannot be had after all. 0: the hop begins again, or
 * why not. */
int nt__visit_give_up(nt__visit_t* visit);

/* ---- Renewal ------------------------------------------------------------- */

/* Asks for what the transfer was given once more, for the store alone: unless
 * that is under way, or too much is. */
void nt__renewal_begin(nt__transfer_t* transfer);
void nt__renewals_end(nt__cache_t* cache);

#endif
