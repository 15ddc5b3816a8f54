#include "http_connection.h"

#include "http_internal.h"

int mp_http_connect(mp_loop *loop, const mp_http_options *options, mp_http **http, mp_error *err) {
  return mp_http_begin(loop, options, true, http, err);
}

int mp_http_socket(const mp_http *http) {
  curl_socket_t fd = CURL_SOCKET_BAD;
  if (!http->easy)
    return -1;
  http->hub->api->easy_getinfo(http->easy->curl, CURLINFO_ACTIVESOCKET, &fd);
  return fd;
}

/* The connection stays as it is: what failed is only one direction of it. */
static mp_http_moved fail(mp_http *http, CURLcode rc, mp_error *err) {
  if (http->easy)
    mp_http_fail_curl(http, rc);
  mp_error_copy(err, &http->error);
  return MP_HTTP_FAILED;
}

mp_http_moved mp_http_receive(mp_http *http, void *into, size_t room, size_t *got, mp_error *err) {
  if (!http->easy)
    return fail(http, CURLE_RECV_ERROR, err);
  http->easy->error[0] = '\0';
  CURLcode rc = http->hub->api->easy_recv(http->easy->curl, into, room, got);
  if (rc == CURLE_AGAIN)
    return MP_HTTP_AGAIN;
  if (rc != CURLE_OK)
    return fail(http, rc, err);
  return *got > 0 ? MP_HTTP_MOVED : MP_HTTP_END;
}

mp_http_moved mp_http_transmit(mp_http *http, const void *bytes, size_t len, size_t *sent,
                               mp_error *err) {
  if (!http->easy)
    return fail(http, CURLE_SEND_ERROR, err);
  http->easy->error[0] = '\0';
  CURLcode rc = http->hub->api->easy_send(http->easy->curl, bytes, len, sent);
  if (rc == CURLE_AGAIN)
    return MP_HTTP_AGAIN;
  return rc == CURLE_OK ? MP_HTTP_MOVED : fail(http, rc, err);
}
