/* The network of the machine that the shim runs in: whether it is up, and telling when it is. A
 * guest whose configuration matched no interface has none, and nothing else in it would say so. */
#ifndef MP_SHIM_NETWORK_H
#define MP_SHIM_NETWORK_H

#include "control.h"

#include <stdbool.h>
#include <stddef.h>

enum { MP_SHIM_NETWORK_MAX = 4096 };

/* Writes what is known as one JSON object, format in shim.h. True when the network is up. */
bool mp_shim_network_format(char out[MP_SHIM_NETWORK_MAX]);

typedef struct {
  mp_shim_control *control;
  mp_shim_source changes; /* fd -1: nobody waits */
  mp_shim_timer timer;
  int waits_for; /* what a client that waits has in its waits_for */
} mp_shim_network;

/* Set control and waits_for, and then: */
void mp_shim_network_init(mp_shim_network *network);
void mp_shim_network_close(mp_shim_network *network);

/* Answers a client now, or once the network is up, or after wait_ms as it is then. */
void mp_shim_network_ask(mp_shim_network *network, mp_shim_client *client, int64_t wait_ms);

#endif
