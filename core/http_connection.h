/* Connections made as an HTTP exchange would make its own (name resolution, TLS, client
 * certificates, proxies, Unix sockets), on which the caller speaks: WebSockets, upgraded protocols.
 * Through a proxy they are tunnels. By ALPN they offer http/1.1.
 *
 *   mp_http_connect -> mp_http_wait -> mp_http_socket, _receive, _transmit ... -> mp_http_free
 *
 * Nothing is read or sent before the caller does so, and nothing watches the socket: poll it, after
 * a call has said MP_HTTP_AGAIN (TLS may hold bytes that the socket no longer shows). Stop polling
 * before mp_http_free closes it. Loop thread only. Errors as in http.h. */
#ifndef MP_CORE_HTTP_CONNECTION_H
#define MP_CORE_HTTP_CONNECTION_H

#include "http.h"

/* Of the options, those that say where and how to connect count; timeout_ms and idle_timeout_ms end
 * with the connection made. mp_http_wait calls back when it is; the connection ends with
 * mp_http_free. */
int mp_http_connect(mp_loop *loop, const mp_http_options *options, mp_http **http, mp_error *err);

/* The descriptor to poll; -1 when the connection is gone. */
int mp_http_socket(const mp_http *http);

typedef enum {
  MP_HTTP_MOVED, /* at least one byte */
  MP_HTTP_AGAIN, /* none now: poll */
  MP_HTTP_END,   /* the peer has ended its direction */
  MP_HTTP_FAILED /* *err is filled; code "closed" when the peer or the network broke it off */
} mp_http_moved;

mp_http_moved mp_http_receive(mp_http *http, void *into, size_t room, size_t *got, mp_error *err);

/* After MP_HTTP_AGAIN the same bytes, at the same address, must be given again (TLS has encrypted
 * them already). */
mp_http_moved mp_http_transmit(mp_http *http, const void *bytes, size_t len, size_t *sent,
                               mp_error *err);

#endif
