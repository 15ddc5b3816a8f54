/* Connections to the kernel's routing netlink: what links.h, addresses.h, routes.h and neighbours.h
 * act through.
 *
 * libnl-3 frames, fills and takes apart the messages. Of libnl-route, whose objects know neither a
 * TAP's owner nor the text that the kernel adds to a refusal, nothing is used: loading it would
 * cost every start of moonport 0.2 ms.
 *
 * The kernel answers within the call that asks, but it may first have to wait for its one lock on
 * network settings (rtnl), which the removal of an interface holds for 20 ms. So these functions
 * block: they are for a pool thread (mp_work_start), one thread at a time for each connection.
 * Where several changes belong together, one function makes them together.
 *
 * Error domain "netlink". The code is the errno's name (EEXIST, ENODEV, EPERM, ...), the message
 * names the object and ends in the kernel's own explanation where it gave one. */
#ifndef MP_CORE_NETLINK_H
#define MP_CORE_NETLINK_H

#include "core/error.h"

typedef struct mp_netlink mp_netlink;

/* Opens a connection in the network namespace `netns` (namespace.h), -1: the process's own. Takes
 * the descriptor over, also on failure. */
int mp_netlink_open(int netns, mp_netlink **connection, mp_error *err);

/* Closes it; NULL is fine. */
void mp_netlink_close(mp_netlink *connection);

#endif
