/* Routes. See netlink.h for threads and errors. */
#ifndef MP_CORE_NETLINK_ROUTES_H
#define MP_CORE_NETLINK_ROUTES_H

#include "netlink.h"
#include "prefix.h"

#define MP_NETLINK_TABLE_MAIN 254

typedef struct {
  mp_netlink_prefix via; /* family 0: the other end is on the link itself */
  int link;              /* index; 0: none */
  unsigned weight;
} mp_netlink_hop;

typedef struct {
  int family;
  mp_netlink_prefix destination; /* length 0: default */
  mp_netlink_prefix source;      /* that packets get; family 0: none */
  mp_netlink_hop *hops;          /* owned; several where the route shares its packets out */
  size_t hop_count;
  unsigned table, metric;
  unsigned type;     /* RTN_UNICAST, ... */
  unsigned protocol; /* RTPROT_KERNEL, ... */
  unsigned scope;
} mp_netlink_route;

typedef struct {
  mp_netlink_route *items;
  size_t count;
} mp_netlink_routes;

void mp_netlink_route_reset(mp_netlink_route *route);
void mp_netlink_routes_reset(mp_netlink_routes *routes);

/* All of one table, 0: of every table. */
int mp_netlink_list_routes(mp_netlink *nl, unsigned table, mp_netlink_routes *routes,
                           mp_error *err);

typedef struct {
  mp_netlink_prefix destination; /* length 0: default; its family is the route's */
  mp_netlink_prefix via;         /* family 0: none */
  mp_netlink_prefix source;      /* family 0: the kernel's choice */
  const char *link;              /* NULL: the one that leads to `via` */
  unsigned table;                /* 0: main */
  unsigned metric;               /* 0: the kernel's default */
  unsigned type;                 /* RTN_UNICAST, or one that needs no way: RTN_BLACKHOLE, ... */
} mp_netlink_new_route;

typedef enum { MP_NETLINK_ADD, MP_NETLINK_REPLACE, MP_NETLINK_DELETE } mp_netlink_route_change;

int mp_netlink_change_route(mp_netlink *nl, mp_netlink_route_change change,
                            const mp_netlink_new_route *route, mp_error *err);

#endif
