/* What the files of core/cgroup share. */
#ifndef MP_CORE_CGROUP_INTERNAL_H
#define MP_CORE_CGROUP_INTERNAL_H

#include "cgroup.h"

#define MP_CGROUP "cgroup"

/* A mounted hierarchy, as far as it concerns us. */
typedef struct {
  int version;
  unsigned controllers; /* v1: which of mp_cgroup_limit it serves, as bits */
  bool freezer;         /* v1: it serves the freezer */
  char *mount;
  char *base;       /* the topmost directory we may make groups in; NULL: there is none */
  char *base_error; /* then why */
} mp_cgroup_hierarchy;

#define MP_CGROUP_HIERARCHIES_MAX 8

/* All hierarchies that matter. v2 comes first. */
typedef struct {
  mp_cgroup_hierarchy of[MP_CGROUP_HIERARCHIES_MAX];
  size_t count;
} mp_cgroup_places;

int mp_cgroup_places_find_(mp_cgroup_places *places, mp_error *err);
void mp_cgroup_places_free_(mp_cgroup_places *places);

typedef struct {
  int version;
  unsigned controllers; /* limits that can be set here */
  bool freezer;
  char *base;
  char *path; /* base/name */
} mp_cgroup_dir;

struct mp_cgroup {
  char *name;
  mp_cgroup_dir dirs[MP_CGROUP_HIERARCHIES_MAX];
  size_t dir_count;
  const char *paths[MP_CGROUP_HIERARCHIES_MAX + 1];
};

/* Writes the limits that this directory can set and that differ from "none" or were set before;
 * failures go to *missing. */
void mp_cgroup_v1_set_(const mp_cgroup_dir *dir, const mp_cgroup_limits *limits,
                       mp_cgroup_missing *missing);
void mp_cgroup_v2_set_(const mp_cgroup_dir *dir, const mp_cgroup_limits *limits,
                       mp_cgroup_missing *missing);

/* Turns on the controllers of `dir` along the way from its base. dir->controllers becomes those
 * that are on; why others are not goes to *reasons. */
void mp_cgroup_v2_enable_(mp_cgroup_dir *dir, mp_cgroup_missing *reasons);

/* Fills in what this directory knows. */
void mp_cgroup_v1_read_(const char *path, mp_cgroup_usage *usage);
void mp_cgroup_v2_read_(const char *path, mp_cgroup_usage *usage);

/* -- Files ------------------------------------------------------------------------------------ */

/* Reads dir/file whole. NULL with errno. The caller frees it. */
char *mp_cgroup_read_(const char *dir, const char *file);

/* Writes in one write(2). Returns 0, or -1 with errno. */
int mp_cgroup_write_(const char *dir, const char *file, const char *text);

/* Writes a limit; a failure and what it means go to missing->of[limit]. */
void mp_cgroup_write_limit_(const mp_cgroup_dir *dir, mp_cgroup_limit limit, const char *file,
                            const char *text, mp_cgroup_missing *missing);

/* The limit on processes, which v1 and v2 have alike. */
void mp_cgroup_set_pids_(const mp_cgroup_dir *dir, uint64_t count, mp_cgroup_missing *missing);

#define MP_CGROUP_PERIOD 100000 /* microseconds; of processor time, the kernel's default */

/* Fills in a figure that no other directory has told yet. */
void mp_cgroup_take_(uint64_t *to, uint64_t value);

/* A file that holds one number; "max" and failure are MP_CGROUP_UNKNOWN. */
uint64_t mp_cgroup_read_number_(const char *dir, const char *file);

/* The number after `key ` in a file of such lines. */
uint64_t mp_cgroup_read_key_(const char *dir, const char *file, const char *key);

/* True when `word` is one of the words of `text`. */
bool mp_cgroup_has_word_(const char *text, const char *word);

#endif
