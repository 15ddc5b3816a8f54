/* Room on a file system (statfs(2)). Callable from any thread; may wait for the disk. Error domain:
 * "sys". */
#ifndef MP_CORE_DISK_H
#define MP_CORE_DISK_H

#include "error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  uint64_t total;     /* bytes */
  uint64_t available; /* bytes that who we are may still write */
  uint64_t inodes;    /* files that may still be made; meaningless unless `counts_inodes` */
  bool counts_inodes; /* false where there is no limit, as on btrfs */
  bool network;       /* on another machine, or what may be: NFS, SMB, 9p, Ceph, FUSE */
} mp_disk;

/* Of the file system that `path` is on. */
int mp_disk_read(const char *path, mp_disk *disk, mp_error *err);

#endif
