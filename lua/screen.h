/* The last lines of the terminal, which stay below whatever is printed: the prompt while someone
 * types, or what is in progress.
 *
 * From mp_screen_open on, whatever is written to stdout and stderr through C's or Lua's I/O goes
 * through here where it leads to a terminal: the footer is taken away, the text is written, and the
 * footer is put back before the loop waits again. Secrets that were revealed are masked in the
 * text. What child processes write to the terminal directly cannot be seen from here. */
#ifndef MP_LUA_SCREEN_H
#define MP_LUA_SCREEN_H

#include <lua.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct {
  void (*hide)(void); /* leaves the cursor where the footer began */
  void (*show)(void); /* the cursor is at the beginning of a line */
} mp_screen_footer;

/* Ends when the Lua state is closed. Harmless when repeated. */
void mp_screen_open(lua_State *L);

/* Puts a footer, which is borrowed, in the place of the one before; NULL for none. It is shown
 * before the loop waits, or is on the screen already where `shown` says so. */
void mp_screen_set_footer(const mp_screen_footer *footer, bool shown);

/* Puts the footer back now if it was taken away: for its owner, before changing it. */
void mp_screen_show_footer(void);

/* There is no footer any more, and what the last one showed stays where it is. */
void mp_screen_leave_footer(void);

/* Ends a line that was begun, so that what follows stands at the beginning of one. */
void mp_screen_fresh_line(void);

/* The Lua function footer(text): shows lines of text as the footer, nil for none. Gives false where
 * there is no terminal or someone is typing. */
int mp_screen_text_footer(lua_State *L);

#endif
