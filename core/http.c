#include "http_internal.h"

#include "mem.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEPT_HANDLES 64       /* as many easy handles wait for the next exchange */
#define KEPT_CONNECTIONS 128  /* and as many idle connections */
#define KEPT_BODY (64u << 10) /* bytes of a body's memory that may lie idle */
/* A stream whose peer is silently gone fails after a minute. */
#define KEEPALIVE_AFTER_S 30L
#define KEEPALIVE_INTERVAL_S 10L
#define KEEPALIVE_PROBES 3
#define USUAL_HEAD 512 /* bytes that most headers fit in */
#define USER_AGENT "moonport"

/* ---- waking the callers ------------------------------------------------------------------- */

/* Calls back everyone on the ready list. What they add to it meanwhile has to wait for the next
 * turn of the loop, so no exchange can starve the others. */
static void settle(mp_http_hub *hub) {
  TAILQ_HEAD(, mp_http) batch = TAILQ_HEAD_INITIALIZER(batch);
  TAILQ_CONCAT(&batch, &hub->ready, ready_link);
  mp_http *http;
  while ((http = TAILQ_FIRST(&batch))) {
    TAILQ_REMOVE(&batch, http, ready_link);
    http->queued = false;
    mp_http_report(http);
    mp_http_unref(http);
  }
}

static void kicked(uv_idle_t *kick);

static void leave(mp_http_hub *hub) {
  settle(hub);
  hub->settling = false;
  if (TAILQ_EMPTY(&hub->ready))
    uv_idle_stop(&hub->kick);
  else
    uv_idle_start(&hub->kick, kicked);
}

static void kicked(uv_idle_t *kick) {
  mp_http_hub *hub = kick->data;
  hub->settling = true;
  leave(hub);
}

void mp_http_queue(mp_http *http) {
  mp_http_hub *hub = http->hub;
  if (http->queued || !hub)
    return;
  http->queued = true;
  http->refs++;
  TAILQ_INSERT_TAIL(&hub->ready, http, ready_link);
  if (!hub->settling)
    uv_idle_start(&hub->kick, kicked);
}

/* ---- libcurl's events ----------------------------------------------------------------------- */

static void fail_all(mp_http_hub *hub, const char *reason) {
  mp_http *http;
  while ((http = TAILQ_FIRST(&hub->active))) {
    mp_http_fail(http, "failed", "%s", reason);
    mp_http_done(http, CURLE_OK);
  }
}

static void collect(mp_http_hub *hub) {
  CURLMsg *message;
  int left;
  while ((message = hub->api->multi_info_read(hub->multi, &left))) {
    mp_http_easy *easy;
    if (message->msg != CURLMSG_DONE)
      continue;
    CURLcode rc = message->data.result; /* the message dies with the handle's removal */
    hub->api->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&easy);
    mp_http_done(easy->owner, rc);
  }
}

/* What is written to a shared connection meanwhile goes out at the end, together: libcurl writes
 * each frame of HTTP/2 by itself, and each would become a packet that the peer wakes up for. */
static void hold_back(mp_http_hub *hub, int on) {
  for (size_t i = 0; i < hub->shared_count; i++)
    setsockopt(hub->shared[i], IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

static void act(mp_http_hub *hub, curl_socket_t socket, int events) {
  int running;
  hub->settling = true;
  hold_back(hub, 1);
  CURLMcode rc = hub->api->multi_socket_action(hub->multi, socket, events, &running);
  hold_back(hub, 0);
  collect(hub);
  /* A socket that libcurl has just let go of is no trouble; anything else is libcurl's own. */
  if (rc != CURLM_OK && rc != CURLM_BAD_SOCKET)
    fail_all(hub, hub->api->multi_strerror(rc));
  leave(hub);
}

static void timer_due(uv_timer_t *timer) {
  act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* A timeout of 0 ends in the next turn of the loop, so libcurl is never re-entered. */
static int timer_wanted(CURLM *multi, long milliseconds, void *data) {
  (void)multi;
  mp_http_hub *hub = data;
  if (milliseconds < 0)
    return uv_timer_stop(&hub->timer);
  return uv_timer_start(&hub->timer, timer_due, (uint64_t)milliseconds, 0);
}

static void socket_ready(uv_poll_t *poll, int status, int events) {
  uv_os_fd_t socket;
  uv_fileno((uv_handle_t *)poll, &socket);
  int what = status < 0 ? CURL_CSELECT_ERR : 0;
  if (events & UV_READABLE)
    what |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE)
    what |= CURL_CSELECT_OUT;
  act(poll->data, socket, what);
}

/* Polls are kept by descriptor rather than made anew: a kept connection is watched and let go once
 * per exchange, and initialising a poll costs three system calls. A stopped poll holds nothing of
 * the kernel's, so it does not matter when the descriptor is closed and its number comes again. */
static uv_poll_t *poll_of(mp_http_hub *hub, int fd) {
  if ((size_t)fd >= hub->poll_count) {
    size_t count = (size_t)fd * 2 + 16;
    hub->polls = mp_realloc(hub->polls, count * sizeof *hub->polls);
    for (size_t i = hub->poll_count; i < count; i++)
      hub->polls[i] = NULL;
    hub->poll_count = count;
  }
  if (!hub->polls[fd]) {
    uv_poll_t *poll = mp_alloc(sizeof *poll);
    if (uv_poll_init_socket(&hub->loop->uv, poll, fd) < 0) {
      free(poll);
      return NULL;
    }
    poll->data = hub;
    hub->polls[fd] = poll;
    hub->refs++;
  }
  return hub->polls[fd];
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *data, void *mine) {
  (void)easy, (void)mine;
  mp_http_hub *hub = data;
  uv_poll_t *poll = poll_of(hub, fd);
  if (!poll)
    return -1;
  if (what == CURL_POLL_REMOVE)
    return uv_poll_stop(poll);
  int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  return uv_poll_start(poll, events, socket_ready) < 0 ? -1 : 0;
}

/* ---- idle timeouts -------------------------------------------------------------------------- */

/* One timer for all: it looks at every transfer when the first of them may be due, which is once
 * per idle timeout rather than once per byte. */
static void sweep_due(uv_timer_t *timer);

static void sweep_at(mp_http_hub *hub, uint64_t due) {
  uint64_t now = uv_now(&hub->loop->uv);
  uint64_t left = due > now ? due - now : 1;
  if (!uv_is_active((uv_handle_t *)&hub->sweep) || uv_timer_get_due_in(&hub->sweep) > left)
    uv_timer_start(&hub->sweep, sweep_due, left, 0);
}

static bool held_up_by_us(const mp_http *http) {
  return http->recv_paused || http->send_paused;
}

static void sweep_due(uv_timer_t *timer) {
  mp_http_hub *hub = timer->data;
  uint64_t now = uv_now(&hub->loop->uv);
  hub->settling = true;
  mp_http *http, *next;
  for (http = TAILQ_FIRST(&hub->active); http; http = next) {
    next = TAILQ_NEXT(http, active_link);
    if (http->idle_ms == 0)
      continue;
    if (held_up_by_us(http))
      http->active_at = now;
    if (http->active_at + http->idle_ms > now) {
      sweep_at(hub, http->active_at + http->idle_ms);
      continue;
    }
    mp_http_fail(http, MP_TIMEOUT, "nothing came for %.3g s", (double)http->idle_ms / 1000);
    mp_http_done(http, CURLE_OK);
  }
  leave(hub);
}

void mp_http_watch_idle(mp_http *http) {
  http->active_at = uv_now(&http->hub->loop->uv);
  if (http->idle_ms > 0)
    sweep_at(http->hub, http->active_at + http->idle_ms);
}

/* ---- easy handles --------------------------------------------------------------------------- */

/* libcurl 7.88 opens its sockets without it, and every child would inherit them. */
static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)purpose;
  const mp_http *http = ((mp_http_easy *)data)->owner;
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  int probes = KEEPALIVE_PROBES; /* libcurl sets the rest */
  if (fd < 0 || address->family == AF_UNIX)
    return fd;
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  if (http && http->multiplex && http->hub->shared_count < SHARED_CONNECTIONS)
    http->hub->shared[http->hub->shared_count++] = fd;
  return fd;
}

static int close_socket(void *data, curl_socket_t fd) {
  mp_http_hub *hub = data;
  for (size_t i = 0; i < hub->shared_count; i++) {
    if (hub->shared[i] == fd)
      hub->shared[i] = hub->shared[--hub->shared_count];
  }
  return close(fd);
}

/* What every exchange wants. */
static void set_base(mp_http_hub *hub, mp_http_easy *easy) {
  __typeof__(hub->api->easy_setopt) set = hub->api->easy_setopt;
  CURL *curl = easy->curl;
  set(curl, CURLOPT_PRIVATE, easy);
  set(curl, CURLOPT_ERRORBUFFER, easy->error);
  set(curl, CURLOPT_HEADERFUNCTION, mp_http_on_head);
  set(curl, CURLOPT_HEADERDATA, easy);
  set(curl, CURLOPT_WRITEFUNCTION, mp_http_on_body);
  set(curl, CURLOPT_WRITEDATA, easy);
  set(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  set(curl, CURLOPT_OPENSOCKETDATA, easy);
  set(curl, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
  set(curl, CURLOPT_CLOSESOCKETDATA, hub);
  set(curl, CURLOPT_PREREQFUNCTION, mp_http_before_sending);
  set(curl, CURLOPT_PREREQDATA, easy);
  set(curl, CURLOPT_USERAGENT, USER_AGENT);
  set(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  set(curl, CURLOPT_NOSIGNAL, 1L);
  set(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  set(curl, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_AFTER_S);
  set(curl, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
  set(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  /* Without it, cancelling during name resolution waits for the resolver's thread. */
  set(curl, CURLOPT_QUICK_EXIT, 1L);
  set(curl, CURLOPT_NOPROXY, hub->no_proxy);
  if (!*hub->no_proxy)
    set(curl, CURLOPT_PROXY, "");
}

mp_http_easy *mp_http_easy_take(mp_http_hub *hub, mp_http *owner) {
  mp_http_easy *easy = SLIST_FIRST(&hub->kept);
  if (easy) {
    SLIST_REMOVE_HEAD(&hub->kept, link);
    hub->kept_count--;
  } else {
    easy = mp_alloc(sizeof *easy);
    easy->curl = hub->api->easy_init();
    set_base(hub, easy);
  }
  easy->owner = owner;
  easy->error[0] = '\0';
  return easy;
}

static void easy_free(mp_http_hub *hub, mp_http_easy *easy) {
  hub->api->easy_cleanup(easy->curl);
  free(easy->url);
  free(easy);
}

void mp_http_easy_give(mp_http_hub *hub, mp_http_easy *easy) {
  easy->owner = NULL;
  if (hub->kept_count >= KEPT_HANDLES) {
    easy_free(hub, easy);
    return;
  }
  if (easy->dirty) {
    hub->api->easy_reset(easy->curl);
    set_base(hub, easy);
    easy->dirty = false;
    free(mp_steal(easy->url));
    easy->limits = (mp_http_limits){0};
  }
  SLIST_INSERT_HEAD(&hub->kept, easy, link);
  hub->kept_count++;
}

/* ---- exchanges to use again ----------------------------------------------------------------- */

static void free_spare(mp_http *http) {
  mp_buf_free(&http->head);
  mp_buf_free(&http->body);
  mp_buf_free(&http->sending);
  free(http);
}

static void hub_unref(mp_http_hub *hub) {
  if (--hub->refs > 0)
    return;
  free(hub->polls);
  free(hub->no_proxy);
  free(hub);
}

mp_http *mp_http_take_spare(mp_http_hub *hub) {
  mp_http *http = TAILQ_FIRST(&hub->spare);
  if (http) {
    TAILQ_REMOVE(&hub->spare, http, active_link);
    hub->spare_count--;
    mp_buf head = http->head, body = http->body;
    *http = (mp_http){.head = head, .body = body};
  } else {
    http = mp_alloc(sizeof *http);
    mp_buf_reserve(&http->head, USUAL_HEAD);
  }
  http->hub = hub;
  http->refs = 1;
  hub->refs++;
  return http;
}

void mp_http_give_spare(mp_http *http) {
  mp_http_hub *hub = http->hub;
  if (hub->closed || hub->spare_count >= KEPT_HANDLES || http->body.cap > KEPT_BODY) {
    free_spare(http);
  } else {
    mp_buf_clear(&http->head);
    mp_buf_clear(&http->body);
    mp_buf_free(&http->sending);
    TAILQ_INSERT_HEAD(&hub->spare, http, active_link);
    hub->spare_count++;
  }
  hub_unref(hub);
}

/* ---- the hub -------------------------------------------------------------------------------- */

/* Whether the environment names a proxy. The caller's has no say in a privileged process. */
static bool has_proxy(void) {
  static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                      "ALL_PROXY"};
  for (size_t i = 0; i < sizeof names / sizeof *names && !getauxval(AT_SECURE); i++) {
    const char *value = getenv(names[i]);
    if (value && *value)
      return true;
  }
  return false;
}

/* Local services are never behind the operator's proxy. Empty where there is no proxy at all, which
 * saves libcurl from asking the environment for each exchange. */
static char *make_no_proxy(void) {
  const char *own = getenv("no_proxy");
  if (!own)
    own = getenv("NO_PROXY");
  if (!has_proxy())
    return mp_strdup("");
  if (own && strcmp(own, "*") == 0)
    return mp_strdup(own);
  return mp_sprintf("%s%slocalhost,127.0.0.0/8,::1", own ? own : "", own && *own ? "," : "");
}

/* Above this, exchanges wait for a connection instead of failing for lack of descriptors. */
static long connection_limit(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur > 1 << 20)
    return 0;
  return files.rlim_cur > 128 ? (long)(files.rlim_cur - files.rlim_cur / 4) : 32;
}

static void handle_closed(uv_handle_t *handle) {
  mp_http_hub *hub = handle->data;
  if (handle->type == UV_POLL)
    free(handle);
  hub_unref(hub);
}

/* Called by mp_loop_close. Exchanges that their owners have not released yet outlive the hub,
 * ended.
 */
static void hub_close(mp_loop *loop) {
  mp_http_hub *hub = loop->http;
  mp_http *http;
  hub->settling = true;
  fail_all(hub, "the loop was closed");
  while (!TAILQ_EMPTY(&hub->ready))
    settle(hub);
  mp_http_easy *easy;
  while ((easy = SLIST_FIRST(&hub->kept))) {
    SLIST_REMOVE_HEAD(&hub->kept, link);
    easy_free(hub, easy);
  }
  while ((http = TAILQ_FIRST(&hub->spare))) {
    TAILQ_REMOVE(&hub->spare, http, active_link);
    free_spare(http);
  }
  hub->closed = true;
  hub->api->multi_cleanup(hub->multi);
  for (size_t i = 0; i < hub->poll_count; i++) {
    if (hub->polls[i])
      uv_close((uv_handle_t *)hub->polls[i], handle_closed);
  }
  uv_close((uv_handle_t *)&hub->timer, handle_closed);
  uv_close((uv_handle_t *)&hub->sweep, handle_closed);
  uv_close((uv_handle_t *)&hub->kick, handle_closed);
  loop->http = NULL;
}

static void hub_init_handles(mp_http_hub *hub) {
  uv_loop_t *uv = &hub->loop->uv;
  uv_timer_init(uv, &hub->timer);
  uv_timer_init(uv, &hub->sweep);
  uv_idle_init(uv, &hub->kick);
  hub->timer.data = hub->sweep.data = hub->kick.data = hub;
  hub->refs = 3;
}

static void hub_init_multi(mp_http_hub *hub) {
  __typeof__(hub->api->multi_setopt) set = hub->api->multi_setopt;
  hub->multi = hub->api->multi_init();
  set(hub->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
  set(hub->multi, CURLMOPT_SOCKETDATA, hub);
  set(hub->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
  set(hub->multi, CURLMOPT_TIMERDATA, hub);
  set(hub->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
  set(hub->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, connection_limit());
}

/* In place of hub_close while there is no hub. */
static void settle_library(mp_loop *loop) {
  (void)loop;
  mp_curl_settle();
}

void mp_http_prepare(mp_loop *loop) {
  if (loop->http)
    return;
  mp_curl_prepare();
  loop->http_close = settle_library;
}

mp_http_hub *mp_http_hub_of(mp_loop *loop, mp_error *err) {
  if (loop->http)
    return loop->http;
  const mp_curl_api *api = mp_curl_load(err);
  if (!api)
    return NULL;
  mp_http_hub *hub = mp_alloc(sizeof *hub);
  hub->loop = loop;
  hub->api = api;
  hub->no_proxy = make_no_proxy();
  TAILQ_INIT(&hub->ready);
  TAILQ_INIT(&hub->active);
  TAILQ_INIT(&hub->spare);
  SLIST_INIT(&hub->kept);
  hub_init_handles(hub);
  hub_init_multi(hub);
  loop->http = hub;
  loop->http_close = hub_close;
  return hub;
}
