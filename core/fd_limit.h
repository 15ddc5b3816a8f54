/* The limit on open files.
 *
 * Its soft value, 1,024 as a rule, is kept for programs that use select(2), which fails silently
 * above it; we use epoll, and 1,000 children with captured output need 3,000 descriptors. So ours
 * goes up to the hard value, and every child gets back what we were started with. */
#ifndef MP_CORE_FD_LIMIT_H
#define MP_CORE_FD_LIMIT_H

#include <sys/resource.h>

/* Raises the soft limit to the hard one. To be called once, before there are threads. */
void mp_fd_limit_raise(void);

/* What children are to have; NULL when the limit was not raised. */
const struct rlimit *mp_fd_limit_inherited(void);

#endif
