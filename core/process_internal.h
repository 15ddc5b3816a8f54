/* What the files of core/process share. */
#ifndef MP_CORE_PROCESS_INTERNAL_H
#define MP_CORE_PROCESS_INTERNAL_H

#include "process.h"

#define MP_PROCESS "process"

/* The three standard descriptors of a child to be, and our ends of its pipes. */
typedef struct {
  int child[3];  /* -1 is not used here: each of the three is open */
  bool owned[3]; /* close child[i] after the spawn */
  int ours[3];   /* -1: no pipe. With a terminal only ours[1], its master side */
  bool pty;
} mp_process_fds;

/* Opens what the options ask for. On failure nothing stays open. */
int mp_process_fds_open_(const mp_process_options *options, mp_process_fds *fds, mp_error *err);

/* Closes the child's side, and ours too when `all`. */
void mp_process_fds_close_(mp_process_fds *fds, bool all);

int mp_process_resize_fd_(int fd, unsigned short rows, unsigned short columns);

/* Takes over a pidfd whose process is left to itself. */
void mp_process_let_go_(int pidfd);

/* Reaps those of them that have ended. */
void mp_process_reap_let_go_(void);

/* 0 when it has ended as processes do; else -1 and why not. */
int mp_process_explain_stuck_(const mp_process *process, mp_error *err);

/* Called once, instead of waiters, when the process has ended; it may close the process. */
void mp_process_on_ended_(mp_process *process, void (*on_ended)(void *data), void *data);

#endif
