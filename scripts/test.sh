#!/usr/bin/env bash
# Builds and runs every test:  scripts/test.sh [--quick]
#   --quick   g++ Release alone, without the tests that are labelled slow
# Every step runs even if an earlier one failed; the last lines say what passed, failed and was skipped.
# Environment: JOBS (default: all cores), GXX (the g++ to use).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
quick=false
for argument in "$@"; do
  case $argument in
    --quick) quick=true ;;
    *) echo "usage: scripts/test.sh [--quick]" >&2; exit 2 ;;
  esac
done

results=$ROOT/build-results # one JUnit file a ctest run, one line of steps.txt a step
rm -rf "$results"
mkdir -p "$results"
export CTEST_OUTPUT_ON_FAILURE=1 CTEST_PARALLEL_LEVEL=$JOBS
# Sanitizers: a report ends the test.
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1

# step NAME COMMAND...: runs it, notes how it went and how long it took.
step() {
  local name=$1 begin=$SECONDS status=passed
  shift
  heading "$name"
  "$@" || status=FAILED
  printf '%s\t%s\t%d\n' "$name" "$status" $((SECONDS - begin)) >> "$results/steps.txt"
  [[ $status == passed ]] || echo "== $name FAILED =="
}

# build PRESET [TARGET...]
build() {
  local preset=$1 compiler=()
  shift
  case $preset in release | debug) compiler=("-DCMAKE_CXX_COMPILER=$GXX") ;; esac
  cmake --preset "$preset" "${CMAKE_ARGUMENTS[@]}" "${compiler[@]}" > "$results/$preset.configure.txt" 2>&1 ||
    { cat "$results/$preset.configure.txt"; return 1; }
  cmake --build "build-$preset" -j "$JOBS" ${1:+--target "$@"} -- -k 0 # all errors, not the first alone
}

# run_ctest NAME FOLDER [CTEST ARGUMENTS...]
run_ctest() {
  local name=$1 folder=$2
  shift 2
  ctest --test-dir "$folder" --output-junit "$results/$name.xml" --no-tests=error "$@"
}

build_and_test() { # PRESET [CTEST ARGUMENTS...]
  local preset=$1
  shift
  build "$preset" && run_ctest "$preset" "build-$preset" "$@"
}

# The parts where threads meet.
tsan() {
  build tsan thread_pool_test engine_test && run_ctest tsan build-tsan -R '^(ThreadPool|ParallelFor|Threads/|Engine)'
}

step "set-up" scripts/setup.sh
if $quick; then
  step "g++ Release" build_and_test release -LE slow
else
  step "g++ Release" build_and_test release
  step "clang Release" build_and_test clang -LE slow
  # Without optimization these take a quarter of an hour; every other build runs them.
  unoptimized='^(EntityGoldens\.AllOfShared|Analyze\.TenMegabytes|cli\.(files|streams)$)'
  step "g++ Debug, without $unoptimized" build_and_test debug -LE slow -E "$unoptimized"
  step "address and undefined-behaviour sanitizers, fuzz targets" build_and_test asan-ubsan -E '^(Accuracy|Recovery|Size|Each/Calibrated)\.'
  step "thread sanitizer" tsan
  step "ARM under qemu" scripts/test_arm.sh "$results/arm.xml"
  step "old x86 under qemu" scripts/test_old_x86.sh "$results/old_x86.xml"
  step "clang-tidy" scripts/check_tidy.sh build-clang
fi
python3 scripts/summarize_tests.py "$results"
