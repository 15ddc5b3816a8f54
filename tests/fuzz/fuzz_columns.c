/* Columns of text: what fits is whole characters, no wider than the limit, and adds up. */
#include "core/columns.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void promise(int kept, const char *what) {
  if (kept)
    return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1)
    return 0;
  long limit = data[0], columns, rest, whole;
  const char *text = (const char *)data + 1;
  size_t len = size - 1;
  size_t fits = mp_columns_fit(text, len, limit, &columns);
  promise(fits <= len && columns <= limit, "within the limit");
  promise(mp_columns_fit(text, len, LONG_MAX, &whole) == len, "all of it fits somewhere");
  promise(mp_columns_fit(text + fits, len - fits, LONG_MAX, &rest) == len - fits,
          "so does the rest");
  promise(columns + rest == whole, "the parts are as wide as the whole");
  promise(fits == len || whole > limit, "it was cut only where it is too wide");
  return 0;
}
