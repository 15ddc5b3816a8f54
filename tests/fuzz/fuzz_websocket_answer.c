/* The answer to an upgrade request, cut into two at a place that the input chooses. */
#include "core/websocket_answer.h"

#include <stdint.h>
#include <stdlib.h>

static int feed(mp_websocket_answer *answer, const char *bytes, size_t len, mp_error *err) {
  size_t used = 0;
  int rc = mp_websocket_answer_feed(answer, bytes, len, &used, err);
  if (rc == 0 && (used > len || (used < len && answer->state != MP_ANSWER_COMPLETE)))
    abort();
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const offered[] = {"v5.channel.k8s.io", "v4.channel.k8s.io"};
  const char *protocol = NULL;
  mp_websocket_answer answer = {0};
  mp_error err = MP_ERROR_INIT;
  if (size == 0)
    return 0;
  const char *text = (const char *)data + 1;
  size_t len = size - 1, cut = data[0] < len ? data[0] : len;
  if (feed(&answer, text, cut, &err) == 0 &&
      (answer.state == MP_ANSWER_COMPLETE || feed(&answer, text + cut, len - cut, &err) == 0) &&
      mp_websocket_answer_end(&answer, &err) == 0)
    mp_websocket_answer_check(&answer, "dGhlIHNhbXBsZSBub25jZQ==", offered, 2, &protocol, &err);
  mp_websocket_answer_reason(&answer);
  mp_http_field field;
  for (size_t at = 0; mp_http_next_field(mp_websocket_answer_fields(&answer), &at, &field);)
    ;
  if (answer.body.len > MP_WEBSOCKET_ANSWER_BODY || answer.head.len > MP_WEBSOCKET_ANSWER_HEAD)
    abort();
  mp_error_reset(&err);
  mp_websocket_answer_reset(&answer);
  return 0;
}
