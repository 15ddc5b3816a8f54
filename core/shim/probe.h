/* A packet that is sent to see what becomes of it on its way: a TCP connection that is begun and
 * given up, or an empty UDP datagram. Nothing is waited for. */
#ifndef MP_SHIM_PROBE_H
#define MP_SHIM_PROBE_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  bool udp;         /* else TCP */
  uint32_t address; /* IPv4, as the network has it; 0: not given */
  uint16_t port;    /* where it goes */
  uint16_t from;    /* from which port; 0: any */
} mp_shim_probe;

/* Reads "ADDRESS:PORT". Code: "invalid". */
int mp_shim_probe_parse(const char *text, mp_shim_probe *probe, mp_shim_error *err);

/* Sends it. Codes are errno names: "EADDRINUSE" where `from` is taken, "ENETUNREACH" where no route
 * leads there, "EPERM" where this machine's own rules drop it. */
int mp_shim_probe_send(const mp_shim_probe *probe, mp_shim_error *err);

#endif
