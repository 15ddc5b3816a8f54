/* Text forms of bytes (hexadecimal, base64, percent-encoding, JSON escapes) and random bytes.
 * Every function is callable from any thread. */
#ifndef MP_CORE_ENCODE_H
#define MP_CORE_ENCODE_H

#include "buf.h"
#include "error.h"

#include <stdbool.h>

/* Appends lower-case hexadecimal. */
void mp_hex_encode(mp_buf *out, const void *bytes, size_t len);

/* Appends the bytes that `text` spells; both cases are read.
 * Error: domain "encode", MP_INVALID; *out is then unchanged. */
int mp_hex_decode(mp_buf *out, const char *text, size_t len, mp_error *err);

/* Appends base64 (RFC 4648), padded; with `url` the URL-safe alphabet without padding. */
void mp_base64_encode(mp_buf *out, const void *bytes, size_t len, bool url);

/* Appends what `text` spells: either alphabet, padding optional, white space between the characters
 * ignored (PEM bodies). Bits left over must be zero and padding, where present, exact.
 * Error: domain "encode", MP_INVALID; *out is then unchanged. */
int mp_base64_decode(mp_buf *out, const char *text, size_t len, mp_error *err);

/* Appends percent-encoding (RFC 3986): all but unreserved characters become %XX. */
void mp_url_encode(mp_buf *out, const void *bytes, size_t len);

/* Appends the bytes as they stand between the quotes of a JSON string: `"`, `\` and control
 * characters escaped, everything else as it is. Does not judge whether it is UTF-8. */
void mp_json_escape(mp_buf *out, const char *text, size_t len);

/* True when the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). On false
 * and where `bad` is not NULL, *bad is the offset of the first wrong byte. */
bool mp_utf8_valid(const char *text, size_t len, size_t *bad);

/* Fills *out from the kernel's generator. Blocks only before the generator is seeded at boot. */
void mp_random(void *out, size_t len);

/* A random UUID (RFC 4122 version 4) in lower case, with its NUL. */
#define MP_UUID_SIZE 37
void mp_uuid4(char out[MP_UUID_SIZE]);

#endif
