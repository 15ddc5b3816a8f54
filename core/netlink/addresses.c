#include "addresses.h"

#include "core/mem.h"
#include "internal.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

static void reset(void *data) {
  mp_netlink_addresses *addresses = data;
  free(addresses->items);
  *addresses = (mp_netlink_addresses){0};
}

void mp_netlink_addresses_reset(mp_netlink_addresses *addresses) {
  reset(addresses);
}

static void see_address(void *data, const struct nlmsghdr *message) {
  mp_netlink_addresses *addresses = data;
  mp_netlink_address address;
  if (!mp_netlink_parse_address(message, &address))
    return;
  addresses->items =
      mp_realloc(addresses->items, (addresses->count + 1) * sizeof *addresses->items);
  addresses->items[addresses->count++] = address;
}

int mp_netlink_list_addresses(mp_netlink *nl, mp_netlink_addresses *addresses, mp_error *err) {
  struct ifaddrmsg header = {.ifa_family = AF_UNSPEC};
  mp_netlink_addresses found = {0};
  struct nl_msg *message = mp_netlink_message_(RTM_GETADDR, NLM_F_DUMP, &header, sizeof header);
  int errnum = mp_netlink_ask_(nl, message, see_address, reset, &found);
  if (errnum) {
    reset(&found);
    return mp_netlink_fail_(nl, err, errnum, "could not list the network's addresses");
  }
  *addresses = found;
  return 0;
}

static int change(mp_netlink *nl, int type, int flags, const char *link,
                  const mp_netlink_prefix *address, const mp_netlink_address_options *options,
                  mp_error *err) {
  const mp_netlink_prefix *peer = options ? options->peer : NULL;
  int index;
  char text[MP_NETLINK_PREFIX_TEXT];
  if (mp_netlink_index_(nl, link, &index, err) < 0)
    return -1;
  struct ifaddrmsg header = {.ifa_family = (unsigned char)address->family,
                             .ifa_prefixlen = (unsigned char)(peer ? peer : address)->length,
                             .ifa_index = (unsigned)index};
  struct nl_msg *message = mp_netlink_message_(type, flags, &header, sizeof header);
  mp_netlink_put_address_(message, IFA_LOCAL, address);
  if (peer || type == RTM_NEWADDR)
    mp_netlink_put_address_(message, IFA_ADDRESS, peer ? peer : address);
  if (options) {
    struct ifa_cacheinfo life = {.ifa_valid = options->valid, .ifa_prefered = options->preferred};
    nla_put(message, IFA_CACHEINFO, sizeof life, &life);
  }
  int errnum = mp_netlink_ask_(nl, message, NULL, NULL, NULL);
  if (errnum == 0)
    return 0;
  mp_netlink_prefix_format(address, true, text);
  const char *what = type == RTM_NEWADDR ? "add the address `%s` to" : "delete the address `%s` of";
  mp_auto_free char *doing = mp_sprintf(what, text);
  return mp_netlink_fail_(nl, err, errnum, "could not %s the link `%s`", doing, link);
}

int mp_netlink_add_address(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                           const mp_netlink_address_options *options, mp_error *err) {
  int how = options && options->replace ? NLM_F_REPLACE : NLM_F_EXCL;
  return change(nl, RTM_NEWADDR, NLM_F_CREATE | how, link, address, options, err);
}

int mp_netlink_delete_address(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                              mp_error *err) {
  return change(nl, RTM_DELADDR, 0, link, address, NULL, err);
}
