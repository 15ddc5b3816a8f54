#include "netlink.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* linux/netlink.h, which musl-gcc does not find. */
typedef struct {
  sa_family_t family;
  unsigned short pad;
  uint32_t pid;
  uint32_t groups;
} address_nl;

int mp_shim_netlink_listen(int protocol, uint32_t groups) {
  const address_nl address = {.family = AF_NETLINK, .groups = groups};
  int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  int why = errno;
  close(fd);
  errno = why;
  return -1;
}
