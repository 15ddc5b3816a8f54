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
  bool permanent;         /* has no end of life; else: */
  unsigned valid;         /* seconds that it has left */
  unsigned preferred;     /* seconds in which new connections may use it */
} mp_netlink_address;

typedef struct {
  mp_netlink_address *items;
  size_t count;
} mp_netlink_addresses;

void mp_netlink_addresses_reset(mp_netlink_addresses *addresses);

/* All of them. */
int mp_netlink_list_addresses(mp_netlink *nl, mp_netlink_addresses *addresses, mp_error *err);

#define MP_NETLINK_FOREVER 0xffffffffU

typedef struct {
  const mp_netlink_prefix *peer; /* the other end, where there is no subnet; NULL: none */
  bool replace;                  /* what is there already gets this life */
  unsigned valid, preferred;     /* seconds, MP_NETLINK_FOREVER; preferred is not the longer one */
} mp_netlink_address_options;

/* Adds one to a link, with the route to its subnet, or takes it away. options may be NULL: neither
 * peer nor end. EEXIST, EADDRNOTAVAIL. */
int mp_netlink_add_address(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                           const mp_netlink_address_options *options, mp_error *err);
int mp_netlink_delete_address(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                              mp_error *err);

#endif
