#include "loop.h"

#include "clock.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

int mp_shim_loop_open(mp_shim_loop *loop, mp_shim_error *err) {
  *loop = (mp_shim_loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
  if (loop->epoll < 0)
    return mp_shim_fail_errno(err, errno, "could not make an event loop");
  return 0;
}

void mp_shim_loop_close(mp_shim_loop *loop) {
  if (loop->epoll >= 0)
    close(loop->epoll);
  loop->epoll = -1;
}

void mp_shim_loop_add_timer(mp_shim_loop *loop, mp_shim_timer *timer) {
  loop->timers[loop->timer_count++] = timer;
}

static int control(mp_shim_loop *loop, int operation, mp_shim_source *source, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = source};
  return epoll_ctl(loop->epoll, operation, source->fd, &event);
}

int mp_shim_loop_add(mp_shim_loop *loop, mp_shim_source *source, uint32_t events) {
  return control(loop, EPOLL_CTL_ADD, source, events);
}

int mp_shim_loop_change(mp_shim_loop *loop, mp_shim_source *source, uint32_t events) {
  return control(loop, EPOLL_CTL_MOD, source, events);
}

void mp_shim_loop_remove(mp_shim_loop *loop, mp_shim_source *source) {
  control(loop, EPOLL_CTL_DEL, source, 0);
}

static int sleep_ms(const mp_shim_loop *loop) {
  int64_t first = INT64_MAX;
  for (int i = 0; i < loop->timer_count; i++)
    if (loop->timers[i]->at > 0 && loop->timers[i]->at < first)
      first = loop->timers[i]->at;
  if (first == INT64_MAX)
    return -1;
  int64_t left = first - mp_shim_now_ms();
  return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static void run_due(mp_shim_loop *loop) {
  for (int i = 0; i < loop->timer_count; i++) {
    mp_shim_timer *timer = loop->timers[i];
    if (timer->at > 0 && timer->at <= mp_shim_now_ms()) {
      timer->at = 0;
      timer->on_due(timer);
    }
  }
}

void mp_shim_loop_turn(mp_shim_loop *loop) {
  struct epoll_event event;
  if (epoll_wait(loop->epoll, &event, 1, sleep_ms(loop)) == 1) {
    mp_shim_source *source = event.data.ptr;
    source->on_ready(source, event.events);
  }
  run_due(loop);
}
