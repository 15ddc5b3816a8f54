#include "cgroup_internal.h"

#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One line of /proc/self/mountinfo (proc_pid_mountinfo(5)):
 *   36 35 0:33 ROOT MOUNT OPTIONS [OPTIONAL...] - TYPE SOURCE SUPER_OPTIONS */
typedef struct {
  char *root;
  char *mount;
  char *type;
  char *super;
} mount_line;

/* Spaces and the like stand as three octal digits there. */
static void unescape(char *text) {
  char *to = text;
  for (; *text; text++) {
    if (text[0] == '\\' && text[1] && text[2] && text[3]) {
      *to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
      text += 3;
    } else {
      *to++ = *text;
    }
  }
  *to = '\0';
}

static bool parse_mount(char *line, mount_line *out) {
  char *tail = strstr(line, " - ");
  if (tail == NULL)
    return false;
  *tail = '\0';
  char *save, *fields[6];
  for (int i = 0; i < 6; i++) {
    fields[i] = strtok_r(i ? NULL : line, " ", &save);
    if (fields[i] == NULL)
      return false;
  }
  out->root = fields[3];
  out->mount = fields[4];
  out->type = strtok_r(tail + 3, " ", &save);
  strtok_r(NULL, " ", &save);
  out->super = strtok_r(NULL, " ", &save);
  if (out->type == NULL || out->super == NULL)
    return false;
  unescape(out->root);
  unescape(out->mount);
  return true;
}

static unsigned limits_of(const char *controllers) {
  unsigned bits = 0;
  for (int i = 0; i < MP_CGROUP_LIMITS; i++) {
    if (mp_cgroup_has_word_(controllers, mp_cgroup_limit_name(i)))
      bits |= 1U << i;
  }
  return bits;
}

/* Our own cgroup in the hierarchy, from /proc/self/cgroup: `N:CONTROLLERS:PATH`, where v2 is `0::`.
 * The caller frees it. */
static char *own_path(const mp_cgroup_hierarchy *hierarchy, const char *self) {
  mp_auto_free char *copy = mp_strdup(self);
  char *save;
  for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (path == NULL)
      continue;
    *path++ = '\0';
    controllers++;
    if (hierarchy->version == 2
            ? *controllers == '\0'
            : (hierarchy->controllers && limits_of(controllers) == hierarchy->controllers) ||
                  (hierarchy->freezer && mp_cgroup_has_word_(controllers, "freezer")))
      return mp_strdup(path);
  }
  return NULL;
}

static bool writable(const char *dir, const char *file) {
  mp_auto_free char *path = mp_sprintf("%s/%s", dir, file);
  return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

/* Whether groups can be made in `dir` and processes moved there from groups of ours. */
static bool is_ours(const mp_cgroup_hierarchy *hierarchy, const char *dir) {
  return writable(dir, "") && writable(dir, "cgroup.procs") &&
         (hierarchy->version == 1 || writable(dir, "cgroup.subtree_control"));
}

static char *parent_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash > path ? mp_memdup(path, (size_t)(slash - path)) : NULL;
}

/* Climbs from our own cgroup as long as the next one up is ours too. */
static void find_base(mp_cgroup_hierarchy *hierarchy, const char *root, const char *self) {
  mp_auto_free char *own = own_path(hierarchy, self);
  size_t root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);
  const char *below = own ? own : "";
  /* Without a cgroup namespace of its own, a container sees its paths from the host's root. */
  if (root_len > 0 && strncmp(below, root, root_len) == 0)
    below += root_len;
  char *dir = mp_sprintf("%s%s", hierarchy->mount, strcmp(below, "/") == 0 ? "" : below);
  if (access(dir, F_OK) < 0) {
    free(dir);
    dir = mp_strdup(hierarchy->mount);
  }
  if (!is_ours(hierarchy, dir)) {
    hierarchy->base_error =
        mp_sprintf("`%s` cannot be written to: %s", dir, strerror(errno ? errno : EACCES));
    free(dir);
    return;
  }
  for (;;) {
    char *up = strlen(dir) > strlen(hierarchy->mount) ? parent_of(dir) : NULL;
    if (up == NULL || !is_ours(hierarchy, up)) {
      free(up);
      break;
    }
    free(dir);
    dir = up;
  }
  hierarchy->base = dir;
}

static void add_mount(mp_cgroup_places *places, const mount_line *line, const char *self) {
  mp_cgroup_hierarchy found = {.version = strcmp(line->type, "cgroup2") == 0 ? 2 : 1};
  if (found.version == 1) {
    if (strcmp(line->type, "cgroup") != 0)
      return;
    found.controllers = limits_of(line->super);
    found.freezer = mp_cgroup_has_word_(line->super, "freezer");
    if (found.controllers == 0 && !found.freezer)
      return;
  }
  for (size_t i = 0; i < places->count; i++) {
    const mp_cgroup_hierarchy *other = &places->of[i];
    if (other->version == found.version && other->controllers == found.controllers &&
        other->freezer == found.freezer)
      return; /* mounted twice */
  }
  if (places->count == MP_CGROUP_HIERARCHIES_MAX)
    return;
  found.mount = mp_strdup(line->mount);
  find_base(&found, line->root, self);
  size_t at = found.version == 2 ? 0 : places->count;
  memmove(&places->of[at + 1], &places->of[at], (places->count - at) * sizeof found);
  places->of[at] = found;
  places->count++;
}

int mp_cgroup_places_find_(mp_cgroup_places *places, mp_error *err) {
  *places = (mp_cgroup_places){0};
  mp_auto_free char *mounts = mp_cgroup_read_("/proc/self", "mountinfo");
  mp_auto_free char *self = mp_cgroup_read_("/proc/self", "cgroup");
  if (mounts == NULL || self == NULL)
    return mp_error_errno(err, MP_CGROUP, errno, "could not read /proc/self");
  char *save;
  for (char *line = strtok_r(mounts, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    mount_line parsed;
    if (parse_mount(line, &parsed))
      add_mount(places, &parsed, self);
  }
  return 0;
}

void mp_cgroup_places_free_(mp_cgroup_places *places) {
  for (size_t i = 0; i < places->count; i++) {
    free(places->of[i].mount);
    free(places->of[i].base);
    free(places->of[i].base_error);
  }
  places->count = 0;
}

mp_cgroup_mode_kind mp_cgroup_mode(void) {
  mp_cgroup_places places;
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  bool v1 = false, v2 = false;
  if (mp_cgroup_places_find_(&places, &ignored) < 0)
    return MP_CGROUP_NONE;
  for (size_t i = 0; i < places.count; i++) {
    v1 = v1 || places.of[i].version == 1;
    v2 = v2 || places.of[i].version == 2;
  }
  mp_cgroup_places_free_(&places);
  if (v1)
    return v2 ? MP_CGROUP_HYBRID : MP_CGROUP_V1;
  return v2 ? MP_CGROUP_V2 : MP_CGROUP_NONE;
}

const char *mp_cgroup_mode_name(mp_cgroup_mode_kind mode) {
  static const char *const names[] = {"none", "v1", "v2", "hybrid"};
  return names[mode];
}

const char *mp_cgroup_limit_name(mp_cgroup_limit limit) {
  static const char *const names[] = {"memory", "cpu", "pids"};
  return names[limit];
}
