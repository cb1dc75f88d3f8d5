#!/usr/bin/env bash
# Every C++ file is formatted as clang-format 14 does with .clang-format. `check_format.sh --fix` formats them.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
mode=(--dry-run --Werror)
[[ ${1:-} == --fix ]] && mode=(-i)
find include kernels tokenizer engine converter apps tests bench examples -name '*.cpp' -o -name '*.h' | sort |
  xargs -P "$JOBS" -n 20 clang-format-14 "${mode[@]}"
