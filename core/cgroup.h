/* Control groups, v1 and v2: a place for a service's processes with limits on memory, CPU and their
 * number, from where they can be counted, measured and killed together.
 *
 * A group is named by a relative path such as `moonport-1f2e3d4c/web`. It stands below the topmost
 * cgroup that we may write to on the way from ours to the root: for root the root itself, for
 * others what was delegated to them. On v1, and where v1 and v2 are mixed, it is a directory in
 * each hierarchy concerned, used as one.
 *
 * Blocking only as /proc and /sys are. Callable from any thread; uses nothing but libc. Error
 * domain: "cgroup". */
#ifndef MP_CORE_CGROUP_H
#define MP_CORE_CGROUP_H

#include "error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum {
  MP_CGROUP_MEMORY,
  MP_CGROUP_CPU,
  MP_CGROUP_PIDS,
  MP_CGROUP_LIMITS, /* how many there are */
} mp_cgroup_limit;

/* 0 is no limit. */
typedef struct {
  uint64_t memory; /* bytes, swap included: beyond them the kernel kills */
  double cpus;     /* 1.5 is one and a half processors' time; at least 0.01 */
  uint64_t pids;   /* processes and threads */
} mp_cgroup_limits;

/* Which of the limits asked for could not be set, each with what is missing and how to get it.
 * Empty errors elsewhere. Begins as MP_CGROUP_MISSING_INIT; each call resets it first. */
typedef struct {
  mp_error of[MP_CGROUP_LIMITS];
} mp_cgroup_missing;

#define MP_CGROUP_MISSING_INIT                                                                     \
  (mp_cgroup_missing) {                                                                            \
    0                                                                                              \
  }

typedef struct mp_cgroup mp_cgroup;

/* Makes the group, or takes it over when it is there, and sets its limits. A limit that cannot be
 * set does not fail the call but stands in *missing, which the caller must heed and reset. Fails
 * where no group can be made at all: code "unavailable", or an errno name.
 * limits: NULL leaves them as they are. */
int mp_cgroup_create(const char *name, const mp_cgroup_limits *limits, mp_cgroup **group,
                     mp_cgroup_missing *missing, mp_error *err);

/* Finds a group that was made earlier. Fails with ENOENT when there is none. */
int mp_cgroup_open(const char *name, mp_cgroup **group, mp_error *err);

/* Sets other limits, as mp_cgroup_create does. */
void mp_cgroup_set(mp_cgroup *group, const mp_cgroup_limits *limits, mp_cgroup_missing *missing);

/* Releases the memory; the group itself stays. Accepts NULL. */
void mp_cgroup_free(mp_cgroup *group);

void mp_cgroup_missing_reset(mp_cgroup_missing *missing);

const char *mp_cgroup_name(const mp_cgroup *group);

/* Its directories, for those who enter or read it by path; ends with NULL, owned by the group. */
const char *const *mp_cgroup_paths(const mp_cgroup *group);

/* Opens its cgroup.procs files: what mp_process_options.cgroups takes. *fds has room for
 * MP_CGROUP_FDS_MAX; the caller closes *count of them. */
#define MP_CGROUP_FDS_MAX 8
int mp_cgroup_open_procs(const mp_cgroup *group, int *fds, size_t *count, mp_error *err);

/* The names of the groups directly below the directory `parent` (a name as above), sorted; none is
 * fine. The caller frees each and the array. */
int mp_cgroup_list(const char *parent, char ***names, size_t *count, mp_error *err);

#define MP_CGROUP_UNKNOWN UINT64_MAX /* the kernel, or the lack of a controller, does not tell */

typedef struct {
  uint64_t memory;      /* bytes now */
  uint64_t memory_peak; /* the most so far; v2 tells since Linux 5.19 */
  uint64_t oom_kills;   /* processes killed for want of memory */
  uint64_t pids;        /* processes and threads now */
  uint64_t cpu_usec;    /* used so far */
} mp_cgroup_usage;

void mp_cgroup_read_usage(const mp_cgroup *group, mp_cgroup_usage *usage);

/* The same for directories given by path; ends with NULL. */
void mp_cgroup_read_usage_at(const char *const *paths, mp_cgroup_usage *usage);

/* The processes in it and in groups below, sorted. The caller frees *pids. They may be gone when
 * this returns: not for signalling. */
int mp_cgroup_processes(const mp_cgroup *group, pid_t **pids, size_t *count, mp_error *err);

/* Signals every process in it and below, each by pidfd after a look that it is still there; SIGKILL
 * by cgroup.kill where the kernel has it (5.14), so that no fork escapes. Returns at once: see
 * mp_cgroup_wait_start for the end. */
int mp_cgroup_signal(const mp_cgroup *group, int number, mp_error *err);

/* Stops or continues all of it. Code "unavailable" where there is neither cgroup v2 (5.2) nor a v1
 * freezer. Returns before the last process has stopped. */
int mp_cgroup_freeze(const mp_cgroup *group, bool frozen, mp_error *err);

/* Removes it, the groups below, and the directories above that are empty then, up to where ours
 * begin. Fails with EBUSY, naming them, while processes live in it. Nothing there is fine. */
int mp_cgroup_remove(const mp_cgroup *group, mp_error *err);

typedef enum {
  MP_CGROUP_NONE,
  MP_CGROUP_V1,
  MP_CGROUP_V2,
  MP_CGROUP_HYBRID, /* controllers on v1, v2 beside them */
} mp_cgroup_mode_kind;

mp_cgroup_mode_kind mp_cgroup_mode(void);

/* "none", "v1", "v2", "hybrid" */
const char *mp_cgroup_mode_name(mp_cgroup_mode_kind mode);

/* "memory", "cpu", "pids" */
const char *mp_cgroup_limit_name(mp_cgroup_limit limit);

#endif
