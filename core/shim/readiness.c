/* Whom of those who say something on the notify socket is listened to, and what becomes of it. */
#include "supervise.h"

#include "clock.h"
#include "tree.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
  TELL_EVERY_MS = 1000, /* a STATUS; each is a write to the disk */
  NOTICES_PER_TURN = 16,
};

/* Not more often than the disk and those who listen can bear. */
static void publish_text(mp_shim_supervisor *sup) {
  int64_t now = mp_shim_now_ms();
  if (now >= sup->tell_at) {
    sup->tell_at = now + TELL_EVERY_MS;
    mp_shim_publish(sup);
    return;
  }
  sup->untold = true;
  if (sup->save.at == 0 || sup->save.at > sup->tell_at)
    sup->save.at = sup->tell_at;
}

static void pass_over(mp_shim_supervisor *sup, pid_t sender) {
  if (!sup->strangers)
    mp_shim_log_note(&sup->notes, "process %d is none of the service's: its words are not obeyed",
                     (int)sender);
  sup->strangers = true; /* whoever floods us does not fill the log */
}

static void on_notice(void *owner, pid_t sender, mp_shim_notice *notice) {
  mp_shim_supervisor *sup = owner;
  mp_shim_state *state = &sup->state;
  if (sup->phase != MP_SHIM_UP)
    return; /* what is left of a run that is over */
  if (!mp_shim_tree_has(sup->service.pid, sender)) {
    pass_over(sup, sender);
    return;
  }
  mp_shim_look_at_exec(sup); /* it runs, whichever of both is heard of first */
  bool stops = notice->stopping && !state->stopping;
  state->stopping |= notice->stopping;
  bool ready = !state->stopping && (state->ready || notice->ready);
  bool changed = stops || ready != state->ready;
  bool said = notice->has_text && strcmp(state->tells, notice->text) != 0;
  if (ready && !state->ready)
    mp_shim_log_note(&sup->notes, "the service says that it is ready");
  if (stops)
    mp_shim_log_note(&sup->notes, "the service says that it stops");
  state->ready = ready;
  if (said)
    strcpy(state->tells, notice->text);
  if (changed)
    mp_shim_publish(sup);
  else if (said)
    publish_text(sup);
}

static void on_notify(mp_shim_source *source, uint32_t events) {
  (void)events;
  for (int i = 0; i < NOTICES_PER_TURN && mp_shim_notify_read(source->fd, on_notice, source->owner);
       i++)
    continue;
}

int mp_shim_readiness_open(mp_shim_supervisor *sup, mp_shim_error *err) {
  if (sup->spec->notify == NULL)
    return 0;
  int fd = mp_shim_notify_open(sup->spec, err);
  if (fd < 0)
    return -1;
  sup->notify = (mp_shim_source){.fd = fd, .on_ready = on_notify, .owner = sup};
  sup->state.has_notify = true;
  if (mp_shim_loop_add(&sup->loop, &sup->notify, EPOLLIN) < 0)
    return mp_shim_fail_errno(err, errno, "could not wait on the notify socket");
  return 0;
}

void mp_shim_readiness_close(mp_shim_supervisor *sup) {
  if (sup->notify.fd < 0)
    return;
  mp_shim_loop_remove(&sup->loop, &sup->notify);
  unlink(sup->spec->notify);
  close(sup->notify.fd);
  sup->notify.fd = -1;
}

void mp_shim_readiness_begin(mp_shim_supervisor *sup) {
  sup->state.ready = sup->state.stopping = sup->strangers = false;
  sup->state.tells[0] = '\0';
}
