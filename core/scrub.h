/* The registry of revealed secrets, and the sieve that keeps them out of what we write.
 *
 * Whoever reveals a secret to a primitive adds it here; every sink (log, errors, plans, JSON
 * output) passes its text through the sieve, which puts `***` in the place of each occurrence.
 * Found are the bytes themselves and their JSON-escaped, percent-encoded (both), base64 (both
 * alphabets, also within the encoding of a longer text, as in `Authorization: Basic`) and
 * hexadecimal forms; for a secret of several lines also each line of 8 bytes or more, since logs
 * are cut into lines. White space at the ends of a secret does not count: files end with a newline.
 *
 * A value of fewer than MP_SCRUB_SHORT bytes occurs in innocent text all the time, so it is
 * replaced only where it stands as a whole token: neither neighbour is a letter, a digit or `_`;
 * and only in its plain form. An empty value is ignored.
 *
 * Occurrences that overlap become one `***`. Loop thread only; lives as long as the process. */
#ifndef MP_CORE_SCRUB_H
#define MP_CORE_SCRUB_H

#include "buf.h"

#include <stdbool.h>

#define MP_SCRUB_SHORT 4

/* Registers a secret. Adding one again costs a look-up and changes nothing. */
void mp_scrub_add(const char *bytes, size_t len);

/* True once anything was registered: the cheap test before the calls below. */
bool mp_scrub_needed(void);

/* Scrubs the buffer's content in place. */
void mp_scrub(mp_buf *buf);

/* Returns a scrubbed copy, NUL-terminated, which the caller frees. *out_len (may be NULL) becomes
 * its length. */
char *mp_scrub_copy(const char *text, size_t len, size_t *out_len);

/* As mp_scrub_copy for a C string; NULL gives NULL. */
char *mp_scrub_text(const char *text);

/* Forgets all, wiping the memory. */
void mp_scrub_reset(void);

#endif
