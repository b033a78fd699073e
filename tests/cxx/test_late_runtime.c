/* SPDX-License-Identifier: MIT */
/*
 * C++ exceptions in a program of C that loads a library of C++, and its runtime with it, for itself
 * alone.
 *
 * Owns:    nothing: the library stays loaded, as a C++ runtime does.
 * Threads: the runtimes', and plain ones.
 * Always:  no C++ runtime is in the process when a case begins.
 */
#include "support/ouro_test.h"

#include <dlfcn.h>

#include "cxx/everyone.h"
#include "fiber/exceptions.h"

static throws_function *load(void *library, const char *name)
{
    throws_function *function = (throws_function *)(uintptr_t)dlsym(library, name);
    ck_assert_ptr_nonnull(function);
    return function;
}

static void load_all(throws_function **all)
{
    void *library = dlopen(OURO_TEST_THROWS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        ouro_test_fail(__FILE__, __LINE__, "dlopen", "%s", dlerror());
    all[0] = load(library, "throws_rethrow");
    all[1] = load(library, "throws_nested");
    all[2] = load(library, "throws_while_unwinding");
    all[3] = load(library, "throws_keep");
}

static int yields_twice(void *arg)
{
    (void)arg;
    return ouro_yield() + ouro_yield();
}

OURO_TEST(a_library_loaded_for_itself_is_found, .may_leak = "a C++ runtime is never unloaded")
{
    static throws_function *all[4];
    if (OURO__ASAN || OURO__TSAN)
        ouro_test_skip("this tool's runtime brings a C++ runtime with it");
    /* Without one, runtimes work and nothing is found. */
    ouro_test_everywhere(yields_twice, NULL);
    ck_assert_ptr_null(ouro__exceptions_here());
    load_all(all);
    ck_assert_ptr_null(ouro__exceptions_here());
    ouro_test_everywhere(throw_all_at_once, all);
    ck_assert_ptr_nonnull(ouro__exceptions_here());
}
