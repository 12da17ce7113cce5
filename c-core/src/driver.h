/* libcurl's multi interface on the loop: the one file that drives it. */
#ifndef NT_DRIVER_H
#define NT_DRIVER_H

#include <curl/curl.h>
#include <stdbool.h>

#include "internal.h"
#include "trust.h"

/* Transfers and streams do not share a multi: CONNECT_ONLY connections count
 * in a multi's limits, and idle streams would crowd out keep-alive. What may
 * use HTTP/2 has one too: else an HTTP/1.1 connection to the host serves it, or
 * makes libcurl believe that the host cannot multiplex. */
typedef enum nt__multi_kind {
  NT__MULTI_TRANSFERS,
  NT__MULTI_HTTP2,
  NT__MULTI_STREAMS,
  NT__MULTI_COUNT
} nt__multi_kind_t;

/* What is shared by all that runs under one trust: connections, TLS sessions,
 * the answers of name lookups, the certificates of authorities. */
typedef struct nt__pool nt__pool_t;

/* One easy handle at work. */
typedef struct nt__easy {
  nt__driver_t* driver;
  nt__pool_t* pool;
  nt__node_t in_pool;
  CURL* curl; /* NULL between acquire and release */
  nt__multi_kind_t kind;
  bool added;
  bool connects;     /* CURLOPT_CONNECT_ONLY: stays in its multi when done, and
                      * the owner uses the connection */
  bool connected;    /* its connection stands; set in CURLOPT_PREREQFUNCTION */
  nt__node_t broken; /* to fail in the next turn */
  /* Inside libcurl: a name has been looked up, a socket for this address is to
   * be made. False: not for this one; libcurl tries the next. */
  bool (*on_socket)(struct nt__easy* easy, const struct sockaddr* address);
  /* In a turn, outside libcurl: the handle has been taken out of its multi
   * unless it only connects. */
  void (*on_done)(struct nt__easy* easy, CURLcode code);
} nt__easy_t;

/* The descriptor of a connection, and its poll. */
typedef struct nt__socket nt__socket_t;

typedef struct nt__socket_owner {
  /* What nt__socket_watch() waits for has happened, as UV_READABLE |
   * UV_WRITABLE; both after an error. */
  void (*on_ready)(struct nt__socket_owner* owner, int events);
} nt__socket_owner_t;

/* Makes ctx->io.driver. NT_E_NOMEM; what is there then is closed as always. */
int nt__driver_open(nt_context_t* ctx);
/* Ends libcurl's side; the loop must run once more, then free. */
void nt__driver_close(nt__driver_t* driver);
void nt__driver_free(nt__driver_t* driver);

/* From here on connections, sessions and lookups that were made under another
 * trust serve only those that run under that one, and no connection of theirs
 * is kept. */
void nt__driver_renew(nt__driver_t* driver, const nt__policy_t* policy);

/* Gives `easy` a handle with the options that all connections share: trust,
 * sockets, caches, no signals, no environment. NT_E_NOMEM, NT_E_TRUST. */
int nt__driver_acquire(nt__driver_t* driver, nt__easy_t* easy,
                       const nt__policy_t* policy);
/* The connection to the proxy trusts the same authorities. */
int nt__driver_trust_proxy(nt__easy_t* easy, const nt__policy_t* policy);
/* Takes it back, out of the multi if need be. Not inside a libcurl callback. */
void nt__driver_release(nt__easy_t* easy);

/* Starts it. Not inside a libcurl callback. NT_E_NOMEM. */
int nt__driver_add(nt__easy_t* easy);

/* Lets a paused one go on; may call its write callback. */
void nt__driver_continue(nt__easy_t* easy);

/* After on_done() of one that connects: its socket, which is the owner's to use
 * until the easy is released. NULL without memory. */
nt__socket_t* nt__driver_socket(nt__easy_t* easy, nt__socket_owner_t* owner);
/* The same, and the socket stays when the easy is released, which happens here:
 * for a connection without TLS. */
nt__socket_t* nt__driver_take_socket(nt__easy_t* easy,
                                     nt__socket_owner_t* owner);
/* on_ready() for these events, 0 for none. 0, NT_E_SYSTEM. */
int nt__socket_watch(nt__socket_t* socket, int events);
curl_socket_t nt__socket_fd(const nt__socket_t* socket);
/* Of one that was taken. */
void nt__socket_close(nt__socket_t* socket);

/* The driver's part of a turn; true when it wants another one at once. */
bool nt__driver_run(nt__driver_t* driver);

#endif
