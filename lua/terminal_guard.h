/* Gives the terminal back as it was found, however the program ends. */
#ifndef MP_LUA_TERMINAL_GUARD_H
#define MP_LUA_TERMINAL_GUARD_H

/* Remembers the terminal's settings before they are changed. If the program exits or dies of a
 * fault (SIGSEGV, SIGABRT, SIGQUIT, ...) before mp_terminal_guard_off, they are put back. */
void mp_terminal_guard_on(void);

/* The settings are as they were. */
void mp_terminal_guard_off(void);

#endif
