#!/usr/bin/env bash
# octobert beside the engines that a user could pick, in one run: builds octobert, installs the peers (pinned) into an
# environment of their own, exports the same weights to each, measures all in turns, prints a Markdown report.
#
#   bench/peers/run.sh                     everything: about three hours, 16 GB of disk and of memory
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

# Installs everything; where that fails, one by one, so that a peer that cannot be had is a line of the report and not
# the end of the run.
install_peers() {
  local environment=$1 pip=("$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all:)
  "${pip[@]}" -r "$here/requirements.txt" && return
  echo "not all can be installed together: one by one" >&2
  local requirement message
  while read -r requirement; do
    message=$("${pip[@]}" "$requirement" 2>&1) ||
      echo "$requirement: $(grep ERROR <<<"$message" | tail -1)" | tee -a "$environment/not-installed.txt" >&2
  done < <(sed 's/#.*//; /^ *$/d' "$here/requirements.txt")
}

# The environment is complete when its copy of the requirements is there: it is written last.
make_environment() {
  local environment=$work/venv base=$python
  if [[ -n ${OCTOBERT_PEERS_PYTHON:-} ]]; then return; fi
  python=$environment/bin/python
  if cmp -s "$here/requirements.txt" "$environment/requirements.txt"; then return; fi
  echo "installing the peers into $environment" >&2
  rm -rf "$environment"
  "$base" -m venv "$environment" || die "python3.11 cannot make an environment (apt: python3.11-venv)"
  install_peers "$environment"
  cp "$here/requirements.txt" "$environment/requirements.txt"
}

build_octobert() {
  local options=(-DCMAKE_BUILD_TYPE=Release -DOCTOBERT_BENCH=ON -DOCTOBERT_TESTS=OFF)
  cmake -S "$root" -B "$build" "${options[@]}" >"$work/build.log" 2>&1 ||
    die "octobert cannot be configured: see $work/build.log"
  cmake --build "$build" --parallel "$(nproc)" --target "$@" >>"$work/build.log" 2>&1 ||
    die "octobert does not build: see $work/build.log (--peers-only measures the others)"
}

python=${OCTOBERT_PEERS_PYTHON:-$(command -v python3.11)} || die "needs Python 3.11 with venv (apt: python3.11-venv)"
peers() {
  PYTHONPATH=$here/.. "$python" -m peers --work "$work" --build "$build" "$@"
}

# Help, an earlier report and a wrong argument need no more than Python: they come before all that is installed.
case " $* " in
  *" --help "* | *" -h "* | *" --report"*)
    peers "$@"
    exit
    ;;
esac
peers --check "$@"
mkdir -p "$work"
make_environment
case " $* " in
  *" --peers-only "*) build_octobert peers_peak_probe ;;
  *) build_octobert octobert_cli octobert_shared peers_peak_probe peers_text_probe ;;
esac
peers "$@"
