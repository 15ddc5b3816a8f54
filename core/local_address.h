/* Which of this machine's own addresses a connection comes from, or would come from. Pure functions
 * of the thread that calls. Error domain: "net". */
#ifndef MP_CORE_LOCAL_ADDRESS_H
#define MP_CORE_LOCAL_ADDRESS_H

#include "error.h"

#include <stddef.h>

/* Room for any address as text, without a port. */
#define MP_ADDRESS_TEXT 46

/* The local address of a connected socket: "10.0.0.5", "fd00::5". An IPv4 address that is mapped
 * into IPv6 is given as IPv4. Fails with MP_INVALID for what is no Internet socket. */
int mp_local_address_of(int fd, char out[MP_ADDRESS_TEXT], mp_error *err);

/* The address that this machine sends from to reach `address` (as numbers): what the routing table
 * says. No packet is sent. Fails with "ENETUNREACH" where no route leads there. */
int mp_local_address_towards(const char *address, char out[MP_ADDRESS_TEXT], mp_error *err);

#endif
