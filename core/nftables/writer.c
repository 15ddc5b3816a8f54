#include "writer.h"

#include "core/mem.h"
#include "objects.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

/* An attribute that nests holds 64 KiB at most; whatever stands beside it is far below as much. */
#define MESSAGE_MOST (160u << 10)
#define EXPRESSIONS_MOST 128 /* of a rule, for the kernel */
#define DEVICES_MOST 64

struct mp_nft_writer {
  const mp_nft_api *api;
  mp_buf messages;
  uint32_t count;
  char *scratch; /* one message */
  mp_nft_kind kind;
  mp_nft_action action;
  unsigned family;
  void *object;                   /* of the message that is being written, or NULL */
  struct nftnl_set_elem *element; /* within it, or NULL */
  struct nftnl_expr *expression;  /* within these, or NULL */
  const mp_nft_expression *shape;
  unsigned expressions;
};

mp_nft_action mp_nft_action_named(const char *name) {
  static const char *const names[] = {"add", "create", "insert", "replace", "delete", "list"};
  mp_nft_action action = 0;
  while (action < MP_NFT_ACTIONS && strcmp(names[action], name) != 0)
    action++;
  return action;
}

mp_nft_writer *mp_nft_writer_new(mp_error *err) {
  const mp_nft_api *api = mp_nft_load(err);
  if (!api)
    return NULL;
  mp_nft_writer *self = mp_alloc(sizeof *self);
  self->api = api;
  return self;
}

/* An element is the set's, and an expression its rule's, as soon as they are complete. */
static void drop(mp_nft_writer *self) {
  if (self->expression)
    self->api->expr_free(mp_steal(self->expression));
  if (self->element)
    self->api->set_elem_free(mp_steal(self->element));
  if (self->object)
    mp_nft_object_free(self->api, self->kind, mp_steal(self->object));
  self->expressions = 0;
}

void mp_nft_writer_free(mp_nft_writer *self) {
  if (!self)
    return;
  drop(self);
  mp_buf_free(&self->messages);
  free(self->scratch);
  free(self);
}

uint32_t mp_nft_writer_count(const mp_nft_writer *self) {
  return self->count;
}

void mp_nft_writer_take(mp_nft_writer *self, mp_buf *messages) {
  *messages = self->messages;
  self->messages = MP_BUF_INIT;
  self->count = 0;
}

int mp_nft_writer_begin(mp_nft_writer *self, mp_nft_kind kind, mp_nft_action action,
                        unsigned family, mp_error *err) {
  if (kind >= MP_NFT_GENERATION || action >= MP_NFT_ACTIONS || family > NFPROTO_NUMPROTO)
    return mp_error_set(err, "nft", MP_INVALID, "no message is of this kind, action and family");
  drop(self);
  self->kind = kind;
  self->action = action;
  self->family = family;
  self->object = mp_nft_object_new(self->api, kind);
  return 0;
}

/* -- Attributes ------------------------------------------------------------------------------- */

static const mp_nft_field *field_of(const mp_nft_writer *self, const char *name, mp_error *err) {
  const char *what = self->expression ? self->shape->name
                     : self->element  ? "element"
                                      : mp_nft_kind_names[self->kind];
  const mp_nft_field *fields = self->expression ? self->shape->fields
                               : self->element  ? mp_nft_element_fields
                                                : mp_nft_fields_of(self->kind);
  const mp_nft_field *field = mp_nft_field_named(fields, name);
  if (!field)
    mp_error_set(err, "nft", MP_INVALID, "a message's `%s` has no attribute `%s`", what, name);
  return field;
}

static int refuse(const mp_nft_field *field, mp_error *err) {
  return mp_error_set(err, "nft", MP_INVALID,
                      "a message's `%s` cannot be this long or of this type", field->name);
}

static int set(mp_nft_writer *self, const mp_nft_field *field, const void *data, uint32_t len,
               mp_error *err) {
  int rc;
  if (self->expression)
    rc = self->api->expr_set(self->expression, field->number, data, len);
  else if (self->element)
    rc = self->api->set_elem_set(self->element, field->number, data, len);
  else
    rc = mp_nft_object_set(self->api, self->kind, self->object, field->number, data, len);
  return rc < 0 ? refuse(field, err) : 0;
}

int mp_nft_writer_number(mp_nft_writer *self, const char *name, int64_t value, mp_error *err) {
  const mp_nft_field *field = field_of(self, name, err);
  if (!field)
    return -1;
  uint8_t u8 = (uint8_t)value;
  uint16_t u16 = (uint16_t)value;
  uint32_t u32 = (uint32_t)value;
  switch (field->type) {
  case MP_NFT_U8:
    return u8 == value ? set(self, field, &u8, sizeof u8, err) : refuse(field, err);
  case MP_NFT_U16:
    return u16 == value ? set(self, field, &u16, sizeof u16, err) : refuse(field, err);
  case MP_NFT_U32:
    return u32 == value ? set(self, field, &u32, sizeof u32, err) : refuse(field, err);
  case MP_NFT_S32:
    return (int32_t)value == value ? set(self, field, &u32, sizeof u32, err) : refuse(field, err);
  case MP_NFT_U64:
    return set(self, field, &value, sizeof value, err);
  default:
    return refuse(field, err);
  }
}

static int set_names(mp_nft_writer *self, const mp_nft_field *field, char *names, size_t len,
                     mp_error *err) {
  const char *list[DEVICES_MOST + 1] = {0};
  size_t count = 0;
  for (char *at = names; at < names + len; at += strlen(at) + 1) {
    if (count == DEVICES_MOST)
      return refuse(field, err);
    list[count++] = at;
  }
  return self->api->chain_set_array(self->object, field->number, list) < 0 ? refuse(field, err) : 0;
}

int mp_nft_writer_bytes(mp_nft_writer *self, const char *name, const void *data, size_t len,
                        mp_error *err) {
  const mp_nft_field *field = field_of(self, name, err);
  if (!field)
    return -1;
  if (field->type < MP_NFT_TEXT || len > mp_nft_field_limit(field) || len == 0)
    return refuse(field, err);
  if (field->type == MP_NFT_DATA || field->type == MP_NFT_BYTES)
    return set(self, field, data, (uint32_t)len, err);
  if (field->type == MP_NFT_TEXT && memchr(data, '\0', len))
    return refuse(field, err);
  mp_auto_free char *text = mp_memdup(data, len);
  if (field->type == MP_NFT_NAMES)
    return set_names(self, field, text, len, err);
  return set(self, field, text, (uint32_t)len + 1, err);
}

/* -- Elements and expressions ------------------------------------------------------------------ */

static int misplaced(mp_error *err) {
  return mp_error_set(err, "nft", MP_INVALID, "an element or expression does not belong there");
}

static int enter_element(mp_nft_writer *self, mp_error *err) {
  if (self->kind != MP_NFT_ELEMENTS || self->element || self->expression)
    return misplaced(err);
  self->element = mp_nft_made(self->api->set_elem_alloc());
  self->expressions = 0;
  return 0;
}

static bool takes_expressions(const mp_nft_writer *self) {
  return self->kind == MP_NFT_RULE || self->kind == MP_NFT_SET || self->element;
}

int mp_nft_writer_enter(mp_nft_writer *self, const char *name, mp_error *err) {
  if (!name)
    return enter_element(self, err);
  if (self->expression || !takes_expressions(self))
    return misplaced(err);
  if (++self->expressions > EXPRESSIONS_MOST)
    return mp_error_set(err, "nft", MP_LIMIT, "a rule has at most %d expressions",
                        EXPRESSIONS_MOST);
  self->shape = mp_nft_expression_named(name);
  self->expression = self->shape ? self->api->expr_alloc(name) : NULL;
  if (!self->expression)
    return mp_error_set(err, "nft", MP_INVALID, "there is no expression `%s`", name);
  return 0;
}

void mp_nft_writer_leave(mp_nft_writer *self) {
  if (self->expression && self->element)
    self->api->set_elem_add_expr(self->element, mp_steal(self->expression));
  else if (self->expression && self->kind == MP_NFT_RULE)
    self->api->rule_add_expr(self->object, mp_steal(self->expression));
  else if (self->expression)
    self->api->set_add_expr(self->object, mp_steal(self->expression));
  else if (self->element)
    self->api->set_elem_add(self->object, mp_steal(self->element));
}

/* -- Messages --------------------------------------------------------------------------------- */

static uint16_t message_type(const mp_nft_writer *self) {
  static const uint16_t types[MP_NFT_GENERATION] = {NFT_MSG_NEWTABLE,   NFT_MSG_NEWCHAIN,
                                                    NFT_MSG_NEWRULE,    NFT_MSG_NEWSET,
                                                    NFT_MSG_NEWSETELEM, NFT_MSG_NEWOBJ};
  /* GET and DEL follow NEW for each kind. */
  int step = self->action == MP_NFT_LIST ? 1 : self->action == MP_NFT_DELETE ? 2 : 0;
  return (NFNL_SUBSYS_NFTABLES << 8) | (types[self->kind] + step);
}

static uint16_t message_flags(const mp_nft_writer *self) {
  static const uint16_t flags[MP_NFT_ACTIONS] = {[MP_NFT_ADD] = NLM_F_CREATE,
                                                 [MP_NFT_CREATE] = NLM_F_CREATE | NLM_F_EXCL,
                                                 [MP_NFT_INSERT] = NLM_F_CREATE,
                                                 [MP_NFT_REPLACE] = NLM_F_REPLACE,
                                                 [MP_NFT_LIST] = NLM_F_DUMP};
  bool appended = self->kind == MP_NFT_RULE && self->action <= MP_NFT_CREATE;
  return flags[self->action] | (appended ? NLM_F_APPEND : 0);
}

static struct nlmsghdr *start(mp_nft_writer *self) {
  if (!self->scratch)
    self->scratch = mp_alloc(MESSAGE_MOST);
  return self->api->nlmsg_build_hdr(self->scratch, message_type(self), self->family,
                                    message_flags(self), self->count);
}

static void finish(mp_nft_writer *self, const struct nlmsghdr *nlh) {
  mp_buf_append(&self->messages, nlh, NLMSG_ALIGN(nlh->nlmsg_len));
}

static void write_elements(mp_nft_writer *self) {
  struct nftnl_set_elems_iter *iter = mp_nft_made(self->api->set_elems_iter_create(self->object));
  int more;
  do {
    struct nlmsghdr *nlh = start(self);
    more = self->api->set_elems_nlmsg_build_payload_iter(nlh, iter);
    finish(self, nlh);
  } while (more > 0);
  self->api->set_elems_iter_destroy(iter);
}

int mp_nft_writer_end(mp_nft_writer *self, mp_error *err) {
  if (!self->object || self->expression || self->element)
    return misplaced(err);
  bool elements = self->kind == MP_NFT_ELEMENTS && self->action != MP_NFT_LIST;
  if (elements) {
    write_elements(self);
  } else {
    struct nlmsghdr *nlh = start(self);
    mp_nft_object_build(self->api, self->kind, self->object, nlh);
    finish(self, nlh);
  }
  self->count++;
  drop(self);
  return 0;
}
