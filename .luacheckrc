std = "lua54"
max_line_length = 100
unused_secondaries = false
include_files = { "**/*.lua", ".luacheckrc" }
exclude_files = { "build*/" }

-- What a script, a recipe, a hook and a line at the prompt find without `require`. Modules of the
-- stdlib ask for what they use.
local given = { "mp", "task", "try", "secret", "recipe", "log" }
files["stdlib/**/*.lua"] = { read_globals = { "try" } }
files["lua/embed.lua"] = { read_globals = { "lua_ident" } }
files["recipes/**/*.lua"] = { read_globals = given }
files["docs/examples/**/*.lua"] = { read_globals = given }
files["tests/fixtures/**/*.lua"] = { read_globals = given }
files["tests/bench/**/*.lua"] = { read_globals = given }
files["**/hooks.lua"] = { read_globals = { "on" } }
files["tests/spec/**/*.lua"] = { std = "+busted", read_globals = given }
files["tests/e2e/**/*.lua"] = { std = "+busted", read_globals = given }
