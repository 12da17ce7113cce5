/* A transfer: one HTTP exchange, hop by hop, from its place in the queue to
 * the last byte. What request, download and upload share. */
#ifndef NT_TRANSFER_H
#define NT_TRANSFER_H

#include "driver.h"
#include "internal.h"
#include "lookup.h"

typedef struct nt__ask nt__ask_t;
typedef struct nt__transfer nt__transfer_t;
typedef struct nt__visit nt__visit_t; /* cache.h */
struct nt__body;

/* What an owner's function may return besides 0 and an error, which ends the
 * transfer. */
enum {
  NT__HOLD = 1, /* the host is behind: all clocks stand still. The same bytes
                 * are given again once the task is below its mark */
  NT__WAIT = 2, /* the disk is: the stage's clock stands still, until
                 * nt__transfer_resume() */
  NT__AGAIN = 3 /* on_headers: drop this answer and ask once more */
};

/* What the owner does with it, on the I/O thread. */
typedef struct nt__transfer_ops {
  /* Out of the queue, its total time runs. True: go on; false: the owner will
   * call nt__transfer_proceed(). NULL: go on. */
  bool (*prepare)(nt__transfer_t* transfer);

  /* Inside libcurl: */
  int (*on_headers)(nt__transfer_t* transfer); /* of the final response */
  int (*on_body)(nt__transfer_t* transfer, const char* data, size_t size);
  /* Instead of on_body, where nothing is streamed: the whole of it, which is
   * stored. Takes the reference. 0 or an error. */
  int (*on_stored)(nt__transfer_t* transfer, struct nt__body* body);
  /* It is to be stored: a reference to what on_body has gathered, which the
   * owner and the store share from now on. NULL: it is not. Both are NULL for
   * an owner that has to do with no cache but by on_body. */
  struct nt__body* (*on_keep)(nt__transfer_t* transfer);
  /* For a body that is not in memory, else NULL: puts up to `*size` bytes into
   * `out` and says how many; 0 of them never. */
  int (*on_read)(nt__transfer_t* transfer, char* out, size_t* size);
  /* The body is read again from `offset`. */
  void (*on_rewind)(nt__transfer_t* transfer, uint64_t offset);
  void (*on_sent)(nt__transfer_t* transfer); /* `uploaded` has changed */

  /* Of nt__transfer_connect(): the connection stands, and is the owner's until
   * nt__transfer_cancel(). The total time and that of NT__STAGE_FIRST_BYTE run
   * until nt__stage_rest(). */
  void (*on_connected)(nt__transfer_t* transfer);

  /* The end, with task->error and task->message set. The owner may free, or
   * submit it anew. */
  void (*on_end)(nt__transfer_t* transfer);
} nt__transfer_ops_t;

/* A header field to send; `line.data` is "Name: value" as libcurl takes it. */
typedef struct nt__field {
  struct curl_slist line;
  const char* name;
  bool dropped;
} nt__field_t;

/* The same with the values of secrets, for one hop. */
typedef struct nt__revealed nt__revealed_t;

/* Which time-out runs. */
typedef enum nt__stage {
  NT__STAGE_WAITING, /* in the queue: none */
  NT__STAGE_ASKING,  /* a resolver of the host's */
  NT__STAGE_DNS,
  NT__STAGE_CONNECT,
  NT__STAGE_TLS,
  NT__STAGE_FIRST_BYTE,
  NT__STAGE_BODY
} nt__stage_t;

struct nt__transfer {
  const nt__transfer_ops_t* ops;
  nt__task_t* task; /* the owner */

  /* What to send. Set by the owner, points into its block. */
  nt__url_t url; /* of the current hop */
  const char* method;
  nt__field_t* fields;
  size_t field_count;
  const char* head; /* fields that the owner sends itself; NULL: none */
  size_t head_size;
  const void* body; /* unless ops->on_read */
  uint64_t body_size;
  bool raw; /* the response's body as it is on the wire, in large pieces */
  nt_timeouts_t timeouts;
  nt_redirect_t redirect;
  uint32_t http;
  uint32_t flags;
  const char* origin; /* of NT_REQUEST_SAME_ORIGIN, or NULL */
  nt_mode_t mode;     /* and what it may do elsewhere */
  nt_cache_t cache;
  uint32_t referer;           /* as in nt_request_options_t */
  nt_access_t access;         /* which list of the policy holds */
  const char* proxy;          /* URL; "": none, NULL: the policy's */
  const char* interface_name; /* to go out by; NULL: any */
  nt_family_t family;         /* of the address */
  bool nagle;                 /* TCP may wait for more to send */
  uint32_t resolver;          /* as in nt_request_options_t, the next too */
  uint32_t resolver_timeout;
  bool own_protocol; /* not HTTP: no ALPN, no rules for URLs */

  /* What came back. */
  int status;
  nt__headers_t headers;
  uint32_t redirects;
  nt_profile_t profile;
  char peer_ip[64];

  /* I/O thread. */
  nt__node_t node; /* in the queue, or among those that start next */
  nt__easy_t easy;
  nt__revealed_t* revealed;
  nt__visit_t* visit; /* NULL: the hop has nothing to do with the cache */
  nt__lookup_turn_t lookup;
  nt__ask_t* ask; /* what a resolver said, NULL until it is needed */
  nt__timer_t timer;
  nt__stage_t stage;
  uint64_t stage_since; /* loop time of its begin, or of the last byte */
  uint64_t total_due;   /* loop time; 0: no limit */
  uint64_t total_left;  /* of it, while it is in the queue again */
  uint64_t held_since;  /* loop time; 0: not held */
  uint64_t header_bytes;
  uint64_t discarded; /* bytes of the body of a redirect */
  uint64_t uploaded;
  uint64_t read_offset; /* of a body in memory that is read piecewise */
  uint64_t metered_in;  /* of this hop, in the quota of the minute */
  uint64_t metered_out;
  unsigned alloc_failures; /* of the process, when the hop began */
  int failure;             /* why one of our callbacks refused to go on */
  bool waiting;            /* for the owner's disk */
  bool connects;           /* makes a connection, no exchange */
  bool running;            /* counts in the limit of running transfers */
  bool prepared;           /* its owner has, or has been asked to */
  bool address_refused;    /* one of those that the host has */
  bool headers_done;
  bool following; /* this response is a redirect to be followed */
  bool abroad;    /* a hop has led to another origin than its own */
  bool opaque;    /* nothing is told of this response */
  bool complete;  /* all that is wanted is here: end the hop */
  bool again;     /* the same hop once more */
  bool piecewise; /* libcurl reads the body, rather than having it */
  bool renews;    /* for the cache alone */
  bool expecting; /* a refused Expect is libcurl's to deal with, once */
};

static inline nt_context_t* nt__transfer_context(const nt__transfer_t* t) {
  return t->task->ctx;
}

static inline const nt_policy_t* nt__transfer_policy(const nt__transfer_t* t) {
  return &t->task->policy->values;
}

/* As the task or the policy says. */
static inline const char* nt__transfer_proxy_text(const nt__transfer_t* t) {
  return t->proxy != NULL ? t->proxy : nt__transfer_policy(t)->proxy;
}

/* Whether libcurl looks for a proxy in the environment. */
static inline bool nt__transfer_asks_env(const nt__transfer_t* t) {
  return nt__url_is_env(nt__transfer_proxy_text(t));
}

/* The URL of the proxy that it goes through, or NULL: also for one of the
 * environment, whose address counts as that of the host, since nobody can
 * say whether there is one. */
static inline const char* nt__transfer_proxy(const nt__transfer_t* t) {
  const char* proxy = nt__transfer_proxy_text(t);

  return proxy == NULL || proxy[0] == '\0' || nt__url_is_env(proxy) ? NULL
                                                                    : proxy;
}

static inline uint64_t nt__transfer_now(const nt__transfer_t* t) {
  return nt__now(t->task->ctx);
}

/* Its owner wants the body as a whole. */
static inline bool nt__transfer_gathers(const nt__transfer_t* t) {
  return t->ops->on_stored != NULL && !(t->flags & NT_REQUEST_STREAM);
}

/* Methods have case. */
bool nt__transfer_is_method(const nt__transfer_t* t, const char* method);

int nt__transfers_open(nt_context_t* ctx);
void nt__transfers_free(nt__transfers_t* transfers);
/* The part of a turn: what has its turn starts. */
void nt__transfers_run(nt__transfers_t* transfers);
/* Something became ready to start after it ran. */
bool nt__transfers_pending(nt__transfers_t* transfers);

/* Host thread: takes the owner's block in and frees what it made. */
void nt__transfer_fini(nt__transfer_t* transfer);

/* Checks the policy and puts it in the queue. on_end() may come at once. */
void nt__transfer_submit(nt__transfer_t* transfer);
/* The same for a connection alone, to which the limit of running transfers does
 * not apply. */
void nt__transfer_connect(nt__transfer_t* transfer);
/* After prepare() has returned false, or the hop had to wait. */
void nt__transfer_proceed(nt__transfer_t* transfer);
/* Ends it with an error; not inside libcurl. `message` NULL or "": none. */
void nt__transfer_fail(nt__transfer_t* transfer, int error,
                       const char* message);
/* What is stored has been told: the hop ends. */
void nt__transfer_played(nt__transfer_t* transfer);
/* Ends it without on_end(). */
void nt__transfer_cancel(nt__transfer_t* transfer);
/* After NT__HOLD or NT__WAIT; harmless without. */
void nt__transfer_resume(nt__transfer_t* transfer);

/* Posts the HEADERS event, which is reserved. */
void nt__transfer_post_headers(nt__transfer_t* transfer);
/* Host thread: what a HEADERS or END event shows of the response. */
void nt__transfer_show(const nt__transfer_t* transfer, nt_event_t* event);

#endif
