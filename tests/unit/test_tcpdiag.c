/* TCP sockets by netlink dump are those that /proc/net/tcp and tcp6 have. */
#include "snapshot/tcpdiag.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "snapshot/procnet.h"

#define NETNS 7
#define PAIRS 300 /* more than one piece of a dump, and than one page of text */

static struct procnet_rows rows;
static struct procfs_text scratch;

static int release(void **state)
{
	(void)state;
	procnet_rows_release(&rows);
	procfs_text_release(&scratch);
	return 0;
}

static uint32_t inode_of(int fd)
{
	struct stat info;

	assert_int_equal(fstat(fd, &info), 0);
	return (uint32_t)info.st_ino;
}

static const struct snap_socket *find(uint32_t inode)
{
	for (size_t i = 0; i < rows.count; i++)
		if (rows.rows[i].inode == inode)
			return &rows.rows[i];
	return NULL;
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length), 0);
	return cookie;
}

static int listen_on(int family, uint16_t *port)
{
	struct sockaddr_storage any = {.ss_family = (sa_family_t)family};
	socklen_t length = sizeof(any);
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&any,
		 family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)))
		skip();
	assert_int_equal(listen(fd, PAIRS), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &length), 0);
	*port = ntohs(family == AF_INET ? ((struct sockaddr_in *)&any)->sin_port
					: ((struct sockaddr_in6 *)&any)->sin6_port);
	return fd;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void test_a_listener_and_a_connection_are_found(void **state)
{
	struct sockaddr_in local;
	socklen_t length = sizeof(local);
	const struct snap_socket *row;
	uint16_t port;
	int listener = listen_on(AF_INET, &port), client = connect_to(port);

	(void)state;
	getsockname(client, (struct sockaddr *)&local, &length);
	assert_int_equal(tcpdiag_read(NETNS, &scratch, &rows), 0);
	row = find(inode_of(listener));
	assert_non_null(row);
	assert_int_equal(row->netns, NETNS);
	assert_int_equal(row->table, SNAP_TCP);
	assert_int_equal(row->state, SNAP_LISTEN);
	assert_int_equal(row->local.port, port);
	assert_int_equal(row->uid, getuid());
	row = find(inode_of(client));
	assert_non_null(row);
	assert_int_equal(row->state, SNAP_ESTABLISHED);
	assert_int_equal(row->local.port, ntohs(local.sin_port));
	assert_int_equal(row->remote.port, port);
	assert_true(endpoint_is_ipv4(&row->remote.address));
	assert_true(endpoint_is_loopback(&row->remote.address));
	assert_int_equal(row->cookie, cookie_of(client));
	/* The other end is not accepted: no inode, and no cookie that could be told apart. */
	for (size_t i = 0; i < rows.count; i++)
		assert_true((rows.rows[i].inode == 0) == (rows.rows[i].cookie == 0));
	close(client);
	close(listener);
}

static void test_what_is_only_bound_is_no_row(void **state)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(tcpdiag_read(NETNS, &scratch, &rows), 0);
	assert_null(find(inode_of(fd)));
	close(fd);
}

static bool same_rows(const struct procnet_rows *a, const struct procnet_rows *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (procnet_socket_compare(&a->rows[i], &b->rows[i]) ||
		    a->rows[i].state != b->rows[i].state || a->rows[i].uid != b->rows[i].uid)
			return false;
	return true;
}

/* Connections of IPv4 packets to an IPv6 socket stand in tcp6 at that end. The
 * uid of what has no socket yet is left out: the text has the listener's. */
static void test_the_rows_are_those_of_the_text(void **state)
{
	static struct procnet_rows text, later;
	struct procnet_gaps gaps;
	uint16_t port, port6;
	int pairs[PAIRS][2];
	int net, listener, listener6;

	(void)state;
	if (unshare(CLONE_NEWNET) || system("ip link set lo up"))
		skip();
	listener = listen_on(AF_INET, &port);
	listener6 = listen_on(AF_INET6, &port6);
	for (size_t i = 0; i < PAIRS; i++) {
		pairs[i][0] = connect_to(i % 2 ? port : port6);
		pairs[i][1] = i % 3 ? accept(i % 2 ? listener : listener6, NULL, NULL) : -1;
		if (i % 5 == 0)
			close(pairs[i][0]); /* FIN_WAIT2 and CLOSE_WAIT, or TIME_WAIT */
	}
	net = open("/proc/thread-self/net", O_PATH | O_DIRECTORY);
	assert_true(net >= 0);
	/* Until the kernel has nothing to do any more for what was closed. */
	do {
		rows.count = text.count = later.count = 0;
		assert_int_equal(procnet_read(net, NETNS, &scratch, &text, &gaps, NULL), 0);
		assert_int_equal(procnet_read_inside(net, NETNS, &scratch, &rows, &gaps, NULL), 0);
		assert_int_equal(gaps.reason[SNAP_TCP], 0);
		assert_int_equal(procnet_read(net, NETNS, &scratch, &later, &gaps, NULL), 0);
	} while (!same_rows(&text, &later));
	assert_true(rows.count > PAIRS * 2);
	assert_true(same_rows(&rows, &text));
	procnet_rows_release(&later);
	procnet_rows_release(&text);
	close(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_a_listener_and_a_connection_are_found, release),
		cmocka_unit_test_teardown(test_what_is_only_bound_is_no_row, release),
		cmocka_unit_test_teardown(test_the_rows_are_those_of_the_text, release),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
