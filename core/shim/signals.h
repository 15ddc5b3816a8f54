/* Signals by name. */
#ifndef MP_SHIM_SIGNALS_H
#define MP_SHIM_SIGNALS_H

/* "TERM", "SIGTERM" or "15" to its number; 0 when there is no such signal. */
int mp_shim_signal_number(const char *name);

/* The name without SIG ("TERM"); real-time and unknown ones as their decimal number. Static string,
 * overwritten by the next call for a nameless one. */
const char *mp_shim_signal_name(int number);

#endif
