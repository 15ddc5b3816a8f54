/* One exchange: what libcurl's callbacks do with it, who waits for what, and how it ends. */
#include "http_internal.h"

#include "mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_HEAD (256u << 10)      /* bytes of header fields */
#define RESERVE_AT_MOST (1u << 20) /* of a body on the word of its Content-Length */

/* ---- lifetime ------------------------------------------------------------------------------- */

static void wipe(void *block, size_t size) {
  if (block)
    explicit_bzero(block, size);
  free(block);
}

/* What the transfer alone needed. */
static void forget_request(mp_http *http) {
  mp_http_body_close(http);
  wipe(http->fields, http->fields_size);
  http->fields = NULL;
  for (int i = 0; i < 3; i++) {
    wipe(http->pem[i], http->pem_len[i]);
    http->pem[i] = NULL;
  }
  free(mp_steal(http->route.data));
  free(mp_steal(http->host_header));
}

void mp_http_unref(mp_http *http) {
  if (--http->refs > 0)
    return;
  forget_request(http);
  free(http->method_copy);
  free(http->url);
  free(http->final_url);
  free(http->unix_socket);
  free(http->ca);
  mp_error_reset(&http->error);
  mp_http_give_spare(http);
}

/* Takes the transfer off libcurl; its connection goes back to the pool, or closes when something is
 * still under way on it. */
static void detach(mp_http *http) {
  mp_http_hub *hub = http->hub;
  mp_http_easy *easy = mp_steal(http->easy);
  TAILQ_REMOVE(&hub->active, http, active_link);
  if (TAILQ_EMPTY(&hub->active))
    uv_timer_stop(&hub->sweep); /* or it would keep the loop running */
  hub->api->multi_remove_handle(hub->multi, easy->curl);
  mp_http_easy_give(hub, easy);
  forget_request(http);
}

void mp_http_free(mp_http *http) {
  if (!http)
    return;
  http->freed = true;
  if (http->easy) {
    mp_http_hang_up_if_dead(http);
    detach(http);
  }
  if (http->in.cb || http->out.cb)
    mp_http_queue(http);
  mp_http_unref(http);
}

/* ---- starting ------------------------------------------------------------------------------- */

/* The usual methods are not copied. A body goes with those that are meant to have one. */
static void take_method(mp_http *http, const char *method) {
  static const char *const usual[] = {"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"};
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
    if (strcmp(method, usual[i]) == 0) {
      http->method = usual[i];
      return;
    }
  }
  http->method = http->method_copy = mp_strdup(method);
}

static bool expects_body(const char *method) {
  return method[0] == 'P' && (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
                              strcmp(method, "PATCH") == 0);
}

static mp_http *make(mp_http_hub *hub, const mp_http_options *options) {
  mp_http *http = mp_http_take_spare(hub);
  http->in.http = http->out.http = http;
  http->url = mp_strdup(options->url);
  take_method(http, options->method ? options->method : "GET");
  http->stream = options->stream;
  http->multiplex = options->multiplex;
  http->head_only = strcmp(http->method, "HEAD") == 0;
  http->max_body = options->max_body;
  if (http->max_body == 0)
    http->max_body = http->stream ? UINT64_MAX : MP_HTTP_MAX_BODY;
  http->buffer = options->buffer ? options->buffer : MP_HTTP_BUFFER;
  http->idle_ms = options->idle_timeout_ms;
  if (http->idle_ms == MP_HTTP_DEFAULT)
    http->idle_ms = http->stream ? 0 : MP_HTTP_IDLE_TIMEOUT_MS;
  http->timeout_ms = options->timeout_ms;
  http->connect_timeout_ms = options->connect_timeout_ms;
  return http;
}

static int open_body(mp_http *http, const mp_http_options *options, mp_error *err) {
  if (options->body_kind != MP_HTTP_BODY_NONE || !expects_body(http->method))
    return mp_http_body_open(http, options, err);
  mp_http_options empty = *options;
  empty.body_kind = MP_HTTP_BODY_MEMORY;
  empty.body = (mp_http_bytes){"", 0};
  return mp_http_body_open(http, &empty, err);
}

int mp_http_begin(mp_loop *loop, const mp_http_options *options, bool connection, mp_http **out,
                  mp_error *err) {
  if (mp_http_check(options, err) < 0)
    return -1;
  mp_http_hub *hub = mp_http_hub_of(loop, err);
  if (!hub)
    return -1;
  mp_http *http = make(hub, options);
  http->connection = connection;
  if (open_body(http, options, err) < 0) {
    mp_http_unref(http);
    return -1;
  }
  http->easy = mp_http_easy_take(hub, http);
  if (mp_http_set_up(http, options, err) < 0) {
    mp_http_easy_give(hub, mp_steal(http->easy));
    mp_http_unref(http);
    return -1;
  }
  TAILQ_INSERT_TAIL(&hub->active, http, active_link);
  mp_http_watch_idle(http);
  CURLMcode rc = hub->api->multi_add_handle(hub->multi, http->easy->curl);
  if (rc != CURLM_OK) {
    detach(http);
    mp_http_unref(http);
    return mp_error_set(err, "http", "failed", "libcurl: %s", hub->api->multi_strerror(rc));
  }
  *out = http;
  return 0;
}

int mp_http_start(mp_loop *loop, const mp_http_options *options, mp_http **http, mp_error *err) {
  return mp_http_begin(loop, options, false, http, err);
}

/* ---- libcurl's callbacks: the head ---------------------------------------------------------- */

/* "HTTP/1.1 200 OK\r\n" or "HTTP/2 200 \r\n"; libcurl has made sure that it looks like one. The
 * line stays at the front of the head, ended by a NUL where its line end was. */
static void begin_head(mp_http *http, const char *line, size_t len) {
  mp_http_response *response = &http->response;
  http->length = -1;
  http->has_location = false;
  mp_buf_clear(&http->head);
  mp_buf_append(&http->head, line, len);
  char *text = http->head.data;
  text[strcspn(text, "\r\n")] = '\0';
  http->head.len = strlen(text) + 1;
  char *at = text + strlen("HTTP/");
  response->version = (int)strtol(at, &at, 10) * 10;
  if (*at == '.')
    response->version += (int)strtol(at + 1, &at, 10);
  response->status = (int)strtol(at, &at, 10);
  http->reason_at = (size_t)(at + (*at == ' ') - text); /* the text may move */
}

static int over_limit(mp_http *http) {
  mp_http_fail(http, MP_LIMIT, "the body is longer than the limit of %llu bytes",
               (unsigned long long)http->max_body);
  return mp_error_hint(&http->error, "raise `max_body`, or stream it");
}

/* A final response has been announced: everything but 1xx and what libcurl goes on from. */
static bool is_final(mp_http *http) {
  int status = http->response.status;
  if (status < 200)
    return status == 101;
  return !(http->follow && http->has_location && status >= 300 && status < 400);
}

static int end_head(mp_http *http) {
  if (!is_final(http))
    return 0;
  http->head_ready = true;
  if (http->stream && http->in.cb)
    mp_http_queue(http);
  if (http->head_only || http->length < 0)
    return 0;
  uint64_t length = (uint64_t)http->length;
  if (length > http->max_body)
    return over_limit(http);
  if (!http->stream)
    mp_buf_reserve(&http->body, length < RESERVE_AT_MOST ? length : RESERVE_AT_MOST);
  return 0;
}

static bool is_field(const char *line, size_t len, const char *name, size_t name_len) {
  return len > name_len && line[name_len] == ':' && strncasecmp(line, name, name_len) == 0;
}

static int add_field(mp_http *http, const char *line, size_t len) {
  if (http->head.len + len > MAX_HEAD) {
    mp_http_fail(http, MP_LIMIT, "the header is longer than %u bytes", MAX_HEAD);
    return -1;
  }
  mp_buf_append(&http->head, line, len);
  if (is_field(line, len, "Content-Length", 14))
    http->length = strtoll(http->head.data + http->head.len - len + 15, NULL, 10);
  else if (is_field(line, len, "Location", 8))
    http->has_location = true;
  return 0;
}

/* On a kept connection that ends without a word, libcurl would send a request once more, whatever
 * it does; the first one may have been carried out. */
int mp_http_before_sending(void *data, char *to, char *from, int to_port, int from_port) {
  (void)to, (void)from, (void)to_port, (void)from_port;
  mp_http_easy *easy = data;
  mp_http *http = easy->owner;
  long redirects = 0;
  http->hub->api->easy_getinfo(easy->curl, CURLINFO_REDIRECT_COUNT, &redirects);
  bool again = http->begun++ > redirects;
  if (redirects > 0)
    mp_http_drop_secrets(http);
  return again && !http->reads ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

size_t mp_http_on_head(char *bytes, size_t one, size_t len, void *data) {
  mp_http *http = ((mp_http_easy *)data)->owner;
  int rc = 0;
  len *= one;
  http->active_at = uv_now(&http->hub->loop->uv);
  if (http->head_ready)
    return len; /* trailers */
  if (len >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
    begin_head(http, bytes, len);
  else if (len <= 2 && (bytes[0] == '\r' || bytes[0] == '\n'))
    rc = end_head(http);
  else
    rc = add_field(http, bytes, len);
  return rc == 0 ? len : 0;
}

/* ---- libcurl's callbacks: the body ---------------------------------------------------------- */

static size_t unread(const mp_http *http) {
  return http->body.len - http->read;
}

size_t mp_http_on_body(char *bytes, size_t one, size_t len, void *data) {
  mp_http *http = ((mp_http_easy *)data)->owner;
  len *= one;
  http->active_at = uv_now(&http->hub->loop->uv);
  if (http->stream && unread(http) >= http->buffer) {
    http->recv_paused = true; /* libcurl keeps these bytes and brings them again */
    return CURL_WRITEFUNC_PAUSE;
  }
  if (len > http->max_body - http->received) {
    over_limit(http);
    return 0;
  }
  if (http->read > 0 && http->read >= unread(http)) {
    mp_buf_consume(&http->body, http->read);
    http->read = 0;
  }
  mp_buf_append(&http->body, bytes, len);
  http->received += len;
  if (http->in.cb && http->stream)
    mp_http_queue(http);
  return len;
}

void mp_http_unpause(mp_http *http) {
  int held = (http->recv_paused ? CURLPAUSE_RECV : 0) | (http->send_paused ? CURLPAUSE_SEND : 0);
  http->active_at = uv_now(&http->hub->loop->uv);
  CURLcode rc = http->hub->api->easy_pause(http->easy->curl, held);
  if (rc != CURLE_OK) /* bytes that libcurl had kept were refused */
    mp_http_done(http, rc);
}

/* ---- the end -------------------------------------------------------------------------------- */

static int64_t info_time(mp_http *http, CURLINFO what) {
  curl_off_t value = 0;
  http->hub->api->easy_getinfo(http->easy->curl, what, &value);
  return value;
}

static void note_timings(mp_http *http) {
  mp_http_timings *timings = &http->response.timings;
  timings->resolved = info_time(http, CURLINFO_NAMELOOKUP_TIME_T);
  timings->connected = info_time(http, CURLINFO_CONNECT_TIME_T);
  timings->secured = info_time(http, CURLINFO_APPCONNECT_TIME_T);
  timings->first_byte = info_time(http, CURLINFO_STARTTRANSFER_TIME_T);
  timings->total = info_time(http, CURLINFO_TOTAL_TIME_T);
}

static void note_route(mp_http *http) {
  const mp_curl_api *api = http->hub->api;
  long redirects = 0, connects = 0;
  char *url = NULL;
  api->easy_getinfo(http->easy->curl, CURLINFO_REDIRECT_COUNT, &redirects);
  api->easy_getinfo(http->easy->curl, CURLINFO_NUM_CONNECTS, &connects);
  http->response.redirects = (int)redirects;
  http->response.reused = connects == 0;
  if (redirects > 0) {
    api->easy_getinfo(http->easy->curl, CURLINFO_EFFECTIVE_URL, &url);
    http->final_url = mp_strdup(url);
  }
}

static bool failed(const mp_http *http) {
  return http->error.domain != NULL;
}

/* libcurl keeps the connection as long as the handle stays with it. */
static void connected(mp_http *http) {
  http->idle_ms = 0;
  http->done = true;
  if (http->in.cb)
    mp_http_queue(http);
}

void mp_http_done(mp_http *http, CURLcode rc) {
  if (http->connection && rc == CURLE_OK && !failed(http)) {
    connected(http);
    return;
  }
  note_timings(http);
  note_route(http);
  if (rc != CURLE_OK)
    mp_http_fail_curl(http, rc);
  else if (!http->head_ready) /* which libcurl lets pass */
    mp_http_fail(http, "closed", "the connection ended before the header did");
  if (mp_error_is(&http->error, MP_TIMEOUT))
    mp_http_hang_up_if_dead(http);
  http->done = true;
  detach(http);
  if (http->in.cb || http->out.cb)
    mp_http_queue(http);
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* Bytes that came before a failure are still handed out. */
static bool is_satisfied(const mp_http *http, const mp_http_waiter *waiter) {
  if (http->done || http->freed || waiter->cancelled)
    return true;
  switch (waiter->kind) {
  case MP_HTTP_WAIT_RESPONSE:
    return http->stream && http->head_ready;
  case MP_HTTP_WAIT_BODY:
    return unread(http) > 0;
  case MP_HTTP_WAIT_SENT:
    return http->sent == http->sending.len;
  }
  return false;
}

static void result_of(mp_http *http, const mp_http_waiter *waiter, mp_error *err) {
  bool answered = waiter->kind == MP_HTTP_WAIT_RESPONSE && http->stream && http->head_ready;
  bool has_bytes = waiter->kind == MP_HTTP_WAIT_BODY && unread(http) > 0;
  if (http->freed || waiter->cancelled)
    mp_error_set(err, "http", MP_CANCELLED, "%s was cancelled", http->method);
  else if (waiter->kind == MP_HTTP_WAIT_SENT && http->done)
    mp_error_set(err, "http", "closed", "%s ended before its whole body was sent", http->method);
  else if (failed(http) && !answered && !has_bytes)
    mp_error_copy(err, &http->error);
}

static void report(mp_http *http, mp_http_waiter *waiter) {
  if (!waiter->cb || !is_satisfied(http, waiter))
    return;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  result_of(http, waiter, &err);
  mp_http_cb cb = mp_steal(waiter->cb);
  cb(waiter->data, err.domain ? &err : NULL);
}

void mp_http_report(mp_http *http) {
  report(http, &http->in);
  report(http, &http->out);
}

static void cancel(mp_op *op) {
  mp_http_waiter *waiter = (mp_http_waiter *)op;
  waiter->cancelled = true;
  mp_http_queue(waiter->http);
}

static int wait_for(mp_http *http, mp_http_waiter *waiter, mp_http_wait_kind kind, mp_http_cb cb,
                    void *data, mp_op **op, mp_error *err) {
  if (waiter->cb)
    return mp_error_set(err, "http", MP_INVALID, "another call waits on this %s already",
                        http->method);
  waiter->op.cancel = cancel;
  waiter->cb = cb;
  waiter->data = data;
  waiter->kind = kind;
  waiter->cancelled = false;
  if (is_satisfied(http, waiter))
    mp_http_queue(http);
  *op = &waiter->op;
  return 0;
}

int mp_http_wait(mp_http *http, mp_http_cb cb, void *data, mp_op **op, mp_error *err) {
  return wait_for(http, &http->in, MP_HTTP_WAIT_RESPONSE, cb, data, op, err);
}

int mp_http_read(mp_http *http, mp_http_cb cb, void *data, mp_op **op, mp_error *err) {
  return wait_for(http, &http->in, MP_HTTP_WAIT_BODY, cb, data, op, err);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void go_on_sending(mp_http *http) {
  if (!http->easy || !http->send_paused)
    return;
  http->send_paused = false;
  mp_http_unpause(http);
}

int mp_http_send(mp_http *http, const void *bytes, size_t len, mp_http_cb cb, void *data,
                 mp_op **op, mp_error *err) {
  if (http->body_kind != MP_HTTP_BODY_STREAM || http->sending_ended)
    return mp_error_set(err, "http", MP_INVALID, "this %s takes no more body", http->method);
  if (wait_for(http, &http->out, MP_HTTP_WAIT_SENT, cb, data, op, err) < 0)
    return -1;
  if (http->easy)
    mp_buf_append(&http->sending, bytes, len);
  go_on_sending(http);
  return 0;
}

void mp_http_finish(mp_http *http) {
  http->sending_ended = true;
  go_on_sending(http);
}

/* ---- reading -------------------------------------------------------------------------------- */

static void go_on_receiving(mp_http *http) {
  if (!http->easy || !http->recv_paused || unread(http) > http->buffer / 2)
    return;
  http->recv_paused = false;
  mp_http_unpause(http);
}

mp_http_bytes mp_http_peek(const mp_http *http) {
  return (mp_http_bytes){http->body.data ? http->body.data + http->read : "", unread(http)};
}

void mp_http_consume(mp_http *http, size_t count) {
  http->read += count < unread(http) ? count : unread(http);
  go_on_receiving(http);
}

void mp_http_take(mp_http *http, mp_buf *into) {
  mp_buf_consume(&http->body, http->read);
  http->read = 0;
  mp_buf_clear(into);
  mp_buf spare = *into;
  *into = http->body;
  http->body = spare;
  go_on_receiving(http);
}

bool mp_http_ended(const mp_http *http) {
  return http->done && !failed(http) && unread(http) == 0;
}

const mp_http_response *mp_http_response_of(const mp_http *http) {
  mp_http_response *response = (mp_http_response *)&http->response;
  response->url = http->final_url ? http->final_url : http->url;
  response->reason = http->head.data ? http->head.data + http->reason_at : "";
  return response;
}
