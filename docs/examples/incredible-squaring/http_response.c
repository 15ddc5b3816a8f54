#include "http_response.h"

#include <string.h>
#include <strings.h>

void http_response_begin(http_response *r) {
  /* The two buffers are only read up to their lengths. */
  memset(r, 0, offsetof(http_response, line));
}

static bool digit(char c) {
  return c >= '0' && c <= '9';
}

static int parse_status_line(http_response *r, reason *why) {
  const char *line = r->line;
  if (strncmp(line, "HTTP/1.", 7) != 0 || !digit(line[7]) || line[8] != ' ' || !digit(line[9]) ||
      !digit(line[10]) || !digit(line[11]) || (line[12] != ' ' && line[12] != '\0'))
    return because(why, "the answer is not HTTP/1.x: `%.40s`", line);
  r->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  r->keep_alive = line[7] != '0';
  r->state = RESPONSE_HEADERS;
  return 0;
}

/* Whether a comma-separated header value holds `token`. */
static bool has_token(const char *value, const char *token) {
  size_t len = strlen(token);
  while (*value != '\0') {
    value += strspn(value, " \t,");
    size_t item = strcspn(value, " \t,");
    if (item == len && strncasecmp(value, token, len) == 0)
      return true;
    value += item;
  }
  return false;
}

static int parse_length(http_response *r, const char *value, reason *why) {
  uint64_t length = 0;
  size_t digits = 0;
  for (; digit(value[digits]) && digits < 18; digits++)
    length = length * 10 + (uint64_t)(value[digits] - '0');
  if (digits == 0 || value[digits + strspn(value + digits, " \t")] != '\0' ||
      (r->sized && length != r->remaining))
    return because(why, "bad Content-Length `%.40s`", value);
  r->sized = true;
  r->remaining = length;
  return 0;
}

static int parse_header(http_response *r, reason *why) {
  char *colon = strchr(r->line, ':');
  if (colon == NULL || colon == r->line)
    return because(why, "bad header line `%.40s`", r->line);
  if (++r->headers > RESPONSE_HEADERS_MAX)
    return because(why, "more than %d header lines", RESPONSE_HEADERS_MAX);
  *colon = '\0';
  const char *name = r->line, *value = colon + 1 + strspn(colon + 1, " \t");
  if (strcasecmp(name, "content-length") == 0)
    return parse_length(r, value, why);
  if (strcasecmp(name, "transfer-encoding") == 0) {
    if (!has_token(value, "chunked") || strchr(value, ',') != NULL)
      return because(why, "unknown Transfer-Encoding `%.40s`", value);
    r->chunked = true;
  } else if (strcasecmp(name, "connection") == 0) {
    if (has_token(value, "close"))
      r->keep_alive = false;
    else if (has_token(value, "keep-alive"))
      r->keep_alive = true;
  }
  return 0;
}

static void finish(http_response *r) {
  r->body[r->body_len] = '\0';
  r->state = RESPONSE_DONE;
}

static int end_of_headers(http_response *r, reason *why) {
  if (r->status == 101)
    return because(why, "the server switched protocols unasked");
  if (r->status < 200) { /* 100 Continue, 103 Early Hints: the real one follows */
    http_response_begin(r);
    return 0;
  }
  if (r->chunked) {
    if (r->sized) /* RFC 9112, 6.3: a sign of request smuggling; do not reuse the connection */
      r->keep_alive = false;
    r->state = RESPONSE_CHUNK_SIZE;
  } else if (r->status == 204 || r->status == 304 || (r->sized && r->remaining == 0)) {
    finish(r);
  } else if (r->sized) {
    r->state = RESPONSE_SIZED;
  } else {
    r->keep_alive = false;
    r->state = RESPONSE_UNTIL_CLOSE;
  }
  return 0;
}

static int parse_chunk_size(http_response *r, reason *why) {
  uint64_t size = 0;
  size_t digits = strspn(r->line, "0123456789abcdefABCDEF");
  char after = r->line[digits];
  if (digits == 0 || digits > 15 || (after != '\0' && after != ';' && after != ' '))
    return because(why, "bad chunk size `%.40s`", r->line);
  for (size_t i = 0; i < digits; i++) {
    char c = r->line[i];
    size = size * 16 + (uint64_t)(digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  r->remaining = size;
  r->state = size > 0 ? RESPONSE_CHUNK_DATA : RESPONSE_TRAILERS;
  return 0;
}

static int take_line(http_response *r, reason *why) {
  switch (r->state) {
  case RESPONSE_STATUS:
    return parse_status_line(r, why);
  case RESPONSE_HEADERS:
    return r->line[0] != '\0' ? parse_header(r, why) : end_of_headers(r, why);
  case RESPONSE_CHUNK_SIZE:
    return parse_chunk_size(r, why);
  case RESPONSE_CHUNK_END:
    if (r->line[0] != '\0')
      return because(why, "a chunk is longer than it said");
    r->state = RESPONSE_CHUNK_SIZE;
    return 0;
  default: /* RESPONSE_TRAILERS */
    if (r->line[0] == '\0')
      finish(r);
    else if (++r->headers > RESPONSE_HEADERS_MAX)
      return because(why, "more than %d header lines", RESPONSE_HEADERS_MAX);
    return 0;
  }
}

/* Collects up to the next newline. Returns the bytes used, or -1. */
static long feed_line(http_response *r, const char *bytes, size_t len, reason *why) {
  const char *newline = memchr(bytes, '\n', len);
  size_t used = newline ? (size_t)(newline - bytes) + 1 : len;
  size_t text = newline ? used - 1 : used;
  if (text > RESPONSE_LINE_MAX - r->line_len)
    return because(why, "a header line is longer than %d bytes", RESPONSE_LINE_MAX);
  if (memchr(bytes, '\0', text) != NULL)
    return because(why, "a header line holds a zero byte");
  memcpy(r->line + r->line_len, bytes, text);
  r->line_len += text;
  if (newline == NULL)
    return (long)used;
  if (r->line_len > 0 && r->line[r->line_len - 1] == '\r')
    r->line_len--;
  r->line[r->line_len] = '\0';
  r->line_len = 0;
  return take_line(r, why) == 0 ? (long)used : -1;
}

static long feed_body(http_response *r, const char *bytes, size_t len, reason *why) {
  if (r->state != RESPONSE_UNTIL_CLOSE && len > r->remaining)
    len = (size_t)r->remaining;
  if (len > RESPONSE_BODY_MAX - r->body_len)
    return because(why, "the answer is longer than %d bytes", RESPONSE_BODY_MAX);
  memcpy(r->body + r->body_len, bytes, len);
  r->body_len += len;
  if (r->state == RESPONSE_UNTIL_CLOSE)
    return (long)len;
  r->remaining -= len;
  if (r->remaining == 0 && r->state == RESPONSE_SIZED)
    finish(r);
  else if (r->remaining == 0)
    r->state = RESPONSE_CHUNK_END;
  return (long)len;
}

int http_response_feed(http_response *r, const char *bytes, size_t len, reason *why) {
  while (len > 0 && r->state != RESPONSE_DONE) {
    bool body = r->state == RESPONSE_SIZED || r->state == RESPONSE_UNTIL_CLOSE ||
                r->state == RESPONSE_CHUNK_DATA;
    long used = body ? feed_body(r, bytes, len, why) : feed_line(r, bytes, len, why);
    if (used < 0)
      return -1;
    bytes += used;
    len -= (size_t)used;
  }
  if (len > 0)
    r->keep_alive = false;
  return r->state == RESPONSE_DONE;
}

int http_response_eof(http_response *r, reason *why) {
  r->keep_alive = false;
  if (r->state == RESPONSE_UNTIL_CLOSE)
    finish(r);
  if (r->state == RESPONSE_DONE)
    return 1;
  return because(why, "the server closed the connection %s",
                 r->state == RESPONSE_STATUS ? "without an answer" : "in the middle of its answer");
}
