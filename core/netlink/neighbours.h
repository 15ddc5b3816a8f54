/* Neighbours: which hardware address answers to an address on a link. See netlink.h for threads and
 * errors. */
#ifndef MP_CORE_NETLINK_NEIGHBOURS_H
#define MP_CORE_NETLINK_NEIGHBOURS_H

#include "netlink.h"
#include "prefix.h"

#include <stddef.h>

typedef struct {
  mp_netlink_prefix address;
  int link; /* index */
  unsigned char hardware[32];
  size_t hardware_len; /* 0: not known */
  unsigned state;      /* NUD_REACHABLE, ... */
  bool proxy;
} mp_netlink_neighbour;

typedef struct {
  mp_netlink_neighbour *items;
  size_t count;
} mp_netlink_neighbours;

void mp_netlink_neighbours_reset(mp_netlink_neighbours *neighbours);

/* Those of IPv4 and IPv6. */
int mp_netlink_list_neighbours(mp_netlink *nl, mp_netlink_neighbours *neighbours, mp_error *err);

/* Makes an entry that does not expire, or puts one in its place if `replace`. */
int mp_netlink_add_neighbour(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                             const unsigned char *hardware, size_t hardware_len, bool replace,
                             mp_error *err);
int mp_netlink_delete_neighbour(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                                mp_error *err);

#endif
