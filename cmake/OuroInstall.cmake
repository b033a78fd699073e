# SPDX-License-Identifier: MIT
#
# What `cmake --install` lays down: headers, both libraries, ouro.pc and the CMake package.

include(CMakePackageConfigHelpers)

install(TARGETS ouro ouro_static EXPORT ouroTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(ouro_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ouro)
install(EXPORT ouroTargets NAMESPACE ouro:: DESTINATION ${ouro_package_dir})
configure_package_config_file(cmake/ouroConfig.cmake.in ${PROJECT_BINARY_DIR}/ouroConfig.cmake
  INSTALL_DESTINATION ${ouro_package_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ouroConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ouroConfig.cmake ${PROJECT_BINARY_DIR}/ouroConfigVersion.cmake
        DESTINATION ${ouro_package_dir})

file(RELATIVE_PATH ouro_pc_to_prefix
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX}/)
configure_file(cmake/ouro.pc.in ${PROJECT_BINARY_DIR}/ouro.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ouro.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
