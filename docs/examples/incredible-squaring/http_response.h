/* An incremental parser for one HTTP/1.1 response (RFC 9112). It does no I/O: bytes go in as they
 * arrive, in pieces of any size. All three ways a body can end are understood: Content-Length,
 * chunked, and close. */
#ifndef SQUARING_HTTP_RESPONSE_H
#define SQUARING_HTTP_RESPONSE_H

#include "reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  RESPONSE_STATUS,
  RESPONSE_HEADERS,
  RESPONSE_SIZED,
  RESPONSE_UNTIL_CLOSE,
  RESPONSE_CHUNK_SIZE,
  RESPONSE_CHUNK_DATA,
  RESPONSE_CHUNK_END,
  RESPONSE_TRAILERS,
  RESPONSE_DONE,
} response_state;

/* More than enough for a block number and for the error page of a proxy. */
#define RESPONSE_BODY_MAX 65536
#define RESPONSE_LINE_MAX 8192
#define RESPONSE_HEADERS_MAX 100

typedef struct {
  response_state state;
  int status;
  bool keep_alive; /* the connection may carry another request */
  bool chunked;
  bool sized;
  uint64_t remaining; /* of the body or of the chunk */
  int headers;
  size_t body_len;
  size_t line_len;
  char line[RESPONSE_LINE_MAX + 1];
  char body[RESPONSE_BODY_MAX + 1]; /* ends in NUL once the state is RESPONSE_DONE */
} http_response;

void http_response_begin(http_response *r);

/* Takes bytes that arrived. Returns 1 when the response is complete, 0 when it goes on, -1 with
 * *why when it is not HTTP or exceeds a limit. Bytes after the end clear keep_alive. */
int http_response_feed(http_response *r, const char *bytes, size_t len, reason *why);

/* The connection ended. Returns 1 when that completes the response, else -1 with *why. */
int http_response_eof(http_response *r, reason *why);

#endif
