# Sourced by tests/run: what of the log of a failed suite says which tests failed, and how. A machine that builds this
# shows the end of a log alone, and the end seldom has the name.
# shellcheck shell=bash

# Lines that are shown of a suite, and of one test of Rust; characters of a line.
FAILURE_LINES=160
FAILURE_LINES_EACH=12
FAILURE_WIDTH=400

# failures NAME LOG
failures() {
  local name=$1 log=$2
  case $name in
    rust | lint | build | production) _rust_failures "$log" ;;
    python | deploy | conformance) grep --extended-regexp '^(FAILED|ERROR) |^E  |^compare: ' "$log" ;;
    node | console | contracts | chain) _node_failures "$log" ;;
    schemathesis) grep --extended-regexp '❌|^_+ (GET|POST|PUT|PATCH|DELETE) |^ *- ' "$log" ;;
    k6) grep --extended-regexp '^  FAILED ' "$log" ;;
    *) grep --extended-regexp --ignore-case '^error|failed|refused' "$log" ;;
  esac | cut --characters "1-$FAILURE_WIDTH" | head --lines "$FAILURE_LINES"
}

# First the names, of all programs of tests; then what each said, without the frames of its backtrace; then what the
# compiler refused.
_rust_failures() {
  sed -nE 's/^test (.*) \.\.\. FAILED$/failed: \1/p' "$1"
  awk -v each="$FAILURE_LINES_EACH" '
    /^---- .* stdout ----$/ { left = each; print; next }
    /^(failures:|test result:|stack backtrace:|running [0-9]+ tests?$| +Running | +Doc-tests )/ { left = 0 }
    /^error(\[E[0-9]+\])?: / { left = /test failed|targets? failed/ ? 1 : 6 }
    left > 0 && NF { print; left-- }
  ' "$1"
}

# The summary at the end says all of it again, with its errors.
_node_failures() {
  awk '
    /^✖ failing tests:/ { summary = 1 }
    summary && NF && !/^ +at / { print; found = 1 }
    !summary && /^ *✖ / { early[++count] = $0 }
    END { if (!found) for (i = 1; i <= count; i++) print early[i] }
  ' "$1"
}
