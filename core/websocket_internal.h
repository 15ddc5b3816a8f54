/* What the files of the websocket module share.
 *
 *   websocket.c           lifetime, operations, when to call back
 *   websocket_open.c      from options to an open connection
 *   websocket_request.c   the upgrade request
 *   websocket_answer.c    the answer to it (a header of its own)
 *   websocket_frames.c    bytes <-> messages, by libwslay
 *   websocket_alive.c     pings, silent peers
 *
 * Bytes move in mp_websocket_turn_ alone, which the loop calls; what happened is marked, and the
 * operations that it concerns are called back at the end of the turn. */
#ifndef MP_CORE_WEBSOCKET_INTERNAL_H
#define MP_CORE_WEBSOCKET_INTERNAL_H

#include "curl_api.h"
#include "http_connection.h"
#include "websocket.h"
#include "websocket_answer.h"
#include "wslay_api.h"

#include <sys/queue.h>

#define MP_WEBSOCKET "websocket"
#define MP_WEBSOCKET_OUT 65536        /* bytes of frames that wait for the socket */
#define MP_WEBSOCKET_IN 65536         /* bytes that one read brings */
#define MP_WEBSOCKET_MESSAGE_COST 128 /* bytes that a held message takes beside its content */

typedef struct {
  mp_op op; /* first: the operation is the waiter */
  mp_websocket *websocket;
  bool active, cancelled;
} mp_websocket_waiter;

typedef struct mp_websocket_message mp_websocket_message;
struct mp_websocket_message {
  STAILQ_ENTRY(mp_websocket_message) link;
  mp_websocket_kind kind;
  mp_buf bytes;
};

typedef struct mp_websocket_sending mp_websocket_sending;
struct mp_websocket_sending {
  mp_op op; /* first */
  TAILQ_ENTRY(mp_websocket_sending) link;
  mp_websocket *websocket;
  mp_websocket_cb cb;
  void *data;
  bool begun; /* libwslay has its bytes */
  bool sent;
  bool cancelled;
  mp_websocket_kind kind;
  size_t len;
  char bytes[];
};

typedef enum {
  MP_WEBSOCKET_CONNECTING, /* by libcurl */
  MP_WEBSOCKET_ASKING,     /* request and answer */
  MP_WEBSOCKET_OPEN,
  MP_WEBSOCKET_CLOSED /* error says why, unless it was by the rules */
} mp_websocket_phase;

struct mp_websocket {
  mp_loop *loop;
  mp_http *http; /* NULL once it is over */
  const mp_wslay_api *api;
  wslay_event_context_ptr frames; /* NULL before it is open */
  mp_websocket_phase phase;
  char *url;      /* redacted */
  char *protocol; /* NULL: none */
  mp_error error;
  bool freed;
  /* The owner, the open handles, the wait for the connection, a turn under way. */
  unsigned refs;

  uv_poll_t poll; /* initialised while the socket is there */
  bool polling;
  int events; /* what it looks for */
  uv_timer_t timer;
  uv_idle_t kick; /* a turn is due */

  /* opening */
  mp_websocket_waiter opening;
  mp_websocket_connect_cb on_open;
  void *on_open_data;
  mp_op *connecting; /* NULL once there is a connection */
  mp_buf request;    /* wiped */
  size_t requested;  /* bytes of it that were sent */
  char key[32];      /* Sec-WebSocket-Key */
  char **protocols;  /* offered, ended by NULL */
  size_t protocol_count;
  mp_websocket_answer answer;

  /* receiving */
  char in[MP_WEBSOCKET_IN];
  size_t in_at, in_len;
  bool drained;  /* the socket had nothing more to give */
  bool at_end;   /* nor will it */
  mp_error lost; /* how reading failed */
  mp_error cut;  /* how writing failed: the rest that the peer sent can still be read */
  bool too_long; /* a message is over the limit */
  size_t budget; /* bytes that this turn may still read */
  mp_buf partial;
  bool in_data_frame;
  STAILQ_HEAD(, mp_websocket_message) inbox;
  mp_websocket_message *taken; /* lent to the caller */
  size_t inbox_bytes, buffer, max_message;
  bool held_up; /* the reader is slow */
  unsigned close_code;
  char close_reason[MP_WEBSOCKET_MAX_REASON + 1];
  mp_websocket_waiter receiving;
  mp_websocket_receive_cb on_message;
  void *on_message_data;

  /* sending */
  char out[MP_WEBSOCKET_OUT];
  size_t out_at, out_len;
  bool stalled; /* the socket takes no more at present */
  TAILQ_HEAD(, mp_websocket_sending) sends;
  bool message_under_way; /* libwslay has a data message, cancelled or not */

  /* closing */
  mp_websocket_waiter closing;
  mp_websocket_cb on_closed;
  void *on_closed_data;
  bool close_queued;
  unsigned own_code;
  char own_reason[MP_WEBSOCKET_MAX_REASON + 1];
  uint64_t close_due; /* loop time; 0: not closing */
  bool close_late;

  /* alive */
  uint64_t timer_due; /* what the timer is set to; 0: it is not */
  uint64_t ping_ms, heard_at, next_ping, opening_due;
  unsigned asked;              /* how often since something was heard */
  uint64_t ping_id, ponged_id; /* of the last sent, of the last answered */
  uint64_t needed_id;          /* once answered, the peer has read all data sent before */
  bool may_stall;
  mp_websocket_waiter pinging;
  mp_websocket_cb on_pong;
  void *on_pong_data;
  uint64_t pinging_id;
};

/* websocket.c */
void mp_websocket_turn_(mp_websocket *self);
void mp_websocket_turn_later_(mp_websocket *self);
void mp_websocket_unref_(mp_websocket *self);
void mp_websocket_arm_(mp_websocket *self); /* looks for what can happen next */
/* The first failure counts; ends the connection. Returns -1. */
int mp_websocket_fail_(mp_websocket *self, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mp_websocket_fail_with_(mp_websocket *self, mp_error *err); /* empties *err */
void mp_websocket_end_(mp_websocket *self);  /* the connection is over, by the rules or not */
int mp_websocket_watch_(mp_websocket *self); /* polls the socket from now on */

/* websocket_open.c */
void mp_websocket_opening_turn_(mp_websocket *self);
void mp_websocket_forget_opening_(mp_websocket *self);

/* websocket_request.c: fills url, key and request; *http_url is what libcurl shall connect to. */
int mp_websocket_make_request_(mp_websocket *self, const mp_websocket_options *options,
                               char **http_url, mp_error *err);

/* websocket_frames.c */
int mp_websocket_begin_frames_(mp_websocket *self, mp_error *err);
void mp_websocket_read_frames_(mp_websocket *self);
void mp_websocket_write_frames_(mp_websocket *self);
bool mp_websocket_wants_input_(const mp_websocket *self);
void mp_websocket_free_message_(mp_websocket_message *message);

/* websocket_alive.c */
void mp_websocket_send_ping_(mp_websocket *self);
void mp_websocket_ponged_(mp_websocket *self, const uint8_t *bytes, size_t len);
void mp_websocket_data_sent_(mp_websocket *self);
void mp_websocket_heard_(mp_websocket *self); /* a byte of the peer's */
void mp_websocket_watch_network_(const mp_websocket *self);
/* What is due by now; once all that has come was read: who is late may be us. */
void mp_websocket_check_times_(mp_websocket *self);
uint64_t mp_websocket_next_due_(const mp_websocket *self); /* loop time; UINT64_MAX: nothing */

#endif
