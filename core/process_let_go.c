/* Children that were let go. They outlive the loop, so no handle may watch them; what they leave is
 * reaped at a later spawn, or by init when we have gone. */
#include "process_internal.h"

#include "mem.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

typedef struct let_go let_go;
struct let_go {
  int pidfd;
  let_go *next;
};
static let_go *all_let_go;

void mp_process_let_go_(int pidfd) {
  let_go *one = mp_alloc(sizeof *one);
  *one = (let_go){.pidfd = pidfd, .next = all_let_go};
  all_let_go = one;
}

void mp_process_reap_let_go_(void) {
  for (let_go **link = &all_let_go; *link;) {
    let_go *one = *link;
    siginfo_t info = {0};
    if (waitid((idtype_t)P_PIDFD, (id_t)one->pidfd, &info, WEXITED | WNOHANG) == 0 &&
        info.si_pid == 0) {
      link = &one->next;
      continue;
    }
    *link = one->next;
    close(one->pidfd);
    free(one);
  }
}
