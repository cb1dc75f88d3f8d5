# Cross-compiles for AArch64 Linux with Debian's g++-aarch64-linux-gnu, and runs what it built under qemu-user:
#   cmake -S . -B build-arm -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake
# OCTOBERT_QEMU_CPU names the CPU that ctest emulates.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(OCTOBERT_QEMU_CPU max CACHE STRING "CPU that qemu-aarch64 emulates, e.g. cortex-a57, neoverse-n1, max")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES OCTOBERT_QEMU_CPU)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu ${OCTOBERT_QEMU_CPU})

set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
