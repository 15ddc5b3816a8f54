/* What the kernel tells of changes, netlink(7). */
#ifndef MP_SHIM_NETLINK_H
#define MP_SHIM_NETLINK_H

#include <stdint.h>

enum {
  MP_SHIM_NETLINK_ROUTE = 0,
  MP_SHIM_NETLINK_UEVENT = 15,
  /* Groups. */
  MP_SHIM_UEVENT_KERNEL = 1,
  MP_SHIM_ROUTE_LINK = 1,
  MP_SHIM_ROUTE_ADDRESS = 0x10, /* of IPv4 */
  MP_SHIM_ROUTE_ROUTE = 0x40,
};

/* A non-blocking socket that hears of these groups; -1 with errno. */
int mp_shim_netlink_listen(int protocol, uint32_t groups);

#endif
