/* The memory of Lua states: blocks keep what is in them, whatever happens to others. */
#include "tests/unit/unit.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lua/heap.h"

#define BLOCKS 500
#define ROUNDS 50000

static mp_heap heap; /* whose chunks stay, as those of a program's state do */

typedef struct {
  unsigned char *bytes;
  size_t size;
  unsigned char mark;
} block;

static void fill(block *one, unsigned char mark) {
  one->mark = mark;
  memset(one->bytes, mark, one->size);
}

static void check(const block *one, size_t size) {
  for (size_t i = 0; i < size; i++)
    assert_int_equal(one->bytes[i], one->mark);
}

static void resize(block *one, size_t size) {
  bool made = one->bytes == NULL;
  size_t kept = size < one->size ? size : one->size;
  /* For a new block, Lua tells what kind of object it is for. */
  one->bytes = mp_heap_alloc(&heap, one->bytes, made ? 5 : one->size, size);
  if (size > 0) {
    assert_non_null(one->bytes);
    assert_int_equal((uintptr_t)one->bytes % MP_HEAP_STEP, 0);
    check(one, kept);
  } else {
    assert_null(one->bytes);
  }
  one->size = size;
}

static void blocks_keep_their_bytes_while_others_come_and_go(void **state) {
  (void)state;
  static block blocks[BLOCKS];
  unsigned seed = 1;
  for (int round = 0; round < ROUNDS; round++) {
    block *one = &blocks[(seed = seed * 1103515245 + 12345) / 65536 % BLOCKS];
    size_t most = round % 10 ? MP_HEAP_SMALL : 4 * MP_HEAP_SMALL;
    check(one, one->size);
    resize(one, (seed = seed * 1103515245 + 12345) / 65536 % (most + 2));
    if (one->size > 0)
      fill(one, (unsigned char)round);
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    check(&blocks[i], blocks[i].size);
    resize(&blocks[i], 0);
  }
}

static void what_was_freed_is_handed_out_again(void **state) {
  (void)state;
  for (size_t size = 1; size <= MP_HEAP_SMALL; size++) {
    void *first = mp_heap_alloc(&heap, NULL, 0, size);
    mp_heap_alloc(&heap, first, size, 0);
    void *second = mp_heap_alloc(&heap, NULL, 0, size);
    assert_ptr_equal(first, second);
    mp_heap_alloc(&heap, second, size, 0);
  }
}

static void a_block_that_stays_in_its_size_stays_where_it_is(void **state) {
  (void)state;
  void *first = mp_heap_alloc(&heap, NULL, 0, MP_HEAP_STEP + 1);
  assert_ptr_equal(mp_heap_alloc(&heap, first, MP_HEAP_STEP + 1, 2 * MP_HEAP_STEP), first);
  mp_heap_alloc(&heap, first, 2 * MP_HEAP_STEP, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_keep_their_bytes_while_others_come_and_go),
      cmocka_unit_test(what_was_freed_is_handed_out_again),
      cmocka_unit_test(a_block_that_stays_in_its_size_stays_where_it_is),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
