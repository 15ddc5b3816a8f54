#include "unit.h"

#include "core/hash.h"

typedef struct {
  const char *name, *text, *hex;
} vector;

/* FIPS 180-2 appendices and RFC 1321 A.5. */
static const vector vectors[] = {
    {"sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"sha512", "abc",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {"sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {"md5", "message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
};

static void published_vectors_hold_at_every_split(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    const vector *v = &vectors[i];
    mp_hash_kind kind;
    assert_true(mp_hash_find(v->name, &kind));
    assert_string_equal(mp_hash_name(kind), v->name);
    assert_int_equal(2 * mp_hash_size(kind), strlen(v->hex));
    for (size_t cut = 0; cut <= strlen(v->text); cut++) {
      mp_hash hash;
      char hex[MP_HASH_HEX_MAX];
      mp_hash_init(&hash, kind);
      mp_hash_update(&hash, v->text, cut);
      mp_hash copy = hash;
      mp_hash_update(&copy, v->text + cut, strlen(v->text) - cut);
      mp_hash_final_hex(&copy, hex);
      assert_string_equal(hex, v->hex);
    }
  }
}

static void an_unknown_name_is_no_hash(void **state) {
  (void)state;
  mp_hash_kind kind;
  assert_false(mp_hash_find("sha3", &kind));
  assert_false(mp_hash_find("SHA256", &kind));
}

static void a_finished_hash_begins_anew(void **state) {
  (void)state;
  mp_hash hash;
  char first[MP_HASH_HEX_MAX], second[MP_HASH_HEX_MAX];
  mp_hash_init(&hash, MP_HASH_SHA256);
  mp_hash_update(&hash, "abc", 3);
  mp_hash_final_hex(&hash, first);
  mp_hash_update(&hash, "abc", 3);
  mp_hash_final_hex(&hash, second);
  assert_string_equal(first, second);
}

/* RFC 4231, test case 2. */
static void hmac_agrees_with_the_rfc(void **state) {
  (void)state;
  mp_hmac hmac;
  uint8_t digest[MP_HMAC_SIZE];
  char hex[2 * MP_HMAC_SIZE + 1];
  mp_hmac_init(&hmac, "Jefe", 4);
  mp_hmac_update(&hmac, "what do ya want ", 16);
  mp_hmac_update(&hmac, "for nothing?", 12);
  mp_hmac_final(&hmac, digest);
  mp_hex(digest, sizeof digest, hex);
  assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_vectors_hold_at_every_split),
      cmocka_unit_test(an_unknown_name_is_no_hash),
      cmocka_unit_test(a_finished_hash_begins_anew),
      cmocka_unit_test(hmac_agrees_with_the_rfc),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
