/* Deleting links, together. Whoever asks for one waits 20 ms for the kernel to see that nobody uses
 * it any more; for a group of them it waits as long once. */
#include "internal.h"
#include "links_internal.h"

#include "core/mem.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

typedef struct {
  int *indices;
  size_t count;
  unsigned group;
} victims;

static bool is_wanted(const char *name, const char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(name, names[i]) == 0)
      return true;
  return false;
}

static bool is_victim(const victims *self, int index) {
  for (size_t i = 0; i < self->count; i++)
    if (self->indices[i] == index)
      return true;
  return false;
}

static bool has_group(const mp_netlink_links *links, unsigned group) {
  for (size_t i = 0; i < links->count; i++)
    if (links->items[i].group == group)
      return true;
  return false;
}

/* A number that no link has, nor one that people would choose. */
static unsigned choose_group(const mp_netlink_links *links) {
  unsigned group;
  do {
    if (getrandom(&group, sizeof group, 0) != sizeof group)
      group = 0;
    group |= 0x40000000U;
  } while (has_group(links, group));
  return group;
}

static int set_group(mp_netlink *nl, const victims *self) {
  struct nl_msg **messages = mp_calloc(self->count, sizeof *messages);
  int *errnums = mp_calloc(self->count, sizeof *errnums);
  for (size_t i = 0; i < self->count; i++) {
    struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = self->indices[i]};
    messages[i] = mp_netlink_message_(RTM_SETLINK, 0, &header, sizeof header);
    mp_netlink_put_u32_(messages[i], IFLA_GROUP, self->group);
  }
  int errnum = mp_netlink_ask_many_(nl, messages, self->count, errnums);
  /* What somebody else has deleted meanwhile is gone, as it should be. */
  for (size_t i = 0; i < self->count && errnum == 0; i++)
    if (errnums[i] != ENODEV)
      errnum = errnums[i];
  free(messages);
  free(errnums);
  return errnum;
}

/* 0 where the group is the victims' alone; EBUSY where somebody else has put a link in it. */
static int check_group(mp_netlink *nl, const victims *self, mp_error *err) {
  mp_netlink_links links;
  if (mp_netlink_list_links(nl, &links, err) < 0)
    return -1;
  int errnum = 0;
  for (size_t i = 0; i < links.count; i++)
    if (links.items[i].group == self->group && !is_victim(self, links.items[i].index))
      errnum = EBUSY;
  mp_netlink_links_reset(&links);
  return errnum;
}

static int delete_group(mp_netlink *nl, const victims *self) {
  struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
  struct nl_msg *message = mp_netlink_message_(RTM_DELLINK, 0, &header, sizeof header);
  mp_netlink_put_u32_(message, IFLA_GROUP, self->group);
  return mp_netlink_ask_(nl, message, NULL, NULL, NULL);
}

static int delete_victims(mp_netlink *nl, const victims *self, const char *first, mp_error *err) {
  nl->explanation[0] = '\0';
  if (self->count == 1) {
    struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = self->indices[0]};
    struct nl_msg *message = mp_netlink_message_(RTM_DELLINK, 0, &header, sizeof header);
    int errnum = mp_netlink_ask_(nl, message, NULL, NULL, NULL);
    return errnum && errnum != ENODEV
               ? mp_netlink_fail_(nl, err, errnum, "could not delete the link `%s`", first)
               : 0;
  }
  int errnum = set_group(nl, self);
  if (errnum == 0)
    errnum = check_group(nl, self, err);
  if (errnum == 0)
    errnum = delete_group(nl, self);
  if (errnum < 0)
    return -1;
  return errnum && errnum != ENODEV
             ? mp_netlink_fail_(nl, err, errnum, "could not delete %zu links (`%s`, ...)",
                                self->count, first)
             : 0;
}

int mp_netlink_delete_links(mp_netlink *nl, const char *const *names, size_t count, size_t *deleted,
                            mp_error *err) {
  mp_netlink_links links;
  victims self = {0};
  char first[IFNAMSIZ] = "";
  if (mp_netlink_list_links(nl, &links, err) < 0)
    return -1;
  self.indices = mp_calloc(links.count + 1, sizeof *self.indices);
  self.group = choose_group(&links);
  for (size_t i = 0; i < links.count; i++) {
    if (!is_wanted(links.items[i].name, names, count))
      continue;
    if (self.count == 0)
      strcpy(first, links.items[i].name);
    self.indices[self.count++] = links.items[i].index;
  }
  mp_netlink_links_reset(&links);
  int rc = self.count > 0 ? delete_victims(nl, &self, first, err) : 0;
  if (rc == 0)
    *deleted = self.count;
  free(self.indices);
  return rc;
}
