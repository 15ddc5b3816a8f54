/* Users and groups by name or id, as credentials that a child can take on. */
#ifndef MP_CORE_USER_H
#define MP_CORE_USER_H

#include "error.h"
#include "loop.h"

#include <sys/types.h>

typedef struct {
  uid_t uid;
  gid_t gid;
  gid_t *groups; /* owned: every supplementary group, `gid` among them */
  size_t group_count;
  char *name; /* owned; NULL when the id has no entry in the user database */
  char *home; /* owned; NULL likewise */
} mp_user;

#define MP_USER_INIT                                                                               \
  (mp_user) {                                                                                      \
    0                                                                                              \
  }

/* Looks up a user by name or decimal id, and the group that stands in for its primary one (NULL:
 * the user's own). `user` NULL means the account that runs us, its groups kept but for `group`.
 * An id without an entry needs `group`, and has no supplementary groups.
 *
 * Asks the name service, which may be slow: off the loop's thread use mp_user_lookup_start.
 * Errors: domain "user", code "unknown" or an errno name. */
int mp_user_lookup(const char *user, const char *group, mp_user *out, mp_error *err);

/* The same on a pool thread. `found` belongs to the callback's caller: copy or move it out. */
typedef void (*mp_user_cb)(void *data, mp_user *found, mp_error *err);
mp_op *mp_user_lookup_start(mp_loop *loop, const char *user, const char *group, mp_user_cb cb,
                            void *data);

void mp_user_reset(mp_user *user);

#define mp_auto_user __attribute__((cleanup(mp_user_reset)))

#endif
