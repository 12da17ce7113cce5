/* What this build, and the libcurl that it runs on, can do. Any thread. */
#include <curl/curl.h>
#include <string.h>
#include <uv.h>

#include "nettask.h"

void nt_features(nt_features_t* features) {
  const curl_version_info_data* curl = curl_version_info(CURLVERSION_NOW);

  memset(features, 0, sizeof(*features));
  features->nettask = NT_VERSION;
  features->libuv = uv_version_string();
  features->libcurl = curl->version;
  features->tls = curl->ssl_version == NULL ? "" : curl->ssl_version;
  features->http2 = (curl->features & CURL_VERSION_HTTP2) != 0;
  features->http3 = (curl->features & CURL_VERSION_HTTP3) != 0;
  features->brotli = (curl->features & CURL_VERSION_BROTLI) != 0;
  features->zstd = (curl->features & CURL_VERSION_ZSTD) != 0;
  features->idn = (curl->features & CURL_VERSION_IDN) != 0;
}
