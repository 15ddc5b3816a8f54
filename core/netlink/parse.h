/* Messages of the routing netlink as plain data. Pure functions: they look at nothing but the
 * message, whose length they do not trust beyond its header's `nlmsg_len`, which the caller has
 * checked to be there. Each returns false where the message is not of its kind or is cut short. */
#ifndef MP_CORE_NETLINK_PARSE_H
#define MP_CORE_NETLINK_PARSE_H

#include "addresses.h"
#include "links.h"
#include "neighbours.h"
#include "routes.h"

#include <linux/netlink.h>

/* The end of an answer: NLMSG_ERROR or NLMSG_DONE. */
typedef struct {
  int errnum;       /* positive; 0: done */
  const char *text; /* the kernel's explanation, in the message, not NUL-ended; NULL: none */
  size_t text_len;
} mp_netlink_ack;

bool mp_netlink_parse_ack(const struct nlmsghdr *message, mp_netlink_ack *ack);

/* The caller resets the link after, also where this returns false. */
bool mp_netlink_parse_link(const struct nlmsghdr *message, mp_netlink_link *link);
bool mp_netlink_parse_address(const struct nlmsghdr *message, mp_netlink_address *address);
/* The caller resets the route after, also where this returns false. */
bool mp_netlink_parse_route(const struct nlmsghdr *message, mp_netlink_route *route);
bool mp_netlink_parse_neighbour(const struct nlmsghdr *message, mp_netlink_neighbour *neighbour);

#endif
