/* Facts about what is imported: the state that copies of /proc show together,
 * and the evidence made of it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/import.h"
#include "analyze/import_state.h"
#include "snapshot/format/evidence.h"
#include "snapshot/format/snapfile.h"

#define HEAD                                                                                       \
	"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "      \
	"timeout inode\n"
#define ROW(local, remote, state, inode)                                                           \
	"   0: " local " " remote " " state                                                        \
	" 00000000:00000000 00:00000000 00000000  1000        0 " inode " 1 0000 20 4 24 10 -1\n"

#define LISTENING	ROW("0501A8C0:0016", "00000000:0000", "0A", "11")
#define WILDCARD	ROW("00000000:0050", "00000000:0000", "0A", "12")
#define CONNECTED	ROW("0601A8C0:0016", "0A00000A:1000", "01", "13")
#define ADDRESS_OF(row) (endpoint_format(&(row)->address, text))

static char directory[] = "/tmp/pcapwho-test-import.XXXXXX";
static char path[128];

static const char *file(const char *name, const char *text)
{
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
	assert_int_equal(fclose(out), 0);
	return path;
}

static const struct import_absence *absence(const struct import_state *state, const char *subject)
{
	for (size_t i = 0; i < state->absence_count; i++)
		if (!strcmp(state->absences[i].subject, subject))
			return &state->absences[i];
	return NULL;
}

static unsigned notes_heard;

static void hear(void *context, const struct error *error)
{
	(void)context;
	assert_true(error->message[0]);
	notes_heard++;
}

static void rows_that_repeat_are_one_socket(void **unused)
{
	struct import_state state;

	(void)unused;
	import_state_init(&state, NULL);
	assert_int_equal(import_state_table(&state, SNAP_TCP, false,
					    file("tcp", HEAD CONNECTED CONNECTED), NULL),
			 0);
	assert_int_equal(import_state_finish(&state, NULL), 0);
	assert_int_equal(state.sockets.count, 1);
	assert_int_equal(state.sockets.rows[0].netns, IMPORT_NETNS);
	import_state_release(&state);
}

static void connected_and_listening_sockets_prove_addresses(void **unused)
{
	struct import_state state;
	char text[ENDPOINT_TEXT_SIZE];

	(void)unused;
	import_state_init(&state, NULL);
	assert_int_equal(import_state_table(&state, SNAP_TCP, false,
					    file("tcp", HEAD LISTENING WILDCARD CONNECTED), NULL),
			 0);
	assert_int_equal(import_state_finish(&state, NULL), 0);
	assert_int_equal(state.address_count, 4);
	assert_string_equal(ADDRESS_OF(&state.addresses[0]), "::1");
	assert_string_equal(ADDRESS_OF(&state.addresses[1]), "127.0.0.1");
	assert_int_equal(state.addresses[1].prefix_length, 8);
	assert_string_equal(ADDRESS_OF(&state.addresses[2]), "192.168.1.5");
	assert_string_equal(ADDRESS_OF(&state.addresses[3]), "192.168.1.6");
	assert_int_equal(state.addresses[3].prefix_length, 32);
	import_state_release(&state);
}

static void a_datagram_socket_bound_to_an_address_proves_nothing(void **unused)
{
	struct import_state state;

	/* 192.168.1.255 may be the broadcast address of the host's network. */
	(void)unused;
	import_state_init(&state, NULL);
	assert_int_equal(
		import_state_table(&state, SNAP_UDP, false,
				   file("udp", ROW("FF01A8C0:0089", "00000000:0000", "07", "5")),
				   NULL),
		0);
	assert_int_equal(import_state_finish(&state, NULL), 0);
	assert_int_equal(state.address_count, 2);
	import_state_release(&state);
}

static void an_address_by_hand_needs_no_socket_and_keeps_its_prefix(void **unused)
{
	static const char *const wrong[] = {"",	       "x",  "1.2.3",	"1.2.3.4/",  "1.2.3.4/33",
					    "0.0.0.0", "::", "::1/129", "1.2.3.4/x", "1.2.3.4/-1"};
	struct import_state state;
	struct error error = ERROR_NONE;

	(void)unused;
	import_state_init(&state, NULL);
	assert_int_equal(import_state_address(&state, "192.168.1.6/24", &error), 0);
	assert_int_equal(import_state_address(&state, "2001:db8::1", &error), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(import_state_address(&state, wrong[i], &error), ERROR_USAGE);
	assert_int_equal(
		import_state_table(&state, SNAP_TCP, false, file("tcp", HEAD CONNECTED), NULL), 0);
	assert_int_equal(import_state_finish(&state, NULL), 0);
	assert_int_equal(state.address_count, 4);
	assert_int_equal(state.addresses[2].prefix_length, 24);
	assert_int_equal(state.addresses[3].prefix_length, 128);
	import_state_release(&state);
}

static void a_second_table_of_the_same_kind_is_refused(void **unused)
{
	struct import_state state;

	(void)unused;
	import_state_init(&state, NULL);
	file("tcp", HEAD CONNECTED);
	assert_int_equal(import_state_table(&state, SNAP_TCP, false, path, NULL), 0);
	assert_int_equal(import_state_table(&state, SNAP_TCP, false, path, NULL), ERROR_USAGE);
	import_state_release(&state);
}

static void descriptors_of_several_listings_come_together(void **unused)
{
	struct import_state state;

	(void)unused;
	import_state_init(&state, NULL);
	assert_int_equal(import_state_table(&state, SNAP_TCP, false,
					    file("tcp", HEAD LISTENING CONNECTED), NULL),
			 0);
	file("a", "/proc/9/fd:\nlrwx------ 1 a a 64 Nov 1 1:1 4 -> socket:[13]\n"
		  "/proc/8/fd:\nlrwx------ 1 a a 64 Nov 1 1:1 4 -> socket:[13]\n");
	assert_int_equal(import_state_listing(&state, path, 0, NULL), 0);
	assert_int_equal(import_state_listing(&state, path, 0, NULL), 0);
	assert_int_equal(import_state_finish(&state, NULL), 0);
	assert_int_equal(state.holder_count, 2);
	assert_int_equal(state.holders[0].pid, 8);
	assert_int_equal(state.pid_count, 2);
	assert_int_equal(state.source_count, 3);
	assert_int_equal(import_state_held(&state), 1);
	import_state_release(&state);
}

static void what_could_not_be_read_and_what_was_not_given_are_absent(void **unused)
{
	struct import_state state;

	(void)unused;
	import_state_init(&state, NULL);
	assert_int_equal(import_state_table(&state, SNAP_TCP, false, file("tcp", HEAD), NULL), 0);
	file("a", "/proc/9/fd:\ntotal 0\n/proc/8/fd:\nls: cannot open '/proc/8/fd': EACCES\n");
	assert_int_equal(import_state_listing(&state, path, 0, NULL), 0);
	assert_int_equal(import_state_finish(&state, NULL), 0);
	assert_null(absence(&state, "tcp"));
	assert_non_null(absence(&state, "udp6"));
	assert_int_equal(absence(&state, "udp6")->op, SNAP_ADD);
	assert_non_null(absence(&state, ""));
	assert_int_equal(absence(&state, "")->pid, 8);
	assert_int_equal(state.pid_count, 2);
	import_state_release(&state);
}

static void each_bad_row_is_told_until_there_are_too_many(void **unused)
{
	const struct import_notes notes = {.note = hear};
	struct import_state state;
	char text[4096];
	size_t used;

	(void)unused;
	used = (size_t)snprintf(text, sizeof(text), "%s", HEAD CONNECTED);
	for (int i = 0; i < IMPORT_NAMED_ROWS + 5; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "  %d: nonsense\n", i);
	import_state_init(&state, &notes);
	notes_heard = 0;
	assert_int_equal(import_state_table(&state, SNAP_TCP, false, file("tcp", text), NULL), 0);
	assert_int_equal(notes_heard, IMPORT_NAMED_ROWS + 1);
	assert_int_equal(state.bad_rows, IMPORT_NAMED_ROWS + 5);
	assert_non_null(absence(&state, "tcp"));
	assert_int_equal(absence(&state, "tcp")->op, SNAP_ONCE);
	assert_int_equal(strncmp(absence(&state, "tcp")->reason, "25 bad rows", 11), 0);
	import_state_release(&state);
}

static int write_evidence(const char *output, const char *capture, struct error *error)
{
	const char *const captures[] = {capture};
	struct import_config config = {.time_ns = 5000000000,
				       .output = output,
				       .clock_ticks = 100,
				       .captures = captures,
				       .capture_count = capture ? 1 : 0};
	struct import_result result = {0};
	struct import_state state;
	int status;

	import_state_init(&state, NULL);
	assert_int_equal(import_state_table(&state, SNAP_TCP, false,
					    file("tcp", HEAD LISTENING CONNECTED), NULL),
			 0);
	assert_int_equal(import_state_finish(&state, NULL), 0);
	status = import_write(&config, &state, &result, error);
	import_result_release(&result);
	import_state_release(&state);
	return status;
}

static void the_snapshot_can_be_read_back(void **unused)
{
	struct snapfile_reader *reader;
	struct snap_record record;
	struct error error = ERROR_NONE;
	unsigned sockets = 0, frames = 0, ends = 0;
	char output[128];
	int dirfd;

	(void)unused;
	snprintf(output, sizeof(output), "%s/good", directory);
	assert_int_equal(write_evidence(output, NULL, &error), 0);
	dirfd = open(output, O_RDONLY | O_DIRECTORY);
	assert_true(dirfd >= 0);
	assert_int_equal(
		snapfile_open(dirfd, "000001-19700101T000005.000000000Z.snap.gz", &reader, &error),
		0);
	while (snapfile_next(reader, &record, &error) == 1) {
		sockets += record.type == SNAP_TYPE_SOCKET;
		ends += record.type == SNAP_TYPE_END;
		if (record.type != SNAP_TYPE_FRAME)
			continue;
		frames++;
		assert_int_equal(record.u.frame.kind, SNAP_KEY);
		assert_int_equal(record.u.frame.begin_ns, 5000000000);
		assert_int_equal(record.u.frame.end_ns, 5000000000);
	}
	assert_int_equal(error.code, 0);
	assert_int_equal(frames, 1);
	assert_int_equal(ends, 1);
	assert_int_equal(sockets, 2);
	snapfile_close(reader);
	close(dirfd);
}

static void a_failure_takes_back_what_was_made(void **unused)
{
	struct error error = ERROR_NONE;
	struct rlimit before, limit;
	struct stat unneeded;
	char output[128], capture[128];
	FILE *out;

	(void)unused;
	snprintf(capture, sizeof(capture), "%s/c.pcap", directory);
	out = fopen(capture, "w");
	assert_non_null(out);
	assert_int_equal(
		fwrite("\xd4\xc3\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\0\0\4\0\1\0\0\0", 1, 24, out), 24);
	assert_int_equal(fclose(out), 0);
	snprintf(output, sizeof(output), "%s/full", directory);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	/* The table's copy is written before the limit counts: room for it, for
	 * the capture, and not for the snapshot; for none of it. */
	for (rlim_t size = 0; size <= 600; size += 100) {
		const char *captures[] = {capture};
		struct import_config config = {.time_ns = 5000000000,
					       .output = output,
					       .captures = captures,
					       .capture_count = 1};
		struct import_result result = {0};
		struct import_state state;
		int status;

		import_state_init(&state, NULL);
		assert_int_equal(import_state_table(&state, SNAP_TCP, false,
						    file("tcp", HEAD LISTENING CONNECTED), NULL),
				 0);
		assert_int_equal(import_state_finish(&state, NULL), 0);
		limit = before;
		limit.rlim_cur = size;
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		status = import_write(&config, &state, &result, &error);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		import_result_release(&result);
		import_state_release(&state);
		if (!status)
			break;
		assert_int_equal(status, ERROR_SYSTEM);
		assert_int_equal(error.saved_errno, EFBIG);
		if (stat(output, &unneeded))
			assert_int_equal(errno, ENOENT);
		else
			fail_msg("with %lu bytes of room something was left behind",
				 (unsigned long)size);
	}
}

static int make_directory(void **unused)
{
	(void)unused;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **unused)
{
	char command[128];

	(void)unused;
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_that_repeat_are_one_socket),
		cmocka_unit_test(connected_and_listening_sockets_prove_addresses),
		cmocka_unit_test(a_datagram_socket_bound_to_an_address_proves_nothing),
		cmocka_unit_test(an_address_by_hand_needs_no_socket_and_keeps_its_prefix),
		cmocka_unit_test(a_second_table_of_the_same_kind_is_refused),
		cmocka_unit_test(descriptors_of_several_listings_come_together),
		cmocka_unit_test(what_could_not_be_read_and_what_was_not_given_are_absent),
		cmocka_unit_test(each_bad_row_is_told_until_there_are_too_many),
		cmocka_unit_test(the_snapshot_can_be_read_back),
		cmocka_unit_test(a_failure_takes_back_what_was_made),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
