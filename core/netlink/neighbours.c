#include "neighbours.h"

#include "core/mem.h"
#include "internal.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

static void reset(void *data) {
  mp_netlink_neighbours *neighbours = data;
  free(neighbours->items);
  *neighbours = (mp_netlink_neighbours){0};
}

void mp_netlink_neighbours_reset(mp_netlink_neighbours *neighbours) {
  reset(neighbours);
}

static void see_neighbour(void *data, const struct nlmsghdr *message) {
  mp_netlink_neighbours *neighbours = data;
  mp_netlink_neighbour neighbour;
  if (!mp_netlink_parse_neighbour(message, &neighbour))
    return;
  neighbours->items =
      mp_realloc(neighbours->items, (neighbours->count + 1) * sizeof *neighbours->items);
  neighbours->items[neighbours->count++] = neighbour;
}

int mp_netlink_list_neighbours(mp_netlink *nl, mp_netlink_neighbours *neighbours, mp_error *err) {
  struct ndmsg header = {.ndm_family = AF_UNSPEC};
  mp_netlink_neighbours found = {0};
  struct nl_msg *message = mp_netlink_message_(RTM_GETNEIGH, NLM_F_DUMP, &header, sizeof header);
  int errnum = mp_netlink_ask_(nl, message, see_neighbour, reset, &found);
  if (errnum) {
    reset(&found);
    return mp_netlink_fail_(nl, err, errnum, "could not list the network's neighbours");
  }
  *neighbours = found;
  return 0;
}

static int refused(const mp_netlink *nl, const char *verb, const mp_netlink_prefix *address,
                   const char *link, int errnum, mp_error *err) {
  char text[MP_NETLINK_PREFIX_TEXT];
  mp_netlink_prefix_format(address, false, text);
  return mp_netlink_fail_(nl, err, errnum, "could not %s the neighbour `%s` on the link `%s`", verb,
                          text, link);
}

static int change(mp_netlink *nl, int type, int flags, const char *link,
                  const mp_netlink_prefix *address, const unsigned char *hardware,
                  size_t hardware_len, mp_error *err) {
  int index;
  if (mp_netlink_index_(nl, link, &index, err) < 0)
    return -1;
  struct ndmsg header = {.ndm_family = (unsigned char)address->family,
                         .ndm_ifindex = index,
                         .ndm_state = NUD_PERMANENT};
  struct nl_msg *message = mp_netlink_message_(type, flags, &header, sizeof header);
  mp_netlink_put_address_(message, NDA_DST, address);
  if (hardware_len > 0)
    nla_put(message, NDA_LLADDR, (int)hardware_len, hardware);
  int errnum = mp_netlink_ask_(nl, message, NULL, NULL, NULL);
  return errnum ? refused(nl, type == RTM_NEWNEIGH ? "add" : "delete", address, link, errnum, err)
                : 0;
}

int mp_netlink_add_neighbour(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                             const unsigned char *hardware, size_t hardware_len, bool replace,
                             mp_error *err) {
  return change(nl, RTM_NEWNEIGH, NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL), link,
                address, hardware, hardware_len, err);
}

int mp_netlink_delete_neighbour(mp_netlink *nl, const char *link, const mp_netlink_prefix *address,
                                mp_error *err) {
  return change(nl, RTM_DELNEIGH, 0, link, address, NULL, 0, err);
}
