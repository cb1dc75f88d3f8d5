# Cross-compiles for AArch64 Linux with Debian's g++-aarch64-linux-gnu, and runs what it built under qemu-user, which
# takes the CPU to emulate from the environment variable QEMU_CPU (cortex-a57, neoverse-n1, max):
#   cmake -S . -B build-arm -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DOCTOBERT_TOOLS=OFF
# The converter and the command need OpenSSL for the target, which Debian's cross packages do not have.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
find_program(OCTOBERT_CROSS_CC NAMES aarch64-linux-gnu-gcc-12 aarch64-linux-gnu-gcc REQUIRED)
find_program(OCTOBERT_CROSS_CXX NAMES aarch64-linux-gnu-g++-12 aarch64-linux-gnu-g++ REQUIRED)
set(CMAKE_C_COMPILER ${OCTOBERT_CROSS_CC})
set(CMAKE_CXX_COMPILER ${OCTOBERT_CROSS_CXX})
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
