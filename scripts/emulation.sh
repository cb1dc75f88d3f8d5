# shellcheck shell=bash
# Sourced by test_arm.sh and test_old_x86.sh after common.sh: test programs under emulated CPUs, counted.
# Results go to $prefix.CPU.PROGRAM.xml (GoogleTest's JUnit), which summarize_tests.py adds up.
failures=0

# skip NAME REASON: a loud skip, counted.
skip() {
  echo "SKIPPED: $1: $2"
  printf '<testsuites><testsuite name="%s"><testcase name="%s"><skipped message="%s"/></testcase></testsuite></testsuites>\n' \
    "$1" "$1" "$2" > "$prefix.$1.xml"
}

# run_test CPU PROGRAM EMULATOR...: one test program; its whole output only if it fails. filter_of (the sourcing
# script's) says what GoogleTest is to run of it.
run_test() {
  local cpu=$1 program=$2 name log
  shift 2
  name=$(basename "$program")
  log=$(mktemp)
  if timeout 1800 "$@" "$program" --gtest_brief=1 "--gtest_filter=$(filter_of "$name")" \
    "--gtest_output=xml:$prefix.$cpu.$name.xml" > "$log" 2>&1; then
    printf '%-20s %s\n' "$name" "$(sed -n 's/^\[  \(PASSED\|SKIPPED\) *\] \([0-9]* tests\?\).*/\2 \L\1/p' "$log" | paste -sd, | sed 's/,/, /')"
  else
    echo "== $name on $cpu FAILED (exit status $?) =="
    cat "$log"
    failures=$((failures + 1))
  fi
  rm -f "$log"
}

# test_cpu CPU TABLE EMULATOR...: every program of ${programs[@]} on one CPU, whose best table must be TABLE.
test_cpu() {
  local cpu=$1 table=$2 program models
  shift 2
  models=$("$1" -cpu help || true) # its exit status is 1
  if ! grep -qE "(^|[[:space:]])$cpu([[:space:]]|\$)" <<< "$models"; then
    skip "$cpu" "$1 has no CPU model $cpu"
    return
  fi
  heading "$cpu, which must choose $table"
  for program in "${programs[@]}"; do
    OCTOBERT_TEST_EXPECT_ISA=$table run_test "$cpu" "$program" "$@" -cpu "$cpu"
  done
}
