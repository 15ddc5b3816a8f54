/* Starting a child: the part between "everything is open and looked up" and execve(2).
 *
 * This stands in for uv_spawn, which forks the whole address space, knows no cgroup, parent-death
 * signal, controlling terminal or network namespace, and gives a bare pid. The child shares our
 * memory until it has executed (CLONE_VM | CLONE_VFORK, as posix_spawn does), and what comes back
 * is a pidfd, so nothing later can hit a recycled pid.
 *
 * Needs Linux 5.4 (pidfds that can be waited for). Callable from any thread; see death_signal. */
#ifndef MP_CORE_SPAWN_H
#define MP_CORE_SPAWN_H

#include "error.h"
#include "user.h"

#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#define MP_SPAWN_FDS_MAX 32

typedef enum {
  MP_SPAWN_SESSION, /* leads a session and a process group of its own, without a terminal */
  MP_SPAWN_GROUP,   /* leads a process group in our session */
  MP_SPAWN_SHARED,  /* stays in our group: for programs that use our terminal */
} mp_spawn_scope;

typedef struct {
  int resource; /* RLIMIT_* */
  struct rlimit limit;
} mp_spawn_rlimit;

/* All pointers are borrowed for the length of the call. */
typedef struct {
  const char *path;        /* the file to execute; a relative one is found from `cwd` */
  const char *const *argv; /* NULL-terminated */
  const char *const *env;  /* NULL-terminated */
  const char *cwd;         /* NULL: ours. Entered with the child's credentials */
  const mp_user *user;     /* NULL: ours */
  const int *fds;          /* fds[i] becomes descriptor i; -1 leaves i closed */
  size_t fd_count;         /* at most MP_SPAWN_FDS_MAX; every other descriptor is closed */
  mp_spawn_scope scope;
  bool terminal; /* descriptor 0 becomes the controlling terminal; needs MP_SPAWN_SESSION */
  /* The signal the child gets when the *thread* that started it ends; 0: none. So start from the
   * loop's thread. The kernel clears it when the child executes a set-user-ID program. */
  int death_signal;
  const int *cgroups; /* open cgroup.procs files that the child enters before it executes */
  size_t cgroup_count;
  int netns; /* an open network namespace to enter; 0 or -1: ours */
  const mp_spawn_rlimit *rlimits;
  size_t rlimit_count;
} mp_spawn_plan;

/* Starts the child and waits until it has executed. On success *pidfd (close-on-exec) is the
 * caller's, who also reaps the child. On failure there is no child left. */
int mp_spawn(const mp_spawn_plan *plan, pid_t *pid, int *pidfd, mp_error *err);

/* Finds an executable file as execvp(3) would: a name with a slash stands for itself, any other is
 * looked for in the directories of `path` (NULL: $PATH, or the system's default). Directories that
 * are not absolute are passed over. The result is the caller's. */
int mp_spawn_which(const char *name, const char *path, char **found, mp_error *err);

#endif
