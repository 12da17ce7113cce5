/* A hop: the options that libcurl gets, and what it calls back with.
 *
 * Inside its callbacks nothing may be started or removed: they note what
 * happened and return; the end comes in the next turn. I/O thread. */
#include "hop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "cache.h"
#include "cookies.h"
#include "fields.h"
#include "gate.h"
#include "origin.h"
#include "profile.h"
#include "stage.h"
#include "trust.h"

enum {
  REDIRECT_BODY_MAX = 64 * 1024, /* more is not read to save a connection */
  /* For what goes to a file: as much as libcurl takes. Each read makes room
   * for the sender, which on one machine is work for the reader's core. */
  DOWNLOAD_BUFFER_SIZE = 256 * 1024,
  UPLOAD_BUFFER_MAX = 512 * 1024,
  /* One buffer may inflate a thousandfold, all of which libcurl has to keep
   * when the stream is held back; it gives up at 64 MiB. */
  STREAM_BUFFER_SIZE = 16 * 1024,
  METERED_SIZE = 16 * 1024, /* read or sent at once under a quota, which is
                             * passed by no more */
  INTERFACE_SIZE = 128
};

/* ---- The answer ---------------------------------------------------------- */

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
    nt__stage_enter(t, NT__STAGE_BODY);
}

/* Not the answer yet: libcurl goes on after a 1xx, and asks anew without Expect
 * after the first 417. */
static bool is_interim(nt__transfer_t* t) {
  if (t->status / 100 == 1)
    return true;
  if (t->status != 417 || !t->expecting)
    return false;
  t->expecting = false;
  return true;
}

int nt__hop_answer(nt__transfer_t* t) {
  int err;

  t->headers_done = true;
  t->following = is_redirect(t);
  if (t->following)
    return 0;
  err = nt__origin_judge(t);
  return err ? err : t->ops->on_headers(t);
}

/* Nothing more of this answer is wanted. */
static bool is_complete(const nt__transfer_t* t) {
  /* The rest of the body would be sent for nothing. */
  if (t->following)
    return t->piecewise && t->uploaded < t->body_size;
  /* What follows is the tunnel that was asked for, not a body. */
  return t->again ||
         (nt__transfer_is_method(t, "CONNECT") && t->status / 100 == 2);
}

/* False ends the hop. */
static bool end_headers(nt__transfer_t* t) {
  int result;

  if (is_interim(t)) {
    t->status = 0;
    return true;
  }
  nt__cookies_store(t, &t->headers);
  nt__cache_hear(t);
  if (nt__visit_hides(t)) {
    t->headers_done = t->opaque = true;
    return true;
  }
  result = nt__hop_answer(t);
  t->again = result == NT__AGAIN;
  t->failure = result < 0 ? result : 0;
  t->complete = t->failure == 0 && is_complete(t);
  if (t->complete || t->failure != 0)
    return false;
  nt__visit_record(t);
  return true;
}

static size_t on_header(char* line, size_t one, size_t size, void* arg) {
  nt__transfer_t* t = arg;
  uint64_t max = nt__transfer_policy(t)->header_max_bytes;

  (void) one;
  nt__stage_touch(t);
  t->header_bytes += size;
  if (max != 0 && t->header_bytes > max) {
    t->failure = NT_E_HEADER_SIZE;
    return 0;
  }
  if (t->headers_done) /* trailers */
    return size;
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

/* The quota of the minute, if there is one, with what has come by now. */
static bool is_spent(nt__transfer_t* t) {
  nt__meter_t* meter = &nt__transfer_context(t)->meter;

  if (meter->max == 0)
    return false;
  nt__profile_meter(t);
  return nt__meter_is_spent(meter);
}

/* For the store, if it is to be stored, and for the owner. */
static int take(nt__transfer_t* t, const char* data, size_t size) {
  bool held = !t->following && is_spent(t);
  int result = held ? NT__HOLD : nt__visit_write(t, data, size);

  if (result == 0 && !t->following)
    result = t->ops->on_body(t, data, size);
  if (result == 0)
    nt__visit_wrote(t, size);
  return result;
}

static size_t on_write(char* data, size_t one, size_t size, void* arg) {
  nt__transfer_t* t = arg;
  int result;

  (void) one;
  nt__stage_touch(t);
  if (t->opaque || !t->headers_done ||
      (t->following && t->discarded + size > REDIRECT_BODY_MAX))
    return discard(t, size);
  result = take(t, data, size);
  if (result == 0)
    return t->following ? discard(t, size) : size;
  if (result == NT__HOLD) {
    nt__stage_hold(t);
    nt__task_hold(t->task);
    return CURL_WRITEFUNC_PAUSE;
  }
  if (result == NT__WAIT) {
    nt__stage_wait(t);
    return CURL_WRITEFUNC_PAUSE;
  }
  t->failure = result;
  return 0;
}

void nt__hop_resume(nt__transfer_t* t) {
  if (nt__visit_plays(t)) {
    nt__visit_resume(t);
    return;
  }
  if (t->held_since == 0 && !t->waiting)
    return;
  nt__stage_go_on(t);
  nt__driver_continue(&t->easy);
}

/* ---- A body that is sent piecewise --------------------------------------- */

/* Up to `*size` bytes of a body in memory. */
static int copy_body(nt__transfer_t* t, char* out, size_t* size) {
  uint64_t left = t->body_size - t->read_offset;

  if (*size > left)
    *size = (size_t) left;
  if (*size > 0)
    memcpy(out, (const char*) t->body + t->read_offset, *size);
  t->read_offset += *size;
  return 0;
}

static size_t on_read(char* out, size_t one, size_t count, void* arg) {
  nt__transfer_t* t = arg;
  nt__meter_t* meter = &nt__transfer_context(t)->meter;
  size_t size = one * count;
  int result;

  if (nt__meter_is_spent(meter)) {
    nt__stage_hold(t);
    nt__task_hold(t->task);
    return CURL_READFUNC_PAUSE;
  }
  if (meter->max != 0 && size > METERED_SIZE)
    size = METERED_SIZE;
  result = t->ops->on_read == NULL ? copy_body(t, out, &size)
                                   : t->ops->on_read(t, out, &size);
  if (result == 0) {
    nt__meter_count(meter, size);
    t->metered_out += size;
    return size;
  }
  if (result == NT__WAIT) {
    nt__stage_wait(t);
    return CURL_READFUNC_PAUSE;
  }
  t->failure = result;
  return CURL_READFUNC_ABORT;
}

static int on_seek(void* arg, curl_off_t offset, int origin) {
  nt__transfer_t* t = arg;

  if (origin != SEEK_SET || offset < 0 || (uint64_t) offset > t->body_size)
    return CURL_SEEKFUNC_FAIL;
  if (t->ops->on_rewind == NULL)
    t->read_offset = (uint64_t) offset;
  else
    t->ops->on_rewind(t, (uint64_t) offset);
  return CURL_SEEKFUNC_OK;
}

/* ---- Progress ------------------------------------------------------------ */

static int check_own_proxy(const nt__transfer_t* t,
                           const struct sockaddr* address) {
  char* host;
  bool secure;
  int port;
  int err = nt__url_read_proxy(t->proxy, &host, &port, &secure);

  if (err)
    return err;
  err = nt__gate_address(t->task->policy, host, address);
  nt__free(host);
  return err;
}

/* Where the connection really leads. The policy's proxy is the host's choice;
 * what lies behind a proxy nobody here can see. */
static int check_address(const nt__transfer_t* t,
                         const struct sockaddr* address) {
  const nt__policy_t* policy = t->task->policy;

  if (!nt__gate_has_private(policy) || (t->flags & NT_REQUEST_OF_HOST))
    return 0;
  if (nt__transfer_proxy(t) == NULL)
    return nt__gate_address(policy, t->url.host, address);
  return t->proxy == NULL ? 0 : check_own_proxy(t, address);
}

static bool on_socket(nt__easy_t* easy, const struct sockaddr* address) {
  nt__transfer_t* t = nt__container_of(easy, nt__transfer_t, easy);

  nt__lookup_end(nt__transfer_context(t)->io.lookups, &t->lookup, 0);
  if (t->stage == NT__STAGE_DNS)
    nt__stage_enter(t, NT__STAGE_CONNECT);
  if (check_address(t, address) == 0)
    return true;
  t->address_refused = true;
  return false;
}

/* The connection may have been made for a task with another policy. */
static int check_peer(const nt__transfer_t* t, const char* ip) {
  int family = strchr(ip, ':') == NULL ? AF_INET : AF_INET6;
  nt__sockaddr_t address;

  if (!nt__gate_has_private(t->task->policy))
    return 0;
  if (nt__address_parse(ip, family, &address) != NT__HOST_LITERAL)
    memset(&address, 0, sizeof(address)); /* of no family */
  return check_address(t, &address.sa);
}

static CURLcode on_tls(CURL* curl, void* context, void* arg) {
  (void) curl;
  (void) context;
  nt__stage_enter(arg, NT__STAGE_TLS);
  return CURLE_OK;
}

static int on_connected(void* arg, char* peer_ip, char* local_ip, int peer_port,
                        int local_port) {
  nt__transfer_t* t = arg;

  (void) local_ip;
  (void) peer_port;
  (void) local_port;
  nt__lookup_end(nt__transfer_context(t)->io.lookups, &t->lookup, 0);
  if (check_peer(t, peer_ip) != 0) {
    t->failure = NT_E_PRIVATE;
    return CURL_PREREQFUNC_ABORT;
  }
  t->easy.connected = true;
  nt__ask_succeed(t);
  nt__stage_enter(t, NT__STAGE_FIRST_BYTE);
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
  nt__stage_touch(t);
  if (t->uploaded == t->body_size)
    t->profile.request_end = nt__unix_ms();
  if (t->ops->on_sent != NULL)
    t->ops->on_sent(t);
  return 0;
}

/* ---- The request --------------------------------------------------------- */

/* RFC 9110 9.3: these have a Content-Length even when there is nothing. */
static bool expects_body(const nt__transfer_t* t) {
  return nt__transfer_is_method(t, "POST") ||
         nt__transfer_is_method(t, "PUT") || nt__transfer_is_method(t, "PATCH");
}

/* libcurl allocates it for nearly every request anew, and never less than
 * 16 KB. */
static long upload_buffer(const nt__transfer_t* t) {
  return t->body_size < UPLOAD_BUFFER_MAX ? (long) t->body_size
                                          : UPLOAD_BUFFER_MAX;
}

static void set_body(nt__transfer_t* t, CURL* curl) {
  curl_easy_setopt(curl, CURLOPT_POST, 1L);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                   (curl_off_t) t->body_size);
  /* Of what libcurl has in memory it sends as much as it can. */
  t->piecewise = t->body_size > 0 && (t->ops->on_read != NULL ||
                                      nt__transfer_context(t)->meter.max != 0);
  if (!t->piecewise) {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, t->body_size > 0 ? t->body : "");
    return;
  }
  t->expecting = t->ops->on_read != NULL;
  on_seek(t, 0, SEEK_SET);
  curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
  curl_easy_setopt(curl, CURLOPT_READDATA, t);
  curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
  curl_easy_setopt(curl, CURLOPT_SEEKDATA, t);
  curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, upload_buffer(t));
}

static void set_method(nt__transfer_t* t, CURL* curl) {
  if (t->body_size > 0 || expects_body(t)) {
    set_body(t, curl);
    if (!nt__transfer_is_method(t, "POST"))
      curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, t->method);
  } else if (nt__transfer_is_method(t, "HEAD")) {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else if (!nt__transfer_is_method(t, "GET")) {
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, t->method);
  }
  if (nt__transfer_is_method(t, "CONNECT")) {
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

/* ---- Options ------------------------------------------------------------- */

/* What a window of HTTP/2 allows comes in whether it is wanted or not. */
static bool may_multiplex(const nt__transfer_t* t) {
  return t->url.secure && (t->http & NT_HTTP_2) && t->interface_name == NULL &&
         !(t->flags & NT_REQUEST_STREAM) &&
         nt__transfer_context(t)->meter.max == 0;
}

static void set_version(nt__transfer_t* t, CURL* curl) {
  long version = CURL_HTTP_VERSION_1_1;
  nt_features_t features;

  if (may_multiplex(t)) {
    version = CURL_HTTP_VERSION_2TLS;
    /* Rather share a connection that is being made than make another. */
    curl_easy_setopt(curl, CURLOPT_PIPEWAIT, 1L);
  }
  if (!(t->flags & NT_REQUEST_STREAM) && (t->http & NT_HTTP_3) &&
      t->interface_name == NULL && nt__transfer_context(t)->meter.max == 0) {
    nt_features(&features);
    if (features.http3 && t->url.secure)
      version = CURL_HTTP_VERSION_3;
  }
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, version);
}

/* They tell how far the connection has come. */
static void set_milestones(nt__transfer_t* t, CURL* curl) {
  curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_connected);
  curl_easy_setopt(curl, CURLOPT_PREREQDATA, t);
  /* It ends one stage and begins the other. */
  if (t->timeouts.connect != 0 || t->timeouts.tls != 0 ||
      nt__ask_line(t) != NULL) {
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, t);
  }
}

static void set_answer(nt__transfer_t* t, CURL* curl) {
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
}

static int set_proxy(nt__transfer_t* t, CURL* curl) {
  const char* proxy = nt__transfer_proxy(t);
  bool env = nt__transfer_asks_env(t);

  if (proxy == NULL && !env)
    return 0;
  /* Without these the transfer would go straight to the host. */
  if (curl_easy_setopt(curl, CURLOPT_PROXY, proxy) != CURLE_OK ||
      curl_easy_setopt(curl, CURLOPT_NOPROXY, env ? NULL : "") != CURLE_OK)
    return NT_E_NOMEM;
  /* Its answer to CONNECT is nobody's header. */
  curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  return nt__driver_trust_proxy(&t->easy, t->task->policy);
}

static void set_buffer(nt__transfer_t* t, CURL* curl) {
  if (nt__transfer_context(t)->meter.max != 0)
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long) METERED_SIZE);
  else if (t->raw)
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long) DOWNLOAD_BUFFER_SIZE);
  else if (t->flags & NT_REQUEST_STREAM)
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long) STREAM_BUFFER_SIZE);
}

static bool has_interface(const char* name) {
  uv_interface_address_t* list;
  bool found = false;
  int count;
  int i;

  if (uv_interface_addresses(&list, &count) != 0)
    return false;
  for (i = 0; i < count && !found; i++)
    found = strcmp(list[i].name, name) == 0;
  uv_free_interface_addresses(list, count);
  return found;
}

/* What is no interface libcurl would look up as a name, on this thread; and of
 * one that is not there it says no more than that it could not connect. */
static int set_interface(const char* name, CURL* curl) {
  int family = strchr(name, ':') == NULL ? AF_INET : AF_INET6;
  nt__sockaddr_t address;
  char text[INTERFACE_SIZE];
  bool literal = nt__address_parse(name, family, &address) == NT__HOST_LITERAL;

  if (!literal && !has_interface(name))
    return NT_E_INTERFACE;
  snprintf(text, sizeof(text), "%s!%s", literal ? "host" : "if", name);
  curl_easy_setopt(curl, CURLOPT_INTERFACE, text);
  return 0;
}

/* Whoever did not ask for it may not go out by it, so it serves nobody else. */
static int bind_exchange(const nt__transfer_t* t, CURL* curl) {
  if (t->interface_name == NULL)
    return 0;
  curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
  return set_interface(t->interface_name, curl);
}

static int set_exchange(nt__transfer_t* t, CURL* curl) {
  const char* agent = nt__transfer_policy(t)->user_agent;
  int err;

  curl_easy_setopt(curl, CURLOPT_USERAGENT,
                   agent == NULL ? "nettask/" NT_VERSION : agent);
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, t->raw ? "identity" : "");
  curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, t->raw ? 0L : 1L);
  curl_easy_setopt(curl, CURLOPT_REFERER,
                   nt__policy_referer(nt__transfer_policy(t), t->referer));
  set_buffer(t, curl);
  set_version(t, curl);
  set_method(t, curl);
  set_answer(t, curl);
  err = bind_exchange(t, curl);
  return err ? err : nt__fields_give(t, curl);
}

static long ip_version(nt_family_t family) {
  switch (family) {
    case NT_FAMILY_IPV4:
      return CURL_IPRESOLVE_V4;
    case NT_FAMILY_IPV6:
      return CURL_IPRESOLVE_V6;
    default:
      return CURL_IPRESOLVE_WHATEVER;
  }
}

static int set_connection(const nt__transfer_t* t, CURL* curl) {
  curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, t->nagle ? 0L : 1L);
  curl_easy_setopt(curl, CURLOPT_HTTPPROXYTUNNEL, 1L);
  curl_easy_setopt(curl, CURLOPT_IPRESOLVE, ip_version(t->family));
  if (t->own_protocol)
    curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
  return t->interface_name == NULL ? 0 : set_interface(t->interface_name, curl);
}

/* Of the host of this hop, whatever the first one's are. libcurl 7.88 cannot
 * look at the key of a proxy. */
static int set_pins(const nt__transfer_t* t, CURL* curl) {
  if (!t->url.secure)
    return 0;
  return nt__trust_pin(nt__transfer_policy(t), t->url.host, curl);
}

static int set_options(nt__transfer_t* t, CURL* curl) {
  int err = set_pins(t, curl);

  curl_easy_setopt(curl, CURLOPT_CURLU, t->url.handle);
  /* It connects by the handle. Without a text it would also write that of the
   * handle, which nobody reads, character by character. */
  curl_easy_setopt(curl, CURLOPT_URL, t->url.text);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->task->message);
  if (err == 0)
    err = set_proxy(t, curl);
  /* CURLOPT_RESOLVE would answer everybody's next request too. */
  curl_easy_setopt(curl, CURLOPT_CONNECT_TO, nt__ask_line(t));
  set_milestones(t, curl);
  if (err)
    return err;
  return t->connects ? set_connection(t, curl) : set_exchange(t, curl);
}

static nt__multi_kind_t multi_of(const nt__transfer_t* t) {
  if (t->connects)
    return NT__MULTI_STREAMS;
  return may_multiplex(t) ? NT__MULTI_HTTP2 : NT__MULTI_TRANSFERS;
}

int nt__hop_enter(nt__transfer_t* t) {
  int err;

  t->status = 0;
  t->header_bytes = 0;
  t->discarded = 0;
  t->uploaded = 0;
  t->held_since = 0;
  t->alloc_failures = nt__alloc_failures();
  t->headers_done = t->following = t->complete = t->again = false;
  t->waiting = t->expecting = t->piecewise = false;
  t->address_refused = t->opaque = false;
  nt__headers_reset(&t->headers);
  t->task->message[0] = '\0';
  err = nt__origin_enter(t);
  return err ? err : nt__fields_check(t);
}

int nt__hop_start(nt__transfer_t* t) {
  nt__driver_t* driver = nt__transfer_context(t)->io.driver;
  int err;

  t->easy.kind = multi_of(t);
  t->easy.connects = t->connects;
  t->easy.on_socket = on_socket;
  err = nt__driver_acquire(driver, &t->easy, t->task->policy);
  if (err == 0)
    err = set_options(t, t->easy.curl);
  if (err)
    return err;
  t->profile.fetch_start = nt__unix_ms();
  t->profile.request_end = 0;
  t->profile.cache = "";
  return nt__driver_add(&t->easy);
}

void nt__hop_end(nt__transfer_t* t, int error) {
  nt__lookup_end(nt__transfer_context(t)->io.lookups, &t->lookup, error);
  if (t->easy.curl == NULL)
    return;
  if (!t->connects) /* what a stream carries it counts itself */
    nt__profile_count(t);
  if (error == 0 && !t->connects && (t->flags & NT_REQUEST_PROFILE))
    nt__profile_read(t);
  nt__driver_release(&t->easy);
  nt__fields_wipe(t);
  t->held_since = 0;
  t->waiting = false;
}
