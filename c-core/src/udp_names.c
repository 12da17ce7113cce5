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
  bool is_peer; /* what is found is the peer's address from then on */
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
    of_node(node)->is_peer = false;
}

static void report_name(nt__udp_t* udp, const char* name, int error,
                        const char* why) {
  char text[NT__NAME_MAX + 128];

  snprintf(text, sizeof(text), "could not resolve %s: %s", name,
           why == NULL ? nt_error_message(error) : why);
  nt__udp_report(udp, error, NULL, text);
}

static void set_peer(nt__udp_t* udp, const nt__sockaddr_t* address) {
  udp->peer = *address;
  nt__address_set_port(&udp->peer, udp->peer_port);
}

static void send_to(nt__udp_t* udp, nt__datagram_t* datagram,
                    const nt__sockaddr_t* address) {
  datagram->to = *address;
  nt__address_set_port(&datagram->to, datagram->port);
  nt__udp_push(udp, datagram);
}

static void on_name(nt__resolve_t* wait, int error,
                    const nt__sockaddr_t* address, const char* why) {
  udp_name_t* name = nt__container_of(wait, udp_name_t, wait);
  nt__udp_t* udp = name->udp;

  if (error != 0)
    report_name(udp, name->text, error, why);
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

void nt__udp_send_to_name(nt__udp_t* udp, const char* text,
                          nt__datagram_t* datagram, bool is_peer) {
  udp_name_t* name = find_name(udp, text);
  const char* why = NULL;
  nt__sockaddr_t address;
  int err = NT__RESOLVE_UNKNOWN;

  if (name == NULL)
    err = nt__resolve_known(udp->task.ctx, text, udp->family, &address, &why);
  if (err == 0) {
    if (is_peer)
      set_peer(udp, &address);
    if (datagram != NULL)
      send_to(udp, datagram, &address);
    return;
  }
  if (err == NT__RESOLVE_UNKNOWN)
    err = name == NULL ? wait_for_name(udp, text, &name) : 0;
  if (err) {
    report_name(udp, text, err, why);
    if (datagram != NULL)
      nt__udp_drop(udp, datagram);
    nt__udp_settle(udp);
    return;
  }
  name->is_peer = name->is_peer || is_peer;
  if (datagram != NULL)
    nt__fifo_push(&name->datagrams, &datagram->link);
}
