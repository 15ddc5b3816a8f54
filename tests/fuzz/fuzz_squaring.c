/* The example blueprint's reading of a node's answer: HTTP in two pieces, then JSON-RPC. */
#include "docs/examples/incredible-squaring/http_response.h"
#include "docs/examples/incredible-squaring/rpc.h"

#include <stdlib.h>
#include <string.h>

static http_response response;

/* Whether the bytes, cut at `cut`, make a complete answer. */
static bool parse(const char *bytes, size_t len, size_t cut) {
  reason why;
  http_response_begin(&response);
  int ended = http_response_feed(&response, bytes, cut, &why);
  if (ended >= 0)
    ended = http_response_feed(&response, bytes + cut, len - cut, &why);
  if (ended == 0)
    ended = http_response_eof(&response, &why);
  return ended > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char whole[RESPONSE_BODY_MAX + 1];
  uint64_t block;
  reason why;
  if (size == 0)
    return 0;
  const char *bytes = (const char *)data + 1;
  bool complete = parse(bytes, size - 1, 0);
  size_t len = complete ? response.body_len : 0;
  memcpy(whole, response.body, len);
  /* Where the network cuts the bytes changes nothing. */
  if (parse(bytes, size - 1, data[0] % size) != complete ||
      (complete && (response.body_len != len || memcmp(response.body, whole, len) != 0)))
    abort();

  /* A copy of exactly this length shows a read past the end. */
  char *body = malloc(size - 1);
  memcpy(body, bytes, size - 1);
  rpc_block_number_answer(&block, body, size - 1, 1, &why);
  free(body);
  if (complete)
    rpc_block_number_answer(&block, response.body, response.body_len, 1, &why);
  return 0;
}
