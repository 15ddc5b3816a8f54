/* WebSocket clients (RFC 6455) on the loop.
 *
 * The connection is made by libcurl as for HTTP: name resolution, TLS, client certificates, proxies
 * (by a tunnel), Unix sockets. The upgrade is asked for by HTTP/1.1; frames are libwslay's affair.
 * Redirects are not followed and no extension is offered.
 *
 *   mp_websocket_connect -> mp_websocket_send, _receive, _ping ... -> mp_websocket_close
 *                                                                  -> mp_websocket_free
 *
 * Memory is bounded: messages that came and were not received yet are held up to options.buffer
 * bytes, one message more and what is on its way; then the peer is held up by TCP. A send ends when
 * its message was handed on, so a sender that waits for it is held up by a slow peer.
 *
 * Pings of the peer are answered unless it is held up. With options.ping_ms, a peer that nothing is
 * heard of for that long is pinged, and one that is silent for three times as long is dead: all
 * operations end with MP_TIMEOUT. A network that is gone is noticed within twice that long, by its
 * TCP. Time in which this process did not run is nobody's silence.
 *
 * Everything runs on the loop's thread. Operations follow core/op.h; an open WebSocket keeps the
 * loop running only while one is under way. Errors have the domain "websocket", or "http" where
 * they are those of a connection. Codes beside http.h's:
 *   refused      the server answered the upgrade with another status than 101
 *   protocol     the peer is not, or not rightly, a WebSocket server
 *   closed       the connection ended without a good-bye; or nothing more can be sent
 *   limit        a message is longer than options.max_message
 *   timeout      no answer in time; a silent peer
 *   busy         somebody waits already
 *   library      libwslay or libcurl could not be loaded */
#ifndef MP_CORE_WEBSOCKET_H
#define MP_CORE_WEBSOCKET_H

#include "http.h"
#include "loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_WEBSOCKET_MAX_MESSAGE (16u << 20) /* bytes, default */
#define MP_WEBSOCKET_BUFFER (256u << 10)     /* bytes, default */
#define MP_WEBSOCKET_OPEN_MS 30000           /* default for the whole opening */
#define MP_WEBSOCKET_MAX_REASON 123          /* bytes of a reason for closing */
#define MP_WEBSOCKET_NO_CODE 1005            /* the peer closed without saying why */

typedef struct mp_websocket mp_websocket;

typedef enum { MP_WEBSOCKET_TEXT, MP_WEBSOCKET_BINARY } mp_websocket_kind;

typedef struct {
  /* url (ws://, wss://, http:// or https://), headers, how to connect; timeout_ms is that of the
   * whole opening, 0 being MP_WEBSOCKET_OPEN_MS. Options of request bodies and answers do not
   * count. */
  const mp_http_options *http;
  const char *const *protocols; /* Sec-WebSocket-Protocol, the best first */
  size_t protocol_count;
  size_t max_message; /* bytes of a received message; 0: MP_WEBSOCKET_MAX_MESSAGE */
  size_t buffer;      /* 0: MP_WEBSOCKET_BUFFER */
  uint64_t ping_ms;   /* 0: the peer may be silent for ever */
  bool may_stall;     /* the peer may rightly stop reading what it was sent, and with it our pings:
                         its silence then counts only where its TCP is silent as well */
} mp_websocket_options;

/* What a server said in place of "101 Switching Protocols". Valid during the callback. */
typedef struct {
  int status;
  const char *reason;
  mp_http_bytes fields; /* see mp_http_next_field */
  mp_http_bytes body;   /* its first 64 KiB */
} mp_websocket_refusal;

/* websocket: the callback's to free, NULL on error. refusal: with code "refused", else NULL. */
typedef void (*mp_websocket_connect_cb)(void *data, mp_websocket *websocket,
                                        const mp_websocket_refusal *refusal, const mp_error *err);

/* Everything pointed to is borrowed during the call only. */
int mp_websocket_connect(mp_loop *loop, const mp_websocket_options *options,
                         mp_websocket_connect_cb cb, void *data, mp_op **op, mp_error *err);

/* Ends the connection at once and releases it; NULL is fine. Operations under way end with
 * MP_CANCELLED. */
void mp_websocket_free(mp_websocket *websocket);

/* The protocol that the server chose among the offered; NULL: none. */
const char *mp_websocket_protocol(const mp_websocket *websocket);

/* err: NULL on success; borrowed. */
typedef void (*mp_websocket_cb)(void *data, const mp_error *err);

/* Sends one message (copied), in the order of the calls. One that was cancelled may have been sent
 * nevertheless, and then wholly. */
int mp_websocket_send(mp_websocket *websocket, mp_websocket_kind kind, const void *bytes,
                      size_t len, mp_websocket_cb cb, void *data, mp_op **op, mp_error *err);

/* bytes: NULL once the peer has closed and all its messages were received, see
 * mp_websocket_close_code; else valid until the callback returns. */
typedef void (*mp_websocket_receive_cb)(void *data, mp_websocket_kind kind, const char *bytes,
                                        size_t len, const mp_error *err);

/* Waits for the next message. One such operation at a time. */
int mp_websocket_receive(mp_websocket *websocket, mp_websocket_receive_cb cb, void *data,
                         mp_op **op, mp_error *err);

/* The next message without waiting, where it is here already; valid until the next call on this
 * WebSocket or the next turn of the loop. */
bool mp_websocket_take(mp_websocket *websocket, mp_websocket_kind *kind, const char **bytes,
                       size_t *len);

/* True once the peer has closed, or we have, and all messages were received: a receive would bring
 * NULL. */
bool mp_websocket_ended(const mp_websocket *websocket);

/* Pings and waits for the answer. One such operation at a time. */
int mp_websocket_ping(mp_websocket *websocket, mp_websocket_cb cb, void *data, mp_op **op,
                      mp_error *err);

/* Says good-bye behind what is to be sent, and waits up to `timeout` milliseconds for the peer's;
 * MP_TIMEOUT when it does not come. Messages that come meanwhile are thrown away. The connection is
 * closed afterwards in any case; on one that is closed already this succeeds.
 * code: 1000, or 3000 to 4999. reason: at most MP_WEBSOCKET_MAX_REASON bytes of UTF-8. */
int mp_websocket_close(mp_websocket *websocket, unsigned code, const char *reason, uint64_t timeout,
                       mp_websocket_cb cb, void *data, mp_op **op, mp_error *err);

/* The code by which the peer closed, 0 while it has not; *reason (may be NULL) becomes its words.
 */
unsigned mp_websocket_close_code(const mp_websocket *websocket, const char **reason);

/* The URL as it may be shown. */
const char *mp_websocket_url(const mp_websocket *websocket);

#endif
