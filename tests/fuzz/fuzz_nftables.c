/* Whatever comes from a netlink socket, told to a visitor that looks at every byte. */
#include "core/nftables/reader.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static volatile unsigned sum;

static void see_begin(void *data, mp_nft_kind kind, bool gone, unsigned family) {
  (void)data;
  sum += kind + gone + family;
}

static void see_number(void *data, const char *name, int64_t value) {
  (void)data;
  sum += (unsigned)value + (unsigned)strlen(name);
}

static void see_bytes(void *data, const char *name, const void *bytes, size_t len) {
  (void)data;
  for (size_t i = 0; i < len; i++)
    sum += ((const unsigned char *)bytes)[i];
  sum += (unsigned)strlen(name);
}

static void see_enter(void *data, const char *expression) {
  (void)data;
  sum += expression ? (unsigned)strlen(expression) : 0;
}

static void see_nothing(void *data) {
  (void)data;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
  static const mp_nft_visitor visitor = {see_begin, see_number,  see_bytes,
                                         see_enter, see_nothing, see_nothing};
  mp_error err = MP_ERROR_INIT;
  mp_nft_read(bytes, len, &visitor, NULL, &err);
  mp_error_reset(&err);
  const void *at = bytes;
  for (mp_nft_answer answer; mp_nft_next_answer(&at, &len, &answer);)
    sum += answer.text ? (unsigned)strlen(answer.text) : answer.sequence;
  return 0;
}
