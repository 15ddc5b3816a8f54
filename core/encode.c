#include "encode.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char hex_digits[] = "0123456789abcdef";

void mp_hex_encode(mp_buf *out, const void *bytes, size_t len) {
  const uint8_t *byte = bytes;
  char *to = mp_buf_reserve(out, len * 2);
  for (size_t i = 0; i < len; i++) {
    to[2 * i] = hex_digits[byte[i] >> 4];
    to[2 * i + 1] = hex_digits[byte[i] & 15];
  }
  out->len += len * 2;
  out->data[out->len] = '\0';
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

int mp_hex_decode(mp_buf *out, const char *text, size_t len, mp_error *err) {
  if (len % 2)
    return mp_error_set(err, "encode", MP_INVALID, "hexadecimal text has an odd length (%zu)", len);
  char *to = mp_buf_reserve(out, len / 2);
  for (size_t i = 0; i < len; i += 2) {
    int high = hex_value(text[i]), low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) {
      out->data[out->len] = '\0';
      return mp_error_set(err, "encode", MP_INVALID, "not a hexadecimal digit at byte %zu",
                          high < 0 ? i + 1 : i + 2);
    }
    to[i / 2] = (char)(high << 4 | low);
  }
  out->len += len / 2;
  out->data[out->len] = '\0';
  return 0;
}

void mp_base64_encode(mp_buf *out, const void *bytes, size_t len, bool url) {
  static const char alphabets[2][65] = {
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};
  const char *alphabet = alphabets[url];
  const uint8_t *in = bytes;
  char *to = mp_buf_reserve(out, (len + 2) / 3 * 4);
  char *start = to;
  size_t i = 0;
  for (; i + 3 <= len; i += 3) {
    uint32_t group = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
    for (int shift = 18; shift >= 0; shift -= 6)
      *to++ = alphabet[group >> shift & 63];
  }
  size_t rest = len - i;
  if (rest > 0) {
    uint32_t group = (uint32_t)in[i] << 16 | (rest > 1 ? (uint32_t)in[i + 1] << 8 : 0);
    *to++ = alphabet[group >> 18];
    *to++ = alphabet[group >> 12 & 63];
    if (rest > 1)
      *to++ = alphabet[group >> 6 & 63];
    for (size_t pad = rest; !url && pad < 3; pad++)
      *to++ = '=';
  }
  out->len += (size_t)(to - start);
  out->data[out->len] = '\0';
}

static int base64_value(char c) {
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  if (c == '+' || c == '-')
    return 62;
  if (c == '/' || c == '_')
    return 63;
  return -1;
}

static bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

typedef struct {
  uint32_t bits;   /* not yet written, right-aligned */
  unsigned held;   /* how many of them */
  size_t digits;   /* base64 characters read */
  size_t padding;  /* `=` read */
  const char *why; /* what is wrong, or NULL */
} base64_reader;

static void base64_take(base64_reader *reader, mp_buf *out, char c) {
  if (is_space(c))
    return;
  if (c == '=') {
    reader->padding++;
    return;
  }
  int value = base64_value(c);
  if (value < 0 || reader->padding > 0) {
    reader->why = value < 0 ? "not a base64 character" : "text after the padding";
    return;
  }
  reader->digits++;
  reader->bits = (reader->bits << 6 | (uint32_t)value) & 0xfff;
  reader->held += 6;
  if (reader->held >= 8) {
    reader->held -= 8;
    char byte = (char)(reader->bits >> reader->held);
    mp_buf_append(out, &byte, 1);
  }
}

static const char *base64_ending(const base64_reader *reader) {
  size_t rest = reader->digits % 4;
  if (rest == 1)
    return "the text is cut short";
  if (reader->padding > 0 && (rest == 0 || reader->padding != 4 - rest))
    return "wrong padding";
  if (reader->bits & ((1u << reader->held) - 1))
    return "bits are left over at the end";
  return NULL;
}

int mp_base64_decode(mp_buf *out, const char *text, size_t len, mp_error *err) {
  base64_reader reader = {0};
  size_t before = out->len;
  size_t i = 0;
  mp_buf_reserve(out, len / 4 * 3 + 3);
  for (; i < len && reader.why == NULL; i++)
    base64_take(&reader, out, text[i]);
  if (reader.why == NULL)
    reader.why = base64_ending(&reader);
  if (reader.why == NULL) {
    out->data[out->len] = '\0';
    return 0;
  }
  out->len = before;
  out->data[before] = '\0';
  return mp_error_set(err, "encode", MP_INVALID, "bad base64 at byte %zu: %s", i, reader.why);
}

void mp_url_encode(mp_buf *out, const void *bytes, size_t len) {
  const char *in = bytes;
  for (size_t i = 0; i < len; i++) {
    char c = in[i];
    bool unreserved = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved)
      mp_buf_append(out, &c, 1);
    else
      mp_buf_printf(out, "%%%02X", (unsigned char)c);
  }
}

static void append_escape(mp_buf *out, unsigned char c) {
  static const char named[] = "btn\0fr"; /* \b \t \n . \f \r are 8 to 13 */
  char text[6] = {'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]};
  if (c == '"' || c == '\\')
    text[1] = (char)c;
  else if (c >= 8 && c <= 13 && c != 11)
    text[1] = named[c - 8];
  mp_buf_append(out, text, text[1] == 'u' ? 6 : 2);
}

void mp_json_escape(mp_buf *out, const char *text, size_t len) {
  size_t plain = 0;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c >= 0x20 && c != '"' && c != '\\')
      continue;
    mp_buf_append(out, text + plain, i - plain);
    append_escape(out, c);
    plain = i + 1;
  }
  mp_buf_append(out, text + plain, len - plain);
}

/* How long the sequence is that starts at `text`, or 0 where it is wrong. The second byte's range
 * is what keeps out overlong forms, surrogates and what lies beyond U+10FFFF. */
static size_t utf8_sequence(const unsigned char *text, size_t left) {
  unsigned char lead = text[0];
  size_t need = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (need == 0 || lead > 0xf4 || need > left)
    return 0;
  unsigned char low = 0x80, high = 0xbf;
  if (lead == 0xe0)
    low = 0xa0;
  else if (lead == 0xed)
    high = 0x9f;
  else if (lead == 0xf0)
    low = 0x90;
  else if (lead == 0xf4)
    high = 0x8f;
  for (size_t i = 1; i < need; i++) {
    if (text[i] < low || text[i] > high)
      return 0;
    low = 0x80;
    high = 0xbf;
  }
  return need;
}

bool mp_utf8_valid(const char *text, size_t len, size_t *bad) {
  size_t i = 0;
  while (i < len) {
    uint64_t word;
    while (i + 8 <= len && (memcpy(&word, text + i, 8), (word & 0x8080808080808080u) == 0))
      i += 8;
    if (i >= len)
      break;
    size_t step = utf8_sequence((const unsigned char *)text + i, len - i);
    if (step == 0) {
      if (bad)
        *bad = i;
      return false;
    }
    i += step;
  }
  return true;
}

void mp_random(void *out, size_t len) {
  char *to = out;
  while (len > 0) {
    ssize_t got = getrandom(to, len, 0);
    if (got < 0) {
      if (errno == EINTR)
        continue;
      fputs("moonport: the kernel gives no random bytes\n", stderr);
      abort();
    }
    to += got;
    len -= (size_t)got;
  }
}

void mp_uuid4(char out[MP_UUID_SIZE]) {
  uint8_t bytes[16];
  mp_random(bytes, sizeof bytes);
  bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
  bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
  for (size_t i = 0; i < sizeof bytes; i++) {
    *out++ = hex_digits[bytes[i] >> 4];
    *out++ = hex_digits[bytes[i] & 15];
    if (i == 3 || i == 5 || i == 7 || i == 9)
      *out++ = '-';
  }
  *out = '\0';
}
