/* The event loop: fds and a few timers, one thread, asleep while nothing happens. */
#ifndef MP_SHIM_LOOP_H
#define MP_SHIM_LOOP_H

#include "error.h"

#include <stdint.h>
#include <sys/epoll.h>

typedef struct mp_shim_source mp_shim_source;
struct mp_shim_source {
  int fd; /* borrowed */
  void (*on_ready)(mp_shim_source *source, uint32_t events);
  void *owner;
};

typedef struct mp_shim_timer mp_shim_timer;
struct mp_shim_timer {
  int64_t at; /* mp_shim_now_ms() when it is due; 0: not set. It is 0 when on_due runs. */
  void (*on_due)(mp_shim_timer *timer);
  void *owner;
};

enum { MP_SHIM_TIMERS_MAX = 12 };

typedef struct {
  int epoll;
  mp_shim_timer *timers[MP_SHIM_TIMERS_MAX]; /* borrowed */
  int timer_count;
} mp_shim_loop;

int mp_shim_loop_open(mp_shim_loop *loop, mp_shim_error *err);
void mp_shim_loop_close(mp_shim_loop *loop);

/* Makes a timer known to the loop, once; then set and clear `at` at will. */
void mp_shim_loop_add_timer(mp_shim_loop *loop, mp_shim_timer *timer);

/* As epoll_ctl. The source stays where it is until it is removed. */
int mp_shim_loop_add(mp_shim_loop *loop, mp_shim_source *source, uint32_t events);
int mp_shim_loop_change(mp_shim_loop *loop, mp_shim_source *source, uint32_t events);
void mp_shim_loop_remove(mp_shim_loop *loop, mp_shim_source *source);

/* Sleeps until something happens and handles one fd, then the timers that are due. One fd at a
 * time, so a handler may remove or free any source. */
void mp_shim_loop_turn(mp_shim_loop *loop);

#endif
