# Sourced after paths.sh by scripts that run servers beside a command. All that was started ends with the script.
# shellcheck shell=bash

RUN=$(mktemp -d "${TMPDIR:-/tmp}/mulberry-run.XXXXXX")
_processes=()

_stop_all() {
  # The latest first, so that nothing loses the server it talks to.
  local at
  for ((at = ${#_processes[@]} - 1; at >= 0; at--)); do
    kill "${_processes[at]}" 2>/dev/null || true
    wait "${_processes[at]}" 2>/dev/null || true
  done
  rm -rf "$RUN"
}
trap _stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND [ARGUMENT...]: in the background, with its output in $RUN/NAME.out and $RUN/NAME.err.
start() {
  local name=$1
  shift
  # Read from before the process has opened them.
  touch "$RUN/$name.out" "$RUN/$name.err"
  "$@" >"$RUN/$name.out" 2>"$RUN/$name.err" &
  _processes+=($!)
  STARTED=$!
}

# said NAME out|err REGEX: waits until a line of the process matches, and prints what the group caught.
said() {
  local name=$1 stream=$2 regex=$3 line
  for ((tries = 0; tries < 800; tries++)); do
    line=$(sed -nE "s/.*$regex.*/\1/p" "$RUN/$name.$stream" | head -n 1)
    if [[ -n $line ]]; then
      echo "$line"
      return
    fi
    sleep 0.05
  done
  echo "${0##*/}: $name did not start:" >&2
  tail -n 20 "$RUN/$name.out" "$RUN/$name.err" >&2
  return 1
}
