/* TAPs are made by opening a device file, not by netlink: a link comes to be with the descriptor,
 * and goes with it unless it was made permanent. */
#include "internal.h"
#include "links_internal.h"
#include "namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEVICE "/dev/net/tun"

static int open_device(void *data, mp_error *err) {
  int *fd = data;
  *fd = open(DEVICE, O_RDWR | O_CLOEXEC);
  if (*fd >= 0)
    return 0;
  int errnum = errno;
  mp_error_errno(err, MP_NETLINK, errnum, "could not open `%s`", DEVICE);
  if (errnum == ENOENT || errnum == ENODEV || errnum == ENXIO)
    mp_error_hint(err, "load the kernel module: modprobe tun");
  if (errnum == EACCES || errnum == EPERM)
    mp_error_hint(err, "you need to be allowed to read and write it");
  return -1;
}

int mp_netlink_check_tap(mp_error *err) {
  int fd;
  if (open_device(&fd, err) < 0)
    return -1;
  close(fd);
  return 0;
}

static int refused(const mp_netlink *nl, const mp_netlink_new_link *link, int errnum,
                   mp_error *err) {
  return mp_netlink_fail_(nl, err, errnum, "could not add the link `%s`", link->name);
}

/* The device says EBUSY of a TAP and EINVAL of any other link with this name. */
static int name_refused(mp_netlink *nl, const mp_netlink_new_link *link, int errnum,
                        mp_error *err) {
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  int index;
  bool taken = (errnum == EBUSY || errnum == EINVAL) &&
               mp_netlink_index_(nl, link->name, &index, &ignored) == 0;
  nl->explanation[0] = '\0';
  return refused(nl, link, taken ? EEXIST : errnum, err);
}

static int set_up_device(mp_netlink *nl, int fd, const mp_netlink_new_link *link, mp_error *err) {
  struct ifreq request = {0};
  unsigned flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL;
  flags |= link->multi_queue ? IFF_MULTI_QUEUE : 0;
  flags |= link->vnet_hdr ? IFF_VNET_HDR : 0;
  request.ifr_flags = (short)flags;
  strcpy(request.ifr_name, link->name);
  nl->explanation[0] = '\0';
  if (ioctl(fd, TUNSETIFF, &request) < 0)
    return name_refused(nl, link, errno, err);
  if ((link->owner >= 0 && ioctl(fd, TUNSETOWNER, (unsigned long)link->owner) < 0) ||
      (link->owner_group >= 0 && ioctl(fd, TUNSETGROUP, (unsigned long)link->owner_group) < 0))
    return refused(nl, link, errno, err);
  if (mp_netlink_furnish_(nl, link, err) < 0)
    return -1;
  nl->explanation[0] = '\0';
  return ioctl(fd, TUNSETPERSIST, 1UL) < 0 ? refused(nl, link, errno, err) : 0;
}

int mp_netlink_add_tap_(mp_netlink *nl, const mp_netlink_new_link *link, mp_error *err) {
  int fd;
  if (mp_netns_run(nl->netns, open_device, &fd, err) < 0)
    return -1;
  int rc = set_up_device(nl, fd, link, err);
  close(fd);
  return rc;
}
