#include "local_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define DOMAIN "net"
#define ANY_PORT 9 /* nothing is sent; zero would not do */

static void unmap(struct sockaddr_storage *address) {
  const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
  if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
    return;
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = six->sin6_port};
  memcpy(&four.sin_addr, &six->sin6_addr.s6_addr[12], sizeof four.sin_addr);
  memcpy(address, &four, sizeof four);
}

int mp_local_address_of(int fd, char out[MP_ADDRESS_TEXT], mp_error *err) {
  struct sockaddr_storage address = {0};
  socklen_t len = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
    return mp_error_errno(err, DOMAIN, errno, "could not tell the local address");
  unmap(&address);
  int rc = uv_ip_name((struct sockaddr *)&address, out, MP_ADDRESS_TEXT);
  if (rc < 0)
    return mp_error_set(err, DOMAIN, MP_INVALID, "the socket has no Internet address");
  return 0;
}

static int parse(const char *text, struct sockaddr_storage *address, socklen_t *len,
                 mp_error *err) {
  if (uv_ip4_addr(text, ANY_PORT, (struct sockaddr_in *)address) == 0) {
    *len = sizeof(struct sockaddr_in);
    return 0;
  }
  if (uv_ip6_addr(text, ANY_PORT, (struct sockaddr_in6 *)address) == 0) {
    *len = sizeof(struct sockaddr_in6);
    return 0;
  }
  return mp_error_set(err, DOMAIN, MP_INVALID, "`%s` is no address in numbers", text);
}

int mp_local_address_towards(const char *address, char out[MP_ADDRESS_TEXT], mp_error *err) {
  struct sockaddr_storage there = {0};
  socklen_t len = 0;
  if (parse(address, &there, &len, err) < 0)
    return -1;
  int fd = socket(there.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return mp_error_errno(err, DOMAIN, errno, "could not make a socket");
  int rc;
  if (connect(fd, (struct sockaddr *)&there, len) < 0)
    rc = mp_error_errno(err, DOMAIN, errno, "no route leads to `%s`", address);
  else
    rc = mp_local_address_of(fd, out, err);
  close(fd);
  return rc;
}
