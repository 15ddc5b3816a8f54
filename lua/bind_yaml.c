/*** YAML, as Kubernetes and people write it.
 *
 * Values are those of `moonport.json`: marked arrays, `null`, exact numbers, string keys, so that
 * what is read here can be encoded there. Words without quotes mean what YAML 1.2's core schema
 * says: `true`, `null`, `12`, `0x1f`, `1.5`, `.inf`; `yes`, `on` and `2026-01-31` are strings. As
 * in Kubernetes, a leading 0 makes an octal number: `0644`. Anchors, aliases and merge keys (`<<`)
 * are resolved into copies. Tags other than the core schema's and `!!binary` are errors.
 *
 * Writing uses blocks, literal ones for text of several lines, and quotes every string that some
 * reader could take for something else; a string that is not UTF-8 becomes `!!binary`.
 * @module moonport.yaml
 */
#include "bind_yaml.h"

#include "json.h"
#include "yaml.h"

#include <lauxlib.h>

/*** Decodes one document. A text without any gives `null`; more than one is an error.
 * @function decode
 * @tparam string text
 * @tparam[opt] table options `source`: the file's name, for errors; `order=true`: mappings remember
 *   the order of their keys, which `pairs` and `encode` then follow
 * @treturn any
 * @raise kind "yaml": code "syntax", "duplicate" (a key that appears twice), "alias", "tag",
 * "merge", "key", "utf8", "documents", "limit"; with `line`, `column` and `source`
 */

/*** Decodes all documents of a text. Those with nothing in them are passed over.
 * @function decode_all
 * @tparam string text
 * @tparam[opt] table options as for `decode`
 * @treturn table the documents
 */

/*** Encodes a value as one document. Keys are sorted by bytes, but for mappings that remember an
 * order.
 * @function encode
 * @tparam any value
 * @tparam[opt] table options `indent`: spaces for each level (2)
 * @treturn string
 * @raise kind "yaml": code "type", "mixed", "utf8", "secret", "limit", "duplicate", "number"
 */

/*** Encodes a list of values as documents, each begun with `---`.
 * @function encode_all
 * @tparam table values
 * @tparam[opt] table options as for `encode`
 * @treturn string
 */

int luaopen_moonport_yaml(lua_State *L) {
  static const luaL_Reg functions[] = {{"decode", yaml_decode},
                                       {"decode_all", yaml_decode_all},
                                       {"encode", yaml_encode},
                                       {"encode_all", yaml_encode_all},
                                       {NULL, NULL}};
  json_make_metatables(L);
  luaL_newlib(L, functions);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  return 1;
}
