/* What a scalar without quotes means: the core schema of YAML 1.2, with two habits of Kubernetes':
 * a leading 0 makes an octal number (file modes), and integers of any size are kept exactly. */
#include "yaml.h"

#include "core/mem.h"
#include "json.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef enum { STRING, NIL, BOOLEAN, INTEGER, FLOAT } scalar_type;

static bool is_one_of(const char *text, size_t len, const char *const *words) {
  for (; *words; words++)
    if (strlen(*words) == len && memcmp(*words, text, len) == 0)
      return true;
  return false;
}

static bool is_null(const char *text, size_t len) {
  static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};
  return is_one_of(text, len, words);
}

static bool is_true(const char *text, size_t len) {
  static const char *const words[] = {"true", "True", "TRUE", NULL};
  return is_one_of(text, len, words);
}

static bool is_false(const char *text, size_t len) {
  static const char *const words[] = {"false", "False", "FALSE", NULL};
  return is_one_of(text, len, words);
}

static bool is_nan(const char *text, size_t len) {
  static const char *const words[] = {".nan", ".NaN", ".NAN", NULL};
  return is_one_of(text, len, words);
}

static bool is_infinity(const char *text, size_t len) {
  static const char *const words[] = {".inf", ".Inf", ".INF", NULL};
  size_t sign = len > 0 && (*text == '-' || *text == '+');
  return is_one_of(text + sign, len - sign, words);
}

static int digit_value(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* 0x1F, 0o17 and 017: pushes the number where it fits in 63 bits. */
static bool push_based(lua_State *L, const char *text, size_t len) {
  bool negative = len > 0 && *text == '-';
  size_t at = len > 0 && (*text == '-' || *text == '+');
  if (len < at + 2 || text[at] != '0')
    return false;
  int base = text[at + 1] == 'x' ? 16 : 8;
  at += text[at + 1] == 'x' || text[at + 1] == 'o' ? 2 : 1;
  if (at == len)
    return false;
  uint64_t value = 0;
  for (; at < len; at++) {
    int digit = digit_value(text[at]);
    if (digit >= base || value > (uint64_t)INT64_MAX / (uint64_t)base)
      return false;
    value = value * (uint64_t)base + (uint64_t)digit;
  }
  if (value > INT64_MAX)
    return false;
  lua_pushinteger(L, negative ? -(lua_Integer)value : (lua_Integer)value);
  return true;
}

/* YAML also writes `+1`, `.5` and `5.`: as JSON writes them, in `out` (room for len + 2). Returns
 * its length, or 0 for what is no number. */
static size_t as_json_number(const char *text, size_t len, char *out) {
  size_t from = 0, to = 0;
  if (len > 0 && (*text == '-' || *text == '+')) {
    if (*text == '-')
      out[to++] = '-';
    from = 1;
  }
  if (from + 1 < len && text[from] == '.')
    out[to++] = '0';
  for (; from < len; from++) {
    out[to++] = text[from];
    bool last_digit = from + 1 == len || (text[from + 1] | 32) == 'e';
    if (text[from] == '.' && last_digit && from > 0 && digit_value(text[from - 1]) < 10)
      out[to++] = '0';
  }
  return json_is_number(out, to) ? to : 0;
}

static bool push_decimal(lua_State *L, const char *text, size_t len) {
  char space[64], *out = len + 2 <= sizeof space ? space : mp_alloc(len + 2);
  size_t count = len > 0 ? as_json_number(text, len, out) : 0;
  if (count > 0)
    json_push_number(L, out, count);
  if (out != space)
    free(out);
  return count > 0;
}

static bool push_special_float(lua_State *L, const char *text, size_t len) {
  bool nan = is_nan(text, len);
  if (!nan && !is_infinity(text, len))
    return false;
  lua_pushnumber(L, nan ? (lua_Number)NAN : *text == '-' ? -HUGE_VAL : HUGE_VAL);
  return true;
}

static bool push_number(lua_State *L, const char *text, size_t len) {
  /* Most scalars are words. */
  if (len == 0 || !strchr("+-.0123456789", *text))
    return false;
  return push_based(L, text, len) || push_decimal(L, text, len) || push_special_float(L, text, len);
}

void yaml_push_plain(lua_State *L, const char *text, size_t len) {
  if (is_null(text, len))
    lua_pushlightuserdata(L, NULL);
  else if (is_true(text, len) || is_false(text, len))
    lua_pushboolean(L, is_true(text, len));
  else if (!push_number(L, text, len))
    lua_pushlstring(L, text, len);
}

static bool push_float(lua_State *L, const char *text, size_t len) {
  if (!push_number(L, text, len))
    return false;
  if (lua_isinteger(L, -1)) {
    lua_pushnumber(L, lua_tonumber(L, -1));
    lua_remove(L, -2);
  }
  return true;
}

static bool push_integer(lua_State *L, const char *text, size_t len) {
  if (!push_number(L, text, len))
    return false;
  if (lua_isinteger(L, -1) || (lua_istable(L, -1) && !memchr(text, '.', len)))
    return true;
  lua_pop(L, 1);
  return false;
}

bool yaml_push_typed(lua_State *L, const char *type, const char *text, size_t len) {
  if (strcmp(type, "float") == 0)
    return push_float(L, text, len);
  if (strcmp(type, "int") == 0)
    return push_integer(L, text, len);
  bool yes = is_true(text, len);
  if (strcmp(type, "bool") == 0 && (yes || is_false(text, len)))
    lua_pushboolean(L, yes);
  else if (strcmp(type, "null") == 0 && is_null(text, len))
    lua_pushlightuserdata(L, NULL);
  else
    return false;
  return true;
}

static bool begins_like_number(const char *text, size_t len) {
  size_t sign = len > 0 && (*text == '-' || *text == '+' || *text == '.');
  return len > sign && text[sign] >= '0' && text[sign] <= '9';
}

/* Whatever begins like a number may be one in YAML 1.1: 1_000, 0b1, 12:30:45, 2026-01-31. */
bool yaml_is_ambiguous(const char *text, size_t len) {
  static const char *const words[] = {"y",     "n", "yes", "no", "on",   "off", "null", "true",
                                      "false", "~", "=",   "<<", ".nan", "",    NULL};
  for (const char *const *word = words; *word; word++)
    if (strlen(*word) == len && strncasecmp(*word, text, len) == 0)
      return true;
  return begins_like_number(text, len) ||
         (len > 2 && text[1] == '.' && text[0] != '.' && strchr("+-", text[0]) != NULL) ||
         is_infinity(text, len);
}
