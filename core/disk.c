#include "disk.h"

#include <errno.h>
#include <stddef.h>
#include <sys/vfs.h>

/* linux/magic.h has most of them, but not all. */
static const uint32_t network[] = {
    0x00006969, /* NFS */
    0xfe534d42, /* SMB2 */
    0xff534d42, /* CIFS */
    0x0000517b, /* SMB */
    0x01021997, /* 9p */
    0x00c36400, /* Ceph */
    0x5346414f, /* AFS */
    0x65735546, /* FUSE */
};

static bool is_network(uint32_t type) {
  for (size_t i = 0; i < sizeof network / sizeof *network; i++) {
    if (network[i] == type)
      return true;
  }
  return false;
}

int mp_disk_read(const char *path, mp_disk *disk, mp_error *err) {
  struct statfs found;
  if (statfs(path, &found) < 0)
    return mp_error_errno(err, "sys", errno, "could not ask for the room below `%s`", path);
  uint64_t block = (uint64_t)found.f_bsize;
  *disk = (mp_disk){
      .total = found.f_blocks * block,
      .available = found.f_bavail * block,
      .inodes = found.f_ffree,
      .counts_inodes = found.f_files > 0,
      .network = is_network((uint32_t)found.f_type),
  };
  return 0;
}
