/* Addresses and prefixes, IPv4 and IPv6, and their text. Callable from any thread. */
#ifndef MP_CORE_NETLINK_PREFIX_H
#define MP_CORE_NETLINK_PREFIX_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
  int family; /* AF_INET, AF_INET6; 0: none */
  unsigned char bytes[16];
  unsigned length; /* bits of the prefix; all of them for an address alone */
} mp_netlink_prefix;

#define MP_NETLINK_PREFIX_TEXT 64

/* Bytes of an address of this family: 4, 16, or 0 for another one. */
size_t mp_netlink_family_size(int family);

/* Reads "172.30.0.1/30", "172.30.0.1", "fe80::1/64". Error code "invalid". */
int mp_netlink_prefix_parse(const char *text, mp_netlink_prefix *prefix, mp_error *err);

/* Writes it, with "/LENGTH" if `with_length`. An empty one gives "". */
void mp_netlink_prefix_format(const mp_netlink_prefix *prefix, bool with_length,
                              char text[MP_NETLINK_PREFIX_TEXT]);

#endif
