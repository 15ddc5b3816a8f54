#include "square.h"

#include <string.h>

void square(char out[SQUARE_SIZE], uint64_t number) {
  unsigned __int128 rest = (unsigned __int128)number * number;
  char digits[SQUARE_SIZE];
  char *first = digits + sizeof digits;
  *--first = '\0';
  do {
    *--first = (char)('0' + (int)(rest % 10));
    rest /= 10;
  } while (rest != 0);
  memcpy(out, first, (size_t)(digits + sizeof digits - first));
}
