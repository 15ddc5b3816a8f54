/* HTTP(S) exchanges on libcurl's multi interface, driven by the loop: socket events and one timer,
 * no polling. Connections are kept and reused by all exchanges of a loop.
 *
 * An exchange (mp_http) is one request with its response. It belongs to the caller from
 * mp_http_start until mp_http_free, which may come at any moment and ends what is under way.
 *
 *   mp_http_start -> mp_http_wait -> status, headers, whole body           (the default)
 *   mp_http_start -> mp_http_wait -> status, headers -> mp_http_read ...    (options.stream)
 *
 * mp_http_wait, _read and _send are operations in the sense of op.h. Cancelling one ends that wait
 * with MP_CANCELLED and leaves the exchange as it is; mp_http_free ends the exchange and what waits
 * on it. One wait or read, and one send, may be pending at a time.
 *
 * Errors have the domain "http"; their messages name the method and the URL without user, password
 * or query values that look like secrets. A status of 400 or more is not an error here. Codes:
 *   invalid      the options are wrong                   library      libcurl could not be loaded
 *   resolve      a host name is unknown                  connect      no connection (cause: errno)
 *   tls          certificate or handshake                proxy        the proxy refused
 *   timeout      connect, idle or total                  closed       the peer ended too early
 *   protocol     the answer is not HTTP                  redirects    too many, or out of TLS
 *   limit        max_body or the header limit            rewind       a stream cannot be sent twice
 *   status, checksum, busy (downloads)                   an errno name: a file's trouble
 *
 * All functions run on the loop's thread. */
#ifndef MP_CORE_HTTP_H
#define MP_CORE_HTTP_H

#include "buf.h"
#include "error.h"
#include "loop.h"
#include "op.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_HTTP_MAX_BODY (256ull << 20)  /* default limit of a body that is held whole */
#define MP_HTTP_BUFFER (1u << 20)        /* default bytes held for a slow reader */
#define MP_HTTP_CONNECT_TIMEOUT_MS 10000 /* default */
#define MP_HTTP_IDLE_TIMEOUT_MS 60000    /* default */
#define MP_HTTP_DEFAULT UINT64_MAX
#define MP_HTTP_REDIRECTS 10 /* default for GET, HEAD and OPTIONS */

typedef struct {
  const char *name;
  const char *value;
  bool secret; /* no redirect takes it to another server, as none takes Authorization and Cookie */
} mp_http_header;

/* Bytes of the caller's; NULL where there are none. */
typedef struct {
  const char *data;
  size_t len;
} mp_http_bytes;

typedef enum {
  MP_HTTP_BODY_NONE,
  MP_HTTP_BODY_MEMORY, /* options.body */
  MP_HTTP_BODY_FILE,   /* options.body_file, a regular file, read on the thread pool */
  MP_HTTP_BODY_STREAM, /* what mp_http_send gives until mp_http_finish */
} mp_http_body_kind;

typedef enum {
  MP_HTTP_AUTO, /* HTTP/2 where a TLS server offers it, else 1.1 */
  MP_HTTP_1_1,
  MP_HTTP_2, /* also without TLS, by prior knowledge */
} mp_http_version;

/* For each of CA, certificate and key: a PEM file or PEM in memory, not both. */
typedef struct {
  const char *ca_file; /* trusted instead of the system's CAs */
  mp_http_bytes ca_pem;
  const char *cert_file; /* client certificate, with the issuers that are to be sent after it */
  mp_http_bytes cert_pem;
  const char *key_file; /* its key; by default in the certificate's PEM */
  mp_http_bytes key_pem;
  const char *key_password;
  const char *server_name; /* asked for (SNI) and verified instead of the URL's host */
  bool insecure;           /* verify nothing */
} mp_http_tls;

/* Start from MP_HTTP_OPTIONS_INIT. Everything pointed to is borrowed during mp_http_start only. */
typedef struct {
  const char *url;    /* http:// or https:// */
  const char *method; /* NULL: GET */
  const mp_http_header *headers;
  size_t header_count;

  mp_http_body_kind body_kind;
  mp_http_bytes body;
  const char *body_file;
  int64_t body_size; /* of a stream, where it is known, else -1 */

  bool stream;       /* hand out the body as it comes; wait ends at the headers */
  uint64_t max_body; /* bytes; 0: MP_HTTP_MAX_BODY, and no limit where streamed */
  size_t buffer;     /* streamed: pause the peer above so many unread bytes; 0: MP_HTTP_BUFFER */
  bool compressed;   /* offer compression and undo it */
  int redirects;     /* followed at most; 0: none, negative: the method's default. POST and PUT take
                        them when told so; methods beyond these and GET, HEAD, OPTIONS never.
                        None leads from https to http */
  mp_http_version version;
  bool multiplex; /* rather wait for a connection that is being made, since it may take several
                     exchanges at once (HTTP/2), than open another */

  uint64_t connect_timeout_ms; /* 0: none */
  uint64_t timeout_ms;         /* of the whole exchange; 0: none */
  uint64_t idle_timeout_ms;    /* without a byte in or out; not while we hold it up; 0: none;
                                  MP_HTTP_DEFAULT: MP_HTTP_IDLE_TIMEOUT_MS unless streamed */

  const char *unix_socket; /* path to connect to instead of the URL's host */
  const char *proxy; /* URL; NULL: as the environment says, but never for loopback; "": none */
  mp_http_tls tls;
} mp_http_options;

#define MP_HTTP_OPTIONS_INIT                                                                       \
  (mp_http_options) {                                                                              \
    .body_size = -1, .redirects = -1, .connect_timeout_ms = MP_HTTP_CONNECT_TIMEOUT_MS,            \
    .idle_timeout_ms = MP_HTTP_DEFAULT                                                             \
  }

/* Copies options with everything they point to; the copy is wiped when it is freed. */
void mp_http_options_copy(mp_http_options *to, const mp_http_options *from);
void mp_http_options_free(mp_http_options *options);

typedef struct mp_http mp_http;

/* Begins to load what exchanges need, so that the first one waits for less of it. Optional. */
void mp_http_prepare(mp_loop *loop);

/* Starts an exchange on a connection of its own or a kept one. */
int mp_http_start(mp_loop *loop, const mp_http_options *options, mp_http **http, mp_error *err);

/* Ends the exchange, wherever it is, and releases it; NULL is fine. A pending operation still calls
 * back, with MP_CANCELLED. */
void mp_http_free(mp_http *http);

/* err: NULL on success; borrowed. */
typedef void (*mp_http_cb)(void *data, const mp_error *err);

/* Waits for the response: the whole of it, or its headers where it is streamed. */
int mp_http_wait(mp_http *http, mp_http_cb cb, void *data, mp_op **op, mp_error *err);

/* Waits until there are body bytes to take or the body has ended (mp_http_ended). When the exchange
 * fails, the bytes that came before can still be read; then the error is reported. */
int mp_http_read(mp_http *http, mp_http_cb cb, void *data, mp_op **op, mp_error *err);

/* Sends a piece of a streamed request body (copied). Ends when the transfer has taken it. Code
 * "closed" says that the exchange ended before: its response or error is there to wait for. */
int mp_http_send(mp_http *http, const void *bytes, size_t len, mp_http_cb cb, void *data,
                 mp_op **op, mp_error *err);

/* Ends a streamed request body. */
void mp_http_finish(mp_http *http);

/* Looks at the body bytes that are there. Valid until the next call on this exchange or the next
 * turn of the loop. */
mp_http_bytes mp_http_peek(const mp_http *http);

/* Drops the first `count` of them. */
void mp_http_consume(mp_http *http, size_t count);

/* Moves all of them into *into, which is emptied first and lends its memory for the next ones. */
void mp_http_take(mp_http *http, mp_buf *into);

/* True once the body has come to its end and all of it was taken. */
bool mp_http_ended(const mp_http *http);

/* Microseconds from the start; 0 where there was nothing to do. */
typedef struct {
  int64_t resolved, connected, secured, first_byte, total;
} mp_http_timings;

typedef struct {
  int status;
  int version;             /* 10, 11, 20 */
  const char *reason;      /* may be empty */
  const char *url;         /* after redirects */
  int redirects;           /* followed; known at the end */
  bool reused;             /* on a kept connection; known at the end */
  mp_http_timings timings; /* known at the end */
} mp_http_response;

/* The response, valid from a successful mp_http_wait until mp_http_free. */
const mp_http_response *mp_http_response_of(const mp_http *http);

typedef struct {
  const char *name, *value; /* not NUL-terminated */
  size_t name_len, value_len;
} mp_http_field;

/* The response's header fields as they came, one to a line. */
mp_http_bytes mp_http_fields(const mp_http *http);

/* Walks over them in order: start with *at = 0. */
bool mp_http_next_field(mp_http_bytes fields, size_t *at, mp_http_field *field);

/* Finds the first of this name, in any case. */
bool mp_http_find_field(mp_http_bytes fields, const char *name, mp_http_field *field);

/* The URL fit for messages: user and password, and query values named like secrets, masked.
 * The caller frees it. */
char *mp_http_redact(const char *url);

/* The version of libcurl, which this loads: "7.88.1". NULL and an error (code "library") where it
 * is missing or too old. */
const char *mp_http_libcurl(mp_error *err);

#endif
