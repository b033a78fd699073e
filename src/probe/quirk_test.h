/* SPDX-License-Identifier: MIT */
/*
 * Inside of the quirk self-test: the single tests, by what they are about.
 *
 * Each returns 0 (healthy), 1 (the quirk is there) or -errno (the fixture could not be had, or the
 * kernel answered in a way that says neither).
 */
#ifndef OURO_PROBE_QUIRK_TEST_H
#define OURO_PROBE_QUIRK_TEST_H

#include "probe/feature_kit.h"

#define OURO__QUIRK_PATIENCE_MS 50 /* how long a wake-up may be late: emulators need 25 */

typedef int ouro__quirk_test_fn(struct ouro__kit_ring *kit);

/* quirk_wake.c */
ouro__quirk_test_fn ouro__quirk_test_ring_fd;
ouro__quirk_test_fn ouro__quirk_test_eventfd;
/* quirk_request.c */
ouro__quirk_test_fn ouro__quirk_test_cancel_fd_userdata;
ouro__quirk_test_fn ouro__quirk_test_cancel_op;
ouro__quirk_test_fn ouro__quirk_test_timeout_update_count;
ouro__quirk_test_fn ouro__quirk_test_timeout_update_abs;
ouro__quirk_test_fn ouro__quirk_test_futex_link_timeout;
ouro__quirk_test_fn ouro__quirk_test_unix_connect_slow;
ouro__quirk_test_fn ouro__quirk_test_connect_einprogress;
ouro__quirk_test_fn ouro__quirk_test_send_read_side;
/* quirk_buffer.c */
ouro__quirk_test_fn ouro__quirk_test_inc_waitall;
ouro__quirk_test_fn ouro__quirk_test_inc_trunc;
ouro__quirk_test_fn ouro__quirk_test_inc_eof;

#endif
