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

# What a build leaves out takes its Lua along.
set(MP_EMBED_OMITTED "^$")
if(NOT MP_KUBE)
  string(APPEND MP_EMBED_OMITTED "|(^|stdlib/)moonport/(kube|container)(/|\\.lua)")
  string(APPEND MP_EMBED_OMITTED "|^recipes/targets/container\\.lua")
endif()
if(NOT MP_VM)
  string(APPEND MP_EMBED_OMITTED "|(^|stdlib/)moonport/(netlink|nft|vm|hypervisor)(/|\\.lua)")
  string(APPEND MP_EMBED_OMITTED "|^recipes/targets/hypervisor\\.lua")
endif()

set(MP_EMBED_ENTRIES)
mp_embed_tree(MP_EMBED_ENTRIES "${PROJECT_SOURCE_DIR}/stdlib" "")
mp_embed_tree(MP_EMBED_ENTRIES "${PROJECT_SOURCE_DIR}/recipes" "recipes/")
list(FILTER MP_EMBED_ENTRIES EXCLUDE REGEX "${MP_EMBED_OMITTED}")
list(APPEND MP_EMBED_ENTRIES "argparse.lua\t${VENDOR_ARGPARSE_LUA}")

# moonport/version.lua: the project's version, as text.
set(MP_VERSION_OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/version.lua")
file(CONFIGURE OUTPUT "${MP_VERSION_OUTPUT}" CONTENT "return \"${PROJECT_VERSION}\"\n" @ONLY)
list(APPEND MP_EMBED_ENTRIES "moonport/version.lua\t${MP_VERSION_OUTPUT}")

# moonport/apidoc.lua: the documentation comments, for `.doc` at the prompt.
file(GLOB_RECURSE MP_API_SOURCES CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}"
     "${PROJECT_SOURCE_DIR}/stdlib/*.lua" "${CMAKE_CURRENT_SOURCE_DIR}/*.c")
list(FILTER MP_API_SOURCES EXCLUDE REGEX "${MP_EMBED_OMITTED}")
list(JOIN MP_API_SOURCES "\n" MP_API_TEXT)
set(MP_API_LIST "${CMAKE_CURRENT_BINARY_DIR}/apidoc.list")
# These lists are rewritten only when they differ, so that an unchanged set of files rebuilds nothing.
file(CONFIGURE OUTPUT "${MP_API_LIST}" CONTENT "${MP_API_TEXT}\n" @ONLY)
list(TRANSFORM MP_API_SOURCES PREPEND "${PROJECT_SOURCE_DIR}/" OUTPUT_VARIABLE MP_API_PATHS)
set(MP_API_OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/apidoc.lua")
add_custom_command(
  OUTPUT ${MP_API_OUTPUT}
  COMMAND ${LUA_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/apidoc.lua ${MP_API_LIST} ${MP_API_OUTPUT}
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
  DEPENDS apidoc.lua ${MP_API_LIST} ${MP_API_PATHS}
  COMMENT "Collecting the API's documentation"
  VERBATIM)
list(APPEND MP_EMBED_ENTRIES "moonport/apidoc.lua\t${MP_API_OUTPUT}")

list(JOIN MP_EMBED_ENTRIES "\n" MP_EMBED_TEXT)
set(MP_EMBED_LIST "${CMAKE_CURRENT_BINARY_DIR}/embedded.list")
file(CONFIGURE OUTPUT "${MP_EMBED_LIST}" CONTENT "${MP_EMBED_TEXT}\n" @ONLY)
list(TRANSFORM MP_EMBED_ENTRIES REPLACE "^[^\t]+\t" "" OUTPUT_VARIABLE MP_EMBED_SOURCES)

# Compiled by the library that moonport is linked with, where that runs here.
if(CMAKE_CROSSCOMPILING)
  set(MP_EMBEDDER ${LUA_EXECUTABLE})
else()
  add_executable(moonport-embedder embedder.c)
  target_link_libraries(moonport-embedder PRIVATE vendor::lua)
  set_target_properties(moonport-embedder PROPERTIES
                        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  set(MP_EMBEDDER moonport-embedder)
endif()
add_custom_command(
  OUTPUT embedded.c
  COMMAND ${MP_EMBEDDER} ${CMAKE_CURRENT_SOURCE_DIR}/embed.lua ${MP_EMBED_LIST} embedded.c
  DEPENDS embed.lua ${MP_EMBED_LIST} ${MP_EMBED_SOURCES}
  COMMENT "Embedding the stdlib and the recipes"
  VERBATIM)
add_library(moonport-embedded STATIC ${CMAKE_CURRENT_BINARY_DIR}/embedded.c)
target_include_directories(moonport-embedded PUBLIC ${PROJECT_SOURCE_DIR})
set_target_properties(moonport-embedded PROPERTIES C_CLANG_TIDY "")

# `ninja docs`: the reference as HTML. LDoc wants one Lua module per file, so what the bindings say
# reaches it as comments in Lua.
find_program(LDOC_EXECUTABLE ldoc)
if(LDOC_EXECUTABLE)
  set(MP_LDOC_FROM_C "${CMAKE_CURRENT_BINARY_DIR}/ldoc")
  configure_file(${PROJECT_SOURCE_DIR}/docs/config.ld.in ${MP_LDOC_FROM_C}/config.ld @ONLY)
  add_custom_target(docs
    COMMAND ${LUA_EXECUTABLE} lua/apidoc.lua ${MP_API_LIST} --ldoc ${MP_LDOC_FROM_C}
    COMMAND ${LDOC_EXECUTABLE} --quiet --fatalwarnings --config ${MP_LDOC_FROM_C}/config.ld .
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    COMMENT "Generating docs/reference"
    VERBATIM)
endif()

if(MP_TESTS)
  add_test(NAME runtime.unit.every_public_function_is_documented
    COMMAND ${LUA_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/apidoc.lua ${MP_API_LIST} --check
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endif()
