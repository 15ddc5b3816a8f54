#include "channels.h"

#include "files.h"
#include "netlink.h"
#include "vsock.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char ports[] = "/sys/class/virtio-ports";
static const char agent_prefix[] = "moonport.agent.";
static const char output_name[] = "moonport.output";

/* One that is open already refuses to be opened again. */
static int open_port(const char *device) {
  char path[300];
  snprintf(path, sizeof path, "/dev/%s", device);
  return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static void open_named(mp_shim_channels *channels, const char *device, const char *name) {
  mp_shim_error ignored;
  bool is_output = strcmp(name, output_name) == 0;
  if (!is_output && strncmp(name, agent_prefix, sizeof agent_prefix - 1) != 0)
    return;
  int fd = open_port(device);
  if (fd < 0)
    return;
  if (is_output)
    mp_shim_output_open(channels->output, fd);
  else if (mp_shim_control_adopt_device(channels->control, fd, &ignored) < 0)
    close(fd);
}

static void scan_ports(mp_shim_channels *channels) {
  char path[300], name[64];
  DIR *dir = opendir(ports);
  struct dirent *entry;
  while (dir && (entry = readdir(dir)) != NULL) {
    if (entry->d_name[0] == '.')
      continue;
    snprintf(path, sizeof path, "%s/%s/name", ports, entry->d_name);
    if (mp_shim_file_read(path, name, sizeof name) <= 0)
      continue;
    name[strcspn(name, "\n")] = '\0';
    open_named(channels, entry->d_name, name);
  }
  if (dir)
    closedir(dir);
}

/* Where the machine has no port for it, the output goes to its virtio console, unless that is the
 * kernel's too. */
static void open_console(mp_shim_channels *channels) {
  char active[128];
  if (channels->output->source.fd >= 0 ||
      (mp_shim_file_read("/sys/class/tty/console/active", active, sizeof active) > 0 &&
       strstr(active, "hvc0") != NULL))
    return;
  int fd = open("/dev/hvc0", O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd >= 0)
    mp_shim_output_open(channels->output, fd);
}

static void scan(mp_shim_channels *channels) {
  scan_ports(channels);
  open_console(channels);
}

/* A message is "ACTION@PATH" and variables, each ended by a NUL. */
static bool concerns_us(const char *message, const char *end) {
  for (const char *at = message; at < end; at += strlen(at) + 1)
    if (strcmp(at, "SUBSYSTEM=virtio-ports") == 0 || strcmp(at, "DEVNAME=hvc0") == 0)
      return true;
  return false;
}

static void on_uevent(mp_shim_source *source, uint32_t events) {
  static char message[4096];
  bool again = false;
  ssize_t got;
  (void)events;
  while ((got = recv(source->fd, message, sizeof message - 1, MSG_DONTWAIT)) > 0) {
    message[got] = '\0';
    again |= concerns_us(message, message + got);
  }
  if (again)
    scan(source->owner);
}

static void watch_uevents(mp_shim_channels *channels) {
  int fd = mp_shim_netlink_listen(MP_SHIM_NETLINK_UEVENT, MP_SHIM_UEVENT_KERNEL);
  channels->uevents = (mp_shim_source){.fd = fd, .on_ready = on_uevent, .owner = channels};
  if (fd >= 0 && mp_shim_loop_add(channels->control->loop, &channels->uevents, EPOLLIN) == 0)
    return;
  if (fd >= 0)
    close(fd);
  channels->uevents.fd = -1;
}

static void listen_on_vsock(mp_shim_channels *channels) {
  mp_shim_error ignored;
  int fd = mp_shim_vsock_listen(MP_SHIM_VSOCK_PORT);
  if (fd >= 0 && mp_shim_control_adopt(channels->control, fd, &ignored) < 0)
    close(fd);
}

void mp_shim_channels_open(mp_shim_channels *channels) {
  watch_uevents(channels); /* first, so that no port comes in between */
  scan(channels);
  listen_on_vsock(channels);
}

void mp_shim_channels_close(mp_shim_channels *channels) {
  if (channels->uevents.fd >= 0)
    close(channels->uevents.fd);
  channels->uevents.fd = -1;
}
