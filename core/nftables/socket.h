/* Sockets of nfnetlink. Blocking; any thread. */
#ifndef MP_CORE_NFTABLES_SOCKET_H
#define MP_CORE_NFTABLES_SOCKET_H

#include "core/buf.h"
#include "core/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Opens one in a network namespace (NULL: ours), hearing the groups given as bits (1 << (n - 1)).
 */
int mp_nft_socket_open(const char *netns, unsigned groups, int *fd, mp_error *err);

/* The port that the kernel knows it by, in its network namespace. */
uint32_t mp_nft_socket_port(int fd);

/* Sends all of it as one datagram. */
int mp_nft_socket_send(int fd, const void *bytes, size_t len, mp_error *err);

/* Appends one datagram to *to. wait: until there is one. 1: there was one, 0: there is none, -1:
 * *err, whose code is ENOBUFS where the kernel had to drop some. */
int mp_nft_socket_receive(int fd, bool wait, mp_buf *to, mp_error *err);

#endif
