#include "network.h"

#include "clock.h"
#include "files.h"
#include "json.h"
#include "netlink.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- As it is. */

/* The columns of /proc/net/route: interface, destination, gateway, flags. */
static bool parse_route(const char *line, uint32_t *gateway) {
  char *at;
  uint32_t destination = (uint32_t)strtoul(line + strcspn(line, "\t"), &at, 16);
  *gateway = (uint32_t)strtoul(at, &at, 16);
  return destination == 0 && (strtoul(at, NULL, 16) & RTF_UP);
}

/* The gateway of the default route. */
static bool find_gateway(char out[INET_ADDRSTRLEN]) {
  static char table[8192];
  uint32_t gateway;
  if (mp_shim_file_read("/proc/net/route", table, sizeof table) < 0)
    return false;
  for (char *line = strchr(table, '\n'); line && line[1]; line = strchr(line + 1, '\n'))
    if (parse_route(line + 1, &gateway)) {
      struct in_addr address = {.s_addr = gateway};
      return inet_ntop(AF_INET, &address, out, INET_ADDRSTRLEN) != NULL;
    }
  return false;
}

static int prefix_of(const struct sockaddr *mask) {
  uint32_t bits = mask ? ntohl(((const struct sockaddr_in *)mask)->sin_addr.s_addr) : 0;
  int prefix = 0;
  while (prefix < 32 && bits & (UINT32_C(1) << (31 - prefix)))
    prefix++;
  return prefix;
}

/* The first IPv4 address of an interface; link-local ones lead nowhere. */
static const struct ifaddrs *address_of(const struct ifaddrs *all, const char *name,
                                        char out[INET_ADDRSTRLEN]) {
  for (; all; all = all->ifa_next) {
    if (all->ifa_addr == NULL || all->ifa_addr->sa_family != AF_INET ||
        strcmp(all->ifa_name, name) != 0)
      continue;
    const struct sockaddr_in *in = (const struct sockaddr_in *)all->ifa_addr;
    if (ntohl(in->sin_addr.s_addr) >> 16 != 0xa9fe &&
        inet_ntop(AF_INET, &in->sin_addr, out, INET_ADDRSTRLEN))
      return all;
  }
  return NULL;
}

static void read_attribute(const char *name, const char *attribute, char out[64]) {
  char path[300];
  snprintf(path, sizeof path, "/sys/class/net/%s/%s", name, attribute);
  if (mp_shim_file_read(path, out, 64) < 0)
    out[0] = '\0';
  out[strcspn(out, "\n")] = '\0';
}

/* Hardware, which an interface of a VMM is too, and no bridge or tunnel that software made. */
static bool is_device(const char *name) {
  char path[300];
  snprintf(path, sizeof path, "/sys/class/net/%s/device", name);
  return access(path, F_OK) == 0;
}

/* True when it has an address and is up. */
static bool put_interface(mp_shim_json *json, const struct ifaddrs *all, const char *name,
                          char address[INET_ADDRSTRLEN]) {
  char mac[64], flags[64], carrier[64];
  read_attribute(name, "address", mac);
  read_attribute(name, "flags", flags);
  read_attribute(name, "carrier", carrier);
  bool is_up = strtoul(flags, NULL, 16) & IFF_UP;
  const struct ifaddrs *found = address_of(all, name, address);
  mp_shim_json_open(json, name);
  mp_shim_json_string(json, "mac", mac);
  mp_shim_json_bool(json, "up", is_up);
  mp_shim_json_bool(json, "carrier", carrier[0] == '1');
  mp_shim_json_string(json, "address", found ? address : NULL);
  if (found)
    mp_shim_json_int(json, "prefix", prefix_of(found->ifa_netmask));
  mp_shim_json_close(json);
  return is_up && found;
}

typedef struct {
  int interfaces;
  bool has_address;
  char address[INET_ADDRSTRLEN];
} summary;

/* Not more than fit, whatever their names. */
enum { INTERFACES_MAX = 16 };

static void put_interfaces(mp_shim_json *json, summary *found) {
  struct ifaddrs *all = NULL;
  char address[INET_ADDRSTRLEN];
  DIR *dir = opendir("/sys/class/net");
  struct dirent *entry;
  if (getifaddrs(&all) < 0)
    all = NULL;
  mp_shim_json_open(json, "interfaces");
  while (dir && found->interfaces < INTERFACES_MAX && (entry = readdir(dir)) != NULL) {
    if (entry->d_name[0] == '.' || !is_device(entry->d_name))
      continue;
    found->interfaces++;
    if (put_interface(json, all, entry->d_name, address) && !found->has_address) {
      found->has_address = true;
      strcpy(found->address, address);
    }
  }
  mp_shim_json_close(json);
  if (dir)
    closedir(dir);
  if (all)
    freeifaddrs(all);
}

static const char *problem_of(const summary *found, bool has_gateway) {
  if (found->interfaces == 0)
    return "there is no network interface";
  if (!found->has_address)
    return "no interface that is up has an address";
  return has_gateway ? NULL : "there is no default route";
}

bool mp_shim_network_format(char out[MP_SHIM_NETWORK_MAX]) {
  char gateway[INET_ADDRSTRLEN];
  summary found = {0};
  mp_shim_json json;
  mp_shim_json_init(&json, out, MP_SHIM_NETWORK_MAX);
  mp_shim_json_open(&json, NULL);
  put_interfaces(&json, &found);
  bool has_gateway = find_gateway(gateway);
  const char *problem = problem_of(&found, has_gateway);
  mp_shim_json_bool(&json, "up", problem == NULL);
  mp_shim_json_string(&json, "address", found.has_address ? found.address : NULL);
  mp_shim_json_string(&json, "gateway", has_gateway ? gateway : NULL);
  mp_shim_json_string(&json, "problem", problem);
  mp_shim_json_close(&json);
  return problem == NULL;
}

/* ---- Telling when it is up. */

static char text[MP_SHIM_NETWORK_MAX];

static void stop_watching(mp_shim_network *network) {
  network->timer.at = 0;
  if (network->changes.fd < 0)
    return;
  mp_shim_loop_remove(network->control->loop, &network->changes);
  close(network->changes.fd);
  network->changes.fd = -1;
}

/* Answers whom it can, and goes on for the others. */
static void look(mp_shim_network *network) {
  bool is_up = mp_shim_network_format(text);
  int64_t now = mp_shim_now_ms(), next = 0;
  for (mp_shim_client *client = network->control->clients; client; client = client->next) {
    if (client->dead || client->waits_for != network->waits_for)
      continue;
    if (is_up || client->wait_until <= now) {
      mp_shim_client_ok(client, text);
      mp_shim_client_release(client);
      is_up = mp_shim_network_format(text); /* its next request may have been the same */
    } else if (next == 0 || client->wait_until < next) {
      next = client->wait_until;
    }
  }
  network->timer.at = next;
  if (next == 0)
    stop_watching(network);
}

static void on_change(mp_shim_source *source, uint32_t events) {
  static char ignored[4096];
  (void)events;
  while (recv(source->fd, ignored, sizeof ignored, MSG_DONTWAIT) > 0 || errno == ENOBUFS)
    continue;
  look(source->owner);
}

static void on_due(mp_shim_timer *timer) {
  look(timer->owner);
}

static void watch(mp_shim_network *network) {
  if (network->changes.fd >= 0)
    return;
  network->changes.fd = mp_shim_netlink_listen(
      MP_SHIM_NETLINK_ROUTE, MP_SHIM_ROUTE_LINK | MP_SHIM_ROUTE_ADDRESS | MP_SHIM_ROUTE_ROUTE);
  if (network->changes.fd >= 0)
    mp_shim_loop_add(network->control->loop, &network->changes, EPOLLIN);
}

void mp_shim_network_init(mp_shim_network *network) {
  network->changes = (mp_shim_source){.fd = -1, .on_ready = on_change, .owner = network};
  network->timer = (mp_shim_timer){.on_due = on_due, .owner = network};
  mp_shim_loop_add_timer(network->control->loop, &network->timer);
}

void mp_shim_network_close(mp_shim_network *network) {
  if (network->control)
    stop_watching(network);
}

void mp_shim_network_ask(mp_shim_network *network, mp_shim_client *client, int64_t wait_ms) {
  if (wait_ms > 0)
    watch(network); /* first, so that no change comes in between */
  if (mp_shim_network_format(text) || wait_ms == 0) {
    mp_shim_client_ok(client, text);
    if (network->timer.at == 0)
      stop_watching(network);
    return;
  }
  client->held = true;
  client->waits_for = network->waits_for;
  client->wait_until = mp_shim_now_ms() + wait_ms;
  if (network->timer.at == 0 || client->wait_until < network->timer.at)
    network->timer.at = client->wait_until;
}
