#!/usr/bin/env bash
# Builds the tests for AArch64 and runs them under qemu on three kinds of CPU, so that dispatch itself is tested:
#   scripts/test_arm.sh [RESULTS.xml]    writes RESULTS.CPU.PROGRAM.xml
# Packed files that were made on x86-64 must give their logits bit for bit: tests/data/format, and the bundled model
# where there is a Release build of the command to pack it with.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source scripts/emulation.sh
folder=build-arm
prefix=${1:-$folder/results/arm.xml}
prefix=${prefix%.xml}
mkdir -p "$(dirname "$prefix")"

cmake -S . -B "$folder" "${CMAKE_ARGUMENTS[@]}" -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake \
  -DCMAKE_BUILD_TYPE=Release -DOCTOBERT_TOOLS=OFF -DOCTOBERT_WERROR=ON > "$folder.configure.txt" 2>&1 ||
  { cat "$folder.configure.txt"; exit 1; }
mv "$folder.configure.txt" "$folder/configure.txt"
run_quietly "building for AArch64" cmake --build "$folder" -j "$JOBS"

filter_of() {
  case $1 in
    thread_pool_test) echo '-ForkTest.*' ;; # see below
    *) echo '*' ;;
  esac
}

# One exported symbol, no constructor, no spill: by the cross compiler's tools, on the objects.
run_quietly isa_symbols ctest --test-dir "$folder" -R '^isa_symbols$' --no-tests=error --output-on-failure \
  --output-junit "$(realpath "$(dirname "$prefix")")/$(basename "$prefix").symbols.xml" || failures=$((failures + 1))

# "plugins/core.c:221: assertion failed: (success)"
skip ForkTest "qemu-user 7.2 aborts where the child of a process with threads starts a thread; these tests run natively"
programs=("$folder"/bin/*_test)
# The bundled model, packed by this machine's Release build.
packer=build-release/bin/octobert
if [[ -x $packer ]]; then
  export OCTOBERT_TEST_PACKED=$folder/packed
  mkdir -p "$OCTOBERT_TEST_PACKED"
  for scheme in dynamic weight-only float; do
    "$packer" convert models/minilm-ner --scheme "$scheme" --quiet -o "$OCTOBERT_TEST_PACKED/$scheme.octo"
  done
  python3 scripts/make_random_checkpoint.py "$folder/tiny" --shape tiny --seed 7 # the others are for a small model's time
  for arguments in "--scheme static --calibrate builtin" "--weight-bits 4" "--weight-bits 4 --codebook"; do
    name=${arguments//[ -]/}
    # shellcheck disable=SC2086 # several words each
    "$packer" convert "$folder/tiny" $arguments --quiet -o "$OCTOBERT_TEST_PACKED/$name.octo"
  done
fi
emulator=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
test_cpu cortex-a57 neon "${emulator[@]}"
test_cpu neoverse-n1 neon_dotprod "${emulator[@]}"
test_cpu max neon_i8mm "${emulator[@]}"
exit $((failures > 0))
