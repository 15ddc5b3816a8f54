#include "pty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

int mp_shim_pty_open(int rows, int columns, int *slave, mp_shim_error *err) {
  char name[64];
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (master < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof name) != 0 ||
      (*slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
    mp_shim_fail_errno(err, errno, "could not make a terminal");
    if (master >= 0)
      close(master);
    *slave = -1;
    return -1;
  }
  mp_shim_pty_resize(master, rows, columns);
  return master;
}

void mp_shim_pty_resize(int master, int rows, int columns) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  ioctl(master, TIOCSWINSZ, &size);
}
