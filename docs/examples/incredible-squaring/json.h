/* Just enough JSON (RFC 8259) to read the answer of a JSON-RPC server without trusting it. A cursor
 * walks the text in place; every value that is stepped over is checked. */
#ifndef SQUARING_JSON_H
#define SQUARING_JSON_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
  const char *at;
  const char *end;
} json;

/* Steps over white space and says what comes next: one of `{ [ " t f n 0` (0 for any number), or
 * NUL when nothing valid does. */
char json_peek(json *j);

/* Steps over one value of any type. False: it is malformed or nested too deep. */
bool json_skip(json *j);

/* Reads a string, cut to fit `size` with its NUL; escapes become UTF-8. A NUL in it is refused. */
bool json_string(json *j, char *out, size_t size);

/* Reads an integer that fits a long long; a fraction or exponent is refused. */
bool json_integer(json *j, long long *out);

/* Enters an object. Then json_next_member gives each key in turn, with the cursor at its value,
 * which the caller must read or skip. Returns 1 for a member, 0 at the object's end, -1 when it is
 * malformed. `first` starts as true. */
bool json_enter_object(json *j);
int json_next_member(json *j, bool *first, char *key, size_t key_size);

/* True when only white space is left. */
bool json_at_end(json *j);

#endif
