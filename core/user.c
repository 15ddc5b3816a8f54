#include "user.h"

#include "buf.h"
#include "mem.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DOMAIN "user"

/* An id as people write it. (uid_t)-1 means "leave as it is" to the kernel and is no id. */
static bool parse_id(const char *text, uint32_t *id) {
  if (*text < '0' || *text > '9')
    return false;
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (*end != '\0' || errno != 0 || value >= UINT32_MAX)
    return false;
  *id = (uint32_t)value;
  return true;
}

/* The *_r calls want a buffer whose size nobody knows: a group may have thousands of members. */
static int find_passwd(const char *name, uid_t uid, struct passwd *entry, mp_buf *buf,
                       struct passwd **found) {
  for (size_t size = 1024;; size *= 2) {
    mp_buf_clear(buf);
    char *room = mp_buf_reserve(buf, size);
    int rc = name ? getpwnam_r(name, entry, room, size, found)
                  : getpwuid_r(uid, entry, room, size, found);
    if (rc != ERANGE)
      return rc;
  }
}

static int find_group(const char *name, struct group *entry, mp_buf *buf, struct group **found) {
  for (size_t size = 1024;; size *= 2) {
    mp_buf_clear(buf);
    char *room = mp_buf_reserve(buf, size);
    int rc = getgrnam_r(name, entry, room, size, found);
    if (rc != ERANGE)
      return rc;
  }
}

/* Some name services answer "not there" with these instead of with nothing found. */
static bool means_absent(int rc) {
  return rc == 0 || rc == ENOENT || rc == ESRCH;
}

static int lookup_group(const char *group, gid_t *gid, mp_error *err) {
  mp_auto_buf mp_buf buf = MP_BUF_INIT;
  struct group entry, *found = NULL;
  uint32_t id;
  if (parse_id(group, &id)) {
    *gid = id;
    return 0;
  }
  int rc = find_group(group, &entry, &buf, &found);
  if (found != NULL) {
    *gid = found->gr_gid;
    return 0;
  }
  if (!means_absent(rc))
    return mp_error_errno(err, DOMAIN, rc, "could not look up group `%s`", group);
  mp_error_set(err, DOMAIN, "unknown", "there is no group `%s`", group);
  return mp_error_hint(err, "`getent group` lists the groups of this machine");
}

static void take_groups_of(const char *name, mp_user *user) {
  int count = 32;
  for (;;) {
    user->groups = mp_realloc(user->groups, (size_t)count * sizeof *user->groups);
    int have = count;
    if (getgrouplist(name, user->gid, user->groups, &have) >= 0) {
      user->group_count = (size_t)have;
      return;
    }
    count = have > count ? have : count * 2;
  }
}

static int take_own_groups(mp_user *user, mp_error *err) {
  int count = getgroups(0, NULL);
  if (count < 0)
    return mp_error_errno(err, DOMAIN, errno, "could not read our own groups");
  user->groups = mp_calloc((size_t)count + 1, sizeof *user->groups);
  count = getgroups(count, user->groups);
  if (count < 0)
    return mp_error_errno(err, DOMAIN, errno, "could not read our own groups");
  user->groups[count] = user->gid;
  user->group_count = (size_t)count + 1;
  return 0;
}

static int lookup_self(const char *group, mp_user *user, mp_error *err) {
  user->uid = geteuid();
  user->gid = getegid();
  if (group != NULL && lookup_group(group, &user->gid, err) < 0)
    return -1;
  return take_own_groups(user, err);
}

static int lookup_entry(const char *name, const char *group, mp_user *user, mp_error *err) {
  mp_auto_buf mp_buf buf = MP_BUF_INIT;
  struct passwd entry, *found = NULL;
  uint32_t id = 0;
  bool by_id = parse_id(name, &id);
  int rc = find_passwd(by_id ? NULL : name, id, &entry, &buf, &found);
  if (found == NULL && !means_absent(rc))
    return mp_error_errno(err, DOMAIN, rc, "could not look up user `%s`", name);
  if (found == NULL && !by_id) {
    mp_error_set(err, DOMAIN, "unknown", "there is no user `%s`", name);
    return mp_error_hint(err, "`getent passwd` lists the users of this machine; a number is taken "
                              "as an id");
  }
  if (found == NULL && group == NULL) {
    mp_error_set(err, DOMAIN, "unknown", "user id %s has no entry, so its group is not known",
                 name);
    return mp_error_hint(err, "name a group as well");
  }
  user->uid = found ? found->pw_uid : id;
  user->gid = found ? found->pw_gid : 0;
  if (group != NULL && lookup_group(group, &user->gid, err) < 0)
    return -1;
  if (found == NULL) {
    user->groups = mp_calloc(1, sizeof *user->groups);
    user->groups[0] = user->gid;
    user->group_count = 1;
    return 0;
  }
  user->name = mp_strdup(found->pw_name);
  user->home = mp_strdup(found->pw_dir);
  take_groups_of(user->name, user);
  return 0;
}

int mp_user_lookup(const char *user, const char *group, mp_user *out, mp_error *err) {
  mp_user found = MP_USER_INIT;
  int rc = user ? lookup_entry(user, group, &found, err) : lookup_self(group, &found, err);
  if (rc < 0) {
    mp_user_reset(&found);
    return -1;
  }
  *out = found;
  return 0;
}

void mp_user_reset(mp_user *user) {
  free(user->groups);
  free(user->name);
  free(user->home);
  *user = MP_USER_INIT;
}

typedef struct {
  char *user;
  char *group;
  mp_user found;
  mp_error err;
  mp_user_cb cb;
  void *data;
} lookup;

static void lookup_work(void *data) {
  lookup *self = data;
  mp_user_lookup(self->user, self->group, &self->found, &self->err);
}

static void lookup_done(void *data, bool cancelled) {
  lookup *self = data;
  if (cancelled)
    mp_error_set(&self->err, DOMAIN, MP_CANCELLED, "the look-up of a user was cancelled");
  self->cb(self->data, &self->found, self->err.domain ? &self->err : NULL);
  mp_user_reset(&self->found);
  mp_error_reset(&self->err);
  free(self->user);
  free(self->group);
  free(self);
}

mp_op *mp_user_lookup_start(mp_loop *loop, const char *user, const char *group, mp_user_cb cb,
                            void *data) {
  lookup *self = mp_alloc(sizeof *self);
  self->user = mp_strdup(user);
  self->group = mp_strdup(group);
  self->cb = cb;
  self->data = data;
  return mp_work_start(loop, lookup_work, lookup_done, self);
}
