/* Messages of the routing netlink: whatever comes, what is made of it is whole. The first byte
 * chooses the type, the second the flags; the rest is the message after its header. */
#include "core/netlink/parse.h"

#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void promise(int kept, const char *what) {
  if (kept)
    return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

static void try_link(const struct nlmsghdr *message) {
  mp_netlink_link link;
  if (mp_netlink_parse_link(message, &link)) {
    promise(strlen(link.name) < sizeof link.name, "a link's name ends");
    promise(strlen(link.kind) < sizeof link.kind, "so does its kind");
    promise(link.address_len <= sizeof link.address, "its address fits");
    promise(!link.alias || strlen(link.alias) <= MP_NETLINK_ALIAS_MOST, "so does its alias");
  }
  free(link.alias);
}

static void check_prefix(const mp_netlink_prefix *prefix) {
  char text[MP_NETLINK_PREFIX_TEXT];
  mp_error err = MP_ERROR_INIT;
  mp_netlink_prefix again;
  mp_netlink_prefix_format(prefix, true, text);
  if (prefix->family == 0) {
    promise(text[0] == '\0', "nothing is written as nothing");
    return;
  }
  promise(prefix->length <= mp_netlink_family_size(prefix->family) * 8, "a prefix has its bits");
  promise(mp_netlink_prefix_parse(text, &again, &err) == 0, "what is written can be read");
  promise(again.length == prefix->length && again.family == prefix->family &&
              memcmp(again.bytes, prefix->bytes, sizeof again.bytes) == 0,
          "and is the same");
}

static void try_others(const struct nlmsghdr *message) {
  mp_netlink_address address;
  mp_netlink_route route;
  mp_netlink_neighbour neighbour;
  mp_netlink_ack ack;
  if (mp_netlink_parse_address(message, &address)) {
    check_prefix(&address.address);
    check_prefix(&address.peer);
  }
  if (mp_netlink_parse_route(message, &route)) {
    check_prefix(&route.destination);
    check_prefix(&route.source);
    for (size_t i = 0; i < route.hop_count; i++)
      check_prefix(&route.hops[i].via);
  }
  free(route.hops);
  if (mp_netlink_parse_neighbour(message, &neighbour)) {
    check_prefix(&neighbour.address);
    promise(neighbour.hardware_len <= sizeof neighbour.hardware, "a hardware address fits");
  }
  if (mp_netlink_parse_ack(message, &ack) && ack.text) {
    promise(ack.text >= (const char *)message &&
                ack.text + ack.text_len <= (const char *)message + message->nlmsg_len,
            "an explanation lies in its message");
    promise(!memchr(ack.text, '\0', ack.text_len), "and is text");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint16_t types[] = {RTM_NEWLINK,  RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH,
                                   NLMSG_ERROR,  NLMSG_DONE,  RTM_DELLINK,  RTM_DELADDR,
                                   RTM_DELROUTE, RTM_DELNEIGH};
  if (size < 2)
    return 0;
  struct nlmsghdr header = {.nlmsg_len = (uint32_t)(sizeof header + size - 2),
                            .nlmsg_type = types[data[0] % (sizeof types / sizeof *types)],
                            .nlmsg_flags = (uint16_t)(data[1] << 8)};
  struct nlmsghdr *message = malloc(header.nlmsg_len);
  memcpy(message, &header, sizeof header);
  memcpy(message + 1, data + 2, size - 2);
  try_link(message);
  try_others(message);
  free(message);
  return 0;
}
