#!/usr/bin/env bash
# Installs what the build and the tests need from the system's packages (Debian 12, Ubuntu 22.04 and later).
#   scripts/setup.sh          all of it
#   scripts/setup.sh --build  what building the library and the command needs
#   scripts/setup.sh --bench  all of it, and what only some of the measurements need: callgrind, perf, llvm-mca, Python's venv.
#                             Ubuntu has not all of these: what apt does not know is named and left out
# Quick when everything is there; uses sudo only if something is missing and it is not run by root.
case ${1:-} in
  "" | --build | --bench) ;;
  *) sed -n '2,7s/^# //p' "$0" >&2; exit 2 ;;
esac
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build=(g++-12 cmake ninja-build python3 libcli11-dev libfmt-dev nlohmann-json3-dev libxxhash-dev libssl-dev)
tests=(ccache clang-14 clang-tidy-14 clang-format-14 libgtest-dev googletest libbenchmark-dev libdnnl-dev zlib1g-dev binutils
       g++-12-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user)
bench=(valgrind linux-perf llvm-19 python3.11-venv)
# Where clang's sanitizer and fuzzer runtimes are: a package of its own in Debian 12, in libclang-common in Ubuntu 22.04.
either=(libclang-rt-14-dev libclang-common-14-dev)

wanted=("${build[@]}")
[[ ${1:-} == --build ]] || wanted+=("${tests[@]}")

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null) == installed ]]; }

missing=()
for package in "${wanted[@]}"; do is_installed "$package" || missing+=("$package"); done
optional_missing=()
if [[ ${1:-} == --bench ]]; then
  for package in "${bench[@]}"; do is_installed "$package" || optional_missing+=("$package"); done
fi
runtime_missing=false
if [[ ${1:-} != --build ]] && ! is_installed "${either[0]}" && ! compgen -G '/usr/lib/llvm-14/lib/clang/14*/lib/linux/libclang_rt.fuzzer-*.a' > /dev/null; then
  runtime_missing=true
fi
if ((${#missing[@]} + ${#optional_missing[@]} == 0)) && ! $runtime_missing; then exit 0; fi

if ! command -v apt-get > /dev/null; then
  echo "setup.sh installs with apt-get, which is not here. Missing (by their Debian names): ${missing[*]} ${optional_missing[*]}" >&2
  exit 1
fi
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo > /dev/null || { echo "setup.sh: not root and no sudo; missing packages: ${missing[*]} ${optional_missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -y -q)
"${apt[@]}" update
for package in "${optional_missing[@]}"; do
  if apt-cache show "$package" > /dev/null 2>&1; then
    missing+=("$package")
  else
    echo "setup.sh: apt knows no $package here: left out"
  fi
done
if $runtime_missing; then
  for package in "${either[@]}"; do
    if apt-cache show "$package" > /dev/null 2>&1; then missing+=("$package"); break; fi
  done
fi
if ((${#missing[@]} == 0)); then exit 0; fi
echo "setup.sh: installing ${missing[*]}"
"${apt[@]}" install --no-install-recommends "${missing[@]}"
