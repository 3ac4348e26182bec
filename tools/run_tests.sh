# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2154 # root, logs and results are set by ./dev
# ./dev test. Each suite leaves JUnit XML under build/results, and tools/count_tests.py adds it up.
# Sourced by ./dev.

# suite NAME COMMAND…: runs one suite. A runner that fails without a failed test to show for it (it
# crashed, or collected nothing) counts as one failure: its exit code stands beside the XML.
suite() {
  local name=$1 code=0 begin=$EPOCHSECONDS
  shift
  step "$name"
  mkdir -p "$logs"
  log_progress "$logs/$name.log" &
  local watcher=$!
  "$@" >"$logs/$name.log" 2>&1 </dev/null || code=$?
  kill "$watcher" 2>/dev/null
  wait "$watcher" 2>/dev/null || true
  echo "$code" >"$results/$name.exit"
  /usr/bin/python3 tools/count_tests.py --suite "$results/$name.xml"
  note "$((EPOCHSECONDS - begin)) s; build/log/$name.log"
}

unit_tests() {
  local preset=$1
  ctest --test-dir "build/$preset" -j "$(nproc)" --output-on-failure --no-tests=error \
    --output-junit "$results/unit-$preset.xml"
}

run_pytest() {
  local name=$1
  shift
  /usr/bin/python3 -m pytest -p no:cacheprovider -q -ra --junit-xml="$results/$name.xml" "$@"
}

system_tests() {
  local preset=$1 jobs=$((2 * test_jobs)) # mostly they wait for something
  shift
  SHUNT_BUILD=$root/build/$preset run_pytest "system-$preset" -n "$jobs" tests/system "$@"
}

# What is timed has the machine to itself.
timed_tests() {
  local preset=$1
  shift
  SHUNT_BUILD=$root/build/$preset run_pytest "timed-$preset" -m figures tests/system "$@"
}

# A report of a sanitizer ends the program with a code that no test expects.
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:exitcode=99
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:exitcode=99

# build_or_count PRESET [TARGET…]: a build that fails counts as a failed test.
build_or_count() {
  build "$@" && return
  echo 1 >"$results/build-$1.exit"
  return 1
}

long_suites() {
  if build_or_count asan-ubsan; then
    suite unit-asan-ubsan unit_tests asan-ubsan
    suite system-asan-ubsan system_tests asan-ubsan
  fi
  if build_or_count tsan; then
    suite unit-tsan unit_tests tsan
    # TSan has a thread of its own from the start, and only a process of one thread may make a user
    # namespace (unshare(2)). Root's run is the same threads without one.
    suite system-tsan system_tests tsan -m threads -k "not run-as-user"
  fi
  if build_or_count fuzz fuzzers; then
    suite fuzz run_pytest fuzz -n "$test_jobs" tests/fuzz
  fi
}

command_test() {
  local long=() sets=(build demo test)
  case ${1-} in
    '') ;;
    --long)
      long=(--long)
      sets+=(long)
      ;;
    *) fail "./dev test [--long]" ;;
  esac
  ensure_packages "${sets[@]}" || true
  require /usr/bin/python3
  test_jobs=$(($(nproc) > 2 ? $(nproc) : 2))
  rm -rf "$results"
  mkdir -p "$results"
  build release
  suite lint run_pytest lint tests/lint "${long[@]}"
  suite unit-release unit_tests release
  suite system-release system_tests release -m 'not figures' "${long[@]}"
  suite timed-release timed_tests release "${long[@]}"
  ((${#long[@]} == 0)) || long_suites
  /usr/bin/python3 tools/count_tests.py --total "$results" --allowed tests/allowed_skips.txt
}
