/* libwslay, which frames WebSocket messages, loaded on first use: a script that speaks no WebSocket
 * shall not wait for it. The table's members are the library's functions without their
 * `wslay_event_`. */
#ifndef MP_CORE_WSLAY_API_H
#define MP_CORE_WSLAY_API_H

#include "error.h"

#include <wslay/wslay.h>

#define MP_WSLAY_FUNCTIONS(X)                                                                      \
  X(context_client_init)                                                                           \
  X(context_free)                                                                                  \
  X(config_set_no_buffering)                                                                       \
  X(config_set_max_recv_msg_length)                                                                \
  X(recv)                                                                                          \
  X(send)                                                                                          \
  X(queue_msg)                                                                                     \
  X(queue_close)                                                                                   \
  X(set_error)                                                                                     \
  X(want_write)                                                                                    \
  X(get_read_enabled)                                                                              \
  X(get_close_sent)                                                                                \
  X(get_queued_msg_count)

typedef struct {
#define MP_WSLAY_MEMBER(name) __typeof__(&wslay_event_##name) name;
  MP_WSLAY_FUNCTIONS(MP_WSLAY_MEMBER)
#undef MP_WSLAY_MEMBER
} mp_wslay_api;

/* The table, loaded once per process; NULL and an error (domain "websocket", code "library") where
 * libwslay is missing. Loop thread only. */
const mp_wslay_api *mp_wslay_load(mp_error *err);

#endif
