/* The context, and what crosses the border between its two threads.
 *
 * A task is opened on the host thread: an *entry* there knows its id, its
 * undelivered events and how it will end. When it starts, a *task block* with
 * everything the I/O thread needs goes over as a START command; its last event
 * lies inside the block and brings the memory back. So the host owns a block
 * before START and after the last event, the I/O thread in between, and
 * reporting the end cannot fail. Everything else that crosses is an id. */
#ifndef NT_INTERNAL_H
#define NT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "address.h"
#include "alloc.h"
#include "audit.h"
#include "background.h"
#include "buf.h"
#include "fate.h"
#include "header.h"
#include "list.h"
#include "meter.h"
#include "nettask.h"
#include "policy.h"
#include "quota.h"
#include "spare.h"
#include "table.h"
#include "timer.h"
#include "wake.h"

typedef struct nt__task nt__task_t;
typedef struct nt__asks nt__asks_t;
typedef struct nt__cache nt__cache_t;
typedef struct nt__cookies nt__cookies_t;
typedef struct nt__driver nt__driver_t;
typedef struct nt__storage nt__storage_t;
typedef struct nt__lookups nt__lookups_t;
typedef struct nt__resolver nt__resolver_t;
typedef struct nt__streams nt__streams_t;
typedef struct nt__transfers nt__transfers_t;
typedef struct nt__udps nt__udps_t;
typedef struct nt__warm nt__warm_t;

/* ---- Commands: host to I/O --------------------------------------------- */

typedef enum nt__command_type {
  NT__CMD_START,       /* `task`: takes it */
  NT__CMD_ABORT,       /* `id` */
  NT__CMD_TELL,        /* `id`: the task's class takes it, or discards it */
  NT__CMD_POLICY,      /* `policy`: takes the reference */
  NT__CMD_BACKGROUND,  /* `on` */
  NT__CMD_ANSWER,      /* of a resolver of the host's: see ask.c */
  NT__CMD_CACHE_CLEAR, /* `text`: a key, NULL: all; takes it */
  NT__CMD_STOP
} nt__command_type_t;

typedef struct nt__command {
  nt__link_t link;
  nt__command_type_t type;
  nt_id_t id;
  nt__task_t* task;
  nt__policy_t* policy;
  char* text;
  bool on;
} nt__command_t;

/* command.c, host thread. */
nt__command_t* nt__command_new(nt__command_type_t type, nt_id_t id);
void nt__command_post(nt_context_t* ctx, nt__command_t* command);
/* Any thread: out of nt_cork(), at once. */
void nt__command_post_now(nt_context_t* ctx, nt__command_t* command);
/* Frees what a command holds, as if it had never been given. */
void nt__command_discard(nt__command_t* command);
/* The I/O thread has something to look at. */
void nt__io_wake(nt_context_t* ctx);
/* I/O thread. */
void nt__commands_run(nt_context_t* ctx);

/* ---- Events: I/O to host ----------------------------------------------- */

/* Events that were posted together: the mailbox takes them as one, so that
 * taking in a thousand events touches few of them. */
typedef struct nt__batch {
  nt__link_t link;
  nt__fifo_t events;
  size_t count;
  uint64_t cost; /* of all of them */
} nt__batch_t;

typedef struct nt__event {
  nt__link_t link;
  nt__batch_t batch; /* used in the first of a batch */
  int type;          /* nt_event_type_t or NT__EV_STATE */
  nt_id_t id;
  int error;        /* the new state for NT__EV_STATE */
  bool refused;     /* the policy has: there is a record to be made */
  size_t cost;      /* what it counts against the high-water marks */
  nt__task_t* task; /* of all but CHUNK: the block it lies in */
} nt__event_t;

/* What it counts among those that wait: with its record, if there is one. */
static inline size_t nt__event_count(const nt__event_t* event) {
  return event->refused ? 2 : 1;
}

typedef struct nt__chunk { /* CHUNK or MESSAGE */
  nt__event_t event;
  nt__spare_block_t block;
  size_t size;
  bool binary;
  uint16_t local_port; /* of a datagram, as the next */
  nt__sockaddr_t from; /* AF_UNSPEC: it is none */
  char data[];         /* with a NUL behind */
} nt__chunk_t;

/* An event that brings along everything that it shows: OPEN, SENT, LOST, ERROR
 * and those of services. */
typedef struct nt__parcel {
  nt__event_t event;
  nt_event_t view; /* but for type and id */
  _Alignas(void*) char bytes[];
} nt__parcel_t;

enum {
  NT__EV_STATE = 100,   /* consumed by nt_collect() */
  NT__EVENT_COST = 256, /* fixed part of the cost of an event */
  NT__MAX_TASKS = 1 << 20
};

/* event.c, I/O thread. `payload` bytes and the fixed cost are charged. */
void nt__event_post(nt_context_t* ctx, nt__event_t* event, size_t payload);
/* A parcel with `size` bytes behind it, to be posted; NULL without memory. */
nt__parcel_t* nt__parcel_new(nt__task_t* task, int type, size_t size);
/* Copies what an event points to behind it, and moves the cursor on. */
void* nt__pack(char** cursor, const void* bytes, size_t size);
void nt__event_post_state(nt_context_t* ctx, nt_id_t id, nt_state_t state);
/* A chunk of the task with room for `size` bytes and a NUL, to be filled in and
 * posted; NULL without memory. */
nt__chunk_t* nt__chunk_new(nt__task_t* task, int type, size_t size);
/* The same for memory that was assembled as one, of that capacity. */
nt__chunk_t* nt__chunk_init(nt__task_t* task, int type, void* memory,
                            size_t capacity, size_t size);
/* Hands what was posted to the host and wakes it if it sleeps. */
void nt__events_publish(nt_context_t* ctx);
/* The source may not be read further for now. */
bool nt__is_over_mark(nt_context_t* ctx, nt__task_t* task);

/* ---- Tasks -------------------------------------------------------------- */

/* What a capability does on the I/O thread, but for release(). */
typedef struct nt__task_class {
  /* The task is in the table of the loop; it ends through nt__task_end(). */
  void (*start)(nt__task_t* task);
  /* Ends with nt__task_end() and with task->error, which is set: NT_E_ABORTED
   * or NT_E_INTERRUPTED. At once if the loop is stopping or the task has no
   * fate: then its host has been told already. */
  void (*abort)(nt__task_t* task);
  /* Below its mark again: read on. */
  void (*resume)(nt__task_t* task);
  /* NT__CMD_TELL: takes the command. NULL for kinds that get none. */
  void (*tell)(nt__task_t* task, nt__command_t* command);
  /* Host thread: fills in what an event shows that lies in the block. An event
   * that brings along what it shows only passes by. */
  void (*show)(nt__task_t* task, nt_event_t* event);
  /* Host thread: the host has ended it, whatever the I/O thread is still doing
   * with it. NULL: nothing to do. */
  void (*disown)(nt__task_t* task);
  /* Frees the block. No thread uses it any more. */
  void (*release)(nt__task_t* task);
  bool opens_at_once;       /* its state once it is started is OPEN */
  bool stays_in_background; /* nt_background() does not concern it */
} nt__task_class_t;

struct nt__task {
  const nt__task_class_t* class_;
  nt_context_t* ctx;
  nt_id_t id;
  nt__policy_t* policy; /* one reference */
  nt__command_t start;  /* the START command */
  nt__event_t head;     /* HEADERS, reserved */
  nt__node_t held;      /* in ctx->io.held while its source is held back */
  nt__fate_t* fate;     /* NULL: an abort is never too late, and needs no end
                         * from here */
  uint64_t posted;      /* cost of its events so far */
  atomic_uint_fast64_t credited; /* of that, what the host has delivered */
  bool interrupted;              /* by nt_background() */
  int error;                     /* how it ended, with `message` */
  char message[256];
  nt__event_t last; /* END, reserved */
};

/* host.c: makes the entry of a new id. 0, NT_E_NOMEM,
 * NT_E_FULL, NT_E_FORKED. */
int nt__task_open(nt_context_t* ctx, nt_id_t* id);
/* An id that was just made and never told to anybody. */
void nt__task_forget(nt_context_t* ctx, nt_id_t id);
/* One that was never used. Any thread. */
nt_id_t nt__next_id(void);
/* 0 when the id is idle; NT_E_STATE, NT_E_CLOSED, NT_E_FORKED. */
int nt__task_check_idle(nt_context_t* ctx, nt_id_t id);
/* The same for what does not start in the background: NT_E_INTERRUPTED. */
int nt__task_check_start(nt_context_t* ctx, nt_id_t id);
/* The block of a task of that class that runs, or NULL, also after fork(). The
 * I/O thread uses it as well. */
nt__task_t* nt__task_find(const nt_context_t* ctx, nt_id_t id,
                          const nt__task_class_t* class_);
/* Why there is none: NT_E_FORKED or NT_E_NOT_OPEN. */
int nt__task_missing(const nt_context_t* ctx);
/* Gives the block to the I/O thread. The id is idle. */
void nt__task_start(nt_context_t* ctx, nt_id_t id, nt__task_t* task);

/* The part of release() that all blocks share. */
void nt__task_fini(nt__task_t* task);

/* task.c, I/O thread: takes the block in. */
void nt__task_begin(nt_context_t* ctx, nt__task_t* task);
/* Posts the last event; the block is the host's from here on. */
void nt__task_end(nt__task_t* task, size_t payload);
/* Puts the task among those that nt__tasks_resume() wakes. */
void nt__task_hold(nt__task_t* task);
/* Tasks below their marks read on. */
void nt__tasks_resume(nt_context_t* ctx);
/* Some could, since the last time. */
bool nt__tasks_can_resume(nt_context_t* ctx);
/* Ends all of them. */
void nt__tasks_abort(nt_context_t* ctx);

/* I/O thread: bytes that have come in, or gone out. */
void nt__count_in(nt_context_t* ctx, uint64_t bytes);
void nt__count_out(nt_context_t* ctx, uint64_t bytes);

/* Monotonic loop time, and Unix time, both in ms. */
uint64_t nt__now(const nt_context_t* ctx);
int64_t nt__unix_ms(void);

/* ---- The context -------------------------------------------------------- */

/* The I/O thread's own half. */
typedef struct nt__io {
  uv_loop_t loop;
  nt__wake_t wake;   /* ends the poll; the turn does the work */
  uv_prepare_t turn; /* before each poll: everything happens here */
  uv_check_t woken;  /* after each poll */
  uv_idle_t busy;    /* while active the poll does not sleep */
  nt__timers_t timers;
  nt__table_t tasks; /* id to nt__task_t */
  uint64_t begun;    /* tasks so far */
  nt__node_t held;   /* tasks whose source is held back */
  nt__node_t scans;  /* for services, that have something to do in this turn */
  nt__fifo_t outbox; /* events of this turn */
  size_t outbox_count;
  uint64_t outbox_cost;
  nt__policy_t* policy; /* newest; for what all tasks share */
  nt__background_t background;
  uint64_t posted;    /* cost of all events so far */
  uint64_t active_at; /* uv_hrtime() of the last work, for spinning */
  bool stopping;
  nt__driver_t* driver;
  nt__lookups_t* lookups;
  nt__transfers_t* transfers;
  nt__cache_t* cache;
  nt__streams_t* streams;
  nt__warm_t* warm;
  nt__udps_t* udps;
  nt__asks_t* asks;         /* NULL until it is needed */
  nt__resolver_t* resolver; /* the same */
  nt__storage_t* storage;   /* the same; the host ends it */
} nt__io_t;

struct nt_context {
  /* Host thread. */
  nt__table_t entries; /* id to nt__entry_t */
  nt__node_t ready;    /* entries that have events, in turn */
  nt__fifo_t ended;    /* entries that the host ended since collecting */
  nt__fifo_t incoming; /* taken in, not sorted into the entries yet */
  size_t incoming_count;
  uint64_t incoming_cost;
  nt__fifo_t questions; /* NT_EV_LOOKUP, of no entry */
  size_t waiting;       /* in the entries and those */
  uint64_t waiting_bytes;
  uint64_t uncredited;  /* delivered, not yet added to `credited` */
  nt__policy_t* policy; /* for new tasks */
  nt__fifo_t corked;    /* commands held by nt_cork() */
  unsigned cork_depth;
  nt__task_t* lent_task; /* what the last event points into */
  nt__event_t* lent_event;
  struct nt__entry* lent_entry;
  nt__fifo_t spare_requests; /* see request.c */
  size_t spare_count;
  uint32_t socket_count; /* WebSockets that count in max_sockets */
  nt__quota_t tcp_opened;
  nt__audit_t audit;
  nt__address_texts_t address_texts; /* of the datagrams shown last */
  uv_thread_t thread;
  bool joined; /* by exit(): a late nt_close() may still come */
  bool in_background;

  /* Both. */
  nt__cookies_t* cookies; /* has a lock of its own */
  nt__mailbox_t commands;
  nt__mailbox_t events;
  atomic_bool io_sleeps;   /* a command needs a nt__wake_send() */
  atomic_bool host_sleeps; /* events need a signal */
  atomic_bool forked;      /* this process is a child of the owner */
  atomic_bool stop_posted;
  atomic_uint_fast64_t credited; /* cost of the events delivered so far */
  atomic_uint_fast64_t bytes_in, bytes_out;
  nt__meter_t meter;
  atomic_uint_fast64_t dropped; /* datagrams, see nt_stats_t */
  atomic_uint_fast64_t services_refused;
  atomic_uint spin_us;
  nt__spare_t chunks; /* from the host back to the I/O thread */
  nt__spare_t pieces; /* and the other way: what was sent */
  uv_mutex_t mutex;   /* of the two conditions */
  uv_cond_t arrived;  /* events, for a host that sleeps */
  uv_cond_t stopped;
  bool io_done;   /* under the mutex */
  bool abandoned; /* under the mutex: nt_close() did not wait */
  nt__command_t stop;
  nt__node_t registered; /* in the process's list of contexts */

  /* I/O thread. */
  nt__io_t io;
};

/* host.c. */
void nt__host_init(nt_context_t* ctx);
void nt__host_free(nt_context_t* ctx);
/* request.c: frees the spare blocks. */
void nt__requests_free(nt_context_t* ctx);
/* Before the context's mark changes: what was delivered counts at once. */
void nt__credit_flush(nt_context_t* ctx);

/* loop.c: the body of the I/O thread. */
int nt__io_init(nt_context_t* ctx);
void nt__io_run(nt_context_t* ctx);
/* There was something to do just now: if it spins, it goes on for a while. */
void nt__io_worked(nt_context_t* ctx);
/* After the thread has ended, or if it never ran. */
void nt__io_free(nt_context_t* ctx);

#endif
