/* The way of a WebSocket to a connection and from one to the next. I/O thread.
 *
 *   connect -> handshake -> open -> closing -> leaving -> end
 *      ^            |         |                            ^
 *      +- retrying <+---------+----------------------------+
 */
#include <stdio.h>
#include <string.h>

#include "cookies.h"
#include "secret.h"
#include "stage.h"
#include "websocket.h"

enum {
  CLOSE_MS = 5000, /* for the peer to answer our close frame */
  LEAVE_MS = 1000  /* for the peer to close the connection */
};

static nt__websocket_t* of_stream(const nt__stream_t* stream) {
  return nt__container_of(stream, nt__websocket_t, stream);
}

uint64_t nt__ws_now(const nt__websocket_t* ws) {
  return nt__now(ws->task.ctx);
}

/* ---- Events -------------------------------------------------------------- */

static void pack_open(const nt__websocket_t* ws, nt__parcel_t* parcel,
                      const char* protocol) {
  const nt__transfer_t* t = &ws->stream.transfer;
  nt_headers_t headers = nt__headers_view(&ws->answer.headers);
  nt_profile_t profile = t->profile;
  char* cursor = parcel->bytes;

  if (ws->flags & NT_WEBSOCKET_PROFILE)
    parcel->view.profile = nt__pack(&cursor, &profile, sizeof(profile));
  parcel->view.status = ws->answer.status;
  parcel->view.attempt = ws->tries;
  parcel->view.headers = headers;
  parcel->view.headers.bytes = nt__pack(&cursor, headers.bytes, headers.size);
  parcel->view.protocol = nt__pack(&cursor, protocol, strlen(protocol) + 1);
}

static int post_open(nt__websocket_t* ws, const nt__ws_deal_t* deal) {
  size_t size = sizeof(nt_profile_t) + ws->answer.headers.bytes.size +
                strlen(deal->protocol) + 1;
  nt__parcel_t* parcel = nt__parcel_new(&ws->task, NT_EV_OPEN, size);

  if (parcel == NULL)
    return NT_E_NOMEM;
  pack_open(ws, parcel, deal->protocol);
  nt__event_post(ws->task.ctx, &parcel->event, size);
  return 0;
}

static int post_lost(nt__websocket_t* ws) {
  size_t size = strlen(ws->reason) + 1;
  nt__parcel_t* parcel = nt__parcel_new(&ws->task, NT_EV_LOST, size);
  char* cursor;

  if (parcel == NULL)
    return NT_E_NOMEM;
  cursor = parcel->bytes;
  parcel->view.code = ws->code;
  parcel->view.reason = nt__pack(&cursor, ws->reason, size);
  nt__event_post(ws->task.ctx, &parcel->event, size);
  return 0;
}

static void report(nt__websocket_t* ws) {
  /* Later what is dropped counts too, and the host learns that from END. */
  if (ws->state != NT__WS_OPEN && ws->state != NT__WS_CLOSING)
    return;
  if (nt__send_queue_report(&ws->queue, &ws->task) != 0)
    nt__ws_fail(ws, NT_E_NOMEM, "");
}

/* ---- Ending -------------------------------------------------------------- */

static void keep_reason(nt__websocket_t* ws, int code, const char* reason,
                        size_t size) {
  if (size > NT__WS_REASON_MAX)
    size = NT__WS_REASON_MAX;
  ws->code = code;
  memmove(ws->reason, reason, size);
  ws->reason[size] = '\0';
}

static void keep_error(nt__websocket_t* ws, int error, const char* message) {
  ws->task.error = error;
  if (message != ws->task.message)
    snprintf(ws->task.message, sizeof(ws->task.message), "%s", message);
}

static void close_link(nt__websocket_t* ws) {
  nt__timer_clear(&ws->task.ctx->io.timers, &ws->timer);
  nt__stream_close(&ws->stream);
  nt__send_queue_settle(&ws->queue, &ws->stream);
  nt__ws_session_end(ws);
  nt__ws_answer_free(&ws->answer);
  ws->leave_due = ws->retry_due = 0;
}

static void finish(nt__websocket_t* ws) {
  close_link(ws);
  ws->state = NT__WS_ENDED;
  nt__task_end(&ws->task, 0);
}

void nt__ws_fail(nt__websocket_t* ws, int error, const char* message) {
  if (ws->state == NT__WS_ENDED)
    return;
  keep_error(ws, error, message);
  ws->code = ws->opened ? 1006 : 0;
  ws->reason[0] = '\0';
  finish(ws);
}

void nt__ws_leave(nt__websocket_t* ws, int error, const char* message, int code,
                  const char* reason, size_t reason_size) {
  keep_error(ws, error, message);
  keep_reason(ws, code, reason, reason_size);
  ws->state = NT__WS_LEAVING;
  ws->leave_due = nt__ws_now(ws) + LEAVE_MS;
  nt__ws_arm(ws);
}

/* ---- Losing and finding a connection ------------------------------------- */

/* By its code the other side may want us back. */
static bool invites_back(int code) {
  switch (code) {
    case 1001: /* going away */
    case 1006: /* no close frame */
    case 1011: /* internal error */
    case 1012: /* service restart */
    case 1013: /* try again later */
    case 1014: /* bad gateway */
      return true;
    default:
      return false;
  }
}

static uint64_t delay_of(nt__websocket_t* ws) {
  const nt_reconnect_t* r = &ws->reconnect;
  uint64_t delay = r->base_ms;
  uint32_t i, random;

  for (i = 1; i < ws->tries && delay < r->max_ms; i++)
    delay *= 2;
  if (delay > r->max_ms)
    delay = r->max_ms;
  nt__streams_random(ws->task.ctx->io.streams, &random, sizeof(random));
  delay -= (uint64_t) ((double) delay * r->jitter * random / UINT32_MAX);
  return delay;
}

/* The next try, or the end with what the connection was lost by. */
static void retry(nt__websocket_t* ws) {
  if (ws->tries >= ws->reconnect.tries) {
    keep_error(ws, 0, "");
    finish(ws);
    return;
  }
  close_link(ws);
  ws->tries++;
  ws->state = NT__WS_RETRYING;
  ws->retry_due = nt__ws_now(ws) + delay_of(ws);
  nt__ws_arm(ws);
}

void nt__ws_lose(nt__websocket_t* ws, int code, const char* reason) {
  if (reason == NULL)
    reason = "abnormal closure";
  keep_reason(ws, code, reason, strlen(reason));
  if (ws->reconnect.tries == 0) {
    keep_error(ws, 0, "");
    finish(ws);
  } else if (post_lost(ws) != 0) {
    nt__ws_fail(ws, NT_E_NOMEM, "");
  } else {
    ws->tries = 0;
    retry(ws);
  }
}

/* ---- The handshake ------------------------------------------------------- */

static void connect_link(nt__websocket_t* ws) {
  uint64_t max = ws->task.policy->values.header_max_bytes;

  ws->retry_due = 0;
  ws->state = NT__WS_CONNECTING;
  ws->stream.transfer.timeouts = ws->timeouts;
  nt__ws_answer_init(&ws->answer, max);
  nt__stream_connect(&ws->stream);
}

static void make_key(nt__websocket_t* ws) {
  unsigned char random[16];

  nt__streams_random(ws->task.ctx->io.streams, random, sizeof(random));
  nt__ws_make_key(random, ws->key);
  memcpy(ws->request.key, ws->key, NT__WS_KEY_SIZE);
}

/* The value of the caller's own Cookie field, or NULL. Each line of the head
 * ends with CR LF, and an empty one is its end. */
static const char* own_cookies(const nt__transfer_t* t) {
  static const char name[] = "cookie:";
  const char* line = t->head;

  while (*line != '\r') {
    if (curl_strnequal(line, name, sizeof(name) - 1))
      return line + sizeof(name) - 1 + strspn(line + sizeof(name) - 1, " ");
    line = strchr(line, '\n') + 1;
  }
  return NULL;
}

/* What the jar has for the handshake, to be put at `*at` of the head: behind
 * the caller's own, or as a field of its own in front. */
static int pick_cookies(nt__transfer_t* t, nt__buf_t* out, size_t* at) {
  const char* own = own_cookies(t);
  nt__buf_t jar;
  int err;

  *at = own == NULL ? 0 : (size_t) (own - t->head) + strcspn(own, "\r");
  nt__buf_init(&jar, 0);
  err = nt__cookies_pick(t, own, &jar);
  if (err == 0 && jar.size > 0) {
    const char* before = own == NULL ? "Cookie: " : *own == '\r' ? "" : "; ";
    const char* behind = own == NULL ? "\r\n" : "";

    err = nt__buf_reserve(out, jar.size + 16);
    if (err == 0) {
      nt__buf_append(out, before, strlen(before));
      nt__buf_append(out, jar.data, jar.size);
      nt__buf_append(out, behind, strlen(behind));
    }
  }
  if (jar.data != NULL)
    nt__wipe(jar.data, jar.size);
  nt__buf_free(&jar);
  return err;
}

/* The request, in which the values take the place of secrets, with cookies at
 * that place of its head. */
static nt__piece_t* write_request(nt__websocket_t* ws, const nt__buf_t* cookies,
                                  size_t at) {
  const nt_policy_t* policy = &ws->task.policy->values;
  const nt__transfer_t* t = &ws->stream.transfer;
  const char* text = ws->request.text.data;
  size_t start = (size_t) (t->head - text);
  size_t front = nt__secret_reveal(policy, t->head, at, NULL);
  size_t size =
      start + front + cookies->size +
      nt__secret_reveal(policy, t->head + at, t->head_size - at, NULL);
  nt__piece_t* piece = nt__calloc(sizeof(*piece) + size);
  char* to;

  if (piece == NULL)
    return NULL;
  piece->block.memory = piece;
  piece->data = to = (char*) (piece + 1);
  piece->size = size;
  memcpy(to, text, start);
  nt__secret_reveal(policy, t->head, at, to += start);
  to += front;
  if (cookies->size > 0)
    memcpy(to, cookies->data, cookies->size);
  to += cookies->size;
  nt__secret_reveal(policy, t->head + at, t->head_size - at, to);
  if (cookies->size > 0 || nt__secret_is_in(policy, t->head, t->head_size))
    piece->secret = size;
  return piece;
}

/* NULL without memory. */
static nt__piece_t* new_request(nt__websocket_t* ws) {
  nt__piece_t* piece = NULL;
  nt__buf_t cookies;
  size_t at;

  nt__buf_init(&cookies, 0);
  if (pick_cookies(&ws->stream.transfer, &cookies, &at) == 0)
    piece = write_request(ws, &cookies, at);
  if (cookies.data != NULL)
    nt__wipe(cookies.data, cookies.size);
  nt__buf_free(&cookies);
  return piece;
}

static void on_connected(nt__stream_t* stream) {
  nt__websocket_t* ws = of_stream(stream);
  nt__piece_t* piece;

  make_key(ws);
  piece = new_request(ws);
  if (piece == NULL) {
    nt__ws_fail(ws, NT_E_NOMEM, "");
    return;
  }
  stream->transfer.profile.request_start = nt__unix_ms();
  ws->state = NT__WS_HANDSHAKE;
  nt__stream_write(stream, piece);
}

/* The first failure is the end; that of a new connection costs a try. */
static void fail_connect(nt__websocket_t* ws, int error, const char* message) {
  if (ws->opened) {
    retry(ws);
    return;
  }
  nt__ws_fail(ws, error, message);
}

static int open_session(nt__websocket_t* ws, const nt__ws_deal_t* deal) {
  nt_profile_t* profile = &ws->stream.transfer.profile;
  int err = nt__ws_session_begin(ws, deal);

  profile->response_start = profile->response_end = nt__unix_ms();
  if (err == 0)
    err = post_open(ws, deal);
  if (err)
    return err;
  nt__stage_rest(&ws->stream.transfer);
  nt__ws_answer_free(&ws->answer);
  ws->state = NT__WS_OPEN;
  ws->opened = true;
  ws->link++;
  ws->tries = 0;
  nt__ws_arm(ws);
  return 0;
}

static void judge(nt__websocket_t* ws) {
  nt__ws_ask_t ask = { .key = ws->key,
                       .deflate = ws->request.deflate,
                       .protocols = ws->request.protocols,
                       .protocol_count = ws->request.protocol_count };
  char message[sizeof(ws->task.message)];
  nt__ws_deal_t deal;
  int err = nt__ws_answer_check(&ws->answer, &ask, &deal, message);

  ws->status = ws->answer.status;
  nt__cookies_store(&ws->stream.transfer, &ws->answer.headers);
  if (err) {
    fail_connect(ws, err, message);
    return;
  }
  if (open_session(ws, &deal) != 0)
    nt__ws_fail(ws, NT_E_NOMEM, "");
}

static size_t on_handshake(nt__websocket_t* ws, const char* data, size_t size) {
  size_t left = size;
  int err = nt__ws_answer_feed(&ws->answer, &data, &left);

  if (err)
    fail_connect(ws, err, nt_error_message(err));
  else if (ws->answer.done)
    judge(ws);
  if (ws->state != NT__WS_OPEN)
    return size;
  return size - left + nt__ws_session_feed(ws, data, left);
}

/* ---- The stream ---------------------------------------------------------- */

static size_t on_data(nt__stream_t* stream, const char* data, size_t size) {
  nt__websocket_t* ws = of_stream(stream);

  if (ws->state == NT__WS_HANDSHAKE)
    return on_handshake(ws, data, size);
  return nt__ws_session_feed(ws, data, size);
}

/* Frames can wait; what is left of a handshake is not worth it. */
static bool on_spent(nt__stream_t* stream) {
  nt__websocket_t* ws = of_stream(stream);

  if (ws->state == NT__WS_HANDSHAKE)
    return false;
  nt__ws_session_hold(ws);
  return true;
}

static void on_sent(nt__stream_t* stream) {
  nt__websocket_t* ws = of_stream(stream);

  nt__send_queue_settle(&ws->queue, &ws->stream);
  report(ws);
}

static void fail_handshake(nt__websocket_t* ws, int error) {
  const char* message =
      "Connection closed before receiving a handshake "
      "response";

  if (error == NT_E_TIMEOUT) /* that one has its message */
    message = ws->task.message;
  else if (error == 0)
    error = ws->answer.status == 0 ? NT_E_EMPTY_RESPONSE : NT_E_DROPPED;
  fail_connect(ws, error, message);
}

static void end_leaving(nt__websocket_t* ws) {
  bool again = ws->task.error == 0 && !ws->told_off &&
               ws->reconnect.tries > 0 && invites_back(ws->code);

  if (again)
    nt__ws_lose(ws, ws->code, ws->reason);
  else
    finish(ws);
}

static void on_end(nt__stream_t* stream, int error) {
  nt__websocket_t* ws = of_stream(stream);

  switch (ws->state) {
    case NT__WS_CONNECTING:
      fail_connect(ws, error, ws->task.message);
      return;
    case NT__WS_HANDSHAKE:
      fail_handshake(ws, error);
      return;
    case NT__WS_OPEN:
      nt__ws_lose(ws, 1006, NULL);
      return;
    case NT__WS_CLOSING:
    case NT__WS_LEAVING:
      end_leaving(ws);
      return;
    case NT__WS_RETRYING:
    case NT__WS_ENDED:
      return;
  }
}

static const nt__stream_ops_t stream_ops = { .on_connected = on_connected,
                                             .on_data = on_data,
                                             .on_spent = on_spent,
                                             .on_sent = on_sent,
                                             .on_end = on_end };

/* ---- Time ---------------------------------------------------------------- */

static void earlier(uint64_t* due, uint64_t other) {
  if (other != 0 && (*due == 0 || other < *due))
    *due = other;
}

void nt__ws_arm(nt__websocket_t* ws) {
  nt__timers_t* timers = &ws->task.ctx->io.timers;
  uint64_t due = 0;

  earlier(&due, ws->leave_due);
  earlier(&due, ws->retry_due);
  earlier(&due, ws->held_pong_due);
  if (ws->state == NT__WS_OPEN && ws->held_since == 0) {
    earlier(&due, ws->ping_due);
    earlier(&due, ws->pong_due);
  }
  if (due == 0)
    nt__timer_clear(timers, &ws->timer);
  else if (ws->timer.index == 0 || ws->timer.due != due)
    nt__timer_set(timers, &ws->timer, due);
}

static void on_due(nt__timer_t* timer) {
  nt__websocket_t* ws = nt__container_of(timer, nt__websocket_t, timer);
  uint64_t now = nt__ws_now(ws);
  bool leaves = ws->leave_due != 0 && now >= ws->leave_due;

  if (ws->state == NT__WS_RETRYING && now >= ws->retry_due)
    connect_link(ws);
  else if (leaves)
    end_leaving(ws);
  else if (ws->state == NT__WS_OPEN)
    nt__ws_session_due(ws);
  if (ws->state != NT__WS_ENDED)
    nt__ws_arm(ws);
}

/* ---- What the host says -------------------------------------------------- */

static void close_open(nt__websocket_t* ws) {
  size_t size = strlen(ws->reason);

  /* What comes in before the answer is for nobody, so it need not wait. */
  nt__ws_session_resume(ws);
  if (nt__ws_session_send_close(ws, ws->code, ws->reason, size) != 0) {
    nt__ws_fail(ws, NT_E_NOMEM, "");
    return;
  }
  ws->state = NT__WS_CLOSING;
  ws->leave_due = nt__ws_now(ws) + CLOSE_MS;
  nt__ws_arm(ws);
}

static void run_close(nt__websocket_t* ws, const nt__ws_order_t* order) {
  ws->told_off = true; /* it does not come back, in any case */
  if (ws->state == NT__WS_CLOSING || ws->state == NT__WS_LEAVING)
    return; /* the peer was first, and its code stands */
  keep_error(ws, 0, "");
  keep_reason(ws, order->code, order->data, order->size);
  if (ws->state == NT__WS_OPEN)
    close_open(ws);
  else
    finish(ws);
}

/* A message that was meant for a connection before is not for the next. */
static void run_send(nt__websocket_t* ws, nt__ws_order_t* order) {
  if (ws->state == NT__WS_OPEN && ws->link == order->link) {
    nt__ws_session_send(ws, order->opcode, &order->piece);
    return;
  }
  nt__stream_drop(&ws->stream, &order->piece);
  nt__send_queue_settle(&ws->queue, &ws->stream);
}

void nt__ws_tell(nt__task_t* task, nt__command_t* command) {
  nt__websocket_t* ws = nt__ws_of_task(task);
  nt__ws_order_t* order = nt__container_of(command, nt__ws_order_t, command);

  switch (order->opcode) {
    case NT__WS_TEXT:
    case NT__WS_BINARY:
      run_send(ws, order);
      return; /* the piece is the order's memory */
    case NT__WS_CLOSE:
      run_close(ws, order);
      break;
    default:
      report(ws);
  }
  nt__free(order);
}

void nt__ws_start(nt__task_t* task) {
  nt__websocket_t* ws = nt__ws_of_task(task);

  ws->timer.on_due = on_due;
  ws->stream.ops = &stream_ops;
  connect_link(ws);
}

/* That the host has ended it is all that the host is told; of an interruption a
 * script hears as of any other close. */
void nt__ws_abort(nt__task_t* task) {
  nt__websocket_t* ws = nt__ws_of_task(task);
  const char* reason = ws->opened ? "interrupted" : "";

  if (task->error == NT_E_INTERRUPTED)
    keep_reason(ws, ws->opened ? 1006 : 0, reason, strlen(reason));
  finish(ws);
}

void nt__ws_resume(nt__task_t* task) {
  nt__ws_session_resume(nt__ws_of_task(task));
}
