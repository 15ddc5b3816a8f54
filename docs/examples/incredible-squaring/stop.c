#include "stop.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t requested, at_once;
static sigset_t normal_mask; /* what was blocked before us: the signals get through */

static void on_signal(int number) {
  (void)number;
  requested = 1;
  if (at_once)
    _exit(0);
}

void stop_catch(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  sigprocmask(SIG_BLOCK, &stop, &normal_mask);
  sigdelset(&normal_mask, SIGTERM);
  sigdelset(&normal_mask, SIGINT);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error of its connection, no more */
}

bool stop_requested(void) {
  return requested;
}

int stop_poll(struct pollfd *fds, nfds_t count, int64_t timeout_ms) {
  struct timespec limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};
  return ppoll(fds, count, timeout_ms < 0 ? NULL : &limit, &normal_mask);
}

void stop_at_once(bool on) {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  at_once = on;
  sigprocmask(on ? SIG_UNBLOCK : SIG_BLOCK, &stop, NULL);
}
