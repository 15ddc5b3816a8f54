#include "notify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { FDS_MAX = 4 }; /* the kernel closes further ones itself */

static int remove_stale(const char *path, mp_shim_error *err) {
  struct stat info;
  if (lstat(path, &info) < 0)
    return 0;
  if (!S_ISSOCK(info.st_mode))
    return mp_shim_fail(err, "EEXIST", "`%.200s` exists and is no socket", path);
  unlink(path); /* the directory's lock is ours, so its last owner has gone */
  return 0;
}

/* Made for us alone (the shim's umask), then given to the service's user. */
static int bind_for(int fd, const struct sockaddr_un *address, const mp_shim_spec *spec) {
  const int on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
      bind(fd, (const struct sockaddr *)address, sizeof *address) < 0)
    return -1;
  return spec->has_user ? chown(address->sun_path, spec->uid, spec->gid) : 0;
}

int mp_shim_notify_open(const mp_shim_spec *spec, mp_shim_error *err) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t len = strlen(spec->notify);
  if (len >= sizeof address.sun_path)
    return mp_shim_fail(err, "ENAMETOOLONG",
                        "the path of `notify` has %zu bytes, a socket address holds %zu", len,
                        sizeof address.sun_path - 1);
  memcpy(address.sun_path, spec->notify, len);
  if (remove_stale(spec->notify, err) < 0)
    return -1;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0 && bind_for(fd, &address, spec) == 0)
    return fd;
  mp_shim_fail_errno(err, errno, "could not make the socket `%.200s`", spec->notify);
  if (fd >= 0)
    close(fd);
  return -1;
}

/* What ends in a terminal, a log, a table: one line of it, cut between two characters. */
static void take_text(const char *text, char out[MP_SHIM_TELLS_CAP]) {
  size_t len = 0;
  for (; text[len] && len < MP_SHIM_TELLS_CAP - 1; len++) {
    if ((unsigned char)text[len] < 0x20 || text[len] == 0x7f)
      out[len] = ' ';
    else
      out[len] = text[len];
  }
  if (text[len])
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
      len--;
  out[len] = '\0';
}

void mp_shim_notice_parse(char *text, mp_shim_notice *notice) {
  char *rest;
  *notice = (mp_shim_notice){0};
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    if (strcmp(line, "READY=1") == 0)
      notice->ready = true;
    else if (strcmp(line, "STOPPING=1") == 0)
      notice->stopping = true;
    else if (strncmp(line, "STATUS=", 7) == 0) {
      notice->has_text = true;
      take_text(line + 7, notice->text);
    }
  }
}

static void close_fds(const struct cmsghdr *part) {
  int fd;
  for (size_t at = CMSG_LEN(0); at + sizeof fd <= part->cmsg_len; at += sizeof fd) {
    memcpy(&fd, (const char *)part + at, sizeof fd);
    close(fd);
  }
}

bool mp_shim_notify_read(int fd,
                         void (*on_notice)(void *owner, pid_t sender, mp_shim_notice *notice),
                         void *owner) {
  char text[MP_SHIM_NOTICE_MAX + 1];
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(FDS_MAX * sizeof(int))];
  } control;
  struct iovec piece = {.iov_base = text, .iov_len = MP_SHIM_NOTICE_MAX};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  mp_shim_notice notice;
  struct ucred sender = {0};
  ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0)
    return false;
  struct cmsghdr *rights = NULL;
  for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_type == SCM_CREDENTIALS)
      memcpy(&sender, CMSG_DATA(part), sizeof sender);
    else if (part->cmsg_type == SCM_RIGHTS)
      rights = part;
  }
  text[got] = '\0';
  mp_shim_notice_parse(text, &notice);
  if (sender.pid > 0 && !(message.msg_flags & MSG_TRUNC))
    on_notice(owner, sender.pid, &notice);
  if (rights)
    close_fds(rights);
  return true;
}
