/* Where a Lua state's memory comes from.
 *
 * Lua tells the size of what it frees, and nearly all of it is small. So small blocks lie in large
 * chunks, by size, and a freed one is the next to be handed out; malloc, which has to find out and
 * keep in order all of this by itself, takes several times as long. Chunks are never given back.
 * One thread at a time. Built with AddressSanitizer, everything comes from malloc, so that it sees
 * what is used after it was freed; unless MP_HEAP_POOLED is defined. */
#ifndef MP_LUA_HEAP_H
#define MP_LUA_HEAP_H

#include <stdbool.h>
#include <stddef.h>

#define MP_HEAP_STEP 16     /* bytes between two sizes, and what blocks are aligned to */
#define MP_HEAP_SMALL 512   /* above this, malloc */
#define MP_HEAP_CHUNK 65536 /* bytes */

typedef struct mp_heap_block {
  struct mp_heap_block *next;
} mp_heap_block;

/* Zeroed, it is empty. */
typedef struct {
  mp_heap_block *freed[MP_HEAP_SMALL / MP_HEAP_STEP]; /* by size */
  char *rest, *end;                                   /* of the latest chunk */
  bool leaving; /* nothing need be freed any more: the program ends */
} mp_heap;

/* A lua_Alloc; `heap` is an mp_heap. */
void *mp_heap_alloc(void *heap, void *block, size_t old_size, size_t new_size);

#endif
