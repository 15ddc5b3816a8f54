#include "buf.h"
#include "cgroup_internal.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *mp_cgroup_read_(const char *dir, const char *file) {
  mp_auto_free char *path = mp_sprintf("%s/%s", dir, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return NULL;
  mp_buf text = MP_BUF_INIT;
  ssize_t got;
  do {
    got = read(fd, mp_buf_reserve(&text, 4096), 4096);
    if (got > 0)
      text.len += (size_t)got;
  } while (got > 0 || (got < 0 && errno == EINTR));
  int errnum = errno;
  close(fd);
  if (got < 0) {
    mp_buf_free(&text);
    errno = errnum;
    return NULL;
  }
  text.data[text.len] = '\0';
  return text.data;
}

int mp_cgroup_write_(const char *dir, const char *file, const char *text) {
  mp_auto_free char *path = mp_sprintf("%s/%s", dir, file);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  ssize_t put = write(fd, text, strlen(text));
  int errnum = errno;
  close(fd);
  errno = errnum;
  return put < 0 ? -1 : 0;
}

void mp_cgroup_write_limit_(const mp_cgroup_dir *dir, mp_cgroup_limit limit, const char *file,
                            const char *text, mp_cgroup_missing *missing) {
  if (mp_cgroup_write_(dir->path, file, text) == 0)
    return;
  int errnum = errno;
  mp_error *err = &missing->of[limit];
  mp_error_errno(err, MP_CGROUP, errnum, "could not write `%s` to `%s/%s`", text, dir->path, file);
  if (errnum == EBUSY)
    mp_error_hint(err, "it uses more than that already");
  if (errnum == ENOENT)
    mp_error_hint(err, "the kernel was built without this limit");
}

void mp_cgroup_set_pids_(const mp_cgroup_dir *dir, uint64_t count, mp_cgroup_missing *missing) {
  char text[24] = "max";
  if (count > 0)
    snprintf(text, sizeof text, "%" PRIu64, count);
  mp_cgroup_write_limit_(dir, MP_CGROUP_PIDS, "pids.max", text, missing);
}

void mp_cgroup_take_(uint64_t *to, uint64_t value) {
  if (*to == MP_CGROUP_UNKNOWN)
    *to = value;
}

static uint64_t parse_number(const char *text) {
  char *end;
  errno = 0;
  uint64_t value = strtoull(text, &end, 10);
  return end == text || errno != 0 ? MP_CGROUP_UNKNOWN : value;
}

uint64_t mp_cgroup_read_number_(const char *dir, const char *file) {
  mp_auto_free char *text = mp_cgroup_read_(dir, file);
  return text ? parse_number(text) : MP_CGROUP_UNKNOWN;
}

uint64_t mp_cgroup_read_key_(const char *dir, const char *file, const char *key) {
  mp_auto_free char *text = mp_cgroup_read_(dir, file);
  size_t len = strlen(key);
  for (const char *line = text; line && *line;) {
    if (strncmp(line, key, len) == 0 && line[len] == ' ')
      return parse_number(line + len + 1);
    line = strchr(line, '\n');
    line += line != NULL;
  }
  return MP_CGROUP_UNKNOWN;
}

bool mp_cgroup_has_word_(const char *text, const char *word) {
  size_t len = strlen(word);
  while (*text) {
    size_t span = strcspn(text, " ,\n");
    if (span == len && strncmp(text, word, len) == 0)
      return true;
    text += span + (text[span] != '\0');
  }
  return false;
}
