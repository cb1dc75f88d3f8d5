#!/usr/bin/env bash
# Instructions a token of the ARM kernels, counted under qemu (no ARM machine is needed):
#   scripts/arm_instructions.sh MODEL.octo [TOKENS]    default: 128 tokens
# Make MODEL.octo with: build-release/bin/octobert convert models/minilm-ner -o MODEL.octo
# One thread; calls are counted by difference, so that opening the file is not in it.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
(($# >= 1)) || { sed -n '2,5s/^# //p' "$0"; exit 2; }
model=$1
tokens=${2:-128}
scripts/setup.sh
folder=build-arm
run_quietly "configuring" cmake -S . -B "$folder" "${CMAKE_ARGUMENTS[@]}" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DOCTOBERT_TOOLS=OFF
run_quietly "building" cmake --build "$folder" -j "$JOBS" --target octobert
compiler=$(sed -n 's/^OCTOBERT_CROSS_CXX:[A-Z]*=//p' "$folder/CMakeCache.txt")
"$compiler" -std=c++20 -O2 -Iinclude bench/arm/forward.cpp "$folder/liboctobert.a" -pthread -o "$folder/forward"
clang-14 -O2 -fPIC -shared bench/arm/qemu_insn_count.c -o "$folder/libqemu_insn_count.so"

# count CPU CALLS
count() {
  qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu "$1" -plugin "$folder/libqemu_insn_count.so" -d plugin \
    "$folder/forward" "$model" "$tokens" "$2" 2>&1 | sed -n 's/^instructions: //p'
}
printf '%-14s %-14s %14s\n' CPU table "instr. a token"
for pair in "cortex-a57 neon" "neoverse-n1 neon_dotprod" "max neon_i8mm"; do
  read -r cpu table <<< "$pair"
  one=$(count "$cpu" 1)
  two=$(count "$cpu" 2)
  printf '%-14s %-14s %14d\n' "$cpu" "$table" $(((two - one) / tokens))
done
