/* One run of the service: starting it, and signalling its main process. */
#ifndef MP_SHIM_SERVICE_H
#define MP_SHIM_SERVICE_H

#include "spec.h"

typedef struct {
  pid_t pid; /* of the main process; 0 when there is none, or it was waited for */
  int pidfd; /* of it; -1 before Linux 5.3 */
  unsigned long long start_time;
  int output[2]; /* read ends of its stdout and stderr, non-blocking; -1 when closed */
  int exec_fd;   /* readable when it is known whether the program was executed; -1 when closed */
} mp_shim_service;

#define MP_SHIM_SERVICE_NONE                                                                       \
  (mp_shim_service) {                                                                              \
    .pidfd = -1, .output = {-1, -1}, .exec_fd = -1                                                 \
  }

/* Forks the main process: own session, the cgroups, limits, user and directory of the spec, stdin
 * from /dev/null, no other fd, no ignored or blocked signal, SIGKILL when the caller dies. `core`
 * is the RLIMIT_CORE it gets. What fails after the fork is told by mp_shim_service_executed. */
int mp_shim_service_start(mp_shim_service *service, const mp_shim_spec *spec,
                          const struct rlimit *core, mp_shim_error *err);

/* A child's standard streams, and how it differs from a service. */
typedef struct {
  int stdio[3];  /* borrowed */
  bool terminal; /* they are one, which becomes its controlling terminal */
  bool search;   /* a name without a slash is searched in the PATH of its environment */
} mp_shim_child;

/* Forks a process as the spec has it, in a session of its own, with no other fd and SIGKILL when
 * the caller dies. *exec_fd is then for mp_shim_child_executed. Returns its pid, or -1. */
pid_t mp_shim_child_start(const mp_shim_spec *spec, const struct rlimit *core,
                          const mp_shim_child *child, int *exec_fd, mp_shim_error *err);

/* As mp_shim_service_executed, for *exec_fd. */
int mp_shim_child_executed(int *exec_fd, const mp_shim_spec *spec, mp_shim_error *err);

/* A pipe whose ends are closed on exec, the one at `mine` (0 or 1) non-blocking. */
int mp_shim_pipe(int ends[2], int mine, mp_shim_error *err);

/* Asks exec_fd: 1 when the program runs, 0 when that is not known yet, -1 with *err when a step
 * before it failed, or the exec itself; the main process then ends by itself. Closes exec_fd unless
 * it returns 0. */
int mp_shim_service_executed(mp_shim_service *service, const mp_shim_spec *spec,
                             mp_shim_error *err);

/* Signals the main process. 0, or -1 with errno (ESRCH: it has been waited for). */
int mp_shim_service_signal(const mp_shim_service *service, int signal);

/* Closes the fds that are open and empties *service. */
void mp_shim_service_close(mp_shim_service *service);

/* What the main process and `moonport-shim exec` do alike before they execute a program. */
void mp_shim_reset_signals(void);

/* Sets groups, gid and uid, if they are not what the process has. NULL, or the name of the call
 * that failed, with errno. */
const char *mp_shim_set_user(uid_t uid, gid_t gid, const gid_t *groups, size_t count);

#endif
