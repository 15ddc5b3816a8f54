/* http_get URL COUNT AT_ONCE: the loop that mp.http is measured against, as one writes it by hand
 * on libcurl's multi interface and libuv. Every easy handle is set up once and used again, and
 * bodies are collected in memory. Prints requests per second. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

typedef struct {
  char *data;
  size_t len, cap;
} body;

typedef struct {
  uv_poll_t poll;
  curl_socket_t socket;
} watch;

static CURLM *multi;
static uv_loop_t *loop;
static uv_timer_t timer;
static long left, failed;

static size_t collect(char *bytes, size_t one, size_t len, void *data) {
  body *self = data;
  if (self->len + len > self->cap) {
    self->cap = (self->len + len) * 2;
    self->data = realloc(self->data, self->cap);
  }
  memcpy(self->data + self->len, bytes, len);
  self->len += len;
  return one * len;
}

static void next_or_done(CURL *easy, CURLcode rc) {
  long status = 0;
  body *self;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&self);
  failed += rc != CURLE_OK || status != 200 || self->len != 1024;
  curl_multi_remove_handle(multi, easy);
  if (left == 0)
    return;
  left--;
  self->len = 0;
  curl_multi_add_handle(multi, easy);
}

static void check(void) {
  CURLMsg *message;
  int pending;
  while ((message = curl_multi_info_read(multi, &pending))) {
    if (message->msg == CURLMSG_DONE)
      next_or_done(message->easy_handle, message->data.result);
  }
}

static void on_timeout(uv_timer_t *handle) {
  int running;
  (void)handle;
  curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
  check();
}

static int set_timer(CURLM *handle, long milliseconds, void *data) {
  (void)handle, (void)data;
  if (milliseconds < 0)
    uv_timer_stop(&timer);
  else
    uv_timer_start(&timer, on_timeout, (uint64_t)milliseconds, 0);
  return 0;
}

static void on_socket(uv_poll_t *poll, int status, int events) {
  watch *self = poll->data;
  int running, what = status < 0 ? CURL_CSELECT_ERR : 0;
  if (events & UV_READABLE)
    what |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE)
    what |= CURL_CSELECT_OUT;
  curl_multi_socket_action(multi, self->socket, what, &running);
  check();
}

static void closed(uv_handle_t *handle) {
  free(handle->data);
}

static int set_socket(CURL *easy, curl_socket_t socket, int what, void *data, void *assigned) {
  (void)easy, (void)data;
  watch *self = assigned;
  if (what == CURL_POLL_REMOVE) {
    if (self) {
      uv_poll_stop(&self->poll);
      uv_close((uv_handle_t *)&self->poll, closed);
      curl_multi_assign(multi, socket, NULL);
    }
    return 0;
  }
  if (!self) {
    self = calloc(1, sizeof *self);
    self->socket = socket;
    uv_poll_init_socket(loop, &self->poll, socket);
    self->poll.data = self;
    curl_multi_assign(multi, socket, self);
  }
  int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  return uv_poll_start(&self->poll, events, on_socket);
}

int main(int argc, char **argv) {
  if (argc != 4)
    return 2;
  long count = atol(argv[2]);
  int at_once = atoi(argv[3]);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  loop = uv_default_loop();
  uv_timer_init(loop, &timer);
  multi = curl_multi_init();
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, set_socket);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
  left = count - at_once;
  uint64_t start = uv_hrtime();
  for (int i = 0; i < at_once; i++) {
    CURL *easy = curl_easy_init();
    body *self = calloc(1, sizeof *self);
    curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "moonport"); /* the same request on the wire */
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, self);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, self);
    curl_multi_add_handle(multi, easy);
  }
  uv_run(loop, UV_RUN_DEFAULT);
  double seconds = (double)(uv_hrtime() - start) / 1e9;
  printf("%.0f\n", (double)count / seconds);
  return failed > 0;
}
