#include "links.h"

#include "core/mem.h"
#include "internal.h"
#include "links_internal.h"
#include "namespace.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdlib.h>
#include <string.h>

/* -- Reading ---------------------------------------------------------------------------------- */

void mp_netlink_link_reset(mp_netlink_link *link) {
  free(link->alias);
  *link = (mp_netlink_link){0};
}

static void reset_links(void *data) {
  mp_netlink_links *links = data;
  for (size_t i = 0; i < links->count; i++)
    mp_netlink_link_reset(&links->items[i]);
  free(links->items);
  *links = (mp_netlink_links){0};
}

void mp_netlink_links_reset(mp_netlink_links *links) {
  reset_links(links);
}

static void see_link(void *data, const struct nlmsghdr *message) {
  mp_netlink_links *links = data;
  mp_netlink_link link;
  if (!mp_netlink_parse_link(message, &link)) {
    mp_netlink_link_reset(&link);
    return;
  }
  links->items = mp_realloc(links->items, (links->count + 1) * sizeof link);
  links->items[links->count++] = link;
}

static int by_index(const void *a, const void *b) {
  const mp_netlink_link *one = a, *other = b;
  return (one->index > other->index) - (one->index < other->index);
}

int mp_netlink_list_links(mp_netlink *nl, mp_netlink_links *links, mp_error *err) {
  struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
  mp_netlink_links found = {0};
  struct nl_msg *message = mp_netlink_message_(RTM_GETLINK, NLM_F_DUMP, &header, sizeof header);
  int errnum = mp_netlink_ask_(nl, message, see_link, reset_links, &found);
  if (errnum) {
    reset_links(&found);
    return mp_netlink_fail_(nl, err, errnum, "could not list the network's links");
  }
  if (found.count > 0)
    qsort(found.items, found.count, sizeof *found.items, by_index);
  *links = found;
  return 0;
}

static bool is_name(const char *name) {
  size_t len = strlen(name);
  return len > 0 && len < IFNAMSIZ;
}

/* The kernel would say no more than ERANGE; and "tap%d" it takes as a wish for any number. */
static int check_name(const char *name, mp_error *err) {
  if (is_name(name) && !strpbrk(name, "%/: \t\n\v\f\r") && strcmp(name, ".") != 0 &&
      strcmp(name, "..") != 0)
    return 0;
  mp_error_set(err, MP_NETLINK, MP_INVALID, "`%s` cannot be the name of a link", name);
  return mp_error_hint(err, "a link's name has 1 to 15 bytes, none of them `%%`, `/`, `:` or white "
                            "space");
}

static int get_link(mp_netlink *nl, const char *name, int index, mp_netlink_links *found) {
  struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = name ? 0 : index};
  struct nl_msg *message = mp_netlink_message_(RTM_GETLINK, 0, &header, sizeof header);
  if (name)
    mp_netlink_put_text_(message, IFLA_IFNAME, name);
  return mp_netlink_ask_(nl, message, see_link, reset_links, found);
}

int mp_netlink_find_link(mp_netlink *nl, const char *name, int index, mp_netlink_link *link,
                         mp_error *err) {
  mp_netlink_links found = {0};
  nl->explanation[0] = '\0';
  int errnum = !name || is_name(name) ? get_link(nl, name, index, &found) : ENODEV;
  if (errnum == 0 && found.count == 0)
    errnum = ENODEV;
  if (errnum) {
    reset_links(&found);
    return name ? mp_netlink_fail_(nl, err, errnum, "could not find the link `%s`", name)
                : mp_netlink_fail_(nl, err, errnum, "could not find the link number %d", index);
  }
  *link = found.items[0];
  found.items[0].alias = NULL;
  reset_links(&found);
  return 0;
}

int mp_netlink_index_(mp_netlink *nl, const char *name, int *index, mp_error *err) {
  mp_netlink_link link = {0};
  if (mp_netlink_find_link(nl, name, 0, &link, err) < 0)
    return -1;
  *index = link.index;
  mp_netlink_link_reset(&link);
  return 0;
}

/* -- Changing --------------------------------------------------------------------------------- */

static struct nlattr *nest(struct nl_msg *message, int type) {
  struct nlattr *begin = nla_nest_start(message, type);
  if (!begin)
    abort();
  return begin;
}

static void put_ipv4(struct nl_msg *message, const mp_netlink_ipv4 *ipv4) {
  const struct {
    int type, value;
  } settings[] = {{IPV4_DEVCONF_FORWARDING, ipv4->forwarding},
                  {IPV4_DEVCONF_RP_FILTER, ipv4->rp_filter},
                  {IPV4_DEVCONF_ROUTE_LOCALNET, ipv4->route_localnet},
                  {IPV4_DEVCONF_PROXY_ARP, ipv4->proxy_arp}};
  struct nlattr *family = nest(message, AF_INET), *conf = nest(message, IFLA_INET_CONF);
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    if (settings[i].value >= 0)
      mp_netlink_put_u32_(message, settings[i].type, (unsigned)settings[i].value);
  nla_nest_end(message, conf);
  nla_nest_end(message, family);
}

static bool sets_ipv4(const mp_netlink_ipv4 *ipv4) {
  return ipv4->forwarding >= 0 || ipv4->rp_filter >= 0 || ipv4->route_localnet >= 0 ||
         ipv4->proxy_arp >= 0;
}

/* Settings by address family. These the kernel takes only for a link that is there already. */
static void put_families(struct nl_msg *message, const mp_netlink_settings *settings) {
  struct nlattr *families = nest(message, IFLA_AF_SPEC);
  if (sets_ipv4(&settings->ipv4))
    put_ipv4(message, &settings->ipv4);
  if (settings->ipv6_address >= 0) {
    struct nlattr *family = nest(message, AF_INET6);
    unsigned char mode = settings->ipv6_address ? IN6_ADDR_GEN_MODE_EUI64 : IN6_ADDR_GEN_MODE_NONE;
    nla_put(message, IFLA_INET6_ADDR_GEN_MODE, sizeof mode, &mode);
    nla_nest_end(message, family);
  }
  nla_nest_end(message, families);
}

static int put_master(mp_netlink *nl, struct nl_msg *message, const char *master, mp_error *err) {
  int index = 0;
  if (*master && mp_netlink_index_(nl, master, &index, err) < 0)
    return -1;
  mp_netlink_put_u32_(message, IFLA_MASTER, (unsigned)index);
  return 0;
}

/* All but the family's and the name. */
static int put_settings(mp_netlink *nl, struct nl_msg *message, const mp_netlink_settings *settings,
                        mp_error *err) {
  if (settings->mtu > 0)
    mp_netlink_put_u32_(message, IFLA_MTU, settings->mtu);
  if (settings->address_len > 0)
    nla_put(message, IFLA_ADDRESS, (int)settings->address_len, settings->address);
  if (settings->group >= 0)
    mp_netlink_put_u32_(message, IFLA_GROUP, (unsigned)settings->group);
  if (settings->alias)
    nla_put(message, IFLA_IFALIAS, (int)strlen(settings->alias), settings->alias);
  if (settings->netns >= 0)
    mp_netlink_put_u32_(message, IFLA_NET_NS_FD, (unsigned)settings->netns);
  return settings->master ? put_master(nl, message, settings->master, err) : 0;
}

static int check_settings(const mp_netlink_settings *settings, mp_error *err) {
  if (settings->alias && strlen(settings->alias) > MP_NETLINK_ALIAS_MOST)
    return mp_error_set(err, MP_NETLINK, MP_INVALID, "an alias has at most %d bytes",
                        MP_NETLINK_ALIAS_MOST);
  return settings->rename ? check_name(settings->rename, err) : 0;
}

/* A link by its index; index 0 leaves it to the kernel to look for the name. */
static struct nl_msg *set_message(int index, const char *name, int up) {
  struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = index};
  header.ifi_change = up < 0 ? 0 : IFF_UP;
  header.ifi_flags = up > 0 ? IFF_UP : 0;
  struct nl_msg *message = mp_netlink_message_(RTM_SETLINK, 0, &header, sizeof header);
  if (index == 0)
    mp_netlink_put_text_(message, IFLA_IFNAME, name);
  return message;
}

static bool sets_families(const mp_netlink_settings *settings) {
  return sets_ipv4(&settings->ipv4) || settings->ipv6_address >= 0;
}

/* The kernel switches a link on before it looks at the settings by family, which would come too
 * late to keep it from giving itself an address. */
static int apply_settings(mp_netlink *nl, int index, const char *name,
                          const mp_netlink_settings *settings, mp_error *err) {
  bool up_after = settings->up == 1 && sets_families(settings);
  struct nl_msg *message = set_message(index, name, up_after ? -1 : settings->up);
  if (put_settings(nl, message, settings, err) < 0) {
    nlmsg_free(message);
    return -1;
  }
  if (settings->rename)
    mp_netlink_put_text_(message, IFLA_IFNAME, settings->rename);
  if (sets_families(settings))
    put_families(message, settings);
  int errnum = mp_netlink_ask_(nl, message, NULL, NULL, NULL);
  return errnum == 0 && up_after
             ? mp_netlink_ask_(nl, set_message(index, name, 1), NULL, NULL, NULL)
             : errnum;
}

/* In a change the name's attribute asks for a new name when the link is given by its index, and has
 * no room for the long ones. */
static bool kernel_finds(const char *name, const mp_netlink_settings *settings) {
  return !settings->rename && strlen(name) < IFNAMSIZ;
}

int mp_netlink_set_link(mp_netlink *nl, const char *name, const mp_netlink_settings *settings,
                        mp_error *err) {
  int index = 0;
  if (check_settings(settings, err) < 0 ||
      (!kernel_finds(name, settings) && mp_netlink_index_(nl, name, &index, err) < 0))
    return -1;
  int errnum = apply_settings(nl, index, name, settings, err);
  if (errnum == ENODEV && index == 0 && mp_netlink_index_(nl, name, &index, err) < 0)
    return -1; /* which tells that it is this link that is not there */
  return errnum > 0 ? mp_netlink_fail_(nl, err, errnum, "could not change the link `%s`", name)
                    : errnum;
}

/* -- Making ----------------------------------------------------------------------------------- */

static void put_peer(struct nl_msg *message, const mp_netlink_new_link *link) {
  struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
  struct nlattr *data = nest(message, IFLA_INFO_DATA), *peer = nest(message, VETH_INFO_PEER);
  if (nlmsg_append(message, &header, sizeof header, NLMSG_ALIGNTO) < 0)
    abort();
  if (link->peer)
    mp_netlink_put_text_(message, IFLA_IFNAME, link->peer);
  if (link->peer_netns >= 0)
    mp_netlink_put_u32_(message, IFLA_NET_NS_FD, (unsigned)link->peer_netns);
  nla_nest_end(message, peer);
  nla_nest_end(message, data);
}

static void put_kind(struct nl_msg *message, const mp_netlink_new_link *link) {
  struct nlattr *info = nest(message, IFLA_LINKINFO);
  mp_netlink_put_text_(message, IFLA_INFO_KIND, link->kind);
  if (strcmp(link->kind, "veth") == 0)
    put_peer(message, link);
  if (strcmp(link->kind, "vlan") == 0) {
    struct nlattr *data = nest(message, IFLA_INFO_DATA);
    uint16_t id = (uint16_t)link->vlan_id;
    nla_put(message, IFLA_VLAN_ID, sizeof id, &id);
    nla_nest_end(message, data);
  }
  nla_nest_end(message, info);
}

static int put_new(mp_netlink *nl, struct nl_msg *message, const mp_netlink_new_link *link,
                   mp_error *err) {
  int parent;
  mp_netlink_put_text_(message, IFLA_IFNAME, link->name);
  if (link->parent) {
    if (mp_netlink_index_(nl, link->parent, &parent, err) < 0)
      return -1;
    mp_netlink_put_u32_(message, IFLA_LINK, (unsigned)parent);
  }
  put_kind(message, link);
  /* What follows is set on the finished link, where the kernel takes all of it. */
  return 0;
}

static int create(mp_netlink *nl, const mp_netlink_new_link *link, mp_error *err) {
  struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
  struct nl_msg *message =
      mp_netlink_message_(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof header);
  if (put_new(nl, message, link, err) < 0) {
    nlmsg_free(message);
    return -1;
  }
  int errnum = mp_netlink_ask_(nl, message, NULL, NULL, NULL);
  return errnum ? mp_netlink_fail_(nl, err, errnum, "could not add the link `%s`", link->name) : 0;
}

int mp_netlink_furnish_(mp_netlink *nl, const mp_netlink_new_link *link, mp_error *err) {
  for (size_t i = 0; i < link->address_count; i++)
    if (mp_netlink_add_address(nl, link->name, &link->addresses[i], NULL, err) < 0)
      return -1;
  return mp_netlink_set_link(nl, link->name, &link->settings, err);
}

static int delete_one(mp_netlink *nl, int index) {
  struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = index};
  return mp_netlink_ask_(nl, mp_netlink_message_(RTM_DELLINK, 0, &header, sizeof header), NULL,
                         NULL, NULL);
}

/* Takes back what could not be furnished; that error is the one to tell. */
static void take_back(mp_netlink *nl, const char *name) {
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  int index;
  if (mp_netlink_index_(nl, name, &index, &ignored) == 0)
    delete_one(nl, index);
}

int mp_netlink_add_link(mp_netlink *nl, const mp_netlink_new_link *link, mp_error *err) {
  if (check_name(link->name, err) < 0 || check_settings(&link->settings, err) < 0 ||
      (link->peer && check_name(link->peer, err) < 0))
    return -1;
  if (strcmp(link->kind, "tap") == 0)
    return mp_netlink_add_tap_(nl, link, err);
  if (create(nl, link, err) < 0)
    return -1;
  if (mp_netlink_furnish_(nl, link, err) == 0)
    return 0;
  take_back(nl, link->name);
  return -1;
}
