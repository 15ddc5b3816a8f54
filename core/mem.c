#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *require(void *block, size_t size) {
  if (block == NULL) {
    fprintf(stderr, "moonport: out of memory (asked for %zu bytes)\n", size);
    abort();
  }
  return block;
}

void *mp_alloc(size_t size) {
  return require(calloc(1, size ? size : 1), size);
}

void *mp_calloc(size_t count, size_t size) {
  if (count == 0 || size == 0)
    return mp_alloc(1);
  return require(calloc(count, size), count * size);
}

void *mp_realloc(void *block, size_t size) {
  return require(realloc(block, size ? size : 1), size);
}

char *mp_strdup(const char *text) {
  return text ? mp_memdup(text, strlen(text)) : NULL;
}

char *mp_memdup(const void *bytes, size_t len) {
  char *copy = require(malloc(len + 1), len + 1);
  if (len > 0)
    memcpy(copy, bytes, len);
  copy[len] = '\0';
  return copy;
}

char *mp_vsprintf(const char *format, va_list args) {
  char *text = NULL;
  if (vasprintf(&text, format, args) < 0)
    require(NULL, strlen(format));
  return text;
}

char *mp_sprintf(const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *text = mp_vsprintf(format, args);
  va_end(args);
  return text;
}

void mp_free_pointer_(void *pointer_to_pointer) {
  free(*(void **)pointer_to_pointer);
}
