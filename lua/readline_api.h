/* GNU readline, loaded on first use: only the prompt needs it, and loading it would cost every
 * script a quarter of a millisecond. The members are readline's functions, and the addresses of its
 * variables, under their own names. */
#ifndef MP_LUA_READLINE_API_H
#define MP_LUA_READLINE_API_H

#include "core/error.h"

#include <stdio.h> /* readline.h uses FILE */

#include <readline/history.h>
#include <readline/readline.h>

#define MP_READLINE_FUNCTIONS(X)                                                                   \
  X(readline)                                                                                      \
  X(rl_initialize)                                                                                 \
  X(rl_reset_screen_size)                                                                          \
  X(rl_resize_terminal)                                                                            \
  X(rl_prep_terminal)                                                                              \
  X(rl_deprep_terminal)                                                                            \
  X(rl_redisplay)                                                                                  \
  X(rl_on_new_line)                                                                                \
  X(rl_forced_update_display)                                                                      \
  X(rl_clear_visible_line)                                                                         \
  X(rl_replace_line)                                                                               \
  X(rl_insert_text)                                                                                \
  X(rl_delete_text)                                                                                \
  X(rl_begin_undo_group)                                                                           \
  X(rl_end_undo_group)                                                                             \
  X(rl_ding)                                                                                       \
  X(rl_display_match_list)                                                                         \
  X(rl_bind_key)                                                                                   \
  X(rl_variable_bind)                                                                              \
  X(using_history)                                                                                 \
  X(add_history)                                                                                   \
  X(stifle_history)                                                                                \
  X(clear_history)

#define MP_READLINE_VARIABLES(X)                                                                   \
  X(rl_readline_name)                                                                              \
  X(rl_instream)                                                                                   \
  X(rl_getc_function)                                                                              \
  X(rl_readline_state)                                                                             \
  X(rl_outstream)                                                                                  \
  X(rl_catch_signals)                                                                              \
  X(rl_catch_sigwinch)                                                                             \
  X(rl_change_environment)                                                                         \
  X(rl_line_buffer)                                                                                \
  X(rl_point)                                                                                      \
  X(rl_end)

typedef struct {
#define MP_READLINE_MEMBER(name) __typeof__(&name) name;
  MP_READLINE_FUNCTIONS(MP_READLINE_MEMBER)
  MP_READLINE_VARIABLES(MP_READLINE_MEMBER)
#undef MP_READLINE_MEMBER
} mp_readline_api;

/* The table, loaded once per process; NULL and an error (domain "readline", code "library") where
 * the library is missing. Loop thread only. */
const mp_readline_api *mp_readline_load(mp_error *err);

#endif
