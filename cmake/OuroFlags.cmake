# SPDX-License-Identifier: MIT
#
# ouro_target_flags(TARGET): warnings, hardening, sanitizers and coverage, for every target alike.
# Nothing of it reaches those who link the installed library.

include(CheckCCompilerFlag)

set(ouro_warnings
  -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
  -Wformat=2 -Wundef -Wvla)

# A debugger wants -O0, everybody else wants what ships: the symbols cost nothing at run time.
set(CMAKE_C_FLAGS_DEBUG "-O0 -g3")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")

set(ouro_hardening -fno-omit-frame-pointer -fstack-protector-strong
  -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)  # messages say src/..., wherever it was built
set(ouro_hardening_link -Wl,-z,relro -Wl,-z,now -Wl,--as-needed)
check_c_compiler_flag(-fstack-clash-protection OURO_HAVE_STACK_CLASH_PROTECTION)
if(OURO_HAVE_STACK_CLASH_PROTECTION)
  list(APPEND ouro_hardening -fstack-clash-protection)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64|AMD64")
  list(APPEND ouro_hardening -fcf-protection=branch)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  list(APPEND ouro_hardening -mbranch-protection=standard)
endif()
# Fortified string functions need the optimiser, and hide bugs from the sanitizers.
if(NOT OURO_SANITIZE)
  list(APPEND ouro_hardening $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE>
                             $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
endif()

set(ouro_sanitizers)
if(OURO_SANITIZE STREQUAL "address")
  set(ouro_sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(OURO_SANITIZE STREQUAL "thread")
  set(ouro_sanitizers -fsanitize=thread)
elseif(OURO_SANITIZE)
  message(FATAL_ERROR "OURO_SANITIZE is '${OURO_SANITIZE}': use address, thread or nothing")
endif()

set(ouro_coverage)
if(OURO_COVERAGE)
  # gcov's own fork() forgets in the child what was counted before, fork handlers too.
  set(ouro_coverage --coverage -fprofile-update=atomic -fno-builtin-fork -DOURO_COVERAGE=1)
endif()

function(ouro_target_flags name)
  # Empty, as the sources that name it themselves have it: they compile alone too.
  # C++ compilers define it themselves.
  target_compile_options(${name} PRIVATE $<$<NOT:$<COMPILE_LANGUAGE:CXX>>:-D_GNU_SOURCE=>
    "$<$<COMPILE_LANGUAGE:C>:${ouro_warnings}>" ${ouro_hardening} ${ouro_sanitizers}
    ${ouro_coverage} -pthread)
  if(OURO_WERROR)
    target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:C>:-Werror>)
  endif()
  get_target_property(type ${name} TYPE)
  if(type MATCHES "^(EXECUTABLE|SHARED_LIBRARY|MODULE_LIBRARY)$")
    target_link_options(${name} PRIVATE
      ${ouro_hardening_link} ${ouro_sanitizers} ${ouro_coverage} -pthread)
  endif()
endfunction()
