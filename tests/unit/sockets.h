/*
 * sockets.h - real sockets for tests, on loopback and ports that the kernel
 * chooses. What the host cannot do skips the test, with the reason.
 */
#ifndef TESTS_UNIT_SOCKETS_H
#define TESTS_UNIT_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "snapshot/format/endpoint.h"

struct endpoint sockets_at(const char *text, uint16_t port);

/* Family AF_INET6 takes IPv4 addresses in their mapped form. */
socklen_t sockets_fill(int family, const char *text, uint16_t port, struct sockaddr_storage *out);

/* Bound to a port that the kernel chooses, unless one is given; a stream listens. */
int sockets_bound_to(int family, int type, const char *text, uint16_t port, bool only_ipv6);
int sockets_bound(int family, int type, const char *text);
void sockets_connect(int fd, int family, const char *text, uint16_t port);
int sockets_connected(int family, int type, const char *text, uint16_t port);

struct endpoint sockets_name(int fd, bool peer);
#define LOCAL(fd)  sockets_name(fd, false)
#define REMOTE(fd) sockets_name(fd, true)

uint64_t sockets_cookie(int fd);

#endif
