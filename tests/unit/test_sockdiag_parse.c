/* The kernel's messages about sockets, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "snapshot/sockdiag.h"

struct built {
	uint8_t bytes[512];
	size_t length;
};

static void append(struct built *built, const void *bytes, size_t length)
{
	assert_true(built->length + length <= sizeof(built->bytes));
	memcpy(built->bytes + built->length, bytes, length);
	built->length += length;
}

static void finish(struct built *built)
{
	uint32_t length = (uint32_t)built->length;

	memcpy(built->bytes, &length, sizeof(length));
}

static void append_attribute(struct built *built, uint16_t type, const void *value, size_t length)
{
	static const uint8_t padding[4];
	struct nlattr head = {.nla_type = type, .nla_len = (uint16_t)(sizeof(head) + length)};

	append(built, &head, sizeof(head));
	append(built, value, length);
	append(built, padding, NLA_ALIGN(length) - length);
	finish(built);
}

/* 192.0.2.1:443 with 198.51.100.7:50000, or 2001:db8::1 and ::2. */
static struct built answer(int family)
{
	struct nlmsghdr head = {.nlmsg_type = SOCK_DIAG_BY_FAMILY};
	struct inet_diag_msg body = {
		.idiag_family = (uint8_t)family,
		.idiag_state = SNAP_CLOSE_WAIT,
		.id =
			{
				.idiag_sport = htons(443),
				.idiag_dport = htons(50000),
				.idiag_if = 3,
				.idiag_cookie = {0x55667788, 0x11223344},
			},
		.idiag_uid = 33,
		.idiag_inode = 4294967295u,
	};
	struct built built = {.length = 0};

	inet_pton(family, family == AF_INET ? "192.0.2.1" : "2001:db8::1", body.id.idiag_src);
	inet_pton(family, family == AF_INET ? "198.51.100.7" : "2001:db8::2", body.id.idiag_dst);
	append(&built, &head, sizeof(head));
	append(&built, &body, sizeof(body));
	finish(&built);
	return built;
}

static void test_reply_field_by_field(void **state)
{
	char local[ENDPOINT_TEXT_SIZE], remote[ENDPOINT_TEXT_SIZE];
	struct built built = answer(AF_INET);
	struct snap_socket row;

	(void)state;
	assert_int_equal(sockdiag_parse_reply(built.bytes, built.length, &row), 1);
	assert_int_equal(row.table, SNAP_TCP);
	assert_string_equal(endpoint_format(&row.local.address, local), "192.0.2.1");
	assert_int_equal(row.local.port, 443);
	assert_string_equal(endpoint_format(&row.remote.address, remote), "198.51.100.7");
	assert_int_equal(row.remote.port, 50000);
	assert_int_equal(row.state, SNAP_CLOSE_WAIT);
	assert_int_equal(row.uid, 33);
	assert_true(row.inode == 4294967295u);
	assert_true(row.cookie == 0x1122334455667788u);
	assert_int_equal(row.ifindex, 3);
	assert_int_equal(row.netns, 0);
	built = answer(AF_INET6);
	assert_int_equal(sockdiag_parse_reply(built.bytes, built.length, &row), 1);
	assert_int_equal(row.table, SNAP_TCP6);
	assert_string_equal(endpoint_format(&row.local.address, local), "2001:db8::1");
	assert_string_equal(endpoint_format(&row.remote.address, remote), "2001:db8::2");
}

static void test_messages_of_others_are_0(void **state)
{
	struct built built = answer(AF_INET);
	uint16_t type = NLMSG_ERROR;
	uint8_t protocol = IPPROTO_SCTP, family = AF_UNIX;
	struct snap_socket row = {.inode = 1};
	struct snap_closed closed;

	(void)state;
	assert_int_equal(sockdiag_parse_close(built.bytes, built.length, &closed), 0);
	append_attribute(&built, INET_DIAG_PROTOCOL, &protocol, 1);
	assert_int_equal(sockdiag_parse_close(built.bytes, built.length, &closed), 0);
	memcpy(built.bytes + 4, &type, sizeof(type));
	assert_int_equal(sockdiag_parse_reply(built.bytes, built.length, &row), 0);
	built = answer(AF_INET);
	built.bytes[sizeof(struct nlmsghdr)] = family;
	assert_int_equal(sockdiag_parse_reply(built.bytes, built.length, &row), 0);
	assert_int_equal(row.inode, 1);
}

static struct built close_message(size_t info_length)
{
	struct tcp_info info = {
		.tcpi_bytes_acked = 1000,
		.tcpi_bytes_received = 2000,
		.tcpi_segs_out = 11,
		.tcpi_segs_in = 12,
		.tcpi_data_segs_in = 13,
		.tcpi_data_segs_out = 14,
		.tcpi_bytes_sent = 3000,
		.tcpi_bytes_retrans = 4000,
	};
	uint8_t protocol = IPPROTO_TCP, longer[sizeof(info) + 40] = {0};
	struct built built = answer(AF_INET);

	memcpy(longer, &info, sizeof(info));
	append_attribute(&built, INET_DIAG_PROTOCOL, &protocol, 1);
	append_attribute(&built, INET_DIAG_PAD, "", 0);
	append_attribute(&built, INET_DIAG_INFO, longer, info_length);
	return built;
}

static void test_close_field_by_field(void **state)
{
	struct built built = close_message(sizeof(struct tcp_info));
	struct snap_closed closed;

	(void)state;
	assert_int_equal(sockdiag_parse_close(built.bytes, built.length, &closed), 1);
	assert_int_equal(closed.table, SNAP_TCP);
	assert_int_equal(closed.local.port, 443);
	assert_int_equal(closed.remote.port, 50000);
	assert_true(closed.cookie == 0x1122334455667788u);
	assert_int_equal(closed.inode, 0);
	assert_int_equal(closed.bytes_acked, 1000);
	assert_int_equal(closed.bytes_received, 2000);
	assert_int_equal(closed.bytes_sent, 3000);
	assert_int_equal(closed.bytes_retransmitted, 4000);
	assert_int_equal(closed.segments_out, 11);
	assert_int_equal(closed.segments_in, 12);
	assert_int_equal(closed.data_segments_in, 13);
	assert_int_equal(closed.data_segments_out, 14);
}

static void test_an_older_kernel_s_info_is_shorter(void **state)
{
	struct built built = close_message(offsetof(struct tcp_info, tcpi_segs_out));
	struct snap_closed closed;

	(void)state;
	assert_int_equal(sockdiag_parse_close(built.bytes, built.length, &closed), 1);
	assert_int_equal(closed.bytes_acked, 1000);
	assert_int_equal(closed.bytes_received, 2000);
	assert_int_equal(closed.segments_out, 0);
	assert_int_equal(closed.bytes_sent, 0);
}

static void test_a_newer_kernel_s_info_is_longer(void **state)
{
	struct built built = close_message(sizeof(struct tcp_info) + 40);
	struct snap_closed closed;

	(void)state;
	assert_int_equal(sockdiag_parse_close(built.bytes, built.length, &closed), 1);
	assert_int_equal(closed.bytes_retransmitted, 4000);
}

/* Cut at every byte, in memory of exactly that length; then with a header that
 * says that it is as short as that. Nothing is written unless it was whole. */
static void test_a_cut_message_is_damage(void **state)
{
	struct built whole = close_message(sizeof(struct tcp_info));

	(void)state;
	for (size_t length = 1; length < whole.length; length++) {
		struct snap_closed closed = {.inode = 7};
		struct snap_socket row = {.inode = 7};
		uint8_t *copy = malloc(length);
		uint32_t said = (uint32_t)length;
		int result;

		assert_non_null(copy);
		memcpy(copy, whole.bytes, length);
		assert_int_equal(sockdiag_parse_close(copy, length, &closed), ERROR_DAMAGED);
		assert_int_equal(sockdiag_parse_reply(copy, length, &row), ERROR_DAMAGED);
		assert_int_equal(closed.inode, 7);
		assert_int_equal(row.inode, 7);
		if (length >= sizeof(said)) {
			memcpy(copy, &said, sizeof(said));
			result = sockdiag_parse_close(copy, length, &closed);
			/* Whole without tcp_info, where an attribute ends. */
			assert_true(result < 0 || closed.bytes_acked == 0);
		}
		free(copy);
	}
}

static void test_lengths_that_lie_are_damage(void **state)
{
	struct built built = close_message(sizeof(struct tcp_info));
	size_t attributes = sizeof(struct nlmsghdr) + sizeof(struct inet_diag_msg);
	struct snap_closed closed;

	(void)state;
	for (uint32_t said = 0; said < sizeof(struct nlmsghdr); said++) {
		memcpy(built.bytes, &said, sizeof(said));
		assert_int_equal(sockdiag_parse_close(built.bytes, built.length, &closed),
				 ERROR_DAMAGED);
	}
	finish(&built);
	for (uint16_t said = 0; said < 5; said++) {
		memcpy(built.bytes + attributes, &said, sizeof(said));
		assert_int_equal(sockdiag_parse_close(built.bytes, built.length, &closed),
				 ERROR_DAMAGED);
	}
	assert_int_equal(sockdiag_parse_close(built.bytes, 0, &closed), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply_field_by_field),
		cmocka_unit_test(test_messages_of_others_are_0),
		cmocka_unit_test(test_close_field_by_field),
		cmocka_unit_test(test_an_older_kernel_s_info_is_shorter),
		cmocka_unit_test(test_a_newer_kernel_s_info_is_longer),
		cmocka_unit_test(test_a_cut_message_is_damage),
		cmocka_unit_test(test_lengths_that_lie_are_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
