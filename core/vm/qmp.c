#include "qmp_internal.h"

#include "core/buf.h"
#include "core/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

mp_qmp *mp_qmp_new_(mp_loop *loop, mp_stream *stream) {
  mp_qmp *qmp = mp_alloc(sizeof *qmp);
  qmp->loop = loop;
  qmp->stream = stream;
  qmp->refs = 1;
  qmp->last = &qmp->first;
  qmp->last_event = &qmp->events;
  return qmp;
}

static void free_event(event *gone) {
  free(gone->name);
  free(gone->data);
  free(gone);
}

void mp_qmp_release_(mp_qmp *qmp) {
  if (--qmp->refs > 0)
    return;
  while (qmp->events) {
    event *gone = qmp->events;
    qmp->events = gone->next;
    free_event(gone);
  }
  mp_lines_free(&qmp->input);
  mp_error_reset(&qmp->broken);
  free(qmp->greeting);
  free(qmp);
}

const char *mp_qmp_greeting(const mp_qmp *qmp) {
  return qmp->greeting;
}

/* -- Completions, never from within the caller's own call ---------------------------------------
 */

static void turn(mp_qmp *qmp);

static void delayed_turn(void *data, bool cancelled) {
  mp_qmp *qmp = data;
  (void)cancelled;
  qmp->delayed = false;
  turn(qmp);
  mp_qmp_release_(qmp);
}

static void turn_later(mp_qmp *qmp) {
  if (qmp->delayed)
    return;
  qmp->delayed = true;
  qmp->refs++;
  mp_timer_start(qmp->loop, 0, delayed_turn, qmp);
}

/* Keeps the first reason only: what follows from it says less. */
static void break_off(mp_qmp *qmp, mp_error *err) {
  if (qmp->broken.domain)
    mp_error_reset(err);
  else
    mp_error_move(&qmp->broken, err);
  mp_stream_close(mp_steal(qmp->stream));
  turn_later(qmp);
}

static void call_back(command *done, const char *json, size_t len, const mp_error *err) {
  mp_qmp_answer_cb cb = mp_steal(done->cb);
  if (cb)
    cb(done->data, json, len, err);
}

static void tell_cancelled(command *done) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, MP_QMP, MP_CANCELLED, "`%s` was cancelled", done->name);
  call_back(done, NULL, 0, &err);
}

static command *take_first(mp_qmp *qmp) {
  command *taken = qmp->first;
  qmp->first = taken->next;
  if (qmp->first == NULL)
    qmp->last = &qmp->first;
  return taken;
}

static void free_command(command *gone) {
  free(gone->name);
  free(gone);
}

static void end_commands(mp_qmp *qmp) {
  while (qmp->first) {
    command *ended = take_first(qmp);
    if (qmp->closed || ended->cancelled)
      tell_cancelled(ended);
    else
      call_back(ended, NULL, 0, &qmp->broken);
    free_command(ended);
  }
}

/* A callback may change the list, so each is looked for anew. */
static void end_cancelled(mp_qmp *qmp) {
  command *at = qmp->first;
  while (at) {
    if (at->cancelled && at->cb) {
      tell_cancelled(at);
      at = qmp->first;
    } else {
      at = at->next;
    }
  }
}

/* -- Events ----------------------------------------------------------------------------------- */

static void answer_waiter(mp_qmp *qmp, const mp_qmp_event *happened, const mp_error *err) {
  event_wait waiter = qmp->waiter;
  qmp->waiter.active = false;
  waiter.cb(waiter.data, happened, err);
}

static void give_event(mp_qmp *qmp) {
  event *given = qmp->events;
  qmp->events = given->next;
  if (qmp->events == NULL)
    qmp->last_event = &qmp->events;
  qmp->event_count--;
  mp_qmp_event happened = {given->name, given->data, given->time};
  answer_waiter(qmp, &happened, NULL);
  free_event(given);
}

static void give_loss(mp_qmp *qmp) {
  mp_qmp_event happened = {"LOST", "", 0};
  qmp->lost = false;
  answer_waiter(qmp, &happened, NULL);
}

static void serve_waiter(mp_qmp *qmp) {
  if (!qmp->waiter.active)
    return;
  if (qmp->waiter.cancelled || qmp->closed) {
    mp_auto_error mp_error err = MP_ERROR_INIT;
    mp_error_set(&err, MP_QMP, MP_CANCELLED, "waiting for an event was cancelled");
    answer_waiter(qmp, NULL, &err);
  } else if (qmp->events) {
    give_event(qmp);
  } else if (qmp->lost) {
    give_loss(qmp);
  } else if (qmp->broken.domain) {
    answer_waiter(qmp, NULL, &qmp->broken);
  }
}

static void keep_event(mp_qmp *qmp, const mp_qmp_message *message) {
  if (qmp->event_count == MP_QMP_EVENTS_MAX || message->body.len > MP_QMP_EVENT_MAX) {
    qmp->lost = true;
    return;
  }
  event *kept = mp_alloc(sizeof *kept);
  kept->name = mp_memdup(message->name.text, message->name.len);
  kept->data = mp_memdup(message->body.text ? message->body.text : "", message->body.len);
  kept->time = message->time;
  *qmp->last_event = kept;
  qmp->last_event = &kept->next;
  qmp->event_count++;
}

static void cancel_event(mp_op *op) {
  mp_qmp *qmp = (mp_qmp *)((char *)op - offsetof(mp_qmp, waiter.op));
  qmp->waiter.cancelled = true;
  turn_later(qmp);
}

int mp_qmp_next_event(mp_qmp *qmp, mp_qmp_event_cb cb, void *data, mp_op **op, mp_error *err) {
  if (qmp->waiter.active)
    return mp_error_set(err, MP_QMP, "busy", "another wait for events is under way");
  qmp->waiter = (event_wait){.op.cancel = cancel_event, .active = true, .cb = cb, .data = data};
  if (qmp->events || qmp->lost || qmp->broken.domain)
    turn_later(qmp);
  *op = &qmp->waiter.op;
  return 0;
}

/* -- What arrives -------------------------------------------------------------------------------
 */

/* Whatever has become possible. The caller holds a reference. */
static void turn(mp_qmp *qmp) {
  if (qmp->broken.domain && qmp->on_greeting) {
    void (*on_greeting)(mp_qmp *, void *) = mp_steal(qmp->on_greeting);
    on_greeting(qmp, qmp->on_greeting_data);
  }
  if (qmp->broken.domain || qmp->closed)
    end_commands(qmp);
  else
    end_cancelled(qmp);
  serve_waiter(qmp);
}

static int greet(mp_qmp *qmp, const mp_qmp_message *message, mp_error *err) {
  void (*on_greeting)(mp_qmp *, void *) = mp_steal(qmp->on_greeting);
  if (on_greeting == NULL)
    return mp_error_set(err, MP_QMP, MP_PROTOCOL, "qemu greeted twice");
  qmp->greeting = mp_memdup(message->body.text, message->body.len);
  on_greeting(qmp, qmp->on_greeting_data);
  return 0;
}

static int answer(mp_qmp *qmp, const mp_qmp_message *message, mp_error *err) {
  if (qmp->first == NULL || (message->has_id && message->id != qmp->first->id))
    return mp_error_set(err, MP_QMP, MP_PROTOCOL, "qemu answered what was not asked");
  command *answered = take_first(qmp);
  mp_auto_error mp_error refused = MP_ERROR_INIT;
  if (answered->cancelled)
    tell_cancelled(answered);
  else if (message->kind == MP_QMP_ANSWER)
    call_back(answered, message->body.text, message->body.len, NULL);
  else {
    mp_qmp_failure(message->body, answered->name, &refused);
    call_back(answered, NULL, 0, &refused);
  }
  free_command(answered);
  return 0;
}

static int on_line(mp_qmp *qmp, const char *line, size_t len, mp_error *err) {
  mp_qmp_message message;
  if (len == 0)
    return 0;
  if (mp_qmp_parse(line, len, &message, err) < 0)
    return -1;
  if (message.kind == MP_QMP_GREETING)
    return greet(qmp, &message, err);
  if (message.kind == MP_QMP_EVENT)
    keep_event(qmp, &message);
  else
    return answer(qmp, &message, err);
  serve_waiter(qmp);
  return 0;
}

static int take_lines(mp_qmp *qmp, mp_error *err) {
  const char *line;
  size_t len;
  while (qmp->stream && mp_lines_next(&qmp->input, &line, &len))
    if (on_line(qmp, line, len, err) < 0)
      return -1;
  if (mp_lines_pending(&qmp->input) > MP_QMP_LINE_MAX)
    return mp_error_set(err, MP_QMP, MP_LIMIT, "qemu sent a message of more than %d bytes",
                        MP_QMP_LINE_MAX);
  return 0;
}

static void on_bytes(void *data, const char *bytes, size_t len) {
  mp_qmp *qmp = data;
  mp_error err = MP_ERROR_INIT;
  qmp->refs++;
  if (bytes == NULL) {
    mp_error_set(&err, MP_QMP, "closed", "qemu closed the connection");
    break_off(qmp, &err);
  } else {
    mp_lines_feed(&qmp->input, bytes, len);
    if (take_lines(qmp, &err) < 0)
      break_off(qmp, &err);
  }
  mp_qmp_release_(qmp);
}

/* -- Commands -----------------------------------------------------------------------------------
 */

static void written(void *data, const mp_error *failed) {
  mp_qmp *qmp = data;
  mp_error err = MP_ERROR_INIT;
  qmp->writes--;
  if (failed && !qmp->closed) {
    mp_error_copy(&err, failed);
    break_off(qmp, &err);
  }
  mp_qmp_release_(qmp);
}

static int send_text(mp_qmp *qmp, const mp_buf *text, mp_error *err) {
  mp_op *op;
  if (mp_stream_write(qmp->stream, text->data, text->len, written, qmp, &op, err) < 0)
    return -1;
  qmp->writes++;
  qmp->refs++;
  return 0;
}

/* A descriptor goes with a write of its own, which libuv does not offer for a plain socket. These
 * commands are short: a socket that cannot take one at once is stuck. */
static int send_with_fd(mp_qmp *qmp, const mp_buf *text, int fd, mp_error *err) {
  char control[CMSG_SPACE(sizeof fd)] __attribute__((aligned(__alignof__(struct cmsghdr)))) = {0};
  struct iovec part = {text->data, text->len};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (qmp->writes > 0)
    return mp_error_set(err, MP_QMP, "busy", "a command is still being sent");
  ssize_t sent = sendmsg(mp_stream_fd(qmp->stream), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0)
    return mp_error_errno(err, MP_QMP, errno, "could not pass a descriptor to qemu");
  if ((size_t)sent < text->len) {
    mp_error cut = MP_ERROR_INIT;
    mp_error_set(&cut, MP_QMP, MP_PROTOCOL, "qemu does not read its commands");
    mp_error_copy(err, &cut);
    break_off(qmp, &cut);
    return -1;
  }
  return 0;
}

static void cancel_command(mp_op *op) {
  command *cancelled = (command *)op;
  cancelled->cancelled = true;
  turn_later(cancelled->qmp);
}

static command *add_command(mp_qmp *qmp, const char *name) {
  command *added = mp_alloc(sizeof *added);
  added->op.cancel = cancel_command;
  added->qmp = qmp;
  added->id = qmp->sent;
  added->name = mp_strdup(name);
  *qmp->last = added;
  qmp->last = &added->next;
  return added;
}

int mp_qmp_execute(mp_qmp *qmp, const char *name, const char *arguments, int fd,
                   mp_qmp_answer_cb cb, void *data, mp_op **op, mp_error *err) {
  mp_auto_buf mp_buf text = MP_BUF_INIT;
  if (qmp->broken.domain) {
    mp_error_copy(err, &qmp->broken);
    return -1;
  }
  if (arguments && strchr(arguments, '\n'))
    return mp_error_set(err, MP_QMP, MP_INVALID, "a newline in the arguments of `%s`", name);
  mp_buf_printf(&text, "{\"execute\":\"%s\",\"id\":%llu", name, (unsigned long long)++qmp->sent);
  if (arguments)
    mp_buf_printf(&text, ",\"arguments\":%s", arguments);
  mp_buf_puts(&text, "}\n");
  if ((fd < 0 ? send_text(qmp, &text, err) : send_with_fd(qmp, &text, fd, err)) < 0)
    return -1;
  command *added = add_command(qmp, name);
  added->cb = cb;
  added->data = data;
  *op = &added->op;
  return 0;
}

void mp_qmp_close(mp_qmp *qmp) {
  if (qmp == NULL)
    return;
  qmp->closed = true;
  mp_stream_close(mp_steal(qmp->stream));
  if (qmp->first || qmp->waiter.active)
    turn_later(qmp);
  mp_qmp_release_(qmp);
}

/* -- Connecting ---------------------------------------------------------------------------------
 */

typedef struct {
  mp_op op;
  mp_loop *loop;
  mp_op *under_way; /* connecting, then negotiating; NULL while the greeting is waited for */
  mp_qmp *qmp;
  bool cancelled;
  mp_qmp_connect_cb cb;
  void *data;
} connecting;

static void finish(connecting *self, const mp_error *err) {
  mp_qmp *qmp = mp_steal(self->qmp);
  if (err)
    mp_qmp_close(mp_steal(qmp));
  self->cb(self->data, qmp, err);
  free(self);
}

static void finish_cancelled(connecting *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, MP_QMP, MP_CANCELLED, "connecting to qemu was cancelled");
  finish(self, &err);
}

static void negotiated(void *data, const char *json, size_t len, const mp_error *err) {
  connecting *self = data;
  (void)json;
  (void)len;
  if (self->cancelled)
    finish_cancelled(self);
  else
    finish(self, err);
}

static void greeted(mp_qmp *qmp, void *data) {
  connecting *self = data;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  if (self->cancelled)
    finish_cancelled(self);
  else if (qmp->broken.domain)
    finish(self, &qmp->broken);
  else if (mp_qmp_execute(qmp, "qmp_capabilities", NULL, -1, negotiated, self, &self->under_way,
                          &err) < 0)
    finish(self, &err);
}

static void connected(void *data, mp_stream *stream, const mp_error *err) {
  connecting *self = data;
  self->under_way = NULL;
  if (err) {
    finish(self, err);
    return;
  }
  if (self->cancelled) {
    mp_stream_close(stream);
    finish_cancelled(self);
    return;
  }
  self->qmp = mp_qmp_new_(self->loop, stream);
  self->qmp->on_greeting = greeted;
  self->qmp->on_greeting_data = self;
  mp_stream_push(stream, on_bytes, self->qmp);
}

static void cancel_connecting(mp_op *op) {
  connecting *self = (connecting *)op;
  mp_error err = MP_ERROR_INIT;
  self->cancelled = true;
  if (self->under_way) {
    mp_op_cancel(self->under_way);
  } else if (self->qmp) {
    mp_error_set(&err, MP_QMP, MP_CANCELLED, "connecting to qemu was cancelled");
    break_off(self->qmp, &err);
  }
}

int mp_qmp_connect(mp_loop *loop, const char *path, mp_qmp_connect_cb cb, void *data, mp_op **op,
                   mp_error *err) {
  mp_stream_address address = {.path = path};
  connecting *self = mp_alloc(sizeof *self);
  *self = (connecting){.op.cancel = cancel_connecting, .loop = loop, .cb = cb, .data = data};
  if (mp_stream_connect(loop, &address, 0, connected, self, &self->under_way, err) < 0) {
    free(self);
    return -1;
  }
  *op = &self->op;
  return 0;
}
