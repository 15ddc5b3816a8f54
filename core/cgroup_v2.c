#include "cgroup_internal.h"
#include "mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void set_memory(const mp_cgroup_dir *dir, uint64_t bytes, mp_cgroup_missing *missing) {
  char text[24] = "max";
  if (bytes > 0)
    snprintf(text, sizeof text, "%" PRIu64, bytes);
  mp_cgroup_write_limit_(dir, MP_CGROUP_MEMORY, "memory.max", text, missing);
  /* v2 counts swap by itself; with none allowed, the limit holds for both together. */
  if (mp_cgroup_write_(dir->path, "memory.swap.max", bytes > 0 ? "0" : "max") < 0 &&
      errno != ENOENT)
    mp_cgroup_write_limit_(dir, MP_CGROUP_MEMORY, "memory.swap.max", bytes > 0 ? "0" : "max",
                           missing);
}

static void set_cpu(const mp_cgroup_dir *dir, double cpus, mp_cgroup_missing *missing) {
  char text[48] = "max";
  if (cpus > 0)
    snprintf(text, sizeof text, "%.0f %d", cpus * MP_CGROUP_PERIOD, MP_CGROUP_PERIOD);
  mp_cgroup_write_limit_(dir, MP_CGROUP_CPU, "cpu.max", text, missing);
}

void mp_cgroup_v2_set_(const mp_cgroup_dir *dir, const mp_cgroup_limits *limits,
                       mp_cgroup_missing *missing) {
  if (dir->controllers & 1U << MP_CGROUP_MEMORY)
    set_memory(dir, limits->memory, missing);
  if (dir->controllers & 1U << MP_CGROUP_CPU)
    set_cpu(dir, limits->cpus, missing);
  if (dir->controllers & 1U << MP_CGROUP_PIDS)
    mp_cgroup_set_pids_(dir, limits->pids, missing);
}

static void explain_absent(const char *base, const char *name, mp_error *err) {
  mp_auto_free char *at_root = mp_cgroup_read_(base, "cgroup.type"); /* the root has none */
  mp_error_set(err, MP_CGROUP, "unavailable", "controller `%s` is not available in `%s`", name,
               base);
  if (at_root == NULL)
    mp_error_hint(err,
                  "it is bound to cgroup v1, or off by the kernel command line "
                  "(cgroup_disable=%s)",
                  name);
  else
    mp_error_hint(err, "it was not delegated: set Delegate=cpu memory pids for the unit above "
                       "(`systemctl edit user@.service`), or run as root");
}

static void explain_refused(const char *dir, const char *name, int errnum, mp_error *err) {
  mp_error_errno(err, MP_CGROUP, errnum, "could not enable controller `%s` in `%s`", name, dir);
  if (errnum == EBUSY)
    mp_error_hint(err, "processes live directly in that cgroup, and v2 allows that or controllers "
                       "below: start moonport in a cgroup of its own (`systemd-run --user --scope "
                       "-p Delegate=yes moonport ...`)");
}

static int enable_at(const char *dir, const char *name, mp_error *err) {
  mp_auto_free char *enabled = mp_cgroup_read_(dir, "cgroup.subtree_control");
  if (enabled && mp_cgroup_has_word_(enabled, name))
    return 0;
  mp_auto_free char *change = mp_sprintf("+%s", name);
  if (mp_cgroup_write_(dir, "cgroup.subtree_control", change) == 0)
    return 0;
  explain_refused(dir, name, errno, err);
  return -1;
}

/* In the base and in each directory between it and the group. */
static int enable(const mp_cgroup_dir *dir, const char *name, mp_error *err) {
  mp_auto_free char *available = mp_cgroup_read_(dir->base, "cgroup.controllers");
  if (available == NULL || !mp_cgroup_has_word_(available, name)) {
    explain_absent(dir->base, name, err);
    return -1;
  }
  for (const char *at = dir->path + strlen(dir->base); at; at = strchr(at + 1, '/')) {
    mp_auto_free char *parent = mp_memdup(dir->path, (size_t)(at - dir->path));
    if (enable_at(parent, name, err) < 0)
      return -1;
  }
  return 0;
}

void mp_cgroup_v2_enable_(mp_cgroup_dir *dir, mp_cgroup_missing *reasons) {
  dir->controllers = 0;
  for (int i = 0; i < MP_CGROUP_LIMITS; i++) {
    if (enable(dir, mp_cgroup_limit_name(i), &reasons->of[i]) == 0)
      dir->controllers |= 1U << i;
  }
}

void mp_cgroup_v2_read_(const char *path, mp_cgroup_usage *usage) {
  mp_cgroup_take_(&usage->memory, mp_cgroup_read_number_(path, "memory.current"));
  mp_cgroup_take_(&usage->memory_peak, mp_cgroup_read_number_(path, "memory.peak"));
  mp_cgroup_take_(&usage->oom_kills, mp_cgroup_read_key_(path, "memory.events", "oom_kill"));
  mp_cgroup_take_(&usage->pids, mp_cgroup_read_number_(path, "pids.current"));
  mp_cgroup_take_(&usage->cpu_usec, mp_cgroup_read_key_(path, "cpu.stat", "usage_usec"));
}
