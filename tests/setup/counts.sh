# Sourced by tests/run: from the log of a suite to how much passed.
# shellcheck shell=bash

# counts NAME LOG STATUS: sets passed, failed and skipped. A suite that exits with a failure has at least one, and so
# has a suite of which nothing ran.
counts() {
  local name=$1 log=$2 status=$3
  passed=0 failed=0 skipped=0
  case $name in
    rust) _sum "$log" 'test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored.*' ;;
    python | deploy) _pytest "$log" ;;
    node | console | contracts | chain) _node "$log" ;;
    conformance)
      _pytest "$log"
      # The comparison of what was sent and what arrived is one check more.
      if grep --quiet '^compare: .* 0 differ$' "$log"; then ((passed += 1)); elif grep --quiet '^compare: ' "$log"; then ((failed += 1)); fi
      ;;
    schemathesis)
      # Operations, not requests. One that fails does so in a phase or more.
      local tested
      tested=$(_last "$log" 's/^ *Tested: ([0-9]+)$/\1/p')
      failed=$(sed -nE 's/.*❌ +([0-9]+) failed.*/\1/p' "$log" | sort -n | tail -n 1)
      ((failed = ${failed:-0}, passed = tested - failed))
      ;;
    k6)
      # Thresholds; the checks are one of them.
      passed=$(grep --count --extended-regexp '^  ok     ' "$log")
      failed=$(grep --count --extended-regexp '^  FAILED ' "$log")
      ;;
    # Preparation is no test, unless it fails.
    system | build | setup)
      if ((status != 0)); then failed=1; fi
      return
      ;;
    # Those that say yes or no.
    *) if ((status == 0)) && ! grep --quiet '^skipped: ' "$log"; then passed=1; fi ;;
  esac
  if ((status == 0)) && grep --quiet --extended-regexp '^([a-z/-]+: )?skipped[,:] ' "$log"; then ((skipped += 1)); fi
  if ((failed == 0)) && ((status != 0 || passed + skipped == 0)); then failed=1; fi
}

# _last LOG SED: what the last matching line says, or 0.
_last() {
  local found
  found=$(sed -nE "$2" "$1" | tail -n 1)
  echo "${found:-0}"
}

# _sum LOG REGEX: adds up lines that have the three numbers as groups.
_sum() {
  local a b c
  while read -r a b c; do
    ((passed += a, failed += b, skipped += c))
  done < <(sed -nE "s/^$2\$/\1 \2 \3/p" "$1")
}

# The last line of pytest: "1 failed, 124 passed, 2 skipped, 1 error in 6.54s".
_pytest() {
  local line word
  line=$(grep --extended-regexp '^[0-9]+ (failed|passed|skipped|error).* in [0-9.]+s' "$1" | tail -n 1)
  for word in passed failed skipped errors; do
    local count
    count=$(sed -nE "s/.*\b([0-9]+) ${word%s}s?\b.*/\1/p" <<<"$line")
    case $word in
      passed) ((passed += ${count:-0})) ;;
      skipped) ((skipped += ${count:-0})) ;;
      *) ((failed += ${count:-0})) ;;
    esac
  done
}

_node() {
  passed=$(_last "$1" 's/^ℹ pass ([0-9]+)$/\1/p')
  skipped=$(_last "$1" 's/^ℹ skipped ([0-9]+)$/\1/p')
  # A test that ran out of time is cancelled, not failed.
  failed=$(($(_last "$1" 's/^ℹ fail ([0-9]+)$/\1/p') + $(_last "$1" 's/^ℹ cancelled ([0-9]+)$/\1/p')))
}
