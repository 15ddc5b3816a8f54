/* Writes one JSON object into memory of a fixed size, on one line. */
#ifndef MP_SHIM_JSON_H
#define MP_SHIM_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  char *data; /* the caller's; NUL-terminated after each call */
  size_t cap;
  size_t len;
  bool comma;    /* a member stands before the place of writing */
  bool overflow; /* something did not fit: the text is not whole */
} mp_shim_json;

void mp_shim_json_init(mp_shim_json *json, char *data, size_t cap);

/* Opens an object: the outermost with key NULL, else as the member `key`. */
void mp_shim_json_open(mp_shim_json *json, const char *key);
void mp_shim_json_close(mp_shim_json *json);

/* Members. Keys are plain identifiers. A NULL string is written as null; bytes that are not UTF-8
 * become U+FFFD. */
void mp_shim_json_string(mp_shim_json *json, const char *key, const char *text);
void mp_shim_json_int(mp_shim_json *json, const char *key, int64_t number);
void mp_shim_json_bool(mp_shim_json *json, const char *key, bool value);
void mp_shim_json_null(mp_shim_json *json, const char *key);

#endif
