#include "prefix.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define DOMAIN "netlink"

size_t mp_netlink_family_size(int family) {
  return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static int not_a_prefix(const char *text, mp_error *err) {
  mp_error_set(err, DOMAIN, MP_INVALID, "`%s` is not an address", text);
  return mp_error_hint(err, "write it like 172.30.0.1/30 or fe80::1/64");
}

/* The digits after the slash; -1 where they are none or too many. */
static int parse_length(const char *digits, unsigned most) {
  unsigned length = 0;
  size_t count = strspn(digits, "0123456789");
  if (count == 0 || count > 3 || digits[count] != '\0')
    return -1;
  for (; *digits; digits++)
    length = length * 10 + (unsigned)(*digits - '0');
  return length <= most ? (int)length : -1;
}

int mp_netlink_prefix_parse(const char *text, mp_netlink_prefix *prefix, mp_error *err) {
  char address[INET6_ADDRSTRLEN];
  mp_netlink_prefix result = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};
  size_t len = strcspn(text, "/");
  if (len >= sizeof address)
    return not_a_prefix(text, err);
  memcpy(address, text, len);
  address[len] = '\0';
  if (inet_pton(result.family, address, result.bytes) != 1)
    return not_a_prefix(text, err);
  result.length = (unsigned)mp_netlink_family_size(result.family) * 8;
  if (text[len] == '/') {
    int length = parse_length(text + len + 1, result.length);
    if (length < 0)
      return not_a_prefix(text, err);
    result.length = (unsigned)length;
  }
  *prefix = result;
  return 0;
}

void mp_netlink_prefix_format(const mp_netlink_prefix *prefix, bool with_length,
                              char text[MP_NETLINK_PREFIX_TEXT]) {
  text[0] = '\0';
  if (mp_netlink_family_size(prefix->family) == 0 ||
      !inet_ntop(prefix->family, prefix->bytes, text, INET6_ADDRSTRLEN))
    return;
  size_t len = strlen(text);
  if (with_length)
    snprintf(text + len, MP_NETLINK_PREFIX_TEXT - len, "/%u", prefix->length);
}
