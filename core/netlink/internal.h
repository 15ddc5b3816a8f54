/* What the files of this folder share: asking the kernel, and what it says to a refusal. */
#ifndef MP_CORE_NETLINK_INTERNAL_H
#define MP_CORE_NETLINK_INTERNAL_H

#include "netlink.h"
#include "parse.h"
#include "prefix.h"

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/socket.h>

#define MP_NETLINK "netlink" /* the error domain */

struct mp_netlink {
  struct nl_sock *socket;
  int netns; /* -1: the process's own */
  unsigned sequence;
  char *answer; /* what was received last */
  size_t size;
  char explanation[256]; /* of the last refusal, by the kernel; "" where it gave none */
};

/* Opens a socket that speaks to the routing netlink in `netns` (-1: ours) and lets the kernel
 * explain itself. buffer: bytes that may wait in it, 0: the system's default. */
int mp_netlink_socket_(int netns, int buffer, struct nl_sock **socket, mp_error *err);

/* A message with the fixed header `header`, to which attributes are then put. */
struct nl_msg *mp_netlink_message_(int type, int flags, const void *header, size_t size);

/* Called for each message of an answer. */
typedef void (*mp_netlink_seen)(void *data, const struct nlmsghdr *message);

/* Sends `message`, which it frees, and waits for the end of the answer. Returns 0 or the errno of
 * the kernel's refusal, or of what failed in talking to it. A dump that was disturbed is asked for
 * again, after restart(data). */
int mp_netlink_ask_(mp_netlink *nl, struct nl_msg *message, mp_netlink_seen seen,
                    void (*restart)(void *data), void *data);

/* Sends several changes at once, and frees them. errnums[i] becomes what each came to. Returns 0,
 * or the errno of what failed in talking. */
int mp_netlink_ask_many_(mp_netlink *nl, struct nl_msg **messages, size_t count, int *errnums);

/* Fills *err for an errno that mp_netlink_ask_ gave, with the kernel's explanation. Returns -1. */
int mp_netlink_fail_(const mp_netlink *nl, mp_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Attributes. */
void mp_netlink_put_u32_(struct nl_msg *message, int type, unsigned value);
void mp_netlink_put_text_(struct nl_msg *message, int type, const char *text);
void mp_netlink_put_address_(struct nl_msg *message, int type, const mp_netlink_prefix *address);

/* The index of the link with this name, which it must have. */
int mp_netlink_index_(mp_netlink *nl, const char *name, int *index, mp_error *err);

#endif
