/* Processes: who they are, and signals that reach nobody else. */
#ifndef MP_SHIM_PROC_H
#define MP_SHIM_PROC_H

#include <stddef.h>
#include <sys/types.h>

enum { MP_SHIM_BOOT_ID_LEN = 36 };

/* The kernel's start time of a process (field 22 of /proc/PID/stat, clock ticks since boot), 0 when
 * it cannot be read. With the boot id it makes a pid unique. */
unsigned long long mp_shim_proc_start_time(pid_t pid);

/* The parent of a process, 0 when it has none or is gone. */
pid_t mp_shim_proc_parent(pid_t pid);

/* The boot id; empty when it cannot be read. */
void mp_shim_boot_id(char out[MP_SHIM_BOOT_ID_LEN + 1]);

/* pidfd_open(2). -1 with errno; ENOSYS before Linux 5.3. */
int mp_shim_pidfd_open(pid_t pid);

/* pidfd_send_signal(2). */
int mp_shim_pidfd_signal(int pidfd, int signal);

/* Puts the direct children of this process into pids, at most `max`; returns how many. They cannot
 * go away, and their pids cannot be given to others, before this process waits for them. */
size_t mp_shim_children(pid_t *pids, size_t max);

/* Closes every fd from `first` up, but those in `keep` (count of them, in ascending order). */
void mp_shim_close_from(int first, const int *keep, size_t count);

#endif
