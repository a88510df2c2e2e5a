/* The kernel's answers about single sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/sockdiag.h"
#include "tests/unit/sockets.h"

static struct sockdiag *diag;
static struct error error;

static int set_up(void **state)
{
	(void)state;
	error = (struct error)ERROR_NONE;
	diag = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sockdiag_close(diag);
	return 0;
}

static void need_sockdiag(void)
{
	if (sockdiag_open(&diag, &error)) {
		print_message("%s\n", error.message);
		skip();
	}
}

/* ------------------------------------------------------- real sockets -- */

/* That what was found is the socket fd, described as the kernel's own table has it. */
static void assert_is(const struct snap_socket *found, int fd, enum snap_table table, uint8_t state)
{
	struct endpoint local = LOCAL(fd);
	struct stat info;

	assert_int_equal(fstat(fd, &info), 0);
	assert_int_equal(found->inode, info.st_ino);
	assert_true(found->cookie == sockets_cookie(fd));
	assert_int_equal(found->uid, getuid());
	assert_int_equal(found->table, table);
	assert_int_equal(found->state, state);
	assert_true(endpoint_equal(&found->local.address, &local.address));
	assert_int_equal(found->local.port, local.port);
	assert_int_equal(found->netns, 0);
}

static int lookup(uint8_t protocol, bool ipv6, struct endpoint local, struct endpoint remote,
		  struct snap_socket *out)
{
	return sockdiag_lookup(diag, protocol, ipv6, &local, &remote, out, &error);
}

static int lookup_udp(struct endpoint local, struct endpoint remote, struct snap_socket *out)
{
	return sockdiag_lookup_udp(diag, &local, &remote, out, &error);
}

#define NOBODY sockets_at("::", 0)

/* ----------------------------------------------------------------- TCP -- */

/* Both ends of one connection, and the listener's tuple never for theirs. */
static void check_tcp(int family, const char *address, enum snap_table table)
{
	int listener = sockets_bound(family, SOCK_STREAM, address);
	int client = sockets_connected(family, SOCK_STREAM, address, LOCAL(listener).port);
	int server = accept(listener, NULL, NULL);
	struct snap_socket found;
	struct endpoint remote = REMOTE(client);
	bool ipv6 = family == AF_INET6;

	need_sockdiag();
	assert_true(server >= 0);
	assert_int_equal(lookup(IPPROTO_TCP, ipv6, LOCAL(client), REMOTE(client), &found), 1);
	assert_is(&found, client, table, SNAP_ESTABLISHED);
	assert_true(endpoint_equal(&found.remote.address, &remote.address));
	assert_int_equal(found.remote.port, remote.port);
	assert_int_equal(lookup(IPPROTO_TCP, ipv6, LOCAL(server), REMOTE(server), &found), 1);
	assert_is(&found, server, table, SNAP_ESTABLISHED);
	assert_int_equal(lookup(IPPROTO_TCP, ipv6, LOCAL(listener), NOBODY, &found), 1);
	assert_is(&found, listener, table, SNAP_LISTEN);
	assert_true(endpoint_is_any(&found.remote.address));
	assert_int_equal(found.remote.port, 0);
	close(server);
	close(client);
	close(listener);
}

static void test_tcp_over_ipv4(void **state)
{
	(void)state;
	check_tcp(AF_INET, "127.0.0.1", SNAP_TCP);
}

static void test_tcp_over_ipv6(void **state)
{
	(void)state;
	check_tcp(AF_INET6, "::1", SNAP_TCP6);
}

static void test_tcp_over_mapped_ipv4(void **state)
{
	(void)state;
	check_tcp(AF_INET6, "::ffff:127.0.0.1", SNAP_TCP6);
}

static void test_an_ipv4_request_finds_the_dual_stack_end_too(void **state)
{
	int listener = sockets_bound(AF_INET6, SOCK_STREAM, "::");
	int client = sockets_connected(AF_INET, SOCK_STREAM, "127.0.0.1", LOCAL(listener).port);
	int server = accept(listener, NULL, NULL);
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
		assert_int_equal(lookup(IPPROTO_TCP, ipv6, LOCAL(server), REMOTE(server), &found),
				 1);
		assert_is(&found, server, SNAP_TCP6, SNAP_ESTABLISHED);
		assert_int_equal(lookup(IPPROTO_TCP, ipv6, LOCAL(client), REMOTE(client), &found),
				 1);
		assert_is(&found, client, SNAP_TCP, SNAP_ESTABLISHED);
	}
	close(server);
	close(client);
	close(listener);
}

static void test_a_wildcard_listener_is_found_as_the_wildcard_only(void **state)
{
	int listener = sockets_bound(AF_INET, SOCK_STREAM, "0.0.0.0");
	uint16_t port = LOCAL(listener).port;
	struct snap_socket found = {.inode = 1};

	(void)state;
	need_sockdiag();
	assert_int_equal(lookup(IPPROTO_TCP, false, sockets_at("0.0.0.0", port), NOBODY, &found),
			 1);
	assert_is(&found, listener, SNAP_TCP, SNAP_LISTEN);
	found.inode = 1;
	assert_int_equal(lookup(IPPROTO_TCP, false, sockets_at("127.0.0.1", port), NOBODY, &found),
			 0);
	assert_int_equal(found.inode, 1);
	close(listener);
}

static void test_a_dual_stack_listener_is_found_from_both_wildcards(void **state)
{
	int listener = sockets_bound(AF_INET6, SOCK_STREAM, "::");
	uint16_t port = LOCAL(listener).port;
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	assert_int_equal(lookup(IPPROTO_TCP, true, sockets_at("::", port), NOBODY, &found), 1);
	assert_is(&found, listener, SNAP_TCP6, SNAP_LISTEN);
	assert_int_equal(lookup(IPPROTO_TCP, false, sockets_at("0.0.0.0", port), NOBODY, &found),
			 1);
	assert_is(&found, listener, SNAP_TCP6, SNAP_LISTEN);
	close(listener);
}

static void test_a_listener_of_ipv6_only_takes_no_ipv4(void **state)
{
	int listener = sockets_bound_to(AF_INET6, SOCK_STREAM, "::", 0, true);
	uint16_t port = LOCAL(listener).port;
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	assert_int_equal(lookup(IPPROTO_TCP, true, sockets_at("::", port), NOBODY, &found), 1);
	assert_int_equal(lookup(IPPROTO_TCP, false, sockets_at("0.0.0.0", port), NOBODY, &found),
			 0);
	close(listener);
}

static void test_a_listener_is_not_the_answer_for_a_connection(void **state)
{
	int listener = sockets_bound(AF_INET, SOCK_STREAM, "127.0.0.1");
	struct snap_socket found = {.inode = 1};

	(void)state;
	need_sockdiag();
	assert_int_equal(
		lookup(IPPROTO_TCP, false, LOCAL(listener), sockets_at("127.0.0.1", 1), &found), 0);
	assert_int_equal(found.inode, 1);
	close(listener);
}

static void test_not_yet_accepted_is_inode_0(void **state)
{
	int listener = sockets_bound(AF_INET, SOCK_STREAM, "127.0.0.1");
	int client = sockets_connected(AF_INET, SOCK_STREAM, "127.0.0.1", LOCAL(listener).port);
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	assert_int_equal(lookup(IPPROTO_TCP, false, REMOTE(client), LOCAL(client), &found), 1);
	assert_int_equal(found.inode, 0);
	assert_int_equal(found.state, SNAP_ESTABLISHED);
	close(client);
	close(listener);
}

static void test_time_wait_is_inode_0(void **state)
{
	int listener = sockets_bound(AF_INET, SOCK_STREAM, "127.0.0.1");
	int client = sockets_connected(AF_INET, SOCK_STREAM, "127.0.0.1", LOCAL(listener).port);
	int server = accept(listener, NULL, NULL);
	struct endpoint local = LOCAL(client), remote = REMOTE(client);
	struct snap_socket found;
	char byte;

	(void)state;
	need_sockdiag();
	close(client);
	assert_int_equal(read(server, &byte, 1), 0);
	close(server);
	assert_int_equal(lookup(IPPROTO_TCP, false, local, remote, &found), 1);
	assert_int_equal(found.inode, 0);
	assert_int_equal(found.state, SNAP_TIME_WAIT);
	close(listener);
}

static void test_a_bound_device_must_be_named(void **state)
{
	int listener = sockets_bound(AF_INET, SOCK_DGRAM, "127.0.0.1"), plain;
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	plain = sockets_bound(AF_INET, SOCK_DGRAM, "127.0.0.1");
	if (setsockopt(listener, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3)) {
		print_message("cannot bind to a device: %s\n", strerror(errno));
		skip();
	}
	assert_int_equal(lookup_udp(LOCAL(listener), sockets_at("127.0.0.1", 9), &found), 0);
	sockdiag_set_device(diag, 1);
	assert_int_equal(lookup_udp(LOCAL(listener), sockets_at("127.0.0.1", 9), &found), 1);
	assert_is(&found, listener, SNAP_UDP, SNAP_CLOSE);
	assert_int_equal(found.ifindex, 1);
	assert_int_equal(lookup_udp(LOCAL(plain), sockets_at("127.0.0.1", 9), &found), 1);
	assert_is(&found, plain, SNAP_UDP, SNAP_CLOSE);
	assert_int_equal(found.ifindex, 0);
	close(plain);
	close(listener);
}

/* ----------------------------------------------------------------- UDP -- */

static void check_udp(int family, const char *address, enum snap_table table)
{
	int server = sockets_bound(family, SOCK_DGRAM, address);
	int client = sockets_connected(family, SOCK_DGRAM, address, LOCAL(server).port);
	bool ipv6 = family == AF_INET6;
	struct endpoint remote = REMOTE(client);
	struct snap_socket found;

	need_sockdiag();
	assert_int_equal(lookup(IPPROTO_UDP, ipv6, LOCAL(client), remote, &found), 1);
	assert_is(&found, client, table, SNAP_ESTABLISHED);
	assert_true(endpoint_equal(&found.remote.address, &remote.address));
	assert_int_equal(found.remote.port, remote.port);
	assert_int_equal(lookup(IPPROTO_UDP, ipv6, LOCAL(server), NOBODY, &found), 1);
	assert_is(&found, server, table, SNAP_CLOSE);
	assert_true(endpoint_is_any(&found.remote.address));
	/* It would take the packet, but is not a socket of this tuple. */
	assert_int_equal(lookup(IPPROTO_UDP, ipv6, LOCAL(server), LOCAL(client), &found), 0);
	assert_int_equal(lookup_udp(LOCAL(server), LOCAL(client), &found), 1);
	assert_is(&found, server, table, SNAP_CLOSE);
	assert_int_equal(lookup_udp(LOCAL(client), remote, &found), 1);
	assert_is(&found, client, table, SNAP_ESTABLISHED);
	close(client);
	close(server);
}

static void test_udp_over_ipv4(void **state)
{
	(void)state;
	check_udp(AF_INET, "127.0.0.1", SNAP_UDP);
}

static void test_udp_over_ipv6(void **state)
{
	(void)state;
	check_udp(AF_INET6, "::1", SNAP_UDP6);
}

static void test_udp_over_mapped_ipv4(void **state)
{
	(void)state;
	check_udp(AF_INET6, "::ffff:127.0.0.1", SNAP_UDP6);
}

static void test_udp_takes_the_closest_of_several(void **state)
{
	int wildcard = sockets_bound_to(AF_INET, SOCK_DGRAM, "0.0.0.0", 0, false);
	uint16_t port = LOCAL(wildcard).port;
	int exact = sockets_bound_to(AF_INET, SOCK_DGRAM, "127.0.0.1", port, false);
	int joined = sockets_bound_to(AF_INET, SOCK_DGRAM, "127.0.0.1", port, false);
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	sockets_connect(joined, AF_INET, "127.0.0.1", 9);
	assert_int_equal(
		lookup_udp(sockets_at("127.0.0.1", port), sockets_at("127.0.0.1", 9), &found), 1);
	assert_is(&found, joined, SNAP_UDP, SNAP_ESTABLISHED);
	assert_int_equal(
		lookup_udp(sockets_at("127.0.0.1", port), sockets_at("127.0.0.1", 10), &found), 1);
	assert_is(&found, exact, SNAP_UDP, SNAP_CLOSE);
	assert_int_equal(
		lookup_udp(sockets_at("127.0.0.2", port), sockets_at("127.0.0.1", 9), &found), 1);
	assert_is(&found, wildcard, SNAP_UDP, SNAP_CLOSE);
	close(joined);
	close(exact);
	close(wildcard);
}

static void test_a_udp_wildcard_says_that_it_is_one(void **state)
{
	int ip4 = sockets_bound(AF_INET, SOCK_DGRAM, "0.0.0.0"),
	    dual = sockets_bound(AF_INET6, SOCK_DGRAM, "::");
	char text[ENDPOINT_TEXT_SIZE];
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	assert_int_equal(lookup_udp(sockets_at("127.0.0.1", LOCAL(ip4).port),
				    sockets_at("127.0.0.1", 9), &found),
			 1);
	assert_is(&found, ip4, SNAP_UDP, SNAP_CLOSE);
	assert_string_equal(endpoint_format(&found.local.address, text), "0.0.0.0");
	assert_string_equal(endpoint_format(&found.remote.address, text), "0.0.0.0");
	assert_int_equal(lookup_udp(sockets_at("127.0.0.1", LOCAL(dual).port),
				    sockets_at("127.0.0.1", 9), &found),
			 1);
	assert_is(&found, dual, SNAP_UDP6, SNAP_CLOSE);
	assert_string_equal(endpoint_format(&found.local.address, text), "::");
	assert_string_equal(endpoint_format(&found.remote.address, text), "::");
	assert_int_equal(
		lookup_udp(sockets_at("::1", LOCAL(dual).port), sockets_at("::1", 9), &found), 1);
	assert_is(&found, dual, SNAP_UDP6, SNAP_CLOSE);
	assert_int_equal(
		lookup(IPPROTO_UDP, true, sockets_at("::", LOCAL(dual).port), NOBODY, &found), 1);
	assert_is(&found, dual, SNAP_UDP6, SNAP_CLOSE);
	close(dual);
	close(ip4);
}

static void test_udp_of_the_packet_s_own_family_goes_before_dual_stack(void **state)
{
	int dual = sockets_bound(AF_INET6, SOCK_DGRAM, "::");
	uint16_t port = LOCAL(dual).port;
	int ip4 = sockets_bound_to(AF_INET, SOCK_DGRAM, "0.0.0.0", port, false);
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	assert_int_equal(
		lookup_udp(sockets_at("127.0.0.1", port), sockets_at("127.0.0.1", 9), &found), 1);
	assert_is(&found, ip4, SNAP_UDP, SNAP_CLOSE);
	assert_int_equal(lookup_udp(sockets_at("::1", port), sockets_at("::1", 9), &found), 1);
	assert_is(&found, dual, SNAP_UDP6, SNAP_CLOSE);
	close(ip4);
	close(dual);
}

static void test_udp_lite(void **state)
{
	struct sockaddr_storage address;
	socklen_t length = sockets_fill(AF_INET, "127.0.0.1", 0, &address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDPLITE), result;
	struct snap_socket found;

	(void)state;
	if (fd < 0)
		skip();
	need_sockdiag();
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	result = lookup(IPPROTO_UDPLITE, false, LOCAL(fd), NOBODY, &found);
	if (result != ERROR_LIMIT) {
		assert_int_equal(result, 1);
		assert_is(&found, fd, SNAP_UDPLITE, SNAP_CLOSE);
	}
	close(fd);
}

static void test_raw_where_the_kernel_can(void **state)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 253), result;
	struct snap_socket found;
	struct stat info;

	(void)state;
	if (fd < 0)
		skip();
	need_sockdiag();
	result = lookup(IPPROTO_RAW, false, sockets_at("0.0.0.0", 253), NOBODY, &found);
	if (result != ERROR_LIMIT) {
		assert_int_equal(result, 1);
		assert_int_equal(fstat(fd, &info), 0);
		assert_int_equal(found.inode, info.st_ino);
		assert_int_equal(found.table, SNAP_RAW);
		assert_int_equal(found.local.port, 253);
	}
	close(fd);
}

/* ------------------------------------------------------------- refusals -- */

static void test_no_socket_is_0(void **state)
{
	int fd = sockets_bound(AF_INET, SOCK_DGRAM, "127.0.0.1");
	struct endpoint gone = LOCAL(fd);
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	close(fd);
	assert_int_equal(lookup(IPPROTO_TCP, false, sockets_at("127.0.0.1", 1),
				sockets_at("127.0.0.1", 1), &found),
			 0);
	assert_int_equal(
		lookup(IPPROTO_TCP, true, sockets_at("::1", 1), sockets_at("::1", 1), &found), 0);
	assert_int_equal(lookup(IPPROTO_UDP, false, gone, NOBODY, &found), 0);
	assert_int_equal(error.code, 0);
}

static void test_a_protocol_that_the_kernel_cannot_is_a_limit_each_time(void **state)
{
	static const uint8_t protocols[] = {IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_GRE};
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	for (size_t i = 0; i < sizeof(protocols); i++) {
		for (int again = 0; again < 3; again++) {
			assert_int_equal(lookup(protocols[i], false, sockets_at("127.0.0.1", 7),
						NOBODY, &found),
					 ERROR_LIMIT);
			assert_non_null(strstr(error.message, "IP protocol"));
		}
	}
	/* Which has no bearing on others. */
	assert_int_equal(lookup(IPPROTO_TCP, false, sockets_at("127.0.0.1", 1),
				sockets_at("127.0.0.1", 1), &found),
			 0);
}

static void test_an_sctp_endpoint_is_a_limit(void **state)
{
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	assert_int_equal(lookup(IPPROTO_SCTP, false, sockets_at("127.0.0.1", 7), NOBODY, &found),
			 ERROR_LIMIT);
}

static void test_an_ipv6_address_in_an_ipv4_table_is_misuse(void **state)
{
	struct snap_socket found;

	(void)state;
	need_sockdiag();
	assert_int_equal(
		lookup(IPPROTO_TCP, false, sockets_at("::1", 7), sockets_at("::1", 8), &found),
		ERROR_USAGE);
}

int main(void)
{
#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		FACT(test_tcp_over_ipv4),
		FACT(test_tcp_over_ipv6),
		FACT(test_tcp_over_mapped_ipv4),
		FACT(test_an_ipv4_request_finds_the_dual_stack_end_too),
		FACT(test_a_wildcard_listener_is_found_as_the_wildcard_only),
		FACT(test_a_dual_stack_listener_is_found_from_both_wildcards),
		FACT(test_a_listener_of_ipv6_only_takes_no_ipv4),
		FACT(test_a_listener_is_not_the_answer_for_a_connection),
		FACT(test_not_yet_accepted_is_inode_0),
		FACT(test_time_wait_is_inode_0),
		FACT(test_a_bound_device_must_be_named),
		FACT(test_udp_over_ipv4),
		FACT(test_udp_over_ipv6),
		FACT(test_udp_over_mapped_ipv4),
		FACT(test_udp_takes_the_closest_of_several),
		FACT(test_a_udp_wildcard_says_that_it_is_one),
		FACT(test_udp_of_the_packet_s_own_family_goes_before_dual_stack),
		FACT(test_udp_lite),
		FACT(test_raw_where_the_kernel_can),
		FACT(test_no_socket_is_0),
		FACT(test_a_protocol_that_the_kernel_cannot_is_a_limit_each_time),
		FACT(test_an_sctp_endpoint_is_a_limit),
		FACT(test_an_ipv6_address_in_an_ipv4_table_is_misuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
