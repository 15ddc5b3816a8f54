/* Network namespaces, named as `ip netns` names them: a file below /run/netns that the namespace is
 * mounted on. What one program makes, the other finds.
 *
 * These functions block for what mounting takes: they are for a pool thread. No function here, and
 * none that is called through mp_netns_run, changes the namespace of the thread that calls it.
 * Error domain "netlink". */
#ifndef MP_CORE_NETLINK_NAMESPACE_H
#define MP_CORE_NETLINK_NAMESPACE_H

#include "core/error.h"

#include <stddef.h>

#define MP_NETNS_DIR "/run/netns"

/* Opens a namespace: a name, a path (with a slash), or the pid of a process that is in it. */
int mp_netns_open(const char *which, int *fd, mp_error *err);

/* Makes an empty one with this name; EEXIST where there is one. */
int mp_netns_create(const char *name, mp_error *err);

/* Removes the name; the namespace goes with the last process and descriptor in it. ENOENT where
 * there is none. */
int mp_netns_delete(const char *name, mp_error *err);

/* The names, sorted. The caller frees each and the list. */
int mp_netns_list(char ***names, size_t *count, mp_error *err);

/* Runs `fn` in the namespace, on a thread of its own that enters it and ends after; -1 for `netns`:
 * right here. Waits for it. Returns what fn returns. */
typedef int (*mp_netns_fn)(void *data, mp_error *err);
int mp_netns_run(int netns, mp_netns_fn fn, void *data, mp_error *err);

#endif
