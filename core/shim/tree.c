#include "tree.h"

#include "cgroup.h"
#include "proc.h"

#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

enum {
  CHILDREN_MAX = 512,
  DEPTH_MAX = 1000, /* of processes below each other */
  ATTEMPTS = 3,
};

static pid_t exempt[MP_SHIM_EXEMPT_MAX];

static void replace(pid_t from, pid_t to) {
  for (size_t i = 0; i < MP_SHIM_EXEMPT_MAX; i++) {
    if (exempt[i] == from) {
      exempt[i] = to;
      return;
    }
  }
}

void mp_shim_tree_exempt(pid_t pid) {
  replace(0, pid);
}

void mp_shim_tree_forget(pid_t pid) {
  replace(pid, 0);
}

static bool is_exempt(pid_t pid) {
  for (size_t i = 0; i < MP_SHIM_EXEMPT_MAX; i++)
    if (exempt[i] == pid)
      return true;
  return false;
}

/* As init of a guest the shim inherits every orphan of the machine: there only the cgroup tells
 * which are the service's. */
static size_t own_children(pid_t pids[CHILDREN_MAX]) {
  size_t found = getpid() == 1 ? 0 : mp_shim_children(pids, CHILDREN_MAX), count = 0;
  for (size_t i = 0; i < found; i++)
    if (!is_exempt(pids[i]))
      pids[count++] = pids[i];
  return count;
}

/* The child of ours that a process descends from, or is; 0 when there is none. Who is on the way up
 * may end while we look: its children are then ours, so the look is repeated. */
static pid_t ancestor(pid_t pid) {
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    pid_t at = pid, parent = pid;
    for (int depth = 0; depth < DEPTH_MAX && parent > 0; depth++) {
      at = parent;
      parent = mp_shim_proc_parent(at);
      if (parent == getpid())
        return at;
      if (parent == 1 || (parent == 0 && at == pid))
        return 0;
    }
  }
  return 0;
}

bool mp_shim_tree_has(pid_t leader, pid_t pid) {
  pid_t child = pid == leader ? leader : ancestor(pid);
  return child == leader || (child != 0 && !is_exempt(child) && getpid() != 1);
}

/* Who is in several cgroups, or in one and a child, is one process: the largest number tells best.
 */
static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

size_t mp_shim_tree_count(const mp_shim_spec *spec) {
  pid_t pids[CHILDREN_MAX];
  size_t count = own_children(pids);
  for (size_t i = 0; i < spec->cgroup_count; i++)
    count = larger(count, mp_shim_cgroup_members(spec->cgroups[i]));
  return count;
}

size_t mp_shim_tree_signal(const mp_shim_spec *spec, int signal) {
  size_t members = 0;
  /* One cgroup is enough to signal a process that is in several; the others matter for what left
   * the first. SIGKILL twice is no harm, another signal twice may be. */
  for (size_t i = 0; i < spec->cgroup_count; i++)
    if (i == 0 || signal == SIGKILL)
      members = larger(members, mp_shim_cgroup_signal(spec->cgroups[i], signal));
  pid_t pids[CHILDREN_MAX];
  size_t children = own_children(pids);
  if (signal == SIGKILL || members == 0)
    for (size_t i = 0; i < children; i++)
      kill(pids[i], signal);
  return larger(members, children);
}
