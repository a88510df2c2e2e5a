#include "tests/unit/recorded.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "snapshot/format/custody.h"
#include "snapshot/format/evidence.h"

int recorded_directory = -1;
bool recorded_verify;
/* Between identifying and reading. */
static void (*meanwhile)(void);

/* -------------------------------------------------------------- a recorder -- */

const char *recorded_name(unsigned number, const char *suffix)
{
	static char names[4][EVIDENCE_NAME_SIZE];
	static unsigned next;
	const char *stem = loading_stem("evidence", number);
	char *name = names[next++ % 4];

	snprintf(name, EVIDENCE_NAME_SIZE, "%s%s", strrchr(stem, '/') + 1, suffix);
	return name;
}

void recorded_note(const char *event, unsigned number, const char *suffix)
{
	char sha256[CUSTODY_HEX_SIZE];
	struct custody_entry entry = {
		.event = event, .file = recorded_name(number, suffix), .detail = ""};
	struct custody *custody;
	uint64_t bytes, repaired, broken;

	assert_int_equal(
		custody_open(recorded_directory, "evidence", &custody, &repaired, &broken, NULL),
		0);
	assert_int_equal(custody_hash_file(recorded_directory, entry.file, sha256, &bytes, NULL),
			 0);
	entry.bytes = (int64_t)bytes;
	entry.sha256 = strcmp(event, "expire") == 0 ? NULL : sha256;
	assert_int_equal(custody_append(custody, &entry, NULL), 0);
	custody_close(custody);
}

void recorded_take_away(unsigned number, const char *suffix)
{
	assert_int_equal(unlinkat(recorded_directory, recorded_name(number, suffix), 0), 0);
}

size_t recorded_read(unsigned number, uint8_t *bytes, size_t size)
{
	int fd = openat(recorded_directory, recorded_name(number, ".pcap"), O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, bytes, size);

	assert_true(length > 0 && (size_t)length < size);
	close(fd);
	return (size_t)length;
}

void recorded_pack(unsigned number)
{
	static uint8_t bytes[1 << 16];
	size_t length = recorded_read(number, bytes, sizeof(bytes));
	int fd;
	gzFile gz;

	fd = openat(recorded_directory, recorded_name(number, ".pcap.gz"),
		    O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	gz = gzdopen(fd, "wb");
	assert_int_equal(gzwrite(gz, bytes, (unsigned)length), (int)length);
	gzclose(gz);
	recorded_note("compress", number, ".pcap.gz");
	recorded_take_away(number, ".pcap");
}

int recorded_begin(void **state)
{
	int status = loading_begin(state);

	recorded_verify = false;
	loading_directory("evidence");
	recorded_directory = open(loading_path("evidence"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 1; i <= RECORDED_SEGMENTS; i++) {
		const struct scene_packet packets[] = {
			UDP(i * 1000 + 100, HOST, 5000 + i, PEER, 53),
			UDP(i * 1000 + 200, HOST, 5000 + i, PEER, 53),
		};

		loading_header(i);
		scene_frame("key", i * 1000, i * 1000 + 1);
		loading_addresses();
		loading_write("evidence", i, packets, 2);
		recorded_note("close", i, ".pcap");
		recorded_note("close", i, ".snap.gz");
	}
	return status;
}

int recorded_end(void **state)
{
	close(recorded_directory);
	return loading_end(state);
}

/* ---------------------------------------------------------------- loading -- */

static void change(void *context)
{
	(void)context;
	if (meanwhile != NULL)
		meanwhile();
}

unsigned recorded_told;
struct error recorded_remark;

static void hear(const struct error *error, void *context)
{
	(void)context;
	recorded_told++;
	recorded_remark = *error;
}

int recorded_add(void (*what)(void), unsigned workers, struct error *error)
{
	struct error unheard = ERROR_NONE;
	char database[300], paths[2][300], *const path[] = {paths[0], paths[1]};
	struct load_options options = {.database = database,
				       .workers = workers,
				       .verify = recorded_verify,
				       .part_packets = 1,
				       .begin = change,
				       .report = hear,
				       .limits = flow_default_limits};

	meanwhile = what;
	snprintf(database, sizeof(database), "%s", loading_path("out.db"));
	snprintf(paths[0], sizeof(paths[0]), "%s", loading_path("evidence"));
	snprintf(paths[1], sizeof(paths[1]), "%s", loading_path("copy"));
	recorded_told = 0;
	return load_run(path, access(paths[1], F_OK) == 0 ? 2 : 1, &options, &loading_result,
			error != NULL ? error : &unheard);
}

int recorded_try(void (*what)(void), unsigned workers, struct error *error)
{
	unlink(loading_path("out.db"));
	return recorded_add(what, workers, error);
}

const char *recorded_load(void (*what)(void), unsigned workers)
{
	struct error error = ERROR_NONE;

	if (recorded_try(what, workers, &error) != 0)
		fail_msg("%s: %s", error.path, error.message);
	return loading_path("out.db");
}

void recorded_copy(unsigned number, const char *to, bool whole)
{
	static uint8_t bytes[1 << 16];
	size_t length = recorded_read(number, bytes, sizeof(bytes)) - !whole;
	int fd = openat(recorded_directory, to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}
