#include "fiber.h"

#include "mem.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_SIZE ((size_t)1 << 20) /* of address space; memory is taken as it is used */

struct mp_fiber {
  ucontext_t inside, outside;
  void (*fn)(void *data);
  void *data;
  char *stack; /* above a page that faults */
  size_t mapped;
  bool ended;
  const void *outside_stack; /* for AddressSanitizer, which must be told of the switches */
  size_t outside_size;
};

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
static void leaving(void **keep, const void *stack, size_t size) {
  __sanitizer_start_switch_fiber(keep, stack, size);
}
static void arrived(void *kept, const void **from, size_t *size) {
  __sanitizer_finish_switch_fiber(kept, from, size);
}
#else
static void leaving(void **keep, const void *stack, size_t size) {
  (void)keep;
  (void)stack;
  (void)size;
}
static void arrived(void *kept, const void **from, size_t *size) {
  (void)kept;
  (void)from;
  (void)size;
}
#endif

/* makecontext passes ints. */
static void start(unsigned high, unsigned low) {
  mp_fiber *self = (mp_fiber *)((uintptr_t)high << 32 | low);
  arrived(NULL, &self->outside_stack, &self->outside_size);
  self->fn(self->data);
  self->ended = true;
  leaving(NULL, self->outside_stack, self->outside_size);
  setcontext(&self->outside);
}

mp_fiber *mp_fiber_new(void (*fn)(void *data), void *data, mp_error *err) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t mapped = STACK_SIZE + page;
  char *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    mp_error_errno(err, "fiber", errno, "could not make a stack");
    return NULL;
  }
  mprotect(memory, page, PROT_NONE);
  mp_fiber *self = mp_alloc(sizeof *self);
  self->fn = fn;
  self->data = data;
  self->stack = memory + page;
  self->mapped = mapped;
  getcontext(&self->inside);
  self->inside.uc_stack.ss_sp = self->stack;
  self->inside.uc_stack.ss_size = STACK_SIZE;
  uintptr_t address = (uintptr_t)self;
  makecontext(&self->inside, (void (*)(void))start, 2, (unsigned)(address >> 32),
              (unsigned)address);
  return self;
}

bool mp_fiber_resume(mp_fiber *self) {
  if (self->ended)
    return false;
  void *kept = NULL;
  leaving(&kept, self->stack, STACK_SIZE);
  swapcontext(&self->outside, &self->inside);
  arrived(kept, NULL, NULL);
  return !self->ended;
}

void mp_fiber_pause(mp_fiber *self) {
  void *kept = NULL;
  leaving(&kept, self->outside_stack, self->outside_size);
  swapcontext(&self->inside, &self->outside);
  arrived(kept, &self->outside_stack, &self->outside_size);
}

void mp_fiber_free(mp_fiber *self) {
  if (self == NULL)
    return;
  munmap(self->stack + STACK_SIZE - self->mapped, self->mapped);
  free(self);
}
