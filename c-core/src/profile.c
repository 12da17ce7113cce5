/* Profiles. libcurl counts microseconds from the start of a hop; a profile has
 * instants. I/O thread. */
#include "profile.h"

#include <string.h>

enum {
  SMALL_BODY_MAX = 64 * 1024 /* libcurl's MAX_INITIAL_POST_SIZE */
};

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

void nt__profile_read(nt__transfer_t* t) {
  CURL* curl = t->easy.curl;
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
  /* Two clocks, and libcurl tells of the upload a little late. */
  if (p->request_end > p->response_start)
    p->request_end = p->response_start;
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

/* Over HTTP/1.1 a small body goes out with the header, and libcurl counts it
 * twice. */
static bool is_counted_with_header(nt__transfer_t* t, uint64_t request_size) {
  return !t->piecewise && t->body_size < SMALL_BODY_MAX &&
         request_size >= t->body_size &&
         strcmp(protocol_name(t->easy.curl), "http/1.1") == 0;
}

/* What goes into the quota while the hop goes on, and the rest at its end. */
static void meter(nt__transfer_t* t, uint64_t* metered, uint64_t total) {
  if (total <= *metered)
    return;
  nt__meter_count(&nt__transfer_context(t)->meter, total - *metered);
  *metered = total;
}

void nt__profile_count(nt__transfer_t* t) {
  CURL* curl = t->easy.curl;
  nt_context_t* ctx = nt__transfer_context(t);
  long request_size = 0;
  long header_size = 0;
  uint64_t sent;
  uint64_t received;

  curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &request_size);
  curl_easy_getinfo(curl, CURLINFO_HEADER_SIZE, &header_size);
  sent = (uint64_t) request_size;
  if (!is_counted_with_header(t, sent))
    sent += (uint64_t) info(curl, CURLINFO_SIZE_UPLOAD_T);
  received =
      (uint64_t) header_size + (uint64_t) info(curl, CURLINFO_SIZE_DOWNLOAD_T);
  t->profile.bytes_sent += sent;
  t->profile.bytes_received += received;
  atomic_fetch_add_explicit(&ctx->bytes_out, sent, memory_order_relaxed);
  atomic_fetch_add_explicit(&ctx->bytes_in, received, memory_order_relaxed);
  meter(t, &t->metered_out, sent);
  meter(t, &t->metered_in, received);
  t->metered_in = t->metered_out = 0; /* another hop may follow */
}

void nt__profile_meter(nt__transfer_t* t) {
  long header_size = 0;

  curl_easy_getinfo(t->easy.curl, CURLINFO_HEADER_SIZE, &header_size);
  meter(t, &t->metered_in,
        (uint64_t) header_size +
            (uint64_t) info(t->easy.curl, CURLINFO_SIZE_DOWNLOAD_T));
}
