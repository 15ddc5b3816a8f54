# moonport-embedded: the Lua files that travel inside the binary (lua/embed.h).
#
# A file's name is what `require` and the recipe loader know it by. A new file under stdlib/ or
# recipes/ is picked up by the next build without a word here.

find_program(LUA_EXECUTABLE NAMES lua5.4 lua54 REQUIRED)

# mp_embed_tree(LIST-VARIABLE root prefix): adds every *.lua below `root`, named relative to it.
function(mp_embed_tree entries root prefix)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE "${root}" "${root}/*.lua")
  foreach(source IN LISTS sources)
    list(APPEND ${entries} "${prefix}${source}\t${root}/${source}")
  endforeach()
  set(${entries} "${${entries}}" PARENT_SCOPE)
endfunction()

set(MP_EMBED_ENTRIES)
mp_embed_tree(MP_EMBED_ENTRIES "${PROJECT_SOURCE_DIR}/stdlib" "")
mp_embed_tree(MP_EMBED_ENTRIES "${PROJECT_SOURCE_DIR}/recipes" "recipes/")
list(APPEND MP_EMBED_ENTRIES "argparse.lua\t${VENDOR_ARGPARSE_LUA}")

list(JOIN MP_EMBED_ENTRIES "\n" MP_EMBED_TEXT)
set(MP_EMBED_LIST "${CMAKE_CURRENT_BINARY_DIR}/embedded.list")
# Rewritten only when it differs, so that an unchanged set of files rebuilds nothing.
file(CONFIGURE OUTPUT "${MP_EMBED_LIST}" CONTENT "${MP_EMBED_TEXT}\n" @ONLY)
list(TRANSFORM MP_EMBED_ENTRIES REPLACE "^[^\t]+\t" "" OUTPUT_VARIABLE MP_EMBED_SOURCES)

add_custom_command(
  OUTPUT embedded.c
  COMMAND ${LUA_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/embed.lua ${MP_EMBED_LIST} embedded.c
  DEPENDS embed.lua ${MP_EMBED_LIST} ${MP_EMBED_SOURCES}
  COMMENT "Embedding the stdlib and the recipes"
  VERBATIM)
add_library(moonport-embedded STATIC ${CMAKE_CURRENT_BINARY_DIR}/embedded.c)
target_include_directories(moonport-embedded PUBLIC ${PROJECT_SOURCE_DIR})
