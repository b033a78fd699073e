# SPDX-License-Identifier: MIT
#
# Manual pages of section 3, made from the public headers where scdoc(1) and Python are there.

find_program(OURO_SCDOC scdoc)
find_package(Python3 COMPONENTS Interpreter)
if(OURO_SCDOC AND Python3_FOUND)
  file(GLOB ouro_public_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/ouro/*.h)
  set(ouro_man3_dir ${PROJECT_BINARY_DIR}/man/man3)
  add_custom_command(OUTPUT ${ouro_man3_dir}/ouro-api.h.3
    COMMAND ${Python3_EXECUTABLE} -B ${PROJECT_SOURCE_DIR}/tools/man/make-pages
            ${PROJECT_SOURCE_DIR} ${ouro_man3_dir}
    DEPENDS ${ouro_public_headers} tools/man/make-pages tools/man/ouro_headers.py
    COMMENT "Making the manual pages of section 3")
  add_custom_target(ouro_man ALL DEPENDS ${ouro_man3_dir}/ouro-api.h.3)
  install(DIRECTORY ${ouro_man3_dir} DESTINATION ${CMAKE_INSTALL_MANDIR})
endif()
