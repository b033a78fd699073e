/* SPDX-License-Identifier: MIT */
/*
 * Loopback addresses that answer no SYN, so that a connect to them stays pending.  They need no
 * privileges and no network namespace, and work on every kernel from 5.10 on.
 */
#ifndef OURO_TEST_UNANSWERED_H
#define OURO_TEST_UNANSWERED_H

#include <stdint.h>

enum { OURO_TEST_FILLERS = 4 };

/* A listener whose backlog is full: listen(fd, 0) and four connections nobody accepts. */
struct ouro_test_full_backlog {
    int listener;
    int fillers[OURO_TEST_FILLERS];
    uint16_t port;
};

void ouro_test_full_backlog_open(struct ouro_test_full_backlog *out, int family);
/* Accepts the fillers away: from now on the next SYN (retried after 1 s, 3 s, ...) is answered. */
void ouro_test_full_backlog_relieve(struct ouro_test_full_backlog *full);
void ouro_test_full_backlog_close(struct ouro_test_full_backlog *full);

/*
 * A black hole: a listener whose socket filter drops every packet before TCP sees it.  @port 0
 * takes any.  Returns the descriptor; while it is open, SYNs to *out_port vanish.
 */
int ouro_test_black_hole(int family, uint16_t port, uint16_t *out_port);

#endif
