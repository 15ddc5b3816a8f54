/* All processes of a service: the members of its cgroups, and the shim's own children, which as
 * subreaper it inherits from every process of the service that ends. Both, since a service may have
 * no cgroup, and a process may have left it. */
#ifndef MP_SHIM_TREE_H
#define MP_SHIM_TREE_H

#include "spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Children that are none of the service's: what `exec` runs, until it has ended. At most
 * MP_SHIM_EXEMPT_MAX; more are taken for the service's. */
enum { MP_SHIM_EXEMPT_MAX = 32 };
void mp_shim_tree_exempt(pid_t pid);
void mp_shim_tree_forget(pid_t pid);

/* Whether a process is the service's: its main process `leader`, what descends from that, or what
 * such a process left behind, which the init of a guest cannot tell from others' orphans. A command
 * of `exec` is not, nor what descends from it; what it leaves behind when it ends is taken for the
 * service's, here as everywhere. */
bool mp_shim_tree_has(pid_t leader, pid_t pid);

/* How many processes there are, at least; 0 only when there are none. Zombies do not count as long
 * as the caller reaped. */
size_t mp_shim_tree_count(const mp_shim_spec *spec);

/* Signals all; returns as mp_shim_tree_count before it. One call reaches what it can see: children
 * of a killed process become visible when that is reaped, so call again after SIGCHLD. */
size_t mp_shim_tree_signal(const mp_shim_spec *spec, int signal);

#endif
