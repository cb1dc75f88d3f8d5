#!/usr/bin/env bash
# Is the working tree slower than BASE (a commit, a branch, a tag)? Builds both, runs `octobert bench` of both in turns,
# prints the ratios with their spread, and ends with 1 if a shape is more than 3 % slower beyond the noise.
#
#   bench/compare.sh main
#   bench/compare.sh HEAD~3 --shapes 1x16,8x128 --threads 1,2 --scheme dynamic,float --rounds 40
#   bench/compare.sh main --isa scalar,avx2
#   bench/compare.sh main --instructions          counts instructions (callgrind) instead: steady on noisy machines
#   bench/compare.sh --help
#
# Everything goes to build/compare (OCTOBERT_COMPARE_WORK).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
work=${OCTOBERT_COMPARE_WORK:-$root/build/compare}

die() {
  echo "bench/compare.sh: $*" >&2
  exit 2
}

# Configures and builds the command of a source tree.
build() {
  local source=$1 directory=$2
  echo "building $source" >&2
  cmake -S "$source" -B "$directory" -DCMAKE_BUILD_TYPE=Release -DOCTOBERT_TESTS=OFF >"$directory.log" 2>&1 &&
    cmake --build "$directory" --parallel "$(nproc)" --target octobert_cli >>"$directory.log" 2>&1 ||
    die "$source does not build: see $directory.log"
}

case ${1:-} in
  "" | -h | --help) exec python3 "$here/compare.py" --help ;;
  -*) die "the first argument is the commit to compare with, found $1" ;;
esac
commit=$(git -C "$root" rev-parse --verify --quiet "$1^{commit}") || die "$1 is not a commit here"
shift

mkdir -p "$work"
source=$work/source-$commit
if [[ ! -d $source ]]; then
  rm -rf "$source.unfinished"
  mkdir "$source.unfinished"
  git -C "$root" archive "$commit" | tar -x -C "$source.unfinished"
  mv "$source.unfinished" "$source"
fi
build "$source" "$work/base-$commit"
build "$root" "$work/head"
exec python3 "$here/compare.py" --base "$work/base-$commit/bin/octobert" --head "$work/head/bin/octobert" \
  --work "$work" "$@"
