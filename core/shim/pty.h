/* Pseudo-terminals for commands. */
#ifndef MP_SHIM_PTY_H
#define MP_SHIM_PTY_H

#include "error.h"

/* Opens one of that size; both ends are closed on exec, the master is non-blocking and returned,
 * the slave is the caller's too. */
int mp_shim_pty_open(int rows, int columns, int *slave, mp_shim_error *err);

void mp_shim_pty_resize(int master, int rows, int columns);

#endif
