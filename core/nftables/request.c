/* Requests on the thread pool: batches and lists. */
#include "core/mem.h"
#include "nftables.h"
#include "reader.h"
#include "socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIES 20

/* Sequence numbers of what stands around the messages, which are numbered from 0. */
#define BEGIN_SEQUENCE 0xfffffffeu
#define END_SEQUENCE 0xffffffffu

struct mp_nft {
  int fd;
  unsigned users; /* the owner and the jobs; loop thread */
  pthread_mutex_t lock;
};

typedef struct {
  mp_nft *nft;
  mp_buf messages; /* the request */
  bool listing, echo, only_after;
  mp_nft_result result;
  mp_error error;
  mp_nft_cb cb;
  void *data;
} job;

int mp_nft_open(const char *netns, mp_nft **nft, mp_error *err) {
  int fd;
  if (!mp_nft_load(err) || mp_nft_socket_open(netns, 0, &fd, err) < 0)
    return -1;
  mp_nft *self = mp_alloc(sizeof *self);
  self->fd = fd;
  self->users = 1;
  pthread_mutex_init(&self->lock, NULL);
  *nft = self;
  return 0;
}

void mp_nft_close(mp_nft *self) {
  if (!self || --self->users > 0)
    return;
  close(self->fd);
  pthread_mutex_destroy(&self->lock);
  free(self);
}

uint32_t mp_nft_port(const mp_nft *self) {
  return mp_nft_socket_port(self->fd);
}

/* -- What the kernel says --------------------------------------------------------------------- */

static int refused(job *self, const mp_nft_answer *answer) {
  bool ours = answer->sequence < BEGIN_SEQUENCE;
  self->result.refused = ours ? (int64_t)answer->sequence : -1;
  return mp_error_set(&self->error, "nft", mp_errno_name(answer->errnum), "%s%s%s",
                      strerror(answer->errnum), answer->text ? ": " : "",
                      answer->text ? answer->text : "");
}

/* The first one that was refused is told, the others are counted. */
static void note_refusal(job *self, const mp_nft_answer *answer) {
  if (self->error.domain == NULL)
    refused(self, answer);
  else
    self->result.others++;
}

/* -- Batches ---------------------------------------------------------------------------------- */

static void append_frame(mp_buf *to, bool begin, const job *self) {
  _Alignas(struct nlmsghdr) char frame[64] = {0};
  const mp_nft_api *api = mp_nft_load(&(mp_error){0});
  struct nlmsghdr *nlh =
      begin ? api->batch_begin(frame, BEGIN_SEQUENCE) : api->batch_end(frame, END_SEQUENCE);
  if (begin && self->only_after)
    api->mnl_attr_put_u32(nlh, NFNL_BATCH_GENID, htonl(self->result.generation));
  mp_buf_append(to, nlh, NLMSG_ALIGN(nlh->nlmsg_len));
}

static void set_echo(mp_buf *messages) {
  for (size_t at = 0; at < messages->len;) {
    struct nlmsghdr *nlh = (struct nlmsghdr *)(messages->data + at);
    nlh->nlmsg_flags |= NLM_F_ECHO;
    at += NLMSG_ALIGN(nlh->nlmsg_len);
  }
}

/* All is said before sendto returns (nfnetlink is synchronous): what is not in the queue then,
 * never comes. */
static void collect_answers(job *self) {
  mp_buf *said = &self->result.messages;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  int got;
  while ((got = mp_nft_socket_receive(self->nft->fd, false, said, &err)) != 0) {
    if (got < 0 && !mp_error_is(&err, "ENOBUFS"))
      break;
    mp_error_reset(&err);
  }
  if (err.domain)
    mp_error_move(&self->error, &err);
  const void *at = said->data;
  size_t left = said->len;
  for (mp_nft_answer answer; mp_nft_next_answer(&at, &left, &answer);) {
    if (answer.said == MP_NFT_ERROR && answer.errnum)
      note_refusal(self, &answer);
  }
}

static void apply(job *self) {
  mp_buf batch = MP_BUF_INIT;
  if (self->echo)
    set_echo(&self->messages);
  append_frame(&batch, true, self);
  mp_buf_append(&batch, self->messages.data, self->messages.len);
  append_frame(&batch, false, self);
  if (mp_nft_socket_send(self->nft->fd, batch.data, batch.len, &self->error) == 0)
    collect_answers(self);
  mp_buf_free(&batch);
}

/* -- Lists ------------------------------------------------------------------------------------ */

typedef enum { ASK_FAILED = -1, ASK_DONE, ASK_AGAIN } asked;

/* Reads the answers to one question up to its end. */
static asked read_answers(job *self, mp_buf *to, bool *interrupted) {
  size_t from = to->len;
  for (;;) {
    if (mp_nft_socket_receive(self->nft->fd, true, to, &self->error) < 0)
      return ASK_FAILED;
    const void *at = to->data + from;
    size_t left = to->len - from;
    for (mp_nft_answer answer; mp_nft_next_answer(&at, &left, &answer);) {
      *interrupted = *interrupted || answer.interrupted;
      if (answer.said == MP_NFT_OTHER)
        continue;
      /* The kernel says by an error that it was interrupted, too. */
      if (answer.errnum == EINTR || answer.errnum == EAGAIN) {
        *interrupted = true;
        return ASK_DONE;
      }
      return answer.errnum ? refused(self, &answer) : ASK_DONE;
    }
    from = to->len - left;
  }
}

static asked ask(job *self, const struct nlmsghdr *question, mp_buf *to, bool *interrupted) {
  if (mp_nft_socket_send(self->nft->fd, question, question->nlmsg_len, &self->error) < 0)
    return ASK_FAILED;
  return read_answers(self, to, interrupted);
}

static void see_number(void *data, const char *name, int64_t value) {
  if (strcmp(name, "generation") == 0)
    *(uint32_t *)data = (uint32_t)value;
}

static void see_begin(void *data, mp_nft_kind kind, bool gone, unsigned family) {
  (void)data, (void)kind, (void)gone, (void)family;
}

static void see_bytes(void *data, const char *name, const void *bytes, size_t len) {
  (void)data, (void)name, (void)bytes, (void)len;
}

static void see_nothing(void *data) {
  (void)data;
}

static void see_enter(void *data, const char *name) {
  (void)data, (void)name;
}

static int read_generation(job *self, uint32_t *generation) {
  static const mp_nft_visitor visitor = {see_begin, see_number,  see_bytes,
                                         see_enter, see_nothing, see_nothing};
  _Alignas(struct nlmsghdr) char frame[64] = {0};
  const mp_nft_api *api = mp_nft_load(&self->error);
  struct nlmsghdr *nlh = api->nlmsg_build_hdr(frame, (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN,
                                              AF_UNSPEC, NLM_F_ACK, BEGIN_SEQUENCE);
  mp_buf said = MP_BUF_INIT;
  bool interrupted = false;
  int rc = ask(self, nlh, &said, &interrupted) == ASK_DONE
               ? mp_nft_read(said.data, said.len, &visitor, generation, &self->error)
               : -1;
  mp_buf_free(&said);
  return rc;
}

/* Asks everything once. */
static asked ask_all(job *self) {
  uint32_t before = 0, after = 0;
  bool interrupted = false;
  mp_buf_clear(&self->result.messages);
  if (read_generation(self, &before) < 0)
    return ASK_FAILED;
  asked rc = ASK_DONE;
  for (size_t at = 0; at < self->messages.len && rc == ASK_DONE && !interrupted;) {
    const struct nlmsghdr *question = (const void *)(self->messages.data + at);
    rc = ask(self, question, &self->result.messages, &interrupted);
    at += NLMSG_ALIGN(question->nlmsg_len);
  }
  mp_auto_error mp_error first = MP_ERROR_INIT;
  mp_error_move(&first, &self->error);
  if (read_generation(self, &after) < 0)
    return ASK_FAILED;
  mp_error_move(&self->error, &first);
  self->result.generation = after;
  /* What was refused may just have gone meanwhile. */
  if (interrupted || before != after) {
    mp_error_reset(&self->error);
    return ASK_AGAIN;
  }
  return rc;
}

static void list(job *self) {
  asked rc = ASK_AGAIN;
  for (int i = 0; i < TRIES && rc == ASK_AGAIN; i++)
    rc = ask_all(self);
  if (rc == ASK_AGAIN)
    mp_error_set(&self->error, "nft", "interrupted",
                 "the rules changed %d times while they were listed", TRIES);
}

/* -- Jobs ------------------------------------------------------------------------------------- */

static void work(void *data) {
  job *self = data;
  pthread_mutex_lock(&self->nft->lock);
  if (self->listing)
    list(self);
  else
    apply(self);
  pthread_mutex_unlock(&self->nft->lock);
}

static void done(void *data, bool cancelled) {
  job *self = data;
  if (cancelled)
    mp_error_set(&self->error, "nft", MP_CANCELLED, "the request to nftables was cancelled");
  self->cb(self->data, &self->result, self->error.domain ? &self->error : NULL);
  mp_nft_close(self->nft);
  mp_buf_free(&self->messages);
  mp_buf_free(&self->result.messages);
  mp_error_reset(&self->error);
  free(self);
}

static mp_op *start(mp_nft *nft, mp_loop *loop, job *self) {
  self->nft = nft;
  self->result.refused = -1;
  nft->users++;
  return mp_work_start(loop, work, done, self);
}

mp_op *mp_nft_apply(mp_nft *nft, mp_loop *loop, mp_nft_writer *writer,
                    const mp_nft_apply_options *options, mp_nft_cb cb, void *data) {
  job *self = mp_alloc(sizeof *self);
  mp_nft_writer_take(writer, &self->messages);
  self->echo = options->echo;
  self->only_after = options->only_after;
  self->result.generation = options->generation;
  self->cb = cb;
  self->data = data;
  return start(nft, loop, self);
}

mp_op *mp_nft_list(mp_nft *nft, mp_loop *loop, mp_nft_writer *writer, mp_nft_cb cb, void *data) {
  job *self = mp_alloc(sizeof *self);
  mp_nft_writer_take(writer, &self->messages);
  self->listing = true;
  self->cb = cb;
  self->data = data;
  return start(nft, loop, self);
}
