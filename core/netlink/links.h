/* Network interfaces: links, as netlink calls them. See netlink.h for threads and errors. */
#ifndef MP_CORE_NETLINK_LINKS_H
#define MP_CORE_NETLINK_LINKS_H

#include "netlink.h"
#include "prefix.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MP_NETLINK_ALIAS_MOST 255

/* Settings of IPv4 on one interface (/proc/sys/net/ipv4/conf/NAME), each -1 where unknown, or to be
 * left as it is. */
typedef struct {
  int forwarding;
  int rp_filter;
  int route_localnet;
  int proxy_arp;
} mp_netlink_ipv4;

#define MP_NETLINK_IPV4_UNSET                                                                      \
  (mp_netlink_ipv4) {                                                                              \
    -1, -1, -1, -1                                                                                 \
  }

typedef struct {
  int index;
  char name[IFNAMSIZ];
  char kind[16]; /* "tap", "tun", "bridge", "veth", "vlan", ...; "loopback"; "" for hardware */
  bool up;       /* switched on */
  bool carrier;  /* connected */
  unsigned flags;
  unsigned mtu;
  unsigned group;
  int master;            /* index of the bridge that it belongs to; 0: none */
  int parent;            /* index of what it stands on: a vlan's link, a veth's peer; 0: none */
  bool parent_elsewhere; /* the parent's index is one of another namespace */
  char *alias;           /* owned; NULL: none */
  unsigned char address[32];
  size_t address_len; /* 0: none */
  int vlan_id;        /* -1: not a vlan */
  mp_netlink_ipv4 ipv4;
  /* of a TAP: */
  int64_t owner, owner_group; /* -1: anybody with the right to it */
  bool persistent, multi_queue, vnet_hdr;
} mp_netlink_link;

typedef struct {
  mp_netlink_link *items;
  size_t count;
} mp_netlink_links;

void mp_netlink_link_reset(mp_netlink_link *link);
void mp_netlink_links_reset(mp_netlink_links *links);

/* All of them, in the order of their indices. */
int mp_netlink_list_links(mp_netlink *nl, mp_netlink_links *links, mp_error *err);

/* One, by name or, where `name` is NULL, by index. ENODEV where there is none. */
int mp_netlink_find_link(mp_netlink *nl, const char *name, int index, mp_netlink_link *link,
                         mp_error *err);

/* What is to become of a link. Nothing is borrowed after the call. */
typedef struct {
  const char *rename;        /* NULL: keeps its name */
  int up;                    /* 1, 0; -1: as it is */
  unsigned mtu;              /* 0: as it is */
  const char *master;        /* "": none; NULL: as it is */
  const char *alias;         /* "": none; NULL: as it is */
  unsigned char address[32]; /* the hardware's */
  size_t address_len;        /* 0: as it is */
  int64_t group;             /* -1: as it is */
  int netns;                 /* moves there; -1: stays */
  mp_netlink_ipv4 ipv4;
  int ipv6_address; /* 0: gives itself no link-local address; -1: as it is */
} mp_netlink_settings;

#define MP_NETLINK_SETTINGS_INIT                                                                   \
  (mp_netlink_settings) {                                                                          \
    .up = -1, .group = -1, .netns = -1, .ipv4 = MP_NETLINK_IPV4_UNSET, .ipv6_address = -1          \
  }

typedef struct {
  const char *name;
  const char *kind; /* "tap", "bridge", "veth", "vlan", or another that needs nothing but a name */
  mp_netlink_settings settings;
  const mp_netlink_prefix *addresses; /* put on it */
  size_t address_count;
  /* of a TAP: who may open it beside who may administer the network; -1: nobody */
  int64_t owner, owner_group;
  bool multi_queue, vnet_hdr;
  /* of a veth: */
  const char *peer;
  int peer_netns; /* -1: the same */
  /* of a vlan: */
  const char *parent;
  unsigned vlan_id;
} mp_netlink_new_link;

/* Makes a link with all of its settings and addresses, or none. A TAP becomes permanent last, so
 * that one that a killed process was making goes with it: no TAP without its alias is ever left.
 * EEXIST where the name is taken. */
int mp_netlink_add_link(mp_netlink *nl, const mp_netlink_new_link *link, mp_error *err);

/* Whether TAPs can be made here as far as the device file goes: it is there and may be opened. */
int mp_netlink_check_tap(mp_error *err);

/* Changes one. ENODEV where there is none. */
int mp_netlink_set_link(mp_netlink *nl, const char *name, const mp_netlink_settings *settings,
                        mp_error *err);

/* Deletes those of the names that there are, and says how many. They are put in a group of their
 * own and the group is deleted: the kernel then waits once for all of them. Where one is of a kind
 * that cannot be deleted, none is. */
int mp_netlink_delete_links(mp_netlink *nl, const char *const *names, size_t count, size_t *deleted,
                            mp_error *err);

#endif
