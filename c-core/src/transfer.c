/* HTTP transfers. I/O thread only.
 *
 *   submit -> queue -> name lookup in turn -> hop -> (redirect: next hop) ->
 * end
 *
 * libcurl follows no redirect: each hop is a new start of the same transfer, so
 * that URL, policy, credentials and time-outs are decided anew. Time-outs are
 * ours too, as libcurl's run on while a transfer is held back. */
#include "transfer.h"

#include <stdlib.h>
#include <string.h>

#include "failure.h"

enum {
  REDIRECT_BODY_MAX = 64 * 1024, /* more is not read to save a connection */
  STREAM_BUFFER_SIZE = 256 * 1024
};

struct nt__transfers {
  nt_context_t* ctx;
  nt__node_t queue;    /* wait for others to end */
  nt__node_t starting; /* start their hop in this turn */
  size_t running;
};

int nt__transfers_open(nt_context_t* ctx) {
  nt__transfers_t* transfers = nt__calloc(sizeof(*transfers));

  ctx->io.transfers = transfers;
  if (transfers == NULL)
    return NT_E_NOMEM;
  transfers->ctx = ctx;
  nt__list_init(&transfers->queue);
  nt__list_init(&transfers->starting);
  return 0;
}

void nt__transfers_free(nt__transfers_t* transfers) {
  nt__free(transfers);
}

void nt__transfer_fini(nt__transfer_t* t) {
  nt__url_free(&t->url);
  nt__headers_free(&t->headers);
}

static nt_context_t* context_of(const nt__transfer_t* t) {
  return t->task->ctx;
}

static const nt_policy_t* policy_of(const nt__transfer_t* t) {
  return &t->task->policy->values;
}

static nt__transfers_t* transfers_of(const nt__transfer_t* t) {
  return context_of(t)->io.transfers;
}

static bool is_method(const nt__transfer_t* t, const char* method) {
  return strcmp(t->method, method) == 0;
}

/* ---- Ending -------------------------------------------------------------- */

static int64_t since(int64_t start_ms, curl_off_t us) {
  return start_ms + (int64_t) (us / 1000);
}

static curl_off_t info(CURL* curl, CURLINFO what) {
  curl_off_t value = 0;

  curl_easy_getinfo(curl, what, &value);
  return value;
}

static const char* protocol_name(CURL* curl) {
  long version = 0;

  curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &version);
  switch (version) {
    case CURL_HTTP_VERSION_1_0:
    case CURL_HTTP_VERSION_1_1:
      return "http/1.1";
    case CURL_HTTP_VERSION_2_0:
      return "h2";
    case CURL_HTTP_VERSION_3:
      return "quic";
    default:
      return "unknown";
  }
}

static void read_connection(nt__transfer_t* t, CURL* curl) {
  nt_profile_t* p = &t->profile;
  curl_off_t looked_up = info(curl, CURLINFO_NAMELOOKUP_TIME_T);
  curl_off_t connected = info(curl, CURLINFO_CONNECT_TIME_T);
  curl_off_t secured = info(curl, CURLINFO_APPCONNECT_TIME_T);
  long made = 0;

  curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &made);
  p->reused = made == 0;
  p->lookup_start = p->lookup_end = p->fetch_start;
  p->connect_start = p->connect_end = p->fetch_start;
  p->tls_start = p->tls_end = 0;
  if (p->reused)
    return;
  p->lookup_end = since(p->fetch_start, looked_up);
  p->connect_start = p->lookup_end;
  p->connect_end = since(p->fetch_start, connected);
  p->rtt_ms = (double) (connected - looked_up) / 1000.0;
  if (secured > 0) {
    p->tls_start = p->connect_end;
    p->tls_end = since(p->fetch_start, secured);
    p->connect_end = p->tls_end;
  }
}

static void read_profile(nt__transfer_t* t, CURL* curl) {
  nt_profile_t* p = &t->profile;
  curl_off_t sent = info(curl, CURLINFO_PRETRANSFER_TIME_T);
  curl_off_t first = info(curl, CURLINFO_STARTTRANSFER_TIME_T);
  curl_off_t total = info(curl, CURLINFO_TOTAL_TIME_T);
  char* ip = NULL;
  long port = 0;

  read_connection(t, curl);
  p->request_start = since(p->fetch_start, sent);
  if (p->request_end < p->request_start) /* there was no body to watch */
    p->request_end = p->request_start;
  p->response_start = since(p->fetch_start, first);
  p->response_end = since(p->fetch_start, total);
  p->http_rtt_ms = (double) (first - sent) / 1000.0;
  if (total > first)
    p->throughput_kbps = (double) info(curl, CURLINFO_SIZE_DOWNLOAD_T) *
                         8000.0 / (double) (total - first);
  p->protocol = protocol_name(curl);
  curl_easy_getinfo(curl, CURLINFO_PRIMARY_IP, &ip);
  curl_easy_getinfo(curl, CURLINFO_PRIMARY_PORT, &port);
  p->peer_port = (int) port;
  if (ip != NULL && strlen(ip) < sizeof(t->peer_ip))
    memcpy(t->peer_ip, ip, strlen(ip) + 1);
  p->peer_ip = t->peer_ip;
}

static void count_bytes(nt__transfer_t* t, CURL* curl) {
  nt_context_t* ctx = context_of(t);
  long request_size = 0;
  long header_size = 0;
  uint64_t sent;
  uint64_t received;

  curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &request_size);
  curl_easy_getinfo(curl, CURLINFO_HEADER_SIZE, &header_size);
  sent =
      (uint64_t) request_size + (uint64_t) info(curl, CURLINFO_SIZE_UPLOAD_T);
  received =
      (uint64_t) header_size + (uint64_t) info(curl, CURLINFO_SIZE_DOWNLOAD_T);
  t->profile.bytes_sent += sent;
  t->profile.bytes_received += received;
  atomic_fetch_add_explicit(&ctx->bytes_out, sent, memory_order_relaxed);
  atomic_fetch_add_explicit(&ctx->bytes_in, received, memory_order_relaxed);
}

/* The hop is over: its handle goes back. */
static void end_hop(nt__transfer_t* t, int error) {
  nt__lookup_end(context_of(t)->io.lookups, &t->lookup, error);
  if (t->easy.curl == NULL)
    return;
  count_bytes(t, t->easy.curl);
  if (error == 0 && (t->flags & NT_REQUEST_PROFILE))
    read_profile(t, t->easy.curl);
  nt__driver_release(&t->easy);
}

/* Out of the queue, the clocks and libcurl. */
static void withdraw(nt__transfer_t* t, int error) {
  nt__transfers_t* transfers = transfers_of(t);

  nt__timer_clear(&context_of(t)->io.timers, &t->timer);
  if (nt__node_linked(&t->node))
    nt__list_remove(&t->node);
  end_hop(t, error);
  if (t->running) {
    t->running = false;
    transfers->running--;
  }
}

/* `message` NULL keeps what libcurl wrote into the task. */
static void finish(nt__transfer_t* t, int error, const char* message) {
  nt__task_t* task = t->task;

  withdraw(t, error);
  task->error = error;
  if (error == 0)
    message = "";
  if (message != NULL) {
    strncpy(task->message, message, sizeof(task->message) - 1);
    task->message[sizeof(task->message) - 1] = '\0';
  }
  t->ops->on_end(t);
}

void nt__transfer_cancel(nt__transfer_t* t) {
  withdraw(t, NT_E_ABORTED);
}

/* ---- Time-outs ----------------------------------------------------------- */

static uint64_t now_of(const nt__transfer_t* t) {
  return nt__now(context_of(t));
}

static uint32_t stage_limit(const nt__transfer_t* t) {
  switch (t->stage) {
    case NT__STAGE_DNS:
      return t->timeouts.dns;
    case NT__STAGE_CONNECT:
      return t->timeouts.connect;
    case NT__STAGE_TLS:
      return t->timeouts.tls;
    case NT__STAGE_FIRST_BYTE:
      return t->timeouts.first_byte;
    case NT__STAGE_BODY:
      return t->timeouts.stall;
    case NT__STAGE_WAITING:
      break;
  }
  return 0;
}

static const char* stage_message(nt__stage_t stage) {
  switch (stage) {
    case NT__STAGE_DNS:
      return "timed out while looking up the host name";
    case NT__STAGE_CONNECT:
      return "timed out while connecting";
    case NT__STAGE_TLS:
      return "timed out in the TLS handshake";
    case NT__STAGE_FIRST_BYTE:
      return "timed out waiting for the answer";
    case NT__STAGE_BODY:
      return "timed out: the transfer stalled";
    case NT__STAGE_WAITING:
      break;
  }
  return "timed out";
}

/* Sets the timer to the nearer of the two deadlines. */
static void arm(nt__transfer_t* t) {
  nt__timers_t* timers = &context_of(t)->io.timers;
  uint32_t limit = stage_limit(t);
  uint64_t due = t->total_due;

  if (limit != 0 && (due == 0 || t->stage_since + limit < due))
    due = t->stage_since + limit;
  if (due == 0)
    nt__timer_clear(timers, &t->timer);
  else if (t->timer.index == 0 || t->timer.due != due)
    nt__timer_set(timers, &t->timer, due);
}

static void enter_stage(nt__transfer_t* t, nt__stage_t stage) {
  t->stage = stage;
  t->stage_since = now_of(t);
  arm(t);
}

static void on_due(nt__timer_t* timer) {
  nt__transfer_t* t = nt__container_of(timer, nt__transfer_t, timer);
  uint32_t limit = stage_limit(t);
  uint64_t now = now_of(t);

  if (limit != 0 && now >= t->stage_since + limit)
    finish(t, NT_E_TIMEOUT, stage_message(t->stage));
  else if (t->total_due != 0 && now >= t->total_due)
    finish(t, NT_E_TIMEOUT, "timed out: the total time is over");
  else /* bytes have come meanwhile */
    arm(t);
}

/* A byte moved: the stage's clock starts again, when the timer looks. */
static void touch(nt__transfer_t* t) {
  t->stage_since = now_of(t);
}

/* ---- Response: inside libcurl -------------------------------------------- */

static bool is_redirect(const nt__transfer_t* t) {
  if (t->redirect != NT_REDIRECT_FOLLOW)
    return false;
  switch (t->status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      return nt__headers_find(&t->headers, "location") != NULL;
    default:
      return false;
  }
}

static void begin_response(nt__transfer_t* t, const char* line) {
  const char* code = strchr(line, ' ');

  nt__headers_reset(&t->headers);
  t->status = code == NULL ? 0 : atoi(code);
  if (t->stage != NT__STAGE_BODY)
    enter_stage(t, NT__STAGE_BODY);
}

/* False ends the hop. */
static bool end_headers(nt__transfer_t* t) {
  if (t->status / 100 == 1) /* the real one is still to come */
    return true;
  t->headers_done = true;
  t->following = is_redirect(t);
  if (t->following)
    return true;
  t->ops->on_headers(t);
  /* What follows is the tunnel that was asked for, not a body. */
  t->complete = is_method(t, "CONNECT") && t->status / 100 == 2;
  return !t->complete;
}

static size_t on_header(char* line, size_t one, size_t size, void* arg) {
  nt__transfer_t* t = arg;
  uint64_t max = policy_of(t)->header_max_bytes;

  (void) one;
  touch(t);
  if (t->headers_done) /* trailers */
    return size;
  t->header_bytes += size;
  if (max != 0 && t->header_bytes > max) {
    t->failure = NT_E_HEADER_SIZE;
    return 0;
  }
  if (size > 5 && memcmp(line, "HTTP/", 5) == 0) {
    begin_response(t, line);
    return size;
  }
  if (line[0] == '\r' || line[0] == '\n')
    return end_headers(t) ? size : 0;
  t->failure = nt__headers_add_line(&t->headers, line, size);
  return t->failure == 0 ? size : 0;
}

static size_t discard(nt__transfer_t* t, size_t size) {
  t->discarded += size;
  if (t->discarded <= REDIRECT_BODY_MAX)
    return size;
  t->complete = true;
  return 0;
}

static size_t on_write(char* data, size_t one, size_t size, void* arg) {
  nt__transfer_t* t = arg;
  int result;

  (void) one;
  touch(t);
  if (t->following)
    return discard(t, size);
  result = t->ops->on_body(t, data, size);
  if (result == 0)
    return size;
  if (result == NT__HOLD) {
    t->held_since = now_of(t);
    nt__timer_clear(&context_of(t)->io.timers, &t->timer);
    nt__task_hold(t->task);
    return CURL_WRITEFUNC_PAUSE;
  }
  t->failure = result;
  return 0;
}

void nt__transfer_resume(nt__transfer_t* t) {
  if (t->held_since == 0)
    return;
  if (t->total_due != 0)
    t->total_due += now_of(t) - t->held_since;
  t->held_since = 0;
  touch(t);
  arm(t);
  nt__driver_continue(&t->easy);
}

/* ---- Progress: inside libcurl -------------------------------------------- */

static void on_socket(nt__easy_t* easy) {
  nt__transfer_t* t = nt__container_of(easy, nt__transfer_t, easy);

  nt__lookup_end(context_of(t)->io.lookups, &t->lookup, 0);
  if (t->stage == NT__STAGE_DNS)
    enter_stage(t, NT__STAGE_CONNECT);
}

static CURLcode on_tls(CURL* curl, void* context, void* arg) {
  (void) curl;
  (void) context;
  enter_stage(arg, NT__STAGE_TLS);
  return CURLE_OK;
}

static int on_connected(void* arg, char* peer_ip, char* local_ip, int peer_port,
                        int local_port) {
  nt__transfer_t* t = arg;

  (void) peer_ip;
  (void) local_ip;
  (void) peer_port;
  (void) local_port;
  nt__lookup_end(context_of(t)->io.lookups, &t->lookup, 0);
  enter_stage(t, NT__STAGE_FIRST_BYTE);
  return CURL_PREREQFUNC_OK;
}

static int on_progress(void* arg, curl_off_t down_total, curl_off_t down,
                       curl_off_t up_total, curl_off_t up) {
  nt__transfer_t* t = arg;

  (void) down_total;
  (void) down;
  (void) up_total;
  if (up == (curl_off_t) t->uploaded)
    return 0;
  t->uploaded = (uint64_t) up;
  touch(t);
  if (t->uploaded == t->body_size)
    t->profile.request_end = nt__unix_ms();
  return 0;
}

/* ---- One hop ------------------------------------------------------------- */

/* RFC 9110 9.3: these have a Content-Length even when there is nothing. */
static bool expects_body(const nt__transfer_t* t) {
  return is_method(t, "POST") || is_method(t, "PUT") || is_method(t, "PATCH");
}

static void set_method(nt__transfer_t* t, CURL* curl) {
  if (t->body_size > 0 || expects_body(t)) {
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t) t->body_size);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, t->body_size > 0 ? t->body : "");
    if (!is_method(t, "POST"))
      curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, t->method);
  } else if (is_method(t, "HEAD")) {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else if (!is_method(t, "GET")) {
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, t->method);
  }
  if (is_method(t, "CONNECT")) {
    /* What comes after the answer is not HTTP: never on a shared connection. */
    curl_easy_setopt(curl, CURLOPT_REQUEST_TARGET, t->url.authority);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
  }
  if (t->body_size > 0) {
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
  }
}

static void set_fields(nt__transfer_t* t, CURL* curl) {
  struct curl_slist* first = NULL;
  struct curl_slist** link = &first;
  size_t i;

  for (i = 0; i < t->field_count; i++) {
    nt__field_t* field = &t->fields[i];

    if (field->dropped)
      continue;
    *link = &field->line;
    link = &field->line.next;
  }
  *link = NULL;
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, first);
}

static void set_version(nt__transfer_t* t, CURL* curl) {
  long version = CURL_HTTP_VERSION_1_1;
  nt_features_t features;

  if (!(t->flags & NT_REQUEST_STREAM) && (t->http & NT_HTTP_2)) {
    version = CURL_HTTP_VERSION_2TLS;
    /* Rather share a connection that is being made than make another. */
    curl_easy_setopt(curl, CURLOPT_PIPEWAIT, 1L);
  }
  if (!(t->flags & NT_REQUEST_STREAM) && (t->http & NT_HTTP_3)) {
    nt_features(&features);
    if (features.http3 && t->url.secure)
      version = CURL_HTTP_VERSION_3;
  }
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, version);
}

static void set_callbacks(nt__transfer_t* t, CURL* curl) {
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
  curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_connected);
  curl_easy_setopt(curl, CURLOPT_PREREQDATA, t);
  if (t->timeouts.tls != 0) {
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, t);
  }
}

static void set_options(nt__transfer_t* t, CURL* curl) {
  const char* agent = policy_of(t)->user_agent;

  curl_easy_setopt(curl, CURLOPT_CURLU, t->url.handle);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->task->message);
  curl_easy_setopt(curl, CURLOPT_USERAGENT,
                   agent == NULL ? "nettask/" NT_VERSION : agent);
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
  if (t->flags & NT_REQUEST_STREAM)
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long) STREAM_BUFFER_SIZE);
  set_version(t, curl);
  set_method(t, curl);
  set_fields(t, curl);
  set_callbacks(t, curl);
}

static void on_done(nt__easy_t* easy, CURLcode code);

static void start_hop(nt__transfer_t* t) {
  nt__driver_t* driver = context_of(t)->io.driver;

  t->status = 0;
  t->header_bytes = 0;
  t->discarded = 0;
  t->uploaded = 0;
  t->headers_done = t->following = t->complete = false;
  nt__headers_reset(&t->headers);
  t->task->message[0] = '\0';
  t->easy.kind = NT__MULTI_TRANSFERS;
  t->easy.on_socket = on_socket;
  t->easy.on_done = on_done;
  if (nt__driver_acquire(driver, &t->easy, policy_of(t)) != 0) {
    finish(t, NT_E_NOMEM, "");
    return;
  }
  set_options(t, t->easy.curl);
  t->profile.fetch_start = nt__unix_ms();
  t->profile.request_end = 0;
  if (nt__driver_add(&t->easy) != 0)
    finish(t, NT_E_NOMEM, "");
}

static void on_lookup_turn(nt__lookup_turn_t* turn, int error) {
  nt__transfer_t* t = nt__container_of(turn, nt__transfer_t, lookup);

  if (error) {
    finish(t, error, "");
    return;
  }
  nt__list_append(&transfers_of(t)->starting, &t->node);
}

static void prepare_hop(nt__transfer_t* t) {
  nt__lookups_t* lookups = context_of(t)->io.lookups;

  enter_stage(t, NT__STAGE_DNS);
  t->lookup.on_turn = on_lookup_turn;
  if (t->url.literal || nt__lookup_begin(lookups, &t->lookup, t->url.authority))
    nt__list_append(&transfers_of(t)->starting, &t->node);
}

/* ---- Redirects ----------------------------------------------------------- */

static void drop_fields(nt__transfer_t* t, bool (*is_dropped)(const char*)) {
  size_t i;

  for (i = 0; i < t->field_count; i++)
    if (is_dropped(t->fields[i].name))
      t->fields[i].dropped = true;
}

static bool describes_body(const char* name) {
  return nt__header_is(name, "content-type") ||
         nt__header_is(name, "content-encoding") ||
         nt__header_is(name, "content-language") ||
         nt__header_is(name, "content-location");
}

/* Fetch: 303, and POST on 301 and 302, become GET without a body. */
static void change_method(nt__transfer_t* t) {
  bool post_moved =
      is_method(t, "POST") && (t->status == 301 || t->status == 302);
  bool see_other =
      t->status == 303 && !is_method(t, "GET") && !is_method(t, "HEAD");

  if (!post_moved && !see_other)
    return;
  t->method = "GET";
  t->body_size = 0;
  drop_fields(t, describes_body);
}

static void change_origin(nt__transfer_t* t, nt__url_t* next) {
  if (!nt__url_same_origin(&t->url, next))
    drop_fields(t, nt__header_is_secret);
  else
    nt__url_inherit_credentials(next, &t->url);
  if (t->flags & NT_REQUEST_ANONYMOUS)
    nt__url_drop_credentials(next);
}

/* Where the response points to: 0 and `next`, or why not. */
static int find_next(nt__transfer_t* t, nt__url_t* next) {
  const char* location = nt__headers_find(&t->headers, "location");
  int err;

  if (t->redirects >= policy_of(t)->max_redirects)
    return NT_E_REDIRECTS;
  err = nt__url_parse(next, t->url.text, location);
  if (err)
    return err;
  err = nt__policy_check_url(t->task->policy, next);
  if (err)
    nt__url_free(next);
  return err;
}

static void follow(nt__transfer_t* t) {
  nt__url_t next;
  int err = find_next(t, &next);

  if (err) {
    finish(t, err, "");
    return;
  }
  if (t->redirects++ == 0)
    t->profile.redirect_start = t->profile.fetch_start;
  t->profile.redirect_end = nt__unix_ms();
  change_method(t);
  change_origin(t, &next);
  end_hop(t, 0);
  nt__url_free(&t->url);
  t->url = next;
  prepare_hop(t);
}

static void on_done(nt__easy_t* easy, CURLcode code) {
  nt__transfer_t* t = nt__container_of(easy, nt__transfer_t, easy);

  if (t->failure)
    finish(t, t->failure, "");
  else if (code != CURLE_OK && !t->complete)
    finish(t, nt__failure(easy->curl, code, !t->headers_done && t->status != 0),
           NULL);
  else if (t->following)
    follow(t);
  else
    finish(t, 0, "");
}

/* ---- The queue ----------------------------------------------------------- */

static bool has_place(const nt__transfers_t* transfers) {
  uint32_t max = transfers->ctx->io.policy->values.max_requests;

  return max == 0 || transfers->running < max;
}

static void begin(nt__transfers_t* transfers, nt__transfer_t* t) {
  t->running = true;
  transfers->running++;
  t->profile.queue_end = nt__unix_ms();
  if (t->timeouts.total != 0)
    t->total_due = now_of(t) + t->timeouts.total;
  prepare_hop(t);
}

void nt__transfer_submit(nt__transfer_t* t) {
  nt__transfers_t* transfers = transfers_of(t);
  int err = nt__policy_check_url(t->task->policy, &t->url);

  nt__node_init(&t->node);
  t->timer.on_due = on_due;
  t->profile.queue_start = nt__unix_ms();
  if (err) {
    finish(t, err, "");
    return;
  }
  if (has_place(transfers) && nt__list_empty(&transfers->queue)) {
    begin(transfers, t);
    return;
  }
  nt__list_append(&transfers->queue, &t->node);
  nt__event_post_state(transfers->ctx, t->task->id, NT_STATE_QUEUED);
}

bool nt__transfers_pending(const nt__transfers_t* transfers) {
  return !nt__list_empty(&transfers->starting) ||
         (!nt__list_empty(&transfers->queue) && has_place(transfers));
}

void nt__transfers_run(nt__transfers_t* transfers) {
  nt__node_t* node;

  for (;;) {
    while (has_place(transfers) &&
           (node = nt__list_shift(&transfers->queue)) != NULL) {
      nt__transfer_t* t = nt__container_of(node, nt__transfer_t, node);

      nt__event_post_state(transfers->ctx, t->task->id, NT_STATE_CONNECTING);
      begin(transfers, t);
    }
    node = nt__list_shift(&transfers->starting);
    if (node == NULL)
      return;
    start_hop(nt__container_of(node, nt__transfer_t, node));
  }
}
