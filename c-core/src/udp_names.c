/* Datagrams of a UDP socket that wait for a name: each with its name, so that
 * those for others pass them by. I/O thread. */
#include <stdio.h>
#include <string.h>

#include "resolve.h"
#include "udp.h"

typedef struct udp_name {
  nt__node_t node;
  nt__resolve_t wait;
  nt__udp_t* udp;
  nt__fifo_t datagrams;
  bool is_peer;  /* what is found is the peer's address from then on */
  bool connects; /* nt_udp_connect() waits for it */
  char text[];
} udp_name_t;

static nt__datagram_t* of_link(nt__link_t* link) {
  return nt__container_of(link, nt__datagram_t, link);
}

static udp_name_t* of_node(nt__node_t* node) {
  return nt__container_of(node, udp_name_t, node);
}

static void drop_all(nt__udp_t* udp, nt__fifo_t* datagrams) {
  while (datagrams->first != NULL)
    nt__udp_drop(udp, of_link(nt__fifo_shift(datagrams)));
}

static void free_name(udp_name_t* name) {
  drop_all(name->udp, &name->datagrams);
  nt__list_remove(&name->node);
  nt__free(name);
}

void nt__udp_drop_names(nt__udp_t* udp) {
  while (!nt__list_empty(&udp->names)) {
    udp_name_t* name = of_node(udp->names.next);

    nt__resolve_cancel(&name->wait);
    free_name(name);
  }
}

void nt__udp_forget_peer(nt__udp_t* udp) {
  nt__node_t* node;

  for (node = udp->names.next; node != &udp->names; node = node->next)
    of_node(node)->is_peer = of_node(node)->connects = false;
}

/* What is wanted of a name. */
typedef struct wish {
  const char* name;
  int port;
  bool connects;            /* nt_udp_connect() has asked */
  bool is_peer;             /* it is the peer's */
  nt__datagram_t* datagram; /* for it, or NULL */
} wish_t;

static const char* operation_of(const wish_t* wish) {
  return wish->connects ? "connect" : "send";
}

static void report_name(nt__udp_t* udp, const wish_t* wish, int error,
                        const char* why) {
  char text[NT__NAME_MAX + 128];

  snprintf(text, sizeof(text), "could not resolve %s: %s", wish->name,
           why == NULL ? nt_error_message(error) : why);
  nt__udp_report(udp, error, operation_of(wish), NULL, text);
}

/* Where the name leads is not told: whoever may not go there need not know. */
static void report_refusal(nt__udp_t* udp, const wish_t* wish, int error) {
  char text[NT__HOST_TEXT];

  nt__host_show("udp", wish->name, wish->port, text);
  nt__udp_report(udp, error, operation_of(wish), NULL, text);
}

static void set_peer(nt__udp_t* udp, const nt__sockaddr_t* address) {
  udp->peer = *address;
  nt__address_set_port(&udp->peer, udp->peer_port);
}

static void send_to(nt__udp_t* udp, nt__datagram_t* datagram,
                    const nt__sockaddr_t* address) {
  datagram->to = *address;
  nt__address_set_port(&datagram->to, datagram->port);
  nt__udp_expect_from(udp, &datagram->to);
  nt__udp_push(udp, datagram);
}

static wish_t wish_of(const nt__udp_t* udp, const udp_name_t* name) {
  wish_t wish = { name->text, udp->peer_port, name->connects, name->is_peer,
                  NULL };

  if (!name->connects && name->datagrams.first != NULL)
    wish.port = of_link(name->datagrams.first)->port;
  return wish;
}

/* 0 if datagrams may go to what was found; else it was told. */
static int judge(nt__udp_t* udp, const wish_t* wish, int error,
                 const nt__sockaddr_t* address, const char* why) {
  if (error != 0) {
    report_name(udp, wish, error, why);
    return error;
  }
  error = nt__udp_check_found(udp, wish->name, address);
  if (error != 0)
    report_refusal(udp, wish, error);
  return error;
}

static void on_name(nt__resolve_t* wait, int error,
                    const nt__sockaddr_t* address, const char* why) {
  udp_name_t* name = nt__container_of(wait, udp_name_t, wait);
  nt__udp_t* udp = name->udp;
  wish_t wish = wish_of(udp, name);

  error = judge(udp, &wish, error, address, why);
  if (error == 0 && name->is_peer)
    set_peer(udp, address);
  while (error == 0 && name->datagrams.first != NULL)
    send_to(udp, of_link(nt__fifo_shift(&name->datagrams)), address);
  free_name(name);
  nt__udp_settle(udp);
  nt__udp_sent_all(udp);
}

static udp_name_t* find_name(nt__udp_t* udp, const char* text) {
  nt__node_t* node;

  for (node = udp->names.next; node != &udp->names; node = node->next)
    if (strcmp(of_node(node)->text, text) == 0)
      return of_node(node);
  return NULL;
}

static int wait_for_name(nt__udp_t* udp, const char* text, udp_name_t** out) {
  size_t size = strlen(text) + 1;
  udp_name_t* name = nt__calloc(sizeof(*name) + size);
  int err;

  if (name == NULL)
    return NT_E_NOMEM;
  memcpy(name->text, text, size);
  name->udp = udp;
  name->wait.on_done = on_name;
  err = nt__resolve_wait(udp->task.ctx, text, udp->family, &name->wait);
  if (err) {
    nt__free(name);
    return err;
  }
  nt__list_append(&udp->names, &name->node);
  *out = name;
  return 0;
}

/* The name is known, or cannot be had. */
static void settle_name(nt__udp_t* udp, const wish_t* wish, int error,
                        const nt__sockaddr_t* address, const char* why) {
  error = judge(udp, wish, error, address, why);
  if (error == 0 && wish->is_peer)
    set_peer(udp, address);
  if (wish->datagram == NULL)
    return;
  if (error == 0) {
    send_to(udp, wish->datagram, address);
    return;
  }
  nt__udp_drop(udp, wish->datagram);
  nt__udp_settle(udp);
}

void nt__udp_send_to_name(nt__udp_t* udp, const char* text,
                          nt__datagram_t* datagram, bool is_peer) {
  wish_t wish = { text, udp->peer_port, datagram == NULL, is_peer, datagram };
  udp_name_t* name = find_name(udp, text);
  const char* why = NULL;
  nt__sockaddr_t address;
  int err = NT__RESOLVE_UNKNOWN;

  if (datagram != NULL)
    wish.port = datagram->port;
  if (name == NULL)
    err = nt__resolve_known(udp->task.ctx, text, udp->family, &address, &why);
  if (err == NT__RESOLVE_UNKNOWN)
    err = name == NULL ? wait_for_name(udp, text, &name) : 0;
  if (name == NULL) {
    settle_name(udp, &wish, err, &address, why);
    return;
  }
  name->is_peer = name->is_peer || is_peer;
  name->connects = name->connects || wish.connects;
  if (datagram != NULL)
    nt__fifo_push(&name->datagrams, &datagram->link);
}
