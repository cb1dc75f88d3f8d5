# shellcheck shell=bash
# Sourced by the other scripts: where things are, how many jobs, which compiler.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
JOBS=${JOBS:-$(nproc)}
# Ubuntu 22.04's default g++ is 11; the code needs 12.
GXX=${GXX:-$(command -v g++-12 || command -v g++ || true)}

# Arguments for cmake that every build folder of the scripts gets.
CMAKE_ARGUMENTS=(-G Ninja)
if command -v ccache > /dev/null; then
  CMAKE_ARGUMENTS+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi

# A heading, bold on a terminal.
heading() {
  if [[ -t 1 && -z ${NO_COLOR:-} ]]; then printf '\n\033[1m== %s ==\033[0m\n' "$*"; else printf '\n== %s ==\n' "$*"; fi
}

# run_quietly NAME COMMAND...: its output only if it fails.
run_quietly() {
  local name=$1 log
  shift
  log=$(mktemp)
  if "$@" > "$log" 2>&1; then
    rm -f "$log"
  else
    cat "$log" >&2
    rm -f "$log"
    echo "$name failed" >&2
    return 1
  fi
}
