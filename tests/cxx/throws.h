/* SPDX-License-Identifier: MIT */
/*
 * C++ functions that throw and catch around a call that suspends (throws.cpp).  Each returns 0, or
 * the line at which an exception was not the one it must be.
 */
#ifndef OURO_TEST_CXX_THROWS_H
#define OURO_TEST_CXX_THROWS_H

#ifdef __cplusplus
extern "C" {
#endif

/* The call that suspends; 0 when it did. */
typedef int throws_suspend(void);
typedef int throws_function(const char *name, throws_suspend *suspend);

throws_function throws_rethrow;         /* inside a catch block, and what `throw;` throws there */
throws_function throws_nested;          /* a catch block in another; nested exceptions */
throws_function throws_while_unwinding; /* in a destructor, by an exception and without one */
throws_function throws_keep;            /* an exception that outlives its catch block */

#ifdef __cplusplus
}
#endif
#endif
