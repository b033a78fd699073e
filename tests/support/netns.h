/* SPDX-License-Identifier: MIT */
/*
 * A network of the test's own: a fresh namespace with loopback up and nothing else in it.
 */
#ifndef OURO_TEST_NETNS_H
#define OURO_TEST_NETNS_H

#include <stdint.h>

/* Addresses of the documentation range, routed into nothing: SYNs to them vanish. */
#define OURO_TEST_VOID_NETWORK "198.51.100.0"
#define OURO_TEST_VOID_ADDRESS "198.51.100.1"

/*
 * Moves this process into a new network namespace; a user without privileges gets a user namespace
 * with it.  It cannot go back, so call it in a child or in a case of its own, before any thread
 * exists.  Skips the case where the kernel forbids it.
 */
void ouro_test_netns_enter(void);

/* Routes OURO_TEST_VOID_NETWORK/24 to a place that answers nothing.  Only in a namespace of our
 * own. */
void ouro_test_netns_add_void(void);

/* From here on the kernel chooses the local port of a connect from @first to @last.  Only in a
 * namespace of our own; skips the case where that cannot be set. */
void ouro_test_netns_choose_ports(uint16_t first, uint16_t last);

#endif
