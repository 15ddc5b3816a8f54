/* A program for whoever connects to a Unix socket, one run after the other: what serves one client
 * and ends with it is there for the next one, who waits meanwhile. */
#ifndef MP_SHIM_SERVE_H
#define MP_SHIM_SERVE_H

#include <stdint.h>

/* The program finds the listening socket here. */
enum { MP_SHIM_SERVE_FD = 3 };

/* Makes a socket for whoever may enter its directory; once it is there it listens. An fd, or -1
 * with errno: EEXIST where something is there already, ENAMETOOLONG for a path that is none for a
 * socket. */
int mp_shim_serve_listen(const char *path);

/* Runs `argv` whenever somebody has connected, until nobody has for `idle_ms` (-1: for ever). The
 * runs end with this process. Returns 0, or the exit code of a run that failed before it took the
 * connection: the next one would, too. -1 with errno where nothing could be waited for. */
int mp_shim_serve(int fd, int64_t idle_ms, char **argv);

#endif
