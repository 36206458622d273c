#!/usr/bin/env bash
# Breaks one rule of the way out and expects its test to notice.
#
#   tests/break.sh 6       the rule with this number
#   tests/break.sh all     one after another
#
# Each `tests/break/NN-*.patch` says its rule, the test that holds it, and a line or two that break it. The
# patch is applied to the working tree, which must not hold changes of your own in `src`; the test is run, must
# be red, and the tree is put back. The exit code is 0 when every test was red: a test that stays green holds
# no rule, and one that does not compile or does not exist says nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

# A broken rule may hang its test. Building is not counted.
readonly TEST_SECONDS_MAX=60

broken=""
restore() {
  if [[ -n $broken ]]; then git apply --reverse "$broken"; broken=""; fi
}
trap restore EXIT

break_rule() {
  local patch=$1 test
  test=$(sed -n 's/^Test: //p' "$patch")
  echo "== $(basename "$patch" .patch): $(sed -n 's/^Rule: //p' "$patch")"
  git apply "$patch" || return 1
  broken=$patch
  local result=red output
  # The flags are several words on purpose. Examples are built too: some tests start them.
  # shellcheck disable=SC2086
  if ! cargo test --quiet --features full --no-run ${test% *} 2>/dev/null || ! build_examples "$test"; then
    result="does not build"
  elif output=$(timeout "$TEST_SECONDS_MAX" cargo test --quiet --features full $test -- --exact 2>&1); then
    if grep -q "^running 1 test" <<<"$output"; then result=GREEN; else result="no such test"; fi
  fi
  restore
  echo "   $result: $test"
  [[ $result == red ]]
}

build_examples() {
  [[ $1 != *shop::* ]] || cargo build --quiet --features full --examples 2>/dev/null
}

[[ $# -gt 0 ]] || { sed -n '2,5p' "$0"; exit 2; }
git diff --quiet -- src || { echo "src holds changes: commit or stash them first" >&2; exit 2; }
if [[ $1 == all ]]; then set -- $(ls tests/break/*.patch | sed 's|.*/\([0-9]*\)-.*|\1|'); fi
failed=0
for number in "$@"; do
  patch=$(printf 'tests/break/%02d-' "$((10#$number))")
  patch=$(ls "$patch"*.patch 2>/dev/null) || { echo "no rule $number" >&2; exit 2; }
  break_rule "$patch" || failed=1
done
exit "$failed"
