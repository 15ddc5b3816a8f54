#include "fd_limit.h"

#include <stdbool.h>
#include <stddef.h>

static struct rlimit inherited;
static bool raised;

void mp_fd_limit_raise(void) {
  if (raised || getrlimit(RLIMIT_NOFILE, &inherited) < 0 ||
      inherited.rlim_cur == inherited.rlim_max)
    return;
  struct rlimit wanted = {inherited.rlim_max, inherited.rlim_max};
  raised = setrlimit(RLIMIT_NOFILE, &wanted) == 0;
}

const struct rlimit *mp_fd_limit_inherited(void) {
  return raised ? &inherited : NULL;
}
