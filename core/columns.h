/* How wide UTF-8 text is on a terminal, whatever the locale is. */
#ifndef MP_CORE_COLUMNS_H
#define MP_CORE_COLUMNS_H

#include <stddef.h>

/* Returns how many bytes of `text` fit in `limit` columns: whole characters, and the sequences that
 * set colours ("\x1b[1;31m"), which take none, whole too. *columns becomes what they take. A byte
 * that is not UTF-8 counts as one column, a control character as none. Any thread. */
size_t mp_columns_fit(const char *text, size_t len, long limit, long *columns);

#endif
