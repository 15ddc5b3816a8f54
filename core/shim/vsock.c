#include "vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* linux/vm_sockets.h, which musl-gcc does not find. */
enum { CID_HOST = 2, BACKLOG = 16 };
#define CID_ANY 0xffffffffU
typedef struct {
  sa_family_t family;
  unsigned short reserved;
  unsigned port;
  unsigned cid;
  unsigned char zero[4];
} address_vm;

int mp_shim_vsock_listen(unsigned port) {
  const address_vm address = {.family = AF_VSOCK, .port = port, .cid = CID_ANY};
  int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -1;
  if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, BACKLOG) == 0)
    return fd;
  int why = errno;
  close(fd);
  errno = why;
  return -1;
}

bool mp_shim_vsock_is(int family) {
  return family == AF_VSOCK;
}

bool mp_shim_vsock_from_host(int fd) {
  address_vm peer = {0};
  socklen_t len = sizeof peer;
  return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.cid == CID_HOST;
}
