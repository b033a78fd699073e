/* SPDX-License-Identifier: MIT */
/*
 * What C++ code does with exceptions around a call that suspends.  Knows nothing of ouro: the call
 * is handed in, so that the same code can be part of a program or a library loaded later.
 *
 * Each function returns 0, or the number of the line at which something was not as it must be.
 */
#include "cxx/throws.h"

#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)

namespace {

bool is_handled(const char *name)
{
    try {
        if (!std::current_exception())
            return false;
        std::rethrow_exception(std::current_exception());
    } catch (const std::exception &current) {
        return std::strcmp(current.what(), name) == 0;
    }
}

/* Suspends while it is destroyed, as an object does that closes a connection. */
struct suspends_at_its_end {
    throws_suspend *suspend;
    int during = -1;
    int *out;

    suspends_at_its_end(throws_suspend *function, int *result) : suspend(function), out(result) {}
    ~suspends_at_its_end()
    {
        int before = std::uncaught_exceptions();
        suspend();
        *out = before == std::uncaught_exceptions() ? before : -1;
    }
};

} // namespace

extern "C" int throws_rethrow(const char *name, throws_suspend *suspend)
{
    MUST(!std::current_exception());
    try {
        throw std::runtime_error(name);
    } catch (const std::exception &) {
        MUST(suspend() == 0);
        MUST(is_handled(name));
        try {
            throw;
        } catch (const std::exception &again) {
            MUST(suspend() == 0);
            MUST(std::strcmp(again.what(), name) == 0);
        }
        MUST(suspend() == 0);
        MUST(is_handled(name));
    }
    MUST(!std::current_exception());
    return 0;
}

extern "C" int throws_nested(const char *name, throws_suspend *suspend)
{
    std::string inner = std::string("inside ") + name;
    MUST(!std::current_exception());
    try {
        throw std::runtime_error(name);
    } catch (const std::exception &) {
        MUST(suspend() == 0);
        try {
            throw std::runtime_error(inner);
        } catch (const std::exception &) {
            MUST(suspend() == 0);
            MUST(is_handled(inner.c_str()));
        }
        MUST(suspend() == 0);
        MUST(is_handled(name));
        try {
            try {
                throw;
            } catch (...) {
                MUST(suspend() == 0);
                std::throw_with_nested(std::runtime_error(inner));
            }
        } catch (const std::exception &outer) {
            MUST(suspend() == 0);
            MUST(std::strcmp(outer.what(), inner.c_str()) == 0);
            try {
                std::rethrow_if_nested(outer);
                MUST(false);
            } catch (const std::exception &original) {
                MUST(suspend() == 0);
                MUST(std::strcmp(original.what(), name) == 0);
            }
        }
    }
    MUST(!std::current_exception());
    return 0;
}

extern "C" int throws_while_unwinding(const char *name, throws_suspend *suspend)
{
    int seen = -1;
    MUST(std::uncaught_exceptions() == 0);
    try {
        suspends_at_its_end guard(suspend, &seen);
        throw std::runtime_error(name);
    } catch (const std::exception &caught) {
        MUST(std::strcmp(caught.what(), name) == 0);
    }
    MUST(seen == 1);
    MUST(std::uncaught_exceptions() == 0);
    {
        suspends_at_its_end guard(suspend, &seen);
    }
    MUST(seen == 0);
    return 0;
}

extern "C" int throws_keep(const char *name, throws_suspend *suspend)
{
    std::exception_ptr kept;
    try {
        throw std::runtime_error(name);
    } catch (...) {
        MUST(suspend() == 0);
        kept = std::current_exception();
        MUST(kept);
    }
    MUST(suspend() == 0);
    try {
        std::rethrow_exception(kept);
    } catch (const std::exception &caught) {
        MUST(suspend() == 0);
        MUST(std::strcmp(caught.what(), name) == 0);
    }
    return std::current_exception() ? __LINE__ : 0;
}
