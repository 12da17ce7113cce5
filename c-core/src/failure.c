/* From libcurl's results to ours. libcurl says "could not connect" or "could
 * not verify"; why, is in the errno and in OpenSSL's verify result. */
#include "failure.h"

#include <errno.h>
#include <string.h>

#include "nettask.h"

/* X509_V_ERR_* of OpenSSL, which is not linked itself. */
enum {
  CERT_OK = 0,
  CERT_NOT_LOOKED_AT = 1, /* libcurl's start value: it checks the name first */
  CERT_NOT_YET_VALID = 9,
  CERT_HAS_EXPIRED = 10
};

static int from_connect_errno(long os_errno) {
  switch (os_errno) {
    case ECONNREFUSED:
      return NT_E_REFUSED;
    case ECONNRESET:
      return NT_E_RESET;
    case ETIMEDOUT:
      return NT_E_CONNECT_TIMEOUT;
    case EHOSTUNREACH:
      return NT_E_UNREACHABLE;
    case ENETUNREACH:
    case ENETDOWN:
      return NT_E_OFFLINE;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case EINVAL:
      return NT_E_ADDRESS;
    default:
      return NT_E_CONNECT;
  }
}

static int from_certificate(CURL* curl) {
  long result = 0;
  long of_proxy = 0;

  curl_easy_getinfo(curl, CURLINFO_SSL_VERIFYRESULT, &result);
  curl_easy_getinfo(curl, CURLINFO_PROXY_SSL_VERIFYRESULT, &of_proxy);
  if (of_proxy != CERT_OK) /* the server was not met */
    result = of_proxy;
  switch (result) {
    case CERT_OK:
    case CERT_NOT_LOOKED_AT:
      return NT_E_CERT_NAME;
    case CERT_NOT_YET_VALID:
    case CERT_HAS_EXPIRED:
      return NT_E_CERT_DATE;
    default:
      return NT_E_CERT_AUTHORITY;
  }
}

static int from_cut_body(CURL* curl) {
  curl_off_t length = -1;

  curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  return length >= 0 ? NT_E_LENGTH_MISMATCH : NT_E_CHUNKED;
}

static int from_lost_connection(CURL* curl, long os_errno,
                                const char* message) {
  long proxy_status = 0;

  curl_easy_getinfo(curl, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
  if (proxy_status >= 300) /* the proxy has refused the tunnel */
    return NT_E_PROXY;
  /* libcurl has no code of its own for chunks that are none. */
  if (strstr(message, "chunked-encoding") != NULL)
    return NT_E_HTTP;
  if (os_errno == ECONNRESET || os_errno == EPIPE)
    return NT_E_RESET;
  return NT_E_DROPPED;
}

int nt__failure(CURL* curl, CURLcode code, const char* message) {
  long os_errno = 0;

  curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
  switch (code) {
    case CURLE_OUT_OF_MEMORY:
      return NT_E_NOMEM;
    case CURLE_URL_MALFORMAT:
      return NT_E_URL;
    case CURLE_COULDNT_RESOLVE_HOST:
      return NT_E_RESOLVE;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
      return NT_E_PROXY;
    case CURLE_COULDNT_CONNECT:
      return from_connect_errno(os_errno);
    case CURLE_INTERFACE_FAILED:
      return NT_E_INTERFACE;
    case CURLE_OPERATION_TIMEDOUT:
      return NT_E_TIMEOUT;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
      return from_lost_connection(curl, os_errno, message);
    case CURLE_GOT_NOTHING:
      return NT_E_EMPTY_RESPONSE;
    case CURLE_PARTIAL_FILE:
      return from_cut_body(curl);
    case CURLE_UNSUPPORTED_PROTOCOL: /* "HTTP/0.9 is not allowed" */
    case CURLE_WEIRD_SERVER_REPLY:
      return NT_E_HTTP;
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return NT_E_HTTP2;
    case CURLE_BAD_CONTENT_ENCODING:
      return NT_E_DECODING;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      return from_certificate(curl);
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
      return NT_E_PIN;
    case CURLE_SSL_CACERT_BADFILE:
      return NT_E_TRUST;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CERTPROBLEM:
      return NT_E_TLS;
    default:
      return NT_E_NETWORK;
  }
}
