# SPDX-License-Identifier: MIT
#
# Included right after project(), when a kernel-matrix build configures: libraries are found as
# archives only, and every program is linked with them.  Without debugging information: all programs
# together must fit into the memory of the machine that runs them.
set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
set(CMAKE_EXE_LINKER_FLAGS "${CMAKE_EXE_LINKER_FLAGS} -static -Wl,--strip-debug")
