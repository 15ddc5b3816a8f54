/* The answer to an upgrade request, read byte by byte as it comes: "101 Switching Protocols", after
 * which the bytes belong to the new protocol, or a refusal with its body. A value without I/O, so
 * that it can be tested and fuzzed alone.
 *
 * RFC 9112 (framing of the body), RFC 6455 (what makes the answer a yes). */
#ifndef MP_CORE_WEBSOCKET_ANSWER_H
#define MP_CORE_WEBSOCKET_ANSWER_H

#include "buf.h"
#include "error.h"
#include "http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_WEBSOCKET_ANSWER_HEAD (64u << 10) /* bytes of status line and fields */
#define MP_WEBSOCKET_ANSWER_BODY (64u << 10) /* bytes of a refusal's body that are kept */

typedef enum {
  MP_ANSWER_HEAD,
  MP_ANSWER_SIZED,      /* a body of `left` more bytes */
  MP_ANSWER_TO_THE_END, /* a body that ends with the connection */
  MP_ANSWER_CHUNK_SIZE,
  MP_ANSWER_CHUNK,
  MP_ANSWER_CHUNK_END,
  MP_ANSWER_COMPLETE
} mp_websocket_answer_state;

typedef struct {
  mp_websocket_answer_state state;
  int status;      /* 0 while there is none */
  mp_buf head;     /* status line, ended by a NUL, and fields */
  mp_buf body;     /* of a refusal; what is over the limit is left out */
  size_t fields;   /* where the fields begin in `head` */
  uint64_t left;   /* bytes to come of the body or the chunk */
  unsigned digits; /* of a chunk's size */
  bool skipping;   /* an extension after a chunk's size */
} mp_websocket_answer;

/* Takes in up to `len` bytes and sets *used to how many were the answer's; the state is then
 * COMPLETE, or more are needed. Fails with domain "websocket", code MP_PROTOCOL or MP_LIMIT. */
int mp_websocket_answer_feed(mp_websocket_answer *answer, const char *bytes, size_t len,
                             size_t *used, mp_error *err);

/* The connection has ended. Fails with code "closed" where that is too early. */
int mp_websocket_answer_end(mp_websocket_answer *answer, mp_error *err);

/* The reason phrase; "" where there is none. */
const char *mp_websocket_answer_reason(const mp_websocket_answer *answer);

/* The header fields; see mp_http_next_field. */
mp_http_bytes mp_websocket_answer_fields(const mp_websocket_answer *answer);

/* Whether a complete answer with status 101 is a yes to a request with this Sec-WebSocket-Key and
 * these protocols; *protocol becomes the one that was chosen, NULL for none. Fails with code
 * MP_PROTOCOL. */
int mp_websocket_answer_check(const mp_websocket_answer *answer, const char *key,
                              const char *const *protocols, size_t protocol_count,
                              const char **protocol, mp_error *err);

/* Releases what *answer holds. */
void mp_websocket_answer_reset(mp_websocket_answer *answer);

#endif
