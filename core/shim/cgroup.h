/* The cgroups a service runs in: one path on v2, one per controller on v1. They are made and
 * removed by whoever wrote the spec; the shim joins, reads, signals and kills. */
#ifndef MP_SHIM_CGROUP_H
#define MP_SHIM_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Moves the calling process, which has one thread, into the cgroup at `path`. 0, or -1 with errno.
 * On v2 the kernel may take tens of milliseconds. */
int mp_shim_cgroup_join(const char *path);

/* Forks a child that is born in that of the cgroups which is of v2, where the kernel can do so
 * (Linux 5.7): this takes no time, unlike joining. *born_in is then this path, else NULL; there is
 * never more than one. Like fork(2), but the libc does not know of it: the child executes a
 * program, or forks once more before it lives on. SIGCHLD may come of one that died at birth. */
pid_t mp_shim_cgroup_fork(const char *const *paths, size_t count, const char **born_in);

/* Joins all but the one that the caller was born in (may be NULL). 0, or -1 with errno and the
 * index of the path in *failed. */
int mp_shim_cgroup_join_others(const char *const *paths, size_t count, const char *born_in,
                               size_t *failed);

/* How many processes are in the cgroup or below it; a path that is gone holds none. */
size_t mp_shim_cgroup_members(const char *path);

/* Sends a signal to every process in the cgroup or below it, except the caller; SIGKILL goes
 * through cgroup.kill where that exists. A process is signalled only after its membership was seen
 * through a pidfd, never by its number alone. Returns how many were found. */
size_t mp_shim_cgroup_signal(const char *path, int signal);

/* How often the kernel killed for lack of memory in this cgroup. False when it does not say: no
 * memory controller here. */
bool mp_shim_cgroup_oom_kills(const char *path, uint64_t *count);

/* Begins to measure the peak of memory anew, where the kernel can. Returns an fd to give to
 * mp_shim_cgroup_peak and then close, or -1 when there is none to keep. */
int mp_shim_cgroup_peak_reset(const char *path);

/* The peak of memory in bytes. `fd` is from mp_shim_cgroup_peak_reset. False when unknown. */
bool mp_shim_cgroup_peak(const char *path, int fd, uint64_t *bytes);

#endif
