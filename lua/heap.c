#include "heap.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) && !defined(MP_HEAP_POOLED)

void *mp_heap_alloc(void *heap, void *block, size_t old_size, size_t new_size) {
  (void)heap;
  (void)old_size;
  if (new_size > 0)
    return realloc(block, new_size);
  free(block);
  return NULL;
}

#else

static size_t class_of(size_t size) {
  return (size - 1) / MP_HEAP_STEP;
}

static void keep(mp_heap *heap, void *block, size_t class) {
  mp_heap_block *freed = block;
  freed->next = heap->freed[class];
  heap->freed[class] = freed;
}

/* What is left of the chunk before becomes a block too. */
static bool add_chunk(mp_heap *heap) {
  char *chunk = malloc(MP_HEAP_CHUNK);
  if (chunk == NULL)
    return false;
  if (heap->rest < heap->end)
    keep(heap, heap->rest, class_of((size_t)(heap->end - heap->rest)));
  heap->rest = chunk;
  heap->end = chunk + MP_HEAP_CHUNK;
  return true;
}

static void *take(mp_heap *heap, size_t size) {
  if (size > MP_HEAP_SMALL)
    return malloc(size);
  size_t class = class_of(size);
  mp_heap_block *freed = heap->freed[class];
  if (freed) {
    heap->freed[class] = freed->next;
    return freed;
  }
  size_t room = (class + 1) * MP_HEAP_STEP;
  if ((size_t)(heap->end - heap->rest) < room && !add_chunk(heap))
    return NULL;
  char *block = heap->rest;
  heap->rest += room;
  return block;
}

static void give(mp_heap *heap, void *block, size_t size) {
  if (block == NULL || heap->leaving)
    return;
  if (size > MP_HEAP_SMALL)
    free(block);
  else
    keep(heap, block, class_of(size));
}

static void *move(mp_heap *heap, void *block, size_t old_size, size_t new_size) {
  if (old_size > MP_HEAP_SMALL && new_size > MP_HEAP_SMALL)
    return realloc(block, new_size);
  if (old_size <= MP_HEAP_SMALL && new_size <= MP_HEAP_SMALL &&
      class_of(old_size) == class_of(new_size))
    return block;
  void *moved = take(heap, new_size);
  if (moved == NULL) /* Lua takes for granted that a block can be made smaller */
    return new_size < old_size ? block : NULL;
  memcpy(moved, block, old_size < new_size ? old_size : new_size);
  give(heap, block, old_size);
  return moved;
}

void *mp_heap_alloc(void *data, void *block, size_t old_size, size_t new_size) {
  mp_heap *heap = data;
  if (new_size == 0) {
    give(heap, block, old_size);
    return NULL;
  }
  /* Without a block, the old size tells what kind of object it will be. */
  return block ? move(heap, block, old_size, new_size) : take(heap, new_size);
}

#endif
