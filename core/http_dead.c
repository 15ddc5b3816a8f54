#include "http_internal.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define DEAD_MS 1000 /* without an acknowledgement of what was sent */

typedef struct {
  long mine, theirs;
} ports;

static long port_of(const struct sockaddr_storage *address) {
  if (address->ss_family == AF_INET)
    return ntohs(((const struct sockaddr_in *)address)->sin_port);
  if (address->ss_family == AF_INET6)
    return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
  return 0;
}

static bool has_ports(int fd, const ports *wanted) {
  struct sockaddr_storage mine = {0}, theirs = {0};
  socklen_t mine_len = sizeof mine, theirs_len = sizeof theirs;
  return getsockname(fd, (struct sockaddr *)&mine, &mine_len) == 0 &&
         getpeername(fd, (struct sockaddr *)&theirs, &theirs_len) == 0 &&
         port_of(&mine) == wanted->mine && port_of(&theirs) == wanted->theirs;
}

/* libcurl tells a transfer's socket only when that is over, but its ports from the beginning. */
static int socket_of(mp_http *http) {
  const mp_http_hub *hub = http->hub;
  ports wanted = {0};
  hub->api->easy_getinfo(http->easy->curl, CURLINFO_LOCAL_PORT, &wanted.mine);
  hub->api->easy_getinfo(http->easy->curl, CURLINFO_PRIMARY_PORT, &wanted.theirs);
  for (size_t fd = 0; wanted.mine > 0 && fd < hub->poll_count; fd++) {
    if (hub->polls[fd] && has_ports((int)fd, &wanted))
      return (int)fd;
  }
  return -1;
}

static bool is_dead(int fd) {
  struct tcp_info tcp;
  socklen_t len = sizeof tcp;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &tcp, &len) == 0 && tcp.tcpi_unacked > 0 &&
         tcp.tcpi_retransmits > 0 && tcp.tcpi_last_ack_recv >= DEAD_MS;
}

/* libcurl notices the end as that of any connection, and tells all exchanges that were on it. */
void mp_http_hang_up_if_dead(mp_http *http) {
  if (uv_now(&http->hub->loop->uv) < http->active_at + DEAD_MS)
    return;
  int fd = socket_of(http);
  if (fd >= 0 && is_dead(fd))
    shutdown(fd, SHUT_RDWR);
}
