#include "columns.h"

#include <locale.h>
#include <wchar.h>

/* C.UTF-8 is built into glibc; where it is missing, each byte counts as a column. */
static locale_t utf8_locale(void) {
  static _Thread_local locale_t locale;
  if (locale == (locale_t)0)
    locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  return locale;
}

/* The bytes of the sequence that sets colours at the beginning of `text`, 0 when there is none. */
static size_t colour_sequence(const char *text, size_t len) {
  if (len < 3 || text[0] != '\x1b' || text[1] != '[')
    return 0;
  size_t i = 2;
  while (i < len && ((text[i] >= '0' && text[i] <= '9') || text[i] == ';'))
    i++;
  return i < len && text[i] == 'm' ? i + 1 : 0;
}

/* Returns the bytes of the first character and sets its columns. */
static size_t first_character(const char *text, size_t len, int *columns) {
  size_t colour = colour_sequence(text, len);
  if (colour) {
    *columns = 0;
    return colour;
  }
  mbstate_t state = {0};
  wchar_t wide;
  size_t bytes = mbrtowc(&wide, text, len, &state);
  if (bytes == 0 || bytes > len) {
    *columns = bytes == 0 ? 0 : 1;
    return 1;
  }
  int width = wcwidth(wide);
  *columns = width < 0 ? 0 : width;
  return bytes;
}

size_t mp_columns_fit(const char *text, size_t len, long limit, long *columns) {
  locale_t utf8 = utf8_locale();
  locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
  size_t at = 0;
  *columns = 0;
  while (at < len) {
    int wide;
    size_t bytes = first_character(text + at, len - at, &wide);
    if (*columns + wide > limit)
      break;
    *columns += wide;
    at += bytes;
  }
  if (before)
    uselocale(before);
  return at;
}
