#!/bin/bash
# Progress at the bottom of a real terminal, and questions asked there.
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tests/e2e/check.sh
. "$here/check.sh"
# shellcheck source=tests/e2e/terminal.sh
. "$here/terminal.sh"
need tmux

cat >work.lua <<'LUA'
local fs, task, ui = require "moonport.fs", require "moonport.task", require "moonport.ui"

-- Until the test has seen enough.
local function wait_for(name)
  while not fs.exists(name) do task.sleep(0.02) end
end

task.all {
  function()
    ui.progress("pulling", function(progress)
      progress:say("layer 3")
      progress:advance(30, 40)
      wait_for("seen")
      print("a line meanwhile")
      io.stderr:write("and ", "another\n")
      wait_for("seen-too")
    end)
  end,
  function()
    try(ui.progress, "booting", function()
      wait_for("seen-too")
      error("no kernel")
    end)
  end,
}
ui.progress("soon done", function() end)
print(ui.confirm("go on?"), ui.confirm("sure?", { default = true }))
ui.table({ { name = ("n"):rep(100), n = 1 } }, { "name", { "n", align = "right" } })
LUA

terminal_start 50 20 "LC_ALL=C.UTF-8 \"\$MOONPORT\" run work.lua; echo left with \$?; exec cat"

it "moves lines at the bottom while work goes on"
see '. pulling   75 %  layer 3  [0-9.]+ s'
see '. booting  .*'

it "keeps them below what is printed"
touch seen
see 'a line meanwhile'
see 'and another'
wait_until screen_count 2 '^. (pulling|booting)' 2
check_equal "lines that move" "$(screen | grep -cE '^. (pulling|booting)')" 2

it "leaves one line about each in the end, and none of work that was short"
touch seen-too
see 'pulling: done in [0-9.]+ s'
see 'booting: failed after [0-9.]+ s'
check_equal "lines that still move" "$(screen | grep -cE '^. (pulling|booting)')" 0
check_equal "lines about short work" "$(screen | grep -c 'soon done')" 0

it "asks until the answer is yes or no"
see_last 'go on? [y/N]'
type_text 'perhaps'
press Enter
wait_until screen_count 2 'go on\?'
type_text 'yes'
press Enter
see_last 'sure? [Y/n]'
press Enter
see 'true +true'

it "fits tables to the width"
see 'N+AME +N'
see 'n{46}…  1'
see 'left with 0'

done_testing
