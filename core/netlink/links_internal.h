/* What the files about links share. */
#ifndef MP_CORE_NETLINK_LINKS_INTERNAL_H
#define MP_CORE_NETLINK_LINKS_INTERNAL_H

#include "addresses.h"
#include "links.h"

/* Makes a TAP, whose names and settings have been checked. */
int mp_netlink_add_tap_(mp_netlink *nl, const mp_netlink_new_link *link, mp_error *err);

/* Gives a link that was just made its addresses and settings. */
int mp_netlink_furnish_(mp_netlink *nl, const mp_netlink_new_link *link, mp_error *err);

#endif
