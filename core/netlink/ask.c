#include "internal.h"

#include "core/mem.h"
#include "namespace.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define DUMP_ATTEMPTS 10 /* at a list that others change meanwhile */
#define MANY 32          /* changes sent at once; their answers fit into the socket */
#define DISTURBED (-1)

/* -- The socket ------------------------------------------------------------------------------- */

typedef struct {
  int buffer;
  struct nl_sock *socket;
} opening;

static void set_option(int fd, int level, int name, int value) {
  (void)setsockopt(fd, level, name, &value, sizeof value);
}

static int open_here(void *data, mp_error *err) {
  opening *self = data;
  struct nl_sock *socket = nl_socket_alloc();
  if (!socket)
    abort();
  int rc = nl_connect(socket, NETLINK_ROUTE);
  if (rc < 0) {
    nl_socket_free(socket);
    return mp_error_set(err, MP_NETLINK, "socket", "could not open a netlink socket: %s",
                        nl_geterror(rc));
  }
  int fd = nl_socket_get_fd(socket);
  /* Old kernels know neither: then there is no explanation, and answers are longer. */
  set_option(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
  set_option(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
  if (self->buffer > 0) {
    set_option(fd, SOL_SOCKET, SO_RCVBUF, self->buffer);
    set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, self->buffer);
  }
  self->socket = socket;
  return 0;
}

int mp_netlink_socket_(int netns, int buffer, struct nl_sock **socket, mp_error *err) {
  opening self = {.buffer = buffer};
  if (mp_netns_run(netns, open_here, &self, err) < 0)
    return -1;
  *socket = self.socket;
  return 0;
}

int mp_netlink_open(int netns, mp_netlink **connection, mp_error *err) {
  mp_netlink *nl = mp_alloc(sizeof *nl);
  nl->netns = netns;
  if (mp_netlink_socket_(netns, 0, &nl->socket, err) < 0) {
    mp_netlink_close(nl);
    return -1;
  }
  *connection = nl;
  return 0;
}

void mp_netlink_close(mp_netlink *nl) {
  if (!nl)
    return;
  nl_socket_free(nl->socket);
  if (nl->netns >= 0)
    close(nl->netns);
  free(nl->answer);
  free(nl);
}

/* -- Messages --------------------------------------------------------------------------------- */

struct nl_msg *mp_netlink_message_(int type, int flags, const void *header, size_t size) {
  struct nl_msg *message = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);
  if (!message || nlmsg_append(message, (void *)header, size, NLMSG_ALIGNTO) < 0)
    abort();
  return message;
}

/* A message is a page; what we put in is bounded by the callers and fits. */
static void put(struct nl_msg *message, int type, const void *bytes, size_t len) {
  if (nla_put(message, type, (int)len, bytes) < 0)
    abort();
}

void mp_netlink_put_u32_(struct nl_msg *message, int type, unsigned value) {
  put(message, type, &value, sizeof value);
}

void mp_netlink_put_text_(struct nl_msg *message, int type, const char *text) {
  put(message, type, text, strlen(text) + 1);
}

void mp_netlink_put_address_(struct nl_msg *message, int type, const mp_netlink_prefix *address) {
  put(message, type, address->bytes, mp_netlink_family_size(address->family));
}

/* -- Asking ----------------------------------------------------------------------------------- */

static int send_all(mp_netlink *nl, struct iovec *parts, size_t count) {
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  struct msghdr header = {
      .msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = parts, .msg_iovlen = count};
  ssize_t sent;
  do
    sent = sendmsg(nl_socket_get_fd(nl->socket), &header, 0);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

static unsigned prepare(mp_netlink *nl, struct nl_msg *message, struct iovec *part) {
  struct nlmsghdr *header = nlmsg_hdr(message);
  header->nlmsg_seq = ++nl->sequence;
  header->nlmsg_pid = nl_socket_get_local_port(nl->socket);
  *part = (struct iovec){.iov_base = header, .iov_len = header->nlmsg_len};
  return header->nlmsg_seq;
}

/* The next datagram, whole, whatever its size. */
static int receive(mp_netlink *nl, size_t *len) {
  int fd = nl_socket_get_fd(nl->socket);
  for (;;) {
    ssize_t got = recv(fd, nl->answer, nl->size, MSG_PEEK | MSG_TRUNC);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return errno;
    if ((size_t)got > nl->size || !nl->answer) {
      nl->size = (size_t)got > 32768 ? (size_t)got : 32768; /* what a dump fills at most */
      nl->answer = mp_realloc(nl->answer, nl->size);
      continue;
    }
    got = recv(fd, nl->answer, nl->size, 0);
    *len = got > 0 ? (size_t)got : 0;
    return got < 0 && errno != EINTR ? errno : 0;
  }
}

static void keep_explanation(mp_netlink *nl, const mp_netlink_ack *ack) {
  size_t len =
      ack->text_len < sizeof nl->explanation - 1 ? ack->text_len : sizeof nl->explanation - 1;
  if (ack->text)
    memcpy(nl->explanation, ack->text, len);
  nl->explanation[ack->text ? len : 0] = '\0';
}

typedef struct {
  unsigned first, count; /* the sequence numbers of what was asked */
  int *errnums;          /* of each */
  unsigned open;         /* how many are unanswered */
  bool disturbed;
  mp_netlink_seen seen;
  void *data;
} asking;

static void take(mp_netlink *nl, asking *self, const struct nlmsghdr *message) {
  mp_netlink_ack ack;
  unsigned which = message->nlmsg_seq - self->first;
  if (which >= self->count)
    return; /* an answer to something that was given up */
  if (message->nlmsg_flags & NLM_F_DUMP_INTR)
    self->disturbed = true;
  if (mp_netlink_parse_ack(message, &ack)) {
    self->errnums[which] = ack.errnum;
    self->open--;
    if (ack.errnum)
      keep_explanation(nl, &ack);
  } else if (self->seen) {
    self->seen(self->data, message);
  }
}

static int collect(mp_netlink *nl, asking *self) {
  while (self->open > 0) {
    size_t received = 0;
    int errnum = receive(nl, &received);
    if (errnum)
      return errnum;
    int left = (int)received;
    for (struct nlmsghdr *message = (struct nlmsghdr *)nl->answer; nlmsg_ok(message, left);
         message = nlmsg_next(message, &left))
      take(nl, self, message);
  }
  return 0;
}

static int ask_once(mp_netlink *nl, struct nl_msg *message, asking *self, int *answer) {
  struct iovec part;
  self->first = prepare(nl, message, &part);
  self->count = self->open = 1;
  self->errnums = answer;
  self->disturbed = false;
  int errnum = send_all(nl, &part, 1);
  if (errnum == 0)
    errnum = collect(nl, self);
  if (errnum == 0)
    errnum = *answer;
  return errnum == 0 && self->disturbed ? DISTURBED : errnum;
}

int mp_netlink_ask_(mp_netlink *nl, struct nl_msg *message, mp_netlink_seen seen,
                    void (*restart)(void *data), void *data) {
  int answer = 0, errnum = DISTURBED;
  asking self = {.seen = seen, .data = data};
  nl->explanation[0] = '\0';
  /* The bits that ask for a list mean other things to a change. */
  if ((nlmsg_hdr(message)->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
    nlmsg_hdr(message)->nlmsg_flags |= NLM_F_ACK;
  for (int i = 0; i < DUMP_ATTEMPTS && errnum == DISTURBED; i++) {
    if (restart)
      restart(data);
    errnum = ask_once(nl, message, &self, &answer);
  }
  nlmsg_free(message);
  return errnum == DISTURBED ? EAGAIN : errnum;
}

static int ask_some(mp_netlink *nl, struct nl_msg **messages, unsigned count, int *errnums) {
  struct iovec parts[MANY];
  asking self = {.first = nl->sequence + 1, .count = count, .open = count, .errnums = errnums};
  for (unsigned i = 0; i < count; i++) {
    nlmsg_hdr(messages[i])->nlmsg_flags |= NLM_F_ACK;
    prepare(nl, messages[i], &parts[i]);
  }
  int errnum = send_all(nl, parts, count);
  return errnum ? errnum : collect(nl, &self);
}

int mp_netlink_ask_many_(mp_netlink *nl, struct nl_msg **messages, size_t count, int *errnums) {
  int errnum = 0;
  nl->explanation[0] = '\0';
  for (size_t i = 0; i < count && errnum == 0; i += MANY)
    errnum =
        ask_some(nl, messages + i, count - i < MANY ? (unsigned)(count - i) : MANY, errnums + i);
  for (size_t i = 0; i < count; i++)
    nlmsg_free(messages[i]);
  return errnum;
}

/* -- Refusals --------------------------------------------------------------------------------- */

int mp_netlink_fail_(const mp_netlink *nl, mp_error *err, int errnum, const char *format, ...) {
  va_list args;
  va_start(args, format);
  mp_auto_free char *what = mp_vsprintf(format, args);
  va_end(args);
  if (nl->explanation[0])
    mp_error_set(err, MP_NETLINK, mp_errno_name(errnum), "%s: %s: %s", what, strerror(errnum),
                 nl->explanation);
  else
    mp_error_errno(err, MP_NETLINK, errnum, "%s", what);
  if (errnum == EPERM || errnum == EACCES)
    mp_error_hint(err, "changing the network takes CAP_NET_ADMIN");
  return -1;
}
