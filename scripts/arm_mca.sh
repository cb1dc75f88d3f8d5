#!/usr/bin/env bash
# How near the ARM kernels' inner loops come to what the cores can issue, by llvm-mca 19's models and, for the cores that it
# models by others, by their published widths:  scripts/arm_mca.sh
# No ARM machine is needed. Needs llvm-19, which has neoverse-v2. Fails below 90 % of the issue limit, or where products are less
# than that of the bound by widths.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
scripts/setup.sh
command -v llvm-mca-19 > /dev/null || scripts/setup.sh --bench
command -v llvm-mca-19 > /dev/null || { echo "arm_mca.sh needs llvm-mca-19 (apt: llvm-19)" >&2; exit 1; }
folder=build-mca
mkdir -p "$folder"
flags=(-std=c++20 -O3 -ffp-contract=off -fPIC -fvisibility=hidden -I. -S)
declare -A march=([neon]=armv8-a [neon_dotprod]=armv8.2-a+dotprod [neon_i8mm]=armv8.2-a+dotprod+i8mm)
files=()
for unit in neon neon_dotprod neon_i8mm; do
  for compiler in g++ clang; do
    out=$folder/$unit.$compiler.s
    case $compiler in
      g++) command=(aarch64-linux-gnu-g++) ;;
      clang) command=(clang++-14 --target=aarch64-linux-gnu) ;;
    esac
    "${command[@]}" "${flags[@]}" "-march=${march[$unit]}" "kernels/$unit.cpp" -o "$out"
    files+=("$unit:$compiler=$out")
  done
done
python3 scripts/mca_loops.py llvm-mca-19 "${files[@]}"
