/* SPDX-License-Identifier: MIT */
/*
 * Finds the C++ runtime's exception state.
 *
 * The function that returns it, __cxa_get_globals(), is referred to weakly.  The linker resolves
 * that where it sees a C++ runtime: in a program of C++, or with a library of C++ beside a program
 * of C.  (A static program contains the function exactly when something in it throws or catches.)
 *
 * The reference stays NULL when the C++ runtime comes later, or is visible only to the code that
 * loaded it: a plug-in, or an interpreter whose extension modules are loaded for themselves.  So it
 * is looked for again when a runtime is made: among the names that all can see, and then in a
 * loaded library that has a C++ runtime's name.  Such a library is kept from being unloaded.
 *
 * A C++ runtime that is loaded while a runtime of ours is already there is not noticed before the
 * next one is made.  Looking at each switch, or each turn, would cost every program of C.
 *
 * Owns:    a reference to the C++ runtime's library, for the rest of the process.
 * Threads: any.
 * Always:  the function is set once and never changes.
 * Tests:   tests/cxx/test_exceptions.c, tests/cxx/test_late_runtime.c
 */
#include "fiber/exceptions.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

_Atomic(ouro__exceptions_fn *) ouro__exceptions_function;

#define GET_GLOBALS "__cxa_get_globals"

/* NOLINTNEXTLINE(bugprone-reserved-identifier): the name is the C++ ABI's. */
extern struct ouro__exceptions *__cxa_get_globals(void) __attribute__((weak));

/* Weak as well: a static program has no loader, and an older C library keeps it in libdl. */
extern __typeof__(dlopen) dlopen __attribute__((weak));
extern __typeof__(dlsym) dlsym __attribute__((weak));

struct library {
    char path[512];
};

/* dl_iterate_phdr(): notes the path of a C++ runtime, and ends the walk there. */
static int is_runtime(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct library *library = arg;

    (void)size;
    if (strstr(info->dlpi_name, "libstdc++.so") == NULL &&
        strstr(info->dlpi_name, "libc++abi.so") == NULL)
        return 0;
    (void)snprintf(library->path, sizeof(library->path), "%s", info->dlpi_name);
    return 1;
}

static void *find_loaded(void)
{
    struct library library;
    void *symbol = NULL;

    if (dlopen == NULL || dlsym == NULL)
        return NULL;
    symbol = dlsym(RTLD_DEFAULT, GET_GLOBALS);
    if (symbol != NULL || dl_iterate_phdr(is_runtime, &library) == 0)
        return symbol;
    /* Only if it is still loaded; and from then on it stays. */
    void *handle = dlopen(library.path, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    return handle == NULL ? NULL : dlsym(handle, GET_GLOBALS);
}

void ouro__exceptions_look(void)
{
    ouro__exceptions_fn *function = __cxa_get_globals;

    if (ouro__load(&ouro__exceptions_function, memory_order_acquire) != NULL)
        return;
    if (function == NULL)
        function = (ouro__exceptions_fn *)(uintptr_t)find_loaded();
    if (function != NULL)
        ouro__store(&ouro__exceptions_function, function, memory_order_release);
}
