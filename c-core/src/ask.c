/* Addresses that a resolver of the host's knows. The core asks by an event and
 * is answered by a command; it knows neither who the resolver is nor how it
 * finds out. I/O thread, but for nt_lookup_answer() and the end of a block.
 *
 * A *question* is one name for one resolver and family. While it is pending
 * transfers wait for it; when it was answered it is remembered. One that nobody
 * waits for any more is forgotten, and so is its answer when it comes: then the
 * next transfer asks anew, as a resolver that was silent once may speak again.
 *
 * What a transfer was told is its own, so an address goes to nobody else: it is
 * given to libcurl as CURLOPT_CONNECT_TO, which leaves no trace in its cache.
 */
#include "ask.h"

#include <stdio.h>
#include <string.h>

#include "pattern.h"

enum {
  ADDRESSES_MAX = 8,
  FAILURES_MAX = 8, /* told of one transfer; later ones are not */
  MESSAGE_SIZE = 256,
  KNOWN_MAX = 256,
  PENDING_MAX = 1024,
  DAY_MS = 24 * 60 * 60 * 1000,
  PATIENCE_MS = 3000 /* with an address, while there is another way */
};

typedef struct addresses {
  size_t count;
  nt__sockaddr_t list[ADDRESSES_MAX];
} addresses_t;

typedef struct question {
  nt__node_t node;    /* in `pending` or `known` */
  nt__node_t waiters; /* of nt__ask_t */
  nt_id_t id;
  uint32_t resolver;
  nt_family_t family;
  uint32_t timeout_ms; /* what was said when the host was asked */
  bool pending;
  addresses_t addresses;
  uint64_t expires_at; /* loop time in ms */
  char host[];
} question_t;

struct nt__asks {
  nt__node_t pending;
  nt__node_t known; /* the one used last first */
  size_t pending_count, known_count;
};

struct nt__ask {
  nt__node_t node; /* in question->waiters */
  nt__transfer_t* transfer;
  question_t* question; /* it waits for it */
  void (*on_answer)(nt__transfer_t* transfer);
  bool settled; /* for this hop */
  bool refused; /* an address of this hop */
  bool used;
  addresses_t addresses;
  size_t next; /* of them */
  struct curl_slist line;
  char connect_to[NT__IP_SIZE + 8];
  char host[NT__NAME_MAX + 1]; /* of this hop */
  size_t failure_count;
  nt_lookup_failure_t failures[FAILURES_MAX];
  char messages[FAILURES_MAX][MESSAGE_SIZE];
};

/* NT__CMD_ANSWER */
typedef struct answer {
  nt__command_t command;
  addresses_t addresses;
  uint32_t ttl_ms;
  int error;
  char message[MESSAGE_SIZE];
} answer_t;

/* ---- What is told -------------------------------------------------------- */

static void note(nt__ask_t* ask, int error, const char* what) {
  size_t i = ask->failure_count;

  if (i == FAILURES_MAX)
    return;
  snprintf(ask->messages[i], MESSAGE_SIZE, "%.100s: %.150s", ask->host, what);
  ask->failures[i].error = error;
  ask->failures[i].message = ask->messages[i];
  ask->failure_count++;
}

void nt__ask_show(const nt__transfer_t* t, nt_event_t* event) {
  if (t->ask == NULL)
    return;
  event->resolved = t->ask->used;
  event->lookup_failures = t->ask->failures;
  event->lookup_failure_count = t->ask->failure_count;
}

/* ---- One address after the other ----------------------------------------- */

static const nt__sockaddr_t* address_of(const nt__transfer_t* t) {
  const nt__ask_t* ask = t->ask;

  return ask == NULL || ask->next >= ask->addresses.count
             ? NULL
             : &ask->addresses.list[ask->next];
}

/* "::address:" is for any host and port, and keeps the port. */
static void write_line(nt__ask_t* ask) {
  const nt__sockaddr_t* address = address_of(ask->transfer);
  char ip[NT__IP_SIZE];

  if (address == NULL)
    return;
  nt__address_write(address, ip);
  snprintf(ask->connect_to, sizeof(ask->connect_to),
           address->sa.sa_family == AF_INET6 ? "::[%s]:" : "::%s:", ip);
  ask->line.data = ask->connect_to;
}

struct curl_slist* nt__ask_line(const nt__transfer_t* t) {
  return address_of(t) == NULL ? NULL : &t->ask->line;
}

void nt__ask_succeed(nt__transfer_t* t) {
  if (address_of(t) != NULL)
    t->ask->used = true;
}

void nt__ask_fail(nt__transfer_t* t, int error) {
  nt__ask_t* ask = t->ask;
  char ip[NT__IP_SIZE];
  char what[MESSAGE_SIZE];

  nt__address_write(address_of(t), ip);
  snprintf(what, sizeof(what), "%s: %s", ip, nt_error_message(error));
  note(ask, error, what);
  ask->refused = ask->refused || error == NT_E_PRIVATE;
  ask->next++;
  write_line(ask);
}

bool nt__ask_was_refused(const nt__transfer_t* t) {
  return t->ask != NULL && t->ask->refused;
}

/* Half of the time that is left is for what comes after it. */
uint32_t nt__ask_connect_limit(const nt__transfer_t* t) {
  uint32_t limit = t->timeouts.connect;
  uint64_t half;

  if (address_of(t) == NULL)
    return limit;
  if (limit == 0 || limit > PATIENCE_MS)
    limit = PATIENCE_MS;
  if (t->total_due == 0)
    return limit;
  half =
      t->total_due > t->stage_since ? (t->total_due - t->stage_since) / 2 : 0;
  return half < limit ? (uint32_t) half + 1 : limit;
}

/* ---- Questions ----------------------------------------------------------- */

static question_t* of_node(nt__node_t* node) {
  return nt__container_of(node, question_t, node);
}

/* Whether it is waited for at least as long as that transfer would. */
static bool is_patient(const question_t* question, const nt__transfer_t* t) {
  return question->timeout_ms == 0 ||
         (t->resolver_timeout != 0 &&
          question->timeout_ms >= t->resolver_timeout);
}

/* A pending one is answered in the time of who asked first: nobody joins it who
 * has more. */
static question_t* find_in(nt__node_t* list, const nt__ask_t* ask) {
  const nt__transfer_t* t = ask->transfer;
  nt__node_t* node;

  for (node = list->next; node != list; node = node->next) {
    question_t* question = of_node(node);

    if (question->resolver == t->resolver && question->family == t->family &&
        strcmp(question->host, ask->host) == 0 &&
        (!question->pending || is_patient(question, t)))
      return question;
  }
  return NULL;
}

static void forget(nt__asks_t* asks, question_t* question) {
  nt__list_remove(&question->node);
  if (question->pending)
    asks->pending_count--;
  else
    asks->known_count--;
  nt__free(question);
}

/* Made when the first name comes. */
static nt__asks_t* open_asks(nt_context_t* ctx) {
  nt__asks_t* asks = ctx->io.asks;

  if (asks != NULL)
    return asks;
  asks = nt__calloc(sizeof(*asks));
  if (asks == NULL)
    return NULL;
  nt__list_init(&asks->pending);
  nt__list_init(&asks->known);
  ctx->io.asks = asks;
  return asks;
}

void nt__asks_free(nt__asks_t* asks) {
  if (asks == NULL)
    return;
  while (!nt__list_empty(&asks->pending))
    forget(asks, of_node(asks->pending.next));
  while (!nt__list_empty(&asks->known))
    forget(asks, of_node(asks->known.next));
  nt__free(asks);
}

static int post(nt_context_t* ctx, const question_t* question) {
  size_t size = strlen(question->host) + 1;
  nt__parcel_t* parcel = nt__calloc(sizeof(*parcel) + size);
  char* cursor;

  if (parcel == NULL)
    return NT_E_NOMEM;
  cursor = parcel->bytes;
  parcel->event.type = NT_EV_LOOKUP;
  parcel->event.id = question->id;
  parcel->view.message = "";
  parcel->view.host = nt__pack(&cursor, question->host, size);
  parcel->view.resolver = question->resolver;
  parcel->view.family = question->family;
  parcel->view.timeout_ms = question->timeout_ms;
  nt__event_post(ctx, &parcel->event, size);
  return 0;
}

/* A new one, which the host is asked. */
static int put_question(nt__asks_t* asks, const nt__ask_t* ask,
                        question_t** out) {
  const nt__transfer_t* t = ask->transfer;
  size_t size = strlen(ask->host) + 1;
  question_t* question;

  if (asks->pending_count >= PENDING_MAX)
    return NT_E_FULL;
  question = nt__calloc(sizeof(*question) + size);
  if (question == NULL)
    return NT_E_NOMEM;
  nt__list_init(&question->waiters);
  question->id = nt__next_id();
  question->resolver = t->resolver;
  question->family = t->family;
  question->timeout_ms = t->resolver_timeout;
  question->pending = true;
  memcpy(question->host, ask->host, size);
  if (post(nt__transfer_context(t), question) != 0) {
    nt__free(question);
    return NT_E_NOMEM;
  }
  nt__list_append(&asks->pending, &question->node);
  asks->pending_count++;
  *out = question;
  return 0;
}

/* ---- Asking -------------------------------------------------------------- */

/* False when there is nothing to ask: also for localhost, which means this host
 * (RFC 6761). */
static bool read_host(const nt__url_t* url, char out[NT__NAME_MAX + 1]) {
  nt__host_t host;

  if (url->host == NULL || url->foreign || !nt__host_read(&host, url->host) ||
      host.literal || nt__host_is_local(&host))
    return false;
  memcpy(out, host.name, host.size + 1);
  return true;
}

static nt__ask_t* make_ask(nt__transfer_t* t) {
  if (t->ask != NULL)
    return t->ask;
  t->ask = nt__calloc(sizeof(*t->ask));
  if (t->ask == NULL)
    return NULL;
  nt__node_init(&t->ask->node);
  t->ask->transfer = t;
  return t->ask;
}

static void settle(nt__ask_t* ask) {
  ask->settled = true;
  ask->question = NULL;
  ask->transfer->profile.asked_end = nt__unix_ms();
}

/* Those of its family. */
static void take_addresses(nt__ask_t* ask, const addresses_t* from) {
  nt_family_t family = ask->transfer->family;
  int wanted = family == NT_FAMILY_IPV6 ? AF_INET6 : AF_INET;
  size_t i;

  ask->addresses.count = ask->next = 0;
  for (i = 0; i < from->count; i++)
    if (family == NT_FAMILY_ANY || from->list[i].sa.sa_family == wanted)
      ask->addresses.list[ask->addresses.count++] = from->list[i];
  if (ask->addresses.count == 0)
    note(ask, NT_E_ADDRESS, "no address of its family");
  write_line(ask);
}

/* True if that is known. */
static bool recall(nt__asks_t* asks, nt__ask_t* ask) {
  question_t* question = find_in(&asks->known, ask);

  if (question == NULL)
    return false;
  if (nt__transfer_now(ask->transfer) >= question->expires_at) {
    forget(asks, question);
    return false;
  }
  nt__list_remove(&question->node);
  nt__list_append(asks->known.next, &question->node); /* before the first */
  settle(ask);
  take_addresses(ask, &question->addresses);
  return true;
}

static int wait_for(nt__asks_t* asks, nt__ask_t* ask) {
  question_t* question;
  int err;

  if (asks == NULL)
    return NT_E_NOMEM;
  question = find_in(&asks->pending, ask);
  if (question == NULL) {
    err = put_question(asks, ask, &question);
    if (err)
      return err;
  }
  ask->question = question;
  nt__list_append(&question->waiters, &ask->node);
  return 0;
}

/* What a proxy looks up is its own business. */
static bool can_ask(const nt__transfer_t* t) {
  return t->resolver != 0 && nt__transfer_proxy(t) == NULL &&
         !nt__transfer_asks_env(t) && (t->ask == NULL || !t->ask->settled);
}

bool nt__ask_begin(nt__transfer_t* t, void (*on_answer)(nt__transfer_t*)) {
  nt__asks_t* asks;
  nt__ask_t* ask;
  int err;

  if (!can_ask(t))
    return false;
  ask = make_ask(t);
  if (ask == NULL || !read_host(&t->url, ask->host))
    return false;
  t->profile.asked_start = nt__unix_ms();
  ask->on_answer = on_answer;
  asks = open_asks(nt__transfer_context(t));
  if (asks != NULL && recall(asks, ask))
    return false;
  err = wait_for(asks, ask);
  if (err == 0)
    return true;
  settle(ask);
  note(ask, err, nt_error_message(err));
  return false;
}

void nt__ask_leave(nt__transfer_t* t) {
  nt__ask_t* ask = t->ask;
  question_t* question = ask == NULL ? NULL : ask->question;

  if (question == NULL)
    return;
  ask->question = NULL;
  nt__list_remove(&ask->node);
  if (question->pending && nt__list_empty(&question->waiters))
    forget(nt__transfer_context(t)->io.asks, question);
}

void nt__ask_expire(nt__transfer_t* t) {
  nt__ask_leave(t);
  settle(t->ask);
  note(t->ask, NT_E_TIMEOUT, nt_error_message(NT_E_TIMEOUT));
}

void nt__ask_reset(nt__transfer_t* t) {
  nt__ask_t* ask = t->ask;

  if (ask == NULL)
    return;
  ask->settled = ask->refused = false;
  ask->addresses.count = ask->next = 0;
}

void nt__ask_free(nt__transfer_t* t) {
  nt__free(t->ask);
  t->ask = NULL;
}

/* ---- Answers ------------------------------------------------------------- */

static void tell(question_t* question, const answer_t* answer) {
  nt__node_t* node;

  while ((node = nt__list_shift(&question->waiters)) != NULL) {
    nt__ask_t* ask = nt__container_of(node, nt__ask_t, node);

    settle(ask);
    if (answer->error != 0)
      note(ask, answer->error, answer->message);
    else
      take_addresses(ask, &answer->addresses);
    ask->on_answer(ask->transfer);
  }
}

static void remember(nt__asks_t* asks, question_t* question,
                     const answer_t* answer, uint64_t now) {
  question->addresses = answer->addresses;
  question->expires_at = now + answer->ttl_ms;
  nt__list_append(asks->known.next, &question->node);
  asks->known_count++;
}

static question_t* find_pending(nt__asks_t* asks, nt_id_t id) {
  nt__node_t* node;

  if (asks == NULL)
    return NULL;
  for (node = asks->pending.next; node != &asks->pending; node = node->next)
    if (of_node(node)->id == id)
      return of_node(node);
  return NULL;
}

void nt__asks_take(nt_context_t* ctx, const nt__command_t* command) {
  const answer_t* answer = nt__container_of(command, const answer_t, command);
  nt__asks_t* asks = ctx->io.asks;
  question_t* question = find_pending(asks, command->id);
  bool lasts = answer->error == 0 && answer->ttl_ms > 0;

  if (question == NULL)
    return;
  nt__list_remove(&question->node);
  asks->pending_count--;
  question->pending = false;
  if (lasts)
    remember(asks, question, answer, nt__now(ctx));
  tell(question, answer);
  if (!lasts)
    nt__free(question);
  if (asks->known_count > KNOWN_MAX)
    forget(asks, of_node(asks->known.prev));
}

/* ---- Host thread --------------------------------------------------------- */

static int read_address(nt__sockaddr_t* out, const char* ip) {
  int family = ip != NULL && strchr(ip, ':') != NULL ? AF_INET6 : AF_INET;

  if (ip == NULL || nt__address_parse(ip, family, out) != NT__HOST_LITERAL)
    return NT_E_ADDRESS;
  return 0;
}

static int read_addresses(addresses_t* out, const nt_lookup_answer_t* answer) {
  nt__sockaddr_t address;
  size_t i;

  for (i = 0; i < answer->count; i++) {
    int err = read_address(&address, answer->ips[i]);

    if (err)
      return err;
    if (out->count < ADDRESSES_MAX)
      out->list[out->count++] = address;
  }
  return 0;
}

static void fill(answer_t* out, const nt_lookup_answer_t* answer) {
  const char* message = answer->message;

  out->ttl_ms = answer->ttl_ms < DAY_MS ? answer->ttl_ms : DAY_MS;
  if (answer->count > 0)
    return;
  out->error = answer->error > 0 ? answer->error : NT_E_RESOLVE;
  if (message == NULL)
    message = nt_error_message(NT_E_RESOLVE);
  snprintf(out->message, sizeof(out->message), "%s", message);
}

int nt_lookup_answer(nt_context_t* ctx, nt_id_t id,
                     const nt_lookup_answer_t* answer) {
  answer_t* order;
  int err;

  if (atomic_load(&ctx->forked))
    return NT_E_FORKED;
  if (answer == NULL || (answer->ips == NULL && answer->count > 0))
    return NT_E_INVALID;
  order = nt__calloc(sizeof(*order));
  if (order == NULL)
    return NT_E_NOMEM;
  order->command.type = NT__CMD_ANSWER;
  order->command.id = id;
  err = read_addresses(&order->addresses, answer);
  if (err) {
    nt__free(order);
    return err;
  }
  fill(order, answer);
  nt__command_post(ctx, &order->command);
  return 0;
}
