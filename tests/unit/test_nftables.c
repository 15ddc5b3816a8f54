/* Messages of nftables, written and read back without a kernel. */
#include "core/nftables/reader.h"
#include "core/nftables/writer.h"
#include "unit.h"

#include "core/buf.h"
#include "core/error.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

/* -- A visitor that writes down what it sees ----------------------------------------------------
 */

static void see_begin(void *data, mp_nft_kind kind, bool gone, unsigned family) {
  mp_buf_printf(data, "%s%s %u:", gone ? "gone " : "", mp_nft_kind_names[kind], family);
}

static void see_number(void *data, const char *name, int64_t value) {
  if (strcmp(name, "sequence") != 0)
    mp_buf_printf(data, " %s=%lld", name, (long long)value);
}

static void see_bytes(void *data, const char *name, const void *bytes, size_t len) {
  mp_buf_printf(data, " %s=`%.*s`", name, (int)len, (const char *)bytes);
}

static void see_enter(void *data, const char *expression) {
  mp_buf_printf(data, " (%s", expression ? expression : "element");
}

static void see_leave(void *data) {
  mp_buf_puts(data, ")");
}

static void see_end(void *data) {
  mp_buf_puts(data, ";");
}

static const mp_nft_visitor visitor = {see_begin, see_number, see_bytes,
                                       see_enter, see_leave,  see_end};

static mp_nft_writer *new_writer(void) {
  mp_error err = MP_ERROR_INIT;
  mp_nft_writer *writer = mp_nft_writer_new(&err);
  assert_non_null(writer);
  return writer;
}

static void ok(int rc, mp_error *err) {
  if (rc < 0)
    fail_msg("%s", err->message);
}

static void text(mp_nft_writer *writer, const char *name, const char *value) {
  mp_error err = MP_ERROR_INIT;
  ok(mp_nft_writer_bytes(writer, name, value, strlen(value), &err), &err);
}

static void number(mp_nft_writer *writer, const char *name, int64_t value) {
  mp_error err = MP_ERROR_INIT;
  ok(mp_nft_writer_number(writer, name, value, &err), &err);
}

static void begin(mp_nft_writer *writer, mp_nft_kind kind, mp_nft_action action) {
  mp_error err = MP_ERROR_INIT;
  ok(mp_nft_writer_begin(writer, kind, action, NFPROTO_INET, &err), &err);
}

static void enter(mp_nft_writer *writer, const char *expression) {
  mp_error err = MP_ERROR_INIT;
  ok(mp_nft_writer_enter(writer, expression, &err), &err);
}

static void end(mp_nft_writer *writer) {
  mp_error err = MP_ERROR_INIT;
  ok(mp_nft_writer_end(writer, &err), &err);
}

/* A rule that accepts what comes in by `tap0`. */
static void write_rule(mp_nft_writer *writer) {
  begin(writer, MP_NFT_RULE, MP_NFT_ADD);
  text(writer, "table", "moon");
  text(writer, "chain", "input");
  enter(writer, "meta");
  number(writer, "key", NFT_META_IIFNAME);
  number(writer, "dreg", NFT_REG_1);
  mp_nft_writer_leave(writer);
  enter(writer, "cmp");
  number(writer, "sreg", NFT_REG_1);
  number(writer, "op", NFT_CMP_EQ);
  text(writer, "data", "tap0");
  mp_nft_writer_leave(writer);
  enter(writer, "immediate");
  number(writer, "dreg", NFT_REG_VERDICT);
  number(writer, "verdict", NF_ACCEPT);
  mp_nft_writer_leave(writer);
  end(writer);
}

static void assert_reads(const mp_buf *messages, const char *expected) {
  mp_error err = MP_ERROR_INIT;
  mp_buf seen = MP_BUF_INIT;
  ok(mp_nft_read(messages->data, messages->len, &visitor, &seen, &err), &err);
  assert_string_equal(seen.data ? seen.data : "", expected);
  mp_buf_free(&seen);
}

/* -- Tests ------------------------------------------------------------------------------------ */

static void a_rule_is_read_as_it_was_written(void **state) {
  (void)state;
  mp_nft_writer *writer = new_writer();
  mp_buf messages;
  write_rule(writer);
  assert_int_equal(mp_nft_writer_count(writer), 1);
  mp_nft_writer_take(writer, &messages);
  assert_reads(&messages, "rule 1: table=`moon` chain=`input` (meta key=6 dreg=1)"
                          " (cmp sreg=1 op=0 data=`tap0`) (immediate dreg=0 verdict=1);");
  mp_buf_free(&messages);
  mp_nft_writer_free(writer);
}

static void a_chain_with_a_hook_is_read_as_it_was_written(void **state) {
  (void)state;
  mp_nft_writer *writer = new_writer();
  mp_buf messages;
  begin(writer, MP_NFT_CHAIN, MP_NFT_ADD);
  text(writer, "table", "moon");
  text(writer, "name", "input");
  text(writer, "type", "filter");
  number(writer, "hook", NF_INET_LOCAL_IN);
  number(writer, "priority", -150);
  number(writer, "policy", NF_DROP);
  end(writer);
  mp_nft_writer_take(writer, &messages);
  assert_reads(&messages, "chain 1: table=`moon` name=`input` hook=1 priority=-150 policy=0"
                          " type=`filter`;");
  mp_buf_free(&messages);
  mp_nft_writer_free(writer);
}

static void many_elements_take_several_messages_of_one_number(void **state) {
  (void)state;
  enum { COUNT = 5000 };
  mp_nft_writer *writer = new_writer();
  mp_buf messages;
  begin(writer, MP_NFT_ELEMENTS, MP_NFT_ADD);
  text(writer, "table", "moon");
  text(writer, "name", "guests");
  for (int i = 0; i < COUNT; i++) {
    char key[16];
    enter(writer, NULL);
    snprintf(key, sizeof key, "%08d", i);
    text(writer, "key", key);
    mp_nft_writer_leave(writer);
  }
  end(writer);
  assert_int_equal(mp_nft_writer_count(writer), 1);
  mp_nft_writer_take(writer, &messages);
  size_t keys = 0, parts = 0;
  for (size_t at = 0; at < messages.len; parts++) {
    const struct nlmsghdr *nlh = (const void *)(messages.data + at);
    assert_int_equal(nlh->nlmsg_seq, 0);
    assert_true(nlh->nlmsg_len < 70000);
    at += NLMSG_ALIGN(nlh->nlmsg_len);
  }
  for (size_t at = 0; at + 8 <= messages.len; at += 4)
    keys += strspn(memcpy((char[9]){0}, messages.data + at, 8), "0123456789") == 8;
  assert_int_equal(keys, COUNT);
  assert_true(parts > 1);
  mp_buf_free(&messages);
  mp_nft_writer_free(writer);
}

static void assert_refuses(mp_nft_writer *writer, int rc, mp_error *err, const char *word) {
  (void)writer;
  assert_int_equal(rc, -1);
  assert_true(mp_error_is(err, MP_INVALID));
  assert_non_null(strstr(err->message, word));
  mp_error_reset(err);
}

static void what_does_not_fit_is_refused_and_not_written(void **state) {
  (void)state;
  mp_nft_writer *writer = new_writer();
  mp_error err = MP_ERROR_INIT;
  char much[300];
  memset(much, 'x', sizeof much);
  begin(writer, MP_NFT_RULE, MP_NFT_ADD);
  assert_refuses(writer, mp_nft_writer_number(writer, "shape", 1, &err), &err, "`shape`");
  assert_refuses(writer, mp_nft_writer_bytes(writer, "table", much, sizeof much, &err), &err,
                 "`table`");
  assert_refuses(writer, mp_nft_writer_bytes(writer, "table", "a\0b", 3, &err), &err, "`table`");
  assert_refuses(writer, mp_nft_writer_number(writer, "table", 1, &err), &err, "`table`");
  assert_refuses(writer, mp_nft_writer_enter(writer, "teleport", &err), &err, "`teleport`");
  assert_refuses(writer, mp_nft_writer_enter(writer, NULL, &err), &err, "belong");
  enter(writer, "cmp");
  assert_refuses(writer, mp_nft_writer_bytes(writer, "data", much, 65, &err), &err, "`data`");
  assert_refuses(writer, mp_nft_writer_number(writer, "op", -1, &err), &err, "`op`");
  assert_refuses(writer, mp_nft_writer_end(writer, &err), &err, "belong");
  mp_buf messages;
  mp_nft_writer_take(writer, &messages);
  assert_int_equal(messages.len, 0);
  mp_nft_writer_free(writer);
}

static void a_message_that_is_cut_off_is_an_error(void **state) {
  (void)state;
  mp_nft_writer *writer = new_writer();
  mp_buf messages;
  write_rule(writer);
  mp_nft_writer_take(writer, &messages);
  for (size_t len = 1; len < messages.len; len++) {
    mp_error err = MP_ERROR_INIT;
    mp_buf seen = MP_BUF_INIT;
    char *copy = memcpy(malloc(len), messages.data, len); /* so that ASan sees its end */
    assert_int_equal(mp_nft_read(copy, len, &visitor, &seen, &err), -1);
    assert_true(mp_error_is(&err, MP_PROTOCOL));
    mp_error_reset(&err);
    mp_buf_free(&seen);
    free(copy);
  }
  mp_buf_free(&messages);
  mp_nft_writer_free(writer);
}

/* What the kernel says of a refused message, with its own words. */
static void append_refusal(mp_buf *to, uint32_t sequence, int errnum, const char *words) {
  size_t words_len = strlen(words) + 1;
  size_t attribute_len = NLA_HDRLEN + words_len;
  struct nlmsghdr nlh = {
      .nlmsg_type = NLMSG_ERROR,
      .nlmsg_flags = NLM_F_CAPPED | NLM_F_ACK_TLVS,
      .nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof(struct nlmsgerr)) + NLA_ALIGN(attribute_len))};
  struct nlmsgerr body = {.error = -errnum, .msg = {.nlmsg_seq = sequence, .nlmsg_len = 400}};
  struct nlattr attribute = {.nla_len = (uint16_t)attribute_len, .nla_type = NLMSGERR_ATTR_MSG};
  mp_buf_append(to, &nlh, sizeof nlh);
  mp_buf_append(to, &body, sizeof body);
  mp_buf_append(to, &attribute, sizeof attribute);
  mp_buf_append(to, words, words_len);
  mp_buf_append(to, "\0\0\0", NLA_ALIGN(attribute_len) - attribute_len);
}

static void a_refusal_names_its_message_and_the_kernels_words(void **state) {
  (void)state;
  mp_buf said = MP_BUF_INIT;
  append_refusal(&said, 7, 2, "no such chain");
  const void *at = said.data;
  size_t left = said.len;
  mp_nft_answer answer;
  assert_true(mp_nft_next_answer(&at, &left, &answer));
  assert_int_equal(answer.said, MP_NFT_ERROR);
  assert_int_equal(answer.errnum, 2);
  assert_int_equal(answer.sequence, 7);
  assert_string_equal(answer.text, "no such chain");
  assert_false(mp_nft_next_answer(&at, &left, &answer));
  mp_buf_free(&said);
}

static void an_event_tells_who_changed_the_rules(void **state) {
  (void)state;
  struct {
    struct nlmsghdr header;
    struct nfgenmsg family;
    struct nlattr id;
    uint32_t number;
    struct nlattr pid;
    uint32_t process;
    struct nlattr name;
    char text[8];
  } message = {
      .header = {.nlmsg_len = sizeof message,
                 .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN,
                 .nlmsg_pid = 99},
      .id = {.nla_len = 8, .nla_type = NFTA_GEN_ID},
      .number = __builtin_bswap32(5),
      .pid = {.nla_len = 8, .nla_type = NFTA_GEN_PROC_PID},
      .process = __builtin_bswap32(1234),
      .name = {.nla_len = 8, .nla_type = NFTA_GEN_PROC_NAME},
      .text = "nft",
  };
  message.header.nlmsg_len -= 4;
  mp_buf messages = MP_BUF_INIT;
  mp_buf_append(&messages, &message, sizeof message);
  mp_buf one = {.data = messages.data, .len = message.header.nlmsg_len};
  assert_reads(&one, "generation 0: port=99 generation=5 pid=1234 process=`nft`;");
  mp_buf_free(&messages);
}

/* -- Traces ----------------------------------------------------------------------------------- */

static void append_attribute(mp_buf *to, unsigned type, const void *data, size_t len) {
  struct nlattr attribute = {.nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = (uint16_t)type};
  mp_buf_append(to, &attribute, sizeof attribute);
  mp_buf_append(to, data, len);
  mp_buf_append(to, "\0\0\0", NLA_ALIGN(len) - len);
}

static void append_u32(mp_buf *to, unsigned type, uint32_t value) {
  value = __builtin_bswap32(value);
  append_attribute(to, type, &value, sizeof value);
}

/* What a rule that leads to another chain says of a packet that came in by interface 3. */
static void append_trace(mp_buf *to) {
  struct {
    struct nlmsghdr header;
    struct nfgenmsg family;
  } head = {.header = {.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE},
            .family = {.nfgen_family = NFPROTO_INET}};
  uint64_t handle = __builtin_bswap64(7);
  mp_buf verdict = MP_BUF_INIT;
  append_u32(&verdict, NFTA_VERDICT_CODE, (uint32_t)NFT_JUMP);
  append_attribute(&verdict, NFTA_VERDICT_CHAIN, "next", 5);
  mp_buf_append(to, &head, sizeof head);
  append_u32(to, NFTA_TRACE_ID, 0xcafe);
  append_u32(to, NFTA_TRACE_TYPE, NFT_TRACETYPE_RULE);
  append_attribute(to, NFTA_TRACE_TABLE, "moon", 5);
  append_attribute(to, NFTA_TRACE_CHAIN, "input", 6);
  append_attribute(to, NFTA_TRACE_RULE_HANDLE, &handle, sizeof handle);
  append_attribute(to, NFTA_TRACE_VERDICT | NLA_F_NESTED, verdict.data, verdict.len);
  append_u32(to, NFTA_TRACE_IIF, 3);
  append_attribute(to, NFTA_TRACE_NETWORK_HEADER, "EIP", 3);
  append_u32(to, NFTA_TRACE_POLICY, NF_ACCEPT);
  append_u32(to, NFTA_TRACE_MAX + 5, 1); /* of a newer kernel */
  ((struct nlmsghdr *)to->data)->nlmsg_len = (uint32_t)to->len;
  mp_buf_free(&verdict);
}

static void a_trace_tells_the_packet_the_rule_and_its_verdict(void **state) {
  (void)state;
  mp_buf messages = MP_BUF_INIT;
  append_trace(&messages);
  assert_reads(&messages, "trace 1: id=51966 type=3 table=`moon` chain=`input` handle=7 verdict=-3"
                          " target=`next` iif=3 network=`EIP` policy=1;");
  mp_buf_free(&messages);
}

static void a_trace_that_is_cut_off_is_an_error(void **state) {
  (void)state;
  mp_buf messages = MP_BUF_INIT;
  append_trace(&messages);
  for (size_t len = 1; len < messages.len; len++) {
    mp_error err = MP_ERROR_INIT;
    mp_buf seen = MP_BUF_INIT;
    char *copy = memcpy(malloc(len), messages.data, len);
    assert_int_equal(mp_nft_read(copy, len, &visitor, &seen, &err), -1);
    mp_error_reset(&err);
    mp_buf_free(&seen);
    free(copy);
  }
  mp_buf_free(&messages);
}

/* Whatever length an attribute claims, nothing behind the message is read. */
static void an_attribute_of_a_trace_may_lie_about_its_length(void **state) {
  (void)state;
  mp_buf messages = MP_BUF_INIT;
  append_trace(&messages);
  for (size_t at = NLMSG_LENGTH(sizeof(struct nfgenmsg)); at + 2 <= messages.len; at += 2) {
    mp_error err = MP_ERROR_INIT;
    mp_buf seen = MP_BUF_INIT;
    char *copy = memcpy(malloc(messages.len), messages.data, messages.len);
    memset(copy + at, 0xff, 2);
    assert_int_equal(mp_nft_read(copy, messages.len, &visitor, &seen, &err), 0);
    mp_buf_free(&seen);
    free(copy);
  }
  mp_buf_free(&messages);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_rule_is_read_as_it_was_written),
      cmocka_unit_test(a_chain_with_a_hook_is_read_as_it_was_written),
      cmocka_unit_test(many_elements_take_several_messages_of_one_number),
      cmocka_unit_test(what_does_not_fit_is_refused_and_not_written),
      cmocka_unit_test(a_message_that_is_cut_off_is_an_error),
      cmocka_unit_test(a_refusal_names_its_message_and_the_kernels_words),
      cmocka_unit_test(an_event_tells_who_changed_the_rules),
      cmocka_unit_test(a_trace_tells_the_packet_the_rule_and_its_verdict),
      cmocka_unit_test(a_trace_that_is_cut_off_is_an_error),
      cmocka_unit_test(an_attribute_of_a_trace_may_lie_about_its_length),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
