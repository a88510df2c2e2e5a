#include "tests/unit/casefile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

char casefile_root[64], casefile_pcap[128], casefile_snap[128], casefile_database[128];

void casefile_scene(const char *watcher)
{
	scene_begin();
	if (watcher != NULL)
		scene_meta("watcher", watcher);
	scene_frame("key", 0, 1);
	scene_address('+', 1, "127.0.0.1", 8);
	scene_address('+', 1, HOST, 24);
}

int casefile_begin(void **state)
{
	(void)state;
	snprintf(casefile_root, sizeof(casefile_root), "/tmp/pcapwho-casefile.XXXXXX");
	assert_non_null(mkdtemp(casefile_root));
	snprintf(casefile_pcap, sizeof(casefile_pcap), "%s/" CASEFILE_STEM ".pcap", casefile_root);
	snprintf(casefile_snap, sizeof(casefile_snap), "%s/" CASEFILE_STEM ".snap.gz",
		 casefile_root);
	snprintf(casefile_database, sizeof(casefile_database), "%s/t.db", casefile_root);
	casefile_scene(NULL);
	return 0;
}

int casefile_end(void **state)
{
	(void)state;
	scene_free();
	unlink(casefile_pcap);
	unlink(casefile_snap);
	unlink(casefile_database);
	return rmdir(casefile_root);
}

struct load_options casefile_options(void)
{
	return (struct load_options){.database = casefile_database,
				     .bucket_ns = 1000000000,
				     .workers = 1,
				     .limits = flow_default_limits};
}

void casefile_load(const struct scene_packet *packets, const uint32_t *ifindex, size_t count,
		   const struct load_options *options)
{
	char *paths[] = {casefile_root};
	struct error error = ERROR_NONE;
	struct load_result result;

	scene_frame("poll", 9000, 9001);
	scene_write_snap(casefile_snap);
	scene_write_pcap_of(casefile_pcap, packets, ifindex, count);
	if (load_run(paths, 1, options, &result, &error) != 0)
		fail_msg("%s", error.message);
}
