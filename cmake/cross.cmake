# What a cross build takes from the build machine: header-only libraries, and GoogleTest as sources.

# Linked one by one into a folder of their own: /usr/include itself holds the build machine's C library.
set(OCTOBERT_CROSS_HEADERS ${CMAKE_BINARY_DIR}/headers)
file(MAKE_DIRECTORY ${OCTOBERT_CROSS_HEADERS})
find_file(OCTOBERT_XXHASH_HEADER xxhash.h PATHS /usr/include NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH REQUIRED)
file(CREATE_LINK ${OCTOBERT_XXHASH_HEADER} ${OCTOBERT_CROSS_HEADERS}/xxhash.h SYMBOLIC)
target_include_directories(octobert_flags SYSTEM INTERFACE ${OCTOBERT_CROSS_HEADERS})

# g++ 12 for AArch64 takes a byte vector's growth for an overflow (GCC bug 105329 and its kin); for x86-64 it does not.
target_compile_options(octobert_flags INTERFACE -Wno-stringop-overflow)

if(OCTOBERT_TESTS)
  find_path(OCTOBERT_GOOGLETEST_SOURCES googletest/CMakeLists.txt PATHS /usr/src/googletest NO_DEFAULT_PATH
            NO_CMAKE_FIND_ROOT_PATH REQUIRED)
  set(BUILD_GMOCK OFF CACHE BOOL "" FORCE)
  set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
  add_subdirectory(${OCTOBERT_GOOGLETEST_SOURCES} ${CMAKE_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
  target_compile_options(gtest PRIVATE -w)  # its warnings are not ours
endif()
