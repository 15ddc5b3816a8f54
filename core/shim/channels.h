/* How the agent in a guest reaches the host: each virtio-serial port `moonport.agent.*` is a
 * client, as is who connects to vsock port 1024 from the host. Ports that come later are found when
 * they come. */
#ifndef MP_SHIM_CHANNELS_H
#define MP_SHIM_CHANNELS_H

#include "control.h"
#include "output.h"

enum { MP_SHIM_VSOCK_PORT = 1024 };

typedef struct {
  mp_shim_control *control; /* borrowed */
  mp_shim_output *output;   /* borrowed: gets the port `moonport.output` */
  mp_shim_source uevents;   /* fd -1: the kernel tells nothing */
} mp_shim_channels;

/* Fill in control and output, and then open what there is. Never fails: a guest without a channel
 * still has its service. */
void mp_shim_channels_open(mp_shim_channels *channels);
void mp_shim_channels_close(mp_shim_channels *channels);

#endif
