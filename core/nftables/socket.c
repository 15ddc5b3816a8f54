#include "socket.h"

#include "core/netlink/namespace.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A message of 64 KiB of elements, and what stands beside it, fits. */
#define DATAGRAM_MOST (128u << 10)
#define RECEIVE_BUFFER (8u << 20)

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

typedef struct {
  unsigned groups;
  int fd;
} opening;

/* What is queued before anyone reads: the many refusals or echoes of one batch, and events. Where
 * we may not force it, the system's limit holds. */
static void enlarge(int fd) {
  int size = RECEIVE_BUFFER;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static int open_here(void *data, mp_error *err) {
  opening *self = data;
  struct sockaddr_nl us = {.nl_family = AF_NETLINK, .nl_groups = self->groups};
  int on = 1;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (fd < 0)
    return mp_error_errno(err, "nft", errno, "could not open a socket to nftables");
  enlarge(fd);
  if (bind(fd, (struct sockaddr *)&us, sizeof us) < 0) {
    int errnum = errno;
    close(fd);
    mp_error_errno(err, "nft", errnum, "could not listen to nftables");
    return mp_error_hint(err, "it takes CAP_NET_ADMIN");
  }
  /* Where the kernel knows neither, its errors are just shorter or longer. */
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  self->fd = fd;
  return 0;
}

int mp_nft_socket_open(const char *netns, unsigned groups, int *fd, mp_error *err) {
  opening self = {.groups = groups};
  int namespace = -1;
  if (netns && mp_netns_open(netns, &namespace, err) < 0)
    return -1;
  int rc = mp_netns_run(namespace, open_here, &self, err);
  if (namespace >= 0)
    close(namespace);
  if (rc == 0)
    *fd = self.fd;
  return rc;
}

uint32_t mp_nft_socket_port(int fd) {
  struct sockaddr_nl us = {0};
  socklen_t len = sizeof us;
  getsockname(fd, (struct sockaddr *)&us, &len);
  return us.nl_pid;
}

/* One datagram has to fit the send buffer. */
static void make_room(int fd, size_t len) {
  int size = len > INT32_MAX / 2 ? INT32_MAX / 2 : (int)len;
  int now = 0;
  socklen_t now_len = sizeof now;
  getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &now, &now_len);
  if (now / 2 < size && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

int mp_nft_socket_send(int fd, const void *bytes, size_t len, mp_error *err) {
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  make_room(fd, len);
  for (;;) {
    ssize_t sent = sendto(fd, bytes, len, 0, (struct sockaddr *)&kernel, sizeof kernel);
    if (sent == (ssize_t)len)
      return 0;
    if (sent >= 0 || errno != EINTR)
      break;
  }
  int errnum = errno;
  mp_error_errno(err, "nft", errnum, "could not send %zu bytes to nftables", len);
  if (errnum == EMSGSIZE)
    mp_error_hint(err, "raise net.core.wmem_max, or run it with CAP_NET_ADMIN");
  return -1;
}

int mp_nft_socket_receive(int fd, bool wait, mp_buf *to, mp_error *err) {
  struct sockaddr_nl from = {0};
  for (;;) {
    struct iovec part = {.iov_base = mp_buf_reserve(to, DATAGRAM_MOST), .iov_len = DATAGRAM_MOST};
    struct msghdr message = {
        .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
    ssize_t len = recvmsg(fd, &message, wait ? 0 : MSG_DONTWAIT);
    if (len < 0 && errno == EINTR)
      continue;
    if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return 0;
    if (len < 0)
      return mp_error_errno(err, "nft", errno, "could not read from nftables");
    if (message.msg_flags & MSG_TRUNC)
      return mp_error_set(err, "nft", MP_PROTOCOL, "a message of nftables is longer than %u bytes",
                          DATAGRAM_MOST);
    if (from.nl_pid != 0)
      continue; /* not the kernel's */
    to->len += (size_t)len;
    return 1;
  }
}
