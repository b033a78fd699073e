/* SPDX-License-Identifier: MIT */
/*
 * Runtimes for tests, made with this run's driver.  OURO_TEST_FEATURE_MASK and OURO_TEST_QUIRK_MASK
 * (numbers, with the bits of ouro/probe.h) mask features and set quirks, so that the whole suite
 * can be run on every fallback.  With OURO_TEST_AUTO the runtime chooses, and must choose this
 * run's driver.
 */
#ifndef OURO_TEST_RUNTIME_H
#define OURO_TEST_RUNTIME_H

#include <ouro/runtime.h>

/* The configuration every test starts from. */
struct ouro_runtime_config ouro_test_config(enum ouro_flavour flavour);

/* A runtime, two workers if it is a multi-thread one.  It must be made, or the case fails. */
struct ouro_runtime *ouro_test_runtime_new(enum ouro_flavour flavour);
struct ouro_runtime *ouro_test_runtime_with(const struct ouro_runtime_config *config);

/* Runs function(arg) as a task in a current-thread runtime made for it, and returns its result. */
int ouro_test_in_task(ouro_task_function *function, void *arg);

/* The same in a multi-thread runtime with two workers. */
int ouro_test_in_task_of_many(ouro_task_function *function, void *arg);

/* Runs function(arg) on this plain thread, inside a multi-thread runtime with two workers. */
int ouro_test_in_thread(ouro_task_function *function, void *arg);

/* All three, one after the other; each must return 0. */
void ouro_test_everywhere(ouro_task_function *function, void *arg);

#endif
