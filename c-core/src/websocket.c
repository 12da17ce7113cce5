/* WebSocket: the host's calls and the block of the task. Host thread.
 *
 * The frames are our own: see docs/architecture.md. How a connection is made
 * and lost is in ws_link.c, what happens on an open one in ws_session.c. */
#include "websocket.h"

#include <stdio.h>
#include <string.h>

#include "gate.h"
#include "outgoing.h"

enum {
  DEFAULT_TOTAL_MS = 60000,
  TARGET_SIZE = 512 /* of a URL without its path */
};

/* No cap: as much as sizes can be added up with. */
#define MESSAGE_MAX (SIZE_MAX / 8)

static void uncount(nt__websocket_t* ws) {
  if (ws->counted)
    ws->task.ctx->socket_count--;
  ws->counted = false;
}

static void show_end(nt__websocket_t* ws, nt_event_t* event) {
  event->opened = ws->opened;
  event->status = ws->status;
  event->reason = "";
  if (event->error != NT_E_ABORTED) {
    event->code = ws->code;
    event->reason = ws->reason;
  }
  uncount(ws);
}

/* What the host is told of the link is what its next sends are meant for. */
static void websocket_show(nt__task_t* task, nt_event_t* event) {
  nt__websocket_t* ws = nt__ws_of_task(task);

  switch (event->type) {
    case NT_EV_OPEN:
      ws->seen_link++;
      ws->seen_open = true;
      break;
    case NT_EV_LOST:
      ws->seen_open = false;
      break;
    case NT_EV_END:
      show_end(ws, event);
      break;
    default:
      break;
  }
}

/* The connection is as good as gone, though its block is not back yet. */
static void websocket_disown(nt__task_t* task) {
  uncount(nt__ws_of_task(task));
}

static void destroy(nt__websocket_t* ws) {
  nt__transfer_fini(&ws->stream.transfer);
  nt__buf_free(&ws->request.text);
  nt__free(ws);
}

static void websocket_release(nt__task_t* task) {
  nt__websocket_t* ws = nt__ws_of_task(task);

  uncount(ws);
  nt__task_fini(task);
  destroy(ws);
}

static const nt__task_class_t websocket_class = { .start = nt__ws_start,
                                                  .abort = nt__ws_abort,
                                                  .resume = nt__ws_resume,
                                                  .tell = nt__ws_tell,
                                                  .show = websocket_show,
                                                  .disown = websocket_disown,
                                                  .release =
                                                      websocket_release };

/* ---- Starting ------------------------------------------------------------ */

void nt_websocket_options_init(nt_websocket_options_t* options) {
  memset(options, 0, sizeof(*options));
  options->timeouts.total = DEFAULT_TOTAL_MS;
}

static bool are_protocols(const char* const* protocols, size_t count) {
  size_t i, j;

  if (protocols == NULL && count > 0)
    return false;
  for (i = 0; i < count; i++) {
    if (protocols[i] == NULL || !nt__header_is_token(protocols[i]))
      return false;
    for (j = 0; j < i; j++) /* RFC 6455 4.1: unique */
      if (strcmp(protocols[i], protocols[j]) == 0)
        return false;
  }
  return true;
}

static int check(const nt_websocket_options_t* options) {
  size_t i;

  if (options->url == NULL ||
      (options->headers == NULL && options->header_count > 0) ||
      !are_protocols(options->protocols, options->protocol_count) ||
      !nt__outgoing_may_proxy(options->proxy) ||
      !(options->reconnect.jitter >= 0 && options->reconnect.jitter <= 1))
    return NT_E_INVALID;
  for (i = 0; i < options->header_count; i++)
    if (nt_header_check(options->headers[i].name, options->headers[i].value))
      return NT_E_HEADER;
  return 0;
}

static bool begins_with(const char* text, const char* prefix) {
  return curl_strnequal(text, prefix, strlen(prefix)) != 0;
}

/* libcurl makes the connection, and it knows http: "ws" becomes "http". What is
 * http already is no WebSocket's URL, but may be the base of one. */
static int http_form(const char* url, char** out) {
  size_t size = strlen(url) + sizeof("http");

  url += strspn(url, " "); /* no part of it */
  *out = nt__malloc(size);
  if (*out == NULL)
    return NT_E_NOMEM;
  if (begins_with(url, "ws:") || begins_with(url, "wss:"))
    snprintf(*out, size, "http%s", url + 2);
  else
    snprintf(*out, size, "%s", url);
  return 0;
}

static int parse_url(nt__url_t* url, const nt_websocket_options_t* options) {
  const char* given = options->url + strspn(options->url, " ");
  char* text = NULL;
  char* base = NULL;
  int err;

  if (begins_with(given, "http:") || begins_with(given, "https:"))
    return NT_E_SCHEME;
  err = http_form(options->url, &text);
  if (err == 0 && options->base_url != NULL)
    err = http_form(options->base_url, &base);
  if (err == 0)
    err = nt__url_parse(url, base, text);
  nt__free(text);
  nt__free(base);
  if (err == 0 && !url->http) {
    nt__url_free(url);
    err = NT_E_SCHEME;
  }
  return err;
}

/* Parts of the URL that the request is made of. libcurl allocates them. */
typedef struct url_parts {
  char* path;
  char* query;
  char* user;
  char* password;
  char* host; /* ours: with the port unless it is the scheme's own */
  char* target;
} url_parts_t;

static void free_parts(url_parts_t* parts) {
  curl_free(parts->path);
  curl_free(parts->query);
  curl_free(parts->user);
  curl_free(parts->password);
  nt__free(parts->host);
  nt__free(parts->target);
}

static char* host_of(const nt__url_t* url) {
  char* host = nt__strdup(url->authority);
  const char* own = url->secure ? ":443" : ":80";
  size_t size, own_size = strlen(own);

  if (host == NULL)
    return NULL;
  size = strlen(host);
  if (size > own_size && strcmp(host + size - own_size, own) == 0)
    host[size - own_size] = '\0';
  return host;
}

static char* target_of(const url_parts_t* parts) {
  const char* query = parts->query == NULL ? "" : parts->query;
  size_t size = strlen(parts->path) + strlen(query) + 2;
  char* target = nt__malloc(size);

  if (target != NULL)
    snprintf(target, size, "%s%s%s", parts->path, *query ? "?" : "", query);
  return target;
}

static int get_parts(const nt__url_t* url, url_parts_t* parts) {
  CURLU* handle = url->handle;

  memset(parts, 0, sizeof(*parts));
  if (curl_url_get(handle, CURLUPART_PATH, &parts->path, 0) != CURLUE_OK)
    return NT_E_NOMEM;
  curl_url_get(handle, CURLUPART_QUERY, &parts->query, 0);
  curl_url_get(handle, CURLUPART_USER, &parts->user, CURLU_URLDECODE);
  curl_url_get(handle, CURLUPART_PASSWORD, &parts->password, CURLU_URLDECODE);
  parts->host = host_of(url);
  parts->target = target_of(parts);
  return parts->host == NULL || parts->target == NULL ? NT_E_NOMEM : 0;
}

/* Where the key of each connection goes; header values hold no line ends, so it
 * is the only one. */
static char* key_place(const nt__buf_t* text) {
  static const char field[] = "\r\nSec-WebSocket-Key: ";

  return strstr(text->data, field) + sizeof(field) - 1;
}

static int write_request(nt__websocket_t* ws, const nt_policy_t* policy,
                         const nt_websocket_options_t* options) {
  const char* agent = policy->user_agent;
  nt__ws_ask_t ask = { .key = "000000000000000000000000",
                       .deflate = ws->request.deflate,
                       .protocols = options->protocols,
                       .protocol_count = options->protocol_count,
                       .headers = options->headers,
                       .header_count = options->header_count };
  nt__transfer_t* t = &ws->stream.transfer;
  nt__buf_t* text = &ws->request.text;
  size_t headers_at = 0;
  url_parts_t parts;
  int err = get_parts(&t->url, &parts);

  if (err == 0) {
    ask.target = parts.target;
    ask.host = parts.host;
    ask.user = parts.user;
    ask.password = parts.password;
    ask.referer = nt__policy_referer(policy, options->referer);
    ask.user_agent = agent == NULL ? "nettask/" NT_VERSION : agent;
    err = nt__ws_ask_write(&ask, text, &headers_at);
  }
  if (err == 0) {
    ws->request.key = key_place(text);
    t->head = text->data + headers_at;
    t->head_size = text->size - headers_at;
  }
  free_parts(&parts);
  return err;
}

static size_t text_size(const char* text) {
  return text == NULL ? 0 : strlen(text) + 1;
}

/* The block, and behind it the list of subprotocols, their text, the proxy,
 * the origin and the interface. */
static nt__websocket_t* new_block(const nt_websocket_options_t* options) {
  size_t size = options->protocol_count * sizeof(char*);
  size_t i;
  nt__websocket_t* ws;
  char* cursor;

  for (i = 0; i < options->protocol_count; i++)
    size += text_size(options->protocols[i]);
  ws = nt__calloc(sizeof(*ws) + size + text_size(options->proxy) +
                  text_size(options->origin) +
                  text_size(options->interface_name));
  if (ws == NULL)
    return NULL;
  ws->request.protocols = (const char**) (void*) (ws + 1);
  ws->request.protocol_count = options->protocol_count;
  cursor = (char*) (ws->request.protocols + options->protocol_count);
  for (i = 0; i < options->protocol_count; i++)
    ws->request.protocols[i] = nt__pack(&cursor, options->protocols[i],
                                        text_size(options->protocols[i]));
  if (options->proxy != NULL)
    ws->stream.transfer.proxy =
        nt__pack(&cursor, options->proxy, text_size(options->proxy));
  if (options->origin != NULL)
    ws->stream.transfer.origin =
        nt__pack(&cursor, options->origin, text_size(options->origin));
  if (options->interface_name != NULL)
    ws->stream.transfer.interface_name = nt__pack(
        &cursor, options->interface_name, text_size(options->interface_name));
  return ws;
}

static uint64_t message_max(const nt_policy_t* policy,
                            const nt_websocket_options_t* options) {
  uint64_t max = options->message_max_bytes != 0 ? options->message_max_bytes
                                                 : policy->message_max_bytes;

  return max == 0 || max > MESSAGE_MAX ? MESSAGE_MAX : max;
}

static uint32_t cookie_flags(uint32_t flags) {
  uint32_t out = 0;

  if (flags & NT_WEBSOCKET_COOKIES)
    out = NT_REQUEST_COOKIES_SEND | NT_REQUEST_COOKIES_STORE;
  if (flags & NT_WEBSOCKET_SAME_ORIGIN)
    out |= NT_REQUEST_SAME_ORIGIN;
  return out;
}

static void fill(nt__websocket_t* ws, const nt_policy_t* policy,
                 const nt_websocket_options_t* options) {
  nt__transfer_t* t = &ws->stream.transfer;

  ws->task.class_ = &websocket_class;
  ws->flags = options->flags;
  ws->request.deflate = (options->flags & NT_WEBSOCKET_DEFLATE) != 0;
  ws->ping_interval = options->ping_interval_ms;
  ws->pong_timeout = options->pong_timeout_ms != 0 ? options->pong_timeout_ms
                                                   : options->ping_interval_ms;
  ws->message_max = message_max(policy, options);
  ws->timeouts = options->timeouts;
  ws->reconnect = options->reconnect;
  t->task = &ws->task;
  t->access = NT_ACCESS_SOCKET;
  t->method = "GET";
  t->flags = cookie_flags(options->flags);
  t->nagle = (options->flags & NT_WEBSOCKET_NO_DELAY) == 0;
  t->profile.invoke_start = nt__unix_ms();
}

static bool has_place(const nt_context_t* ctx) {
  uint32_t max = ctx->policy->values.max_sockets;

  return max == 0 || ctx->socket_count < max;
}

/* What the URL and the proxy alone show is told at once. */
static int check_reach(nt_context_t* ctx, nt_id_t id,
                       const nt__transfer_t* transfer) {
  char target[TARGET_SIZE];
  int err = nt__gate_url(ctx->policy, NT_ACCESS_SOCKET, &transfer->url);

  if (err) {
    nt__gate_show(&transfer->url, target, sizeof(target));
    return nt__refuse(ctx, id, err, target);
  }
  err = nt__gate_proxy(ctx->policy, NT_ACCESS_SOCKET, transfer->proxy);
  if (err == 0)
    return 0;
  nt__gate_show_text(transfer->proxy, target, sizeof(target));
  return nt__refuse(ctx, id, err, target);
}

static int refuse_scheme(nt_context_t* ctx, nt_id_t id, const char* text) {
  char target[TARGET_SIZE];

  nt__gate_show_text(text, target, sizeof(target));
  return nt__refuse(ctx, id, NT_E_SCHEME, target);
}

static int make(nt_context_t* ctx, nt_id_t id,
                const nt_websocket_options_t* options, nt__websocket_t** out) {
  const nt_policy_t* policy = &ctx->policy->values;
  nt__websocket_t* ws = new_block(options);
  int err;

  if (ws == NULL)
    return NT_E_NOMEM;
  fill(ws, policy, options);
  err = parse_url(&ws->stream.transfer.url, options);
  if (err == NT_E_SCHEME)
    refuse_scheme(ctx, id, options->url);
  if (err == 0)
    err = check_reach(ctx, id, &ws->stream.transfer);
  if (err == 0)
    err = write_request(ws, policy, options);
  if (err)
    destroy(ws);
  *out = ws;
  return err;
}

int nt_websocket_open(nt_context_t* ctx, nt_id_t* id) {
  return nt__task_open(ctx, id);
}

int nt_websocket_start(nt_context_t* ctx, nt_id_t id,
                       const nt_websocket_options_t* options) {
  nt__websocket_t* ws;
  int err = nt__task_check_start(ctx, id);

  if (err == 0)
    err = options == NULL ? NT_E_INVALID : check(options);
  if (err == 0 && !has_place(ctx))
    err = nt__refuse(ctx, id, NT_E_LIMIT, NULL);
  if (err == 0)
    err = nt__meter_check(ctx, id);
  if (err == 0)
    err = make(ctx, id, options, &ws);
  if (err)
    return err;
  ws->counted = true;
  ctx->socket_count++;
  nt__task_start(ctx, id, &ws->task);
  return 0;
}

/* ---- Sending and closing ------------------------------------------------- */

static nt__websocket_t* find(const nt_context_t* ctx, nt_id_t id) {
  nt__task_t* task = nt__task_find(ctx, id, &websocket_class);

  return task == NULL ? NULL : nt__ws_of_task(task);
}

static nt__ws_order_t* new_order(nt_context_t* ctx, nt_id_t id,
                                 nt__ws_opcode_t opcode, const void* data,
                                 size_t size) {
  size_t capacity;
  nt__ws_order_t* order =
      nt__spare_take(&ctx->pieces, sizeof(*order) + size + 1, &capacity);

  if (order == NULL)
    return NULL;
  order->command = (nt__command_t){ .type = NT__CMD_TELL, .id = id };
  order->piece =
      (nt__piece_t){ .block = { .memory = order, .capacity = capacity } };
  order->opcode = opcode;
  order->code = 0;
  order->link = 0;
  order->size = size;
  if (size > 0)
    memcpy(order->data, data, size);
  order->data[size] = '\0';
  return order;
}

int nt_websocket_send(nt_context_t* ctx, nt_id_t id, nt_message_type_t type,
                      const void* data, size_t size) {
  nt__websocket_t* ws = find(ctx, id);
  nt__ws_order_t* order;
  int err;

  if (ws == NULL)
    return nt__task_missing(ctx);
  if (ws->closing || !ws->seen_open || nt_state(ctx, id) == NT_STATE_CLOSING)
    return NT_E_NOT_OPEN;
  if (type == NT_MESSAGE_TEXT && !nt__utf8_valid(data, size))
    return NT_E_WS_TEXT;
  if (!nt__send_queue_has_room(&ws->queue, ctx->policy->values.send_queue_bytes,
                               size)) {
    nt_websocket_report(ctx, id);
    return NT_E_QUEUE_FULL;
  }
  err = nt__meter_check(ctx, id);
  if (err)
    return err;
  order =
      new_order(ctx, id, type == NT_MESSAGE_TEXT ? NT__WS_TEXT : NT__WS_BINARY,
                data, size);
  if (order == NULL)
    return NT_E_NOMEM;
  order->piece.data = order->data;
  order->piece.size = order->piece.charge = size;
  order->piece.sends = 1;
  order->piece.minute = nt__meter_give(ctx, size);
  order->link = ws->seen_link;
  nt__send_queue_add(&ws->queue, size);
  nt__command_post(ctx, &order->command);
  return 0;
}

void nt_websocket_report(nt_context_t* ctx, nt_id_t id) {
  nt__websocket_t* ws = find(ctx, id);
  nt__ws_order_t* order;

  if (ws == NULL || !nt__send_queue_ask(&ws->queue))
    return;
  order = new_order(ctx, id, NT__WS_PING, NULL, 0);
  if (order != NULL)
    nt__command_post(ctx, &order->command);
}

uint64_t nt_websocket_buffered(const nt_context_t* ctx, nt_id_t id) {
  const nt__websocket_t* ws = find(ctx, id);

  /* The I/O thread may not have come to drop what was lost. */
  return ws == NULL || !ws->seen_open ? 0 : nt__send_queue_left(&ws->queue);
}

int nt_websocket_close(nt_context_t* ctx, nt_id_t id, int code,
                       const char* reason) {
  nt__websocket_t* ws = find(ctx, id);
  size_t size = reason == NULL ? 0 : strlen(reason);
  nt__ws_order_t* order;

  if (!nt__ws_code_is_valid(code) || size > NT__WS_REASON_MAX ||
      !nt__utf8_valid(reason, size))
    return NT_E_INVALID;
  if (ws == NULL)
    return nt__task_missing(ctx);
  if (ws->closing || nt_state(ctx, id) == NT_STATE_CLOSING)
    return NT_E_NOT_OPEN;
  order = new_order(ctx, id, NT__WS_CLOSE, reason, size);
  if (order == NULL)
    return NT_E_NOMEM;
  order->code = code;
  ws->closing = true;
  uncount(ws); /* what the host has said goodbye to leaves room for another */
  nt__command_post(ctx, &order->command);
  return 0;
}
