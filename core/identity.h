/* Who a process is, beyond its pid, which the kernel gives to another once it is free.
 *
 * An identity can be stored and compared across our own restarts and the machine's. Nothing here
 * signals a process without having made sure of it. Needs /proc and Linux 5.3. Callable from any
 * thread. Error domain: "process". */
#ifndef MP_CORE_IDENTITY_H
#define MP_CORE_IDENTITY_H

#include "error.h"

#include <stdint.h>
#include <sys/types.h>

#define MP_BOOT_ID_SIZE 37 /* a UUID as text, with its NUL */

typedef struct {
  pid_t pid;
  uint64_t start_ticks; /* since boot: field 22 of /proc/PID/stat */
  char boot_id[MP_BOOT_ID_SIZE];
} mp_identity;

/* /proc/sys/kernel/random/boot_id: differs after each boot. */
int mp_identity_boot_id(char out[MP_BOOT_ID_SIZE], mp_error *err);

/* The identity of a process that runs now. ESRCH when there is none. */
int mp_identity_of(pid_t pid, mp_identity *identity, mp_error *err);

/* Opens a pidfd (close-on-exec, the caller's) to the very process, or fails with ESRCH: it has
 * ended, is a zombie, was of another boot, or its pid is someone else's now. */
int mp_identity_open(const mp_identity *identity, int *pidfd, mp_error *err);

/* Whether the very process runs (a zombie does not). */
bool mp_identity_is_alive(const mp_identity *identity);

/* Sends a signal to the very process; ESRCH as above. */
int mp_identity_signal(const mp_identity *identity, int number, mp_error *err);

#endif
