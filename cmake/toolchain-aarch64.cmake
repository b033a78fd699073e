# SPDX-License-Identifier: MIT
#
# Cross-compiles for aarch64 with Debian's gcc-aarch64-linux-gnu.  liburing (and for the tests check
# and libseccomp) for arm64 come from an unpacked tree of Debian packages named by OURO_SYSROOT.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_ASM_COMPILER aarch64-linux-gnu-gcc)

set(OURO_SYSROOT "$ENV{OURO_SYSROOT}" CACHE PATH "Unpacked arm64 packages")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES OURO_SYSROOT)
if(OURO_SYSROOT)
  set(ENV{PKG_CONFIG_SYSROOT_DIR} ${OURO_SYSROOT})
  set(ENV{PKG_CONFIG_LIBDIR}
      ${OURO_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${OURO_SYSROOT}/usr/share/pkgconfig)
  list(APPEND CMAKE_FIND_ROOT_PATH ${OURO_SYSROOT})
  # Headers and libraries of the packages, after the cross compiler's own.
  set(CMAKE_C_STANDARD_INCLUDE_DIRECTORIES
      ${OURO_SYSROOT}/usr/include ${OURO_SYSROOT}/usr/include/aarch64-linux-gnu)
  add_link_options(-L${OURO_SYSROOT}/usr/lib/aarch64-linux-gnu
                   -Wl,-rpath-link,${OURO_SYSROOT}/usr/lib/aarch64-linux-gnu)
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)

find_program(OURO_QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
if(OURO_QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${OURO_QEMU_AARCH64} -L /usr/aarch64-linux-gnu)
endif()
