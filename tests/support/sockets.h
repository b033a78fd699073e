/* SPDX-License-Identifier: MIT */
/*
 * Peers' sockets, by plain system calls: nothing here uses ouro, so that a fault of it cannot hide
 * itself.  Loopback only, ports from the kernel.  A call that fails fails the case.
 */
#ifndef OURO_TEST_SOCKETS_H
#define OURO_TEST_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OURO_TEST_ADDRESS_SIZE = 64 };

/* A listener of @family (AF_INET, AF_INET6) on loopback; its port to *out_port. */
int ouro_test_listen(int family, int backlog, uint16_t *out_port);

/* As above on a port of the caller's choice (the other family's, say). */
int ouro_test_listen_at(int family, int backlog, uint16_t port);

/* A bound socket that does not listen: connecting to *out_port is refused while it is open. */
int ouro_test_refusing(int family, uint16_t *out_port);

/* The next connection, blocking mode; fails the case when none comes in 10 s. */
int ouro_test_accept(int listener);

/* A blocking connection to a loopback port. */
int ouro_test_connect(int family, uint16_t port);

/* Closes with a reset instead of a FIN. */
void ouro_test_reset(int fd);

/* Exactly @size bytes in or out within 10 s, else the case fails. */
void ouro_test_read_exactly(int fd, void *buffer, size_t size);
void ouro_test_write_exactly(int fd, const void *bytes, size_t size);

/* "127.0.0.1:port" or "[::1]:port"; returns @text. */
char *ouro_test_address(int family, uint16_t port, char text[OURO_TEST_ADDRESS_SIZE]);

/* Ports of a socket's two ends. */
uint16_t ouro_test_local_port(int fd);
uint16_t ouro_test_peer_port(int fd);

/* Skips the case where the machine has no IPv6 loopback and @family asks for it. */
void ouro_test_need_family(int family);

/* Skips the case where the system resolves no "localhost": one without /etc/hosts. */
void ouro_test_need_localhost(void);

#endif
