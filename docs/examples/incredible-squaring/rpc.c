#include "rpc.h"

#include "json.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t rpc_block_number_request(char out[RPC_REQUEST_MAX], const url *to, uint32_t id) {
  char body[96];
  int body_len = snprintf(body, sizeof body,
                          "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"eth_blockNumber\","
                          "\"params\":[]}",
                          id);
  int len = snprintf(out, RPC_REQUEST_MAX,
                     "POST %s HTTP/1.1\r\n"
                     "Host: %s\r\n"
                     "User-Agent: incredible-squaring\r\n"
                     "Accept: application/json\r\n"
                     "Content-Type: application/json\r\n"
                     "Content-Length: %d\r\n"
                     "\r\n%s",
                     to->target, to->authority, body_len, body);
  return (size_t)len;
}

/* "0x" and hexadecimal digits, as the Ethereum API writes numbers. */
static int parse_quantity(uint64_t *out, const char *text, reason *why) {
  uint64_t value = 0;
  const char *digits = text + 2;
  if (strncmp(text, "0x", 2) != 0 || *digits == '\0' ||
      digits[strspn(digits, "0123456789abcdefABCDEF")] != '\0')
    return because(why, "`%.40s` is not a block number", text);
  for (; *digits != '\0'; digits++) {
    char c = *digits;
    if (value >> 60 != 0)
      return because(why, "block number `%.40s` does not fit 64 bits", text);
    value = value * 16 + (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  if (value == UINT64_MAX) /* there must be a next one */
    return because(why, "`%.40s` is not a block number", text);
  *out = value;
  return 0;
}

typedef struct {
  bool has_result, has_error;
  char result[80];
  long long id;
  long long code;
  char message[160];
} answer;

static bool read_error(json *j, answer *a) {
  char key[16];
  bool first = true;
  int more;
  a->has_error = true;
  if (json_peek(j) != '{')
    return json_skip(j);
  json_enter_object(j);
  while ((more = json_next_member(j, &first, key, sizeof key)) == 1) {
    bool text = strcmp(key, "message") == 0 && json_peek(j) == '"';
    bool number = strcmp(key, "code") == 0 && json_peek(j) == '0';
    if (!(text     ? json_string(j, a->message, sizeof a->message)
          : number ? json_integer(j, &a->code)
                   : json_skip(j)))
      return false;
  }
  return more == 0;
}

static bool read_member(json *j, const char *key, answer *a) {
  char kind = json_peek(j);
  if (strcmp(key, "result") == 0 && kind == '"') {
    a->has_result = true;
    return json_string(j, a->result, sizeof a->result);
  }
  if (strcmp(key, "error") == 0 && kind != 'n')
    return read_error(j, a);
  if (strcmp(key, "id") == 0 && kind == '0')
    return json_integer(j, &a->id);
  return json_skip(j);
}

static bool read_answer(json *j, answer *a) {
  char key[16];
  bool first = true;
  int more;
  if (!json_enter_object(j))
    return false;
  while ((more = json_next_member(j, &first, key, sizeof key)) == 1)
    if (!read_member(j, key, a))
      return false;
  return more == 0 && json_at_end(j);
}

int rpc_block_number_answer(uint64_t *block, const char *body, size_t len, uint32_t id,
                            reason *why) {
  answer a = {.id = -1};
  json j = {body, body + len};
  if (!read_answer(&j, &a))
    return because(why, "the answer is not a JSON-RPC object: `%.*s`", (int)(len < 60 ? len : 60),
                   body);
  if (a.has_error)
    return because(why, "the node refused: %s (%lld)", a.message, a.code);
  if (a.id != (long long)id)
    return because(why, "the answer belongs to another request");
  if (!a.has_result)
    return because(why, "the answer has no result");
  return parse_quantity(block, a.result, why);
}
