/* A file that the service writes for as long as it lives, of which only the end is wanted: what is
 * older is given back to the file system as a hole. Neither size nor offsets change, so who writes
 * needs no care and loses nothing, and who follows goes on where it was.
 *
 * The kernel tells of a write by SIGIO (F_NOTIFY of fcntl(2)). That costs no inotify instance, of
 * which a user has 128 for everything on the machine. */
#ifndef MP_SHIM_BOUNDED_H
#define MP_SHIM_BOUNDED_H

#include "error.h"

enum {
  MP_SHIM_BOUNDED_MAX = 1024 * 1024, /* bytes on disk, and what is written until we look */
  MP_SHIM_BOUNDED_KEPT = 512 * 1024, /* bytes of its end that are there in any case */
};

typedef struct {
  int fd;  /* -1: there is no such file */
  int dir; /* the one it is in, which the kernel watches */
} mp_shim_bounded;

/* Opens a regular file that exists and asks for SIGIO at each write, which the caller must have
 * blocked: to the process that calls. A kernel that does not tell of writes is no failure: then the
 * file is bounded whenever somebody looks. */
int mp_shim_bounded_open(mp_shim_bounded *file, const char *path, mp_shim_error *err);
void mp_shim_bounded_close(mp_shim_bounded *file);

/* After SIGIO, and at the end: makes a hole where the file has grown past its limit. Returns 0, or
 * -1 with errno where the file system makes none. */
int mp_shim_bounded_look(mp_shim_bounded *file);

#endif
