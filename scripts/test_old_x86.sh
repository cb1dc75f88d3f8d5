#!/usr/bin/env bash
# Runs the Release build's tests under qemu on x86-64 CPUs without AVX and without VNNI: the baseline must start
# anywhere, and dispatch must choose what the CPU has.
#   scripts/test_old_x86.sh [RESULTS.xml]    writes RESULTS.CPU.PROGRAM.xml
# qemu 7.2 emulates no AVX-512: VNNI is tested natively.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source scripts/emulation.sh
if [[ $(uname -m) != x86_64 ]]; then
  echo "SKIPPED: old x86: needs an x86-64 machine"
  exit 0
fi
folder=build-release
prefix=${1:-$folder/results/old_x86.xml}
prefix=${prefix%.xml}
mkdir -p "$(dirname "$prefix")"
names=(cpu_test fp_guard_test kernels_test format_test)

[[ -f $folder/build.ninja ]] || cmake --preset release "${CMAKE_ARGUMENTS[@]}" "-DCMAKE_CXX_COMPILER=$GXX" > /dev/null
run_quietly "building" cmake --build "$folder" -j "$JOBS" --target "${names[@]}" octobert_cli

filter_of() {
  case $1 in
    # Without FMA in the CPU the scalar kernels call the C library's, under emulation: minutes for a real model's sizes.
    # The ragged shapes run the same code.
    kernels_test) echo '-*BertShapes*' ;;
    *) echo '*' ;;
  esac
}

# The command itself starts, chooses the same table, and gets a packed file's tokens and logits right.
run_command() { # CPU TABLE
  local used
  used=$(qemu-x86_64 -cpu "$1" "$folder/bin/octobert" info 2> /dev/null | sed -n 's/^used: *//p') || true
  if [[ $used == "$2" ]] && run_quietly "octobert verify on $1" \
    qemu-x86_64 -cpu "$1" "$folder/bin/octobert" verify tests/data/format/v1.octo; then
    echo "octobert             info, verify: passed"
  else
    echo "octobert on $1 FAILED: it uses '$used', expected '$2'"
    failures=$((failures + 1))
  fi
}

export OCTOBERT_TEST_READABLE_GUARDS=1 # see tests/guard_buffer.h
programs=("${names[@]/#/$folder/bin/}")
for pair in "Nehalem scalar" "Haswell avx2"; do
  read -r cpu table <<< "$pair"
  test_cpu "$cpu" "$table" qemu-x86_64
  run_command "$cpu" "$table"
done
exit $((failures > 0))
