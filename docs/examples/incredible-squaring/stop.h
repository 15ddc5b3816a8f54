/* SIGTERM and SIGINT end the service.
 *
 * Both stay blocked except while the program waits, so a handler never runs in the middle of
 * anything and no signal is lost between a check and the wait. */
#ifndef SQUARING_STOP_H
#define SQUARING_STOP_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

void stop_catch(void);
bool stop_requested(void);

/* poll() that a stop signal ends early. timeout_ms < 0 waits without limit. */
int stop_poll(struct pollfd *fds, nfds_t count, int64_t timeout_ms);

/* Between true and false a stop signal ends the process at once with status 0. For calls that may
 * block for seconds (name resolution) and leave nothing half done. */
void stop_at_once(bool on);

#endif
