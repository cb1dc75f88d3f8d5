# What a cross build takes from the build machine: header-only libraries, and GoogleTest as sources.

# Linked one by one into a folder of their own: /usr/include itself holds the build machine's C library.
set(OCTOBERT_CROSS_HEADERS ${CMAKE_BINARY_DIR}/headers)
file(MAKE_DIRECTORY ${OCTOBERT_CROSS_HEADERS})
find_file(OCTOBERT_XXHASH_HEADER xxhash.h PATHS /usr/include NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH REQUIRED)
file(CREATE_LINK ${OCTOBERT_XXHASH_HEADER} ${OCTOBERT_CROSS_HEADERS}/xxhash.h SYMBOLIC)
target_include_directories(octobert_flags SYSTEM INTERFACE ${OCTOBERT_CROSS_HEADERS})

if(OCTOBERT_TESTS)
  find_path(OCTOBERT_GOOGLETEST_SOURCES googletest/CMakeLists.txt PATHS /usr/src/googletest NO_DEFAULT_PATH
            NO_CMAKE_FIND_ROOT_PATH REQUIRED)
  set(BUILD_GMOCK OFF CACHE BOOL "" FORCE)
  set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
  add_subdirectory(${OCTOBERT_GOOGLETEST_SOURCES} ${CMAKE_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
endif()
