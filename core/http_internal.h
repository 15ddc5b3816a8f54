/* What the files of the http module share.
 *
 *   http.c           multi interface <-> libuv: sockets, timers, who is to be called back
 *   http_dead.c      connections whose peer is gone without a word
 *   http_request.c   options -> easy handle
 *   http_context.c   what OpenSSL is told
 *   http_body.c      where a request body comes from
 *   http_transfer.c  one exchange: libcurl's callbacks, waits, the end
 *   http_connection.c  connections without an exchange
 *   http_error.c     libcurl's codes -> errors for operators
 *   http_field.c     header fields, redaction
 *   http_options.c   copies of options
 *
 * libcurl's callbacks only move bytes and mark what happened. The caller's callbacks run after
 * libcurl has returned, so they may do anything, freeing the exchange included. */
#ifndef MP_CORE_HTTP_INTERNAL_H
#define MP_CORE_HTTP_INTERNAL_H

#include "curl_api.h"
#include "http.h"

#include <sys/queue.h>

typedef struct mp_http_hub mp_http_hub;
typedef struct mp_http_easy mp_http_easy;
typedef struct mp_http_file mp_http_file;

/* What every exchange sets. */
typedef struct {
  bool set; /* at all */
  bool follow, secure;
  int redirects;
  uint64_t timeout_ms, connect_timeout_ms;
} mp_http_limits;

/* A header line of ours, in the list that libcurl reads. */
typedef struct {
  struct curl_slist node; /* first: the list is of these */
  bool secret;
} mp_http_line;

/* An easy handle with what is set on it once. Kept for the next exchange, which is often alike, so
 * what the last one set is remembered. */
struct mp_http_easy {
  CURL *curl;
  mp_http *owner; /* borrowed; NULL while kept */
  char *url;      /* owned; the one it has, NULL: none */
  mp_http_limits limits;
  bool dirty; /* carries options that another exchange must not inherit */
  SLIST_ENTRY(mp_http_easy) link;
  char error[CURL_ERROR_SIZE]; /* libcurl's words for the last failure */
};

#define SHARED_CONNECTIONS 16

/* The loop's shared state: one multi handle with its connections. */
struct mp_http_hub {
  mp_loop *loop;
  const mp_curl_api *api;
  CURLM *multi;
  uv_timer_t timer;  /* when libcurl wants to be called */
  uv_timer_t sweep;  /* when the next exchange may have been idle for too long */
  uv_idle_t kick;    /* active while `ready` waits for a turn of the loop */
  uv_poll_t **polls; /* by descriptor; stopped ones are kept for the next socket of that number */
  size_t poll_count;
  int shared[SHARED_CONNECTIONS]; /* sockets of connections that several exchanges are to share */
  size_t shared_count;
  bool settling;                /* `ready` will be looked at before the loop goes on */
  TAILQ_HEAD(, mp_http) ready;  /* exchanges with something to report */
  TAILQ_HEAD(, mp_http) active; /* transfers under way */
  SLIST_HEAD(, mp_http_easy) kept;
  unsigned kept_count;
  TAILQ_HEAD(, mp_http) spare; /* released ones, with the memory of their buffers */
  unsigned spare_count;
  unsigned refs; /* the open handles and the exchanges that their owners have */
  bool closed;
  char *no_proxy;
};

typedef enum { MP_HTTP_WAIT_RESPONSE, MP_HTTP_WAIT_BODY, MP_HTTP_WAIT_SENT } mp_http_wait_kind;

/* Somebody who waits; cb is NULL when nobody does. */
typedef struct {
  mp_op op; /* first: the operation is the waiter */
  mp_http *http;
  mp_http_cb cb;
  void *data;
  mp_http_wait_kind kind;
  bool cancelled;
} mp_http_waiter;

struct mp_http {
  mp_http_hub *hub;
  mp_http_easy *easy; /* NULL once the transfer is over */
  unsigned refs;      /* the owner, and the ready list */
  bool queued, freed;
  TAILQ_ENTRY(mp_http) ready_link, active_link;
  mp_http_waiter in, out;

  /* the request */
  const char *method; /* static, or owned by method_copy */
  char *method_copy;
  char *url;         /* as given */
  char *unix_socket; /* for messages */
  char *ca;          /* for messages: what certificates were checked against */
  bool stream, follow, head_only, reads, multiplex;
  long begun;      /* how often libcurl began to send it */
  bool connection; /* no exchange: its transfer is over when it is made, and keeps the handle */
  uint64_t max_body, idle_ms, active_at, timeout_ms, connect_timeout_ms;
  size_t buffer;
  mp_http_line *fields; /* one block: the list libcurl reads and its text; wiped, it may hold
                           secrets */
  size_t fields_size;
  bool has_secret;         /* some of these are not for other servers */
  struct curl_slist route; /* one node: where to connect to under another server name */
  char *host_header;       /* the line that goes with it */
  char *pem[3];            /* copies of CA, certificate and key from memory; wiped */
  size_t pem_len[3];

  /* the request body */
  mp_http_body_kind body_kind;
  mp_buf sending;
  size_t sent;   /* of `sending`, taken by libcurl */
  int64_t taken; /* of the whole body */
  bool sending_ended, send_paused;
  mp_http_file *file;

  /* the response */
  mp_http_response response;
  char *final_url; /* where redirects led */
  mp_buf head;     /* status line and fields of the latest response */
  size_t reason_at;
  mp_buf body;
  size_t read;    /* of `body`, taken by the reader */
  int64_t length; /* by its Content-Length; -1: not told */
  bool has_location;
  uint64_t received; /* bytes of body so far */
  bool head_ready, done, recv_paused;
  mp_error error; /* how it failed */
};

/* http.c */
mp_http_hub *mp_http_hub_of(mp_loop *loop, mp_error *err);
mp_http_easy *mp_http_easy_take(mp_http_hub *hub, mp_http *owner);
void mp_http_easy_give(mp_http_hub *hub, mp_http_easy *easy);
mp_http *mp_http_take_spare(mp_http_hub *hub); /* zeroed but for empty buffers; refs is 1 */
void mp_http_give_spare(mp_http *http);        /* what it owns, but for its buffers, is released */
void mp_http_queue(mp_http *http);             /* there is something to report */
void mp_http_watch_idle(mp_http *http);        /* its idle timeout counts from now */

/* http_transfer.c: as mp_http_start, for an exchange or for a connection. */
int mp_http_begin(mp_loop *loop, const mp_http_options *options, bool connection, mp_http **http,
                  mp_error *err);

/* http_dead.c: when an exchange is given up, its HTTP/2 connection would stay for others. Ends it
 * where the peer has not even acknowledged what was sent, so that nobody waits on it again. */
void mp_http_hang_up_if_dead(mp_http *http);

/* http_request.c: checks the options, copies what outlives the call, sets the handle up. */
int mp_http_check(const mp_http_options *options, mp_error *err);
int mp_http_set_up(mp_http *http, const mp_http_options *options, mp_error *err);

/* Takes secret header lines out when a redirect leads to another server than was asked. */
void mp_http_drop_secrets(mp_http *http);

/* http_context.c: for CURLOPT_SSL_CTX_FUNCTION, with the mp_curl_api. */
CURLcode mp_http_on_context(CURL *curl, void *context, void *data);

/* http_body.c */
int mp_http_body_open(mp_http *http, const mp_http_options *options, mp_error *err);
void mp_http_body_close(mp_http *http);
int64_t mp_http_body_size(const mp_http *http, const mp_http_options *options);
size_t mp_http_on_send(char *into, size_t one, size_t room, void *data);
int mp_http_on_seek(void *data, curl_off_t offset, int origin);

/* http_transfer.c */
int mp_http_before_sending(void *data, char *to, char *from, int to_port, int from_port);
size_t mp_http_on_head(char *bytes, size_t one, size_t len, void *data);
size_t mp_http_on_body(char *bytes, size_t one, size_t len, void *data);
void mp_http_done(mp_http *http, CURLcode rc); /* the transfer is over; takes it off the hub */
void mp_http_report(mp_http *http);            /* calls back who has got what they wait for */
void mp_http_unref(mp_http *http);
void mp_http_unpause(mp_http *http); /* tells libcurl which directions may go on */

/* http_error.c */
int mp_http_fail(mp_http *http, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mp_http_fail_curl(mp_http *http, CURLcode rc);

#endif
