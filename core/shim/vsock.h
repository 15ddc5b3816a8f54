/* Sockets between a guest and its host, vsock(7). */
#ifndef MP_SHIM_VSOCK_H
#define MP_SHIM_VSOCK_H

#include <stdbool.h>

/* Listens; an fd, or -1 with errno where the kernel has no vsock. */
int mp_shim_vsock_listen(unsigned port);

/* Whether a connection is a vsock one, and from the host itself: other guests, and this one's own
 * processes, come from other addresses. */
bool mp_shim_vsock_is(int family);
bool mp_shim_vsock_from_host(int fd);

#endif
