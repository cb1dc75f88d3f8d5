#!/usr/bin/env bash
# clang-tidy 14 with .clang-tidy over every C++ file of a build folder made with clang (its compile_commands.json).
#   scripts/check_tidy.sh [BUILD_FOLDER]    default: build-clang, which is configured if it is not there
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
folder=${1:-build-clang}
[[ -f $folder/compile_commands.json ]] || cmake --preset clang -B "$folder" "${CMAKE_ARGUMENTS[@]}" > /dev/null
stamps=$folder/tidy
mkdir -p "$stamps"

# A file whose text, with everything that it includes, has not changed since it passed is not looked at again.
export folder stamps
check_one() {
  local file=$1 key
  key=$({ cat .clang-tidy; [[ $file != tests/* ]] || cat tests/.clang-tidy; clang++-14 -std=c++20 -I. -Iinclude -E -P -DOCTOBERT_VERSION='""' "$file" 2> /dev/null || cat "$file"; } | sha256sum | cut -c1-32)
  [[ -f $stamps/$key ]] && return 0
  clang-tidy-14 --quiet -p "$folder" "$file" 2> /dev/null && touch "$stamps/$key"
}
export -f check_one

python3 - "$folder/compile_commands.json" <<'PY' | xargs -P "$JOBS" -I{} bash -c 'check_one {}'
import json, os, sys
root = os.getcwd() + "/"
files = {e["file"] for e in json.load(open(sys.argv[1]))}
print("\n".join(sorted(f[len(root):] for f in files if f.startswith(root) and "/build" not in f)))
PY
