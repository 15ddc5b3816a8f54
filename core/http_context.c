/* What libcurl has no option for, told to OpenSSL as it makes the context of a connection. */
#include "http_internal.h"

/* SSL_CTRL_MODE and SSL_MODE_NO_AUTO_CHAIN of openssl/ssl.h. */
#define CTRL_MODE 33
#define NO_AUTO_CHAIN 8L

/* A client's certificate goes as its PEM has it. OpenSSL would add issuers that it finds among the
 * CAs, those that the server has anyway; and a Kubernetes API server verifies all that was sent
 * with each request anew, which is more work than most requests are. */
CURLcode mp_http_on_context(CURL *curl, void *context, void *data) {
  (void)curl;
  const mp_curl_api *api = data;
  api->ssl_ctx_ctrl(context, CTRL_MODE, NO_AUTO_CHAIN, NULL);
  return CURLE_OK;
}
