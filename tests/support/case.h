/* SPDX-License-Identifier: MIT */
/*
 * One run of one case: set up, body, what it must leave behind.
 */
#ifndef OURO_TEST_CASE_H
#define OURO_TEST_CASE_H

#include "support/ouro_test.h"

/* Runs @test on @run and returns if it passed; every other outcome ends the process. */
void ouro_test_case_run(const struct ouro_test_case *test, enum ouro_test_run run);

/* The exit status that says "skipped": 77, or 0 where Check forked this process for the case. */
void ouro_test_set_skip_status(int status);

#endif
