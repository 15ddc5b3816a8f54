#include "reader.h"

#include "shapes.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#define NAME_MOST 256
#define NAMES_MOST 1024
#define PARTS_MOST 16

typedef struct {
  const mp_nft_visitor *visitor;
  void *data;
} reading;

/* A stretch of attributes. */
typedef struct {
  const char *at;
  size_t left;
} attributes;

typedef struct {
  unsigned type;
  const char *data;
  size_t len;
} attribute;

/* Takes the next attribute; false at the end and where what is left is none. */
static bool next(attributes *list, attribute *found) {
  struct nlattr header;
  if (list->left < sizeof header)
    return false;
  memcpy(&header, list->at, sizeof header);
  if (header.nla_len < NLA_HDRLEN || header.nla_len > list->left)
    return false;
  *found = (attribute){.type = header.nla_type & NLA_TYPE_MASK,
                       .data = list->at + NLA_HDRLEN,
                       .len = header.nla_len - (size_t)NLA_HDRLEN};
  size_t whole = NLA_ALIGN((size_t)header.nla_len);
  list->at += whole < list->left ? whole : list->left;
  list->left -= whole < list->left ? whole : list->left;
  return true;
}

static attributes inside(const attribute *of) {
  return (attributes){of->data, of->len};
}

static bool find(attributes list, unsigned type, attribute *found) {
  while (next(&list, found)) {
    if (found->type == type)
      return true;
  }
  return false;
}

/* -- Values ----------------------------------------------------------------------------------- */

static uint64_t number_of(const attribute *of) {
  uint64_t number = 0;
  for (size_t i = 0; i < of->len && i < sizeof number; i++)
    number = number << 8 | (unsigned char)of->data[i];
  return number;
}

static void tell_text(const reading *self, const char *name, const attribute *of) {
  self->visitor->bytes(self->data, name, of->data, strnlen(of->data, of->len));
}

static void tell_signed(const reading *self, const char *name, const attribute *of) {
  self->visitor->number(self->data, name, (int32_t)(uint32_t)number_of(of));
}

static void tell_verdict(const reading *self, attributes verdict) {
  attribute part;
  while (next(&verdict, &part)) {
    if (part.type == NFTA_VERDICT_CODE)
      tell_signed(self, "verdict", &part);
    else if (part.type == NFTA_VERDICT_CHAIN)
      tell_text(self, "chain", &part);
  }
}

static void tell_value(const reading *self, const char *name, const attribute *of) {
  attribute part;
  if (find(inside(of), NFTA_DATA_VALUE, &part))
    self->visitor->bytes(self->data, name, part.data, part.len);
  else if (find(inside(of), NFTA_DATA_VERDICT, &part))
    tell_verdict(self, inside(&part));
}

static void tell_names(const reading *self, const char *name, attributes list) {
  char names[NAMES_MOST];
  size_t used = 0;
  attribute part;
  while (next(&list, &part)) {
    size_t len = strnlen(part.data, part.len);
    if (used + len + 1 > sizeof names)
      break;
    memcpy(names + used, part.data, len);
    names[used + len] = '\0';
    used += len + 1;
  }
  if (used > 0)
    self->visitor->bytes(self->data, name, names, used - 1);
}

static void tell_parts(const reading *self, const char *name, attributes list) {
  char sizes[PARTS_MOST];
  size_t count = 0;
  attribute part, len;
  while (next(&list, &part) && count < sizeof sizes) {
    if (find(inside(&part), NFTA_SET_FIELD_LEN, &len))
      sizes[count++] = (char)number_of(&len);
  }
  self->visitor->bytes(self->data, name, sizes, count);
}

/* -- Shapes ----------------------------------------------------------------------------------- */

static void tell_all(const reading *self, const mp_nft_shape *shape, attributes list);

static void tell_expression(const reading *self, attributes parts) {
  char name[NAME_MOST] = "";
  attribute part;
  if (!find(parts, NFTA_EXPR_NAME, &part))
    return;
  size_t len = strnlen(part.data, part.len);
  memcpy(name, part.data, len < sizeof name - 1 ? len : sizeof name - 1);
  self->visitor->enter(self->data, name);
  if (find(parts, NFTA_EXPR_DATA, &part))
    tell_all(self, mp_nft_expression_shape(name), inside(&part));
  self->visitor->leave(self->data);
}

static void tell_expressions(const reading *self, attributes list) {
  attribute part;
  while (next(&list, &part)) {
    if (part.type == NFTA_LIST_ELEM)
      tell_expression(self, inside(&part));
  }
}

static void tell_elements(const reading *self, attributes list) {
  attribute part;
  while (next(&list, &part)) {
    self->visitor->enter(self->data, NULL);
    tell_all(self, mp_nft_element_shape, inside(&part));
    self->visitor->leave(self->data);
  }
}

static void tell(const reading *self, const mp_nft_shape *shape, const attribute *of) {
  switch (shape->reading) {
  case MP_NFT_READ_NUMBER:
    self->visitor->number(self->data, shape->name, (int64_t)number_of(of));
    break;
  case MP_NFT_READ_SIGNED:
    tell_signed(self, shape->name, of);
    break;
  case MP_NFT_READ_TEXT:
    tell_text(self, shape->name, of);
    break;
  case MP_NFT_READ_BYTES:
    self->visitor->bytes(self->data, shape->name, of->data, of->len);
    break;
  case MP_NFT_READ_VALUE:
    tell_value(self, shape->name, of);
    break;
  case MP_NFT_READ_NEST:
    tell_all(self, shape->nest, inside(of));
    break;
  case MP_NFT_READ_EXPRESSION:
    tell_expression(self, inside(of));
    break;
  case MP_NFT_READ_EXPRESSIONS:
    tell_expressions(self, inside(of));
    break;
  case MP_NFT_READ_ELEMENTS:
    tell_elements(self, inside(of));
    break;
  case MP_NFT_READ_NAMES:
    tell_names(self, shape->name, inside(of));
    break;
  case MP_NFT_READ_PARTS:
    tell_parts(self, shape->name, inside(of));
    break;
  }
}

/* The attributes that the shape knows; a newer kernel may send others. */
static void tell_all(const reading *self, const mp_nft_shape *shape, attributes list) {
  attribute part;
  while (next(&list, &part)) {
    for (const mp_nft_shape *each = shape; each->number; each++) {
      if (each->number == part.type)
        tell(self, each, &part);
    }
  }
}

/* What an object holds depends on its type. */
static void tell_counter(const reading *self, attributes list) {
  attribute type, part;
  if (find(list, NFTA_OBJ_TYPE, &type) && number_of(&type) == NFT_OBJECT_COUNTER &&
      find(list, NFTA_OBJ_DATA, &part))
    tell_all(self, mp_nft_counter_shape, inside(&part));
}

/* -- Messages --------------------------------------------------------------------------------- */

static bool kind_of(const struct nlmsghdr *nlh, mp_nft_kind *kind, bool *gone) {
  static const mp_nft_kind kinds[NFT_MSG_MAX + 1] = {
      [NFT_MSG_NEWTABLE] = MP_NFT_TABLE + 1,      [NFT_MSG_DELTABLE] = MP_NFT_TABLE + 1,
      [NFT_MSG_NEWCHAIN] = MP_NFT_CHAIN + 1,      [NFT_MSG_DELCHAIN] = MP_NFT_CHAIN + 1,
      [NFT_MSG_NEWRULE] = MP_NFT_RULE + 1,        [NFT_MSG_DELRULE] = MP_NFT_RULE + 1,
      [NFT_MSG_NEWSET] = MP_NFT_SET + 1,          [NFT_MSG_DELSET] = MP_NFT_SET + 1,
      [NFT_MSG_NEWSETELEM] = MP_NFT_ELEMENTS + 1, [NFT_MSG_DELSETELEM] = MP_NFT_ELEMENTS + 1,
      [NFT_MSG_NEWOBJ] = MP_NFT_OBJECT + 1,       [NFT_MSG_DELOBJ] = MP_NFT_OBJECT + 1,
      [NFT_MSG_NEWGEN] = MP_NFT_GENERATION + 1,   [NFT_MSG_TRACE] = MP_NFT_TRACE + 1,
  };
  unsigned type = NFNL_MSG_TYPE(nlh->nlmsg_type);
  if (NFNL_SUBSYS_ID(nlh->nlmsg_type) != NFNL_SUBSYS_NFTABLES || type > NFT_MSG_MAX ||
      kinds[type] == 0)
    return false;
  *kind = kinds[type] - 1;
  *gone = type == NFT_MSG_DELTABLE || type == NFT_MSG_DELCHAIN || type == NFT_MSG_DELRULE ||
          type == NFT_MSG_DELSET || type == NFT_MSG_DELSETELEM || type == NFT_MSG_DELOBJ;
  return true;
}

static int read_message(const reading *self, const struct nlmsghdr *nlh, mp_error *err) {
  mp_nft_kind kind;
  bool gone;
  size_t header_len = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct nfgenmsg)));
  if (nlh->nlmsg_type < NLMSG_MIN_TYPE || !kind_of(nlh, &kind, &gone))
    return 0;
  if (nlh->nlmsg_len < header_len)
    return mp_error_set(err, "nft", MP_PROTOCOL, "a message of nftables is cut off");
  const struct nfgenmsg *header = (const void *)((const char *)nlh + NLMSG_HDRLEN);
  attributes list = {(const char *)nlh + header_len, nlh->nlmsg_len - header_len};
  self->visitor->begin(self->data, kind, gone, header->nfgen_family);
  self->visitor->number(self->data, "sequence", nlh->nlmsg_seq);
  if (kind == MP_NFT_GENERATION)
    self->visitor->number(self->data, "port", nlh->nlmsg_pid);
  tell_all(self, mp_nft_shapes[kind], list);
  if (kind == MP_NFT_OBJECT)
    tell_counter(self, list);
  self->visitor->end(self->data);
  return 0;
}

/* libmnl's own check takes a length of 2 GiB and more for a negative one. */
static bool is_whole(const struct nlmsghdr *nlh, size_t left) {
  return left >= sizeof *nlh && nlh->nlmsg_len >= sizeof *nlh && nlh->nlmsg_len <= left;
}

int mp_nft_read(const void *bytes, size_t len, const mp_nft_visitor *visitor, void *data,
                mp_error *err) {
  reading self = {.visitor = visitor, .data = data};
  for (size_t at = 0; at < len;) {
    const struct nlmsghdr *nlh = (const void *)((const char *)bytes + at);
    if (!is_whole(nlh, len - at))
      return mp_error_set(err, "nft", MP_PROTOCOL, "a message of nftables is cut off");
    if (read_message(&self, nlh, err) < 0)
      return -1;
    at += NLMSG_ALIGN((size_t)nlh->nlmsg_len);
  }
  return 0;
}

/* -- Answers ---------------------------------------------------------------------------------- */

/* The text is an attribute behind the header of the request, or behind all of it. */
static const char *find_text(const struct nlmsghdr *nlh) {
  const struct nlmsgerr *body = (const void *)((const char *)nlh + NLMSG_HDRLEN);
  size_t at = NLMSG_HDRLEN + sizeof *body;
  if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
    return NULL;
  if (!(nlh->nlmsg_flags & NLM_F_CAPPED) && body->msg.nlmsg_len > NLMSG_HDRLEN)
    at += NLMSG_ALIGN((size_t)body->msg.nlmsg_len - NLMSG_HDRLEN);
  if (at > nlh->nlmsg_len)
    return NULL;
  attribute text;
  bool is_there =
      find((attributes){(const char *)nlh + at, nlh->nlmsg_len - at}, NLMSGERR_ATTR_MSG, &text);
  return is_there && memchr(text.data, '\0', text.len) ? text.data : NULL;
}

/* The kernel's are small and negative; of another one only that it is no success is known. */
static int errnum_of(int error) {
  return error == 0 ? 0 : error < 0 && error > -4096 ? -error : EPROTO;
}

static void look_at_error(const struct nlmsghdr *nlh, mp_nft_answer *answer) {
  const struct nlmsgerr *body = (const void *)((const char *)nlh + NLMSG_HDRLEN);
  if (nlh->nlmsg_len < NLMSG_HDRLEN + sizeof *body)
    return;
  answer->said = MP_NFT_ERROR;
  answer->errnum = errnum_of(body->error);
  answer->sequence = body->msg.nlmsg_seq;
  answer->text = find_text(nlh);
}

/* The end of a list may be an error too. */
static void look_at_end(const struct nlmsghdr *nlh, mp_nft_answer *answer) {
  int errnum = 0;
  if (nlh->nlmsg_len >= NLMSG_HDRLEN + sizeof errnum)
    memcpy(&errnum, (const char *)nlh + NLMSG_HDRLEN, sizeof errnum);
  answer->said = MP_NFT_DONE;
  answer->errnum = errnum < 0 ? errnum_of(errnum) : 0;
  answer->sequence = nlh->nlmsg_seq;
}

bool mp_nft_next_answer(const void **bytes, size_t *len, mp_nft_answer *answer) {
  const struct nlmsghdr *nlh = *bytes;
  if (!is_whole(nlh, *len))
    return false;
  size_t whole = NLMSG_ALIGN((size_t)nlh->nlmsg_len);
  *answer = (mp_nft_answer){.interrupted = (nlh->nlmsg_flags & NLM_F_DUMP_INTR) != 0};
  if (nlh->nlmsg_type == NLMSG_ERROR)
    look_at_error(nlh, answer);
  else if (nlh->nlmsg_type == NLMSG_DONE)
    look_at_end(nlh, answer);
  *bytes = (const char *)*bytes + (whole < *len ? whole : *len);
  *len -= whole < *len ? whole : *len;
  return true;
}
