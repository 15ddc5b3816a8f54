local M = {
  summary = "Print the completion script of a shell",
  description = "Prints a script with which a shell completes commands, options, services, "
    .. "revisions and manifests. The package installs it; by hand, put it where the shell looks.",
  example = "source <(moonport completion bash)\n"
    .. "moonport completion zsh >~/.zfunc/_moonport\n"
    .. "moonport completion fish >~/.config/fish/completions/moonport.fish",
}

local function configure(parser)
  parser:argument("shell", "bash, zsh or fish."):choices({ "bash", "zsh", "fish" })
end

local SCRIPTS = {}

SCRIPTS.bash = [==[
# bash completion of moonport; see `moonport completion --help`.
_moonport() {
  local word=${COMP_WORDS[COMP_CWORD]} line
  local -a lines paths
  local program=${COMP_WORDS[0]/#\~/$HOME}
  mapfile -t lines < <("$program" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  COMPREPLY=()
  for line in "${lines[@]}"; do
    case $line in
      :files)
        compopt -o filenames
        mapfile -t paths < <(compgen -f -- "$word")
        COMPREPLY+=("${paths[@]}")
        ;;
      :dirs)
        compopt -o filenames
        mapfile -t paths < <(compgen -d -- "$word")
        COMPREPLY+=("${paths[@]}")
        ;;
      *)
        line=${line%%$'\t'*}
        [[ $line != *= ]] || compopt -o nospace
        COMPREPLY+=("$line")
        ;;
    esac
  done
}
complete -F _moonport moonport
]==]

SCRIPTS.zsh = [==[
#compdef moonport
# zsh completion of moonport; see `moonport completion --help`.
_moonport() {
  local line word
  local -a plain open
  local program=${words[1]/#\~/$HOME}
  for line in "${(@f)$("$program" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    word=${line%%$'\t'*}
    case $line in
      '') ;;
      :files) _files ;;
      :dirs) _files -/ ;;
      *)
        word=${word//:/\\:}
        [[ $line == *$'\t'* ]] && word="$word:${line#*$'\t'}"
        if [[ $line == *=$'\t'* ]]; then open+=("$word"); else plain+=("$word"); fi
        ;;
    esac
  done
  (( $#plain )) && _describe moonport plain
  (( $#open )) && _describe moonport open -S ''
  return 0
}
if [[ $funcstack[1] == _moonport ]]; then
  _moonport "$@"
else
  compdef _moonport moonport
fi
]==]

SCRIPTS.fish = [==[
# fish completion of moonport; see `moonport completion --help`.
function __moonport_complete
    set -l word (commandline -ct)
    set -l words (commandline -opc) "$word"
    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path "$word"
            case ':dirs'
                __fish_complete_directories "$word"
            case '*'
                echo $line
        end
    end
end
complete -c moonport -f -a '(__moonport_complete)'
]==]

local function run(args)
  require("moonport.ui").print((SCRIPTS[args.shell]:gsub("\n$", "")))
end

M.configure, M.run = configure, run

return M
