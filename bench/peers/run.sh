#!/usr/bin/env bash
# octobert beside the engines that a user could pick, in one run: builds octobert, installs the peers (pinned) into an
# environment of their own, exports the same weights to each, measures all in turns, prints a Markdown report.
#
#   bench/peers/run.sh                     everything: about two hours, 8 GB of disk, 16 GB of memory
#   bench/peers/run.sh --quick             does it all run? some minutes
#   bench/peers/run.sh --help              models, cells, engines, threads, parts to choose from
#   bench/peers/run.sh --report F.json     the report of an earlier run again
#
# Everything goes to build/peers (OCTOBERT_PEERS_WORK). The machine should have nothing else to do: figures that
# something else disturbed are marked. OCTOBERT_PEERS_PYTHON names an interpreter that has the packages already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${OCTOBERT_PEERS_WORK:-$root/build/peers}
build=${OCTOBERT_PEERS_BUILD:-$work/octobert}

die() {
  echo "bench/peers/run.sh: $*" >&2
  exit 1
}

# The environment is complete when its copy of the requirements is there: it is written last.
make_environment() {
  local environment=$work/venv base
  if [[ -n ${OCTOBERT_PEERS_PYTHON:-} ]]; then
    python=$OCTOBERT_PEERS_PYTHON
    return
  fi
  python=$environment/bin/python
  if cmp -s "$here/requirements.txt" "$environment/requirements.txt"; then return; fi
  base=$(command -v python3.11) || die "needs Python 3.11 with venv (apt: python3.11-venv)"
  echo "installing the peers into $environment" >&2
  rm -rf "$environment"
  "$base" -m venv "$environment" || die "python3.11 cannot make an environment (apt: python3.11-venv)"
  "$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$environment/requirements.txt"
}

build_octobert() {
  cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DOCTOBERT_BENCH=ON -DOCTOBERT_TESTS=OFF >"$work/build.log"
  cmake --build "$build" --parallel "$(nproc)" --target "$@" >>"$work/build.log" ||
    die "octobert does not build: see $work/build.log (--peers-only measures the others)"
}

mkdir -p "$work"
make_environment
case " $* " in
  *" --help "* | *" -h "* | *" --report "*) ;;
  *" --peers-only "*) build_octobert peers_peak_probe ;;
  *) build_octobert octobert_cli octobert_shared peers_peak_probe peers_text_probe ;;
esac
export PYTHONPATH=$here/..
exec "$python" -m peers --work "$work" --build "$build" "$@"
