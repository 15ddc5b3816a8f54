/* The upgrade request. libcurl only connects, so it is written here. */
#include "websocket_internal.h"

#include "encode.h"
#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ws:// is http:// for libcurl; anything else is left for it to judge. The caller frees it. */
static char *http_url_of(const char *url) {
  if (url && strncasecmp(url, "ws://", 5) == 0)
    return mp_sprintf("http://%s", url + 5);
  if (url && strncasecmp(url, "wss://", 6) == 0)
    return mp_sprintf("https://%s", url + 6);
  return mp_strdup(url);
}

/* Fields that make the upgrade what it is. */
static bool is_ours(const char *name) {
  static const char *const ours[] = {"Connection", "Upgrade", "Content-Length",
                                     "Transfer-Encoding"};
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
    if (strcasecmp(name, ours[i]) == 0)
      return true;
  }
  return strncasecmp(name, "Sec-WebSocket-", 14) == 0;
}

static int check_headers(const mp_http_options *http, mp_error *err) {
  for (size_t i = 0; i < http->header_count; i++) {
    if (http->headers[i].name && is_ours(http->headers[i].name))
      return mp_error_set(err, MP_WEBSOCKET, MP_INVALID,
                          "the header `%s` belongs to the upgrade itself", http->headers[i].name);
  }
  return 0;
}

static int check_protocols(const mp_websocket_options *options, mp_error *err) {
  for (size_t i = 0; i < options->protocol_count; i++) {
    const char *name = options->protocols[i];
    bool fine = *name != '\0';
    for (const char *at = name; *at; at++)
      fine = fine && (unsigned char)*at > ' ' && *at < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", *at);
    if (!fine)
      return mp_error_set(err, MP_WEBSOCKET, MP_INVALID, "`%s` cannot be the name of a protocol",
                          name);
  }
  return 0;
}

static bool has_header(const mp_http_options *http, const char *name) {
  for (size_t i = 0; i < http->header_count; i++) {
    if (strcasecmp(http->headers[i].name, name) == 0)
      return true;
  }
  return false;
}

/* -- Parts of the URL ------------------------------------------------------------------------- */

/* Each to be released with curl->free. */
typedef struct {
  char *host, *port, *path, *query, *user, *password;
} url_parts;

static int take_apart(const mp_curl_api *curl, const char *url, url_parts *parts, mp_error *err) {
  CURLU *handle = curl->url();
  CURLUcode rc = curl->url_set(handle, CURLUPART_URL, url, 0);
  if (rc == CURLUE_OK)
    rc = curl->url_get(handle, CURLUPART_HOST, &parts->host, 0);
  if (rc == CURLUE_OK)
    rc = curl->url_get(handle, CURLUPART_PATH, &parts->path, 0);
  if (rc == CURLUE_OK) { /* these may be absent */
    curl->url_get(handle, CURLUPART_PORT, &parts->port, CURLU_NO_DEFAULT_PORT);
    curl->url_get(handle, CURLUPART_QUERY, &parts->query, 0);
    curl->url_get(handle, CURLUPART_USER, &parts->user, CURLU_URLDECODE);
    curl->url_get(handle, CURLUPART_PASSWORD, &parts->password, CURLU_URLDECODE);
  }
  curl->url_cleanup(handle);
  if (rc == CURLUE_OK)
    return 0;
  mp_auto_free char *shown = mp_http_redact(url);
  return mp_error_set(err, MP_WEBSOCKET, MP_INVALID, "the url `%s` is malformed", shown);
}

static void release(const mp_curl_api *curl, url_parts *parts) {
  char **all[] = {&parts->host,  &parts->port, &parts->path,
                  &parts->query, &parts->user, &parts->password};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    curl->free(*all[i]);
}

/* -- Writing it ------------------------------------------------------------------------------- */

static void add_credentials(mp_buf *to, const url_parts *parts) {
  mp_auto_free char *pair =
      mp_sprintf("%s:%s", parts->user ? parts->user : "", parts->password ? parts->password : "");
  mp_buf_puts(to, "Authorization: Basic ");
  mp_base64_encode(to, pair, strlen(pair), false);
  mp_buf_puts(to, "\r\n");
  explicit_bzero(pair, strlen(pair));
}

static void add_protocols(mp_buf *to, const mp_websocket_options *options) {
  for (size_t i = 0; i < options->protocol_count; i++)
    mp_buf_printf(to, "%s%s", i == 0 ? "Sec-WebSocket-Protocol: " : ", ", options->protocols[i]);
  if (options->protocol_count > 0)
    mp_buf_puts(to, "\r\n");
}

static void write_request(mp_websocket *self, const mp_websocket_options *options,
                          const url_parts *parts) {
  const mp_http_options *http = options->http;
  mp_buf *to = &self->request;
  mp_buf_printf(to, "GET %s%s%s HTTP/1.1\r\n", parts->path, parts->query ? "?" : "",
                parts->query ? parts->query : "");
  if (!has_header(http, "Host"))
    mp_buf_printf(to, "Host: %s%s%s\r\n", parts->host, parts->port ? ":" : "",
                  parts->port ? parts->port : "");
  mp_buf_printf(to,
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: %s\r\n",
                self->key);
  add_protocols(to, options);
  if (!has_header(http, "User-Agent"))
    mp_buf_puts(to, "User-Agent: moonport\r\n");
  if ((parts->user || parts->password) && !has_header(http, "Authorization"))
    add_credentials(to, parts);
  for (size_t i = 0; i < http->header_count; i++) {
    mp_buf_puts(to, http->headers[i].name);
    mp_buf_puts(to, ": ");
    mp_buf_puts(to, http->headers[i].value);
    mp_buf_puts(to, "\r\n");
  }
  mp_buf_puts(to, "\r\n");
}

static void make_key(mp_websocket *self) {
  mp_auto_buf mp_buf text = MP_BUF_INIT;
  uint8_t bytes[16];
  mp_random(bytes, sizeof bytes);
  mp_base64_encode(&text, bytes, sizeof bytes, false);
  snprintf(self->key, sizeof self->key, "%s", text.data);
}

int mp_websocket_make_request_(mp_websocket *self, const mp_websocket_options *options,
                               char **http_url, mp_error *err) {
  if (check_headers(options->http, err) < 0 || check_protocols(options, err) < 0)
    return -1;
  const mp_curl_api *curl = mp_curl_load(err);
  if (!curl)
    return -1;
  url_parts parts = {0};
  *http_url = http_url_of(options->http->url);
  self->url = mp_http_redact(*http_url ? options->http->url : "");
  int rc = *http_url ? take_apart(curl, *http_url, &parts, err)
                     : mp_error_set(err, MP_WEBSOCKET, MP_INVALID, "a websocket needs a `url`");
  if (rc == 0) {
    make_key(self);
    write_request(self, options, &parts);
  }
  release(curl, &parts);
  return rc;
}
