#include "json.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#define DEPTH_MAX 32

static void skip_space(json *j) {
  while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
    j->at++;
}

static bool digit(const json *j) {
  return j->at < j->end && *j->at >= '0' && *j->at <= '9';
}

static bool take(json *j, char c) {
  if (j->at >= j->end || *j->at != c)
    return false;
  j->at++;
  return true;
}

char json_peek(json *j) {
  skip_space(j);
  if (j->at >= j->end)
    return '\0';
  char c = *j->at;
  if (c == '-' || (c >= '0' && c <= '9'))
    return '0';
  if (c != '\0' && strchr("{[\"tfn", c) != NULL)
    return c;
  return '\0';
}

bool json_at_end(json *j) {
  skip_space(j);
  return j->at == j->end;
}

/* The value of a hexadecimal digit, or 16. */
static uint32_t hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return (uint32_t)(c - '0');
  if (c >= 'a' && c <= 'f')
    return (uint32_t)(c - 'a') + 10;
  if (c >= 'A' && c <= 'F')
    return (uint32_t)(c - 'A') + 10;
  return 16;
}

static bool hex4(json *j, uint32_t *out) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++, j->at++) {
    if (j->at >= j->end)
      return false;
    uint32_t digit = hex_digit(*j->at);
    if (digit > 15)
      return false;
    value = value * 16 + digit;
  }
  *out = value;
  return true;
}

/* The code point of \uXXXX, joining a surrogate pair. Zero and lone surrogates are refused. */
static bool unicode_escape(json *j, uint32_t *out) {
  uint32_t low;
  if (!hex4(j, out) || *out == 0 || (*out >= 0xdc00 && *out <= 0xdfff))
    return false;
  if (*out < 0xd800 || *out > 0xdbff)
    return true;
  if (!take(j, '\\') || !take(j, 'u') || !hex4(j, &low) || low < 0xdc00 || low > 0xdfff)
    return false;
  *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
  return true;
}

static size_t encode_utf8(char out[4], uint32_t code) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t i = len - 1; i > 0; i--, code >>= 6)
    out[i] = (char)(0x80 | (code & 0x3f));
  out[0] = (char)(code | (0xf00u >> len));
  return len;
}

/* One character of a string, its bytes written to out[4]. Returns their number; 0: malformed. */
static size_t string_char(json *j, char out[4]) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (j->at >= j->end || (unsigned char)*j->at < ' ')
    return 0;
  if (*j->at != '\\') {
    out[0] = *j->at++;
    return 1;
  }
  if (++j->at >= j->end)
    return 0;
  char c = *j->at++;
  if (c == 'u') {
    uint32_t code;
    return unicode_escape(j, &code) ? encode_utf8(out, code) : 0;
  }
  const char *known = memchr(from, c, sizeof from - 1);
  if (known == NULL)
    return 0;
  out[0] = to[known - from];
  return 1;
}

bool json_string(json *j, char *out, size_t size) {
  size_t used = 0;
  bool full = false;
  skip_space(j);
  if (!take(j, '"'))
    return false;
  while (!take(j, '"')) {
    char bytes[4];
    size_t len = string_char(j, bytes);
    if (len == 0)
      return false;
    full = full || used + len >= size;
    if (full)
      continue;
    memcpy(out + used, bytes, len);
    used += len;
  }
  out[used] = '\0';
  return true;
}

static bool skip_number(json *j) {
  take(j, '-');
  if (!take(j, '0')) {
    if (!digit(j))
      return false;
    while (digit(j))
      j->at++;
  }
  if (take(j, '.')) {
    if (!digit(j))
      return false;
    while (digit(j))
      j->at++;
  }
  if (take(j, 'e') || take(j, 'E')) {
    if (!take(j, '+'))
      take(j, '-');
    if (!digit(j))
      return false;
    while (digit(j))
      j->at++;
  }
  return true;
}

bool json_integer(json *j, long long *out) {
  json start = *j;
  if (json_peek(&start) != '0')
    return false;
  *j = start;
  if (!skip_number(j))
    return false;
  bool negative = take(&start, '-');
  long long value = 0;
  for (; start.at < j->at; start.at++) {
    int d = *start.at - '0';
    if (d < 0 || d > 9 || value > (LLONG_MAX - d) / 10)
      return false;
    value = value * 10 + d;
  }
  *out = negative ? -value : value;
  return true;
}

static bool skip_word(json *j, const char *word) {
  size_t len = strlen(word);
  if ((size_t)(j->end - j->at) < len || memcmp(j->at, word, len) != 0)
    return false;
  j->at += len;
  return true;
}

static bool skip_value(json *j, int depth);

static bool skip_array(json *j, int depth) {
  skip_space(j);
  if (take(j, ']'))
    return true;
  do {
    if (!skip_value(j, depth))
      return false;
    skip_space(j);
  } while (take(j, ','));
  return take(j, ']');
}

static bool skip_object(json *j, int depth) {
  char key[1];
  bool first = true;
  int more;
  while ((more = json_next_member(j, &first, key, sizeof key)) == 1)
    if (!skip_value(j, depth))
      return false;
  return more == 0;
}

static bool skip_value(json *j, int depth) {
  char ignored[1];
  if (depth == 0)
    return false;
  switch (json_peek(j)) {
  case '{':
    j->at++;
    return skip_object(j, depth - 1);
  case '[':
    j->at++;
    return skip_array(j, depth - 1);
  case '"':
    return json_string(j, ignored, sizeof ignored);
  case 't':
    return skip_word(j, "true");
  case 'f':
    return skip_word(j, "false");
  case 'n':
    return skip_word(j, "null");
  case '0':
    return skip_number(j);
  default:
    return false;
  }
}

bool json_skip(json *j) {
  return skip_value(j, DEPTH_MAX);
}

bool json_enter_object(json *j) {
  skip_space(j);
  return take(j, '{');
}

int json_next_member(json *j, bool *first, char *key, size_t key_size) {
  skip_space(j);
  if (take(j, '}'))
    return 0;
  if (!*first && !take(j, ','))
    return -1;
  *first = false;
  if (!json_string(j, key, key_size))
    return -1;
  skip_space(j);
  return take(j, ':') ? 1 : -1;
}
