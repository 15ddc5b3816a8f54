/* Numbers: from text to the Lua value that is exactly it, and back. */
#include "json.h"

#include "core/mem.h"
#include "value.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_DIGITS ((uint64_t)1 << 53) /* integers up to here are exact in a double */

/* Powers of ten that are exact in a double. */
static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define POWER_MOST 22

typedef struct {
  uint64_t digits; /* all digits as one integer */
  bool overflow;   /* they do not fit */
  bool negative;
  bool integer; /* neither point nor exponent */
  long exponent;
} literal;

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static const char *read_digits(const char *at, const char *end, literal *number) {
  uint64_t digits = number->digits;
  for (; at < end && is_digit(*at); at++) {
    uint64_t digit = (uint64_t)(*at - '0');
    if (digits > (UINT64_MAX - digit) / 10)
      number->overflow = true;
    digits = digits * 10 + digit;
  }
  number->digits = digits;
  return at;
}

static const char *read_exponent(const char *at, const char *end, long *exponent) {
  bool negative = *at == '-';
  long value = 0;
  if (*at == '-' || *at == '+')
    at++;
  for (; at < end && is_digit(*at); at++)
    if (value < 100000)
      value = value * 10 + (*at - '0');
  *exponent += negative ? -value : value;
  return at;
}

/* The text is known to be a number. */
static literal read_literal(const char *at, const char *end) {
  literal number = {.integer = true};
  if (*at == '-') {
    number.negative = true;
    at++;
  }
  at = read_digits(at, end, &number);
  if (at < end && *at == '.') {
    const char *fraction = ++at;
    number.integer = false;
    at = read_digits(at, end, &number);
    number.exponent -= at - fraction;
  }
  if (at < end) { /* e or E */
    number.integer = false;
    read_exponent(at + 1, end, &number.exponent);
  }
  return number;
}

static bool push_integer(lua_State *L, const literal *number) {
  uint64_t most = (uint64_t)INT64_MAX + number->negative;
  if (number->overflow || number->digits > most)
    return false;
  if (number->digits == 0 && number->negative)
    lua_pushnumber(L, -0.0); /* an integer would lose the sign */
  else
    lua_pushinteger(L, (lua_Integer)(number->negative ? 0 - number->digits : number->digits));
  return true;
}

/* strtod reads the decimal point of the user's language. */
static double read_double(const char *text, size_t len) {
  static locale_t plain;
  if (plain == NULL)
    plain = newlocale(LC_ALL_MASK, "C", NULL);
  char space[128];
  char *copy = len < sizeof space ? space : mp_alloc(len + 1);
  memcpy(copy, text, len);
  copy[len] = '\0';
  double value = strtod_l(copy, NULL, plain);
  if (copy != space)
    free(copy);
  return value;
}

static bool push_float(lua_State *L, const literal *number, const char *text, size_t len) {
  double value;
  bool small = !number->overflow && number->digits <= EXACT_DIGITS;
  if (small && number->exponent >= -POWER_MOST && number->exponent <= POWER_MOST) {
    /* Both operands are exact, so the one rounding is that of the result. */
    value = (double)number->digits;
    value =
        number->exponent < 0 ? value / powers[-number->exponent] : value * powers[number->exponent];
    value = number->negative ? -value : value;
  } else {
    value = read_double(text, len);
    bool zero = !number->overflow && number->digits == 0;
    if (isinf(value) || (value == 0 && !zero))
      return false;
  }
  lua_pushnumber(L, value);
  return true;
}

void json_push_literal(lua_State *L, const char *text, size_t len) {
  lua_createtable(L, 1, 0);
  lua_pushlstring(L, text, len);
  lua_rawseti(L, -2, 1);
  luaL_setmetatable(L, VALUE_NUMBER);
}

void json_push_number(lua_State *L, const char *text, size_t len) {
  literal number = read_literal(text, text + len);
  if (!(number.integer ? push_integer(L, &number) : push_float(L, &number, text, len)))
    json_push_literal(L, text, len);
}

static size_t skip_digits(const char *text, size_t len, size_t at) {
  while (at < len && is_digit(text[at]))
    at++;
  return at;
}

bool json_is_number(const char *text, size_t len) {
  size_t at = len > 0 && text[0] == '-', start = at;
  at = skip_digits(text, len, at);
  if (at == start || (text[start] == '0' && at > start + 1))
    return false;
  if (at < len && text[at] == '.') {
    start = ++at;
    at = skip_digits(text, len, at);
    if (at == start)
      return false;
  }
  if (at < len && (text[at] == 'e' || text[at] == 'E')) {
    at++;
    if (at < len && (text[at] == '+' || text[at] == '-'))
      at++;
    start = at;
    at = skip_digits(text, len, at);
    if (at == start)
      return false;
  }
  return at == len;
}

/* Writing */

static char *put_digits(char *end, uint64_t value, int least) {
  do {
    *--end = (char)('0' + value % 10);
    value /= 10;
    least--;
  } while (value > 0 || least > 0);
  return end;
}

/* Most floats that people write have few decimals. Where value * 10^k is an integer that a double
 * holds, and dividing it again gives the value, the decimal text reads back as the value, since
 * that division is correctly rounded; the smallest such k gives the shortest text. */
#define DECIMALS_MOST 12
static bool append_decimal(mp_buf *out, double value) {
  double magnitude = fabs(value), scaled;
  int decimals = 0;
  for (;; decimals++) {
    scaled = rint(magnitude * powers[decimals]);
    if (scaled >= (double)EXACT_DIGITS || decimals > DECIMALS_MOST)
      return false;
    if (scaled / powers[decimals] == magnitude)
      break;
  }
  if (magnitude != 0 && magnitude < 1e-5)
    return false;
  char space[40], *end = space + sizeof space, *at = end;
  uint64_t digits = (uint64_t)scaled;
  if (decimals == 0) {
    *--at = '0';
    *--at = '.';
  } else {
    uint64_t unit = (uint64_t)powers[decimals];
    at = put_digits(at, digits % unit, decimals);
    *--at = '.';
    digits /= unit;
  }
  at = put_digits(at, digits, 1);
  if (signbit(value))
    *--at = '-';
  mp_buf_append(out, at, (size_t)(end - at));
  return true;
}

void json_append_float(mp_buf *out, double value) {
  if (append_decimal(out, value))
    return;
  char text[40];
  size_t len = 0;
  /* The numbers next to zero have fewer digits to tell apart. */
  for (int digits = fabs(value) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
    len = (size_t)snprintf(text, sizeof text, "%.*g", digits, value);
    char *comma = strchr(text, ','); /* the decimal point of the user's language */
    if (comma)
      *comma = '.';
    if (digits == 17 || read_double(text, len) == value)
      break;
  }
  mp_buf_append(out, text, len);
  if (strpbrk(text, ".e") == NULL)
    mp_buf_puts(out, ".0");
}
