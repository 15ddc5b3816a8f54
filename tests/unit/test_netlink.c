/* core/netlink: what messages say, and that changes are whole, in a network namespace of our own.
 */
#include "unit.h"

#include "core/mem.h"
#include "core/netlink/links.h"
#include "core/netlink/namespace.h"
#include "core/netlink/parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- Text ------------------------------------------------------------------------------------- */

static void a_prefix_is_what_was_written(void **state) {
  (void)state;
  static const char *const texts[] = {"172.30.0.1/30", "0.0.0.0/0", "10.0.0.1/32", "fe80::1/64",
                                      "::/0"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    mp_error err = MP_ERROR_INIT;
    mp_netlink_prefix prefix;
    char text[MP_NETLINK_PREFIX_TEXT];
    assert_int_equal(mp_netlink_prefix_parse(texts[i], &prefix, &err), 0);
    mp_netlink_prefix_format(&prefix, true, text);
    assert_string_equal(text, texts[i]);
  }
}

static void an_address_alone_has_all_its_bits(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_netlink_prefix prefix;
  assert_int_equal(mp_netlink_prefix_parse("10.0.0.1", &prefix, &err), 0);
  assert_int_equal(prefix.length, 32);
  assert_int_equal(mp_netlink_prefix_parse("::1", &prefix, &err), 0);
  assert_int_equal(prefix.length, 128);
}

static void what_is_no_prefix_is_refused(void **state) {
  (void)state;
  static const char *const texts[] = {
      "",           "10.0.0.1/33",  "10.0.0/24", "10.0.0.1/",          "10.0.0.1/-1",
      "fe80::/129", "10.0.0.1/0x8", "eth0",      "10.0.0.1/4294967296"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    mp_auto_error mp_error err = MP_ERROR_INIT;
    mp_netlink_prefix prefix;
    assert_int_equal(mp_netlink_prefix_parse(texts[i], &prefix, &err), -1);
    assert_true(mp_error_is(&err, MP_INVALID));
  }
}

/* -- Messages --------------------------------------------------------------------------------- */

typedef struct {
  struct nlmsghdr header;
  struct nlmsgerr error;
  struct nlattr attribute;
  char text[12];
} refusal;

static refusal a_refusal(void) {
  refusal message = {
      .header = {.nlmsg_len = sizeof message,
                 .nlmsg_type = NLMSG_ERROR,
                 .nlmsg_flags = NLM_F_CAPPED | NLM_F_ACK_TLVS},
      .error = {.error = -EEXIST, .msg = {.nlmsg_len = 4000}},
      .attribute = {.nla_len = sizeof(struct nlattr) + 12, .nla_type = NLMSGERR_ATTR_MSG},
      .text = "is assigned",
  };
  return message;
}

static void a_refusal_has_the_kernels_words(void **state) {
  (void)state;
  refusal message = a_refusal();
  mp_netlink_ack ack;
  assert_true(mp_netlink_parse_ack(&message.header, &ack));
  assert_int_equal(ack.errnum, EEXIST);
  assert_int_equal(ack.text_len, strlen("is assigned"));
  assert_memory_equal(ack.text, "is assigned", ack.text_len);
}

static void a_refusal_that_is_cut_short_has_none(void **state) {
  (void)state;
  refusal message = a_refusal();
  mp_netlink_ack ack;
  message.header.nlmsg_len -= 8;
  assert_true(mp_netlink_parse_ack(&message.header, &ack));
  assert_null(ack.text);
  message.header.nlmsg_len = sizeof message.header + 8;
  assert_false(mp_netlink_parse_ack(&message.header, &ack));
}

static void a_refusal_that_repeats_a_long_request_has_none_behind_its_end(void **state) {
  (void)state;
  refusal message = a_refusal();
  mp_netlink_ack ack;
  message.header.nlmsg_flags = NLM_F_ACK_TLVS; /* the request of 4000 bytes would follow */
  assert_true(mp_netlink_parse_ack(&message.header, &ack));
  assert_null(ack.text);
}

/* -- A network of our own --------------------------------------------------------------------- */

static int open_network(void **state) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_netlink *nl = NULL;
  if (unshare(CLONE_NEWNET) == 0 && mp_netlink_open(-1, &nl, &err) < 0)
    return -1;
  *state = nl;
  return 0;
}

static int close_network(void **state) {
  mp_netlink_close(*state);
  return 0;
}

static mp_netlink *network(void **state) {
  if (!*state)
    skip(); /* it takes CAP_SYS_ADMIN to make one */
  return *state;
}

static mp_netlink_new_link new_link(const char *name, const char *kind) {
  return (mp_netlink_new_link){.name = name,
                               .kind = kind,
                               .settings = MP_NETLINK_SETTINGS_INIT,
                               .owner = -1,
                               .owner_group = -1,
                               .peer_netns = -1};
}

static void a_tap_is_made_with_all_that_was_asked(void **state) {
  mp_netlink *nl = network(state);
  mp_error err = MP_ERROR_INIT;
  mp_netlink_prefix address;
  mp_netlink_link found;
  assert_int_equal(mp_netlink_prefix_parse("172.30.0.1/30", &address, &err), 0);
  mp_netlink_new_link link = new_link("tap-whole", "tap");
  link.settings.alias = "moonport/a";
  link.settings.mtu = 1400;
  link.settings.up = 1;
  link.settings.ipv4.rp_filter = 1;
  link.owner = 1000;
  link.multi_queue = true;
  link.addresses = &address;
  link.address_count = 1;
  assert_int_equal(mp_netlink_add_link(nl, &link, &err), 0);
  assert_int_equal(mp_netlink_find_link(nl, "tap-whole", 0, &found, &err), 0);
  assert_string_equal(found.kind, "tap");
  assert_string_equal(found.alias, "moonport/a");
  assert_int_equal(found.mtu, 1400);
  assert_int_equal(found.owner, 1000);
  assert_int_equal(found.owner_group, -1);
  assert_int_equal(found.ipv4.rp_filter, 1);
  assert_true(found.up && found.multi_queue && found.persistent);
  mp_netlink_link_reset(&found);
}

static void assert_absent(mp_netlink *nl, const char *name) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_netlink_link found;
  assert_int_equal(mp_netlink_find_link(nl, name, 0, &found, &err), -1);
  assert_true(mp_error_is(&err, "ENODEV"));
}

static void a_link_that_cannot_be_furnished_is_not_left(void **state) {
  mp_netlink *nl = network(state);
  static const char *const kinds[] = {"tap", "bridge"};
  for (size_t i = 0; i < 2; i++) {
    mp_auto_error mp_error err = MP_ERROR_INIT;
    mp_netlink_new_link link = new_link("half", kinds[i]);
    link.settings.master = "nobody";
    assert_int_equal(mp_netlink_add_link(nl, &link, &err), -1);
    assert_true(mp_error_is(&err, "ENODEV"));
    assert_non_null(strstr(err.message, "`nobody`"));
    assert_absent(nl, "half");
  }
}

static void a_name_that_is_taken_is_refused_by_name(void **state) {
  mp_netlink *nl = network(state);
  static const char *const kinds[] = {"tap", "bridge", "tap"};
  mp_error none = MP_ERROR_INIT;
  mp_netlink_new_link first = new_link("taken", "tap"), bridge = new_link("taken-bridge", "bridge");
  assert_int_equal(mp_netlink_add_link(nl, &first, &none), 0);
  assert_int_equal(mp_netlink_add_link(nl, &bridge, &none), 0);
  for (size_t i = 0; i < 3; i++) {
    mp_auto_error mp_error err = MP_ERROR_INIT;
    const char *name = i == 2 ? "taken-bridge" : "taken";
    mp_netlink_new_link link = new_link(name, kinds[i]);
    assert_int_equal(mp_netlink_add_link(nl, &link, &err), -1);
    assert_true(mp_error_is(&err, "EEXIST"));
    assert_non_null(strstr(err.message, name));
  }
}

static void many_are_deleted_and_no_other(void **state) {
  mp_netlink *nl = network(state);
  mp_error err = MP_ERROR_INIT;
  enum { COUNT = 70 };
  char names[COUNT][IFNAMSIZ];
  const char *list[COUNT + 1];
  size_t deleted;
  for (size_t i = 0; i < COUNT; i++) {
    snprintf(names[i], IFNAMSIZ, "many%zu", i);
    list[i] = names[i];
    mp_netlink_new_link link = new_link(names[i], "tap");
    assert_int_equal(mp_netlink_add_link(nl, &link, &err), 0);
  }
  mp_netlink_new_link kept = new_link("many", "tap");
  assert_int_equal(mp_netlink_add_link(nl, &kept, &err), 0);
  list[COUNT] = "many-not-there";
  assert_int_equal(mp_netlink_delete_links(nl, list, COUNT + 1, &deleted, &err), 0);
  assert_int_equal(deleted, COUNT);
  for (size_t i = 0; i < COUNT; i++)
    assert_absent(nl, names[i]);
  mp_netlink_link found;
  assert_int_equal(mp_netlink_find_link(nl, "many", 0, &found, &err), 0);
  assert_int_equal(found.group, 0);
  mp_netlink_link_reset(&found);
}

static void what_cannot_be_deleted_is_said(void **state) {
  mp_netlink *nl = network(state);
  mp_auto_error mp_error err = MP_ERROR_INIT;
  const char *names[] = {"lo"};
  size_t deleted;
  assert_int_equal(mp_netlink_delete_links(nl, names, 1, &deleted, &err), -1);
  assert_true(mp_error_is(&err, "EOPNOTSUPP"));
  assert_non_null(strstr(err.message, "`lo`"));
}

/* -- Namespaces ------------------------------------------------------------------------------- */

static ino_t own_namespace(void) {
  struct stat st;
  assert_int_equal(stat("/proc/thread-self/ns/net", &st), 0);
  return st.st_ino;
}

static int look_around(void *data, mp_error *err) {
  (void)err;
  *(ino_t *)data = own_namespace();
  return 0;
}

static void a_visit_to_a_namespace_leaves_the_visitor_where_it_was(void **state) {
  network(state);
  mp_error err = MP_ERROR_INIT;
  char name[32];
  int fd;
  ino_t there = 0, here = own_namespace();
  snprintf(name, sizeof name, "mp-unit-%d", (int)getpid());
  assert_int_equal(mp_netns_create(name, &err), 0);
  assert_int_equal(mp_netns_open(name, &fd, &err), 0);
  int rc = mp_netns_run(fd, look_around, &there, &err);
  struct stat st;
  assert_int_equal(fstat(fd, &st), 0);
  close(fd);
  assert_int_equal(mp_netns_delete(name, &err), 0);
  assert_int_equal(rc, 0);
  assert_int_equal(there, st.st_ino);
  assert_int_equal(own_namespace(), here);
  assert_true(there != here);
}

static void a_file_is_no_namespace(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  int fd;
  assert_int_equal(mp_netns_open("/proc/self/exe", &fd, &err), -1);
  assert_true(mp_error_is(&err, MP_INVALID));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_prefix_is_what_was_written),
      cmocka_unit_test(an_address_alone_has_all_its_bits),
      cmocka_unit_test(what_is_no_prefix_is_refused),
      cmocka_unit_test(a_refusal_has_the_kernels_words),
      cmocka_unit_test(a_refusal_that_is_cut_short_has_none),
      cmocka_unit_test(a_refusal_that_repeats_a_long_request_has_none_behind_its_end),
      cmocka_unit_test(a_tap_is_made_with_all_that_was_asked),
      cmocka_unit_test(a_link_that_cannot_be_furnished_is_not_left),
      cmocka_unit_test(a_name_that_is_taken_is_refused_by_name),
      cmocka_unit_test(many_are_deleted_and_no_other),
      cmocka_unit_test(what_cannot_be_deleted_is_said),
      cmocka_unit_test(a_visit_to_a_namespace_leaves_the_visitor_where_it_was),
      cmocka_unit_test(a_file_is_no_namespace),
  };
  return cmocka_run_group_tests(tests, open_network, close_network);
}
