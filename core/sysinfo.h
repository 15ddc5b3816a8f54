/* Facts about the host and about ourselves. Callable from any thread. Error domain: "sys". */
#ifndef MP_CORE_SYSINFO_H
#define MP_CORE_SYSINFO_H

#include "error.h"

#include <stdint.h>

/* Processors that this process may run on. */
unsigned mp_sys_cpus(void);

typedef struct {
  uint64_t total;     /* bytes */
  uint64_t available; /* for new programs without swapping, as the kernel reckons */
} mp_sys_memory;

int mp_sys_read_memory(mp_sys_memory *memory, mp_error *err);

/* Seconds since boot. */
double mp_sys_uptime(void);

/* Our effective capabilities as bits; see capabilities(7). */
int mp_sys_capabilities(uint64_t *effective, mp_error *err);

/* "CAP_NET_ADMIN" of 12; NULL beyond those known here. */
const char *mp_sys_capability_name(unsigned number);

/* 12 of "CAP_NET_ADMIN", "cap_net_admin" or "net_admin"; -1 when there is none of that name. */
int mp_sys_capability_number(const char *name);

/* /dev/kvm opens for reading and writing; else an error with a hint. That a guest kernel runs is
 * known only by booting it. */
int mp_sys_check_kvm(mp_error *err);

/* The version of the Landlock ABI that the kernel has and that is switched on; 0: none. See
 * landlock_create_ruleset(2). */
int mp_sys_landlock(void);

/* The number of a signal by name ("SIGTERM", "TERM", any case) or decimal number; 0: none. */
int mp_sys_signal_number(const char *name);

/* "SIGTERM" of 15; NULL: none. Static. */
const char *mp_sys_signal_name(int number);

#endif
