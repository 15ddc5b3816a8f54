#include "cgroup_internal.h"
#include "mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* The limit with swap may never be the lower one, so it is out of the way while the other moves.
 * Without swap accounting its file does not exist, and there is nothing to keep in. */
static void set_memory(const mp_cgroup_dir *dir, uint64_t bytes, mp_cgroup_missing *missing) {
  char text[24] = "-1";
  if (bytes > 0)
    snprintf(text, sizeof text, "%" PRIu64, bytes);
  mp_cgroup_write_(dir->path, "memory.memsw.limit_in_bytes", "-1");
  mp_cgroup_write_limit_(dir, MP_CGROUP_MEMORY, "memory.limit_in_bytes", text, missing);
  if (bytes > 0 && mp_cgroup_write_(dir->path, "memory.memsw.limit_in_bytes", text) < 0 &&
      errno != ENOENT && errno != EOPNOTSUPP)
    mp_cgroup_write_limit_(dir, MP_CGROUP_MEMORY, "memory.memsw.limit_in_bytes", text, missing);
}

static void set_cpu(const mp_cgroup_dir *dir, double cpus, mp_cgroup_missing *missing) {
  char text[24] = "-1";
  if (cpus > 0)
    snprintf(text, sizeof text, "%.0f", cpus * MP_CGROUP_PERIOD);
  mp_cgroup_write_limit_(dir, MP_CGROUP_CPU, "cpu.cfs_quota_us", text, missing);
}

void mp_cgroup_v1_set_(const mp_cgroup_dir *dir, const mp_cgroup_limits *limits,
                       mp_cgroup_missing *missing) {
  if (dir->controllers & 1U << MP_CGROUP_MEMORY)
    set_memory(dir, limits->memory, missing);
  if (dir->controllers & 1U << MP_CGROUP_CPU)
    set_cpu(dir, limits->cpus, missing);
  if (dir->controllers & 1U << MP_CGROUP_PIDS)
    mp_cgroup_set_pids_(dir, limits->pids, missing);
}

void mp_cgroup_v1_read_(const char *path, mp_cgroup_usage *usage) {
  mp_cgroup_take_(&usage->memory, mp_cgroup_read_number_(path, "memory.usage_in_bytes"));
  mp_cgroup_take_(&usage->memory_peak, mp_cgroup_read_number_(path, "memory.max_usage_in_bytes"));
  mp_cgroup_take_(&usage->oom_kills, mp_cgroup_read_key_(path, "memory.oom_control", "oom_kill"));
  mp_cgroup_take_(&usage->pids, mp_cgroup_read_number_(path, "pids.current"));
  uint64_t nanoseconds = mp_cgroup_read_number_(path, "cpuacct.usage");
  if (nanoseconds != MP_CGROUP_UNKNOWN)
    mp_cgroup_take_(&usage->cpu_usec, nanoseconds / 1000);
}
