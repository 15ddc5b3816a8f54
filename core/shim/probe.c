#include "probe.h"

#include "protocol.h"
#include "run.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool read_address(const char *text, size_t len, uint32_t *address) {
  char copy[INET_ADDRSTRLEN] = "";
  struct in_addr found;
  if (len >= sizeof copy)
    return false;
  memcpy(copy, text, len);
  if (inet_pton(AF_INET, copy, &found) != 1)
    return false;
  *address = found.s_addr;
  return *address != 0;
}

static bool read_port(const char *text, uint16_t *port) {
  char *end;
  errno = 0;
  unsigned long number = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number < 1 || number > UINT16_MAX)
    return false;
  *port = (uint16_t)number;
  return true;
}

int mp_shim_probe_parse(const char *text, mp_shim_probe *probe, mp_shim_error *err) {
  const char *colon = strrchr(text, ':');
  if (colon == NULL || !read_address(text, (size_t)(colon - text), &probe->address) ||
      !read_port(colon + 1, &probe->port))
    return mp_shim_fail(err, "invalid", "`%.64s` is no IPv4 address and port", text);
  return 0;
}

static struct sockaddr_in address_of(uint32_t address, uint16_t port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_addr.s_addr = address, .sin_port = htons(port)};
}

/* What comes back when it is already clear that it is on its way, or that somebody refused it. */
static bool was_sent(int errnum) {
  return errnum == EINPROGRESS || errnum == ECONNREFUSED;
}

static int send_from(int fd, const mp_shim_probe *probe) {
  struct sockaddr_in from = address_of(INADDR_ANY, probe->from);
  struct sockaddr_in to = address_of(probe->address, probe->port);
  if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
    return -1;
  if (probe->udp)
    return sendto(fd, "", 0, 0, (struct sockaddr *)&to, sizeof to) < 0 ? -1 : 0;
  int rc = connect(fd, (struct sockaddr *)&to, sizeof to);
  return rc == 0 || was_sent(errno) ? 0 : -1;
}

int mp_shim_probe_send(const mp_shim_probe *probe, mp_shim_error *err) {
  int type = probe->udp ? SOCK_DGRAM : SOCK_STREAM;
  int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return mp_shim_fail_errno(err, errno, "could not open a socket");
  int rc = send_from(fd, probe);
  int why = errno;
  close(fd);
  return rc < 0 ? mp_shim_fail_errno(err, why, "could not send a packet") : 0;
}

/* The words are those of the request. */
int mp_shim_command_probe(int argc, char **argv) {
  char line[256] = "probe";
  size_t used = strlen(line);
  mp_shim_request request;
  mp_shim_error err;
  for (int i = 1; i < argc && used < sizeof line; i++)
    used += (size_t)snprintf(line + used, sizeof line - used, " %s", argv[i]);
  if (used >= sizeof line)
    mp_shim_fail(&err, "invalid", "too many words");
  else if (mp_shim_request_parse(line, used, &request, &err) == 0 &&
           mp_shim_probe_send(&request.probe, &err) == 0)
    return 0;
  fprintf(stderr, "moonport-shim probe: %s: %s\n", err.code, err.message);
  return 1;
}
