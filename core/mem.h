/* Allocation that cannot fail: running out of memory aborts with a message, here and nowhere else.
 * Every function is callable from any thread. Release with free(). */
#ifndef MP_CORE_MEM_H
#define MP_CORE_MEM_H

#include <stdarg.h>
#include <stddef.h>

/* Returns `size` zeroed bytes (at least one). */
void *mp_alloc(size_t size);

/* As calloc(3), aborting on overflow or exhaustion. */
void *mp_calloc(size_t count, size_t size);

/* As realloc(3); the old block is gone on return. */
void *mp_realloc(void *block, size_t size);

/* Copies a string; NULL gives NULL. */
char *mp_strdup(const char *text);

/* Copies `len` bytes and ends them with a NUL. */
char *mp_memdup(const void *bytes, size_t len);

/* Formats into a new string. */
char *mp_sprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *mp_vsprintf(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

/* Cleanup attribute: `mp_auto_free char *name = ...;` is freed when the scope ends. */
#define mp_auto_free __attribute__((cleanup(mp_free_pointer_)))
void mp_free_pointer_(void *pointer_to_pointer);

/* Moves a pointer out of its variable, leaving NULL there. */
#define mp_steal(pointer)                                                                          \
  ({                                                                                               \
    __typeof__(pointer) stolen_ = (pointer);                                                       \
    (pointer) = NULL;                                                                              \
    stolen_;                                                                                       \
  })

#endif
