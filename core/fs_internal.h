/* Tools that the files of the fs module share. */
#ifndef MP_CORE_FS_INTERNAL_H
#define MP_CORE_FS_INTERNAL_H

#include "fs.h"

#include <unistd.h>

/* `int fd __attribute__((cleanup(fs_close)))` */
static inline void fs_close(int *fd) {
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
}
#define auto_fd __attribute__((cleanup(fs_close))) int

/* A file under construction: made beside `path`, put in its place by fs_commit. */
typedef struct {
  const char *path; /* borrowed */
  char *name;       /* its last name */
  char temp[32];    /* the temporary name; empty once it is gone */
  int dir;
  int fd;
} fs_pending;

#define FS_PENDING_INIT                                                                            \
  (fs_pending) {                                                                                   \
    .dir = -1, .fd = -1                                                                            \
  }

/* mode 0: as open(2) makes it with 0666 and the umask, or as the file that is there. */
int fs_begin(fs_pending *file, const char *path, mode_t mode, mp_error *err);
int fs_commit(fs_pending *file, bool exclusive, bool sync, mp_error *err);

/* Removes what was not committed and releases the rest; harmless when repeated. */
void fs_abandon(fs_pending *file);
#define auto_pending __attribute__((cleanup(fs_abandon))) fs_pending

/* write(2) until all is written; -1 and errno on failure. */
int fs_write_all(int fd, const char *bytes, size_t len);

/* True, and *err says so, once the work shall stop. */
bool fs_stopped(const atomic_bool *stop, mp_error *err);

#endif
