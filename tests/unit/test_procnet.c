/* The text of /proc/net, row by row, and the reading of its files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/format/procnet_text.h"
#include "snapshot/procnet.h"

#define NETNS 4026531840u

static struct procnet_rows rows;
static uint64_t bad_rows;
static struct error first_bad;

static int set_up(void **state)
{
	(void)state;
	rows = (struct procnet_rows){0};
	bad_rows = 0;
	first_bad = (struct error)ERROR_NONE;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	procnet_rows_release(&rows);
	return 0;
}

/* From memory of exactly its length, so that a sanitizer sees a read past it. */
static void parse_bytes(enum snap_table table, bool big_endian, const char *text, size_t length)
{
	char *copy = malloc(length + !length);

	assert_non_null(copy);
	memcpy(copy, text, length);
	assert_int_equal(procnet_text_parse(table, big_endian, NETNS, "copy", copy, length, &rows,
					    &bad_rows, &first_bad),
			 0);
	free(copy);
}

static void parse(enum snap_table table, const char *text)
{
	parse_bytes(table, false, text, strlen(text));
}

/* "local:port remote:port state uid inode", addresses in brackets. */
static void assert_row(size_t index, const char *expected)
{
	char local[ENDPOINT_TEXT_SIZE], remote[ENDPOINT_TEXT_SIZE], text[200];
	const struct snap_socket *row = &rows.rows[index];

	assert_true(index < rows.count);
	snprintf(text, sizeof(text), "[%s]:%u [%s]:%u %u %u %u",
		 endpoint_format(&row->local.address, local), row->local.port,
		 endpoint_format(&row->remote.address, remote), row->remote.port, row->state,
		 row->uid, row->inode);
	assert_string_equal(text, expected);
	assert_true(row->netns == NETNS);
}

#define TCP_HEADER                                                                                 \
	"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "      \
	"timeout inode                                                     \n"
#define LISTEN_ROW                                                                                 \
	"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33       " \
	" 0 "                                                                                      \
	"12396 1 00000000fbc124ee 100 0 0 10 0                      \n"

static void test_tcp_row(void **state)
{
	(void)state;
	parse(SNAP_TCP, TCP_HEADER LISTEN_ROW);
	assert_int_equal(rows.count, 1);
	assert_row(0, "[127.0.0.1]:8080 [0.0.0.0]:0 10 33 12396");
	assert_int_equal(rows.rows[0].table, SNAP_TCP);
	assert_int_equal(rows.rows[0].cookie, 0);
	assert_int_equal(bad_rows, 0);
}

static void test_big_endian_host_prints_network_order(void **state)
{
	static const char text[] = "0: 7F000001:1F90 C0000201:01BB 01 0:0 0:0 0 1000 0 77 1\n";

	(void)state;
	parse_bytes(SNAP_TCP, true, text, sizeof(text) - 1);
	assert_row(0, "[127.0.0.1]:8080 [192.0.2.1]:443 1 1000 77");
}

static void test_time_wait_and_request_rows_have_inode_0(void **state)
{
	(void)state;
	parse(SNAP_TCP,
	      "   1: 0100007F:1F90 0100007F:C350 06 00000000:00000000 03:00001764 00000000     0   "
	      "     0 0 3 00000000f1e7b1d5\n"
	      "   2: 0100007F:1F90 0100007F:C351 03 00000000:00000000 01:00000062 00000000    33   "
	      "     0 0 1 00000000f1e7b1d6\n");
	assert_row(0, "[127.0.0.1]:8080 [127.0.0.1]:50000 6 0 0");
	assert_row(1, "[127.0.0.1]:8080 [127.0.0.1]:50001 3 33 0");
}

static void test_tcp6_words_are_each_in_host_order(void **state)
{
	(void)state;
	parse(SNAP_TCP6,
	      "   0: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000200007F:8AC2 "
	      "01 "
	      "00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000000012345678 20 4 "
	      "30 "
	      "10 -1\n"
	      "   1: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 "
	      "0A "
	      "00000000:00000000 00:00000000 00000000     0        0 4243 1 0 100 0 0 10 0\n");
	/* A mapped address is the IPv4 address. */
	assert_row(0, "[127.0.0.1]:80 [127.0.0.2]:35522 1 1000 4242");
	assert_row(1, "[2001:db8::1]:443 [::]:0 10 0 4243");
}

static void test_tcp6_words_of_a_big_endian_host(void **state)
{
	static const char text[] = "0: 20010DB8000000000000000000000001:01BB "
				   "00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 9 1\n";

	(void)state;
	parse_bytes(SNAP_TCP6, true, text, sizeof(text) - 1);
	assert_row(0, "[2001:db8::1]:443 [::]:0 10 0 9");
}

static void test_udp_states(void **state)
{
	(void)state;
	parse(SNAP_UDP,
	      "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
	      "timeout inode ref pointer drops            \n"
	      "12345: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101  "
	      " "
	      "     0 900 2 0000000000000000 0         \n"
	      "  346: 0100007F:D431 3500007F:0035 01 00000000:00000000 00:00000000 00000000  1000  "
	      " "
	      "     0 901 2 0000000000000000 17        \n");
	assert_row(0, "[127.0.0.53]:53 [0.0.0.0]:0 7 101 900");
	assert_row(1, "[127.0.0.1]:54321 [127.0.0.53]:53 1 1000 901");
}

static void test_raw_port_is_the_protocol_and_icmp_port_the_ident(void **state)
{
	(void)state;
	parse(SNAP_RAW, "    1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 "
			"00000000     0        0 55 2 0000000000000000 0\n");
	parse(SNAP_ICMP, "   53: 00000000:1234 00000000:0000 07 00000000:00000000 00:00000000 "
			 "00000000     0        0 56 2 0000000000000000 0\n");
	parse(SNAP_RAW6, "   58: 00000000000000000000000000000000:003A "
			 "00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 "
			 "00000000     0        0 57 2 0000000000000000 0\n");
	assert_row(0, "[0.0.0.0]:1 [0.0.0.0]:0 7 0 55");
	assert_row(1, "[0.0.0.0]:4660 [0.0.0.0]:0 7 0 56");
	assert_row(2, "[::]:58 [::]:0 7 0 57");
}

static void test_packet_row(void **state)
{
	(void)state;
	parse(SNAP_PACKET,
	      "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"
	      "00000000819f8865 3      3    0003   2     1 0      0      15375 \n"
	      "ffff88007974e000 3      2    88cc   -1    0 4352   107    4294967295\n");
	assert_int_equal(rows.count, 2);
	assert_row(0, "[::]:3 [::]:0 0 0 15375");
	assert_int_equal(rows.rows[0].ifindex, 2);
	assert_row(1, "[::]:35020 [::]:0 0 107 4294967295");
	assert_int_equal(rows.rows[1].ifindex, 0);
}

static void test_sctp_endpoint_gives_a_row_for_each_address(void **state)
{
	(void)state;
	parse(SNAP_SCTP_EPS,
	      " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n"
	      "ffff8800372bd800 ffff8800372bd801 2   10  29   2905   107 33333 10.0.0.1 "
	      "fe80:0000:0000:0000:0001:0002:0003:0004 \n"
	      "ffff8800372bd900 ffff8800372bd901 0   7   30   0        0 33334 \n");
	assert_int_equal(rows.count, 3);
	assert_row(0, "[10.0.0.1]:2905 [::]:0 10 107 33333");
	assert_row(1, "[fe80::1:2:3:4]:2905 [::]:0 10 107 33333");
	assert_row(2, "[::]:0 [::]:0 7 0 33334");
}

#define ASSOCS_HEADER                                                                              \
	" ASSOC     SOCK   STY SST ST HBKT ASSOC-ID TX_QUEUE RX_QUEUE UID INODE LPORT RPORT "      \
	"LADDRS <-> RADDRS HBINT INS OUTS MAXRT T1X T2X RTXC wmema wmemq sndbuf rcvbuf\n"

static void test_sctp_association_gives_a_row_for_each_pair(void **state)
{
	(void)state;
	parse(SNAP_SCTP_ASSOCS, ASSOCS_HEADER
	      "ffff88 ffff89 0   10  3  0       2        0        0    1000 44444 2905  36412  "
	      "*10.0.0.1 10.0.1.1 <-> *10.0.0.2 10.0.1.2 \t    7500    10    10   10    0    0     "
	      "   "
	      "0        1        0   212992   212992\n");
	assert_int_equal(rows.count, 4);
	procnet_rows_sort(&rows, 0);
	assert_row(0, "[10.0.0.1]:2905 [10.0.0.2]:36412 1 1000 44444");
	assert_row(1, "[10.0.0.1]:2905 [10.0.1.2]:36412 1 1000 44444");
	assert_row(2, "[10.0.1.1]:2905 [10.0.0.2]:36412 1 1000 44444");
	assert_row(3, "[10.0.1.1]:2905 [10.0.1.2]:36412 1 1000 44444");
	assert_int_equal(bad_rows, 0);
}

static void test_a_copy_may_have_other_spaces_line_ends_and_no_header(void **state)
{
	(void)state;
	parse(SNAP_TCP, "\r\n"
			"0: 0101007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000 "
			"0 0 12396 1 00000000 100 0 0 10 0\r\n"
			"\n"
			"\t1:\t0100007F:0277\t00000000:0000   0A 0:0 0:0 0 0 0 11404\r\n"
			"  sl  local_address rem_address   st\n"
			"2: 0100007f:0278 00000000:0000 0a 0:0 0:0 0 0 0 11405 \n");
	assert_int_equal(rows.count, 3);
	assert_int_equal(rows.rows[1].inode, 11404);
	assert_int_equal(rows.rows[2].local.port, 0x278);
	assert_int_equal(bad_rows, 0);
}

static void test_a_bad_row_is_counted_described_and_skipped(void **state)
{
	(void)state;
	parse(SNAP_TCP, TCP_HEADER "   0: 0100007F:1F9X 00000000:0000 0A 0:0 0:0 0 0 0 1\n"
				   "and now for something else\n" LISTEN_ROW);
	assert_int_equal(rows.count, 1);
	assert_int_equal(rows.rows[0].inode, 12396);
	assert_int_equal(bad_rows, 2);
	assert_int_equal(first_bad.code, ERROR_DAMAGED);
	assert_int_equal(first_bad.offset_bytes, strlen(TCP_HEADER));
	assert_non_null(strstr(first_bad.message, "0100007F:1F9X"));
	assert_non_null(strstr(first_bad.message, "line 2"));
}

/* Else its neighbour's number would pass for the inode. */
static void test_a_row_that_lost_a_column_is_bad(void **state)
{
	(void)state;
	parse(SNAP_TCP, "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00000000 33 0 12396 "
			"1 0 100\n"
			"0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 33 12396\n");
	assert_int_equal(rows.count, 0);
	assert_int_equal(bad_rows, 2);
}

static void test_values_out_of_range_are_bad(void **state)
{
	static const char *const texts[] = {
		"0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 33 0 4294967296 1\n", /* inode */
		"0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 4294967296 0 1 1\n",  /* uid */
		"0: 0100007F:1F90 00000000:0000 00 0:0 0:0 0 33 0 1 1\n",	   /* state */
		"0: 0100007F:1F90 00000000:0000 10 0:0 0:0 0 33 0 1 1\n",
		"0: 0100007F:11F90 00000000:0000 0A 0:0 0:0 0 33 0 1 1\n", /* port */
		"0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 33 x 1 1\n",  /* timeout */
		"0: 100007F:1F90 00000000:0000 0A 0:0 0:0 0 33 0 1 1\n",   /* address */
		"0: 000000000000000000000000:1F90 00000000:0000 0A 0:0 0:0 0 33 0 1 1\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		parse(SNAP_TCP, texts[i]);
	assert_int_equal(rows.count, 0);
	assert_int_equal(bad_rows, sizeof(texts) / sizeof(texts[0]));
}

static void test_a_negative_uid_of_an_old_kernel(void **state)
{
	(void)state;
	parse(SNAP_TCP, "0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 -2 0 1 1\n");
	assert_int_equal(rows.rows[0].uid, 4294967294u);
}

/* An inode of which digits are missing would be another socket's. */
static void test_no_cut_gives_another_inode(void **state)
{
	static const char inet[] = LISTEN_ROW;
	static const char packet[] = "0 3      3    0003   2     1 0      0      15375 \n";
	static const char eps[] = "f f 2   10  29   2905   107 33333 10.0.0.12 \n";
	static const char assocs[] = "f f 0 10 3 0 2 0 0 1000 44444 2905 36412  *10.0.0.12 <-> "
				     "*10.0.0.23 \t 7500\n";
	static const struct {
		enum snap_table table;
		const char *text;
		uint32_t inode;
		const char *last_address;
	} cases[] = {
		{SNAP_TCP, inet, 12396, "127.0.0.1"},
		{SNAP_PACKET, packet, 15375, "::"},
		{SNAP_SCTP_EPS, eps, 33333, "10.0.0.12"},
		{SNAP_SCTP_ASSOCS, assocs, 44444, "10.0.0.12"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t cut = 0; cut <= strlen(cases[i].text); cut++) {
			char local[ENDPOINT_TEXT_SIZE];

			rows.count = 0;
			parse_bytes(cases[i].table, false, cases[i].text, cut);
			if (!rows.count)
				continue;
			assert_int_equal(rows.count, 1);
			assert_int_equal(rows.rows[0].inode, cases[i].inode);
			endpoint_format(&rows.rows[0].local.address, local);
			assert_string_equal(local, cases[i].last_address);
			if (cases[i].table == SNAP_SCTP_ASSOCS)
				assert_int_equal(rows.rows[0].remote.address.bytes[15], 23);
		}
		assert_int_equal(rows.count, 1);
	}
}

static void test_an_association_with_absurdly_many_addresses_is_bad(void **state)
{
	char *text = malloc(1 << 20);
	size_t length;

	(void)state;
	assert_non_null(text);
	length = (size_t)snprintf(text, 100, "f f 0 10 3 0 2 0 0 1000 44444 2905 36412 ");
	for (unsigned i = 0; i < 1000; i++)
		length += (size_t)snprintf(text + length, 20, "10.0.%u.%u ", i / 250, i % 250);
	length += (size_t)snprintf(text + length, 20, "<-> ");
	for (unsigned i = 0; i < 1000; i++)
		length += (size_t)snprintf(text + length, 20, "10.1.%u.%u ", i / 250, i % 250);
	length += (size_t)snprintf(text + length, 20, "\n");
	parse_bytes(SNAP_SCTP_ASSOCS, false, text, length);
	free(text);
	assert_int_equal(rows.count, 0);
	assert_int_equal(bad_rows, 1);
}

static void test_repeated_rows_are_one_and_the_later_state_stays(void **state)
{
	(void)state;
	parse(SNAP_TCP, "0: 0100007F:1F90 0200007F:0001 08 0:0 0:0 0 33 0 5 1\n"
			"1: 0100007F:1F90 0200007F:0001 01 0:0 0:0 0 33 0 5 1\n"
			"2: 0100007F:1F90 0200007F:0001 01 0:0 0:0 0 33 0 5 1\n"
			/* Another inode and no inode are other identities. */
			"3: 0100007F:1F90 0200007F:0001 01 0:0 0:0 0 33 0 6 1\n"
			"4: 0100007F:1F90 0200007F:0001 06 0:0 0:0 0 0 0 0 1\n");
	procnet_rows_sort(&rows, 0);
	assert_int_equal(rows.count, 3);
	assert_row(0, "[127.0.0.1]:8080 [127.0.0.2]:1 6 0 0");
	assert_row(1, "[127.0.0.1]:8080 [127.0.0.2]:1 8 33 5");
	assert_row(2, "[127.0.0.1]:8080 [127.0.0.2]:1 1 33 6");
}

#define TWICE TCP_HEADER LISTEN_ROW LISTEN_ROW

static void test_tables_are_read_from_a_directory(void **state)
{
	char directory[] = "/tmp/test_procnet.XXXXXX";
	struct procfs_text scratch = {0};
	struct procnet_gaps gaps;
	int dirfd, fd;

	(void)state;
	assert_non_null(mkdtemp(directory));
	dirfd = open(directory, O_PATH | O_DIRECTORY);
	fd = openat(dirfd, "tcp", O_WRONLY | O_CREAT, 0600);
	/* As the kernel repeats a row from one page to the next. */
	assert_int_equal(write(fd, TWICE, sizeof(TWICE) - 1), sizeof(TWICE) - 1);
	close(fd);
	fd = openat(dirfd, "udp", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "x\n", 2), 2);
	close(fd);
	assert_int_equal(procnet_read(dirfd, NETNS, &scratch, &rows, &gaps, NULL), 0);
	assert_int_equal(unlinkat(dirfd, "tcp", 0), 0);
	assert_int_equal(unlinkat(dirfd, "udp", 0), 0);
	assert_int_equal(rmdir(directory), 0);
	close(dirfd);
	procfs_text_release(&scratch);
	assert_int_equal(gaps.reason[SNAP_TCP], 0);
	assert_int_equal(gaps.reason[SNAP_TCP6], ENOENT);
	assert_int_equal(gaps.bad_rows[SNAP_UDP], 1);
	/* The running host's byte order. */
	assert_int_equal(rows.count, 1);
	assert_int_equal(rows.rows[0].inode, 12396);
}

static void test_the_kernel_prints_this_socket_as_it_is(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	struct procfs_text scratch = {0};
	struct procnet_gaps gaps;
	int net, fd = socket(AF_INET, SOCK_STREAM, 0);
	struct stat info;
	bool found = false;

	(void)state;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(fstat(fd, &info), 0);
	net = open("/proc/self/net", O_PATH | O_DIRECTORY);
	if (net < 0 || procnet_read(net, NETNS, &scratch, &rows, &gaps, NULL) ||
	    gaps.reason[SNAP_TCP])
		skip();
	close(net);
	close(fd);
	procfs_text_release(&scratch);
	for (size_t i = 0; i < rows.count; i++) {
		const struct snap_socket *row = &rows.rows[i];

		if (row->inode != info.st_ino)
			continue;
		found = true;
		assert_int_equal(row->table, SNAP_TCP);
		assert_int_equal(row->state, SNAP_LISTEN);
		assert_int_equal(row->local.port, ntohs(address.sin_port));
		assert_true(endpoint_is_loopback(&row->local.address));
		assert_int_equal(row->uid, getuid());
	}
	assert_true(found);
}

int main(void)
{
#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		FACT(test_tcp_row),
		FACT(test_big_endian_host_prints_network_order),
		FACT(test_time_wait_and_request_rows_have_inode_0),
		FACT(test_tcp6_words_are_each_in_host_order),
		FACT(test_tcp6_words_of_a_big_endian_host),
		FACT(test_udp_states),
		FACT(test_raw_port_is_the_protocol_and_icmp_port_the_ident),
		FACT(test_packet_row),
		FACT(test_sctp_endpoint_gives_a_row_for_each_address),
		FACT(test_sctp_association_gives_a_row_for_each_pair),
		FACT(test_a_copy_may_have_other_spaces_line_ends_and_no_header),
		FACT(test_a_bad_row_is_counted_described_and_skipped),
		FACT(test_a_row_that_lost_a_column_is_bad),
		FACT(test_values_out_of_range_are_bad),
		FACT(test_a_negative_uid_of_an_old_kernel),
		FACT(test_no_cut_gives_another_inode),
		FACT(test_an_association_with_absurdly_many_addresses_is_bad),
		FACT(test_repeated_rows_are_one_and_the_later_state_stays),
		FACT(test_tables_are_read_from_a_directory),
		FACT(test_the_kernel_prints_this_socket_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
