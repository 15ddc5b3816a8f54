#include "mem.h"
#include "process_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char *const names[] = {"stdin", "stdout", "stderr"};

/* A FIFO without a peer must not stall the loop, so the open does not wait; the child, which knows
 * nothing of that, gets a descriptor that does. */
static int open_file(const mp_stdio *stdio, int which, mp_error *err) {
  int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  if (which == 0)
    flags |= O_RDONLY;
  else
    flags |= O_WRONLY | O_CREAT | (stdio->append ? O_APPEND : O_TRUNC);
  int fd = open(stdio->path, flags, stdio->mode ? stdio->mode : 0600);
  if (fd < 0)
    return mp_error_errno(err, MP_PROCESS, errno, "could not open `%s` as %s", stdio->path,
                          names[which]);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  return fd;
}

static int open_null(int which, mp_error *err) {
  int fd = open("/dev/null", (which == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
  return fd >= 0 ? fd : mp_error_errno(err, MP_PROCESS, errno, "could not open `/dev/null`");
}

/* Our end does not block, the child's does. */
static int open_pipe(mp_process_fds *fds, int which, mp_error *err) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return mp_error_errno(err, MP_PROCESS, errno, "could not make a pipe for %s", names[which]);
  fds->ours[which] = ends[which == 0];
  fds->child[which] = ends[which != 0];
  fds->owned[which] = true;
  return 0;
}

static int take(mp_process_fds *fds, int which, int fd) {
  fds->child[which] = fd;
  fds->owned[which] = fd >= 0;
  return fd < 0 ? -1 : 0;
}

static int open_one(mp_process_fds *fds, const mp_stdio *stdio, int which, mp_error *err) {
  switch (stdio->kind) {
  case MP_STDIO_NULL:
    break;
  case MP_STDIO_INHERIT:
    /* Ours may be closed, and then the child's next open would become its stdin. */
    if (fcntl(which, F_GETFD) < 0)
      break;
    fds->child[which] = which;
    return 0;
  case MP_STDIO_PIPE:
    return open_pipe(fds, which, err);
  case MP_STDIO_FILE:
    return take(fds, which, open_file(stdio, which, err));
  case MP_STDIO_FD:
    fds->child[which] = stdio->fd;
    return 0;
  case MP_STDIO_STDOUT:
    if (which != 2)
      return mp_error_set(err, MP_PROCESS, MP_INVALID, "only stderr can go where stdout goes");
    fds->child[2] = fds->child[1];
    return 0;
  }
  return take(fds, which, open_null(which, err));
}

int mp_process_resize_fd_(int fd, unsigned short rows, unsigned short columns) {
  struct winsize size = {.ws_row = rows ? rows : 24, .ws_col = columns ? columns : 80};
  return ioctl(fd, TIOCSWINSZ, &size);
}

/* TIOCGPTPEER rather than ptsname: right in every mount namespace, and not to be raced. */
static int open_terminal(const mp_process_options *options, mp_process_fds *fds, mp_error *err) {
  int unlock = 0;
  fds->pty = true;
  fds->ours[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fds->ours[1] < 0 || ioctl(fds->ours[1], TIOCSPTLCK, &unlock) < 0)
    return mp_error_errno(err, MP_PROCESS, errno, "could not make a terminal");
  int slave = ioctl(fds->ours[1], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0)
    return mp_error_errno(err, MP_PROCESS, errno, "could not open the terminal just made");
  take(fds, 0, slave);
  fds->child[1] = fds->child[2] = slave;
  if (mp_process_resize_fd_(slave, options->rows, options->columns) < 0)
    return mp_error_errno(err, MP_PROCESS, errno, "could not size the terminal just made");
  return 0;
}

static int open_all(const mp_process_options *options, mp_process_fds *fds, mp_error *err) {
  if (options->pty)
    return open_terminal(options, fds, err);
  if (open_one(fds, &options->in, 0, err) < 0 || open_one(fds, &options->out, 1, err) < 0)
    return -1;
  return open_one(fds, &options->err, 2, err);
}

int mp_process_fds_open_(const mp_process_options *options, mp_process_fds *fds, mp_error *err) {
  *fds = (mp_process_fds){.child = {-1, -1, -1}, .ours = {-1, -1, -1}};
  if (open_all(options, fds, err) == 0)
    return 0;
  mp_process_fds_close_(fds, true);
  if (mp_error_is(err, "EMFILE"))
    mp_error_hint(err, "raise the limit on open files (`ulimit -n`)");
  return -1;
}

void mp_process_fds_close_(mp_process_fds *fds, bool all) {
  for (int i = 0; i < 3; i++) {
    if (fds->owned[i])
      close(fds->child[i]);
    fds->owned[i] = false;
    if (all && fds->ours[i] >= 0)
      close(fds->ours[i]);
  }
}
