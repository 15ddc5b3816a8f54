#include "parse.h"

#include "core/mem.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <string.h>

/* -- Attributes ------------------------------------------------------------------------------- */

/* libnl checks that each attribute lies within what holds it; its own length is looked at here. */

static unsigned to_u32(const struct nlattr *attribute, unsigned otherwise) {
  unsigned value = otherwise;
  if (attribute && nla_len(attribute) >= (int)sizeof value)
    memcpy(&value, nla_data(attribute), sizeof value);
  return value;
}

static unsigned to_u16(const struct nlattr *attribute, unsigned otherwise) {
  uint16_t value;
  if (!attribute || nla_len(attribute) < (int)sizeof value)
    return otherwise;
  memcpy(&value, nla_data(attribute), sizeof value);
  return value;
}

static unsigned to_u8(const struct nlattr *attribute, unsigned otherwise) {
  return attribute && nla_len(attribute) >= 1 ? *(const unsigned char *)nla_data(attribute)
                                              : otherwise;
}

static void to_text(const struct nlattr *attribute, char *text, size_t size) {
  text[0] = '\0';
  if (!attribute)
    return;
  size_t len = strnlen(nla_data(attribute), (size_t)nla_len(attribute));
  if (len >= size)
    len = size - 1;
  memcpy(text, nla_data(attribute), len);
  text[len] = '\0';
}

/* An address of a family; false where the attribute is missing or no such thing. */
static bool to_address(const struct nlattr *attribute, int family, mp_netlink_prefix *address) {
  size_t size = mp_netlink_family_size(family);
  if (!attribute || size == 0 || (size_t)nla_len(attribute) != size)
    return false;
  address->family = family;
  address->length = (unsigned)size * 8;
  memcpy(address->bytes, nla_data(attribute), size);
  return true;
}

static size_t to_hardware(const struct nlattr *attribute, unsigned char bytes[32]) {
  if (!attribute || nla_len(attribute) > 32)
    return 0;
  memcpy(bytes, nla_data(attribute), (size_t)nla_len(attribute));
  return (size_t)nla_len(attribute);
}

/* The fixed header and the attributes after it. */
static bool open_message(const struct nlmsghdr *message, void *header, size_t size,
                         struct nlattr **attributes, int most) {
  if (nlmsg_parse((struct nlmsghdr *)message, (int)size, attributes, most, NULL) < 0)
    return false;
  memcpy(header, nlmsg_data(message), size);
  return true;
}

static bool open_nest(struct nlattr *nest, struct nlattr **attributes, int most) {
  return nest && nla_parse_nested(attributes, most, nest, NULL) >= 0;
}

/* -- The end of an answer --------------------------------------------------------------------- */

/* Where the attributes of an acknowledgement begin: after the request, unless that was left out. */
static size_t ack_payload(const struct nlmsghdr *message, size_t len) {
  struct nlmsgerr head;
  if (message->nlmsg_type == NLMSG_DONE)
    return sizeof(int);
  memcpy(&head, nlmsg_data(message), sizeof head);
  size_t at = sizeof head;
  if (!(message->nlmsg_flags & NLM_F_CAPPED) && head.msg.nlmsg_len > NLMSG_HDRLEN)
    at += NLMSG_ALIGN(head.msg.nlmsg_len) - NLMSG_HDRLEN;
  return at < len ? at : len;
}

static void read_explanation(const struct nlmsghdr *message, size_t at, size_t len,
                             mp_netlink_ack *ack) {
  struct nlattr *attributes[NLMSGERR_ATTR_MAX + 1];
  struct nlattr *first = (struct nlattr *)((char *)nlmsg_data(message) + at);
  if (nla_parse(attributes, NLMSGERR_ATTR_MAX, first, (int)(len - at), NULL) < 0 ||
      !attributes[NLMSGERR_ATTR_MSG])
    return;
  ack->text = nla_data(attributes[NLMSGERR_ATTR_MSG]);
  ack->text_len = strnlen(ack->text, (size_t)nla_len(attributes[NLMSGERR_ATTR_MSG]));
}

bool mp_netlink_parse_ack(const struct nlmsghdr *message, mp_netlink_ack *ack) {
  int error = 0;
  *ack = (mp_netlink_ack){0};
  if (message->nlmsg_type != NLMSG_ERROR && message->nlmsg_type != NLMSG_DONE)
    return false;
  size_t len = (size_t)nlmsg_datalen(message);
  if (message->nlmsg_type == NLMSG_ERROR && len < sizeof(struct nlmsgerr))
    return false;
  if (len >= sizeof error)
    memcpy(&error, nlmsg_data(message), sizeof error);
  ack->errnum = error < 0 && error > -4096 ? -error : 0;
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) && len >= sizeof error)
    read_explanation(message, ack_payload(message, len), len, ack);
  return true;
}

/* -- Links ------------------------------------------------------------------------------------ */

static void read_tun(struct nlattr *data, mp_netlink_link *link) {
  struct nlattr *of[IFLA_TUN_MAX + 1];
  if (!open_nest(data, of, IFLA_TUN_MAX))
    return;
  strcpy(link->kind, to_u8(of[IFLA_TUN_TYPE], IFF_TAP) == IFF_TUN ? "tun" : "tap");
  if (of[IFLA_TUN_OWNER])
    link->owner = to_u32(of[IFLA_TUN_OWNER], 0);
  if (of[IFLA_TUN_GROUP])
    link->owner_group = to_u32(of[IFLA_TUN_GROUP], 0);
  link->persistent = to_u8(of[IFLA_TUN_PERSIST], 0);
  link->multi_queue = to_u8(of[IFLA_TUN_MULTI_QUEUE], 0);
  link->vnet_hdr = to_u8(of[IFLA_TUN_VNET_HDR], 0);
}

static void read_kind(struct nlattr *info, mp_netlink_link *link) {
  struct nlattr *of[IFLA_INFO_MAX + 1], *vlan[IFLA_VLAN_MAX + 1];
  if (!open_nest(info, of, IFLA_INFO_MAX))
    return;
  to_text(of[IFLA_INFO_KIND], link->kind, sizeof link->kind);
  if (strcmp(link->kind, "tun") == 0)
    read_tun(of[IFLA_INFO_DATA], link);
  if (strcmp(link->kind, "vlan") == 0 && open_nest(of[IFLA_INFO_DATA], vlan, IFLA_VLAN_MAX))
    link->vlan_id = (int)to_u16(vlan[IFLA_VLAN_ID], 0);
}

/* The kernel tells these as an array, whose first element has number 1. */
static int ipv4_setting(const struct nlattr *array, int number) {
  int value;
  size_t at = (size_t)(number - 1) * sizeof value;
  if (at + sizeof value > (size_t)nla_len(array))
    return -1;
  memcpy(&value, (const char *)nla_data(array) + at, sizeof value);
  return value;
}

static void read_ipv4(struct nlattr *families, mp_netlink_link *link) {
  struct nlattr *of[AF_INET + 1], *inet[IFLA_INET_MAX + 1];
  if (!open_nest(families, of, AF_INET) || !open_nest(of[AF_INET], inet, IFLA_INET_MAX) ||
      !inet[IFLA_INET_CONF])
    return;
  const struct nlattr *array = inet[IFLA_INET_CONF];
  link->ipv4 = (mp_netlink_ipv4){
      .forwarding = ipv4_setting(array, IPV4_DEVCONF_FORWARDING),
      .rp_filter = ipv4_setting(array, IPV4_DEVCONF_RP_FILTER),
      .route_localnet = ipv4_setting(array, IPV4_DEVCONF_ROUTE_LOCALNET),
      .proxy_arp = ipv4_setting(array, IPV4_DEVCONF_PROXY_ARP),
  };
}

bool mp_netlink_parse_link(const struct nlmsghdr *message, mp_netlink_link *link) {
  struct ifinfomsg header;
  struct nlattr *of[IFLA_MAX + 1];
  *link = (mp_netlink_link){
      .vlan_id = -1, .owner = -1, .owner_group = -1, .ipv4 = MP_NETLINK_IPV4_UNSET};
  if ((message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) ||
      !open_message(message, &header, sizeof header, of, IFLA_MAX) || !of[IFLA_IFNAME])
    return false;
  link->index = header.ifi_index;
  link->flags = header.ifi_flags;
  link->up = header.ifi_flags & IFF_UP;
  link->carrier = header.ifi_flags & IFF_LOWER_UP;
  to_text(of[IFLA_IFNAME], link->name, sizeof link->name);
  link->mtu = to_u32(of[IFLA_MTU], 0);
  link->group = to_u32(of[IFLA_GROUP], 0);
  link->master = (int)to_u32(of[IFLA_MASTER], 0);
  link->parent = (int)to_u32(of[IFLA_LINK], 0);
  link->parent_elsewhere = of[IFLA_LINK_NETNSID] != NULL;
  link->address_len = to_hardware(of[IFLA_ADDRESS], link->address);
  if (header.ifi_type == ARPHRD_LOOPBACK)
    strcpy(link->kind, "loopback");
  read_kind(of[IFLA_LINKINFO], link);
  read_ipv4(of[IFLA_AF_SPEC], link);
  if (of[IFLA_IFALIAS] && nla_len(of[IFLA_IFALIAS]) > 0) {
    char alias[MP_NETLINK_ALIAS_MOST + 1];
    to_text(of[IFLA_IFALIAS], alias, sizeof alias);
    link->alias = mp_strdup(alias);
  }
  return true;
}

/* -- Addresses -------------------------------------------------------------------------------- */

bool mp_netlink_parse_address(const struct nlmsghdr *message, mp_netlink_address *address) {
  struct ifaddrmsg header;
  struct nlattr *of[IFA_MAX + 1];
  *address = (mp_netlink_address){0};
  if ((message->nlmsg_type != RTM_NEWADDR && message->nlmsg_type != RTM_DELADDR) ||
      !open_message(message, &header, sizeof header, of, IFA_MAX))
    return false;
  /* Where they differ, IFA_ADDRESS is the other end's. */
  mp_netlink_prefix other = {0};
  bool has_other = to_address(of[IFA_ADDRESS], header.ifa_family, &other);
  if (!to_address(of[IFA_LOCAL], header.ifa_family, &address->address)) {
    if (!has_other)
      return false;
    address->address = other;
  } else if (has_other && memcmp(other.bytes, address->address.bytes, sizeof other.bytes) != 0) {
    address->peer = other;
  }
  if (header.ifa_prefixlen > address->address.length)
    return false;
  address->address.length = header.ifa_prefixlen;
  address->link = (int)header.ifa_index;
  address->scope = header.ifa_scope;
  address->permanent = to_u32(of[IFA_FLAGS], header.ifa_flags) & IFA_F_PERMANENT;
  struct ifa_cacheinfo life = {.ifa_valid = UINT32_MAX, .ifa_prefered = UINT32_MAX};
  if (of[IFA_CACHEINFO] && nla_len(of[IFA_CACHEINFO]) >= (int)sizeof life)
    memcpy(&life, nla_data(of[IFA_CACHEINFO]), sizeof life);
  address->valid = life.ifa_valid;
  address->preferred = life.ifa_prefered;
  return true;
}

/* -- Routes ----------------------------------------------------------------------------------- */

/* Through a router of the other family: RTA_VIA. */
static void read_via(const struct nlattr *attribute, mp_netlink_prefix *via) {
  uint16_t family;
  if (!attribute || nla_len(attribute) < (int)sizeof family)
    return;
  memcpy(&family, nla_data(attribute), sizeof family);
  size_t size = mp_netlink_family_size(family);
  if (size == 0 || (size_t)nla_len(attribute) < sizeof family + size)
    return;
  via->family = family;
  via->length = (unsigned)size * 8;
  memcpy(via->bytes, (const char *)nla_data(attribute) + sizeof family, size);
}

static void add_hop(mp_netlink_route *route, struct nlattr **of, int link, unsigned weight) {
  mp_netlink_hop hop = {.link = link, .weight = weight};
  if (!to_address(of[RTA_GATEWAY], route->family, &hop.via))
    read_via(of[RTA_VIA], &hop.via);
  route->hops = mp_realloc(route->hops, (route->hop_count + 1) * sizeof hop);
  route->hops[route->hop_count++] = hop;
}

static void read_hops(struct nlattr *attribute, mp_netlink_route *route) {
  struct nlattr *of[RTA_MAX + 1];
  const char *at = nla_data(attribute);
  size_t left = (size_t)nla_len(attribute);
  struct rtnexthop hop;
  while (left >= sizeof hop) {
    memcpy(&hop, at, sizeof hop);
    if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left ||
        nla_parse(of, RTA_MAX, (struct nlattr *)(at + sizeof hop), (int)(hop.rtnh_len - sizeof hop),
                  NULL) < 0)
      return;
    add_hop(route, of, hop.rtnh_ifindex, hop.rtnh_hops + 1u);
    size_t step = RTNH_ALIGN(hop.rtnh_len);
    at += step < left ? step : left;
    left -= step < left ? step : left;
  }
}

bool mp_netlink_parse_route(const struct nlmsghdr *message, mp_netlink_route *route) {
  struct rtmsg header;
  struct nlattr *of[RTA_MAX + 1];
  *route = (mp_netlink_route){0};
  if ((message->nlmsg_type != RTM_NEWROUTE && message->nlmsg_type != RTM_DELROUTE) ||
      !open_message(message, &header, sizeof header, of, RTA_MAX) ||
      mp_netlink_family_size(header.rtm_family) == 0 ||
      header.rtm_dst_len > mp_netlink_family_size(header.rtm_family) * 8)
    return false;
  route->family = header.rtm_family;
  route->destination.family = header.rtm_family;
  to_address(of[RTA_DST], header.rtm_family, &route->destination);
  route->destination.length = header.rtm_dst_len;
  to_address(of[RTA_PREFSRC], header.rtm_family, &route->source);
  route->table = to_u32(of[RTA_TABLE], header.rtm_table);
  route->metric = to_u32(of[RTA_PRIORITY], 0);
  route->type = header.rtm_type;
  route->protocol = header.rtm_protocol;
  route->scope = header.rtm_scope;
  if (of[RTA_MULTIPATH])
    read_hops(of[RTA_MULTIPATH], route);
  else if (of[RTA_OIF] || of[RTA_GATEWAY] || of[RTA_VIA])
    add_hop(route, of, (int)to_u32(of[RTA_OIF], 0), 1);
  return true;
}

/* -- Neighbours ------------------------------------------------------------------------------- */

bool mp_netlink_parse_neighbour(const struct nlmsghdr *message, mp_netlink_neighbour *neighbour) {
  struct ndmsg header;
  struct nlattr *of[NDA_MAX + 1];
  *neighbour = (mp_netlink_neighbour){0};
  if ((message->nlmsg_type != RTM_NEWNEIGH && message->nlmsg_type != RTM_DELNEIGH) ||
      !open_message(message, &header, sizeof header, of, NDA_MAX) ||
      !to_address(of[NDA_DST], header.ndm_family, &neighbour->address))
    return false;
  neighbour->link = header.ndm_ifindex;
  neighbour->state = header.ndm_state;
  neighbour->proxy = header.ndm_flags & NTF_PROXY;
  neighbour->hardware_len = to_hardware(of[NDA_LLADDR], neighbour->hardware);
  return true;
}
