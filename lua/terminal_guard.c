#include "terminal_guard.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT};
#define FATAL_COUNT (sizeof fatal / sizeof *fatal)

static struct termios settings;
static struct sigaction before[FATAL_COUNT];
static volatile sig_atomic_t changed;

/* Only calls that are safe in a signal handler. */
static void restore(void) {
  static const char plain[] = "\x1b[?2004l\r\n"; /* bracketed paste off */
  if (!changed)
    return;
  changed = false;
  tcsetattr(STDIN_FILENO, TCSANOW, &settings);
  ssize_t ignored = write(STDOUT_FILENO, plain, sizeof plain - 1);
  (void)ignored;
}

static void on_fatal(int number) {
  restore();
  for (size_t i = 0; i < FATAL_COUNT; i++) {
    if (fatal[i] == number)
      sigaction(number, &before[i], NULL);
  }
  raise(number); /* delivered on return, to whoever had it before */
}

static void install(void) {
  struct sigaction action = {.sa_handler = on_fatal};
  for (size_t i = 0; i < FATAL_COUNT; i++)
    sigaction(fatal[i], &action, &before[i]);
  atexit(restore);
}

void mp_terminal_guard_on(void) {
  static bool installed;
  if (tcgetattr(STDIN_FILENO, &settings) < 0)
    return;
  if (!installed)
    install();
  installed = true;
  changed = true;
}

void mp_terminal_guard_off(void) {
  changed = false;
}
