/* UDP sockets: what the task (udp.c), its descriptor on the loop
 * (udp_socket.c), its options (udp_options.c), the names that it waits for
 * (udp_names.c) and what the policy says (udp_gate.c) share. */
#ifndef NT_UDP_H
#define NT_UDP_H

#include "address.h"
#include "internal.h"
#include "send_queue.h"

typedef struct nt__udp_socket nt__udp_socket_t;
typedef struct nt__udp_answerers nt__udp_answerers_t;

/* To be sent. */
typedef struct nt__datagram {
  nt__link_t link;
  nt__spare_block_t block; /* its memory */
  nt__sockaddr_t to;       /* AF_UNSPEC: not known yet, then `port` */
  int port;
  size_t size;
  unsigned minute; /* of the quota that it counts in; 0: none */
  const char* data;
} nt__datagram_t;

/* The descriptor is made and bound on the host thread and closed on the I/O
 * thread, or with the block. What happens to it after it was bound is the I/O
 * thread's. */
typedef struct nt__udp {
  nt__task_t task;
  nt__send_queue_t queue;
  int family;   /* AF_INET, AF_INET6 */
  bool guarded; /* the policy may refuse peers */
  uv_os_sock_t fd;
  bool taken; /* by the loop, which closes it: not with the block */

  /* Host thread. */
  int port; /* that it is bound to; 0: none yet */
  bool has_peer, closing;
  nt__sockaddr_t sent_to;      /* the last literal, with port 0 ... */
  char sent_host[NT__IP_SIZE]; /* ... and its text */
  int sent_port; /* to which the policy lets it send there; 0: none yet */

  /* I/O thread. */
  nt__udp_socket_t* socket; /* once it is bound */
  bool ended, lingers;
  unsigned late_refusals; /* told while a mark was reached */
  nt__fifo_t out;         /* datagrams whose addresses are known */
  nt__node_t active;      /* in the list of those that have something to send */
  nt__node_t names;       /* that are looked up for it */
  nt__sockaddr_t peer;    /* AF_UNSPEC: none, or its name is not known yet */
  char* peer_name;        /* NULL: none, or it was an address */
  int peer_port;
  uint64_t charge, sends; /* settled so far */
  size_t run_limit; /* larger datagrams the system takes one by one alone */
  int port_shown;   /* the port that it is bound to */
  bool blocked;     /* the system took no more */
  bool broadcasts;
  nt__timer_t timer;    /* the end of lingering */
  nt__sockaddr_t heard; /* where the last datagram came from, if guarded */
  nt__udp_answerers_t* answerers; /* NULL: none */
} nt__udp_t;

/* udp_socket.c, I/O thread. */
int nt__udps_open(nt_context_t* ctx);
void nt__udps_free(nt__udps_t* udps);
/* The sockets' part of a turn; true when it wants another one at once. */
bool nt__udps_run(nt__udps_t* udps);

/* Takes the descriptor, which is bound, and receives. NT_E_NOMEM,
 * NT_E_SYSTEM. */
int nt__udp_socket_open(nt__udp_t* udp);
/* What was to be sent is dropped. */
void nt__udp_socket_close(nt__udp_t* udp);
/* Receives no more. */
void nt__udp_socket_deafen(nt__udp_t* udp);
/* Takes the datagram, whose address is known: it goes out in this turn. */
void nt__udp_push(nt__udp_t* udp, nt__datagram_t* datagram);
/* Sends now what the system takes. */
void nt__udp_flush(nt__udp_t* udp);
/* Frees a datagram, which counts as if it had been sent. */
void nt__udp_drop(nt__udp_t* udp, nt__datagram_t* datagram);
/* Lets the host see what was sent and dropped. */
void nt__udp_settle(nt__udp_t* udp);

/* The error code of a code of libuv. */
int nt__udp_error(int code);
/* Posts an ERROR event. `operation` is a static string, `remote` may be NULL.
 */
void nt__udp_report(nt__udp_t* udp, int error, const char* operation,
                    const nt__sockaddr_t* remote, const char* message);
/* The same for a code of libuv: "<doing>: <what the system says>". */
void nt__udp_report_code(nt__udp_t* udp, int code, const char* operation,
                         const nt__sockaddr_t* remote, const char* doing);

/* udp_options.c, I/O thread; a code of libuv. */
int nt__udp_set_ttl(nt__udp_t* udp, int ttl);
int nt__udp_set_multicast_ttl(nt__udp_t* udp, int ttl);
int nt__udp_set_broadcast(nt__udp_t* udp, bool on);
/* `interface_name` is a name, a number, an address of ours, or NULL. */
int nt__udp_set_membership(nt__udp_t* udp, const nt__sockaddr_t* group,
                           const char* interface_name, bool member);
/* Those that all sockets have. */
void nt__udp_set_defaults(nt__udp_t* udp);

/* udp_names.c, I/O thread: sends the datagram to where the name leads. Of the
 * peer's name the address is kept, too; `datagram` may be NULL then. */
void nt__udp_send_to_name(nt__udp_t* udp, const char* text,
                          nt__datagram_t* datagram, bool is_peer);
/* No name that is looked up is the peer's any more. */
void nt__udp_forget_peer(nt__udp_t* udp);
void nt__udp_drop_names(nt__udp_t* udp);

/* udp_gate.c. Whether it can refuse a peer at all: `guarded`. */
bool nt__udp_is_guarded(const nt__policy_t* policy);
/* Host thread. What is to be sent to, or joined; AF_UNSPEC: a name. 0, or what
 * names the rule, and the refusal is recorded. */
int nt__udp_check_target(nt_context_t* ctx, const nt__udp_t* udp,
                         const char* host, int port,
                         const nt__sockaddr_t* address);
/* I/O thread, as the next. The address that a name has led to: 0 or an error.
 */
int nt__udp_check_found(const nt__udp_t* udp, const char* name,
                        const nt__sockaddr_t* address);
/* Something is sent to where a name has led: it may answer. */
void nt__udp_expect_from(nt__udp_t* udp, const nt__sockaddr_t* address);
bool nt__udp_may_hear(nt__udp_t* udp, const struct sockaddr* from);

/* udp.c, I/O thread: all that could be sent was sent. */
void nt__udp_sent_all(nt__udp_t* udp);

#endif
