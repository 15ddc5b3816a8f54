#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DOMAIN "process"

/* Returns the length, or -1 with errno. */
static ssize_t read_text(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  ssize_t got = read(fd, text, size - 1);
  int errnum = errno;
  close(fd);
  errno = errnum;
  if (got >= 0)
    text[got] = '\0';
  return got;
}

int mp_identity_boot_id(char out[MP_BOOT_ID_SIZE], mp_error *err) {
  char text[64];
  if (read_text("/proc/sys/kernel/random/boot_id", text, sizeof text) < MP_BOOT_ID_SIZE - 1)
    return mp_error_errno(err, DOMAIN, errno ? errno : EIO, "could not read the boot id");
  memcpy(out, text, MP_BOOT_ID_SIZE - 1);
  out[MP_BOOT_ID_SIZE - 1] = '\0';
  return 0;
}

/* State and start time, which follow the command's name; that may hold spaces and brackets, so
 * they are counted from the last bracket (proc_pid_stat(5): fields 3 and 22). */
static int read_stat(pid_t pid, char *state, uint64_t *start_ticks) {
  char path[40], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  if (read_text(path, text, sizeof text) < 0)
    return -1;
  const char *at = strrchr(text, ')');
  if (at == NULL || at[1] != ' ' || at[2] == '\0') {
    errno = EPROTO;
    return -1;
  }
  *state = at[2];
  at += 2;
  for (int field = 3; field < 22; field++) {
    at = strchr(at, ' ');
    if (at == NULL) {
      errno = EPROTO;
      return -1;
    }
    at++;
  }
  *start_ticks = strtoull(at, NULL, 10);
  return 0;
}

static int no_process(pid_t pid, mp_error *err) {
  return mp_error_errno(err, DOMAIN, ESRCH, "process %d has ended", (int)pid);
}

int mp_identity_of(pid_t pid, mp_identity *identity, mp_error *err) {
  char state;
  mp_identity found = {.pid = pid};
  if (pid <= 0)
    return mp_error_set(err, DOMAIN, MP_INVALID, "%d is not the pid of a process", (int)pid);
  if (mp_identity_boot_id(found.boot_id, err) < 0)
    return -1;
  if (read_stat(pid, &state, &found.start_ticks) < 0) {
    if (errno == ENOENT || errno == ESRCH)
      return no_process(pid, err);
    return mp_error_errno(err, DOMAIN, errno, "could not read `/proc/%d/stat`", (int)pid);
  }
  *identity = found;
  return 0;
}

static bool is_the_one(const mp_identity *identity) {
  char boot_id[MP_BOOT_ID_SIZE], state;
  uint64_t start_ticks;
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  return identity->pid > 0 && mp_identity_boot_id(boot_id, &ignored) == 0 &&
         strcmp(boot_id, identity->boot_id) == 0 &&
         read_stat(identity->pid, &state, &start_ticks) == 0 &&
         start_ticks == identity->start_ticks && state != 'Z' && state != 'X';
}

bool mp_identity_is_alive(const mp_identity *identity) {
  return is_the_one(identity);
}

/* First the descriptor, then the look: if the start time fits after the pid was pinned, it was the
 * right process that was pinned. */
int mp_identity_open(const mp_identity *identity, int *pidfd, mp_error *err) {
  if (identity->pid <= 0)
    return no_process(identity->pid, err);
  int fd = (int)syscall(SYS_pidfd_open, identity->pid, 0);
  if (fd < 0 && errno != ESRCH && errno != EINVAL)
    return mp_error_errno(err, DOMAIN, errno, "could not open process %d", (int)identity->pid);
  if (fd < 0)
    return no_process(identity->pid, err);
  if (!is_the_one(identity)) {
    close(fd);
    return no_process(identity->pid, err);
  }
  *pidfd = fd;
  return 0;
}

int mp_identity_signal(const mp_identity *identity, int number, mp_error *err) {
  int fd;
  if (mp_identity_open(identity, &fd, err) < 0)
    return -1;
  int rc = (int)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0);
  int errnum = errno;
  close(fd);
  if (rc == 0)
    return 0;
  if (errnum == ESRCH)
    return no_process(identity->pid, err);
  return mp_error_errno(err, DOMAIN, errnum, "could not signal process %d", (int)identity->pid);
}
