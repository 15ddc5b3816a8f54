#include "websocket_answer.h"

#include "encode.h"
#include "hash.h"
#include "mem.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define DOMAIN "websocket"
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, 1.3 */

/* ---- the head ------------------------------------------------------------------------------- */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* "HTTP/1.1 101 Switching Protocols" */
static int read_status_line(mp_websocket_answer *answer, mp_error *err) {
  char *line = answer->head.data;
  size_t len = strcspn(line, "\r\n");
  const char *code = line + 9;
  if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || !is_digit(line[7]) || line[8] != ' ' ||
      !is_digit(code[0]) || !is_digit(code[1]) || !is_digit(code[2]) ||
      (len > 12 && code[3] != ' ') || code[0] == '0')
    return mp_error_set(err, DOMAIN, MP_PROTOCOL, "the answer is not HTTP");
  answer->status = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
  answer->fields = len + (line[len] == '\r' && line[len + 1] == '\n' ? 2 : 1);
  line[len] = '\0';
  return 0;
}

const char *mp_websocket_answer_reason(const mp_websocket_answer *answer) {
  return answer->status != 0 && strlen(answer->head.data) > 13 ? answer->head.data + 13 : "";
}

mp_http_bytes mp_websocket_answer_fields(const mp_websocket_answer *answer) {
  if (answer->status == 0)
    return (mp_http_bytes){"", 0};
  return (mp_http_bytes){answer->head.data + answer->fields, answer->head.len - answer->fields};
}

/* True when the comma-separated list in `value` has this word in any case. */
static bool has_word(const char *value, size_t len, const char *word) {
  size_t word_len = strlen(word);
  for (size_t at = 0; at < len;) {
    const char *comma = memchr(value + at, ',', len - at);
    size_t end = comma ? (size_t)(comma - value) : len, next = end + 1;
    while (at < end && (value[at] == ' ' || value[at] == '\t'))
      at++;
    while (end > at && (value[end - 1] == ' ' || value[end - 1] == '\t'))
      end--;
    if (end - at == word_len && strncasecmp(value + at, word, word_len) == 0)
      return true;
    at = next;
  }
  return false;
}

static bool is_named(const mp_http_field *field, const char *name) {
  return field->name_len == strlen(name) && strncasecmp(field->name, name, field->name_len) == 0;
}

static int read_length(const mp_http_field *field, uint64_t *length, mp_error *err) {
  *length = 0;
  for (size_t i = 0; i < field->value_len; i++) {
    if (!is_digit(field->value[i]) || *length > UINT64_MAX / 100)
      return mp_error_set(err, DOMAIN, MP_PROTOCOL, "the answer's Content-Length is no number");
    *length = *length * 10 + (uint64_t)(field->value[i] - '0');
  }
  return 0;
}

/* How the body of a refusal ends (RFC 9112, 6.3). */
static int begin_body(mp_websocket_answer *answer, mp_error *err) {
  mp_http_bytes fields = mp_websocket_answer_fields(answer);
  mp_http_field field;
  answer->state = MP_ANSWER_TO_THE_END;
  bool chunked = false;
  for (size_t at = 0; mp_http_next_field(fields, &at, &field);) {
    if (is_named(&field, "Transfer-Encoding")) {
      chunked = has_word(field.value, field.value_len, "chunked");
    } else if (is_named(&field, "Content-Length")) {
      if (read_length(&field, &answer->left, err) < 0)
        return -1;
      answer->state = answer->left > 0 ? MP_ANSWER_SIZED : MP_ANSWER_COMPLETE;
    }
  }
  if (chunked) {
    answer->state = MP_ANSWER_CHUNK_SIZE;
    answer->left = 0;
  } else if (answer->status == 204 || answer->status == 304) {
    answer->state = MP_ANSWER_COMPLETE;
  }
  return 0;
}

static int end_head(mp_websocket_answer *answer, mp_error *err) {
  if (read_status_line(answer, err) < 0)
    return -1;
  if (answer->status == 101) {
    answer->state = MP_ANSWER_COMPLETE;
    return 0;
  }
  if (answer->status >= 200)
    return begin_body(answer, err);
  mp_buf_clear(&answer->head); /* 100 Continue and the like: the answer is still to come */
  answer->status = 0;
  return 0;
}

/* Appends up to and including the empty line. A bare LF ends a line too. */
static int feed_head(mp_websocket_answer *answer, const char *bytes, size_t len, size_t *used,
                     mp_error *err) {
  mp_buf *head = &answer->head;
  for (*used = 0; *used < len;) {
    if (head->len >= MP_WEBSOCKET_ANSWER_HEAD)
      return mp_error_set(err, DOMAIN, MP_LIMIT, "the answer's header is longer than %u bytes",
                          MP_WEBSOCKET_ANSWER_HEAD);
    const char *from = bytes + *used;
    const char *end = memchr(from, '\n', len - *used);
    size_t room = MP_WEBSOCKET_ANSWER_HEAD - head->len;
    size_t count = end ? (size_t)(end - from) + 1 : len - *used;
    bool whole = end && count <= room;
    mp_buf_append(head, from, count < room ? count : room);
    *used += count < room ? count : room;
    if (memchr(from, '\0', count))
      return mp_error_set(err, DOMAIN, MP_PROTOCOL, "the answer is not HTTP");
    size_t at = head->len;
    bool empty = whole && ((at >= 2 && head->data[at - 2] == '\n') ||
                           (at >= 3 && memcmp(head->data + at - 3, "\n\r\n", 3) == 0));
    if (empty)
      return end_head(answer, err);
  }
  return 0;
}

/* ---- the body ------------------------------------------------------------------------------- */

static void keep(mp_websocket_answer *answer, const char *bytes, size_t len) {
  size_t room = MP_WEBSOCKET_ANSWER_BODY - answer->body.len;
  mp_buf_append(&answer->body, bytes, len < room ? len : room);
  if (answer->body.len == MP_WEBSOCKET_ANSWER_BODY)
    answer->state = MP_ANSWER_COMPLETE; /* nobody reads the rest */
}

static size_t feed_counted(mp_websocket_answer *answer, const char *bytes, size_t len,
                           mp_websocket_answer_state next) {
  size_t count = len < answer->left ? len : (size_t)answer->left;
  keep(answer, bytes, count);
  answer->left -= count;
  if (answer->left == 0 && answer->state != MP_ANSWER_COMPLETE)
    answer->state = next;
  return count;
}

static int hex_digit(char c) {
  if (is_digit(c))
    return c - '0';
  int lower = tolower((unsigned char)c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* One byte of "1a;extension\r\n". */
static int feed_chunk_size(mp_websocket_answer *answer, char c, mp_error *err) {
  if (c == '\n') {
    if (answer->digits == 0)
      return mp_error_set(err, DOMAIN, MP_PROTOCOL, "the answer's chunks are malformed");
    answer->state = answer->left > 0 ? MP_ANSWER_CHUNK : MP_ANSWER_COMPLETE;
    answer->digits = 0;
    answer->skipping = false;
    return 0;
  }
  int value = hex_digit(c);
  if (answer->skipping || c == '\r')
    return 0;
  if (c == ';' || c == ' ' || c == '\t') {
    answer->skipping = true;
    return 0;
  }
  if (value < 0 || ++answer->digits > 15)
    return mp_error_set(err, DOMAIN, MP_PROTOCOL, "the answer's chunks are malformed");
  answer->left = answer->left << 4 | (unsigned)value;
  return 0;
}

/* The line end behind a chunk. */
static int feed_chunk_end(mp_websocket_answer *answer, char c, mp_error *err) {
  if (c == '\n')
    answer->state = MP_ANSWER_CHUNK_SIZE;
  else if (c != '\r')
    return mp_error_set(err, DOMAIN, MP_PROTOCOL, "the answer's chunks are malformed");
  return 0;
}

static int feed_some(mp_websocket_answer *answer, const char *bytes, size_t len, size_t *used,
                     mp_error *err) {
  *used = 1;
  switch (answer->state) {
  case MP_ANSWER_HEAD:
    return feed_head(answer, bytes, len, used, err);
  case MP_ANSWER_SIZED:
    *used = feed_counted(answer, bytes, len, MP_ANSWER_COMPLETE);
    return 0;
  case MP_ANSWER_TO_THE_END:
    *used = len;
    keep(answer, bytes, len);
    return 0;
  case MP_ANSWER_CHUNK_SIZE:
    return feed_chunk_size(answer, *bytes, err);
  case MP_ANSWER_CHUNK:
    *used = feed_counted(answer, bytes, len, MP_ANSWER_CHUNK_END);
    return 0;
  case MP_ANSWER_CHUNK_END:
    return feed_chunk_end(answer, *bytes, err);
  case MP_ANSWER_COMPLETE:
    *used = 0;
    return 0;
  }
  return 0;
}

int mp_websocket_answer_feed(mp_websocket_answer *answer, const char *bytes, size_t len,
                             size_t *used, mp_error *err) {
  for (*used = 0; *used < len && answer->state != MP_ANSWER_COMPLETE;) {
    size_t count;
    if (feed_some(answer, bytes + *used, len - *used, &count, err) < 0)
      return -1;
    *used += count;
  }
  return 0;
}

int mp_websocket_answer_end(mp_websocket_answer *answer, mp_error *err) {
  if (answer->state == MP_ANSWER_HEAD)
    return mp_error_set(err, DOMAIN, "closed",
                        answer->head.len > 0 ? "the connection ended within the answer"
                                             : "the connection ended without an answer");
  /* A refusal whose body was cut short still tells why. */
  answer->state = MP_ANSWER_COMPLETE;
  return 0;
}

/* ---- is it a yes? --------------------------------------------------------------------------- */

static int not_websocket(mp_error *err, const char *what) {
  return mp_error_set(err, DOMAIN, MP_PROTOCOL, "the server does not speak WebSocket here: %s",
                      what);
}

static int check_accept(const mp_http_field *accept, const char *key, mp_error *err) {
  uint8_t digest[MP_HASH_MAX];
  mp_auto_buf mp_buf wanted = MP_BUF_INIT;
  mp_auto_free char *text = mp_sprintf("%s" GUID, key);
  mp_hash_of(MP_HASH_SHA1, text, strlen(text), digest);
  mp_base64_encode(&wanted, digest, mp_hash_size(MP_HASH_SHA1), false);
  if (accept->value_len == wanted.len && memcmp(accept->value, wanted.data, wanted.len) == 0)
    return 0;
  return not_websocket(err, "its Sec-WebSocket-Accept answers another request");
}

static int find_protocol(const mp_http_field *chosen, const char *const *protocols, size_t count,
                         const char **protocol, mp_error *err) {
  for (size_t i = 0; i < count; i++) {
    if (strlen(protocols[i]) == chosen->value_len &&
        memcmp(protocols[i], chosen->value, chosen->value_len) == 0) {
      *protocol = protocols[i];
      return 0;
    }
  }
  return mp_error_set(err, DOMAIN, MP_PROTOCOL,
                      "the server chose the protocol `%.*s`, which was not offered",
                      (int)chosen->value_len, chosen->value);
}

int mp_websocket_answer_check(const mp_websocket_answer *answer, const char *key,
                              const char *const *protocols, size_t protocol_count,
                              const char **protocol, mp_error *err) {
  mp_http_bytes fields = mp_websocket_answer_fields(answer);
  mp_http_field field;
  const char *chosen = NULL;
  bool upgrade = false, connection = false;
  unsigned accepts = 0, choices = 0;
  for (size_t at = 0; mp_http_next_field(fields, &at, &field);) {
    if (is_named(&field, "Upgrade"))
      upgrade |= has_word(field.value, field.value_len, "websocket");
    else if (is_named(&field, "Connection"))
      connection |= has_word(field.value, field.value_len, "upgrade");
    else if (is_named(&field, "Sec-WebSocket-Extensions") && field.value_len > 0)
      return not_websocket(err, "it uses an extension that was not offered");
    else if (is_named(&field, "Sec-WebSocket-Accept")) {
      if (accepts++ > 0 || check_accept(&field, key, err) < 0)
        return err->domain ? -1 : not_websocket(err, "its answer has two Sec-WebSocket-Accept");
    } else if (is_named(&field, "Sec-WebSocket-Protocol")) {
      if (choices++ > 0 || find_protocol(&field, protocols, protocol_count, &chosen, err) < 0)
        return err->domain ? -1 : not_websocket(err, "its answer chooses two protocols");
    }
  }
  if (!upgrade || !connection)
    return not_websocket(err, "its answer does not upgrade to it");
  if (accepts == 0)
    return not_websocket(err, "its answer has no Sec-WebSocket-Accept");
  *protocol = chosen;
  return 0;
}

void mp_websocket_answer_reset(mp_websocket_answer *answer) {
  mp_buf_free(&answer->head);
  mp_buf_free(&answer->body);
  *answer = (mp_websocket_answer){0};
}
