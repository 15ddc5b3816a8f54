#include "cgroup_internal.h"

#include "mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names become paths below a directory of ours, and must stay there. */
static int check_name(const char *name, mp_error *err) {
  const char *part = name;
  for (;;) {
    size_t len = strcspn(part, "/");
    if (len == 0 || len > 255 || *part == '.' || strncmp(part, "cgroup.", 7) == 0 ||
        strpbrk(part, "\n") != NULL)
      return mp_error_set(err, MP_CGROUP, MP_INVALID, "`%s` cannot be the name of a cgroup", name);
    if (part[len] == '\0')
      return 0;
    part += len + 1;
  }
}

static int check_limits(const mp_cgroup_limits *limits, mp_error *err) {
  if (limits && limits->cpus != 0 && !(limits->cpus >= 0.01 && limits->cpus <= 1e6))
    return mp_error_set(err, MP_CGROUP, MP_INVALID,
                        "%g processors is no limit that can be set: it begins at 0.01",
                        limits->cpus);
  return 0;
}

static void add_dir(mp_cgroup *group, const mp_cgroup_hierarchy *hierarchy) {
  mp_cgroup_dir *dir = &group->dirs[group->dir_count];
  dir->version = hierarchy->version;
  dir->controllers = hierarchy->controllers;
  dir->freezer = hierarchy->freezer;
  dir->base = mp_strdup(hierarchy->base);
  dir->path = mp_sprintf("%s/%s", hierarchy->base, group->name);
  group->paths[group->dir_count++] = dir->path;
}

static void drop_last_dir(mp_cgroup *group) {
  mp_cgroup_dir *dir = &group->dirs[--group->dir_count];
  free(dir->base);
  free(dir->path);
  group->paths[group->dir_count] = NULL;
}

static mp_cgroup *new_group(const char *name) {
  mp_cgroup *group = mp_alloc(sizeof *group);
  group->name = mp_strdup(name);
  return group;
}

void mp_cgroup_free(mp_cgroup *group) {
  if (group == NULL)
    return;
  while (group->dir_count > 0)
    drop_last_dir(group);
  free(group->name);
  free(group);
}

void mp_cgroup_missing_reset(mp_cgroup_missing *missing) {
  for (int i = 0; i < MP_CGROUP_LIMITS; i++)
    mp_error_reset(&missing->of[i]);
}

const char *mp_cgroup_name(const mp_cgroup *group) {
  return group->name;
}

const char *const *mp_cgroup_paths(const mp_cgroup *group) {
  return group->paths;
}

/* -- Making ----------------------------------------------------------------------------------- */

static int make_dirs_once(const mp_cgroup_dir *dir) {
  for (char *at = dir->path + strlen(dir->base) + 1;; at++) {
    at += strcspn(at, "/");
    char end = *at;
    *at = '\0';
    int rc = mkdir(dir->path, 0755);
    *at = end;
    if (rc < 0 && errno != EEXIST)
      return -1;
    if (end == '\0')
      return 0;
  }
}

/* Each directory on the way from the base. One that was there may go while we pass: the removal of
 * a neighbour takes empty parents along. */
static int make_dirs(const mp_cgroup_dir *dir) {
  int rc = -1;
  for (int tries = 0; tries < 5 && rc < 0; tries++) {
    rc = make_dirs_once(dir);
    if (rc < 0 && errno != ENOENT)
      break;
  }
  return rc;
}

static const char *const delegate_hint =
    "run as root; or where systemd runs your session: `systemd-run --user --scope -p Delegate=yes "
    "moonport ...`";

/* Why a limit has no place to be set at all. */
static void explain_place(const mp_cgroup_places *places, mp_cgroup_limit limit, mp_error *err) {
  const char *name = mp_cgroup_limit_name(limit);
  for (size_t i = 0; i < places->count; i++) {
    const mp_cgroup_hierarchy *found = &places->of[i];
    if (found->base == NULL && (found->version == 2 || found->controllers & 1U << limit)) {
      mp_error_set(err, MP_CGROUP, "unavailable", "controller `%s` was not delegated to us: %s",
                   name, found->base_error);
      mp_error_hint(err, "%s", delegate_hint);
      return;
    }
  }
  mp_error_set(err, MP_CGROUP, "unavailable", "controller `%s` is not mounted", name);
  mp_error_hint(err, "mount cgroup2 on /sys/fs/cgroup, or the v1 hierarchy of `%s`", name);
}

static bool wants(const mp_cgroup_limits *limits, mp_cgroup_limit limit) {
  if (limits == NULL)
    return false;
  return limit == MP_CGROUP_MEMORY ? limits->memory > 0
         : limit == MP_CGROUP_CPU  ? limits->cpus > 0
                                   : limits->pids > 0;
}

static unsigned settable(const mp_cgroup *group) {
  unsigned bits = 0;
  for (size_t i = 0; i < group->dir_count; i++)
    bits |= group->dirs[i].controllers;
  return bits;
}

static void set_limits(const mp_cgroup *group, const mp_cgroup_limits *limits,
                       mp_cgroup_missing *missing) {
  for (size_t i = 0; i < group->dir_count; i++) {
    const mp_cgroup_dir *dir = &group->dirs[i];
    if (dir->version == 2)
      mp_cgroup_v2_set_(dir, limits, missing);
    else
      mp_cgroup_v1_set_(dir, limits, missing);
  }
}

/* What was asked for and has no directory that could do it: by the v2 hierarchy's own reason where
 * that has one. */
static void report_missing(const mp_cgroup_places *places, const mp_cgroup *group,
                           const mp_cgroup_limits *limits, mp_cgroup_missing *reasons,
                           mp_cgroup_missing *missing) {
  unsigned can = settable(group);
  for (int i = 0; i < MP_CGROUP_LIMITS; i++) {
    if (can & 1U << i || !wants(limits, i))
      continue;
    if (reasons->of[i].domain)
      mp_error_move(&missing->of[i], &reasons->of[i]);
    else
      explain_place(places, i, &missing->of[i]);
  }
}

/* Makes the directory of one hierarchy; one that fails is left out, and the first failure kept. */
static void join(mp_cgroup *group, const mp_cgroup_hierarchy *hierarchy, mp_cgroup_missing *reasons,
                 mp_error *first) {
  if (hierarchy->base == NULL)
    return;
  add_dir(group, hierarchy);
  mp_cgroup_dir *dir = &group->dirs[group->dir_count - 1];
  if (make_dirs(dir) < 0) {
    if (first->domain == NULL)
      mp_error_errno(first, MP_CGROUP, errno, "could not make `%s`", dir->path);
    drop_last_dir(group);
    return;
  }
  if (dir->version == 2)
    mp_cgroup_v2_enable_(dir, reasons);
}

static int no_place(const mp_cgroup_places *places, mp_error *first, mp_error *err) {
  if (first->domain) {
    mp_error_move(err, first);
    return -1;
  }
  if (places->count == 0) {
    mp_error_set(err, MP_CGROUP, "unavailable", "no cgroup hierarchy is mounted");
    return mp_error_hint(err, "mount cgroup2 on /sys/fs/cgroup");
  }
  mp_error_set(err, MP_CGROUP, "unavailable", "no cgroup was delegated to us: %s",
               places->of[0].base_error);
  return mp_error_hint(err, "%s", delegate_hint);
}

int mp_cgroup_create(const char *name, const mp_cgroup_limits *limits, mp_cgroup **group,
                     mp_cgroup_missing *missing, mp_error *err) {
  mp_cgroup_places places;
  mp_cgroup_missing_reset(missing);
  if (check_name(name, err) < 0 || check_limits(limits, err) < 0 ||
      mp_cgroup_places_find_(&places, err) < 0)
    return -1;
  mp_cgroup *self = new_group(name);
  mp_cgroup_missing reasons = MP_CGROUP_MISSING_INIT;
  mp_auto_error mp_error first = MP_ERROR_INIT;
  for (size_t i = 0; i < places.count; i++)
    join(self, &places.of[i], &reasons, &first);
  int rc = 0;
  if (self->dir_count == 0) {
    rc = no_place(&places, &first, err);
    mp_cgroup_free(self);
  } else {
    if (limits)
      set_limits(self, limits, missing);
    report_missing(&places, self, limits, &reasons, missing);
    *group = self;
  }
  mp_cgroup_missing_reset(&reasons);
  mp_cgroup_places_free_(&places);
  return rc;
}

static unsigned enabled_in(const char *path) {
  mp_auto_free char *on = mp_cgroup_read_(path, "cgroup.controllers");
  unsigned bits = 0;
  for (int i = 0; on && i < MP_CGROUP_LIMITS; i++) {
    if (mp_cgroup_has_word_(on, mp_cgroup_limit_name(i)))
      bits |= 1U << i;
  }
  return bits;
}

int mp_cgroup_open(const char *name, mp_cgroup **group, mp_error *err) {
  mp_cgroup_places places;
  if (check_name(name, err) < 0 || mp_cgroup_places_find_(&places, err) < 0)
    return -1;
  mp_cgroup *self = new_group(name);
  for (size_t i = 0; i < places.count; i++) {
    if (places.of[i].base == NULL)
      continue;
    add_dir(self, &places.of[i]);
    mp_cgroup_dir *dir = &self->dirs[self->dir_count - 1];
    if (access(dir->path, F_OK) < 0)
      drop_last_dir(self);
    else if (dir->version == 2)
      dir->controllers = enabled_in(dir->path);
  }
  mp_cgroup_places_free_(&places);
  if (self->dir_count == 0) {
    mp_cgroup_free(self);
    return mp_error_set(err, MP_CGROUP, "ENOENT", "there is no cgroup `%s`", name);
  }
  *group = self;
  return 0;
}

void mp_cgroup_set(mp_cgroup *group, const mp_cgroup_limits *limits, mp_cgroup_missing *missing) {
  mp_cgroup_places places;
  mp_cgroup_missing reasons = MP_CGROUP_MISSING_INIT;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_cgroup_missing_reset(missing);
  if (check_limits(limits, &err) < 0) {
    mp_error_move(&missing->of[MP_CGROUP_CPU], &err);
    return;
  }
  set_limits(group, limits, missing);
  if (mp_cgroup_places_find_(&places, &err) < 0)
    return;
  report_missing(&places, group, limits, &reasons, missing);
  mp_cgroup_places_free_(&places);
}

int mp_cgroup_open_procs(const mp_cgroup *group, int *fds, size_t *count, mp_error *err) {
  size_t opened = 0;
  for (size_t i = 0; i < group->dir_count; i++) {
    mp_auto_free char *path = mp_sprintf("%s/cgroup.procs", group->dirs[i].path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
      mp_error_errno(err, MP_CGROUP, errno, "could not open `%s`", path);
      while (opened > 0)
        close(fds[--opened]);
      return -1;
    }
    fds[opened++] = fd;
  }
  *count = opened;
  return 0;
}

/* -- Reading ---------------------------------------------------------------------------------- */

void mp_cgroup_read_usage_at(const char *const *paths, mp_cgroup_usage *usage) {
  memset(usage, 0xff, sizeof *usage); /* all unknown */
  for (; *paths; paths++) {
    mp_cgroup_v2_read_(*paths, usage);
    mp_cgroup_v1_read_(*paths, usage);
  }
}

void mp_cgroup_read_usage(const mp_cgroup *group, mp_cgroup_usage *usage) {
  mp_cgroup_read_usage_at(group->paths, usage);
}

static int by_name(const void *left, const void *right) {
  return strcmp(*(char *const *)left, *(char *const *)right);
}

typedef struct {
  char **items;
  size_t count;
} name_list;

static void collect_names(const char *path, name_list *names) {
  DIR *dir = opendir(path);
  if (dir == NULL)
    return;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
      continue;
    names->items = mp_realloc(names->items, (names->count + 1) * sizeof *names->items);
    names->items[names->count++] = mp_strdup(entry->d_name);
  }
  closedir(dir);
}

static void drop_repeated(name_list *names) {
  size_t kept = 0;
  for (size_t i = 0; i < names->count; i++) {
    if (kept > 0 && strcmp(names->items[kept - 1], names->items[i]) == 0)
      free(names->items[i]);
    else
      names->items[kept++] = names->items[i];
  }
  names->count = kept;
}

int mp_cgroup_list(const char *parent, char ***names, size_t *count, mp_error *err) {
  mp_cgroup_places places;
  name_list found = {0};
  if (check_name(parent, err) < 0 || mp_cgroup_places_find_(&places, err) < 0)
    return -1;
  for (size_t i = 0; i < places.count; i++) {
    if (places.of[i].base == NULL)
      continue;
    mp_auto_free char *path = mp_sprintf("%s/%s", places.of[i].base, parent);
    collect_names(path, &found);
  }
  mp_cgroup_places_free_(&places);
  if (found.count > 0)
    qsort(found.items, found.count, sizeof *found.items, by_name);
  drop_repeated(&found);
  *names = found.items;
  *count = found.count;
  return 0;
}
