/* libcurl's codes as errors that an operator can act on. */
#include "http_internal.h"

#include "mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int mp_http_fail(mp_http *http, const char *code, const char *format, ...) {
  if (http->error.domain)
    return -1; /* the first failure is the cause of the later ones */
  va_list args;
  va_start(args, format);
  mp_auto_free char *what = mp_vsprintf(format, args);
  va_end(args);
  mp_auto_free char *url = mp_http_redact(http->url);
  return mp_error_set(&http->error, "http", code, "%s `%s`: %s", http->method, url, what);
}

typedef struct {
  CURLcode rc;
  const char *code;
  const char *what;
} meaning;

/* Where `what` is NULL, libcurl's own words say it best. */
static const meaning meanings[] = {
    {CURLE_URL_MALFORMAT, MP_INVALID, "the url is malformed"},
    {CURLE_UNSUPPORTED_PROTOCOL, MP_PROTOCOL, NULL},
    {CURLE_COULDNT_RESOLVE_HOST, "resolve", NULL},
    {CURLE_COULDNT_RESOLVE_PROXY, "resolve", NULL},
    {CURLE_COULDNT_CONNECT, "connect", "could not connect"},
    {CURLE_PROXY, "proxy", NULL},
    {CURLE_WEIRD_SERVER_REPLY, MP_PROTOCOL, NULL},
    {CURLE_BAD_CONTENT_ENCODING, MP_PROTOCOL, NULL},
    {CURLE_HTTP2, MP_PROTOCOL, NULL},
    {CURLE_HTTP2_STREAM, MP_PROTOCOL, NULL},
    {CURLE_PARTIAL_FILE, "closed", "the connection ended before the body did"},
    {CURLE_GOT_NOTHING, "closed", "the peer closed the connection without an answer"},
    {CURLE_RECV_ERROR, "closed", NULL},
    {CURLE_SEND_ERROR, "closed", NULL},
    {CURLE_SEND_FAIL_REWIND, "rewind", "the body has to be sent again, and a stream cannot be"},
    {CURLE_ABORTED_BY_CALLBACK, "closed",
     "the connection ended without an answer, so nobody knows whether it was carried out"},
    {CURLE_TOO_MANY_REDIRECTS, "redirects", NULL},
    {CURLE_PEER_FAILED_VERIFICATION, "tls", NULL},
    {CURLE_SSL_CONNECT_ERROR, "tls", NULL},
    {CURLE_SSL_CERTPROBLEM, "tls", NULL},
    {CURLE_SSL_CIPHER, "tls", NULL},
    {CURLE_SSL_CACERT_BADFILE, "tls", NULL},
    {CURLE_SSL_ISSUER_ERROR, "tls", NULL},
    {CURLE_SSL_INVALIDCERTSTATUS, "tls", NULL},
    {CURLE_SSL_SHUTDOWN_FAILED, "tls", NULL},
    {CURLE_SSL_CLIENTCERT, "tls", NULL},
    {CURLE_OPERATION_TIMEDOUT, MP_TIMEOUT, "no answer in time"},
};

static const meaning *meaning_of(CURLcode rc) {
  for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
    if (meanings[i].rc == rc)
      return &meanings[i];
  }
  return NULL;
}

static int64_t number(mp_http *http, CURLINFO what) {
  curl_off_t value = 0;
  http->hub->api->easy_getinfo(http->easy->curl, what, &value);
  return value;
}

static long small_number(mp_http *http, CURLINFO what) {
  long value = 0;
  http->hub->api->easy_getinfo(http->easy->curl, what, &value);
  return value;
}

/* What libcurl wrote down, or the meaning of its code. */
static const char *words(mp_http *http, CURLcode rc) {
  return http->easy->error[0] ? http->easy->error : http->hub->api->easy_strerror(rc);
}

static void fail_connect(mp_http *http) {
  int reason = (int)small_number(http, CURLINFO_OS_ERRNO);
  if (reason == 0) {
    mp_http_fail(http, "connect", "could not connect: %s", words(http, CURLE_COULDNT_CONNECT));
    return;
  }
  if (http->unix_socket)
    mp_http_fail(http, "connect", "could not connect to `%s`: %s", http->unix_socket,
                 strerror(reason));
  else
    mp_http_fail(http, "connect", "could not connect: %s", strerror(reason));
  http->error.cause = mp_alloc(sizeof(mp_error));
  mp_error_errno(http->error.cause, "http", reason, "connect(2)");
  if (reason == ECONNREFUSED || reason == ENOENT)
    mp_error_hint(&http->error, "nothing is listening there; is the service running?");
  else if (reason == EACCES || reason == EPERM)
    mp_error_hint(&http->error, "may this user use it? see its owner and mode with `ls -l`");
}

/* Says what it was waiting for when the time ran out. */
static void fail_timeout(mp_http *http) {
  bool connecting = number(http, CURLINFO_PRETRANSFER_TIME_T) == 0 && !http->head_ready;
  uint64_t limit = connecting ? http->connect_timeout_ms : http->timeout_ms;
  if (connecting && http->timeout_ms > 0 && (limit == 0 || http->timeout_ms < limit))
    limit = http->timeout_ms;
  const char *what = "the answer did not end";
  if (connecting)
    what = number(http, CURLINFO_NAMELOOKUP_TIME_T) == 0 ? "the name was not resolved"
                                                         : "there was no connection";
  else if (!http->head_ready)
    what = "there was no answer";
  mp_http_fail(http, MP_TIMEOUT, "%s within %.3g s", what, (double)limit / 1000);
}

static void fail_tls(mp_http *http, CURLcode rc) {
  const char *reason = words(http, rc);
  mp_http_fail(http, "tls", "%s", reason);
  if (rc == CURLE_PEER_FAILED_VERIFICATION && strstr(reason, "subject name"))
    mp_error_hint(&http->error, "the certificate is for another name; `server_name` says which "
                                "name to expect");
  else if (rc == CURLE_PEER_FAILED_VERIFICATION)
    mp_error_hint(&http->error, "the certificate was checked against %s; `ca` names another CA",
                  http->ca ? http->ca : "the system's CAs");
  else if (strstr(reason, "wrong version number"))
    mp_error_hint(&http->error, "does the server speak TLS on this port? try http://");
}

/* The scheme was checked at the start, so it is a redirect's. */
static void fail_redirect(mp_http *http) {
  mp_http_field to = {0};
  mp_http_find_field(mp_http_fields(http), "Location", &to);
  mp_auto_free char *url = mp_memdup(to.value, to.value_len);
  mp_auto_free char *shown = mp_http_redact(url);
  mp_http_fail(http, "redirects", "it redirects to `%s`, %s", shown,
               strncasecmp(url, "http:", 5) == 0 ? "without TLS" : "which is not HTTP");
  mp_error_hint(&http->error, "where that is meant, ask there directly");
}

void mp_http_fail_curl(mp_http *http, CURLcode rc) {
  const meaning *known = meaning_of(rc);
  long proxy_status = small_number(http, CURLINFO_HTTP_CONNECTCODE);
  if (proxy_status >= 300)
    mp_http_fail(http, "proxy", "the proxy answered %ld", proxy_status);
  else if (rc == CURLE_COULDNT_CONNECT)
    fail_connect(http);
  else if (rc == CURLE_UNSUPPORTED_PROTOCOL && http->has_location)
    fail_redirect(http);
  else if (rc == CURLE_OPERATION_TIMEDOUT)
    fail_timeout(http);
  else if (known && strcmp(known->code, "tls") == 0)
    fail_tls(http, rc);
  else if (known)
    mp_http_fail(http, known->code, "%s", known->what ? known->what : words(http, rc));
  else
    mp_http_fail(http, "failed", "%s", words(http, rc));
}
