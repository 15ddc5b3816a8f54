#include "unit.h"

#include "core/fiber.h"

#include <setjmp.h>
#include <string.h>

typedef struct {
  mp_fiber *fiber;
  int step;
} walk;

static void walk_three_steps(void *data) {
  walk *self = data;
  for (int i = 0; i < 3; i++) {
    self->step++;
    mp_fiber_pause(self->fiber);
  }
}

static void a_fiber_goes_on_where_it_paused(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  walk w = {0};
  w.fiber = mp_fiber_new(walk_three_steps, &w, &err);
  assert_non_null(w.fiber);
  assert_int_equal(w.step, 0);
  for (int i = 1; i <= 3; i++) {
    assert_true(mp_fiber_resume(w.fiber));
    assert_int_equal(w.step, i);
  }
  assert_false(mp_fiber_resume(w.fiber));
  assert_false(mp_fiber_resume(w.fiber));
  mp_fiber_free(w.fiber);
}

static void jump_about(void *data) {
  walk *self = data;
  jmp_buf here;
  char text[4096];
  if (setjmp(here) < 3) {
    memset(text, self->step, sizeof text);
    mp_fiber_pause(self->fiber);
    longjmp(here, ++self->step);
  }
}

static void a_fiber_can_jump_on_its_own_stack(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  walk w = {0};
  w.fiber = mp_fiber_new(jump_about, &w, &err);
  while (mp_fiber_resume(w.fiber))
    ;
  assert_int_equal(w.step, 3);
  mp_fiber_free(w.fiber);
}

static void use_much_stack(void *data) {
  walk *self = data;
  volatile char much[512 << 10];
  memset((char *)much, 1, sizeof much);
  self->step = much[0] + much[sizeof much - 1];
}

static void a_fiber_has_room(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  walk w = {0};
  w.fiber = mp_fiber_new(use_much_stack, &w, &err);
  assert_false(mp_fiber_resume(w.fiber));
  assert_int_equal(w.step, 2);
  mp_fiber_free(w.fiber);
}

static void a_fiber_that_never_ran_is_released(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_fiber_free(mp_fiber_new(use_much_stack, NULL, &err));
  mp_fiber_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_fiber_goes_on_where_it_paused),
      cmocka_unit_test(a_fiber_can_jump_on_its_own_stack),
      cmocka_unit_test(a_fiber_has_room),
      cmocka_unit_test(a_fiber_that_never_ran_is_released),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
