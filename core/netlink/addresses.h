/* Addresses on links. See netlink.h for threads and errors. */
#ifndef MP_CORE_NETLINK_ADDRESSES_H
#define MP_CORE_NETLINK_ADDRESSES_H

#include "netlink.h"
#include "prefix.h"

typedef struct {
  mp_netlink_prefix address;
  mp_netlink_prefix peer; /* family 0: none */
  int link;               /* index */
  unsigned scope;         /* as in rtnetlink(7) */
  bool permanent;         /* has no end of life */
} mp_netlink_address;

typedef struct {
  mp_netlink_address *items;
  size_t count;
} mp_netlink_addresses;

void mp_netlink_addresses_reset(mp_netlink_addresses *addresses);

/* All of them. */
int mp_netlink_list_addresses(mp_netlink *nl, mp_netlink_addresses *addresses, mp_error *err);

/* Adds one to a link, with the route to its subnet, or takes it away. peer: the other end, where
 * there is no subnet; may be NULL. EEXIST, EADDRNOTAVAIL. */
int mp_netlink_add_address(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                           const mp_netlink_prefix *peer, mp_error *err);
int mp_netlink_delete_address(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                              mp_error *err);

#endif
