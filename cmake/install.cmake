# What `cmake --install` puts where, and the package that find_package(octobert) finds.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/octobert)

install(TARGETS octobert octobert_shared EXPORT octobertTargets)
install(EXPORT octobertTargets NAMESPACE octobert:: DESTINATION ${package_dir})
install(DIRECTORY include/octobert DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} PATTERN converter.h EXCLUDE)
install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(OCTOBERT_TOOLS)
  install(TARGETS octobert_converter EXPORT octobertConverterTargets)
  install(EXPORT octobertConverterTargets NAMESPACE octobert:: DESTINATION ${package_dir})
  install(FILES include/octobert/converter.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/octobert)
  install(TARGETS octobert_cli)
endif()

configure_package_config_file(cmake/octobertConfig.cmake.in ${CMAKE_BINARY_DIR}/octobertConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/octobertConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/octobertConfig.cmake ${CMAKE_BINARY_DIR}/octobertConfigVersion.cmake
        DESTINATION ${package_dir})
